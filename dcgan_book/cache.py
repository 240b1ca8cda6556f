"""Where drawn and decoded images are kept, and how a file or folder gets there whole or not at all."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir


def cache_dir():
    """The user's cache folder as a Path, made if need be; the environment variable DCGAN_BOOK_CACHE moves it."""
    folder = Path(os.environ.get("DCGAN_BOOK_CACHE") or user_cache_dir("dcgan-book", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_write(path):
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
