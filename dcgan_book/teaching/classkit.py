"""The class kit: student copies, the book of solutions, slides, and checks that refuse wrong answers.

`python -m dcgan_book.teaching students class/` writes the chapters with empty answers, `solutions class/solutions` with
all answers open, `slides slides` one offline HTML file a chapter. Cells say by their tags what they are: `solution`, a
right answer; `check`, what tells right from wrong; `wrong`, wrong answers that the check has to refuse (see `refuses`).
"""

import ast
import copy
import html
import json
import os
import re
import shutil
from importlib import resources
from pathlib import Path

import nbformat

FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,})\{(?P<kind>[\w:-]+)\}[ \t]*(?P<title>.*)\n"
                   r"(?P<body>(?:.*\n)*?)(?P=fence)[ \t]*$", re.M)  # fmt: skip
ROLE = re.compile(r"(?P<before>[ ]?)\{(?P<role>[\w:]+)\}`(?P<text>[^`]*)`")
TARGET = re.compile(r"^\([\w-]+\)=(\n|$)", re.M)
GLUED = "application/papermill.record/"
EMPTY = "# Your answer. The check below asks for: {}\n"


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


def refuses(check, *wrong):
    """Tries wrong answers on an exercise's check; AssertionError for one that it accepts.

    check: a function of an answer that raises AssertionError, with a message, where the answer is wrong. Every check
    of the book is tried so, next to the right answer that its chapter gives. With weights of your own (then the
    variable DCGAN_BOOK_RESULTS is set) none is tried: what they draw may be too poor to tell answers apart.
    """
    if os.environ.get("DCGAN_BOOK_RESULTS"):
        return
    for i, answer in enumerate(wrong):
        try:
            check(answer)
        except AssertionError as refusal:
            if not str(refusal):
                raise AssertionError(
                    f"{check.__name__} refuses wrong answer {i} without a word"
                ) from refusal
        else:
            raise AssertionError(f"{check.__name__} accepts wrong answer {i}")


def exercises(notebook):
    """The titles of a notebook's exercises, each with its line of minutes, difficulty and kind."""
    found = []
    for cell in notebook.cells:
        for match in FENCE.finditer(cell.source if cell.cell_type == "markdown" else ""):
            if match["title"].startswith("Exercise"):
                line = re.search(
                    r"^\*(?P<minutes>[^,*]+), (?P<difficulty>\w+), (?P<kind>[\w ]+)\.\*",
                    match["body"],
                    re.M,
                )
                found.append((match["title"].removeprefix("Exercise: "), line and line.groupdict()))
    return found


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
    """A copy of a notebook with the answers taken out.

    Solutions in the text go, cells tagged `solution` keep one line that says which names their check asks for, and a
    check that fails does not stop what follows. Wrong answers and the ledger, which only the book needs, go too.
    """
    notebook = _plain(notebook, _closed)
    checks = "".join(cell.source for cell in notebook.cells if "check" in tags(cell))
    for cell in notebook.cells:
        if "solution" in tags(cell):
            names = [name for name in _names(cell.source) if re.search(rf"\b{name}\b", checks)]
            cell.source = EMPTY.format(", ".join(names))
            cell.metadata.tags = ["answer"]
        elif "check" in tags(cell):
            cell.metadata.tags = ["check", "raises-exception"]
    return notebook


def solutions(notebook):
    """A copy of a notebook with every solution open, below its exercise."""
    notebook = _plain(notebook, _opened)
    for cell in notebook.cells:
        cell.metadata["tags"] = sorted(tags(cell) - {"hide-cell"})
    return notebook


def _plain(notebook, solution):
    """A copy whose text needs no MyST: exercises are headings, `solution` writes what their dropdowns hold."""
    notebook = copy.deepcopy(notebook)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "wrong" not in tags(cell) and "ledger.write(" not in cell.source
    ]
    values = glued(notebook)
    notebook.metadata.pop("glued", None)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = FENCE.sub(lambda match: _block(match, solution), cell.source)
            cell.source = _prose(text, values)
        else:
            cell.outputs, cell.execution_count = [], None
            if "remove-cell" in tags(cell):  # numbers for the pages' text
                cell.metadata["jupyter"] = {"source_hidden": True}
    return notebook


def _block(match, solution):
    body = FENCE.sub(
        lambda inner: solution(inner) if inner["kind"] == "dropdown" else inner[0], match["body"]
    )
    if match["kind"] == "dropdown":
        return solution(match)
    if match["kind"] != "admonition":
        return "" if match["kind"].startswith("foot") else match[0]
    body = re.sub(r"\A(:[\w-]+:.*\n)+\n*", "", body)
    return f"#### {match['title']}\n\n{body.strip()}"


def _closed(match):
    return ""


def _opened(match):
    return f"**{match['title']}**\n\n{match['body'].strip()}\n"


def _names(source):
    """The names that a cell defines at its outermost level: functions first."""
    body = ast.parse(source).body
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    names += [target.id for node in body if isinstance(node, ast.Assign) for target in node.targets
              if isinstance(target, ast.Name) and target.id != "_"]  # fmt: skip
    return list(dict.fromkeys(names))


