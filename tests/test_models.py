"""The networks are the paper's, and checkpoints of PyTorch's own DCGANs give the same images in them."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dcgan_book.models import Discriminator, Generator, initialise

STAGES = ["4x4", "8x8", "16x16", "32x32"]
SIZES = {32: 3, 64: 4, 128: 5, 256: 6}  # pixels a side, and the stages before the last one


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def tutorial_generator(z_dim, width, channels, times=(8, 4, 2, 1), bias=False):
    """As in PyTorch's DCGAN faces tutorial and pytorch/examples/dcgan."""
    layers, before = [], z_dim
    for i, after in enumerate(many * width for many in times):
        stride, padding = (2, 1) if i else (1, 0)
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride, padding, bias=bias),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
        before = after
    return nn.Sequential(
        *layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=bias), nn.Tanh()
    )


def tutorial_discriminator(width, channels, bias=False):
    layers = [nn.Conv2d(channels, width, 4, 2, 1, bias=bias), nn.LeakyReLU(0.2)]
    for before, after in ((1, 2), (2, 4), (4, 8)):
        layers += [
            nn.Conv2d(before * width, after * width, 4, 2, 1, bias=bias),
            nn.BatchNorm2d(after * width),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 0, bias=bias), nn.Sigmoid())


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
        lambda weights: {f"_orig_mod.main.{name}": value for name, value in weights.items()},
        lambda weights: {f"module._orig_mod.main.{name}": value for name, value in weights.items()},
        lambda weights: {f"main._orig_mod.{name}": value for name, value in weights.items()},
        lambda weights: (
            {"n_averaged": torch.tensor(7)}
            | {f"module.net.gen.{name}": value for name, value in weights.items()}
        ),
        # Lightning's: both networks in one dict, and more beside them
        lambda weights: {
            "hparams": {"lr": 2e-4},
            "state_dict": {
                f"discriminator.main.{name}": value
                for name, value in tutorial_discriminator(4, 1).state_dict().items()
            }
            | {f"generator.main.{name}": value for name, value in weights.items()}
            | {"validation_z": torch.zeros(8, 10)},
        },
        lambda weights: ["netD", "netG", weights],
        # as a file of safetensors has them, where 10 comes before 3
        lambda weights: {f"main.{name}": weights[name] for name in sorted(weights)},
        # blocks of layers, and layers that have names
        lambda weights: {
            f"net.{int(number) // 3}.{int(number) % 3}.{kind}": value
            for name, value in weights.items()
            for number, kind in [name.split(".")]
        },
        lambda weights: {
            f"{'conv' if int(number) % 3 == 0 else 'bn'}{int(number) // 3}.{kind}": value
            for order in (0, 1)
            for name, value in weights.items()
            for number, kind in [name.split(".")]
            if int(number) % 3 == order
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
    assert not ours.training
    assert torch.equal(ours(z), theirs(z[:, :, None, None]))
    assert torch.equal(ours.train()(z), theirs.train()(z[:, :, None, None]))


@pytest.mark.parametrize(
    "times, size", [((4, 2, 1), 32), ((16, 8, 4, 2, 1), 128), ((32, 16, 8, 4, 2, 1), 256)]
)
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
    ours = Discriminator.from_state_dict({f"main.{k}": v for k, v in theirs.state_dict().items()})
    assert not ours.training
    assert torch.equal(ours(images).sigmoid(), theirs(images).flatten())


def test_biases_of_convolutions_are_kept_through_another_saving():
    theirs = [
        used(tutorial_generator(10, 4, 3, bias=True), torch.randn(16, 10, 1, 1)),
        used(tutorial_discriminator(4, 3, bias=True), torch.randn(8, 3, 64, 64)),
    ]
    z, images = torch.randn(3, 10), torch.randn(3, 3, 64, 64)
    ours = [
        cls.from_state_dict(cls.from_state_dict(network.state_dict()).state_dict())
        for cls, network in zip((Generator, Discriminator), theirs, strict=True)
    ]
    assert torch.equal(ours[0](z), theirs[0](z[:, :, None, None]))
    assert torch.equal(ours[1](images).sigmoid(), theirs[1](images).flatten())
    initialise(ours[0])
    assert ours[0].stages["64x64"][0].bias.abs().max() == 0


@pytest.mark.parametrize(
    "wrap", [torch.compile, nn.DataParallel, torch.optim.swa_utils.AveragedModel]
)
def test_states_of_wrapped_networks_of_ours_are_read(wrap, tmp_path):
    for network in (Generator(4, 7, 5), Discriminator(4, 5)):
        state = wrap(network.eval()).state_dict()
        save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "file")
        for given in (state, load_file(tmp_path / "file")):
            found = type(network).from_state_dict(given).state_dict()
            assert all(
                torch.equal(value, found[name]) for name, value in network.state_dict().items()
            )


