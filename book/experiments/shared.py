"""What the scripts of this folder share; none of them computes anything when it is imported."""

import os
import sys


def refuse_own_weights():
    """Ends the process with 1 and one line where a variable names weights of your own in the place of the book's.

    What a script writes here belongs to the book, and its pages read it as measured on the weights that they ship with.
    """
    for name in ("DCGAN_BOOK_ROOMS", "DCGAN_BOOK_FACES"):
        if os.environ.get(name):
            sys.exit(f"error: {name} names weights of your own, and this script writes the book's numbers: unset it")


def rounded(value, digits=4):
    """The same with each float rounded to so many digits after the point, in dicts and lists too; tuples become lists."""
    if isinstance(value, dict):
        return {name: rounded(each, digits) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, digits) for each in value]
    return round(value, digits) if isinstance(value, float) else value
