"""Every notebook of the book in a real JupyterLab: no raw markup, it runs to its end, its live figures react."""

import json
import re
import shutil
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from dcgan_book.teaching import classkit

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
NOTEBOOKS = sorted(path.stem for path in BOOK.glob("*.ipynb"))
WRONG = ROOT / "tests" / "teaching" / "wrong"
RAW = re.compile(r"\{[\w:]+\}`|```|:::|\*\*|</?details|\$\$")
MINUTES = 10
PIXELS = """figure => figure.innerText
    + [...figure.querySelectorAll("canvas, img")].map(c => c.src || c.toDataURL()).join()"""
WORDS = """cells => cells.map(cell => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("code, pre").forEach(code => code.remove());
    return copy.textContent;
})"""


def opened(name):
    """A notebook with its solutions in place, and after each check the wrong answers that it has to refuse."""
    notebook = classkit.solutions(nbformat.read(BOOK / f"{name}.ipynb", as_version=4))
    path, cells = WRONG / f"{name}.json", []
    wrong = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for cell in notebook.cells:
        cells.append(cell)
        if "check" in classkit.tags(cell):
            test = re.search(r"^classkit\.check\((\w+), ", cell.source, re.M)[1]
            cells.append(new_code_cell(f"classkit.refuses({test}, {', '.join(wrong[test])})"))
    notebook.cells = cells
    return notebook


@pytest.fixture(scope="module")
def lab(tmp_path_factory, jupyter):
    """A server in a copy of the book, with the notebooks as they are and, in front of their names, "solved-"."""
    home = shutil.copytree(BOOK, tmp_path_factory.mktemp("lab") / "book")
    for name in NOTEBOOKS:
        nbformat.write(opened(name), home / f"solved-{name}.ipynb")
    return jupyter(home, DCGAN_BOOK_LIVE_SECONDS="1"), home


@pytest.fixture
def tab(browser, lab):
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    yield tab
    context.close()
    address, _ = lab  # a kernel that is left would keep its gigabyte
    for kernel in json.load(urllib.request.urlopen(f"{address}/api/kernels")):
        url = f"{address}/api/kernels/{kernel['id']}"
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()


def words(tab):
    """What is read of a notebook's text: its Markdown cells, as they are rendered."""
    tab.locator(".jp-MarkdownOutput").first.wait_for()
    return "\n".join(tab.locator(".jp-MarkdownOutput").evaluate_all(WORDS))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_without_raw_markup_and_runs_to_its_end(lab, tab, name):
    address, home = lab
    tab.goto(f"{address}/lab/workspaces/{name}/tree/solved-{name}.ipynb")
    tab.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    text = words(tab)
    cells = nbformat.read(home / f"solved-{name}.ipynb", as_version=4).cells
    assert tab.locator(".jp-MarkdownCell").count() == sum(c.cell_type == "markdown" for c in cells)
    assert RAW.findall(text) == []
    tab.get_by_role("menuitem", name="Run", exact=True).click()
    tab.get_by_text("Run All Cells", exact=True).click()
    tab.wait_for_function(
        """count => [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
            .filter(prompt => /\\[\\d+\\]/.test(prompt.innerText)).length == count""",
        arg=sum(cell.cell_type == "code" for cell in cells),
        timeout=MINUTES * 60_000,
    )
    errors = tab.locator(".jp-OutputArea-output[data-mime-type*=error]").all_inner_texts()
    assert errors == []
    said = [text.strip() for text in tab.locator(".jp-OutputArea-output").all_inner_texts()]
    checks = [cell for cell in cells if "check" in classkit.tags(cell)]
    assert said.count("Right.") == len(checks)
    assert not any(RAW.search(one) for one in said if "verdict" in one)
    for figure in tab.locator(".dcgan-live").all():  # they come alive where they are looked at
        figure.scroll_into_view_if_needed()
        alive = "figure => figure.dataset.state == 'alive'"
        tab.wait_for_function(alive, arg=figure.element_handle(), timeout=60_000)
        for slider in figure.locator("input[type=range]").all()[:1]:
            before = figure.evaluate(PIXELS)
            slider.focus()
            last = slider.input_value() == slider.get_attribute("max")
            slider.press("PageDown" if last else "PageUp")
            tab.wait_for_function(
                f"([figure, before]) => ({PIXELS})(figure) != before",
                arg=[figure.element_handle(), before],
            )


def test_a_chapter_opens_in_notebook_7_too(lab, tab):
    address, _ = lab
    tab.goto(f"{address}/notebooks/04-forgetting.ipynb")
    text = words(tab)
    assert "windows" in text and RAW.findall(text) == []
