"""Notebooks read the same in JupyterLab, VS Code, Colab, GitHub's preview and the book: what stands in them, unrun."""

import ast
import json
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from dcgan_book.teaching import classkit

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
CHAPTERS = classkit.chapters(BOOK)
COLUMNS = 84  # what fits beside the contents in a window of 1200 pixels, see book.css
LONGEST = 30  # lines of a cell
COLAB = '"google.colab" in sys.modules and'
# roles, fences of directives, targets, labels of formulas: MyST's, and raw elsewhere
RAW = re.compile(r"\{[\w:.-]+\}`|`{3,}\{|:{3,}\s*\{?|^\([\w-]+\)=\s*$|\$\$\s*\([\w-]+\)|\{\{", re.M)
PLAIN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def each(notebooks):
    return pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@pytest.mark.parametrize("text", [
    "as {footcite:p}`a2015` says", "```{admonition} Exercise\n```", "::: {note}", "(fig-x)=", "$$\nx\n$$ (eq-x)", "{{ x }}",
])  # fmt: skip
def test_what_is_raw_elsewhere_is_known(text):
    assert RAW.search(text)


@each(NOTEBOOKS)
def test_text_is_plain_markdown(path):
    assert [RAW.search(cell.source)[0] for cell in cells(path, "markdown") if RAW.search(cell.source)] == []  # fmt: skip


@each(NOTEBOOKS)
def test_a_plain_renderer_leaves_no_markup_behind(path):
    """As VS Code, Colab and GitHub would: what is left of the markup in the words that a reader sees."""
    for cell in cells(path, "markdown"):
        page = BeautifulSoup(PLAIN.render(cell.source), "html.parser")
        for tag in page(["code", "pre"]):
            tag.decompose()
        words = re.sub(r"\$[^$]*\$", "", page.get_text())
        assert not re.search(r"```|\*\*|\]\(|<summary>|^#+ |^> |:::", words, re.M), words
        assert len(page("details")) == len(page("summary")) == cell.source.count("<details>")


@each(NOTEBOOKS)
def test_nothing_is_hidden_from_who_runs_it(path):
    """No cell is taken off the page, and what does something on Colab alone is one line."""
    code = cells(path, "code")
    tags = set().union(*(classkit.tags(cell) for cell in code))
    assert tags <= {"answer", "check", "derived", "hide-input", "raises-exception"}
    assert not any("glue(" in cell.source or "source_hidden" in str(cell.metadata) for cell in code)
    lines = [line for cell in code for line in cell.source.splitlines() if "colab" in line]
    assert len(lines) == 1 and COLAB in lines[0]
    address = re.search(r'url: "(.*)"', (ROOT / "_config.yml").read_text(encoding="utf-8"))[1]
    assert f"git clone -q --depth 1 '{address}' book" in lines[0]


@each(NOTEBOOKS)
def test_cells_are_short(path):
    lengths = [cell.source.count("\n") + 1 for cell in cells(path, "code")]
    assert median(lengths) <= 10 and max(lengths) <= LONGEST
    lines = [line for cell in cells(path, "code") for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > COLUMNS and COLAB not in line] == []


@each(NOTEBOOKS)
def test_a_figure_has_words_for_who_cannot_see_it_and_a_caption_below(path):
    found = nbformat.read(path, as_version=4).cells
    for cell, below in zip(found, [*found[1:], None], strict=True):
        image = cell.metadata.get("mystnb", {}).get("image", {})
        captioned = below is not None and below.source.startswith("**Figure: ")
        assert ("alt" in image) == captioned, cell.source
        assert not captioned or len(image["alt"]) >= 20
    assert all("figure" not in cell.metadata.get("mystnb", {}) for cell in found)


@each(NOTEBOOKS)
def test_every_reference_is_listed_and_every_listed_one_is_used(path):
    text = "\n\n".join(cell.source for cell in cells(path, "markdown"))
    body, _, listed = text.partition("\n## References\n")
    address = re.compile(r"\((https?://(?:arxiv\.org|doi\.org|proceedings\.)[^)\s]*)\)")
    assert set(address.findall(body)) <= set(re.findall(r"\((https?://[^)\s]*)\)", listed))
    assert [link for link in address.findall(listed) if link not in body] == []


@each(NOTEBOOKS)
def test_links_to_other_pages_lead_there(path):
    links = [link for cell in cells(path, "markdown") for link in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", cell.source)]  # fmt: skip
    assert [link for link in links if not (BOOK / link).exists()] == []


@each(CHAPTERS)
def test_verdicts_come_from_the_rule_and_the_ledger_is_closed(path):
    code = "\n".join(cell.source for cell in cells(path, "code"))
    assert code.count("ledger.close()") == 1 and f'Ledger("{path.stem}"' in code.replace("\n    ", "")  # fmt: skip
    strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    said = strings + [cell.source for cell in cells(path, "markdown")]
    typed = re.compile(r"\b(holds in part|does not hold here|cannot be tested here)\b")
    assert [text for text in said if isinstance(text, str) and typed.search(text)] == []


def test_notebooks_are_committed_without_outputs():
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            outputs = cell.get("outputs", [])
            if "# NBVAL_CHECK_OUTPUT" not in "".join(cell["source"]):
                assert outputs == [], f"{path.name}: {''.join(cell['source'])[:60]}"
            assert all("image/png" not in output.get("data", {}) for output in outputs)
