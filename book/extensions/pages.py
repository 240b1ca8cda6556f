"""What the theme's pages need to be read from a folder and before the repository has a public address."""

import re
from pathlib import Path


def without_address(app, config):
    """Buttons to Colab and Binder appear when, and only when, the address is set in _config.yml."""
    options = config.html_theme_options
    if not options.get("repository_url"):
        options["launch_buttons"] = {}


def without_thebe(app, config):
    """Thebe runs cells on a public server, which no page here does; its script is an error from the second page on."""
    for event in ("env-before-read-docs", "doctree-resolved"):
        listeners = app.events.listeners[event]
        listeners[:] = [listener for listener in listeners if listener.handler.__module__ != "sphinx_thebe"]


def without_preload(app, error):
    """A font asked for ahead of its style is refused under file://; the style sheet loads it anyway."""
    if error or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r'<link rel="preload" as="font"[^>]*>\n?', "", page), encoding="utf-8")


def setup(app):
    app.connect("config-inited", without_address)
    app.connect("config-inited", without_thebe)
    app.connect("build-finished", without_preload)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
