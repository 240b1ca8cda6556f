"""One door to every set of images that a DCGAN can be trained on: drawn rooms and faces, a folder, LSUN, CelebA.

The paper (section 4) trains on LSUN bedrooms and on faces, without augmentation. Here each picture is scaled
until its shorter side fits, cut to the square in its middle, and kept as bytes in the user's cache: decoding
happens once, training then reads a memory-mapped array, and memory stays small for a set of any size.
"""

import codecs
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import lmdb
import numpy as np
from filelock import FileLock
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

from dcgan_book.cache import (
    NOTE,
    Damaged,
    atomic_write,
    cache_dir,
    checksum,
    expanded,
    read_seal,
    seal,
)
from dcgan_book.training import tree
from dcgan_book.worlds import faces, rooms
from dcgan_book.worlds.canvas import SIZE

VERSION = 1  # part of the cache's name: raise it whenever the same file would give other bytes
READING = 2  # the same for files alone, as LSUN's millions take hours
WORLDS = {"rooms": rooms, "faces": faces}
NAMED = (*WORLDS, "lsun", "celeba")  # sets of images with a name; others are the user's own
DRAWN = 60_000  # images that plain "rooms" or "faces" stands for
MOST_UNREADABLE = 0.05  # share of images that may be skipped
BLOCK = 1024  # images decoded between two notes of how far we are; bounds the memory
# Of what Pillow opens: the first runs Ghostscript, the others it knows by name only
UNREAD = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
DEPTHS = (8, 10, 12, 14, 16, 32)  # bits that a pixel of one number may hold
LOOKED_AT = 64  # pictures that tell how many bits those of a folder hold
PNG = b"\x89PNG\r\n\x1a\n"
PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # the chunks of a PNG that make the picture
FINGERPRINT = 2**24  # bytes of a set of images that are compared
LSUN = threading.Lock()  # a process opens an LMDB once
SLACK = 2**18  # bytes at the end of an LMDB that may rightly never have been written
ALLOWED = (
    "give rooms[:N], faces[:N], a folder of images, lsun:PATH[:category], celeba:PATH or a FILE.npy"
)


class DataError(ValueError):
    """The images cannot be had; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Dataset:
    """Images to train on.

    images: uint8 (n, size, size, 3), a read-only memory map unless the set is a small drawn one.
    name: a short name of the set. skipped: names of the images that could not be read. left_out: name to reason of
    these and of all else that a folder holds and that is no picture to train on.
    """

    images: np.ndarray
    name: str
    skipped: list[str]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    """What is to be decoded: `read(start)` yields (name, path or open file) from image `start` on.

    left_out: what the folder holds besides, name to reason. depth(): the bits of pixels of one number, 8 if unknown.
    """

    name: str
    count: int
    fingerprint: str
    read: Callable[[int], Generator[tuple[str, str | io.BytesIO]]]
    left_out: dict[str, str] = field(default_factory=dict)
    depth: Callable[[], int] = lambda: 8


def load(
    spec: str | os.PathLike, size: int = 64, limit: int | None = None, progress: bool = True
) -> Dataset:
    """Load the images that `spec` names, decoding them into the user's cache if they are not there yet.

    spec: "rooms" or "faces" (60,000 drawn ones, seeds 0 and up), "rooms:N" or "faces:N"; a folder, with its
    subfolders, of whatever Pillow reads in any mode (see `tree` for what counts as a picture); "lsun:PATH" or
    "lsun:PATH:category" (the LMDB as distributed, bedroom's training images by default; PATH is the folder with
    `bedroom_train_lmdb`, or that itself); "celeba:PATH" (laid out as by torchvision or Kaggle; the training split of
    the aligned images, of whose 178x218 pixels the square in the middle is kept); "FILE.npy" (uint8 (n, size, size, 3),
    as `duplicates` writes it, or grey, (n, size, size) or (n, size, size, 1), which counts three times). A folder
    named rooms is "./rooms", and `~` is the home folder.
    size: pixels a side. limit: only the first so many images. progress: print what is decoded and left out.
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
            with LSUN:
                return _cached(_lsun(rest, limit), size, progress)
        if kind == "celeba":
            source = _celeba(expanded(rest), limit)
        elif spec.endswith(".npy") and not expanded(spec).is_dir():
            return _array(expanded(spec), size, limit)
        else:
            source = _folder(spec, limit)
        return _cached(source, size, progress)
    except lmdb.Error as error:
        remedy = "download it again"
        if "already open" in str(error):
            remedy = "close what holds it (a dataset of torchvision, an lmdb.open), or restart"
        raise DataError(f"data {spec!r} cannot be read ({error}): {remedy}") from None
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
        if images.shape[1:] in ((size, size), (size, size, 1)):  # grey is three equal channels
            grey = images.reshape(-1, size, size, 1)
            images = np.broadcast_to(grey, (*grey.shape[:3], 3), subok=True)
        fits = images.dtype == np.uint8 and images.shape[1:] == (size, size, 3) and len(images)
    except (ValueError, EOFError) as error:  # cut short, or no array
        fits, found = False, " ".join(str(error).split())
    if not fits:
        raise DataError(f"{path} holds {found}; uint8 (n, {size}, {size}, 3) is needed")
    return Dataset(images[:limit], path.stem, [])


