"""What the theme's pages need to be light, and to be read from a folder before the repository has an address."""

import html
import json
import re
from pathlib import Path

from docutils import nodes
from PIL import Image

SHARP = 60_000  # bytes up to which a picture is kept without loss
DESCRIBED = 160  # letters of a page that a search engine shows
SELF_TESTS = Path(__file__).parents[1] / "self-tests"
NO_FIGURE = "<noscript>This is a picture: the live figure in its place needs JavaScript.</noscript>"


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


def described(app, pagename, templatename, context, doctree):
    """A page's first whole sentence or two, for search engines and previews of links."""
    if doctree is None:
        return
    paragraphs = (" ".join(node.astext().split()) for node in doctree.findall(nodes.paragraph))
    text = next((text for text in paragraphs if len(text) > 60), context.get("title", ""))
    if len(text) > DESCRIBED:
        text = text[:DESCRIBED].rsplit(" ", 1)[0] + " …"
    context["metatags"] += f'<meta name="description" content="{html.escape(text)}">\n'


def without_script(page, questions):
    """A page that says what is missing where no script runs, and shows its self-test's questions and answers there."""
    figure = re.compile(r'(<figure class="dcgan-live" data-figure="[^"]*">\s*<img[^>]*>)')
    page = figure.sub(lambda found: found[1] + NO_FIGURE, page)
    listed = "".join(
        f"<p><b>{html.escape(each['question'])}</b></p><ul>"
        + "".join(
            f"<li>{html.escape(answer['answer'])} <i>{html.escape(answer['feedback'])}</i></li>"
            for answer in each["answers"]
        )
        + "</ul>"
        for each in questions
    )
    quiz = re.compile(r'<div id="\w+" data-shufflequestions=')
    return quiz.sub(lambda found: f"<noscript>{listed}</noscript>{found[0]}", page, count=1)


def accessible(page):
    """A page without empty table headers, with a landmark for all, and Korean words that are spoken as such."""
    page = re.sub(r'<th(?: class="head")?>(?:<p></p>)?</th>', "<td></td>", page)
    page = re.sub(
        r'<div class="bd-sidebar-primary', '<div role="navigation" aria-label="Book" class="bd-sidebar-primary', page
    )  # fmt: skip
    return re.sub(r"<(dt|a)( [^>]*)>(?=[가-힣])", r'<\1\2 lang="ko">', page)


def enlargeable(page):
    """Pictures lead to themselves, where a phone can enlarge them."""
    picture = re.compile(r'(<a [^>]*>\s*)?<img [^>]*src="([^"]*_images/[^"]+)"[^>]*>')
    return picture.sub(
        lambda found: found[0] if found[1] else f'<a class="enlarge" href="{found[2]}">{found[0]}</a>', page
    )  # fmt: skip


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
        test = SELF_TESTS / f"{path.stem}.json"
        questions = json.loads(test.read_text(encoding="utf-8")) if test.exists() else []
        page = enlargeable(accessible(without_script(page, questions)))
        path.write_text(page, encoding="utf-8")


def setup(app):
    app.connect("config-inited", without_address)
    app.connect("config-inited", without_thebe)
    app.connect("html-page-context", described)
    app.connect("build-finished", lighter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
