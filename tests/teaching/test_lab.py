"""The graded lab: what a test's failure costs, and what nbgrader makes of a right, a half-right and an empty answer."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbgrader.api import Gradebook

from dcgan_book.teaching import __main__ as command
from dcgan_book.teaching import classkit, lab

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
SOURCE = nbformat.read(BOOK / "lab" / "lab.ipynb", as_version=4)
ANSWERS = ("draw", "share", "half_way", "taken", "experiment", "verdict")
REGION = re.compile(r"^ *### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION\n?", re.M | re.S)
FULL = {"draw": 4, "share": 6, "half_way": 8, "taken": 8, "experiment": 12, "verdict": 4}
HALF = {
    "draw": (3, "    z = torch.randn(n, z_dim, generator=stream(seed, 'a prior of its own'))\n"
                "    return z, generator(z)"),
    "share": (3, "    there = instrument.presence(images)[name].float().mean().item()\n"
                 "    return there, there, there"),
    "half_way": (5, "    good = plausible(generator((starts + ends) / 2))\n"
                    "    return [measure.wilson(int(good.sum()), len(good))] * 2"),
    "taken": (7, lambda right: right.replace("before - pixels()", "pixels() - before")),
    "experiment": (0, "    return {'units': missing}"),
    "verdict": (0, None),  # an empty cell, so that there is no such name
}  # fmt: skip


def test_each_test_has_points_of_its_own_and_an_error_is_a_test_that_failed(capsys):
    def is_three(answer):
        assert answer == 3, "count again"

    def can_be_called(answer):
        warnings.warn("nbgrader gives no points to a cell that writes to stderr", stacklevel=1)
        print("so does this", file=sys.stderr)
        answer()

    tests = [(2, is_three), (1.5, can_be_called)]
    assert lab.mark({"x": 3}, "x", tests) == 2
    assert "Right, is three: 2 points." in capsys.readouterr().out
    assert lab.mark({"x": lambda: 1}, "x", tests) == 1.5
    said = capsys.readouterr()
    assert "Not yet, is three: count again" in said.out and said.err == ""
    assert lab.mark({"x": 4}, "x", tests) == 0
    assert "TypeError: 'int' object is not callable" in capsys.readouterr().out


@pytest.mark.parametrize("names", [{}, {"x": ...}, {"x": lambda: ...}])
def test_what_is_not_answered_gets_no_points_and_no_error(names, capsys):
    assert lab.mark(names, "x", [(1, lambda answer: answer / 0)]) == 0
    assert lab.show(names, "x", lambda answer: answer / 0) is None
    assert capsys.readouterr().out == f"{classkit.UNANSWERED}\n" * 2
    assert lab.show({"x": 2}, "x", lambda answer: answer + 1) == 3


def test_the_command_writes_a_course_and_never_over_grades(tmp_path):
    command.main(["--book", str(BOOK), "lab", str(tmp_path)])
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert files == {"nbgrader_config.py", "source/lab/lab.ipynb", "source/lab/rubric.md"}
    (tmp_path / "gradebook.db").touch()
    for book, to, why in ((BOOK, tmp_path, "gradebook"), (tmp_path, tmp_path / "new", "no lab"),
                          (BOOK, BOOK / "lab", "the lab itself")):  # fmt: skip
        with pytest.raises(SystemExit, match=why):
            command.main(["--book", str(book), "lab", str(to)])


def graded(cell):
    return cell.metadata.nbgrader.get("points", 0)


def test_the_rubric_has_the_points_of_the_notebook():
    rubric = (BOOK / "lab" / "rubric.md").read_text(encoding="utf-8").split("## The text")[0]
    found: dict[str, float] = {}
    for task, points in re.findall(r"^\| ([^|]*)\|[^|]*\| (\d+) \|$", rubric, re.M):
        task = task.strip() or list(found)[-1]
        found[task] = found.get(task, 0) + int(points)
    assert list(found.values()) == [graded(cell) for cell in SOURCE.cells if graded(cell)]
    assert sum(found.values()) == 50
    for cell in SOURCE.cells:  # the points that a cell gives are those that nbgrader expects
        if graded(cell) and cell.cell_type == "code":
            pairs = re.findall(r"\((\d+), \w+\)", "".join(re.findall(r"^tests \+?= .*", cell.source, re.M)))  # fmt: skip
            assert sum(map(int, pairs)) == graded(cell), cell.id
    minutes = [int(x) for cell in SOURCE.cells for x in re.findall(r"^\*(\d+) minutes", cell.source, re.M)]  # fmt: skip
    assert len(minutes) == 6 and sum(minutes) <= 90


def test_who_edits_the_lab_finds_short_cells_and_the_names_that_are_marked():
    for cell in SOURCE.cells:
        assert cell.id == cell.metadata.nbgrader.grade_id
        assert cell.cell_type == "markdown" or not cell.outputs
        assert not classkit.SOLUTION.search(cell.source)
    solved = [cell.id for cell in SOURCE.cells if REGION.search(cell.source)]
    marked = re.findall(r'^lab\.mark\(globals\(\), "(\w+)", tests\)$', "\n".join(cell.source for cell in SOURCE.cells), re.M)  # fmt: skip
    assert solved == marked == list(ANSWERS)


def submission(release, answers):
    """The released notebook with some answers in it, by name: a text, or None for an empty cell."""
    notebook = nbformat.from_dict(release)
    for cell in notebook.cells:
        if cell.id in answers:
            body = answers[cell.id]
            cell.source = body and cell.source.replace("    ...", body) or ""
    return notebook


def answers():
    """By student, what is put in the place of the dots; the written verdict is the same."""
    right = {
        cell.id: REGION.search(cell.source)[1].rstrip()
        for cell in SOURCE.cells
        if cell.id in ANSWERS
    }
    half = {name: body(right[name]) if callable(body) else body for name, (_, body) in HALF.items()}
    return {"ada": right, "ben": half, "eve": {}}


def nbgrader(course, *arguments):
    """One of its commands, as a teacher types it in the course's folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(course)}
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=course, env=environment,
                          capture_output=True, text=True, encoding="utf-8")  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def graded_course(tmp_path_factory):
    """A course in which three have handed the lab in, collected and graded by tests."""
    course = tmp_path_factory.mktemp("course")
    lab.course(BOOK, course)
    source = course / "source" / "lab" / "lab.ipynb"
    few = source.read_text(encoding="utf-8").replace("many = 200 ", "many = 20 ")
    source.write_text(few, encoding="utf-8")
    nbgrader(course, "generate_assignment", "lab")
    release = nbformat.read(course / "release" / "lab" / "lab.ipynb", as_version=4)
    archive = course / "downloaded" / "lab" / "archive"
    archive.mkdir(parents=True)
    for student, given in answers().items():
        notebook = submission(release, given)
        if given:
            notebook.cells[-1].source = "The claim holds: 20 % [15, 26] against 90 % [84, 94]."
        nbformat.write(notebook, archive / f"{student}_lab.ipynb")
    nbgrader(course, "zip_collect", "lab")
    nbgrader(course, "autograde", "lab")
    return course


