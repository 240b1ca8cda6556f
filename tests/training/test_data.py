"""The door to the data: every format in, the right pixels out, one line for every fault, decoded once."""

import os
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image
from torchvision import datasets, transforms

from dcgan_book.training import data
from dcgan_book.worlds import faces, rooms

pytestmark = pytest.mark.usefixtures("cache")
RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)


def load(spec, **options):
    return data.load(spec, progress=False, **options)


def photo(seed, size=(90, 70)):
    """A smooth image, all different, that a lossy format keeps well."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def community(image):
    """What DCGAN repositories do: torchvision's Resize and CenterCrop. uint8 (64, 64, 3)."""
    steps = [transforms.Resize(64, transforms.InterpolationMode.LANCZOS), transforms.CenterCrop(64)]
    return np.asarray(transforms.Compose(steps)(image))


def difference(a, b):
    return np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).mean()


def fill(folder, count):
    for i in range(count):
        photo(i, (20, 20)).save(folder / f"{i:03}.png")


# ------------------------------------------------------------------------------------------------ pixels


def test_a_folder_is_read_whole_in_order_in_every_format_and_mode(pictures):
    (pictures / "sub" / "deeper").mkdir(parents=True)
    flat = {
        "a.JPG": Image.new("RGB", (80, 80), RED),
        "b.png": Image.new("RGBA", (80, 80), (*GREEN, 0)),  # nothing of it is visible: white
        "c.png": Image.new("RGB", (80, 80), BLUE).quantize(4),
        "d.jpeg": Image.new("L", (80, 80), 77),
        "e.jpg": Image.new("CMYK", (80, 80), (0, 255, 255, 0)),
        "f.bmp": Image.new("1", (80, 80), 1),
        "g.png": Image.fromarray(np.full((80, 80), 0x4D00, dtype=np.uint16)),
        "h.png": Image.new("LA", (80, 80), (0, 128)),
        os.path.join("sub", "deeper", "i.webp"): Image.new("RGB", (80, 80), GREEN),
        os.path.join("sub", "j.gif"): Image.new("P", (80, 80), 0),
    }
    white, dark, half, black = ((value,) * 3 for value in (255, 77, 127, 0))
    expected = [RED, white, BLUE, dark, (255, 0, 0), white, dark, half, GREEN, black]
    for name, image in flat.items():
        image.save(pictures / name)
    (pictures / "notes.txt").write_text("no image", encoding="utf-8")
    (pictures / "._a.JPG").write_text("what macOS leaves", encoding="utf-8")
    loaded = load(pictures, size=32)
    assert (loaded.images.shape, loaded.images.dtype) == ((10, 32, 32, 3), np.uint8)
    assert (loaded.name, loaded.skipped) == ("pictures", [])
    for image, colour in zip(loaded.images, expected, strict=True):
        assert difference(image, np.broadcast_to(colour, (32, 32, 3))) < 3


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize(
    "size", [(500, 330), (64, 300), (178, 218), (65, 64), (640, 640), (40, 30)]
)
def test_the_shorter_side_fits_and_the_middle_is_kept(pictures, size, kind):
    """On a ramp along each axis a pixel's colour says where it came from: a shift of half a pixel shows."""
    wide, high = size
    x, y = np.meshgrid(np.arange(wide) / wide, np.arange(high) / high)
    ramps = Image.fromarray(np.round(255 * np.stack([x, y, x], axis=2)).astype(np.uint8))
    ramps.save(
        pictures / f"a.{kind}", **({"quality": 100, "subsampling": 0} if kind == "jpg" else {})
    )
    side = min(size)
    middles = (np.arange(64) + 0.5) * side / 64 - 0.5
    across, down = (
        255 * (middles + (wide - side) / 2) / wide,
        255 * (middles + (high - side) / 2) / high,
    )
    got = load(pictures).images[0, 4:-4, 4:-4]  # at the border resampling has fewer neighbours
    assert np.abs(got[..., 0].mean(axis=0) - across[4:-4]).max() < 1.2
    assert np.abs(got[..., 1].mean(axis=1) - down[4:-4]).max() < 1.2


