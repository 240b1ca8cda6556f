"""The class kit: what students get, what teachers get, and that every check tells right from wrong."""

import ast
import json
import re
import subprocess
import symtable
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dcgan_book.teaching import __main__ as command
from dcgan_book.teaching import classkit, ledger

BOOK = Path(__file__).parents[2] / "book"
CHAPTERS = classkit.chapters(BOOK)
EXERCISE = """(a-place)=
Some text with {glue:text}`share:.0%` and {doc}`02-walking`.

````{admonition} Exercise: double
:class: tip

*5 minutes, easy, coding.* Write `double(x)`.

```{dropdown} Solution
Twice x is the SECRET.

    x + x
```
````

After it, $x^2$."""
KINDS = {"predict first", "coding", "measuring", "open"}
GLUE = {
    "scrapbook": {
        "name": "application/papermill.record/share",
        "mime_prefix": "application/papermill.record/",
    }
}


def small():
    """A chapter in small: text, a figure, an exercise with its check, wrong answers, the ledger."""
    picture = new_output(
        "display_data",
        {
            "image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
        },
    )
    glued = new_output(
        "display_data", {"application/papermill.record/text/plain": "0.25"}, metadata=GLUE
    )
    cells = [
        new_markdown_cell("# Title\n\nOpening words."),
        new_code_cell("x = 2", metadata={"tags": ["remove-cell"]}, outputs=[glued]),
        new_code_cell("x", metadata={"mystnb": {"figure": {"caption": "A caption", "name": "fig-x"}}}, outputs=[picture]),
        new_markdown_cell(EXERCISE),
        new_code_cell("def double(x):\n    return x + x\n\n\nunused = 1", metadata={"tags": ["solution", "hide-cell"]}),
        new_code_cell("def check_double(double):\n    assert double(3) == 6, 'not twice'\n\n\ncheck_double(double)",
                      metadata={"tags": ["check"]}),
        new_code_cell("from dcgan_book.teaching import classkit\nclasskit.refuses(check_double, lambda x: x)",
                      metadata={"tags": ["remove-cell", "wrong"]}),
        new_code_cell('ledger.write("00", [])', metadata={"tags": ["remove-cell"]}),
        new_code_cell("after = x + 1"),
    ]  # fmt: skip
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )


def run_under_nbval(notebook, folder):
    nbformat.write(notebook, folder / "copy.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", folder / "copy.ipynb",
               "-c", folder / "pytest.ini", "--rootdir", folder]  # fmt: skip
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # not this repository's
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def test_students_get_exercises_without_answers(tmp_path):
    copy = classkit.students(small())
    text = "\n".join(cell.source for cell in copy.cells)
    assert (
        ")=" not in text
        and "SECRET" not in text
        and "x + x" not in text
        and "refuses" not in text
        and "ledger" not in text
    )
    assert (
        "#### Exercise: double" in text
        and "with 25% and [02-walking](02-walking.ipynb)" in text
        and "After it" in text
    )
    assert [cell.source for cell in copy.cells if "answer" in classkit.tags(cell)] == [
        classkit.EMPTY.format("double")
    ]
    assert all(not cell.outputs for cell in copy.cells if cell.cell_type == "code")
    done = run_under_nbval(copy, tmp_path)
    # the check fails and nothing stops
    assert done.returncode == 0 and "5 passed" in done.stdout, done.stdout


def test_a_student_with_a_right_answer_passes_and_a_wrong_one_does_not(tmp_path):
    for answer, code in (
        ("def double(x):\n    return 2 * x", 0),
        ("def double(x):\n    return 7", 1),
    ):
        copy = classkit.students(small())
        for cell in copy.cells:
            if "answer" in classkit.tags(cell):
                cell.source = answer
            cell.metadata.tags = [tag for tag in classkit.tags(cell) if tag != "raises-exception"]
        assert run_under_nbval(copy, tmp_path).returncode == code


def test_the_book_of_solutions_is_open_and_runs(tmp_path):
    copy = classkit.solutions(small())
    text = "\n".join(cell.source for cell in copy.cells)
    assert (
        "**Solution**\n\nTwice x is the SECRET." in text
        and "return x + x" in text
        and "refuses" not in text
    )
    assert all("hide-cell" not in classkit.tags(cell) for cell in copy.cells)
    assert run_under_nbval(copy, tmp_path).returncode == 0


def test_a_check_has_to_refuse_and_to_say_why():
    def check(answer):
        assert answer > 0, "too small"
        if answer > 9:
            raise AssertionError  # without a word

    classkit.refuses(check, 0, -1)
    for accepted in (3, 10):
        with pytest.raises(AssertionError, match="check"):
            classkit.refuses(check, accepted)


