"""Near-duplicates: copies are found, other rooms are not, and no two images are compared that need not be."""

import contextlib
import gc
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_book import training
from dcgan_book.cache import atomic_write
from dcgan_book.training import data, duplicates
from dcgan_book.training.duplicates import find, pairs
from dcgan_book.worlds import rooms


@pytest.fixture(scope="module")
def images():
    return rooms.dataset(150, seed=40).images


def jpeg(image, quality=60):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 8, 21, 64])
def test_pairs_are_those_of_comparing_all_with_all(radius):
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**64, (200, 2), dtype=np.uint64)
    for k in range(60):  # copies that differ in 0 to 14 bits
        codes[140 + k] = codes[k]
        for bit in random.choice(128, k // 4, replace=False).tolist():
            codes[140 + k, bit // 64] ^= np.uint64(2 ** (bit % 64))
    differing = np.bitwise_count(codes[:, None] ^ codes[None]).sum(2)
    expected = np.argwhere((differing <= radius) & np.triu(np.ones((200, 200), bool), 1))
    assert len(expected) >= 4 and (pairs(codes, radius) == expected).all()


def test_no_pairs_and_no_radius():
    assert pairs(np.arange(8, dtype=np.uint64).reshape(4, 2) << np.uint64(32), 0).shape == (0, 2)
    for radius in (-1, 128):
        with pytest.raises(ValueError, match=f"radius is {radius}; it is from 0 to 127"):
            pairs(np.zeros((2, 2), np.uint64), radius)


def test_copies_are_left_out_and_originals_stay(images):
    """Of each group the first stays; a hundred equal images are one group."""
    same = np.repeat(images[7:8], 100, axis=0)
    copies = np.stack([jpeg(image) for image in images[20:40]])
    gone = find(np.concatenate([images, same, copies]), radius=4, steps=150)
    assert set(range(150, 250)) <= set(gone.tolist()), "an exact copy stayed"
    assert (gone >= 250).sum() >= 16, "most recompressed copies have nearly the same code"
    assert (gone < 150).sum() <= 1, "originals or other rooms were left out"
    assert (np.diff(gone) > 0).all()


def test_the_first_that_stays_decides():
    """b is near a and c, a and c are apart: b goes, and c, whose only neighbour is gone, stays."""
    bits = np.zeros((3, 128), bool)
    bits[1, :4] = bits[2, :8] = True

    class Codes:
        def bits(self, thumbnails):
            return torch.from_numpy(bits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "fit", lambda *_, **__: Codes())
        assert find(np.zeros((3, 64, 64, 3), np.uint8), radius=4).tolist() == [1]
        assert find(np.zeros((3, 64, 64, 3), np.uint8), radius=8).tolist() == [1, 2]


def test_codes_follow_from_the_seed_and_touch_no_other_randomness(images, monkeypatch):
    state = torch.get_rng_state()
    first, again, other = (
        duplicates.encode(duplicates.fit(images, 5, seed), images) for seed in (0, 0, 1)
    )
    assert (
        (first == again).all()
        and (first != other).any()
        and torch.equal(state, torch.get_rng_state())
    )
    monkeypatch.setattr(duplicates, "BLOCK", 64)
    model = duplicates.fit(images, 5, 0)
    assert (duplicates.encode(model, images) == first).all(), "blocks change the codes"
    bits = model.bits(duplicates.thumbnails(images[:3])).numpy()
    assert (np.unpackbits(first[:3].view(np.uint8), axis=1) == bits).all()


@pytest.mark.parametrize("side", [32, 64, 128])
def test_thumbnails_have_no_size_and_no_brightness(images, side):
    scaled = np.stack(
        [
            np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))
            for image in images[:4]
        ]
    )
    small = duplicates.thumbnails(scaled // 2 * 2)
    assert small.shape == (4, 3072)
    torch.testing.assert_close(small, duplicates.thumbnails(scaled // 2))
    torch.testing.assert_close(small.mean(1), torch.full((4,), 0.5))
    assert duplicates.thumbnails(np.zeros((1, side, side, 3), np.uint8)).isfinite().all()


def test_the_network_is_the_papers():
    model = duplicates.Autoencoder(torch.zeros(3072))
    assert [tuple(weight.shape) for weight in model.parameters()] == [
        (128, 3072),
        (128,),
        (3072, 128),
        (3072,),
    ]
    thumbnails = torch.rand(5, 3072)
    code = model.eval().encoder(thumbnails).relu()
    assert ((code > 0) == model.bits(thumbnails)).all()
    torch.testing.assert_close(model(thumbnails), model.decoder(code))
    assert not torch.equal(model.train()(thumbnails), model(thumbnails)), "no dropout"


def test_the_command_writes_what_stays_and_the_trainer_takes_it(
    images, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(duplicates, "find", lambda images, radius, progress: np.array([1, 3]))
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "unique.npy"
    duplicates.main(["--data=rooms:6", f"--out={out}"])
    assert (
        f"2 of 6 images are near-duplicates of earlier ones; the others are in {out}"
        in capsys.readouterr().out
    )
    kept = data.load(out)
    assert (kept.images == rooms.dataset(6).images[[0, 2, 4, 5]]).all() and kept.name == "unique"
    assert isinstance(kept.images, np.memmap) and len(data.load(str(out), limit=3).images) == 3
    config = training.TrainConfig(
        data=str(out), steps=1, batch=4, width=2, z_dim=4, precision="fp32", device="cpu"
    )
    assert training.train(config, progress=False).step == 1
    for arguments, says in (
        (["--data=nowhere", f"--out={out}"], "neither a known name nor a folder"),
        (["--data=rooms:6", "--out=unique"], "give a FILE.npy"),
        (["--data=rooms:6", f"--out={out}", "--radius=128"], "0 to 127 bits"),
        (["--data=rooms:6", f"--out={tmp_path}/no/unique.npy"], "cannot be written"),
    ):
        with pytest.raises(SystemExit) as end:
            duplicates.main(arguments)
        assert (
            str(end.value).startswith("error: ")
            and says in str(end.value)
            and "\n" not in str(end.value)
        )


def test_no_map_of_the_file_is_open_when_it_takes_its_name(tmp_path, monkeypatch):
    """Windows would refuse to rename it."""
    mapped = []

    @contextlib.contextmanager
    def watched(path):
        with atomic_write(path) as temporary:
            yield temporary
            maps = (thing for thing in gc.get_objects() if issubclass(type(thing), np.memmap))
            mapped.extend(map for map in maps if Path(map.filename) == temporary)

    monkeypatch.setattr(duplicates, "atomic_write", watched)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    duplicates.write(tmp_path / "kept.npy", images, np.array([0, 3, 4]))
    assert mapped == [] and (np.load(tmp_path / "kept.npy") == images[[0, 3, 4]]).all()
