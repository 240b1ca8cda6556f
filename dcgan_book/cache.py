"""Where drawn and decoded images are kept, how a file or folder gets there whole or not at all, and stays so."""

import contextlib
import glob
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

NOTE = "note.json"  # what `seal` leaves in a folder
CHUNK = 2**24  # bytes read at a time


class Damaged(Exception):
    """A folder of the cache does not hold what was put there; the message says what is wrong with which file."""


def expanded(path: str | os.PathLike) -> Path:
    """A path as a reader writes it, its `~` or `~name` replaced by the home folder."""
    return Path(os.path.expanduser(path))  # Path.expanduser() fails where nobody has the name


def cache_dir() -> Path:
    """The user's cache folder as a Path, made if need be; the environment variable DCGAN_BOOK_CACHE moves it."""
    folder = expanded(
        os.environ.get("DCGAN_BOOK_CACHE") or user_cache_dir("dcgan-book", appauthor=False)
    )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, to be made a file or a folder, and renames it to `path` at the end.

    After an error or a kill, `path` is what it was before. If another process made the folder meanwhile, its
    copy stays and ours goes. Raises OSError as the file system does.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "note.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [p.name for p in Path(folder).iterdir()]
    ['note.txt']
    """
    path = Path(path)
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    temporary = holder / path.name
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        try:
            os.replace(temporary, path)
        except OSError:
            if not (temporary.is_dir() and path.is_dir()):
                raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds the making of `path` against other processes, and waits for the one that holds it now.

    The lock is a hidden file beside `path`, which stays. What `atomic_write` has left there of this
    or another locked path, because its process was killed, is swept away. Raises OSError as the
    file system does.
    """
    path = Path(path)
    with FileLock(path.parent / f".{path.name}.lock"):
        _sweep(path.parent, f".{path.name}")
        for other in path.parent.glob(".*.lock"):
            try:
                with FileLock(other, timeout=0):
                    _sweep(path.parent, other.stem)
            except Timeout:
                pass  # this one, or one that a living process holds
        yield


def _sweep(folder, prefix):
    for left in folder.glob(f"{glob.escape(prefix)}-????????"):  # as `tempfile.mkdtemp` names it
        shutil.rmtree(left, ignore_errors=True)


def seal(folder: Path, facts: dict | None = None) -> None:
    """Notes size, time and checksum of every array (*.npy) in `folder`, and `facts`, a dict that JSON can hold."""
    files = {path.name: [*_stamp(path), checksum(path)] for path in sorted(folder.glob("*.npy"))}
    with atomic_write(folder / NOTE) as temporary:
        temporary.write_text(json.dumps({"files": files, "facts": facts or {}}), encoding="utf-8")


def read_seal(folder: Path) -> dict:
    """The facts that `seal` noted, if the arrays in `folder` are as they were then; {} where there is no note.

    A file of the size and time noted is not read again. Older versions left no note: their arrays are sealed now if
    they are as long as they say. Raises Damaged where anything differs.
    """
    try:
        if not (folder / NOTE).exists():
            for path in folder.glob("*.npy"):
                np.load(path, mmap_mode="r")
            files, facts = None, {}
        else:
            note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
            files, facts = note["files"], dict(note["facts"])
            for name, (size, time, digest) in files.items():
                stamp = _stamp(folder / name)
                if stamp[0] != size:
                    raise Damaged(f"{folder / name} has {stamp[0]:,} of {size:,} bytes")
                if stamp[1] != time and checksum(folder / name) != digest:
                    raise Damaged(f"{folder / name} holds other bytes than were written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise Damaged(f"{folder}: {' '.join(str(error).split())}") from None
    if files is None or any(_stamp(folder / name)[1] != files[name][1] for name in files):
        with contextlib.suppress(OSError):  # a cache that may only be read is none the worse
            seal(folder, facts)
    return facts


def checksum(path: Path, start: int = 0, end: int | None = None) -> int:
    """CRC-32 of the bytes of a file from `start` up to `end`, by default to its end."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(start)
        left = (path.stat().st_size if end is None else end) - start
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            crc, left = zlib.crc32(chunk, crc), left - len(chunk)
    return crc


def _stamp(path):
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]