def test_of_several_networks_the_first_is_read_whatever_lies_beside_them():
    several = [Generator(4, z_dim) for z_dim in range(10, 20)]
    state = {"losses": [0.1] * 200_000}
    state["state_dict"] = {
        f"{name}.{key}": value
        for name, network in zip("fbjaicgehd", several, strict=True)
        for key, value in network.state_dict().items()
    }
    assert Generator.from_state_dict(state).z_dim == 10


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name", ["main.0.weight", "main.4.running_var", "main.7.bias", "main.12.weight"]
)
def test_weights_that_are_not_finite_are_refused(name, bad):
    state = {f"main.{k}": v for k, v in tutorial_generator(10, 4, 3).state_dict().items()}
    state[name].view(-1)[-1] = bad
    with pytest.raises(ValueError, match=f"{name} has numbers that are not finite") as refusal:
        Generator.from_state_dict({"G": state})
    assert "\n" not in str(refusal.value)


def test_weights_that_are_no_floats_and_variances_below_zero_are_refused():
    state = Generator(4).state_dict()
    for changed, message in (
        (
            state["stages.8x8.0.weight"].mul(99).char(),
            "stages.8x8.0.weight has numbers of torch.int8",
        ),
        (state["stages.8x8.0.weight"].bool(), "stages.8x8.0.weight has numbers of torch.bool"),
    ):
        with pytest.raises(ValueError, match=message):
            Generator.from_state_dict(state | {"stages.8x8.0.weight": changed})
    with pytest.raises(ValueError, match="8x8.1.running_var .* a variance below 0"):
        Generator.from_state_dict(state | {"stages.8x8.1.running_var": torch.full((16,), -1.0)})


def test_a_network_loaded_under_inference_mode_still_takes_gradients():
    with torch.inference_mode():
        discriminator = Discriminator.from_state_dict(Discriminator(4).state_dict())
    images = torch.zeros(1, 3, 64, 64, requires_grad=True)
    discriminator(images).sum().backward()
    assert images.grad.abs().sum() > 0 and discriminator.stages["1x1"][0].weight.grad is not None


def test_z_may_have_the_tutorials_shape_and_no_other():
    generator = Generator(4, 6).eval()
    z = torch.randn(3, 6)
    assert torch.equal(generator(z), generator(z[:, :, None, None]))
    for wrong in (
        torch.zeros(3, 100),
        torch.zeros(6),
        torch.zeros(3, 6, 1),
        torch.zeros(3, 6, 2, 2),
    ):
        with pytest.raises(ValueError, match=r"this generator takes \(n, 6\)"):
            generator(wrong)


@pytest.mark.parametrize(
    "shape", [(3, 128, 128), (3, 65, 64), (1, 64, 64), (3, 32, 32), (64, 64, 3)]
)
def test_images_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"this discriminator takes \(n, 3, 64, 64\)"):
        Discriminator(4)(torch.zeros(2, *shape))


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
        Generator(4).state_dict() | {"stages.4x4.0.scale": torch.zeros(32)},
        Generator(4).state_dict() | {"stages.8x8.0.weight": torch.zeros(32, 17, 4, 4)},
    ],
)
def test_anything_else_is_refused_in_one_line(state):
    with pytest.raises(ValueError, match="DCGAN generator") as refusal:
        Generator.from_state_dict(state)
    assert "\n" not in str(refusal.value)


