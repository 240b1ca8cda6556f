"""Which files of a folder are pictures to train on: each once, and none that a system, a NAS or a training put there.

A tree of photographs has links that lead back into it, thumbnails that a NAS made, and the runs that were trained on
it. What is left out has a reason, so that it can be counted and named.
"""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

# of Synology, QNAP, Windows, macOS and Linux; compared in small letters
SYSTEM = {
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "@synoresource", "@sharebin", "#recycle", "#snapshot",
    "$recycle.bin", "system volume information", "__macosx", "lost+found",
}  # fmt: skip
# A folder with all files of one of these is a run of ours, or exported weights: its pictures are drawn
RUNS = ({"checkpoint.pt"}, {"config.json", "log.jsonl"}, {"card.json", "generator.safetensors"})
HIDDEN = getattr(stat, "FILE_ATTRIBUTE_HIDDEN", 0)  # on Windows


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with files of these names is a training run, or exported weights."""
    return any(marks <= set(names) for marks in RUNS)


def pictures(root: Path, endings: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """The pictures in `root` and its subfolders: names in order, and what was left out, name to reason.

    endings: of pictures, in small letters. Names are relative to `root`. A file or folder with two names (a link, a
    hard link) counts once, by a name that is no link if it has one. A reason is "kind: what"; the kinds are format,
    link, hidden, system and run. Raises OSError for a folder that cannot be read.
    """
    found: list[str] = []
    left_out: dict[str, str] = {}
    seen: set[object] = set()
    pending, links = [""], list[str]()
    while pending or links:
        if not pending:  # links after all else: a file keeps its own name
            pending, links = sorted(links, reverse=True), []
        name = pending.pop()
        path = os.path.join(root, name)
        try:
            facts = os.stat(path)
        except OSError as error:
            left_out[name] = f"link: {error.strerror}"
            continue
        identity: object = (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(path)
        reason = _unfit(name, facts, identity in seen, endings)
        if reason:
            left_out[name] = reason
            continue
        seen.add(identity)
        if not stat.S_ISDIR(facts.st_mode):
            found.append(name)
            continue
        with os.scandir(path) as entries:
            inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
        if name and is_run({entry.name for entry in inside}):
            left_out[name] = "run: its pictures are drawn"
            continue
        for entry in inside:
            (links if entry.is_symlink() else pending).append(os.path.join(name, entry.name))
    return sorted(found), left_out


def _unfit(name, facts, again, endings):
    """Why a file or folder is left out, or nothing."""
    base, ending = os.path.basename(name), os.path.splitext(name)[1].lower()
    folder = stat.S_ISDIR(facts.st_mode)
    if base.startswith(".") or getattr(facts, "st_file_attributes", 0) & HIDDEN:
        # macOS puts "._x.jpg", which is no picture, beside x.jpg
        return "hidden: by its name" if base.startswith(".") else "hidden: by Windows"
    if folder and base.lower() in SYSTEM:
        return "system: a folder of a NAS or an operating system"
    if not folder and not (stat.S_ISREG(facts.st_mode) and ending in endings):
        return f"format: {ending or 'no ending'}"
    return "link: to what is there under another name" if again else ""


def counted(left_out: dict[str, str]) -> str:
    """How much was left out and why, in a line: "12 format (.txt 10, .heic 2), 1 link"."""
    kinds = Counter(reason.partition(":")[0] for reason in left_out.values())
    formats = _most(
        reason.partition(": ")[2] for reason in left_out.values() if reason.startswith("format: ")
    )
    return ", ".join(
        f"{n:,} {kind}" + (f" ({formats})" if kind == "format" else "")
        for kind, n in kinds.most_common()
    )


def _most(endings: Iterable[str]):
    return ", ".join(f"{ending} {n:,}" for ending, n in Counter(endings).most_common(5))
