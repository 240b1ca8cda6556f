"""What the theme's pages need to be light, and to be read from a folder before the repository has an address."""

import re
from pathlib import Path

from PIL import Image

SHARP = 60_000  # bytes up to which a picture is kept without loss


def without_address(app, config):
    """Buttons to Colab and Binder appear when, and only when, the address is set in _config.yml."""
    options = config.html_theme_options
    if not options.get("repository_url"):
        options["launch_buttons"] = {}


def without_thebe(app, config):
    """Thebe runs cells on a public server, which no page here does; its script is an error from the second page on."""
    for event in ("env-before-read-docs", "doctree-resolved"):
        listeners = app.events.listeners[event]
        listeners[:] = [
            listener for listener in listeners if listener.handler.__module__ != "sphinx_thebe"
        ]


def lighter(app, error):
    """Pages that open at once from a folder, on a phone and in a class of thirty.

    Figures become WebP, a fifth of their PNGs. Two of the theme's tags go: fonts asked for ahead of their style,
    which file:// refuses, and 1.5 MB of icons as a script, which the icons' style sheet has already drawn.
    """
    if error or app.builder.format != "html":
        return
    pictures = Path(app.outdir) / "_images"
    small = {path.name: path.with_suffix(".webp").name for path in pictures.glob("*.png")}
    for name, smaller in small.items():
        with Image.open(pictures / name) as picture:
            picture = picture.convert("RGB")
        picture.save(pictures / smaller, lossless=True)
        if (pictures / smaller).stat().st_size > SHARP:  # samples, not lines and letters
            picture.save(pictures / smaller, quality=85, method=6)
        (pictures / name).unlink()
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        page = re.sub(
            r'<link rel="preload" as="font"[^>]*>\n?|<script src="[^"]*/fontawesome/[^>]*></script>\n?',
            "",
            page,
        )
        page = re.sub(
            r"(?<=_images/)[\w.-]+\.png", lambda found: small.get(found[0], found[0]), page
        )
        path.write_text(page, encoding="utf-8")


def setup(app):
    app.connect("config-inited", without_address)
    app.connect("config-inited", without_thebe)
    app.connect("build-finished", lighter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