def _folder(spec, limit):
    root = expanded(spec)
    if not root.is_dir():
        raise DataError(
            f"data {spec!r} is neither a known name nor a folder that exists; {ALLOWED}"
        )
    if tree.is_run(os.listdir(root)):
        raise DataError(f"folder {spec!r} is a training run: give the folder of its images")
    names, left_out = tree.pictures(root, _formats()[1])
    if not names:
        instead = f": left out {tree.counted(left_out)}" if left_out else ""
        raise DataError(
            f"folder {spec!r} holds no images that Pillow reads (.jpg, .png, ...){instead}; {ALLOWED}"
        )
    return _files(root.resolve().name or "images", root, names[:limit], left_out)


def _formats():
    """What Pillow reads here, plug-ins that the reader has registered among it: its formats, and endings of files."""
    Image.init()
    formats = [kind for kind in Image.OPEN if kind not in UNREAD]
    known = {*formats, "MPO"}  # which is opened as JPEG
    return formats, {end for end, kind in Image.registered_extensions().items() if kind in known}


def _celeba(path, limit):
    root = next((p for p in (path / "celeba", path) if (p / "img_align_celeba").is_dir()), None)
    if root is None:
        raise DataError(
            f"no {path / 'celeba' / 'img_align_celeba'}: unpack img_align_celeba.zip there"
        )
    # torchvision's class wants five lists with their checksums, of which images need one
    partition = root / "list_eval_partition.txt"
    if not partition.is_file() and partition.with_suffix(".csv").is_file():  # as Kaggle has it
        partition = partition.with_suffix(".csv")
    if not partition.is_file():
        raise DataError(
            f"no {partition}, which names the training images: put it there, or give the folder "
            f"{root / 'img_align_celeba'} itself to use all images"
        )
    lines = [line.replace(",", " ").split() for line in _text(partition.read_bytes()).splitlines()]
    names = [line[0] for line in lines if line[1:] == ["0"]]  # 0 training, 1 validation, 2 test
    if not names:
        raise DataError(f"{partition} names no training image: lines like '000001.jpg 0' do")
    folder = root / "img_align_celeba"
    inner = folder / "img_align_celeba"  # as Kaggle's archive unpacks
    return _files("celeba", inner if inner.is_dir() else folder, names[:limit])


