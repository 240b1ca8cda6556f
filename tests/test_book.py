"""The built book: complete, and readable without a network, from a folder."""

import gzip
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup

from dcgan_book.teaching import classkit

ROOT = Path(__file__).parent.parent
WEIGHTS = re.compile(r"live-.+\.js")
PAGES = [
    "intro",
    "01-training",
    "02-walking",
    "03-features",
    "04-forgetting",
    "05-arithmetic",
    "beyond",
    "zoo",
    "claims",
    "teaching",
    "numbers",
    "glossary",
]
CHAPTERS = [page for page in PAGES if page[0] == "0"]


@pytest.fixture(scope="session")
def html():
    """The folder of the built pages: those of the README's command if they are newer than all sources."""
    built = ROOT / "_build" / "html"
    sources = [ROOT / "_config.yml", ROOT / "_toc.yml"]
    sources += [
        path
        for folder in ("book", "dcgan_book")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    newest = max(path.stat().st_mtime for path in sources)
    if (
        not (built / "book" / "intro.html").exists()
        or (built / "book" / "intro.html").stat().st_mtime < newest
    ):
        shutil.rmtree(ROOT / "_build", ignore_errors=True)
        build = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "--keep-going"]
        done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return built


@cache  # pages are large, and each has links to most others
def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def targets(path):
    return {tag["id"] for tag in soup(path).find_all(id=True)}


@cache
def views(path):
    """What the address can set the state of."""
    if not path.exists():
        return set()
    figures = soup(path).select(".dcgan-live[data-figure]")
    return {json.loads(figure["data-figure"])["view"] for figure in figures}


@cache
def packed(path):
    """Bytes of a file as a server sends it."""
    return len(gzip.compress(path.read_bytes()))


def test_every_chapter_was_built(html):
    assert [page for page in PAGES if not (html / "book" / f"{page}.html").exists()] == []
    assert (html / "index.html").exists()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width, scheme", [(1280, "light"), (360, "dark")])
