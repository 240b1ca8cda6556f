"""The class kit: student copies, the book of solutions, slides, and checks of exercises.

`python -m dcgan_book.teaching students class/` writes the chapters without their solutions, `solutions class/solutions`
with all answers filled in, `slides slides` one offline HTML file a chapter. In a chapter an exercise is a block quote
that begins with a bold "Exercise: ...", its solution a `<details>` below it; a cell tagged `answer` waits for the
reader's, and one tagged `check` tells right from wrong.
"""

import copy
import dis
import html
import json
import re
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import nbformat

EXERCISE = re.compile(
    r"^> \*\*Exercise: (?P<title>[^*]+?)\.?\*\*\s*(?:> )?"
    r"\*(?P<minutes>[^,*]+), (?P<difficulty>\w+), (?P<kind>[\w ]+)\.\*", re.M
)  # fmt: skip
SOLUTION = re.compile(r"\n*<details><summary>(?P<title>Solution[^<]*)</summary>\n(?P<body>.*?)</details>", re.S)  # fmt: skip
CODE = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)
CAPTION = "**Figure:"
UNANSWERED = "Not answered yet: put your answer in the place of the dots above, and run both cells."


class ClasskitError(ValueError):
    """What cannot be written, and what to do; one line."""


def chapters(book):
    """The files of the chapters in the folder `book`, in order; ClasskitError if there are none."""
    found = sorted(Path(book).glob("0*.ipynb"))
    if not found:
        raise ClasskitError(f"there are no chapters in {book}: name the folder of the notebooks")
    return found


def tags(cell):
    """The tags of a notebook's cell, a set."""
    return set(cell.metadata.get("tags", []))


# ------------------------------------------------------------------------------------------------- exercises


def answered(answer: object) -> bool:
    """Whether an answer is one: neither dots, nor a function of nothing but dots."""
    if answer is ...:
        return False
    code = getattr(answer, "__code__", None)
    if code is None:
        return True
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP")]
    return len(steps) > 2 or steps[0].argval not in (None, ...)


def check(test: Callable, *answers: object) -> None:
    """Says whether an exercise's answers are right.

    test: a function of the answers that raises AssertionError, with a message, where they are wrong. It is
    not asked while one of them is still dots.
    """
    if not all(answered(answer) for answer in answers):
        print(UNANSWERED)
        return
    try:
        test(*answers)
    except AssertionError as refusal:
        print(f"Not yet: {refusal}")
    else:
        print("Right.")


def refuses(test: Callable, *wrong: object) -> None:
    """Tries wrong answers on an exercise's check; AssertionError for one that it accepts, or refuses without a word.

    A wrong answer to a test of several things is a tuple of them.
    """
    for i, answer in enumerate(wrong):
        try:
            test(*answer) if isinstance(answer, tuple) else test(answer)
        except AssertionError as refusal:
            if not str(refusal):
                raise AssertionError(
                    f"{test.__name__} refuses wrong answer {i} without a word"
                ) from refusal
        else:
            raise AssertionError(f"{test.__name__} accepts wrong answer {i}")


def exercises(notebook):
    """The exercises of a notebook: dicts of title, minutes, difficulty and kind."""
    return [
        match.groupdict()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for match in EXERCISE.finditer(cell.source)
    ]


def self_test(chapter, folder="self-tests"):
    """Shows the questions of self-tests/<chapter>.json: click an answer and read why it is right or wrong.

    folder: where the questions are; by default `self-tests` beside the notebook, in whose folder
    its kernel runs.
    """
    from jupyterquiz import display_quiz

    questions = json.loads(Path(folder, f"{chapter}.json").read_text(encoding="utf-8"))
    display_quiz(questions, colors={"--jq-multiple-choice-bg": "#0b4a73"}, border_radius=4)


# ------------------------------------------------------------------------------------------------ notebooks


def students(notebook):
    """A copy of a notebook without its solutions, and without the ledger's last word, which only the book needs."""
    notebook = _copy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source)
    return notebook


