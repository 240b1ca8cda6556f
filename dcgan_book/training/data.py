"""One door to every set of images that a DCGAN can be trained on: drawn rooms and faces, a folder, LSUN, CelebA.

The paper (section 4) trains on LSUN bedrooms and on faces, without augmentation. Here each picture is scaled
until its shorter side fits, cut to the square in its middle, and kept as bytes in the user's cache: decoding
happens once, training then reads a memory-mapped array, and memory stays small for a set of any size.
"""

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np
from filelock import FileLock
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from dcgan_book.cache import atomic_write, cache_dir
from dcgan_book.worlds import faces, rooms
from dcgan_book.worlds.canvas import SIZE

VERSION = 1  # part of the cache's name: raise it whenever the same file would give other bytes
WORLDS = {"rooms": rooms, "faces": faces}
NAMED = (*WORLDS, "lsun", "celeba")  # sets of images with a name; others are the user's own
DRAWN = 60_000  # images that plain "rooms" or "faces" stands for
MOST_UNREADABLE = 0.05  # share of images that may be skipped
BLOCK = 1024  # images decoded between two notes of how far we are; bounds the memory
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SLACK = 2**18  # bytes at the end of an LMDB that may rightly never have been written
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
ALLOWED = (
    "give rooms[:N], faces[:N], a folder of images, lsun:PATH[:category], celeba:PATH or a FILE.npy"
)


