"""Latents come from their prior, and what a generator is prepared with follows from them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from dcgan_book.latents import PRIORS, draw_z, recalibrate, stream, to_batch
from dcgan_book.models import Generator


@pytest.mark.parametrize("z_dim", [1, 7, 100])
@pytest.mark.parametrize("prior", PRIORS)
def test_the_first_of_many_z_are_those_of_a_smaller_draw(prior, z_dim):
    many = draw_z(50, z_dim, prior, torch.Generator().manual_seed(3))
    assert many.shape == (50, z_dim)
    for n in (1, 3, 17, 49):
        assert torch.equal(draw_z(n, z_dim, prior, torch.Generator().manual_seed(3)), many[:n])


def test_priors():
    uniform, normal = (
        draw_z(1000, 100, prior, torch.Generator().manual_seed(0)) for prior in PRIORS
    )
    assert -1 <= uniform.min() < -0.999 and 0.999 < uniform.max() < 1
    for z, spread in ((uniform, 3**-0.5), (normal, 1)):
        assert abs(z.mean()) < 0.01 and abs(z.std() - spread) < 0.01
    assert normal.abs().max() > 4


def test_a_batch_is_in_the_papers_range():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    pixels[0, 0, 0] = (0, 255, 51)
    batch = to_batch(pixels)
    assert batch.shape == (3, 3, 64, 64) and batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([-1.0, 1.0, -0.6]))
    assert (((batch.permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy() == pixels).all()


def test_recalibrated_statistics_are_those_of_the_z():
    generator = Generator(4, 8)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.fill_(5)
    before = [weight.detach().clone() for weight in generator.parameters()]
    assert recalibrate(generator, count=96, seed=3, batch=32) is generator
    assert not generator.training and all(map(torch.equal, generator.parameters(), before))

    inputs = {}
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.momentum == 0.1
            layer.register_forward_pre_hook(
                lambda layer, given: inputs.setdefault(layer, []).append(given[0])
            )
    random = stream(3, "recalibration")
    twin = copy.deepcopy(generator).train()  # the hooks are copied with it
    with torch.no_grad():
        for _ in range(3):
            twin(draw_z(32, 8, "uniform", random))
    assert len(inputs) == 4
    for layer, of_the_twin in zip(generator.modules(), twin.modules(), strict=True):
        if not isinstance(layer, nn.BatchNorm2d):
            continue
        batches = inputs[of_the_twin]
        mean = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
        var = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
        torch.testing.assert_close(layer.running_mean, mean)
        torch.testing.assert_close(layer.running_var, var)


@pytest.mark.parametrize("prior", ["unifrom", "Normal", "", None])
def test_an_unknown_prior_is_refused_and_changes_nothing(prior):
    with pytest.raises(ValueError, match=f"prior is {prior!r}; it is one of uniform, normal"):
        draw_z(2, 3, prior)
    generator = Generator(2, 3)
    generator(torch.zeros(2, 3))
    before = copy.deepcopy(generator.state_dict())
    with pytest.raises(ValueError, match="it is one of uniform, normal"):
        recalibrate(generator, prior, 8)
    assert generator.training
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