def test_what_is_handed_out_has_neither_solutions_nor_hidden_tests(graded_course):
    released = graded_course / "release" / "lab"
    text = (released / "lab.ipynb").read_text(encoding="utf-8")
    assert "SOLUTION" not in text and "HIDDEN" not in text and "measure.wilson(" not in text
    assert "Write your verdict here" in text and "the cell above prints: the share" not in text
    assert (released / "rubric.md").exists()


@pytest.mark.parametrize(
    "student, points",
    [("ada", FULL), ("ben", {name: points for name, (points, _) in HALF.items()}), ("eve", {})],
)
def test_points_of_a_right_a_half_right_and_an_empty_answer(graded_course, student, points):
    path = graded_course / "autograded" / student / "lab" / "lab.ipynb"
    cells = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}
    said = {
        name: "".join(output.get("text", "") for output in cells[f"test-{name}"].outputs)
        for name in ANSWERS
    }
    with Gradebook(f"sqlite:///{graded_course / 'gradebook.db'}") as book:
        for name in ANSWERS:
            grade = book.find_grade(f"test-{name}", "lab", "lab", student)
            assert (name, grade.score) == (name, points.get(name, 0)), said[name]
        text = book.find_grade("verdict-text", "lab", "lab", student)
        # what was not written needs no hand
        assert (text.needs_manual_grade, text.score) == (student != "eve", 0)
    unanswered = [name for name in ANSWERS if classkit.UNANSWERED in said[name]]
    assert unanswered == {"ada": [], "ben": ["verdict"], "eve": list(ANSWERS)}[student]
    errors = [output.ename for cell in cells.values() for output in cell.get("outputs", ())
              if output.output_type == "error"]  # fmt: skip
    assert errors == (["NameError"] if student == "ben" else [])  # his own, in the cell that shows


def test_marks_by_hand_and_their_reasons_come_back_to_the_student(graded_course):
    with Gradebook(f"sqlite:///{graded_course / 'gradebook.db'}") as book:
        for student, points in (("ada", 8), ("ben", 4)):
            book.find_grade("verdict-text", "lab", "lab", student).manual_score = points
            comment = book.find_comment("verdict-text", "lab", "lab", student)
            comment.manual_comment = "The controls need a word."
        book.db.commit()
        scores = {each.student.id: each.score for each in book.assignment_submissions("lab")}
    assert scores == {"ada": 50, "ben": 22, "eve": 0}
    nbgrader(graded_course, "generate_feedback", "lab")
    for student, score in scores.items():
        page = graded_course / "feedback" / student / "lab" / "lab.html"
        words = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").get_text()
        assert re.search(rf"Score: {score}(\.0)? / 50", words)
        assert ("The controls need a word." in words) == (student != "eve")
