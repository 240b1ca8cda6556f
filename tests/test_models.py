"""The networks are the paper's, and checkpoints of PyTorch's own DCGANs give the same images in them."""

import pytest
import torch
from torch import nn

from dcgan_book.models import Discriminator, Generator, initialise

STAGES = ["4x4", "8x8", "16x16", "32x32"]
SIZES = {32: 3, 64: 4, 128: 5}  # pixels a side, and the stages before the last one


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def tutorial_generator(z_dim, width, channels, times=(8, 4, 2, 1)):
    """As in PyTorch's DCGAN faces tutorial and pytorch/examples/dcgan."""
    layers, before = [], z_dim
    for i, after in enumerate(many * width for many in times):
        stride, padding = (2, 1) if i else (1, 0)
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
        before = after
    return nn.Sequential(
        *layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()
    )


def tutorial_discriminator(width, channels):
    layers = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for before, after in ((1, 2), (2, 4), (4, 8)):
        layers += [
            nn.Conv2d(before * width, after * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(after * width),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False), nn.Sigmoid())


def used(network, *inputs):
    """The network after some training-mode batches, so that its running statistics are its own."""
    network.train()
    with torch.no_grad():
        for batch in inputs:
            network(batch)
    return network.eval()


def test_parameter_counts():
    assert count(Generator()) == 3_576_704
    assert count(Discriminator()) == 2_765_568


