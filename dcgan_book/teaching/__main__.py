"""Writes student copies, solutions or slides: `python -m dcgan_book.teaching --help`."""

import argparse
import sys
from pathlib import Path

from dcgan_book.teaching.classkit import ClasskitError, chapters, write


def main(arguments=None):
    """`students DIR`, `solutions DIR` or `slides DIR`; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m dcgan_book.teaching", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("students", "solutions", "slides"))
    parser.add_argument("to", type=Path, help="the folder to write to; files of the same name are replaced")
    chosen = parser.parse_args(arguments)
    try:
        for path in chapters():
            print(write(chosen.what, path, chosen.to))
    except ClasskitError as error:
        sys.exit(f"classkit: {error}")


if __name__ == "__main__":
    main()