def test_on_weights_of_your_own_no_wrong_answer_is_tried(monkeypatch):
    monkeypatch.setenv("DCGAN_BOOK_RESULTS", "somewhere")
    classkit.refuses(lambda answer: None, 3)


def test_slides_need_no_network(browser, tmp_path):
    page = tmp_path / "slides.html"
    page.write_text(classkit.slides(small(), "small"), encoding="utf-8")
    outside, faults = [], []
    context = browser.new_context()
    context.route(
        lambda url: not url.startswith(("file:", "data:", "blob:")),
        lambda route: (outside.append(route.request.url), route.abort()),
    )
    tab = context.new_page()
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(page.as_uri())
    tab.wait_for_function("window.Reveal && Reveal.isReady()")
    slides = tab.evaluate("Reveal.getTotalSlides()")
    shown = tab.evaluate("Reveal.getSlides().map(s => s.innerText)")
    context.close()
    assert (outside, faults, slides) == ([], [], 3)
    assert "Title" in shown[0] and "A caption" in shown[1] and "Exercise: double" in shown[2]
    tree = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    notes = " ".join(note.get_text() for note in tree.select("aside.notes"))
    assert (
        "Opening words" in notes
        and "with 25% and" in notes
        and "SECRET" not in page.read_text(encoding="utf-8")
    )
    assert tree.select("aside.notes math")


def test_numbers_of_a_build_reach_slides_and_copies(tmp_path):
    """A build takes what cells glue out of the notebooks that it runs, and keeps it beside them."""
    book, built = tmp_path / "book", tmp_path / "_build" / "jupyter_execute" / "book"
    notebook = small()
    notebook.cells[1].outputs = []
    for folder in (book, built):
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / "00.ipynb")
    glue = json.dumps({"share": {"data": {"text/plain": "0.25"}}})
    (built / "00.glue.json").write_text(glue, encoding="utf-8")
    for what in ("slides", "students", "solutions"):
        written = classkit.write(what, book / "00.ipynb", tmp_path / what)
        assert "with 25% and" in written.read_text(encoding="utf-8")


def test_a_slide_is_neither_too_full_nor_empty():
    points = "\n".join(f"- {'word ' * 60}{i}" for i in range(5))
    cells = [new_markdown_cell(f"# Title\n\n## Part\n\nOne {{doc}}`x` sentence {{footcite:p}}`who2020`. Another.\n\n{points}\n\n## Next"),
             new_code_cell("x", metadata={"mystnb": {"figure": {"caption": "A caption"}}}, outputs=small().cells[2].outputs)]  # fmt: skip
    slides = [
        (cell.metadata.slideshow.slide_type, cell.source)
        for cell in classkit._slides(new_notebook(cells=cells))
    ]
    kinds = [kind for kind, _ in slides if kind != "notes"]
    assert kinds == ["slide", "-", "-", "subslide", "subslide", "subslide", "slide", "-"]
    assert slides[2][1] == "One [x](x.ipynb) sentence."
    assert all(len(text) <= classkit.SLIDE for kind, text in slides if text.startswith("- "))


def test_slides_of_a_notebook_that_never_ran_are_refused():
    notebook = small()
    for cell in notebook.cells:
        cell.get("outputs", []).clear()
    with pytest.raises(classkit.ClasskitError, match="build the book first"):
        classkit.slides(notebook, "small")


def test_the_command_writes_a_folder_and_never_over_the_book(tmp_path, capsys):
    command.main(["--book", str(BOOK), "students", str(tmp_path / "class")])
    assert sorted(path.name for path in (tmp_path / "class").glob("*.ipynb")) == [
        path.name for path in CHAPTERS
    ]
    for read in ("experiments/by-eye.json", "self-tests/01-training.json"):  # by the chapters
        assert (tmp_path / "class" / read).exists()
    with pytest.raises(SystemExit, match="another folder"):
        command.main(["--book", str(BOOK), "students", str(BOOK)])
    with pytest.raises(SystemExit, match="no chapters"):
        command.main(["--book", str(tmp_path), "slides", str(tmp_path / "slides")])


