"""What a chapter derives in full is what the package has."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dcgan_book import arithmetic, measure, models, pretrained, training
from dcgan_book.latents import draw_z

BOOK = Path(__file__).parent.parent / "book"


def operations(function):
    """Billions of multiplications and additions that a function asks of PyTorch."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e9


def test_slider_to_picture_takes_a_moment():
    """What a move in chapter 2's figure asks of the kernel: a room, and the instrument's reading of it.

    A core that makes 20 billion operations a second, as ours, needs less than 50 ms for 0.5 billion.
    """
    generator, instrument = pretrained.load("rooms").generator, measure.load()
    assert operations(lambda: instrument.presence(generator(draw_z(1)))) < 0.5


def test_nine_sums_take_a_moment():
    """What a move in chapter 5's figure asks of the kernel: the sum, its neighbours, and their images."""
    generator, random = pretrained.load("rooms").generator, torch.Generator().manual_seed(0)
    sets = draw_z(9, generator=random).view(3, 3, 100)  # the generator is as large as that of faces
    assert (
        operations(
            lambda: generator(arithmetic.neighbours(arithmetic.combine(*sets), generator=random))
        )
        < 2.5
    )


def derived_in(chapter):
    """What the cells of a chapter that are tagged `derived` define."""
    names = {"torch": torch, "nn": nn}
    for cell in json.loads((BOOK / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if "derived" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)  # our own notebook
    return names


@pytest.fixture(scope="module")
def derived():
    return derived_in("01-training")


def test_the_sums_are_the_packages():
    ours, random = derived_in("05-arithmetic"), torch.Generator().manual_seed(3)
    sets = draw_z(24, generator=random).view(3, 8, 100)
    assert torch.equal(ours["concept"](sets), arithmetic.concept(sets))
    total = ours["combine"](*sets)
    assert torch.equal(total, arithmetic.combine(*sets))
    for prior, reach in (("uniform", 0.25), ("normal", 0.25 * 3**0.5)):
        nine = ours["neighbours"](total, reach, torch.Generator().manual_seed(4))
        torch.testing.assert_close(
            nine, arithmetic.neighbours(total, prior, torch.Generator().manual_seed(4))
        )


def same_weights(derived, network):
    """The derived layers with the weights of the package's network; both list theirs in the same order."""
    ours, theirs = network.state_dict(), derived.state_dict()
    assert [value.shape for value in theirs.values()] == [value.shape for value in ours.values()]
    derived.load_state_dict(dict(zip(theirs, ours.values(), strict=True)))
    return derived


@pytest.mark.parametrize("width", [4, 16])
def test_the_networks_are_the_packages(derived, width):
    random = torch.Generator().manual_seed(0)
    generator, discriminator = (
        models.initialise(network(width), random)
        for network in (models.Generator, models.Discriminator)
    )
    z = draw_z(6, generator=random)
    layers = same_weights(derived["generator_layers"](width), generator)
    images = generator(z)
    assert torch.equal(layers(z[:, :, None, None]), images)
    layers = same_weights(derived["discriminator_layers"](width), discriminator)
    assert torch.equal(layers(images).flatten(), discriminator(images))


def test_the_weights_start_as_the_packages(derived):
    networks = [network(4) for network in (models.Generator, models.Discriminator)]
    for network in networks:
        other = copy.deepcopy(network)
        derived["initialise"](network, torch.Generator().manual_seed(1))
        models.initialise(other, torch.Generator().manual_seed(1))
        for name, value in network.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.1, "see": lambda images: images * 0.9}])
def test_the_step_is_the_packages(derived, options):
    trained = []
    for step in (derived["gan_step"], training.gan_step):
        random = torch.Generator().manual_seed(2)
        networks = [
            models.initialise(network, random)
            for network in (models.Generator(4), models.Discriminator(4))
        ]
        optimisers = [training.adam(network, 2e-4) for network in networks]
        for _ in range(3):
            real = torch.rand(5, 3, 64, 64, generator=random) * 2 - 1
            losses = step(*networks, *optimisers, real, draw_z(5, generator=random), **options)
        trained.append(
            list(losses.values())
            + [weight for network in networks for weight in network.parameters()]
        )
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))


def stepped(source, *changes, steps=2):
    """D and G of width 4 after steps by a chapter's `gan_step`, of which pieces of code are changed."""
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    names = derived_in("01-training")
    exec(source, names)
    random = torch.Generator().manual_seed(2)
    networks = [
        models.initialise(network(4), random)
        for network in (models.Generator, models.Discriminator)
    ]
    optimisers = [training.adam(network, 2e-4) for network in networks]
    for _ in range(steps):
        real = torch.rand(5, 3, 64, 64, generator=random) * 2 - 1
        names["gan_step"](*networks, *optimisers, real, draw_z(5, generator=random))
    return networks


def numbers(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def gradients(network):
    return torch.cat([weight.grad.flatten() for weight in network.parameters()])


def test_the_traps_of_the_step_are_as_the_chapter_says():
    source = next(
        "".join(cell["source"])
        for cell in json.loads((BOOK / "01-training.ipynb").read_text(encoding="utf-8"))["cells"]
        if "def gan_step(" in "".join(cell["source"])
    )
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        stepped(source, ("fake.detach()", "fake"))
    (g, d), alone = stepped(source), ("    g_loss.backward()\n    optimiser_g.step()\n", "")
    unfrozen = stepped(source, ("    discriminator.requires_grad_(False)\n", ""))
    # G's pass leaves nothing in a frozen D, and what it leaves in another, D's zero_grad clears
    assert torch.equal(*(gradients(stepped(source, *c, steps=1)[1]) for c in ((), (alone,))))
    assert not torch.equal(gradients(unfrozen[1]), gradients(d))
    assert torch.equal(numbers(unfrozen[0]), numbers(g))
    assert torch.equal(numbers(unfrozen[1]), numbers(d))
    # without it the passes add up
    summed = stepped(source, ("    optimiser_d.zero_grad()\n", ""))
    assert not torch.equal(numbers(summed[1]), numbers(d))
