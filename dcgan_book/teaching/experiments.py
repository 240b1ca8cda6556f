"""Results that a chapter only loads: which weights they were measured on, and whether those are still the book's.

Each script of book/experiments stores what `made_by` says of it under the key "made_by", by hand or by `stamped`; a
chapter reads the file with `load`, which refuses numbers of other weights.
"""

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dcgan_book import pretrained

KEY = "made_by"


class StaleError(ValueError):
    """Results of other weights than the book's; one line that says which, and what to run."""


@cache
def digest(name):
    """The first 12 digits of the SHA-256 of weights that come with the book, named "rooms/generator" for example."""
    if name == "digiface":  # fetched, and only if it has this digest
        return pretrained.DIGIFACE_SHA256[:12]
    path = pretrained.WEIGHTS / f"{name}.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def made_by(script, *weights):
    """What a results file says of its making.

    script: the script's path. weights: names such as "rooms/generator" or "instruments/instrument", all that the numbers
    depend on. Returns a dict of the script's name, the package's version and the weights' digests.
    """
    try:
        package = version("dcgan-book")
    except PackageNotFoundError:  # not installed, run from its folder
        package = "unknown"
    return {"script": Path(script).name, "version": package, "weights": {name: digest(name) for name in weights}}


def stamped(results, script, *weights):
    """The results, a dict, with what `made_by` says of them in front."""
    return {KEY: made_by(script, *weights)} | {name: each for name, each in results.items() if name != KEY}


def load(path):
    """What a script has stored as JSON, without the mark of its making. Raises StaleError for numbers of other weights."""
    results = json.loads(Path(path).read_text(encoding="utf-8"))
    made = results.pop(KEY, None)
    if made is None:
        raise StaleError(f"{path} does not say which weights it is of: run its script again")
    for name, known in made["weights"].items():
        if digest(name) != known:
            raise StaleError(f"{path} is of other weights than today's {name}: run book/experiments/{made['script']} again")
    return results
