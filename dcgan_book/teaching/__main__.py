"""Writes student copies, solutions, slides or the graded lab, or accepts a chapter's numbers.

`python -m dcgan_book.teaching accept 02-walking` runs a chapter and writes the rows of claims that
it finds to `book/results`, over those that are there; every other run is compared with them.
"""

import argparse
import os
import sys
from pathlib import Path
from unittest import mock

from dcgan_book.teaching import lab
from dcgan_book.teaching.classkit import ClasskitError, chapters, write

HELP = {
    "students": "the chapters with empty answers",
    "solutions": "the chapters with all answers open",
    "slides": "an offline HTML file of slides for each chapter, after a build",
    "lab": "the graded lab as a course of nbgrader",
}


def parser():
    """The command line's."""
    found = argparse.ArgumentParser(
        prog="python -m dcgan_book.teaching", description=__doc__.splitlines()[0]
    )
    found.add_argument(
        "--book",
        type=Path,
        default=Path("book"),
        help="the folder of the notebooks (default: book)",
    )
    commands = found.add_subparsers(dest="what", required=True)
    for what, said in HELP.items():
        one = commands.add_parser(what, help=said)
        one.add_argument(
            "to", type=Path, help="the folder to write to; files of the same name are replaced"
        )
    one = commands.add_parser(
        "accept", help="run chapters and keep the claims' numbers that they find"
    )
    one.add_argument("chapters", nargs="+", metavar="CHAPTER", help="such as 02-walking")
    return found


def accept(book, chapter):
    """Runs a chapter of the folder `book` so that it writes the rows of claims that it finds.

    Returns the chapter's path. Raises ClasskitError where there is no such chapter.
    """
    import nbformat
    from nbclient import NotebookClient

    path = next((path for path in chapters(book) if path.stem == chapter), None)
    if path is None:
        raise ClasskitError(f"there is no chapter {chapter!r} in {book}")
    notebook = nbformat.read(path, as_version=4)
    with mock.patch.dict(os.environ, DCGAN_BOOK_ACCEPT="1"):
        NotebookClient(
            notebook, timeout=1800, resources={"metadata": {"path": str(path.parent)}}
        ).execute()
    return path


def main(arguments=None):
    """`students DIR`, `solutions DIR`, `slides DIR`, `lab DIR` or `accept CHAPTER ...`; see the module's docstring."""
    chosen = parser().parse_args(arguments)
    try:
        if chosen.what == "accept":
            for chapter in chosen.chapters:
                print(accept(chosen.book, chapter))
        elif chosen.what == "lab":
            for path in lab.course(chosen.book, chosen.to):
                print(path)
        else:
            for path in chapters(chosen.book):
                print(write(chosen.what, path, chosen.to))
    except ClasskitError as error:
        sys.exit(f"classkit: {error}")


if __name__ == "__main__":
    main()