def _text(content):
    """A list's text, saved by whatever editor: UTF-16, which Windows likes, or UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content[:2]:
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be", "replace")
    return content.decode("utf-8-sig", errors="replace")


def _files(name, root, names, left_out=None):
    digest = hashlib.sha256(repr((str(root.resolve()), READING)).encode())
    for file in names:
        try:
            stat = os.stat(os.path.join(root, file))
            digest.update(repr((file, stat.st_size, stat.st_mtime_ns)).encode())
        except OSError:  # missing: decoding will skip and name it
            digest.update(repr(file).encode())

    def read(start):
        return ((file, os.path.join(root, file)) for file in islice(names, start, None))

    def depth():
        some = names[:: -(-len(names) // LOOKED_AT)]
        return max(_depth_of(os.path.join(root, file)) for file in some)

    return _Source(name, len(names), digest.hexdigest(), read, left_out or {}, depth)


def _lsun(rest, limit):
    # torchvision's class lists three million keys first, and pickles them into the working folder, in a file that
    # lsun1 and lsun2 would share
    # C:\lsun is all path: no category has a backslash
    match = re.fullmatch(r"(.+?)(?::(\w+))?", rest)
    if not match:
        raise DataError(
            f"data 'lsun:{rest}': write lsun:PATH or lsun:PATH:category, like lsun:data:kitchen"
        )
    path, category = expanded(match[1]), match[2] or "bedroom"
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


def _decode(item, size, depth=8):
    """RGB bytes of one (name, path or open file), size x size x 3; a text, the reason, if it cannot be read.

    depth: bits that the pixels of one number hold in other pictures of the set.
    """
    try:
        with _opened(item[1], size) as image:
            # orientation is applied where it can be read; a broken block of metadata is no broken picture
            with contextlib.suppress(Exception):
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith(("I", "F")):  # over 8 bits a pixel, which convert() would clip
                image = Image.fromarray(_eight_bits(np.asarray(image), depth))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            # torchvision's Resize and CenterCrop round the square to whole pixels and scale what is then cut off
            return ImageOps.fit(
                image.convert("RGB"), (size, size), Image.Resampling.LANCZOS
            ).tobytes()
    # Pillow raises a dozen kinds for a broken file, and one file must not stop a million
    except Exception as error:
        return _reason(item[1], error)


def _opened(file, size):
    """The loaded image of a path or open file; a PNG whose metadata are broken is read without them."""
    formats, _ = _formats()
    try:
        image = Image.open(file, formats=formats)
        image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded no larger than resampling needs
        narrowed = image.mode == "RGB" and ";16" in repr(image.tile)
        image.load()
    except Exception:
        content = file.getvalue() if isinstance(file, io.BytesIO) else Path(file).read_bytes()
        if not content.startswith(PNG):
            raise
        image = Image.open(io.BytesIO(_bare_png(content)), formats=["PNG"])
        narrowed = image.mode == "RGB" and ";16" in repr(image.tile)
        image.load()
    if narrowed and max(high for _, high in image.getextrema()) < 16:
        raise NotImplementedError("colours of 12 bits in 16, of which Pillow keeps the upper 8")
    return image


def _bare_png(content):
    """A PNG with the chunks alone that make the picture."""
    kept, at = [PNG], len(PNG)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind in PIXELS:
            kept.append(content[at : at + length + 12])
        at += length + 12
    return b"".join(kept)


def _depth_of(file):
    """How many bits the pixels of an image hold if they are one number of more than 8 bits; else 8."""
    with contextlib.suppress(Exception), Image.open(file, formats=_formats()[0]) as image:
        if image.mode.startswith("I"):
            return _bits(np.asarray(image))
    return 8


def _bits(values):
    return next(bits for bits in DEPTHS if values.max() < 2**bits)


def _eight_bits(values, depth):
    """Numbers of 8 to 32 bits, or from 0 to 1, as uint8. Twelve bits in sixteen, as scanners save, would be black."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError("pixels that are no numbers")
        values = values * 255 if values.max() <= 1 else values
    values = values.clip(0).astype(np.int64)
    return (values >> (max(depth, _bits(values)) - 8)).astype(np.uint8)


def _reason(file, error):
    size = file.getbuffer().nbytes if isinstance(file, io.BytesIO) else None
    if size is None and os.path.exists(file):
        size = os.path.getsize(file)
    if size == 0:
        return "size: no bytes"
    if isinstance(error, Image.DecompressionBombError):
        return "size: more pixels than Pillow opens"
    if isinstance(error, UnidentifiedImageError):
        return "format: nothing that Pillow reads here"
    kind = "format" if isinstance(error, NotImplementedError) else "broken"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{kind}: {' '.join(said.split()) or type(error).__name__}"


def _cached(source, size, progress):
    """The source's images from the cache, put there first if need be; other processes wait for the first."""
    safe = re.sub(r"\W+", "_", source.name)[:40]
    folder = cache_dir() / f"{safe}-{size}-v{VERSION}-{source.fingerprint[:16]}"
    folder.mkdir(exist_ok=True)
    images, listed = folder / "images.npy", folder / "skipped.txt"
    with FileLock(folder / "lock"):
        skipped = _kept(images, listed, source.count)
        if skipped is None:
            skipped = _decode_all(source, size, images, listed, progress)
        left_out = skipped | source.left_out
        _list(listed, left_out)
    if left_out and progress:
        print(
            f"left out of {source.name}: {tree.counted(left_out)}; each is named with its reason in {listed}"
        )
    return Dataset(np.load(images, mmap_mode="r"), source.name, list(skipped), left_out)