class DataError(ValueError):
    """The images cannot be had; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Dataset:
    """Images to train on.

    images: uint8 (n, size, size, 3), a read-only memory map unless the set is a small drawn one.
    name: a short name of the set. skipped: names of the images that could not be read.
    """

    images: np.ndarray
    name: str
    skipped: list[str]


@dataclass(frozen=True)
class _Source:
    """What is to be decoded: `read(start)` yields (name, path or open file) from image `start` on."""

    name: str
    count: int
    fingerprint: str
    read: Callable[[int], Iterator[tuple[str, str | io.BytesIO]]]


def load(
    spec: str | os.PathLike, size: int = 64, limit: int | None = None, progress: bool = True
) -> Dataset:
    """Load the images that `spec` names, decoding them into the user's cache if they are not there yet.

    spec: "rooms" or "faces" (60,000 drawn ones, seeds 0 and up), "rooms:N" or "faces:N"; a folder, with its
    subfolders, of JPEG, PNG, WebP, BMP or GIF in any mode; "lsun:PATH" or "lsun:PATH:category" (the LMDB as
    distributed, bedroom's training images by default; PATH is the folder with `bedroom_train_lmdb`, or that
    itself); "celeba:PATH" (laid out as by torchvision; the training split of the aligned images, of whose 178x218
    pixels the square in the middle is kept); "FILE.npy" (uint8 (n, size, size, 3), as `duplicates` writes it). A
    folder named rooms is "./rooms".
    size: pixels a side. limit: only the first so many images. progress: print what is decoded, show a bar.
    Returns a `Dataset`, in the order of the names, of LSUN's keys or of CelebA's list.
    Raises DataError, with one line, for a spec that cannot be followed, for more than 5 % unreadable images,
    and where a disk cannot be read or written.
    """
    spec = os.fspath(spec)
    if size < 1 or (limit is not None and limit < 1):
        raise DataError(
            f"size {size}, limit {limit}: both are whole numbers >= 1, and limit may be None"
        )
    kind, _, rest = spec.partition(":")
    try:
        if kind in WORLDS:
            return _drawn(spec, kind, size, limit, progress)
        if kind == "lsun":
            source = _lsun(rest, limit)
        elif kind == "celeba":
            source = _celeba(Path(rest).expanduser(), limit)
        elif spec.endswith(".npy") and not Path(spec).is_dir():
            return _array(Path(spec).expanduser(), size, limit)
        else:
            source = _folder(spec, limit)
        return _cached(source, size, progress)
    except lmdb.Error as error:
        raise DataError(f"data {spec!r} cannot be read ({error}): download it again") from error
    except OSError as error:
        raise DataError(
            f"data {spec!r}: {error}; the variable DCGAN_BOOK_CACHE moves the cache"
        ) from error


# ---------------------------------------------------------------------------------------------- sources


def _drawn(spec, kind, size, limit, progress):
    match = re.fullmatch(kind + r"(?::0*([1-9]\d*))?", spec)
    if not match:
        raise DataError(
            f"data {spec!r}: write {kind}:N with a whole number N >= 1, for example {kind}:1000"
        )
    if size != SIZE:
        raise DataError(
            f"size {size}: {kind} are drawn at {SIZE} pixels only; a folder can be any size"
        )
    n = int(match[1] or DRAWN)
    return Dataset(WORLDS[kind].dataset(min(n, limit or n), progress=progress).images, kind, [])


def _array(path, size, limit):
    if not path.is_file():
        raise DataError(f"there is no file {path}; {ALLOWED}")
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        found = f"{images.dtype} {images.shape}"
        fits = images.dtype == np.uint8 and images.shape[1:] == (size, size, 3) and len(images)
    except (ValueError, EOFError) as error:  # cut short, or no array
        fits, found = False, " ".join(str(error).split())
    if not fits:
        raise DataError(f"{path} holds {found}; uint8 (n, {size}, {size}, 3) is needed")
    return Dataset(images[:limit], path.stem, [])


def _folder(spec, limit):
    root = Path(spec).expanduser()
    if not root.is_dir():
        raise DataError(
            f"data {spec!r} is neither a known name nor a folder that exists; {ALLOWED}"
        )
    names = []
    for folder, inner, files in os.walk(root, onerror=_stop, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        here = "" if folder == str(root) else os.path.relpath(folder, root)
        # a leading dot: macOS puts "._x.jpg", which is no picture, beside x.jpg
        pictures = (
            name for name in files if name.lower().endswith(ENDINGS) and not name.startswith(".")
        )
        names += (os.path.join(here, name) for name in pictures)
    if not names:
        raise DataError(f"folder {spec!r} holds no images ({' '.join(ENDINGS)}); {ALLOWED}")
    return _files(root.resolve().name or "images", root, sorted(names)[:limit])


def _stop(error):
    raise error


def _celeba(path, limit):
    root = next((p for p in (path / "celeba", path) if (p / "img_align_celeba").is_dir()), None)
    if root is None:
        raise DataError(
            f"no {path / 'celeba' / 'img_align_celeba'}: unpack img_align_celeba.zip there"
        )
    # torchvision's class wants five lists with their checksums, of which images need one
    partition = root / "list_eval_partition.txt"
    if not partition.is_file():
        raise DataError(
            f"no {partition}, which names the training images: put it there, or give the folder "
            f"{root / 'img_align_celeba'} itself to use all images"
        )
    lines = map(str.split, partition.read_text(encoding="utf-8").splitlines())
    names = [line[0] for line in lines if line[1:] == ["0"]]  # 0 training, 1 validation, 2 test
    if not names:
        raise DataError(f"{partition} names no training image: lines like '000001.jpg 0' do")
    return _files("celeba", root / "img_align_celeba", names[:limit])


def _files(name, root, names):
    digest = hashlib.sha256(repr(str(root.resolve())).encode())
    for file in names:
        try:
            stat = os.stat(os.path.join(root, file))
            digest.update(repr((file, stat.st_size, stat.st_mtime_ns)).encode())
        except OSError:  # missing: decoding will skip and name it
            digest.update(repr(file).encode())

    def read(start):
        return ((file, os.path.join(root, file)) for file in islice(names, start, None))

    return _Source(name, len(names), digest.hexdigest(), read)


def _lsun(rest, limit):
    # torchvision's class lists three million keys first, and pickles them into the working folder, in a file that
    # lsun1 and lsun2 would share
    # C:\lsun is all path: no category has a backslash
    match = re.fullmatch(r"(.+?)(?::(\w+))?", rest)
    if not match:
        raise DataError(
            f"data 'lsun:{rest}': write lsun:PATH or lsun:PATH:category, like lsun:data:kitchen"
        )
    path, category = Path(match[1]).expanduser(), match[2] or "bedroom"
    wanted = (
        category
        if category.endswith(("_train", "_val")) or category == "test"
        else f"{category}_train"
    )
    if (path / "data.mdb").is_file() and (match[2] is None or path.name == f"{wanted}_lmdb"):
        folder = path
    else:
        folder = path / f"{wanted}_lmdb"
    file = folder / "data.mdb"
    if not file.is_file():
        found = (
            ", ".join(sorted(p.parent.name for p in path.glob("*_lmdb/data.mdb"))) or "no LSUN set"
        )
        raise DataError(
            f"no {file}; {path} holds {found}: give lsun:PATH:category, or unpack LSUN's zip"
        )
    stat = file.stat()
    environment = partial(lmdb.open, str(folder), readonly=True, lock=False, max_readers=1)
    with environment() as env:
        count, whole = env.stat()["entries"], env.info()["last_pgno"] * env.stat()["psize"]
    if stat.st_size < whole - SLACK:  # reading past its end would kill the process
        raise DataError(f"{file} has {stat.st_size:,} of {whole:,} bytes: download it again")
    if not count:
        raise DataError(f"{file} holds no images; {ALLOWED}")
    count = min(count, limit or count)

    def read(start):
        with environment() as env, env.begin(buffers=True) as transaction:
            for key, value in islice(transaction.cursor(), start, count):
                yield bytes(key).decode(errors="backslashreplace"), io.BytesIO(value)

    facts = repr((str(file.resolve()), stat.st_size, stat.st_mtime_ns, count))
    name = "lsun-" + folder.name.removesuffix("_lmdb").removesuffix("_train")
    return _Source(name, count, hashlib.sha256(facts.encode()).hexdigest(), read)


# --------------------------------------------------------------------------------------------- decoding


def _decode(item, size):
    """RGB bytes of one (name, path or open file), size x size x 3; None if it cannot be read."""
    try:
        with Image.open(item[1], formats=FORMATS) as image:
            # a JPEG is decoded no larger than resampling needs
            image.draft(None, (2 * size, 2 * size))
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            # torchvision's Resize and CenterCrop round the square to whole pixels and scale what is then cut off
            return ImageOps.fit(
                image.convert("RGB"), (size, size), Image.Resampling.LANCZOS
            ).tobytes()
    # Pillow raises a dozen kinds for a broken file, and one file must not stop a million
    except Exception:
        return None


def _cached(source, size, progress):
    """The source's images from the cache, put there first if need be; other processes wait for the first."""
    safe = re.sub(r"\W+", "_", source.name)[:40]
    folder = cache_dir() / f"{safe}-{size}-v{VERSION}-{source.fingerprint[:16]}"
    folder.mkdir(exist_ok=True)
    images, skipped = folder / "images.npy", folder / "skipped.txt"
    with FileLock(folder / "lock"):
        if not images.exists():
            _decode_all(source, size, images, skipped, progress)
    text = skipped.read_text(encoding="utf-8", errors="surrogateescape")
    return Dataset(np.load(images, mmap_mode="r"), source.name, text.split("\n")[:-1])