def test_a_page_opens_from_a_folder_and_asks_nobody(html, browser, page, width, scheme):
    outside, faults = [], []
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    context.route(
        lambda url: not url.startswith(("file:", "data:", "blob:")),
        lambda route: (outside.append(route.request.url), route.abort()),
    )
    tab = context.new_page()
    tab.on(
        "console", lambda message: faults.append(message.text) if message.type == "error" else None
    )
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto((html / "book" / f"{page}.html").as_uri())
    tab.wait_for_timeout(300)  # for what scripts ask for after loading
    missing = tab.evaluate(
        "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    )
    overflow = tab.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    context.close()
    assert outside == []
    assert faults == []
    assert missing == []
    assert overflow <= 0, f"the page is {overflow} px wider than the screen"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_light(html, browser, page):
    """At most 1.5 MB as a server sends it, packed, all that the theme asks for included; weights load apart."""
    asked = set()
    context = browser.new_context()
    tab = context.new_page()
    tab.on("request", lambda request: asked.add(request.url.partition("?")[0]))
    tab.goto((html / "book" / f"{page}.html").as_uri())
    tab.wait_for_timeout(300)
    context.close()
    files = [Path(url2pathname(urlsplit(url).path)) for url in asked if url.startswith("file:")]
    sent = {file.name: packed(file) for file in files if not WEIGHTS.match(file.name)}
    assert f"{page}.html" in sent and sum(sent.values()) <= 1.5e6, sent


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_is_read_to_its_end_has_asked_for_six_megabytes_at_most(html, browser, page):
    """All files as they lie there, weights included that figures load by themselves."""
    asked = set()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    tab.on("request", lambda request: asked.add(request.url.partition("?")[0]))
    tab.goto((html / "book" / f"{page}.html").as_uri())
    for figure in tab.locator(".dcgan-live[data-figure]").all():
        figure.scroll_into_view_if_needed()
        figure.get_by_text("Load it").or_(figure.locator("canvas").first).first.wait_for()
    tab.wait_for_timeout(500)  # for the instrument, which comes after the generator
    context.close()
    files = [Path(url2pathname(urlsplit(url).path)) for url in asked if url.startswith("file:")]
    sizes = {file.name: file.stat().st_size for file in files}
    assert sum(sizes.values()) <= 6e6, sizes


def test_the_first_page_opens_with_a_live_room_and_leads_to_the_chapters(html):
    tree = soup(html / "book" / "intro.html")
    first = tree.select_one("h1").find_next("figure")
    assert json.loads(first["data-figure"])["view"] == "opening"
    tiles = tree.select(".chapter-tiles a")
    assert [tile["href"] for tile in tiles] == [f"{page}.html" for page in CHAPTERS]
    assert len({tile.img["src"] for tile in tiles}) == 5


@pytest.mark.parametrize("page", PAGES)
def test_pictures_say_what_they_show_and_links_lead_somewhere(html, page):
    here = html / "book" / f"{page}.html"
    tree = soup(here)
    pictures = tree.select("article img")
    assert [
        str(img)[:100]
        for img in pictures
        if len(img.get("alt", "")) < 20 or "_images" in img["alt"]
    ] == []
    dead = []
    for link in tree.select("article a[href], nav a[href]"):
        target, _, anchor = link["href"].partition("#")
        if re.match(r"\w+:", target):
            continue
        path = here.parent / target if target else here
        known = path.exists() and (not anchor or anchor in targets(path))  # some lead to pictures
        if not known and anchor.partition("=")[0] not in views(path):
            dead.append(link["href"])
    assert dead == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_plain_markdown_is_dressed(html, page):
    """Exercises are boxes, captions have numbers, sentences stand without code, terms lead to the glossary."""
    tree = soup(html / "book" / f"{page}.html")
    assert tree.select(".admonition.exercise") and not tree.select("article blockquote strong")
    captions = [tag.get_text() for tag in tree.select("p.figure-caption strong")]
    assert [int(text.split()[1].rstrip(":")) for text in captions] == list(range(1, len(captions) + 1))  # fmt: skip
    assert len(captions) >= 5 and tree.select(".cell.sentence .verdict-card")
    assert tree.select("article a[href^='glossary.html#term-']")


def test_no_button_leads_to_an_address_that_is_not_set(html):
    assert "colab.research.google.com" not in (html / "book" / "01-training.html").read_text(
        encoding="utf-8"
    )


FORMULAS = r"""# Formulas

Inline $x^2$ and a block:

$$
\log D(x) + \bigl(1 - \tfrac12\bigr)
$$ (eq-one)

\begin{align*}
a &= b \\
c &= d
\end{align*}

As {eq}`eq-one` says.
"""


def test_formulas_become_mathml_without_a_script(tmp_path):
    (tmp_path / "index.md").write_text(FORMULAS, encoding="utf-8")
    (tmp_path / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / 'extensions')!r})\n"
        "extensions = ['myst_parser', 'mathml']; html_math_renderer = 'mathml'\n"
        "myst_enable_extensions = ['dollarmath', 'amsmath']\n",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, "-m", "sphinx", "-qW", tmp_path, tmp_path / "out"], check=True)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    tree = BeautifulSoup(page, "html.parser")
    inline, numbered, aligned = tree.find_all("math")
    assert inline["display"] == "inline" and inline.msup
    assert numbered["display"] == "block" and tree.select_one(
        "#equation-eq-one .eqno"
    ).text.startswith("(1)")
    assert len(aligned.find_all("mtr")) == 2
    assert tree.find("a", href="#equation-eq-one")
    assert "MathJax" not in page and "\\" not in tree.get_text()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width, scheme", [(1280, "light"), (360, "dark")])
