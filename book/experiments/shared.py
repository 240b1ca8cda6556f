"""What the scripts of this folder share; none of them computes anything when it is imported."""

import json
import os
import sys

from dcgan_book.cache import atomic_write
from dcgan_book.teaching import experiments


def refuse_own_weights():
    """Ends the process with 1 and one line where a variable names weights of your own in the place of the book's.

    What a script writes here belongs to the book, and its pages read it as measured on the weights that they ship with.
    """
    for name in ("DCGAN_BOOK_ROOMS", "DCGAN_BOOK_FACES"):
        if os.environ.get(name):
            sys.exit(
                f"error: {name} names weights of your own, and this script writes the book's numbers: unset it"
            )


def store(path, results, script, *weights, **form):
    """Writes a dict of results as JSON, marked with its script and the digests of the weights that they depend on.

    weights: names as in `experiments.made_by`. form: of the JSON, as in json.dumps.
    """
    with atomic_write(path) as temporary:
        text = json.dumps(experiments.stamped(results, script, *weights), **form)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")


def peak_megabytes():
    """The most memory that this process has held so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform == "darwin" else 1
    )
    return kilobytes / 1024


def rounded(value, digits=4):
    """The same with each float rounded to so many digits after the point, in dicts and lists too; tuples become lists."""
    if isinstance(value, dict):
        return {name: rounded(each, digits) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, digits) for each in value]
    return round(value, digits) if isinstance(value, float) else value