def test_scaling_down_averages(pictures):
    """A fine checkerboard becomes grey; without antialiasing it would stay black and white."""
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(pictures / "a.png")
    assert np.abs(load(pictures).images.astype(int) - 127).max() < 6


def test_a_phones_rotation_is_undone(pictures):
    upright = photo(5, (64, 96))
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise by a quarter
    upright.transpose(Image.Transpose.ROTATE_90).save(pictures / "a.jpg", quality=95, exif=turned)
    assert difference(load(pictures).images[0], community(upright)) < 2


# ----------------------------------------------------------------------------------- LSUN, CelebA, rooms


def write_lsun(folder, images):
    """As distributed: one LMDB a category and split, 40 hexadecimal digits to WebP."""
    with lmdb.open(str(folder), map_size=2**24) as env, env.begin(write=True) as transaction:
        for i, image in enumerate(images):
            transaction.put(f"{i * 37 % 101:040x}".encode(), encoded(image, "WEBP", quality=95))


def test_lsun_gives_the_images_of_torchvisions_class(tmp_path, monkeypatch):
    root = tmp_path / "lsun"
    root.mkdir()
    images = [photo(i, (341, 256) if i % 2 else (256, 300)) for i in range(12)]
    write_lsun(root / "bedroom_train_lmdb", images)
    write_lsun(root / "kitchen_val_lmdb", images[:2])
    for name in ("bedroom_train_lmdb", "kitchen_val_lmdb"):
        (root / name / "lock.mdb").unlink()
        os.chmod(root / name, 0o555)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    loaded = load(f"lsun:{root}")
    assert (loaded.name, loaded.skipped, len(loaded.images)) == ("lsun-bedroom", [], 12)
    for spec in (
        f"lsun:{root}:bedroom",
        f"lsun:{root}:bedroom_train",
        f"lsun:{root / 'bedroom_train_lmdb'}",
    ):
        assert (load(spec).images == loaded.images).all()
    kitchen = load(f"lsun:{root}:kitchen_val")
    assert (kitchen.name, len(kitchen.images)) == ("lsun-kitchen_val", 2)
    assert (load(f"lsun:{root}", limit=5).images == loaded.images[:5]).all()
    assert not list(work.iterdir()) and not (root / "bedroom_train_lmdb" / "lock.mdb").exists()
    for (image, _), got in zip(
        datasets.LSUN(str(root), ["bedroom_train"]), loaded.images, strict=True
    ):
        # it rounds the crop to whole pixels, we do not
        assert difference(got, community(image)) < 3


@pytest.mark.parametrize(("rest", "path", "category"), [
    (r"C:\lsun", r"C:\lsun", "bedroom"), (r"C:\lsun:church_outdoor", r"C:\lsun", "church_outdoor"),
    ("D:/lsun:tower", "D:/lsun", "tower"), (".", ".", "bedroom")])  # fmt: skip
def test_a_drive_letter_is_part_of_the_path(rest, path, category):
    wanted = Path(path) / f"{category}_train_lmdb" / "data.mdb"
    with pytest.raises(
        data.DataError, match="^no " + re.escape(f"{wanted}; {Path(path)} holds no LSUN set")
    ):
        load(f"lsun:{rest}")