def test_the_command_accepts_what_a_chapter_finds(tmp_path, capsys):
    """A chapter whose rows have changed stops with an error; accepted, its file has the new ones."""
    rows = "from dcgan_book.teaching import ledger\n"
    rows += (
        "row = ledger.Row('c', '6', 't', '{}', 'k', 'holds', 'fig')\nledger.write('01-new', [row])"
    )
    for found in ("12 %", "60 %"):
        notebook = new_notebook(
            cells=[new_code_cell(rows.format(found))], metadata=small().metadata
        )
        nbformat.write(notebook, tmp_path / "01-new.ipynb")
        assert run_under_nbval(notebook, tmp_path).returncode == 1
        command.main(["--book", str(tmp_path), "accept", "01-new"])
        assert [row.value for row in ledger.load("01-new", tmp_path / "results")] == [found]
    (tmp_path / "copy.ipynb").unlink()
    with pytest.raises(SystemExit, match="no chapter '07'"):
        command.main(["--book", str(tmp_path), "accept", "07"])


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapters_exercises(path):
    """Four kinds, each with its minutes and difficulty, a solution, and for code a check that refuses wrong answers."""
    notebook = nbformat.read(path, as_version=4)
    found = classkit.exercises(notebook)
    assert [title for title, line in found if line is None] == []
    assert {line["difficulty"] for _, line in found} <= {"easy", "medium", "hard"}
    assert {line["kind"] for _, line in found} == KINDS and len(found) >= 4
    solved = sum(
        len(re.findall(r"^`{3,}\{dropdown\} Solution", cell.source, re.M))
        for cell in notebook.cells
    )
    assert solved == len(found)
    kinds = [classkit.tags(cell) & {"solution", "check", "wrong"} for cell in notebook.cells]
    order = [kind.pop() for kind in kinds if kind]
    assert order == ["solution", "check", "wrong"] * (len(order) // 3)
    assert len(order) // 3 == sum(line["kind"] in ("coding", "measuring") for _, line in found)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_student_copies_keep_the_rest_and_lose_the_answers(path):
    notebook = nbformat.read(path, as_version=4)
    copy = classkit.students(notebook)
    text = "\n".join(cell.source for cell in copy.cells)
    for cell in notebook.cells:
        if "solution" in classkit.tags(cell):
            assert cell.source not in text
        elif (
            cell.cell_type == "code"
            and not classkit.tags(cell) & {"wrong"}
            and "ledger.write(" not in cell.source
        ):
            assert cell.source in text
    assert "dropdown" not in text and not classkit.ROLE.search(text)
    for cell in copy.cells:
        if cell.cell_type == "code" and not cell.source.startswith("%"):
            ast.parse(cell.source)


def names_of(source):
    """(names that a cell gives a value to at its outermost level, names that it takes from there)."""
    outermost = symtable.symtable("" if source.startswith("%") else source, "cell", "exec")
    tables = [outermost]
    for table in tables:
        tables += table.get_children()
    stored = {
        name.get_name()
        for name in outermost.get_symbols()
        if name.is_assigned() or name.is_imported()
    }
    return stored, {name.get_name() for table in tables for name in table.get_symbols()
                    if name.is_referenced() and (table is outermost or name.is_global())}  # fmt: skip


def missed(kept, removed):
    """Names that cells which stay read, and that only cells which go would have defined."""
    gone, known, missing = set().union(*(names_of(source)[0] for source in removed)), set(), set()
    for source in kept:
        stored, read = names_of(source)
        known |= stored
        missing |= (read & gone) - known
    return missing


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_copies_run_what_the_chapter_runs(path, tmp_path):
    """The solutions have the chapter's own cells, which nbval runs, and miss none that is left out; students' too."""
    chapter = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    only_book = [
        cell for cell in chapter if "wrong" in classkit.tags(cell) or "ledger.write(" in cell.source
    ]
    shared = [cell.source for cell in chapter if cell not in only_book]
    for what in ("solutions", "students"):
        copy = [
            cell
            for cell in nbformat.read(classkit.write(what, path, tmp_path), as_version=4).cells
            if cell.cell_type == "code"
        ]
        if what == "solutions":
            assert [cell.source for cell in copy] == shared
            kept, removed = shared, [cell.source for cell in only_book]
        else:
            kept = [cell.source for cell in copy if not classkit.tags(cell) & {"answer", "check"}]
            removed = [cell.source for cell in only_book] + [
                cell.source for cell in chapter if "solution" in classkit.tags(cell)
            ]
            assert len(copy) == len(shared)
        assert missed(kept, removed) == set()


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_student_runs_a_chapter_up_to_the_first_empty_answer(path, tmp_path):
    copy = nbformat.read(classkit.write("students", path, tmp_path), as_version=4)
    first_check = next(i for i, cell in enumerate(copy.cells) if "check" in classkit.tags(cell))
    copy.cells = copy.cells[: first_check + 1]
    done = run_under_nbval(copy, tmp_path)
    assert done.returncode == 0, done.stdout
    cells = sum(cell.cell_type == "code" for cell in copy.cells)
    # the last is the check, which may say that the answer is missing
    assert f"{cells} passed" in done.stdout


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_self_test_has_one_right_answer_and_says_why(path):
    questions = json.loads((BOOK / "self-tests" / f"{path.stem}.json").read_text(encoding="utf-8"))
    assert len(questions) >= 4
    for question in questions:
        answers = question["answers"]
        assert sum(answer["correct"] for answer in answers) == 1 and len(answers) >= 3
        assert len({answer["answer"] for answer in answers}) == len(answers)
        assert all(answer["feedback"].strip() for answer in answers)