def test_a_page_is_for_everyone(html, browser, page, width, scheme):
    """axe-core finds nothing: contrast, names of controls, order of the keyboard, headings, alternatives."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto((html / "book" / f"{page}.html").as_uri())
    tab.wait_for_timeout(300)
    found = Axe().run(tab).response["violations"]
    context.close()
    assert [(fault["id"], fault["nodes"][0]["html"][:120]) for fault in found] == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_code_does_not_scroll_sideways(html, browser, page):
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    tab = context.new_page()
    tab.goto((html / "book" / f"{page}.html").as_uri())
    wide = tab.evaluate("""[...document.querySelectorAll("div.cell_input pre")]
        .filter(code => code.scrollWidth > code.clientWidth).map(code => code.textContent.slice(0, 80))""")
    cells = tab.locator("div.cell_input pre").count()
    context.close()
    assert cells > 5 and wide == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapters_slides_fit(html, browser, page, tmp_path):
    slides = classkit.write("slides", ROOT / "book" / f"{page}.ipynb", tmp_path)
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    tab = context.new_page()
    tab.goto(slides.as_uri())
    tab.wait_for_function("window.Reveal && Reveal.isReady()")
    # a slide in flight is measured where it is not
    tab.evaluate("Reveal.configure({transition: 'none'})")
    tab.wait_for_timeout(300)
    over = tab.evaluate("""Reveal.getSlides().map(slide => {
        const {h, v} = Reveal.getIndices(slide);
        Reveal.slide(h, v);
        const shown = [...slide.querySelectorAll(":not(aside, aside *)")].map(part => part.getBoundingClientRect());
        return [slide.innerText.slice(0, 60), Math.max(...shown.map(box => box.bottom)), Math.max(...shown.map(box => box.right))];
    }).filter(([text, bottom, right]) => bottom > 722 || right > 1282)""")
    texts = tab.evaluate("Reveal.getSlides().map(slide => slide.innerText)")
    context.close()
    assert over == [] and len(texts) > 20
    assert [text for text in texts if not text.strip() or "…" in text] == []


def test_a_page_prints_black_on_white(html, browser):
    context = browser.new_context(color_scheme="dark")
    tab = context.new_page()
    tab.goto((html / "book" / "02-walking.html").as_uri())
    tab.emulate_media(media="print", color_scheme="dark")
    colours = set(
        tab.evaluate(
            "[...document.querySelectorAll('article p, article pre span')].map(e => getComputedStyle(e).color)"
        )
    )
    shown = tab.evaluate("""[".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".prev-next-area"]
        .filter(name => getComputedStyle(document.querySelector(name)).display != "none")""")
    wide = tab.evaluate(
        "document.querySelector('article').getBoundingClientRect().width / innerWidth"
    )
    pages = tab.pdf(format="A4").count(b"/Type /Page\n")
    context.close()
    assert colours == {"rgb(0, 0, 0)"} and shown == []
    assert wide > 0.8 and 5 < pages < 40


def test_a_self_test_answers(html, browser):
    context = browser.new_context()
    tab = context.new_page()
    tab.goto((html / "book" / "02-walking.html").as_uri())
    for correct in ("false", "true"):
        tab.click(f".Quiz .MCButton[data-correct={correct}]")
        said = tab.inner_text(".Quiz .Feedback")
        assert said.strip()
    right = json.loads(
        (ROOT / "book" / "self-tests" / "02-walking.json").read_text(encoding="utf-8")
    )[0]["answers"]
    context.close()
    assert next(answer["feedback"] for answer in right if answer["correct"]) in said


def test_a_button_hides_and_shows_all_code(html, browser):
    context = browser.new_context(viewport={"width": 360, "height": 800})
    tab = context.new_page()
    tab.goto((html / "book" / "02-walking.html").as_uri())
    button = tab.get_by_role("button", name="hide code")
    size = button.bounding_box()
    before = tab.locator(".cell_input:visible").count()
    button.click()
    hidden = tab.locator(":is(.cell_input, .above-input):visible").count()
    tab.goto((html / "book" / "zoo.html").as_uri())  # the choice is kept
    kept = tab.locator(".cell_input:visible").count()
    tab.get_by_role("button", name="show code").click()
    after = tab.locator(".cell_input:visible").count()
    context.close()
    assert min(size["width"], size["height"]) >= 24
    assert before > 3 and hidden == kept == 0 and after > 3
