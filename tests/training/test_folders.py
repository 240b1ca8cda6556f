"""Folders as people have them: links, thumbnails, runs among the pictures, odd formats, broken metadata."""

import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dcgan_book.training import data

pytestmark = pytest.mark.usefixtures("cache")
SIZE = (96, 64)
links = pytest.mark.skipif(os.name == "nt", reason="links are for administrators there")


def photo(seed):
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC)


def save(*paths):
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(seed).save(path)


def load(folder, **options):
    return data.load(folder, progress=False, **options)


def kinds(loaded):
    return {name: reason.partition(":")[0] for name, reason in loaded.left_out.items()}


def as_saved(folder, count):
    """Whether the folder's images are those of `save`, in order."""
    got = load(folder).images.astype(int)
    expected = [np.asarray(photo(i).crop((16, 0, 80, 64)), dtype=int) for i in range(count)]
    return len(got) == count and max(np.abs(got - expected).mean(axis=(1, 2, 3))) < 3


# ------------------------------------------------------------------------------- each picture once


@links
@pytest.mark.parametrize(
    "link, to",
    [
        ("a/all", ".."),  # the parent
        ("again", "a"),  # a folder twice
        ("0-first", "a"),  # by a name that comes before its own
        ("a/b/root", "../.."),  # two floors up
        ("own.png", "a/1.png"),  # a single file
        ("a/self", "self"),  # of itself
        ("gone.png", "nowhere.png"),
    ],
)
def test_a_link_adds_no_image(pictures, link, to):
    save(*(pictures / "a" / f"{i}.png" for i in range(2)), pictures / "a" / "b" / "2.png")
    os.symlink(to, pictures / link)
    loaded = load(pictures)
    assert len(loaded.images) == 3 and as_saved(pictures, 3)
    assert kinds(loaded) == {link.replace("/", os.sep): "link"}


@links
def test_what_lies_outside_is_read_through_a_link_once(pictures, tmp_path):
    save(pictures / "0.png", tmp_path / "elsewhere" / "1.png")
    os.symlink(tmp_path / "elsewhere", pictures / "x")
    os.symlink(tmp_path / "elsewhere", pictures / "y")
    os.symlink(pictures, tmp_path / "elsewhere" / "back")
    loaded = load(pictures)
    assert len(loaded.images) == 2
    assert kinds(loaded) == {"y": "link", os.path.join("x", "back"): "link"}


def test_a_file_with_two_names_counts_once(pictures):
    save(pictures / "0.png", pictures / "b" / "1.png")
    os.link(pictures / "b" / "1.png", pictures / "z.png")
    assert len(load(pictures).images) == 2


@pytest.mark.parametrize(
    "folder",
    ["@eaDir", "a/@eaDir/a.jpg", "#recycle", "$RECYCLE.BIN", "__MACOSX", ".thumbnails", ".git/x"],
)
def test_no_thumbnails_and_no_rubbish(pictures, folder):
    save(pictures / "0.png", pictures / folder / "SYNOPHOTO_THUMB_S.png")
    loaded = load(pictures)
    assert len(loaded.images) == 1
    assert list(kinds(loaded).values()) == ["hidden" if folder.startswith(".") else "system"]


@pytest.mark.parametrize(
    "files", [("checkpoint.pt",), ("config.json", "log.jsonl"), ("card.json", "generator.safetensors")]
)  # fmt: skip
def test_runs_among_the_pictures_are_no_pictures(pictures, files):
    save(pictures / "0.png", pictures / "runs" / "mine" / "samples-000000.png")
    before = load(pictures)
    assert len(before.images) == 2, "without its files a run is a folder like any"
    for file in files:
        (pictures / "runs" / "mine" / file).write_bytes(b"")
    loaded = load(pictures)
    assert len(loaded.images) == 1 and kinds(loaded) == {os.path.join("runs", "mine"): "run"}
    with pytest.raises(data.DataError, match="is a training run: give the folder of its images"):
        load(pictures / "runs" / "mine")


# ------------------------------------------------------------------------------------ whatever Pillow reads


@pytest.mark.parametrize("ending, kind", [
    ("jfif", "JPEG"), ("jpe", "JPEG"), ("tif", "TIFF"), ("TIFF", "TIFF"), ("avif", "AVIF"), ("ppm", "PPM"),
    ("tga", "TGA"), ("jp2", "JPEG2000"), ("mpo", "MPO")])  # fmt: skip
