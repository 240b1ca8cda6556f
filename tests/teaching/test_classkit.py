"""The class kit: what students get, what teachers get, and that every check tells right from wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dcgan_book.teaching import __main__ as command
from dcgan_book.teaching import classkit, ledger

BOOK = Path(__file__).parents[2] / "book"
CHAPTERS = classkit.chapters(BOOK)
WRONG = Path(__file__).parent / "wrong"
EXERCISE = """> **Exercise: double.** *5 minutes, easy, coding.* Write `double(x)`.

<details><summary>Solution</summary>

Twice x is the SECRET.

```python
def double(x):
    return x + x
```

</details>"""
KINDS = {"predict first", "coding", "measuring", "open"}


def small():
    """A chapter in small: text, a figure, an exercise with its answer and check, the ledger."""
    picture = new_output(
        "display_data",
        {
            "image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
        },
    )
    cells = [
        new_markdown_cell("# Title\n\nOpening words, $x^2$."),
        new_code_cell("from dcgan_book.teaching import classkit\n\nx = 2"),
        new_code_cell("x", metadata={"mystnb": {"image": {"alt": "a dot in the dark"}}}, outputs=[picture]),
        new_markdown_cell("**Figure: A caption.** Look at the dot."),
        new_markdown_cell(EXERCISE),
        new_code_cell("def double(x):\n    ...", metadata={"tags": ["answer"]}),
        new_code_cell("def check_double(double):\n    assert double(3) == 6, 'not twice'\n\n\nclasskit.check(check_double, double)",
                      metadata={"tags": ["check"]}),
        new_code_cell("ledger.close()"),
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


def printed(notebook, folder):
    """What the check of a notebook says when its cells are run."""
    notebook = NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
    (check,) = (cell for cell in notebook.cells if "check" in classkit.tags(cell))
    return check.outputs[0].text.strip()


def test_students_get_exercises_without_answers(tmp_path):
    copy = classkit.students(small())
    text = "\n".join(cell.source for cell in copy.cells)
    assert "SECRET" not in text and "x + x" not in text and "ledger" not in text
    assert "Exercise: double" in text and "def double(x):\n    ..." in text
    assert all(not cell.outputs for cell in copy.cells if cell.cell_type == "code")
    assert printed(copy, tmp_path) == classkit.UNANSWERED


def test_a_fold_that_is_no_solution_stays_as_it_is():
    fold = "<details><summary>What you will learn</summary>\n\n- Sums.\n\n</details>"
    notebook = small()
    notebook.cells[0].source += f"\n\n{fold}"
    for copy in (classkit.students(notebook), classkit.solutions(notebook)):
        assert fold in copy.cells[0].source


@pytest.mark.parametrize(
    "answer, said", [("return 2 * x", "Right."), ("return 7", "Not yet: not twice")]
)
def test_a_check_tells_a_right_answer_from_a_wrong_one(tmp_path, answer, said):
    copy = classkit.students(small())
    (cell,) = (cell for cell in copy.cells if "answer" in classkit.tags(cell))
    cell.source = cell.source.replace("...", answer)
    assert printed(copy, tmp_path) == said


def test_the_book_of_solutions_is_open_and_right(tmp_path):
    copy = classkit.solutions(small())
    text = "\n".join(cell.source for cell in copy.cells)
    assert "**Solution**\n\nTwice x is the SECRET." in text and "<details>" not in text
    assert printed(copy, tmp_path) == "Right."
    without = small()
    without.cells[4].source = without.cells[4].source.partition("<details>")[0]
    with pytest.raises(classkit.ClasskitError, match="no solution stands before"):
        classkit.solutions(without)


def stub(x):
    """What to write."""
    ...


@pytest.mark.parametrize("answer", [..., stub, lambda: None, lambda x: ...])
def test_dots_are_no_answer(answer, capsys):
    classkit.check(lambda *given: given[0] / 0, answer)
    assert capsys.readouterr().out.strip() == classkit.UNANSWERED
    classkit.check(lambda *given: None, 3, lambda x: x)
    assert capsys.readouterr().out.strip() == "Right."


def test_a_check_has_to_refuse_and_to_say_why():
    def check(answer):
        assert answer > 0, "too small"
        if answer > 9:
            raise AssertionError  # without a word

    classkit.refuses(check, 0, -1)
    for accepted in (3, 10):
        with pytest.raises(AssertionError, match="check"):
            classkit.refuses(check, accepted)


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
    assert "Opening words" in notes and "SECRET" not in page.read_text(encoding="utf-8")
    assert tree.select("aside.notes math")


def test_a_slide_is_neither_too_full_nor_empty():
    points = "\n".join(f"- {'word ' * 60}{i}" for i in range(5))
    cells = [new_markdown_cell(f"# Title\n\n## Part\n\nOne [x](x.ipynb) sentence. Another.\n\n{points}\n\n## Next"),
             *small().cells[2:4]]  # fmt: skip
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
    claims = "- {id: why, origin: article, where: x, claim: why, words: why, chapter: 01-new, question: so}\n"
    (tmp_path / "claims.yml").write_text(claims, encoding="utf-8")
    code = "from dcgan_book.teaching.ledger import Ledger\nledger = Ledger('01-new')\n"
    for said in ("", "ledger.card('why')\n"):
        notebook = new_notebook(cells=[new_code_cell(code + said + "ledger.close()")], metadata=small().metadata)  # fmt: skip
        nbformat.write(notebook, tmp_path / "01-new.ipynb")
        assert run_under_nbval(notebook, tmp_path).returncode == 1
        command.main(["--book", str(tmp_path), "accept", "01-new"])
        assert list(ledger.load(tmp_path / "results")) == (["why"] if said else [])
    (tmp_path / "copy.ipynb").unlink()
    with pytest.raises(SystemExit, match="no chapter '07'"):
        command.main(["--book", str(tmp_path), "accept", "07"])


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapters_exercises(path):
    """Four kinds, each with its minutes and difficulty, a solution, and for code an answer, a check and wrong answers.

    That solutions are right and wrong answers refused is tested where chapters run in JupyterLab.
    """
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = classkit.exercises(notebook)
    assert len(found) == text.count("> **Exercise: ") == len(classkit.SOLUTION.findall(text))
    assert {each["difficulty"] for each in found} <= {"easy", "medium", "hard"}
    assert {each["kind"] for each in found} == KINDS and len(found) >= 4
    order = [kind for cell in notebook.cells for kind in classkit.tags(cell) & {"answer", "check"}]
    assert order == ["answer", "check"] * (len(order) // 2)
    assert len(order) // 2 == sum(each["kind"] in ("coding", "measuring") for each in found)
    checks = [re.findall(r"^classkit\.check\((\w+), ", cell.source, re.M) for cell in notebook.cells if "check" in classkit.tags(cell)]  # fmt: skip
    wrong = json.loads((WRONG / f"{path.stem}.json").read_text(encoding="utf-8"))
    assert [name for (name,) in checks] == list(wrong) and all(wrong.values())


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_student_copies_keep_the_rest_and_lose_the_answers(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    copy = nbformat.read(classkit.write("students", path, tmp_path), as_version=4)
    text = "\n".join(cell.source for cell in copy.cells)
    assert "<summary>Solution" not in text
    kept = [cell.source for cell in copy.cells if cell.cell_type == "code"]
    assert kept == [cell.source for cell in notebook.cells
                    if cell.cell_type == "code" and "ledger.close()" not in cell.source]  # fmt: skip


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_self_test_has_one_right_answer_and_says_why(path):
    questions = json.loads((BOOK / "self-tests" / f"{path.stem}.json").read_text(encoding="utf-8"))
    assert len(questions) >= 4
    for question in questions:
        answers = question["answers"]
        assert sum(answer["correct"] for answer in answers) == 1 and len(answers) >= 3
        assert len({answer["answer"] for answer in answers}) == len(answers)
        assert all(answer["feedback"].strip() for answer in answers)
