"""Results that a chapter only loads: of which weights they are, and whether those are the book's.

Each file of book/experiments has what `made_by` says of its script under the key "made_by"; a
chapter reads the file with `load`, which refuses numbers of other weights.
"""

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dcgan_book import authors, pretrained

KEY = "made_by"


class StaleError(ValueError):
    """Results of other weights than the book's; one line that says which, and what to run."""


@cache
def digest(name):
    """The first 12 digits of the SHA-256 of shipped weights, named "rooms/generator" for example."""
    if name == "digiface":  # fetched, and only if it has this digest
        return pretrained.DIGIFACE_SHA256[:12]
    if name == authors.NAME:
        return authors.SHA256[:12]
    path = pretrained.WEIGHTS / f"{name}.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def made_by(script, *weights):
    """What a results file says of its making.

    script: the script's path. weights: names such as "rooms/generator" or "instruments/instrument",
    all that the numbers depend on. Returns a dict of the script's name, the package's version and
    the weights' digests.
    """
    try:
        package = version("dcgan-book")
    except PackageNotFoundError:  # not installed, run from its folder
        package = "unknown"
    digests = {name: digest(name) for name in weights}
    return {"script": Path(script).name, "version": package, "weights": digests}


def stamped(results, script, *weights):
    """The results, a dict, with what `made_by` says of them in front."""
    unmarked = {name: each for name, each in results.items() if name != KEY}
    return {KEY: made_by(script, *weights)} | unmarked


def load(path):
    """The results that a script has stored as JSON at `path`, a dict without the mark of its making.

    Raises StaleError for numbers of other weights than today's, or without a mark.
    """
    results = json.loads(Path(path).read_text(encoding="utf-8"))
    made = results.pop(KEY, None)
    if made is None:
        raise StaleError(f"{path} does not say which weights it is of: run its script again")
    for name, known in made["weights"].items():
        if digest(name) != known:
            remedy = f"run book/experiments/{made['script']} again"
            raise StaleError(f"{path} is of other weights than today's {name}: {remedy}")
    return results