def test_what_pillow_reads_is_read(pictures, ending, kind):
    save(pictures / "0.png")
    try:
        photo(1).save(pictures / f"1.{ending}", kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow has no {kind}")
    loaded = load(pictures)
    assert len(loaded.images) == 2 and not loaded.left_out


@pytest.mark.parametrize("ending", ["heic", "cr2", "svg", "eps", "txt", "jpg_large"])
def test_the_rest_is_counted_and_named_with_its_reason(pictures, cache, capsys, ending):
    save(pictures / "0.png")
    for i in range(3):
        (pictures / f"{i}.{ending}").write_bytes(b"nothing that Pillow reads")
    loaded = data.load(pictures)
    assert len(loaded.images) == 1 and not loaded.skipped
    assert loaded.left_out == {f"{i}.{ending}": f"format: .{ending}" for i in range(3)}
    said = capsys.readouterr().out
    assert f"left out of pictures: 3 format (.{ending} 3); each is named with its reason in" in said
    (listed,) = cache.rglob("skipped.txt")
    assert listed.read_text(encoding="utf-8").splitlines()[2] == f"2.{ending}\tformat: .{ending}"
    (pictures / f"1.{ending}").unlink()  # the list is that of today, the images are those of before
    load(pictures)
    assert len(listed.read_text(encoding="utf-8").splitlines()) == 2


def test_what_only_calls_itself_a_picture_has_a_reason_of_its_own(pictures, monkeypatch):
    save(*(pictures / f"{i:02}.png" for i in range(60)))
    (pictures / "97.png").write_bytes(b"<html>not found</html>")
    (pictures / "98.png").write_bytes(b"")
    Image.new("1", (9000, 9000)).save(pictures / "99.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9000)
    assert kinds(load(pictures)) == {"97.png": "format", "98.png": "size", "99.png": "size"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has pipes")
def test_a_pipe_is_not_waited_for(pictures):
    save(pictures / "0.png")
    os.mkfifo(pictures / "1.png")
    assert kinds(load(pictures)) == {"1.png": "format"}


# ----------------------------------------------------------------------------------------- metadata


def with_chunk(png, kind, content, wrong=0):
    """A PNG with one more chunk behind its head, its checksum `wrong` by so much."""
    body = kind + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body) ^ wrong)
    return png[:33] + chunk + png[33:]


def encoded(image, kind, **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


NO_TIFF = b"\x00\x08\x00\x02\x01\x12\x00\x03"


@pytest.mark.parametrize(
    "kind, content, wrong",
    [
        (b"eXIf", NO_TIFF, 0),
        (b"eXIf", b"", 0),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  8\nno hexadecimals"), 0),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1)), 0),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1)), 0),
        (b"tEXt", b"Author\0nobody", 1),
        (b"pHYs", b"\0", 0),
    ],
)
def test_a_png_with_broken_metadata_is_a_picture(pictures, kind, content, wrong):
    for i in range(3):
        png = with_chunk(encoded(photo(i), "PNG"), kind, content, wrong)
        (pictures / f"{i}.png").write_bytes(png)
    assert as_saved(pictures, 3)


@pytest.mark.parametrize("kind, options", [("WEBP", {"lossless": True}), ("JPEG", {"quality": 95})])
def test_other_formats_with_broken_metadata_are_pictures(pictures, kind, options):
    for i in range(3):
        content = encoded(photo(i), kind, exif=b"Exif\0\0" + NO_TIFF, **options)
        assert NO_TIFF in content
        (pictures / f"{i}.{kind.lower()}").write_bytes(content)
    assert as_saved(pictures, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_applied_where_it_can_be_read(pictures, kind):
    turned = Image.Exif()
    turned[0x0112] = 6
    sideways = photo(0).transpose(Image.Transpose.ROTATE_90)
    (pictures / f"0.{kind.lower()}").write_bytes(encoded(sideways, kind, exif=turned))
    photo(0).save(pictures / "1.png")
    upright, plain = load(pictures).images.astype(int)
    assert np.abs(upright - plain).mean() < 4


def test_a_png_whose_pixels_are_broken_is_none(pictures):
    """The other way round: what is read without its metadata still has to be whole."""
    save(*(pictures / f"{i:02}.png" for i in range(30)))
    png = encoded(photo(0), "PNG")
    (pictures / "99.png").write_bytes(png[: len(png) // 2])
    assert kinds(load(pictures)) == {"99.png": "broken"}


# ------------------------------------------------------------------------------- more than eight bits


RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_pixels_of_many_bits_keep_their_brightness(pictures, bits, ending):
    """With a darker picture of the same scanner, which stays darker."""
    for i, light in enumerate((1, 0.2)):
        pixels = (RAMP * light * (2**bits - 1)).astype(np.uint16)
        Image.fromarray(pixels).save(pictures / f"{i}.{ending}")
    bright, dark = load(pictures).images.astype(int)
    assert np.abs(bright[..., 0] - RAMP * 255).max() < 2
    assert np.abs(dark[..., 0] - RAMP * 51).max() < 2


def test_floats_from_0_to_1_and_to_255(pictures):
    for i, light in enumerate((1, 255)):
        Image.fromarray((RAMP * light).astype(np.float32)).save(pictures / f"{i}.tif")
    for got in load(pictures).images.astype(int):
        assert np.abs(got[..., 0] - RAMP * 255).max() < 2
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(pictures / "2.tif")
    with pytest.raises(data.DataError, match="1 of the first 3 images .* cannot be read"):
        load(pictures)


def test_colours_of_twelve_bits_in_sixteen_are_refused_rather_than_black(pictures):
    save(*(pictures / f"{i:02}.png" for i in range(40)))
    for name, most in (("98.png", 2**12), ("99.png", 2**16)):
        pixels = (RAMP[..., None] * (most - 1) * np.ones(3)).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in pixels)
        head = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
        png = b"\x89PNG\r\n\x1a\n"
        for kind, content in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            crc = struct.pack(">I", zlib.crc32(kind + content))
            png += struct.pack(">I", len(content)) + kind + content + crc
        (pictures / name).write_bytes(png)
    loaded = load(pictures)
    assert kinds(loaded) == {"98.png": "format"} and "12 bits in 16" in loaded.left_out["98.png"]
    assert np.abs(loaded.images[-1, ..., 0] - RAMP * 255).max() < 2