def _kept(images, listed, count):
    """What was skipped, name to reason, if the images are in the cache as they were put there; else None."""
    if not images.exists():
        return None
    try:
        skipped = read_seal(images.parent).get("skipped")
        if skipped is None:  # as older versions left it
            names = listed.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]
            skipped = {name.partition("\t")[0]: "broken: in an older version" for name in names}
        found = len(np.load(images, mmap_mode="r"))
        if found != count - len(skipped):
            raise Damaged(f"{images} holds {found:,} of {count - len(skipped):,} images")
        return skipped
    except (Damaged, OSError, ValueError) as fault:
        warnings.warn(f"the cache is damaged ({fault}): the images are decoded anew", stacklevel=4)
        images.unlink()
        (images.parent / NOTE).unlink(missing_ok=True)
        return None


def _list(path, left_out):
    """Writes skipped.txt: a line for each, name and reason."""
    lines = [f"{name}\t{reason}\n" for name, reason in left_out.items()]
    content = "".join(lines).encode("utf-8", errors="surrogateescape")
    if not path.exists() or path.read_bytes() != content:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)


def _begun(part, note, head, row):
    """How far an earlier run came, whose bytes are all there: images done, what was skipped, and their checksum."""
    if not note.exists():
        return 0, {}, 0
    try:
        begun = json.loads(note.read_text(encoding="utf-8"))
        done, skipped, crc = begun["done"], dict(begun["skipped"]), begun["crc"]
        end = head + (done - len(skipped)) * row
        if part.stat().st_size >= end and checksum(part, head, end) == crc:
            return done, skipped, crc
        fault = f"{part} holds other bytes than were written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault = f"{note}: {' '.join(str(error).split())}"
    warnings.warn(f"the cache is damaged ({fault}): the images are decoded anew", stacklevel=5)
    return 0, {}, 0


def _decode_all(source, size, images, listed, progress):
    """Decode into a partial file, from where an earlier run stopped, and rename it to `images` at the end.

    Returns what was skipped, name to reason.
    """
    part, note = images.with_suffix(".part"), images.with_suffix(".json")
    head, row = len(_header(0, size)), size * size * 3
    done, skipped, crc = _begun(part, note, head, row)
    _make_room(source, part, head + source.count * row, progress)
    decode = partial(_decode, size=size, depth=source.depth())
    bar = tqdm(
        total=source.count, initial=done, desc="decoding", unit="image", disable=not progress
    )
    # closed even where the traceback of an interrupted cell holds on to it: an LMDB opens once in a process
    items = contextlib.closing(source.read(done))
    mode = "r+b" if done else "wb"
    with items as left, open(part, mode) as file, ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        file.seek(head + (done - len(skipped)) * row)
        most = MOST_UNREADABLE * source.count
        while len(skipped) <= most and (block := list(islice(left, BLOCK))):
            for (name, _), pixels in zip(block, pool.map(decode, block), strict=True):
                if isinstance(pixels, str):
                    skipped[name] = pixels
                else:
                    file.write(pixels)
                    crc = zlib.crc32(pixels, crc)
                bar.update()
            done += len(block)
            file.flush()
            os.fsync(file.fileno())
            with atomic_write(note) as temporary:
                text = json.dumps({"done": done, "skipped": skipped, "crc": crc})
                temporary.write_text(text, encoding="utf-8")
        file.seek(0)
        file.write(_header(done - len(skipped), size))
    if len(skipped) > most:
        note.unlink()
        part.unlink()
        _list(listed, skipped | source.left_out)
        raise DataError(
            f"{len(skipped):,} of the first {done:,} images of {source.name} cannot be read ({tree.counted(skipped)}), "
            f"more than {MOST_UNREADABLE:.0%} of {source.count:,}: mend or remove those named in {listed}"
        )
    os.replace(part, images)
    seal(images.parent, {"skipped": skipped})
    note.unlink()
    return skipped


def _make_room(source, part, whole, progress):
    """Says what is about to be written. Raises DataError where it does not fit."""
    needed = whole - (part.stat().st_size if part.exists() else 0)
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


def fingerprint(images: np.ndarray) -> str:
    """What a set of images is known by wherever it is kept: a digest of all, or of some 16 MB spread over them.

    images: uint8 (n, ...). Returns 16 hexadecimal digits.
    """
    every = -(-len(images) * images[0].nbytes // FINGERPRINT)
    digest = hashlib.sha256(repr(images.shape).encode())
    for image in images[::every]:
        digest.update(image.tobytes())
    return digest.hexdigest()[:16]


def _header(n, size):
    """Head of a .npy of n images; as long for every n, since NumPy leaves room for the first axis to grow."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    )
    return head.getvalue()


def _bytes(n):
    return tqdm.format_sizeof(n, "B")