def solutions(notebook):
    """A copy of a notebook with every solution open, its code in the cell that waits for an answer.

    Raises ClasskitError for such a cell without a solution before it.
    """
    notebook, code = _copy(notebook), ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            code = "\n\n\n".join(
                block.strip() for match in SOLUTION.finditer(cell.source) for block in CODE.findall(match["body"])
            ) or code  # fmt: skip
            cell.source = SOLUTION.sub(lambda match: f"\n\n**{match['title']}**\n{match['body']}", cell.source)  # fmt: skip
        elif "answer" in tags(cell):
            if not code:
                raise ClasskitError(f"no solution stands before the answer {cell.source!r}")
            cell.source, code = code, ""
    return notebook


def _copy(notebook):
    notebook = copy.deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if "ledger.close()" not in cell.source]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


# --------------------------------------------------------------------------------------------------- slides

SLIDES = """{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block footer_js -%}
<script>{{ resources.scripts }}</script>
<script>
Reveal.initialize({plugins: [RevealNotes], width: 1280, height: 720, margin: 0.03, slideNumber: "c/t", hash: true})
</script>
</html>
{%- endblock -%}
"""
SLIDE = 800  # characters of a list on one slide
UNSPOKEN = {"Setup", "References", "Test yourself"}
LOOK = """
.reveal { font-size: 28px; } .reveal :is(h1, h2, h3, h4) { text-transform: none; }
.reveal h1 { font-size: 2em; } .reveal h2 { font-size: 1.6em; } .reveal h3 { font-size: 1.2em; }
.reveal img {
  height: 430px; max-height: 430px !important; max-width: 100%; object-fit: contain; display: block; margin: auto;
  background: white;
}
.jp-OutputPrompt, .jp-InputPrompt { display: none; }
.reveal section { text-align: left; } .reveal pre { box-shadow: none; width: 100%; font-size: 18px; line-height: 1.25; }
.reveal .jp-RenderedHTMLCommon { font-size: 28px; line-height: 1.4; }
.reveal .jp-RenderedHTMLCommon code { font-size: 22px; }
.reveal .jp-RenderedHTMLCommon table { font-size: 19px; line-height: 1.25; }
.jp-OutputArea-output { text-align: center; } .reveal p.caption { font-size: 22px; } .reveal figure { margin: 0; }
"""


def slides(notebook, title):
    """One HTML file with the slides of a notebook that was run, for a browser without network. Returns a str.

    A cell's `slideshow` metadata says what it is, as in Jupyter. Where it says nothing: a heading opens a slide; a
    figure with its caption is one, and so are a table, a list, an exercise, and a cell tagged `derived`. All other text
    goes to the speaker's notes (press S), all other code is left out. Raises ClasskitError for a notebook without outputs.
    """
    if not any(cell.get("outputs") for cell in notebook.cells):
        raise ClasskitError(
            "slides show what cells have put out: build the book first, then run this again"
        )
    from nbconvert.exporters import SlidesExporter

    exporter = SlidesExporter(raw_template=SLIDES, exclude_input_prompt=True, exclude_output_prompt=True,
                              reveal_number="c/t")  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=list(_slides(notebook)), metadata={"title": title})
    files = resources.files("sphinx_revealjs") / "_static" / "revealjs"
    scripts = [
        (files / name).read_text(encoding="utf-8")
        for name in ("dist/reveal.js", "plugin/notes/notes.js")
    ]
    page, _ = exporter.from_notebook_node(notebook, {"scripts": "\n".join(scripts)})
    sheets = (files / "dist" / name for name in ("reset.css", "reveal.css", "theme/white.css"))
    styles = [sheet.read_text(encoding="utf-8") for sheet in sheets]
    style = re.sub(r"@import[^;]*;|@font-face\s*{[^}]*}", "", "\n".join(styles) + LOOK)
    page = re.sub(r"<link [^>]*/dist/reveal\.css[^>]*>", "", page)
    return re.sub(r"<link [^>]*/dist/theme/[^>]*>", lambda _: f"<style>{style}</style>", page)