def chain(*layers):
    """A state dict of transposed convolutions, (before, after, kernel) each, with BatchNorm between."""
    modules = [nn.ConvTranspose2d(*layer, bias=False) for layer in layers]
    for i, (_, after, _) in reversed(list(enumerate(layers[:-1]))):
        modules.insert(i + 1, nn.BatchNorm2d(after))
    return {f"main.{name}": value for name, value in nn.Sequential(*modules).state_dict().items()}


@pytest.mark.parametrize(
    "state, message",
    [
        # of 28 pixels, in three ways that people have
        (chain((100, 32, 4), (32, 16, 3), (16, 8, 4), (8, 1, 4)),
         r"main.2.weight \(32, 16, 3, 3\), where \(32, 16, 4, 4\) is needed"),
        (chain((100, 32, 7), (32, 16, 4), (16, 8, 4), (8, 1, 4)),
         r"main.0.weight \(100, 32, 7, 7\), where \(100, 32, 4, 4\) is needed"),
        (chain((100, 32, 7), (32, 16, 4), (16, 1, 4)),
         "from main.0.weight on there are 3 convolutions, where it takes 4 to 7"),
        (chain((100, 32, 3), (32, 16, 3), (16, 8, 3), (8, 1, 3)),
         r"main.6.weight \(8, 1, 3, 3\), where kernels are 4x4 or 5x5"),
        # widths that do not double
        (chain((100, 16, 4), (16, 16, 4), (16, 8, 4), (8, 4, 4), (4, 3, 4)),
         r"main.0.weight \(100, 16, 4, 4\), where \(100, 32, 4, 4\) is needed"),
        ({"fc.weight": torch.zeros(512, 100)} | chain((32, 16, 4), (16, 8, 4), (8, 4, 4), (4, 3, 4))
         | {"main.0.weight_orig": torch.zeros(1)}, "main.0.weight_orig .* is none of its weights"),
        ({name: value for name, value in Generator(4).state_dict().items() if "8x8.1.bias" not in name},
         "beside stages.8x8.1.weight there is no bias"),
        ({name: value for name, value in Generator(4).state_dict().items() if "8x8.1" not in name},
         "3 BatchNorm layers beside the 5 convolutions from stages.4x4.0.weight on, where it takes 4"),
        (nn.Sequential(nn.Linear(100, 64), nn.ReLU()).state_dict(),
         r"0.weight \(64, 100\) is of neither a convolution nor BatchNorm"),
        ({"epoch": 3, "log": [1.0, 2.0]}, "there are no tensors in it"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_first_weight_that_does_not_fit(state, message):
    with pytest.raises(ValueError, match=f"holds no DCGAN generator .*: {message}") as refusal:
        Generator.from_state_dict(state)
    assert "\n" not in str(refusal.value)


def test_a_discriminator_with_batchnorm_in_its_first_layer_is_no_generator_backwards():
    layers = []
    for before, after in ((3, 4), (4, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(before, after, 4, bias=False), nn.BatchNorm2d(after)]
    state = nn.Sequential(*layers, nn.Conv2d(32, 1, 4, bias=False)).state_dict()
    for cls in (Generator, Discriminator):
        with pytest.raises(ValueError, match="holds no DCGAN"):
            cls.from_state_dict(state)


def test_other_kernel_sizes_and_sizes_are_refused():
    with pytest.raises(ValueError, match="kernel_size is 3"):
        Generator(kernel_size=3)
    for network in (Generator, Discriminator):
        with pytest.raises(ValueError, match="size is 48; .* 32, 64, 128, 256"):
            network(size=48)
