"""The reader of the authors' own weights, on a small synthetic set of the same layout, and what is read from pixels."""

import hashlib
import io
import urllib.error

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from dcgan_book import authors, live
from dcgan_book.hooks import retain
from dcgan_book.latents import draw_z
from dcgan_book.pretrained import PretrainedError, load

WIDTH, Z_DIM = 2, 8  # 2 x 8 + 8 are a multiple of 8, as 2 x 100 + 8 are


def arrays():
    """Eighteen arrays in the layout of the authors', narrower, and with numbers large enough to show an error."""
    random = np.random.default_rng(0)
    start, wide = 4 * WIDTH * 16, 4 * WIDTH
    up = [(Z_DIM, start), (start,), (start,), (wide, wide // 2, 5, 5), (wide // 2,), (wide // 2,),
          (wide // 2, WIDTH, 5, 5), (WIDTH,), (WIDTH,), (WIDTH, 3, 5, 5)]  # fmt: skip
    down = [(WIDTH, 3, 5, 5), (wide // 2, WIDTH, 5, 5), (wide // 2,), (wide // 2,), (wide, wide // 2, 5, 5),
            (wide,), (wide,), (start, 1)]  # fmt: skip
    return [random.normal(0, 0.3, shape).astype(np.float32) for shape in up + down]


def files():
    found = []
    for array in arrays():
        buffer = io.BytesIO()
        np.save(buffer, array)
        found.append(buffer.getvalue())
    return found


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The authors' repository with the synthetic set in it: a dict of address to bytes, or an error to raise."""
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DCGAN_BOOK_AUTHORS", raising=False)
    monkeypatch.setattr(authors, "CALIBRATION", 128)
    content = files()
    monkeypatch.setattr(authors, "SHA256", hashlib.sha256(b"".join(content)).hexdigest())
    there = {
        f"{authors.SOURCE}/{file}": each for file, each in zip(authors.FILES, content, strict=True)
    }

    def answer(address, timeout):
        assert timeout == authors.SECONDS
        if address not in there:
            raise urllib.error.URLError("no network")
        return io.BytesIO(there[address])

    monkeypatch.setattr(authors.urllib.request, "urlopen", answer)
    return there


def folder_of(content, path):
    path.mkdir()
    for file, each in zip(authors.FILES, content, strict=True):
        (path / file).write_bytes(each)
    return path


def test_they_are_fetched_once_and_work_offline(repository, tmp_path):
    first = load("authors-svhn")
    repository.clear()
    again = load("authors-svhn", fetch=False)
    z = first.draw_z(3, torch.Generator().manual_seed(0))
    assert torch.equal(first.generator(z), again.generator(z)) and z.shape == (3, Z_DIM)
    assert first.generator(z).shape == (3, 3, 32, 32)
    assert torch.equal(
        first.discriminator(first.generator(z)), again.discriminator(again.generator(z))
    )
    assert first.card["prior"] == "normal" and first.card["licence"] == "MIT"
    assert {path.name for path in (tmp_path / "cache" / "authors-svhn").iterdir()} == set(
        authors.FILES
    )


def test_offline_is_one_line_that_says_how_to_get_them(repository, tmp_path):
    repository.clear()
    for fetch in (True, False):
        with pytest.raises(PretrainedError) as error:
            load("authors-svhn", fetch=fetch)
        said = str(error.value)
        assert "\n" not in said and str(tmp_path / "cache") in said
        assert "DCGAN_BOOK_AUTHORS" in said and "200_*.npy" in said and authors.FOLDER in said
        assert ("no network" in said) == fetch


def test_a_variable_names_their_folder(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("DCGAN_BOOK_AUTHORS", str(folder_of(files(), tmp_path / "elsewhere")))
    repository.clear()
    assert load("authors-svhn").generator.z_dim == Z_DIM
    (tmp_path / "elsewhere" / authors.FILES[3]).write_bytes(b"torn")
    with pytest.raises(PretrainedError, match="elsewhere are damaged, or others"):
        load("authors-svhn")
    (tmp_path / "elsewhere" / authors.FILES[3]).unlink()
    with pytest.raises(PretrainedError, match="elsewhere are not all there"):
        load("authors-svhn")


def test_a_damaged_cache_is_fetched_anew_and_another_source_refused(repository, tmp_path):
    load("authors-svhn")
    torn = tmp_path / "cache" / "authors-svhn" / authors.FILES[0]
    torn.write_bytes(b"torn")
    load("authors-svhn")
    assert torn.read_bytes() != b"torn"
    torn.write_bytes(b"torn")
    repository[f"{authors.SOURCE}/{authors.FILES[0]}"] = b"other"
    with pytest.raises(PretrainedError, match="not those that this book knows"):
        load("authors-svhn")


def test_every_number_after_z_has_its_own_scale_and_shift(repository):
    generator = load("authors-svhn").generator
    matrix, scale, shift = arrays()[:3]
    z = draw_z(4000, Z_DIM, "normal", torch.Generator().manual_seed(0))
    with retain(generator, "4x4") as kept:
        generator(z)
    raw = z.numpy() @ matrix
    spread = np.sqrt((matrix**2).sum(0))
    expected = np.maximum(raw / spread * scale + shift, 0).reshape(-1, 4 * WIDTH, 4, 4)
    np.testing.assert_allclose(kept["4x4"].numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(raw.std(0), spread, rtol=0.1)  # so it is what a batch would show


def test_kernels_are_turned_around(repository):
    """Theano's convolution is the one of mathematics, which SciPy has too."""
    discriminator = load("authors-svhn").discriminator
    kernel = arrays()[10]
    image = np.random.default_rng(1).normal(size=(3, 32, 32)).astype(np.float32)
    with retain(discriminator, "16x16", before_relu=True) as kept:
        discriminator(torch.from_numpy(image)[None])
    whole = sum(convolve2d(image[c], kernel[1, c], mode="full") for c in range(3))
    np.testing.assert_allclose(kept["16x16"][0, 1].numpy(), whole[2:-2:2, 2:-2:2], atol=1e-4)


def test_the_generator_is_the_adjoint_of_such_a_convolution(repository):
    generator = load("authors-svhn").generator
    kernel = arrays()[9]
    random = torch.Generator().manual_seed(0)
    maps, image = torch.randn(WIDTH, 16, 16, generator=random), torch.randn(3, 32, 32, generator=random)  # fmt: skip
    up = generator.stages["32x32"][0](maps[None])[0]
    down = torch.stack([
        torch.from_numpy(sum(convolve2d(image[c].numpy(), kernel[k, c], mode="full") for c in range(3)))
        for k in range(WIDTH)
    ])[:, 2:-2:2, 2:-2:2]  # fmt: skip
    torch.testing.assert_close((up * image).sum(), (maps * down).sum(), atol=1e-3, rtol=1e-4)


def test_live_figures_get_the_same_generator(repository):
    """Folded as the page gets it, stage by stage, it draws what PyTorch draws."""
    generator = load("authors-svhn").generator
    z = draw_z(2, Z_DIM, "normal", torch.Generator().manual_seed(0))
    x = z[:, :, None, None]
    folded = live.fold(generator)
    for (weight, bias), stage in zip(folded, generator.stages.values(), strict=True):
        layer = stage[0]
        x = torch.nn.functional.conv_transpose2d(
            x, weight, bias, layer.stride, layer.padding, layer.output_padding
        )
        x = x.tanh() if stage is generator.stages["32x32"] else x.relu()
    torch.testing.assert_close(x, generator(z), atol=1e-4, rtol=1e-4)
    header, _ = live.pack(generator)
    depths = [(stage["inputs"], stage["outputs"]) for stage in header["stages"]]
    assert all(before[1] == after[0] for before, after in zip(depths, depths[1:], strict=False))


# ------------------------------------------------------------------------------------ what is read from pixels


@pytest.fixture(scope="module")
def numbers():
    """A light bar on dark ground, its negative, a bleached one, and plain grey; (4, 3, 32, 32)."""
    images = torch.full((4, 3, 32, 32), -0.5)
    images[:, :, 6:26, 14:18] = 0.5
    images[1] *= -1
    images[2] *= 0.1
    images[3] = 0
    return images


def test_polarity_is_read_and_turns_with_the_negative(numbers):
    assert authors.polarity(numbers).tolist() == [1, -1, 1, 0]
    torch.testing.assert_close(authors.readings(-numbers), -authors.readings(numbers))
    assert authors.readings(numbers)[0] == pytest.approx(1)  # from -0.5 to 0.5


def test_neighbours_at_the_sides_do_not_count(numbers):
    beside = numbers.clone()
    beside[..., :8], beside[..., -8:] = 1, -1
    torch.testing.assert_close(authors.readings(beside), authors.readings(numbers))


def test_contrast_and_warmth(numbers):
    contrast = authors.contrast(numbers)
    assert contrast[0] == pytest.approx(contrast[1]) and contrast[2] == pytest.approx(
        contrast[0] / 10
    )
    red = numbers.clone()
    red[:, 0] += 0.2
    torch.testing.assert_close(authors.warmth(red), torch.full((4,), 0.2))


def test_ink_is_the_digit(numbers):
    bar = torch.zeros(32, 32, dtype=torch.bool)
    bar[6:26, 14:18] = True
    for mask in authors.ink(numbers)[:3]:
        assert torch.equal(mask, bar)
    assert not authors.ink(numbers)[3].any()