def _slides(notebook):
    """The cells of the slides, each with its slide type; what follows a heading that says no more shares its slide."""
    alone = False
    for cell, kind in _parts(notebook):
        if alone and kind in ("slide", "subslide"):
            kind = "-"
        if kind != "notes":
            alone = cell.source.startswith("#") and "\n" not in cell.source
        cell.metadata = {"slideshow": {"slide_type": kind}}
        yield cell


def _parts(notebook):
    pictures = []
    for cell in notebook.cells:
        given = cell.metadata.get("slideshow", {}).get("slide_type")
        if cell.cell_type == "markdown":
            text = SOLUTION.sub("", cell.source)
            if pictures and text.startswith(CAPTION):
                caption, _, text = text.partition("\n")
                yield nbformat.v4.new_markdown_cell("\n".join([*pictures, caption])), "subslide"
            pictures = []
            for kind, part in _talk(text):
                yield nbformat.v4.new_markdown_cell(_math(part)), given or kind
            continue
        pictures = _pictures(cell)
        if not pictures and (given not in (None, "skip") or "derived" in tags(cell)):
            yield copy.deepcopy(cell), given or "subslide"


def _pictures(cell):
    """The pictures that a cell has put out, as HTML."""
    says = html.escape(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", ""))
    found = [output.data["image/png"] for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]  # fmt: skip
    return [f'<img src="data:image/png;base64,{one.strip()}" alt="{says}">' for one in found]


def _talk(text):
    """(slide type, text) of the parts of a text, in order.

    A heading opens a slide with the first sentence below it. Tables, lists and exercises stand on slides; what else is
    said goes to the notes. A heading of UNSPOKEN opens nothing.
    """
    fresh = False
    for block in filter(None, (part.strip() for part in re.split(r"\n\s*\n", text))):
        if heading := re.match(r"#{1,3} (.*)", block):
            if heading[1] not in UNSPOKEN:
                yield "slide", block
                fresh = True
            continue
        if fresh and block[0] not in "|->":
            sentence = re.match(r".*?[.?!](?=\s|$)", block, re.S)
            yield "-", sentence[0] if sentence else block
        fresh = False
        for part in _points(block):
            yield ("subslide" if block[0] in "|->" else "notes"), part


def _points(block):
    """A block of text; a long list in parts that a slide has room for."""
    parts = [""]
    for point in re.split(r"\n(?=- )", block) if block.startswith("- ") else [block]:
        if parts[-1] and len(parts[-1]) + len(point) > SLIDE:
            parts.append("")
        parts[-1] += ("\n" if parts[-1] else "") + point
    return parts


def _math(text):
    from latex2mathml.converter import convert

    alone = re.compile(r"\$\$(.+?)\$\$( \([\w-]+\))?", re.S)
    text = alone.sub(lambda match: convert(match[1].strip(), display="block"), text)
    return re.sub(r"(?<![\\$])\$([^$\n]+)\$", lambda match: convert(match[1]), text)


# --------------------------------------------------------------------------------------------- command line


def write(what, path, to):
    """Writes the copy or the slides of one chapter to the folder `to`. Returns the new file's path.

    `what` is students, solutions or slides; `path`, the chapter's file in the book's folder, beside which a build
    leaves `_build`. Raises ClasskitError where `to` holds the chapter
    itself, and for slides of one that has not been built.
    """
    if path.resolve().parent == to.resolve():
        raise ClasskitError(f"{to} holds the chapters themselves: name another folder")
    to.mkdir(parents=True, exist_ok=True)
    book = path.resolve().parent
    if what == "slides":
        built = book.parent / "_build" / "jupyter_execute" / book.name / path.name
        notebook = nbformat.read(built if built.exists() else path, as_version=4)
        target = to / f"{path.stem}.html"
        target.write_text(slides(notebook, path.stem), encoding="utf-8")
        return target
    notebook = nbformat.read(path, as_version=4)
    nbformat.write((students if what == "students" else solutions)(notebook), to / path.name)
    but = shutil.ignore_patterns("*.py", "__pycache__")
    for beside in ("experiments", "self-tests", "results"):  # which the copies read
        if (book / beside).exists():
            shutil.copytree(book / beside, to / beside, dirs_exist_ok=True, ignore=but)
    shutil.copy(book / "claims.yml", to)
    return to / path.name
