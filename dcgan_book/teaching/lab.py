"""The graded lab: what its notebook marks answers with, and how it becomes an assignment of nbgrader.

Its source is the folder `lab` of the book, which a teacher may edit: `python -m dcgan_book.teaching lab DIR` makes a
course of it. A cell that is graded ends with the points of an answer, nbgrader's convention for a part of them.
"""

import contextlib
import io
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcgan_book.teaching.classkit import UNANSWERED, ClasskitError, answered

NAME = "lab"  # of the assignment
CONFIGURATION = "nbgrader_config.py"


def mark(names: Mapping[str, Any], name: str, tests: Sequence[tuple[float, Callable]]) -> float:
    """The points that an answer earns, each test's for itself; says how each test ended.

    Arguments: `names`, the notebook's `globals()`; `name`, that of the answer, which need not be there; `tests`, pairs
    of points and a function of the answer that raises where it is wrong. An error is no more than a test that failed.
    """
    answer = names.get(name, ...)
    if not answered(answer):
        print(UNANSWERED)
        return 0
    earned = 0.0
    for points, test in tests:
        title = test.__name__.replace("_", " ")
        try:
            # nbgrader gives no points to a cell that writes to stderr
            with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                test(answer)
        except Exception as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            print(f"Not yet, {title}: {kind}{error}")
        else:
            print(f"Right, {title}: {points:g} point{'s' * (points != 1)}.")
            earned += points
    return earned


def show(names: Mapping[str, Any], name: str, picture: Callable) -> Any:
    """What `picture` makes of an answer, or a line that there is none yet.

    Arguments: `names` and `name` as for `mark`; `picture`, a function of the answer.
    """
    answer = names.get(name, ...)
    if answered(answer):
        return picture(answer)
    print(UNANSWERED)
    return None


def course(book: str | Path, to: str | Path) -> list[Path]:
    """Writes the lab of the folder `book` as a course of nbgrader to the folder `to`. Returns the files.

    Raises ClasskitError where there is no lab, or where `to` holds a gradebook: it has been handed out from there.
    """
    source, to = Path(book, "lab"), Path(to)
    if not (source / f"{NAME}.ipynb").exists():
        raise ClasskitError(f"there is no lab in {source}: name the folder of the notebooks")
    if (to / "gradebook.db").exists():
        raise ClasskitError(f"{to} has a gradebook, whose grades belong to its lab: name another folder")  # fmt: skip
    folder = to / "source" / NAME
    if source.resolve() in (to.resolve(), folder.resolve()):
        raise ClasskitError(f"{to} holds the lab itself: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = [shutil.copy(source / CONFIGURATION, to / CONFIGURATION)]
    for name in (f"{NAME}.ipynb", "rubric.md"):
        written.append(shutil.copy(source / name, folder / name))
    return [Path(path) for path in written]