# ----------------------------------------------------------------------------------------------------- text


def read(path):
    """A notebook; to one that a build has run belongs what its cells glued, which the build keeps beside it."""
    notebook, beside = nbformat.read(path, as_version=4), path.with_suffix(".glue.json")
    if beside.exists():
        known = {
            name: output["data"]
            for name, output in json.loads(beside.read_text(encoding="utf-8")).items()
        }
        notebook.metadata["glued"] = {
            name: of["text/plain"] for name, of in known.items() if "text/plain" in of
        }
    return notebook


def glued(notebook):
    """What the cells of a notebook that was run have glued: name to str; empty for one without outputs."""
    values = dict(notebook.metadata.get("glued", {}))
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name", "")
            text = output.get("data", {}).get(GLUED + "text/plain")
            if text is not None:
                values[name.removeprefix(GLUED)] = text
    return values


def _prose(text, values):
    """Text without MyST's targets and roles."""
    return ROLE.sub(lambda match: _role(match, values), TARGET.sub("", text))


def _role(match, values):
    """A role of MyST in plain Markdown. A citation goes with the space before it, unless its author is the sentence's."""
    before, role, text = match.groups()
    shown, _, target = text.rpartition(" <")
    if role.startswith("foot"):
        author, year = re.match(r"([a-z]*)(\d*)", text).groups()
        return f"{before}{author.capitalize()} {year}" if role == "footcite:t" else ""
    if role == "glue:text":
        name, _, form = text.partition(":")
        return before + _formatted(values.get(name, "…"), form)
    if role == "doc":
        page = target.rstrip(">") if shown else text
        return f"{before}[{shown or page}]({page}.ipynb)"
    return before + (shown or text)


def _formatted(value, form):
    try:
        return format(ast.literal_eval(value), form)
    except (ValueError, SyntaxError):
        return value.strip("'")


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
    values = glued(notebook)
    for cell in notebook.cells:
        given = cell.metadata.get("slideshow", {}).get("slide_type")
        if cell.cell_type == "markdown":
            for kind, text in _talk(cell.source):
                yield nbformat.v4.new_markdown_cell(_math(_prose(text, values))), given or kind
        elif figure := cell.metadata.get("mystnb", {}).get("figure"):
            says = html.escape(cell.metadata["mystnb"].get("image", {}).get("alt", ""))
            pictures = [
                output.data["image/png"]
                for output in cell.outputs
                if "image/png" in output.get("data", {})
            ]
            shown = [
                f'<img src="data:image/png;base64,{picture.strip()}" alt="{says}">'
                for picture in pictures
            ]
            text = "\n".join([*shown, f'<p class="caption">{figure["caption"]}</p>'])
            yield nbformat.v4.new_markdown_cell(text), given or "subslide"
        elif given not in (None, "skip") or "derived" in tags(cell):
            yield copy.deepcopy(cell), given or "subslide"


def _talk(text):
    """(slide type, text) of the parts of a text, in order.

    A heading opens a slide with the first sentence below it. Tables and lists stand on slides, exercises without their
    solutions too; what else is said goes to the notes. A heading of UNSPOKEN opens nothing.
    """
    at, fresh = 0, False
    for match in re.finditer(FENCE.pattern + r"|^#{1,3} (?P<heading>.*)$|\Z", text, re.M):
        for block in filter(
            None, (part.strip() for part in re.split(r"\n\s*\n", text[at : match.start()]))
        ):
            if fresh and block[0] not in "|-*:(":
                sentence = re.match(r".*?[.?!](?=\s|$)", block, re.S)
                yield "-", sentence[0] if sentence else block
            fresh = False
            for part in _points(block):
                yield ("subslide" if block[0] in "|-" else "notes"), part
        at = match.end()
        if match["heading"] and match["heading"] not in UNSPOKEN:
            yield "slide", match[0]
            fresh = True
        elif match["kind"] == "admonition":
            yield "subslide", _block(match, _closed)


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
    # where a build leaves what it has run
    built = book.parent / "_build" / "jupyter_execute" / book.name / path.name
    source = built if built.exists() and (what == "slides" or _same(built, path)) else path
    notebook = read(source)
    if what == "slides":
        target = to / f"{path.stem}.html"
        target.write_text(slides(notebook, path.stem), encoding="utf-8")
        return target
    nbformat.write((students if what == "students" else solutions)(notebook), to / path.name)
    but = shutil.ignore_patterns("*.py", "__pycache__")
    for beside in ("experiments", "self-tests"):  # which the copies read
        if (book / beside).exists():
            shutil.copytree(book / beside, to / beside, dirs_exist_ok=True, ignore=but)
    return to / path.name


def _same(built, path):
    """Whether what was built is what the chapter says today."""
    sources = [
        [cell.source for cell in nbformat.read(file, as_version=4).cells] for file in (built, path)
    ]
    return sources[0] == sources[1]
