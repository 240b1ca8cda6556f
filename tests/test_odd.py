"""Weights of another z, prior and kernel go through what the chapters call, and say what the shipped ones say."""

import pytest
import torch
from odd import odd, shipped_latents

from dcgan_book import arithmetic, features, forgetting, hooks, live, measure, pretrained, walking
from dcgan_book.latents import stream
from dcgan_book.live import annotate
from dcgan_book.models import Generator


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """The odd weights and the shipped ones, by name."""
    place = tmp_path_factory.mktemp("odd")
    return {
        name: (pretrained.load(odd(name, place / name)), pretrained.load(name))
        for name in ("rooms", "faces")
    }


@pytest.mark.parametrize("name", ["rooms", "faces"])
def test_the_odd_networks_are_the_shipped_ones(pairs, name):
    other, shipped = pairs[name]
    z = other.draw_z(4, stream(0, "z"))
    assert z.shape == (4, 120) and other.generator.kernel_size == 5 and 0.9 < z.std() < 1.1
    images = other.generator(z)
    torch.testing.assert_close(images, shipped.generator(shipped_latents(z)), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        other.discriminator(images), shipped.discriminator(images), rtol=0, atol=1e-3
    )


def test_the_prior_of_such_weights_is_read_off_them(pairs, tmp_path):
    for name, (other, shipped) in pairs.items():
        for which, prior in ((other, "normal"), (shipped, "uniform")):
            torch.save(which.generator.state_dict(), tmp_path / f"{name}-{prior}.pth")
            assert pretrained.load(tmp_path / f"{name}-{prior}.pth").card["prior"] == prior


def test_chapter_2_walks_and_measures(pairs):
    other, _ = pairs["rooms"]
    start, end = other.draw_z(2, stream(0, "walk"))
    z = torch.cat([walking.line(start, end, 3), walking.arc(start, end, 3)])
    assert measure.load().read(other.generator(z)).presence["bed"].float().mean() > 0.5
    # ideally none of the idle numbers has a share in any direction
    top = walking.top_directions(other.generator, start, k=2).directions
    assert top.shape == (2, 120) and top[:, 100:].abs().max() < 1e-5
    figure = live.walk(other, stream(0, "figure"), directions=1, rooms=2)
    assert len(figure.z[0]) == 120 and figure.data["prior"] == "normal"


def test_chapter_3_sees_fields_of_five(pairs):
    other, shipped = pairs["rooms"]
    images = other.generator(other.draw_z(3, stream(0, "three"))).detach()
    field = features.receptive_field(other.discriminator, "4x4")
    places = torch.tensor([[1, 1], [0, 3], [2, 2]])
    crops = field.crop(images, places)
    assert field.size == 61 and crops.shape == (3, 3, 61, 61)
    for rule in features.RULES:
        found, expected = (
            features.saliency(each.discriminator, images, "4x4", 7, rule, at=places)
            for each in (other, shipped)
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    cams = [features.grad_cam(each.discriminator, images) for each in (other, shipped)]
    torch.testing.assert_close(*cams, rtol=0, atol=1e-3)
    assert features.enlarge(cams[0], field).shape == (3, 64, 64)


def test_chapter_4_boxes_and_forgets(pairs, tmp_path):
    other, shipped = pairs["rooms"]
    seeds, instrument = list(range(24)), measure.load()
    z = forgetting.latents(seeds, other.generator.z_dim, other.card["prior"])
    with torch.no_grad():
        samples = other.generator(z)
    boxes = forgetting.boxes_on(samples, seeds, tmp_path / "mine.json", instrument)
    maps = hooks.activations_of(other.generator, "8x8", z)
    expected = hooks.activations_of(shipped.generator, "8x8", shipped_latents(z))
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-3)
    forgetting.save_boxes(tmp_path / "mine.json", seeds, boxes)
    annotator = annotate.Annotator(samples, tmp_path / "mine.json", seeds)
    refitting = annotate.Refitting(
        annotator, other.generator, "8x8", other.draw_z(2, stream(0, "fresh")), other.card["prior"]
    )
    assert torch.equal(refitting.maps, maps) and "AUC of 0." in refitting.words.value


def test_chapter_5_adds_up(pairs):
    other, _ = pairs["faces"]
    pool, prior = other.draw_z(60, stream(0, "pool")), other.card["prior"]
    assert arithmetic.usual_norm(prior, pool.shape[1]) == pytest.approx(120**0.5)
    total = arithmetic.combine(pool[:3], pool[3:6], pool[6:9], "matched", prior)
    nine = arithmetic.neighbours(total, prior, stream(0, "noise"))
    assert measure.load("faces").presence(other.generator(nine))["face"].float().mean() > 0.5
    figure = live.arithmetic(other, pool[:9], ["a"] * 9, [[0, 1], [2, 3], [4, 5]])
    assert figure.data["norms"] == arithmetic.NORMS[:2] and len(figure.z[0]) == 120


def test_figures_take_latents_of_the_tutorials_shape(pairs):
    other, _ = pairs["faces"]
    z = other.draw_z(6, stream(0, "wide"))
    for make in (
        lambda z: live.arithmetic(other, z, ["a"] * 6, [[0], [1], [2]], {"b": z[0]}),
        lambda z: live.picker(other, range(6), z, ["a"]),
        lambda z: live.forgetting(other, z[:2], {"a": ("8x8", [0, 1, 2, 3])}, ("8x8", [0], [1.0])),
    ):
        wide, plain = make(z[:, :, None, None]), make(z)
        if "noise" in wide.data:  # which chance decides
            wide.data, plain.data = (
                {k: v for k, v in each.data.items() if k != "noise"} for each in (wide, plain)
            )
        assert wide.data == plain.data and [len(one) for one in wide.z] == [
            len(one) for one in plain.z
        ]


def test_a_live_figure_gets_biases_too():
    """Its weights are folded: convolutions and the tanh give the images."""
    torch.manual_seed(0)
    state = Generator(4, 6).state_dict()
    for stage in ("4x4", "8x8", "64x64"):
        weight = state[f"stages.{stage}.0.weight"]
        state[f"stages.{stage}.0.bias"] = torch.rand(weight.shape[1]) - 0.5
    generator = Generator.from_state_dict(state)
    z = torch.randn(3, 6)
    x = z[:, :, None, None]
    for i, (weight, bias) in enumerate(live.fold(generator)):
        stride, padding = (2, 1) if i else (1, 0)
        x = torch.nn.functional.conv_transpose2d(
            x.relu() if i > 1 else x, weight, bias, stride, padding
        )
        x = x.relu() if i == 0 else x
    torch.testing.assert_close(x.tanh(), generator(z), rtol=0, atol=1e-5)