def test_an_lsun_file_that_is_cut_short_or_none_at_all_is_refused(tmp_path):
    folder = tmp_path / "bedroom_train_lmdb"
    with lmdb.open(str(folder), map_size=2**24) as env, env.begin(write=True) as transaction:
        transaction.put(b"0", bytes(2**20))
    file = folder / "data.mdb"
    os.truncate(file, file.stat().st_size // 2)
    refuses(f"lsun:{tmp_path}", r"data.mdb has [\d,]+ of [\d,]+ bytes: download it again")
    file.write_bytes(bytes(10_000))
    refuses(f"lsun:{tmp_path}", "cannot be read .*download it again")


def interrupted(monkeypatch, spec):
    """A cell that decodes `spec` and is interrupted; what its traceback holds on to."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as caught:
        patch.setattr(data, "_decode", stop)
        load(spec)
    return caught


def full_disk(monkeypatch, spec):
    def stop(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(data.DataError) as caught:
        patch.setattr(data.os, "fsync", stop)
        load(spec)
    return caught


@pytest.mark.parametrize("end", [interrupted, full_disk])
def test_an_lsun_set_whose_decoding_ended_early_is_gone_on_with(tmp_path, monkeypatch, end):
    write_lsun(tmp_path / "bedroom_train_lmdb", [photo(i) for i in range(12)])
    held = end(monkeypatch, f"lsun:{tmp_path}")
    assert held.value.__traceback__ and len(load(f"lsun:{tmp_path}").images) == 12


def test_two_threads_decode_the_same_lsun_set(tmp_path):
    write_lsun(tmp_path / "bedroom_train_lmdb", [photo(i) for i in range(12)])
    with ThreadPoolExecutor(4) as pool:
        both = [pool.submit(load, f"lsun:{tmp_path}", size=32 << i % 2) for i in range(4)]
    assert [len(each.result().images) for each in both] == [12] * 4


def test_an_lsun_set_that_something_else_holds_open_is_not_to_be_downloaded(tmp_path):
    write_lsun(tmp_path / "bedroom_train_lmdb", [photo(0)])
    with lmdb.open(str(tmp_path / "bedroom_train_lmdb"), readonly=True, lock=False):
        assert "download" not in refuses(f"lsun:{tmp_path}", "already open .* close what holds it")
    assert len(load(f"lsun:{tmp_path}").images) == 1


@pytest.mark.parametrize(
    "codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1", "csv", "crlf"]
)
def test_a_list_of_celeba_that_an_editor_saved(tmp_path, codec):
    write_celeba(tmp_path, 4)
    file = tmp_path / "celeba" / "list_eval_partition.txt"
    text = file.read_text(encoding="utf-8")
    if codec == "csv":  # as Kaggle has it
        file.unlink()
        file = file.with_suffix(".csv")
        text = "image_id,partition\n" + text.replace(" ", ",")
    elif codec == "crlf":
        text = text.replace("\n", "\r\n")
    elif codec == "latin-1":
        text += "ein Käfer\n"
    file.write_bytes(text.encode("utf-8" if codec in ("csv", "crlf") else codec))
    assert len(load(f"celeba:{tmp_path}").images) == 3


def test_kaggles_folder_in_the_folder(tmp_path):
    write_celeba(tmp_path, 4)
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.rename(tmp_path / "inner")
    folder.mkdir()
    (tmp_path / "inner").rename(folder / "img_align_celeba")
    assert len(load(f"celeba:{tmp_path}").images) == 3


def write_celeba(root, count):
    """As torchvision unpacks it, with the lists that its class reads. Every fourth image is for testing."""
    base = root / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    names = [f"{i + 1:06}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        photo(i, (178, 218)).save(base / "img_align_celeba" / name, quality=95)
    rows = {
        "list_eval_partition.txt": ("", lambda i: 2 if i % 4 == 3 else 0),
        "identity_CelebA.txt": ("", lambda i: i),
        "list_bbox_celeba.txt": (f"{count}\nimage_id x_1 y_1 width height\n", lambda i: "1 2 3 4"),
        "list_landmarks_align_celeba.txt": (f"{count}\nlefteye_x lefteye_y\n", lambda i: "1 2"),
        "list_attr_celeba.txt": (f"{count}\nMale Smiling\n", lambda i: " 1 -1"),
    }
    for file, (head, row) in rows.items():
        lines = (f"{name} {row(i)}\n" for i, name in enumerate(names))
        (base / file).write_text(head + "".join(lines), encoding="utf-8")


def test_celeba_gives_the_training_images_of_torchvisions_class(tmp_path, monkeypatch):
    write_celeba(tmp_path, 10)
    loaded = load(f"celeba:{tmp_path}")
    assert (loaded.name, loaded.skipped, loaded.images.shape) == ("celeba", [], (8, 64, 64, 3))
    assert (load(f"celeba:{tmp_path / 'celeba'}").images == loaded.images).all()
    # of the real lists only
    monkeypatch.setattr(datasets.CelebA, "_check_integrity", lambda _: True)
    for (image, _), got in zip(datasets.CelebA(str(tmp_path), "train"), loaded.images, strict=True):
        assert difference(got, community(image)) < 3


def test_celeba_without_images_or_list_says_what_to_do(tmp_path):
    refuses(f"celeba:{tmp_path}", "unpack img_align_celeba.zip")
    write_celeba(tmp_path, 1)
    (tmp_path / "celeba" / "list_eval_partition.txt").unlink()
    refuses(f"celeba:{tmp_path}", "list_eval_partition.txt, which names the training images")


def test_an_array_on_disk_is_taken_as_it_is(tmp_path):
    file, pixels = (
        tmp_path / "own.npy",
        np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8),
    )
    np.save(file, pixels)
    loaded = load(file, size=32, limit=4)
    assert (
        isinstance(loaded.images, np.memmap)
        and (loaded.images == pixels[:4]).all()
        and loaded.name == "own"
    )
    refuses(file, r"holds uint8 \(5, 32, 32, 3\); uint8 \(n, 64, 64, 3\) is needed")
    refuses(tmp_path / "none.npy", "there is no file")
    np.save(file, np.array([{"a": 1}], dtype=object))
    refuses(file, "holds .*Python objects.*is needed")
    for grey in (pixels[..., 0], pixels[..., :1]):
        np.save(file, grey)
        assert (load(file, size=32).images == pixels[..., :1]).all()
    file.write_bytes(b"")
    refuses(file, "holds .*uint8")
    np.save(file, pixels)
    file.write_bytes(file.read_bytes()[:9000])
    refuses(file, "holds .*is needed", size=32)


@pytest.mark.parametrize("name, world", [("rooms", rooms), ("faces", faces)])
def test_rooms_and_faces_are_the_worlds(name, world):
    loaded = load(f"{name}:20")
    assert (loaded.images == world.dataset(20).images).all() and loaded.name == name
    assert (load(name, limit=5).images == world.dataset(5).images).all()
    assert len(load(f"{name}:3", limit=5).images) == 3


# ------------------------------------------------------------------------------------------------ faults


def refuses(spec, pattern, **options):
    with pytest.raises(data.DataError, match=pattern) as caught:
        load(spec, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "spec", ["rooms:", "rooms:0", "rooms:many", "faces:-3", "lsun:", "missing", "web:x"]
)
def test_an_unknown_spec_is_named_with_what_is_allowed(spec):
    message = refuses(spec, re.escape(repr(spec)))
    assert any(
        hint in message
        for hint in (
            "give rooms[:N], faces[:N], a f",
            "write rooms:N",
            "write faces:N",
            "write lsun:PATH",
        )
    )


def test_a_folder_without_images_and_impossible_sizes_are_refused(pictures):
    (pictures / "notes.txt").write_text("no image", encoding="utf-8")
    refuses(pictures, "holds no images .*jpg.*give rooms")
    for world in ("rooms", "faces"):
        refuses(f"{world}:5", f"size 32: {world} are drawn at 64 pixels", size=32)
    for options in ({"size": 0}, {"limit": 0}):
        refuses("rooms:5", "whole numbers >= 1", **options)


def test_unreadable_images_are_skipped_and_named(pictures, cache):
    fill(pictures, 38)
    (pictures / "005.png").write_bytes(b"")
    jpeg = encoded(photo(50, (300, 300)), "JPEG")
    (pictures / "zz.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (pictures / "000-ok.jpg").write_bytes(jpeg)
    (pictures / "more.png").write_bytes(b"GIF89a, or so it says")
    assert len(load(pictures, limit=38).skipped) == 1
    message = refuses(
        pictures, r"3 of the first 41 images of pictures cannot be read \(.*\), more than 5% of 41"
    )
    assert "1 size" in message and "1 broken" in message
    named = Path(message.split("named in ")[1])
    assert named.parent.parent == cache
    lines = dict(line.split("\t") for line in named.read_text(encoding="utf-8").splitlines())
    assert list(lines) == ["005.png", "more.png", "zz.jpg"]
    assert lines["005.png"] == "size: no bytes" and "truncated" in lines["zz.jpg"]
    (pictures / "more.png").write_bytes((pictures / "001.png").read_bytes())
    for _ in range(2):  # decoded, then from the cache
        loaded = load(pictures)
        assert loaded.skipped == ["005.png", "zz.jpg"] and len(loaded.images) == 39
        for i, image in [
            (0, photo(50, (300, 300))),
            (5, photo(4, (20, 20))),
            (6, photo(6, (20, 20))),
        ]:
            assert difference(loaded.images[i], community(image)) < 2


def test_no_space_is_found_out_before_anything_is_written(pictures, cache, monkeypatch):
    fill(pictures, 3)
    monkeypatch.setattr(
        data.shutil, "disk_usage", lambda _: data.shutil._ntuple_diskusage(9, 9, 20_000)
    )
    refuses(pictures, "needs 37.0kB in .*, where 20.0kB are free: .*DCGAN_BOOK_CACHE")
    assert not list(cache.rglob("images.*"))


def test_a_cache_that_cannot_be_made_is_one_line(pictures, cache):
    fill(pictures, 1)
    cache.write_text("a file stands where the cache should be", encoding="utf-8")
    refuses(pictures, "DCGAN_BOOK_CACHE moves the cache")


# ------------------------------------------------------------------------------------------------- cache


def test_images_are_decoded_once_and_again_when_the_folder_changes(
    pictures, cache, monkeypatch, capsys
):
    fill(pictures, 3)
    first = data.load(pictures)
    assert "decoding 3 images of pictures: 37.0kB in " + str(cache) in capsys.readouterr().out
    assert isinstance(first.images, np.memmap) and not first.images.flags.writeable
    calls = []
    decode = data._decode
    monkeypatch.setattr(
        data, "_decode", lambda item, **how: calls.append(item[0]) or decode(item, **how)
    )
    assert (load(pictures).images == first.images).all() and calls == []
    assert load(pictures, size=16).images.shape == (3, 16, 16, 3) and len(calls) == 3
    assert (load(pictures, limit=2).images == first.images[:2]).all() and len(calls) == 5
    photo(9, (20, 20)).save(pictures / "001.png")
    assert (load(pictures).images[1] != first.images[1]).any() and len(calls) == 8
    os.utime(pictures / "002.png", (1, 1))  # as after a change that keeps the file's size
    assert len(load(pictures).images) == 3 and len(calls) == 11
    assert {path.name for path in cache.rglob("*") if path.is_file()} == {
        "images.npy",
        "note.json",
        "skipped.txt",
        "lock",
    }


KILLED = """
import os, sys
from dcgan_book.training import data
decode, spec, fatal, data.BLOCK, data.MOST_UNREADABLE = data._decode, *sys.argv[1:3], 4, 0.2
data._decode = lambda item, **how: os._exit(9) if item[0] == fatal else decode(item, **how)
data.load(spec)
"""


@pytest.mark.parametrize("source", ["folder", "lsun"])
def test_a_killed_run_is_gone_on_with_and_ends_in_the_same_bytes(
    pictures, tmp_path, monkeypatch, source
):
    monkeypatch.setattr(data, "BLOCK", 4)
    monkeypatch.setattr(data, "MOST_UNREADABLE", 0.2)
    if source == "folder":
        spec, fatal = str(pictures), "009.png"
        fill(pictures, 12)
        (pictures / "002.png").write_bytes(b"broken")
    else:
        spec, fatal = f"lsun:{tmp_path}", f"{9:040x}"
        folder = tmp_path / "bedroom_train_lmdb"
        with lmdb.open(str(folder), map_size=2**24) as env, env.begin(write=True) as transaction:
            for i in range(12):
                value = b"broken" if i == 2 else encoded(photo(i, (20, 20)), "WEBP")
                transaction.put(f"{i:040x}".encode(), value)
    killed = subprocess.run([sys.executable, "-c", KILLED, spec, fatal], capture_output=True)
    assert killed.returncode == 9, killed.stderr.decode()
    calls = []
    decode = data._decode
    monkeypatch.setattr(
        data, "_decode", lambda item, **how: calls.append(item[0]) or decode(item, **how)
    )
    resumed = load(spec)
    assert len(calls) == 4  # two of three blocks were done
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path / "another"))
    whole = load(spec)
    assert (resumed.images == whole.images).all() and len(whole.images) == 11
    assert resumed.skipped == whole.skipped and len(whole.skipped) == 1


def test_processes_that_start_together_decode_once(pictures):
    """As under torchrun: each prints what it decodes, and only one does."""
    fill(pictures, 6)
    command = [sys.executable, "-c", "import sys; from dcgan_book.training import data; "
               "print(data.load(sys.argv[1]).images.sum())", str(pictures)]  # fmt: skip
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert sum("decoding 6 images" in output for output in outputs) == 1
    assert len({output.splitlines()[-1] for output in outputs}) == 1


def damaged(path, how):
    """Damages a file: cut short, other bytes in it, its head gone, or no file."""
    size = path.stat().st_size
    if how == "cut":
        os.truncate(path, size // 2)
    elif how == "gone":
        path.unlink()
    else:
        with open(path, "r+b") as file:
            file.seek({"middle": size // 2, "head": 0}[how])
            file.write(b"other bytes")


@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.parametrize("file", ["images.npy", "note.json"])
@pytest.mark.parametrize("how", ["cut", "middle", "head"])
def test_a_damaged_cache_is_decoded_anew_and_says_so(pictures, cache, file, how):
    fill(pictures, 8)
    expected = load(pictures).images.copy()
    damaged(next(cache.rglob(file)), how)
    with pytest.warns(UserWarning, match="the cache is damaged .*the images are decoded anew"):
        assert (load(pictures).images == expected).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (load(pictures).images == expected).all()


@pytest.mark.parametrize("file", ["skipped.txt", "note.json", "images.npy"])
def test_what_is_missing_from_a_cache_is_made_again(pictures, cache, file):
    fill(pictures, 8)
    expected = load(pictures).images.copy()
    damaged(next(cache.rglob(file)), "gone")
    assert (load(pictures).images == expected).all() and list(cache.rglob(file))


def test_a_cache_that_was_copied_is_still_good(pictures, cache, monkeypatch):
    """Its files have other times and the same bytes."""
    fill(pictures, 3)
    expected = load(pictures).images.copy()
    os.utime(next(cache.rglob("images.npy")), (1, 1))
    monkeypatch.setattr(data, "_decode", lambda *_, **__: pytest.fail("decoded again"))
    for _ in range(2):
        assert (load(pictures).images == expected).all()


@pytest.mark.parametrize("file", ["images.part", "images.json"])
@pytest.mark.parametrize("how", ["cut", "middle", "gone"])
def test_a_damaged_partial_file_is_not_gone_on_with(pictures, cache, monkeypatch, file, how):
    """Shorter than its note says, it would leave black images."""
    fill(pictures, 12)
    decode = data._decode

    def stops(item, **options):
        if item[0] == "009.png":
            raise KeyboardInterrupt
        return decode(item, **options)

    monkeypatch.setattr(data, "BLOCK", 4)
    monkeypatch.setattr(data, "_decode", stops)
    with pytest.raises(KeyboardInterrupt):
        load(pictures)
    monkeypatch.setattr(data, "_decode", decode)
    damaged(next(cache.rglob(file)), how)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        images = load(pictures).images
    assert any("decoded anew" in str(each.message) for each in said) or (file, how) == (
        "images.json",
        "gone",
    )
    for i, image in enumerate(images):
        assert difference(image, community(photo(i, (20, 20)))) < 2


def test_a_fingerprint_is_that_of_the_images_and_not_of_their_place(pictures, monkeypatch):
    fill(pictures, 9)
    images = load(pictures).images
    assert data.fingerprint(images) == data.fingerprint(np.array(images))
    monkeypatch.setattr(data, "FINGERPRINT", 3 * images[0].nbytes)  # of some alone
    for other in (images[:8], images[::-1], 255 - images, images.reshape(9, 32, 128, 3)):
        assert data.fingerprint(other) != data.fingerprint(images)
