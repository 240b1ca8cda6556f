"""Where drawn and decoded images are kept, and how a file or folder gets there whole or not at all."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir


def cache_dir() -> Path:
    """The user's cache folder as a Path, made if need be; the environment variable DCGAN_BOOK_CACHE moves it."""
    folder = Path(
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