def _decode_all(source, size, images, skipped, progress):
    """Decode into a partial file, from where an earlier run stopped, and rename it to `images` at the end."""
    part, note = images.with_suffix(".part"), images.with_suffix(".json")
    done, bad = json.loads(note.read_text(encoding="utf-8")) if note.exists() else (0, [])
    head, row = len(_header(0, size)), size * size * 3
    needed = head + source.count * row - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DataError(
            f"{source.name} needs {_bytes(needed)} in {part.parent}, where {_bytes(free)} are free: "
            "make room, set a limit, or set DCGAN_BOOK_CACHE to a folder elsewhere"
        )
    if progress:
        print(
            f"decoding {source.count:,} images of {source.name}: {_bytes(needed)} in {part.parent}"
        )
    items = source.read(done)
    bar = tqdm(
        total=source.count, initial=done, desc="decoding", unit="image", disable=not progress
    )
    with (
        open(part, "r+b" if done else "wb") as file,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        bar,
    ):
        file.seek(head + (done - len(bad)) * row)
        while len(bad) <= MOST_UNREADABLE * source.count and (block := list(islice(items, BLOCK))):
            for (name, _), pixels in zip(
                block, pool.map(partial(_decode, size=size), block), strict=True
            ):
                if pixels is None:
                    bad.append(name)
                else:
                    file.write(pixels)
                bar.update()
            done += len(block)
            file.flush()
            os.fsync(file.fileno())
            with atomic_write(note) as temporary:
                temporary.write_text(json.dumps([done, bad]), encoding="utf-8")
        file.seek(0)
        file.write(_header(done - len(bad), size))
    with atomic_write(skipped) as temporary:
        names = "".join(f"{name}\n" for name in bad)
        temporary.write_text(names, encoding="utf-8", errors="surrogateescape", newline="\n")
    if len(bad) > MOST_UNREADABLE * source.count:
        note.unlink()
        part.unlink()
        raise DataError(
            f"{len(bad):,} of the first {done:,} images of {source.name} cannot be read, more than "
            f"{MOST_UNREADABLE:.0%} of {source.count:,}: mend or remove those named in {skipped}"
        )
    os.replace(part, images)
    note.unlink()
    if bad and progress:
        print(
            f"{len(bad):,} images could not be read and were skipped; they are named in {skipped}"
        )


def _header(n, size):
    """Head of a .npy of n images; as long for every n, since NumPy leaves room for the first axis to grow."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    )
    return head.getvalue()


def _bytes(n):
    return tqdm.format_sizeof(n, "B")
