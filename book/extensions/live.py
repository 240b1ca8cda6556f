"""Brings the live figures of dcgan_book.live onto the pages: a script, a style, and the weights that they ask for."""

import html
import json
import re
import shutil
from pathlib import Path

from sphinx.util import logging

from dcgan_book import live, measure, pretrained

FIGURE = re.compile(r'<figure class="dcgan-live" data-figure="([^"]*)"')
INSTRUMENTS = {
    "instruments": "rooms",
    "instruments-faces": "faces",
}  # what a card says to what `load` takes
STATE = "application/vnd.jupyter.widget-state+json"
logger = logging.getLogger(__name__)


def page(app, pagename, templatename, context, doctree):
    """A page with figures gets the script and the style; no page keeps widget state, which nothing here reads."""
    states = [json.loads(html.unescape(found)) for found in FIGURE.findall(context.get("body", ""))]
    if states:
        app.add_js_file("live.js", loading_method="defer")
        app.add_css_file("live.css")
    asked = {state.get(key, "") for state in states for key in ("weights", "instrument")}
    for name in {name for name in asked if "-" in name}:
        app.env.live_weights = getattr(app.env, "live_weights", {}) | {name: pagename}
    kept = [
        file
        for file in context["script_files"]
        if getattr(file, "attributes", {}).get("type") != STATE
    ]
    context["script_files"] = kept


def packed(shipped):
    """What goes by a name: a generator, "-light" if its weights are, or an instrument."""
    if shipped in INSTRUMENTS:
        return live.pack_instrument(measure.load(INSTRUMENTS[shipped]))
    generator = pretrained.load(shipped.removesuffix("-light"), fetch=False).generator
    return live.pack(generator, light=shipped.endswith("-light"))


def write(app, error):
    """The files in `_static`, made here and not kept in the repository."""
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    (static / "live.js").write_text(live.page_script(), encoding="utf-8")
    shutil.copy(Path(live.__file__).with_name("live.css"), static)
    for wanted, pagename in getattr(app.env, "live_weights", {}).items():
        shipped = wanted.rpartition("-")[0]
        try:
            header, data = packed(shipped)
        except pretrained.PretrainedError as error:
            if shipped != "digiface":
                raise
            # a build asks nobody for what does not come with the book; without it a figure stays a picture
            logger.info("a live figure stays still: %s", error, location=pagename)
            continue
        name = live.weights_name(header, data, shipped)
        if name == wanted:
            script = live.weights_script(name, header, data)
            (static / f"live-{name}.js").write_text(script, encoding="utf-8")
        else:
            problem = "a live figure was made with other weights than today's %r: delete _build"
            logger.warning(problem, shipped, location=pagename)


def setup(app):
    app.connect("html-page-context", page, priority=900)  # after the extensions that add scripts
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