def test_width_128_is_the_papers_network():
    with torch.device("meta"):
        generator, discriminator = Generator(width=128), Discriminator(width=128)
    assert [stage[0].out_channels for stage in generator.stages.values()] == [
        1024,
        512,
        256,
        128,
        3,
    ]
    assert [stage[0].out_channels for stage in discriminator.stages.values()] == [
        128,
        256,
        512,
        1024,
        1,
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel_size", [4, 5])
def test_every_stage_has_the_resolution_it_is_named_by(kernel_size, size):
    generator, discriminator = (
        Generator(4, 6, kernel_size, channels=1, size=size),
        Discriminator(4, kernel_size, channels=1, size=size),
    )
    x = torch.randn(2, 6, 1, 1)
    for name, stage in generator.stages.items():
        x = stage(x)
        assert name == f"{x.shape[2]}x{x.shape[3]}"
    assert x.shape == (2, 1, size, size)
    for name, stage in discriminator.stages.items():
        x = stage(x)
        assert name == f"{x.shape[2]}x{x.shape[3]}"
    hidden = [f"{4 * 2**i}x{4 * 2**i}" for i in range(SIZES[size])]
    assert list(generator.stages) == [*hidden, f"{size}x{size}"]
    assert list(discriminator.stages) == [*hidden[::-1], "1x1"]
    # a stage towards z has twice as many, as in the paper
    maps = [4 * 2**i for i in range(SIZES[size])]
    assert [stage[0].out_channels for stage in generator.stages.values()] == [*maps[::-1], 1]
    assert [stage[0].out_channels for stage in discriminator.stages.values()] == [*maps, 1]


def test_images_are_in_range_and_logits_are_not_squashed():
    generator, discriminator = Generator(4), Discriminator(4)
    with torch.no_grad():
        for weight in (*generator.parameters(), *discriminator.parameters()):
            weight.mul_(20)
        images = generator(torch.randn(8, 100))
        logits = discriminator(images)
    assert images.shape == (8, 3, 64, 64)
    assert images.abs().max() <= 1 and images.std() > 0.5
    assert logits.shape == (8,) and logits.abs().max() > 1


@pytest.mark.parametrize("kernel_size, side", [(4, 46), (5, 61)])
def test_receptive_field_of_the_last_convolution(kernel_size, side):
    discriminator = Discriminator(4, kernel_size).eval()
    images = torch.randn(1, 3, 192, 192, requires_grad=True)
    x = images
    for name in STAGES[::-1]:
        x = discriminator.stages[name](x)
    x[0, :, 6, 6].sum().backward()
    assert (images.grad.abs().sum((0, 1, 3)) > 0).sum() == side


def test_only_d_input_and_g_output_lack_batchnorm_and_nothing_works_in_place():
    with_norm = {
        network: [
            name
            for name, stage in network.stages.items()
            if any(isinstance(layer, nn.BatchNorm2d) for layer in stage)
        ]
        for network in (Generator(4), Discriminator(4))
    }
    assert list(with_norm.values()) == [STAGES, ["16x16", "8x8", "4x4"]]
    for network in with_norm:
        assert not any(getattr(layer, "inplace", False) for layer in network.modules())


def test_initialise_draws_what_the_paper_says():
    generator = initialise(Generator(64), torch.Generator().manual_seed(1))
    for layer in generator.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            assert abs(layer.weight.mean()) < 1e-3 and abs(layer.weight.std() - 0.02) < 1e-3
        elif isinstance(layer, nn.BatchNorm2d):
            assert abs(layer.weight.mean() - 1) < 0.01 and abs(layer.weight.std() - 0.02) < 0.01
            assert layer.bias.abs().max() == 0
    again = initialise(Generator(64), torch.Generator().manual_seed(1))
    assert all(
        torch.equal(a, b) for a, b in zip(generator.parameters(), again.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {f"main.{name}": value for name, value in weights.items()},
        lambda weights: {f"module.main.{name}": value for name, value in weights.items()},
        lambda weights: {
            "epoch": 3,
            "models": {"netG": {f"main.{name}": value for name, value in weights.items()}},
        },
        lambda weights: {
            f"main.{name}": value for name, value in weights.items() if "num_batches" not in name
        },
    ],
)
def test_a_tutorial_generator_gives_the_same_images(wrap):
    theirs = used(tutorial_generator(10, 4, 1), torch.randn(16, 10, 1, 1))
    z = torch.randn(3, 10)
    ours = Generator.from_state_dict(wrap(theirs.state_dict()))
    assert (ours.width, ours.z_dim, ours.kernel_size, ours.channels) == (4, 10, 4, 1)
    assert torch.equal(ours.eval()(z), theirs(z[:, :, None, None]))
    assert torch.equal(ours.train()(z), theirs.train()(z[:, :, None, None]))


@pytest.mark.parametrize("times, size", [((4, 2, 1), 32), ((16, 8, 4, 2, 1), 128)])
def test_a_tutorial_generator_of_another_size_too(times, size):
    theirs = tutorial_generator(10, 4, 3, times).eval()
    ours = Generator.from_state_dict(
        {f"main.{name}": value for name, value in theirs.state_dict().items()}
    )
    z = torch.randn(3, 10)
    assert ours.size == size and torch.equal(ours.eval()(z), theirs(z[:, :, None, None]))


def test_a_tutorial_discriminator_gives_the_same_probabilities():
    theirs = used(tutorial_discriminator(4, 3), torch.randn(8, 3, 64, 64))
    images = torch.randn(3, 3, 64, 64)
    ours = Discriminator.from_state_dict(
        {f"main.{k}": v for k, v in theirs.state_dict().items()}
    ).eval()
    assert torch.equal(ours(images).sigmoid(), theirs(images).flatten())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel_size", [4, 5])
def test_our_own_state_comes_back_whole_and_apart(kernel_size, size):
    generator = used(Generator(4, 7, kernel_size, size=size), torch.randn(8, 7))
    discriminator = used(Discriminator(6, kernel_size, size=size), torch.randn(8, 3, size, size))
    state = {"discriminator": discriminator.state_dict(), "generator": generator.state_dict()}
    for cls, network in ((Generator, generator), (Discriminator, discriminator)):
        copy = cls.from_state_dict(state)
        assert (copy.kernel_size, copy.size) == (kernel_size, size)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        assert all(torch.equal(value, before[name]) for name, value in copy.state_dict().items())
        with torch.no_grad():
            for weight in copy.parameters():
                weight.zero_()
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_half_precision_weights_compute_in_full():
    half = {name: value.half() for name, value in Generator(4).state_dict().items()}
    generator = Generator.from_state_dict(half)
    assert generator(torch.zeros(2, 100)).dtype == torch.float32


def test_reading_a_checkpoint_draws_no_random_numbers():
    state = Generator(4).state_dict()
    before = torch.get_rng_state()
    Generator.from_state_dict(state)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"weights": [1, 2, 3]},
        Discriminator(4).state_dict(),
        {f"main.{k}": v for k, v in tutorial_generator(10, 4, 3)[6:].state_dict().items()},
        Generator(4).state_dict() | {"stages.4x4.0.bias": torch.zeros(32)},
        Generator(4).state_dict() | {"stages.8x8.0.weight": torch.zeros(32, 17, 4, 4)},
    ],
)
def test_anything_else_is_refused_in_one_line(state):
    with pytest.raises(ValueError, match="DCGAN generator") as refusal:
        Generator.from_state_dict(state)
    assert "\n" not in str(refusal.value)


def test_other_kernel_sizes_and_sizes_are_refused():
    with pytest.raises(ValueError, match="kernel_size is 3"):
        Generator(kernel_size=3)
    for network in (Generator, Discriminator):
        with pytest.raises(ValueError, match="size is 48; .* 32, 64, 128"):
            network(size=48)
