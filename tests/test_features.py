"""Guided gradients are the hand-computed ones and Captum's, fields are what gradients reach, controls are what they say."""

import copy
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop
from scipy.ndimage import sobel
from sklearn.metrics import roc_auc_score
from torch import nn

from dcgan_book import features
from dcgan_book.features import (
    compact,
    covered,
    edges,
    enlarge,
    grad_cam,
    guided,
    l2_svm,
    lift,
    peaks,
    pooled_features,
    randomised,
    receptive_field,
    saliency,
    selectivity,
    top_patches,
)
from dcgan_book.hooks import activations_of
from dcgan_book.latents import stream, to_batch
from dcgan_book.models import Discriminator, initialise
from dcgan_book.worlds import rooms

BOOK = Path(__file__).parent.parent / "book"


class Staged(nn.Module):
    """A network of given stages."""

    def __init__(self, **stages):
        super().__init__()
        self.stages = nn.ModuleDict(
            {name: nn.Sequential(*layers) for name, layers in stages.items()}
        )
        self.eval()

    def forward(self, x):
        for stage in self.stages.values():
            x = stage(x)
        return x.flatten(1)


def mixing(*rows, bias=None):
    """A 1x1 convolution that computes one sum for each row of weights."""
    layer = nn.Conv2d(len(rows[0]), len(rows), 1, bias=bias is not None)
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)[:, :, None, None]
    if bias is not None:
        layer.bias.data = torch.tensor(bias, dtype=torch.float32)
    return layer


def three_numbers(x, rectifier):
    """1, 2 and -3 in; a, b, c rectified, of which the answer is 2a - 3b + 4c."""
    model = Staged(
        low=[mixing((1, 0, 1), (0, 1, 0), (1, 1, 0)), rectifier], top=[mixing((2, -3, 4))]
    )
    return model, torch.tensor(x, dtype=torch.float32).view(1, 3, 1, 1)


@pytest.fixture(scope="module")
def images():
    return torch.rand(6, 3, 64, 64, generator=stream(0, "images")) * 2 - 1


@pytest.fixture(scope="module")
def discriminator(images):
    """Its BatchNorm statistics are of `images`, so that units answer on both sides of zero."""
    return randomised(Discriminator(width=4), seed=99, images=images)


def state_of(model):
    """All that an analysis might leave behind."""
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [parameter.grad for parameter in model.parameters()],
        [layer.training for layer in model.modules()],
        sum(len(layer._forward_hooks) + len(layer._backward_hooks) for layer in model.modules()),
    )


@pytest.mark.parametrize(
    "rule, sign, expected",
    # a = 1 - 3 = -2 (slope 0.2), b = 2, c = 3; towards the input: (a + c, b + c, a)
    [
        ("plain", 1, (0.2 * 2 + 4, -3 + 4, 0.2 * 2)),
        ("leaky", 1, (0.2 * 2 + 4, 4, 0.2 * 2)),
        ("strict", 1, (4, 4, 0)),
        ("plain", -1, (-0.2 * 2 - 4, 3 - 4, -0.2 * 2)),
        ("leaky", -1, (0, 3, 0)),
        ("strict", -1, (0, 3, 0)),
    ],
)
def test_each_rule_on_a_net_computed_by_hand(rule, sign, expected):
    model, x = three_numbers((1, 2, -3), nn.LeakyReLU(0.2))
    assert model(x).item() == pytest.approx(2 * 0.2 * -2 - 3 * 2 + 4 * 3)
    found = saliency(model, x, "top", 0, rule, sign=sign)
    assert found.flatten().tolist() == pytest.approx(expected)


def test_rules_hold_at_every_rectifier_on_the_way():
    # x = 1: h = (1, -1) leaky -> (1, -0.2); k = (h0 - h1, h0) = (1.2, 1); answer -k0 + 3 k1
    layers = [
        mixing((1,), (-1,)),
        nn.LeakyReLU(0.2),
        mixing((1, -1), (1, 0)),
        nn.LeakyReLU(0.2),
        mixing((-1, 3)),
    ]
    model, x = Staged(top=layers), torch.ones(1, 1, 1, 1)
    # plain: k0 passes -1, so h gets (3 - 1, +1), x gets 2 - 0.2; guided: k0 is stopped, h gets (3, 0)
    for rule, expected in {"plain": 1.8, "leaky": 3, "strict": 3}.items():
        assert saliency(model, x, "top", 0, rule).item() == pytest.approx(expected)
    # a unit below zero itself: h1 = -0.2
    for rule, expected in {"plain": -0.2, "leaky": -0.2, "strict": 0}.items():
        model = Staged(low=layers[:2])
        assert saliency(model, x, "low", 1, rule).item() == pytest.approx(expected)


@pytest.mark.filterwarnings(
    "ignore:Setting backward hooks on ReLU", "ignore:Input Tensor 0 did not"
)
def test_on_plain_rectifiers_both_rules_are_captums_and_on_leaky_ones_captum_is_silently_plain(
    discriminator, images
):
    plain = copy.deepcopy(discriminator)
    for name in ("32x32", "16x16", "8x8", "4x4"):
        plain.stages[name][-1] = nn.ReLU()
    captum = GuidedBackprop(plain).attribute(images.clone()).detach()
    for rule in ("strict", "leaky"):
        assert torch.allclose(saliency(plain, images, "1x1", 0, rule), captum, rtol=1e-4, atol=1e-9)
    gradient = saliency(plain, images, "1x1", 0, "plain")
    assert (gradient - captum).norm() > 0.3 * gradient.norm(), "else nothing was guided"

    # the paper's case: a unit of the last stage with features
    body = nn.Sequential(*plain.stages.values())[:-1]
    rows, columns = peaks(activations_of(plain, "4x4", images)[:, 5])[1].T
    target = [(5, row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
    captum = GuidedBackprop(body).attribute(images.clone(), target=target).detach()
    assert captum.abs().max() > 0
    assert torch.allclose(saliency(plain, images, "4x4", 5), captum, rtol=1e-4, atol=1e-9)

    captum = GuidedBackprop(discriminator).attribute(images.clone()).detach()
    gradient = saliency(discriminator, images, "1x1", 0, "plain")
    assert torch.allclose(gradient, captum, rtol=1e-4, atol=1e-9)


def test_on_our_discriminator_the_three_rules_differ(discriminator, images):
    found = {rule: saliency(discriminator, images, "4x4", 3, rule) for rule in features.RULES}
    # measured: 0.39 to 0.59 between plain and either rule, 0.966 to 0.977 between the two, which are close kin
    for one, other, limit in (
        ("plain", "strict", 0.8),
        ("plain", "leaky", 0.8),
        ("strict", "leaky", 0.99),
    ):
        for a, b in zip(found[one], found[other], strict=True):
            similarity = torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)
            assert a.norm() > 0 and b.norm() > 0 and similarity < limit, (one, other)


def test_the_plain_gradient_is_the_derivative(discriminator, images):
    model, x = copy.deepcopy(discriminator).double(), images[:1].double()
    gradient = saliency(model, x, "4x4", 3, "plain", at="map")
    step = torch.randn(x.shape, dtype=torch.float64, generator=stream(0, "step")) * 1e-6
    before, after = (activations_of(model, "4x4", at)[:, 3].sum() for at in (x - step, x + step))
    assert (after - before).item() == pytest.approx(2 * (gradient * step).sum().item(), rel=1e-3)


def test_units_places_and_batches_are_each_images_own(discriminator, images):
    units = torch.tensor([0, 3, 7, 3, 1, 31])
    together = saliency(discriminator, images, "4x4", units, batch=4)
    places = peaks(activations_of(discriminator, "4x4", images)[torch.arange(6), units])[1]
    assert torch.allclose(
        together, saliency(discriminator, images, "4x4", units, at=places, batch=5), atol=1e-7
    )
    for i in range(6):
        alone = saliency(discriminator, images[i : i + 1], "4x4", units[i].item())[0]
        assert torch.allclose(together[i], alone, atol=1e-7) and alone.abs().max() > 0
    whole = saliency(discriminator, images[:1], "4x4", 3, "plain", at="map")
    every = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    parts = saliency(discriminator, images[:1].expand(16, -1, -1, -1), "4x4", 3, "plain", at=every)
    assert torch.allclose(whole[0], parts.sum(0), atol=1e-6), (
        "the whole map is the sum of its places"
    )
    pixels = (images.permute(0, 2, 3, 1).numpy() * 127.5 + 127.5).astype(np.uint8)
    assert torch.equal(
        saliency(discriminator, pixels, "1x1", 0),
        saliency(discriminator, to_batch(pixels), "1x1", 0),
    )


def test_the_model_is_left_as_it_was_found_also_by_a_fault(discriminator, images):
    weights, *rest = state_of(discriminator)
    bits = discriminator(images)
    with guided(discriminator, "strict"):
        assert torch.equal(discriminator(images), bits), "guiding changes no output"
        x = images.clone().requires_grad_()
        discriminator(x).sum().backward()
    discriminator.zero_grad()
    guided_gradient = x.grad
    assert torch.equal(guided_gradient, saliency(discriminator, images, "1x1", 0, batch=6))
    with pytest.raises(RuntimeError), guided(discriminator, "leaky"):
        raise RuntimeError
    for rule in features.RULES:
        saliency(discriminator, images, "4x4", 0, rule)
    grad_cam(discriminator, images)
    randomised(discriminator, images=images)
    top_patches(discriminator, images, "4x4", k=2, progress=False)
    pooled_features(discriminator, images)
    after, *rest_after = state_of(discriminator)
    assert rest_after == rest and all(
        torch.equal(after[name], value) for name, value in weights.items()
    )
    assert torch.equal(discriminator(images), bits) and not images.requires_grad
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x)
    assert torch.equal(gradient, saliency(discriminator, images, "1x1", 0, "plain", batch=6))
    assert not torch.allclose(gradient, guided_gradient, rtol=0.1)


def test_it_works_where_gradients_are_off_and_leaves_them_off(discriminator, images):
    expected = saliency(discriminator, images, "4x4", 2)
    frozen = copy.deepcopy(discriminator).requires_grad_(False)
    with torch.no_grad():
        assert (
            torch.equal(saliency(frozen, images, "4x4", 2), expected) and expected.abs().max() > 0
        )
        assert torch.equal(grad_cam(frozen, images), grad_cam(discriminator, images))
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("4x4", 0, "guided"), {}, "rule is 'guided'; it is one of plain, strict, leaky"),
        (("4x4", 32), {}, "not in stage 4x4, which has 32 maps of 4x4"),
        (("4x4", -1), {}, "not in stage 4x4"),
        (("4x4", 0), {"at": torch.tensor([[0, 4]] * 6)}, "not in stage 4x4"),
        (("4x4", 0), {"at": "middle"}, 'at is \'middle\'; it is "peak", "map"'),
        (("2x2", 0), {}, "no stage '2x2'; this network has 32x32, 16x16, 8x8, 4x4, 1x1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    discriminator, images, arguments, options, message
):
    with pytest.raises(ValueError, match=message) as refusal:
        saliency(discriminator, images, *arguments, **options)
    assert "\n" not in str(refusal.value) and state_of(discriminator)[-1] == 0


def test_what_cannot_be_meant_is_refused(discriminator, images):
    training = copy.deepcopy(discriminator).train()
    for look in (saliency, top_patches):
        with pytest.raises(ValueError, match="training mode"):
            look(training, images, "4x4", 1)
    with pytest.raises(ValueError, match="training mode"):
        pooled_features(training, images)
    with (
        pytest.raises(ValueError, match=r"no nn.ReLU"),
        guided(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ELU())),
    ):
        pass
    with pytest.raises(ValueError, match="layer 1x1 comes after stage 4x4"):
        grad_cam(discriminator, images, layer="1x1", stage="4x4")
    with pytest.raises(ValueError, match="no stage '2x2'"):
        receptive_field(discriminator, "2x2")
    with pytest.raises(ValueError, match="no stage '2x2'"):
        randomised(discriminator, ["2x2"])
    with pytest.raises(ValueError, match="not for MaxPool2d"):
        receptive_field(Staged(low=[nn.MaxPool2d(2)]), "low")
    with pytest.raises(ValueError, match="k is 7; with a pool of 6 images"):
        top_patches(discriminator, images, "4x4", k=7)


def test_grad_cam_on_a_net_computed_by_hand():
    # Two maps of 1x2; the logit is the sum of 2 * first - 1 * second at the left, 4 * first + 3 * second at the right.
    last = nn.Conv2d(2, 1, (1, 2), bias=False)
    last.weight.data = torch.tensor([[[[2.0, 4]], [[-1, 3]]]])
    model = Staged(low=[mixing((1, 0), (0, 1))], top=[last])
    x = torch.tensor([[[[1.0, 2]], [[5, -7]]]])
    # weights are the mean gradients 3 and 1: 3 * (1, 2) + (5, -7) = (8, -1)
    assert grad_cam(model, x, "low", "top").tolist() == [[[8, 0]]]
    assert grad_cam(model, x, "low", "top", sign=-1).tolist() == [[[0, 1]]]
    # of a unit in its own layer: its map, by the share of one place in it
    assert grad_cam(model, x, "low", "low", unit=1).tolist() == [[[2.5, 0]]]


def test_grad_cam_of_our_discriminator(discriminator, images):
    maps = grad_cam(discriminator, images, batch=4)
    assert maps.shape == (6, 4, 4) and maps.min() == 0 and maps.max() > 0
    a = activations_of(discriminator, "4x4", images)
    # the logit is linear in the last maps
    weights = discriminator.stages["1x1"][0].weight.mean((2, 3)).detach()
    assert torch.allclose(maps, torch.einsum("k,nkhw->nhw", weights[0], a).relu(), atol=1e-6)
    assert grad_cam(discriminator, images, "16x16", "4x4", unit=2).shape == (6, 16, 16)


@pytest.mark.parametrize(
    "kernel_size, sizes, last", [(4, [4, 10, 22, 46, 94], -15), (5, [5, 13, 29, 61, 109], -30)]
)
def test_a_receptive_field_is_what_the_gradient_reaches(kernel_size, sizes, last):
    model = initialise(Discriminator(width=3, kernel_size=kernel_size), stream(0, "weights")).eval()
    fields = {stage: receptive_field(model, stage) for stage in model.stages}
    assert [field.size for field in fields.values()] == sizes
    assert fields["4x4"].start == last and fields["4x4"].jump == 16
    # large enough to hold a whole field
    model.size = 192
    image = torch.rand(1, 3, 192, 192, generator=stream(0, "image")) * 2 - 1
    for stage, field in fields.items():
        middle = (96 - field.size // 2 - field.start) // field.jump
        for place in ([[middle, middle + 1]], [[0, 2]]):  # in the middle, and beyond the top
            place = torch.tensor(place)
            gradient = saliency(model, image, stage, 1 if stage != "1x1" else 0, "plain", at=place)
            assert torch.equal(gradient.abs().sum(1) > 0, field.masks(place, 192)), stage
            assert torch.equal(
                field.crop(image, place)[0, 0] != 0,
                field.crop(torch.ones(1, 1, 192, 192), place)[0, 0] > 0,
            )


def test_a_crop_has_its_middle_in_place_and_the_fill_outside():
    field = features.Field(size=3, jump=2, start=-1)
    image = torch.arange(25.0).view(1, 1, 5, 5)
    crops = field.crop(image.expand(3, -1, -1, -1), torch.tensor([[0, 0], [1, 1], [2, 1]]), fill=-1)
    assert crops[0, 0].tolist() == [[-1, -1, -1], [-1, 0, 1], [-1, 5, 6]]
    assert crops[1, 0].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
    assert crops[2, 0].tolist() == [[16, 17, 18], [21, 22, 23], [-1, -1, -1]]


@pytest.mark.parametrize("kernel_size", [4, 5])
def test_an_enlarged_map_peaks_at_the_middle_of_the_field(kernel_size):
    field = receptive_field(Discriminator(width=2, kernel_size=kernel_size), "4x4")
    maps = torch.zeros(16, 4, 4)
    places = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    maps[torch.arange(16), places[:, 0], places[:, 1]] = 1
    large = enlarge(maps, field)
    middles = field.start + field.jump * places + field.size / 2
    assert large.shape == (16, 64, 64) and large.min() == 0
    for (row, column), middle, seen in zip(places, middles, large, strict=True):
        across = seen.sum(0), seen.sum(1)
        if 1 <= row <= 2 and 1 <= column <= 2:  # nothing of it is cut off
            found = [
                (line * (torch.arange(64) + 0.5)).sum() / line.sum() for line in reversed(across)
            ]
            assert torch.allclose(torch.stack(found), middle, atol=1e-3)
        assert 0.9 < seen[*middle.long().clamp(0, 63)] <= seen.max() <= 1.0001
    if kernel_size == 4:
        usual = torch.nn.functional.interpolate(maps[:, None], scale_factor=16, mode="bilinear")[
            :, 0
        ]
        assert torch.allclose(large, usual, atol=1e-5), "there the two agree"
    assert (enlarge(torch.ones(1, 1, 1), receptive_field(Discriminator(width=2), "1x1")) == 1).all()


def test_top_patches_are_the_best_of_all(discriminator, images):
    # the last three come twice
    pool = torch.cat([images, images.flip(3), images.flip(2), images[:3]])
    best = top_patches(discriminator, pool, "8x8", k=4, batch=5, progress=False)
    maps = activations_of(discriminator, "8x8", pool)
    values, places = peaks(maps)  # (images, units)
    order = values.T.sort(descending=True)[0][:, :4]
    assert best.images.shape == (16, 4) and best.locations.shape == (16, 4, 2)
    assert torch.allclose(best.responses, order, atol=1e-6)
    for unit in range(16):
        assert len(set(best.images[unit].tolist())) == 4
        for i, (row, column), response in zip(
            best.images[unit], best.locations[unit], best.responses[unit], strict=True
        ):
            assert maps[i, unit, row, column].item() == pytest.approx(response.item(), abs=1e-6)
            assert torch.equal(places[i, unit], torch.stack([row, column]))


def test_top_patches_count_the_pool_and_take_arrays(discriminator, images, capsys):
    pixels = (images.permute(0, 2, 3, 1).numpy() * 127.5 + 127.5).astype(np.uint8)
    pool = np.concatenate([pixels] * 3)
    best = top_patches(discriminator, pool, "4x4", k=3, batch=6)
    assert "18/18" in capsys.readouterr().err
    twice = best.responses.diff(dim=1).abs().max()
    assert twice < 1e-6, "the three copies of the best image"
    assert torch.equal(best.images % 6, best.images[:, :1].expand(-1, 3) % 6)
    assert best.images[0].tolist() == sorted(best.images[0].tolist()), (
        "the first of equals comes first"
    )


def test_a_pool_is_read_a_batch_at_a_time(discriminator, images):
    class Pool:
        read = ()

        def __len__(self):
            return 20

        def __getitem__(self, part):
            assert isinstance(part, slice)
            self.read += (range(20)[part],)
            return images[: len(self.read[-1])]

    pool = Pool()
    best = top_patches(discriminator, pool, "4x4", k=2, batch=6, progress=False)
    assert pool.read == (range(6), range(6, 12), range(12, 18), range(18, 20))
    assert best.responses.untyped_storage().nbytes() <= 32 * (6 + 2) * 4, (
        "nothing but the best is kept"
    )


def test_each_image_of_a_pool_goes_through_the_network_once(discriminator, images):
    """What makes 10,000 rooms a matter of seconds."""
    sizes = []
    watch = discriminator.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    try:
        top_patches(discriminator, torch.cat([images] * 5), "4x4", k=3, batch=8, progress=False)
    finally:
        watch.remove()
    assert sizes == [8, 8, 8, 6]


def test_peaks_point_at_rows_and_columns():
    maps = torch.zeros(2, 3, 4)
    maps[0, 2, 1], maps[1, 0, 3] = 5, 7
    values, places = peaks(maps)
    assert values.tolist() == [5, 7] and places.tolist() == [[2, 1], [0, 3]]


def test_randomised_stages_are_new_and_only_those(discriminator):
    before = discriminator.state_dict()
    everywhere, last = randomised(discriminator), randomised(discriminator, ["4x4"])
    other = randomised(discriminator, ["4x4"], seed=1)
    for name, value in before.items():
        stage = name.split(".")[1]
        drawn = name.endswith("weight")
        assert torch.equal(last.state_dict()[name], value) == (
            stage != "4x4" or not drawn and value.eq(0).all()
        ), name
        if drawn:
            assert not torch.equal(everywhere.state_dict()[name], value)
            if stage == "4x4":
                assert torch.equal(everywhere.state_dict()[name], last.state_dict()[name])
                assert not torch.equal(other.state_dict()[name], last.state_dict()[name])
    assert everywhere.stages["8x8"][0].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not everywhere.training


def test_statistics_of_new_stages_are_of_the_images_given(discriminator, images):
    plain, fitted = (
        randomised(discriminator, ["4x4"]),
        randomised(discriminator, ["4x4"], images=images, batch=6),
    )
    norm = fitted.stages["4x4"][1]
    before = activations_of(fitted, "8x8", images)
    inputs = fitted.stages["4x4"][0](before).detach()
    assert torch.allclose(norm.running_mean, inputs.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(norm.running_var, inputs.var((0, 2, 3)), rtol=1e-4)
    assert (
        norm.momentum == discriminator.stages["4x4"][1].momentum
        and not fitted.training
        and not norm.training
    )
    assert plain.stages["4x4"][1].running_mean.eq(0).all()
    for name, value in fitted.state_dict().items():
        if not name.startswith("stages.4x4"):
            assert torch.equal(value, discriminator.state_dict()[name]), name


@pytest.mark.parametrize("first", range(5))
def test_a_stage_gets_the_same_random_weights_alone_or_with_others(discriminator, first):
    names = list(discriminator.stages)
    some, everywhere = randomised(discriminator, names[first:]), randomised(discriminator)
    for i, name in enumerate(names):
        weight, new = (each.stages[name][0].weight for each in (discriminator, everywhere))
        assert not torch.equal(weight, new)
        assert torch.equal(some.stages[name][0].weight, weight if i < first else new)


def test_edges_are_scipys_sobel(images):
    grey = np.tensordot(features.LUMA, images.numpy(), (0, 1))
    expected = [np.hypot(sobel(g, 0, mode="nearest"), sobel(g, 1, mode="nearest")) for g in grey]
    assert np.allclose(edges(images), expected, atol=1e-5)
    assert edges(torch.full((1, 3, 8, 8), 0.7)).max() < 1e-6


def test_lift_on_maps_made_for_it():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, :4, :2] = True  # an eighth
    even, inside, outside = torch.ones(1, 8, 8), mask.float(), (~mask).float()
    assert [lift(m, mask).item() for m in (even, inside, outside)] == [1, 8, 0]
    field = torch.zeros_like(mask)
    field[:, :4, :4] = True  # the mask is half of it; what is outside does not count
    assert lift(even, mask, field).item() == 1 and lift(inside, mask, field).item() == 2
    assert lift(even + 99 * ~field, mask, field).item() == 1
    double = even + inside  # twice as strong inside: shares 4 to 1 of energy, 2 to 1 of magnitude
    assert lift(double, mask, field).item() == pytest.approx(4 / 5 * 2)
    assert lift(-double, mask, field, power=1).item() == pytest.approx(2 / 3 * 2)
    colours = torch.stack([inside, 0 * inside, -outside], 1)
    assert lift(colours, mask).item() == 1, "signs do not cancel and colours add up"
    assert lift(even, mask & ~mask).isnan() and lift(0 * even, mask).isnan()
    assert lift(even, mask, ~mask).isnan(), "the unit cannot see the object"
    assert lift(even.expand(3, -1, -1), mask.expand(3, -1, -1).numpy()).tolist() == [1, 1, 1]


def test_the_share_of_a_square_that_is_covered():
    masks = np.zeros((2, 64, 64), bool)
    masks[0, :16, 16:32] = True  # the second square of the first row
    masks[1, 60:, 60:] = True  # a sixteenth of the last one
    shares = covered(masks)
    assert shares.shape == (2, 4, 4) and shares[0, 0, 1] == 1 and shares[1, 3, 3] == 1 / 16
    assert shares.sum() == 1 + 1 / 16
    assert covered(masks, "8x8")[1, 7, 7] == 1 / 4 and covered(masks, "8x8").sum() == 4 + 1 / 4


@pytest.mark.parametrize("stage", ["5x5", "8", "8x4", "0x0", "128x128", "wide"])
def test_squares_of_a_stage_that_there_is_not_are_refused(stage):
    with pytest.raises(ValueError, match=f"no stage '{stage}' of 64 pixels"):
        covered(np.zeros((1, 64, 64), bool), stage)


def pairs_by_hand(responses, shares, against, least):
    """Right pairs over pairs, counted one by one."""
    right = pairs = 0
    for place in np.ndindex(responses.shape[1:]):
        for i in range(len(responses)):
            for j in range(len(responses)):
                if shares[i, *place] >= least and shares[j, *place] == 0 and against[j, *place]:
                    a, b = responses[i, *place], responses[j, *place]
                    right, pairs = right + (a > b) + 0.5 * (a == b), pairs + 1
    return right / pairs


def test_selectivity_counts_pairs_of_images_at_the_same_place():
    random = np.random.default_rng(1)
    maps = random.normal(size=(30, 4, 2, 2)).astype(np.float32)
    maps[:, 2] = maps[:, 2].round()  # many equal ones
    maps[:, 3] = 0
    shares = random.choice([0, 0, 0.05, 0.1, 0.7], (30, 2, 2)).astype(np.float32)
    against = random.random((30, 2, 2)) < 0.6
    torched = [torch.from_numpy(a) for a in (maps, shares, against)]
    for least, which in ((0.1, against), (0.5, against), (0.1, np.ones_like(against))):
        expected = [pairs_by_hand(maps[:, unit], shares, which, least) for unit in range(4)]
        found = selectivity(torched[0], torched[1], torch.from_numpy(which), least)
        assert np.allclose(found, expected) and found[3] == 0.5
    assert torch.equal(
        selectivity(*torched[:2]),
        selectivity(torched[0], torched[1], torch.ones(30, 2, 2, dtype=bool)),
    )
    both = selectivity(
        torched[0], torch.stack([torched[1], torched[1].flip(0)]), torch.stack([torched[2]] * 2)
    )
    assert torch.equal(both[0], selectivity(*torched)) and both.shape == (2, 4)
    assert selectivity(torched[0], torch.zeros(30, 2, 2)).isnan().all()


def test_selectivity_at_one_place_is_the_area_under_the_curve_and_gains_nothing_from_places():
    random = np.random.default_rng(2)
    maps, there = (
        random.normal(size=(200, 3, 1, 1)).astype(np.float32),
        random.random((200, 1, 1)) < 0.3,
    )
    maps[there[:, 0, 0], 0] += 1
    found = selectivity(torch.from_numpy(maps), torch.from_numpy(there).float())
    assert np.allclose(
        found, [roc_auc_score(there.ravel(), maps[:, unit].ravel()) for unit in range(3)]
    )
    assert found[0] > 0.65
    # how often the object is at each place
    where = torch.tensor([0.05, 0.9]).view(1, 1, 2).expand(500, 1, 2)
    there = (torch.rand(500, 1, 2, generator=stream(0, "there")) < where).float()
    knows_places = where[:, None] + 0.01 * torch.rand(500, 1, 1, 2, generator=stream(0, "noise"))
    assert abs(selectivity(knows_places, there).item() - 0.5) < 0.08


def test_where_rooms_show_an_object_and_where_others():
    data = rooms.dataset(12, seed=4, progress=False)
    share, others = features.shown(data, "window")
    assert torch.equal(share, covered(data.mask("window"))) and share.amax() >= features.LEAST
    for i, row, column in np.ndindex(12, 4, 4):
        square = data.labels[i, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        counts = [(square == rooms.LABELS.index(o)).mean() for o in rooms.OBJECTS if o != "window"]
        assert others[i, row, column] == (max(counts) >= features.LEAST)


def test_an_interval_over_networks_covers_their_spread_and_that_of_the_rooms():
    random = torch.Generator().manual_seed(5)
    rooms_alone = torch.randn(40, generator=random).expand(3, 40) * 0.1
    same = features.over_networks([0.5] * 3, rooms_alone + 7)
    assert same.value == 0.5 and abs(same.high - same.low - 4 * 0.1) < 0.1
    apart = features.over_networks([0.2, 0.5, 0.8], torch.zeros(3, 40))
    assert abs(apart.value - 0.5) < 1e-6 and apart.high - apart.low > 0.4
    alone = features.over_networks([0.3], torch.zeros(1, 40))
    assert np.allclose(alone, 0.3)


def test_units_are_judged_as_by_selectivity_and_a_room_may_count_twice(monkeypatch):
    monkeypatch.syspath_prepend(BOOK / "experiments")
    from units import judged

    random = torch.Generator().manual_seed(6)
    maps = torch.randn(40, 3, 4, 4, generator=random)
    shares, against = (torch.rand(3, 40, 4, 4, generator=random) for _ in range(2))
    shares, against = shares * (shares > 0.6), against > 0.3
    rows = torch.randint(40, (40,), generator=random)
    counts = torch.stack([torch.ones(40), rows.bincount(minlength=40).float()])
    found = judged(maps, shares >= features.LEAST, (shares == 0) & against, counts)
    for which, values in zip((torch.arange(40), rows), found, strict=True):
        expected = [selectivity(maps[which], shares[i][which], against[i][which])[i] for i in range(3)]  # fmt: skip
        assert np.allclose(values, expected, atol=1e-6)


def test_the_chapters_net_of_three_numbers_is_the_packages():
    names = {"torch": torch}
    notebook = json.loads((BOOK / "03-features.ipynb").read_text(encoding="utf-8"))
    derived = [cell for cell in notebook["cells"] if "derived" in cell["metadata"].get("tags", [])]
    for cell in derived:
        exec("".join(cell["source"]), names)  # our own notebook
    random = stream(0, "weights")
    for _ in range(20):
        x, first, last = (torch.randn(shape, generator=random) for shape in ((3,), (4, 3), (4,)))
        model = Staged(
            low=[mixing(*first.tolist()), nn.LeakyReLU(0.2)], top=[mixing(last.tolist())]
        )
        for rule in features.RULES:
            found = saliency(model, x.view(1, 3, 1, 1), "top", 0, rule).flatten()
            assert torch.allclose(names["backward"](x, first, last, rule), found, atol=1e-6), rule


def test_pooled_features_are_the_maxima_of_a_four_by_four_grid(discriminator, images):
    found = pooled_features(discriminator, images, batch=4)
    assert found.shape == (6, (4 + 8 + 16 + 32) * 16)
    at = 0
    for stage, side in (("32x32", 8), ("16x16", 4), ("8x8", 2), ("4x4", 1)):
        a = activations_of(discriminator, stage, images).numpy()
        n, units = a.shape[:2]
        expected = a.reshape(n, units, 4, side, 4, side).max((3, 5)).reshape(n, -1)
        part = found[:, at : at + units * 16]
        assert np.allclose(part, expected, atol=1e-6)
        assert torch.allclose(pooled_features(discriminator, images, [stage]), part, atol=1e-6)
        at += units * 16


def test_the_svm_is_the_squared_hinge_and_separates_what_can_be():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 40)).astype(np.float32)
    y = x[:, 0] * 3 + x[:, 1] > 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svm = l2_svm(x[:150], y[:150], strength=0.1)
    assert (
        svm.score(x[150:], y[150:]) > 0.85
        and svm[-1].loss == "squared_hinge"
        and svm[-1].penalty == "l2"
    )
    again = l2_svm(100 * x[:150] + 7, y[:150], strength=0.1)
    assert np.allclose(again[-1].coef_, svm[-1].coef_, rtol=0.02, atol=2e-3), (
        "features are scaled first"
    )


def test_an_svm_says_the_same_of_compact_features():
    random = np.random.default_rng(3)
    x = torch.from_numpy(random.normal(size=(90, 400)) * random.uniform(0.1, 9, 400) + 5).float()
    x[:, 7] = 3  # says nothing, and has no deviation to divide by
    y = random.random(60) < 0.4
    small = compact(x, 60)
    assert small.shape == (90, 59), "60 points around their mean span 59 dimensions"
    expected = l2_svm(x[:60], y, strength=1e-2).decision_function(x[60:])
    assert np.allclose(
        l2_svm(small[:60], y, strength=1e-2, scale=False).decision_function(small[60:]),
        expected,
        atol=0.01,
    )
    assert np.std(expected) > 0.1
    assert not np.allclose(
        l2_svm(small[:60], y, strength=1e-2).decision_function(small[60:]), expected, atol=0.1
    )


# Networks and images as people have them


@pytest.fixture(scope="module", params=["compiled", "parallel", "both"])
def wrapped(request):
    """A discriminator in a wrapper, and bare; compiled code of it has been run."""
    bare = initialise(Discriminator(width=4), stream(0, "weights")).eval()
    wrapper = torch.nn.DataParallel(bare) if request.param != "compiled" else bare
    if request.param != "parallel":
        wrapper = torch.compile(wrapper, backend="eager")
        wrapper(torch.zeros(2, 3, 64, 64))
    return wrapper, bare


def test_a_wrapped_discriminator_says_what_it_says_bare(wrapped):
    images = torch.rand(3, 3, 64, 64, generator=stream(0, "images")) * 2 - 1
    found, expected = (
        [
            *(saliency(model, images, "4x4", 1, rule) for rule in features.RULES),
            grad_cam(model, images),
            features.pooled_features(model, images),
            features.top_patches(model, images, "8x8", 2, progress=False).responses,
            features.randomised(model, seed=1)(images),
            torch.tensor(receptive_field(model, "8x8").size),
        ]
        for model in wrapped
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not torch.equal(found[0], found[1]), "guided and plain are the same"


@pytest.mark.filterwarnings("ignore")  # PyTorch advises against tracing
def test_guiding_what_is_not_called_is_an_error(wrapped):
    images = torch.zeros(1, 3, 64, 64)
    traced = torch.jit.trace(wrapped[1], images)
    for called in (traced, copy.deepcopy(wrapped[1]), lambda images: None):
        with pytest.raises(
            RuntimeError, match="no pass of this network came through its rectifiers"
        ):
            with features.guided(wrapped[1], "leaky"):
                called(images)
    with features.guided(wrapped[1], "plain"):  # which is no change
        traced(images)
    with pytest.raises(ValueError, match="no nn.ReLU or nn.LeakyReLU"), features.guided(traced):
        pass


def test_a_copy_made_while_guided_is_plain(wrapped):
    images = (torch.rand(2, 3, 64, 64, generator=stream(0, "images")) * 2 - 1).requires_grad_()
    (plain,) = torch.autograd.grad(wrapped[1](images).sum(), images)
    with features.guided(wrapped[1]):
        (guided,) = torch.autograd.grad(wrapped[1](images).sum(), images)
        twins = [copy.deepcopy(wrapped[1]), features.randomised(wrapped[1], [])]
    for twin in twins:
        (found,) = torch.autograd.grad(twin(images).sum(), images)
        assert torch.equal(found, plain) and not torch.equal(found, guided)
        assert not any(layer._forward_hooks for layer in twin.modules())


@pytest.mark.parametrize("inside", [False, True])
def test_images_made_under_inference_mode_will_do(inside):
    model = initialise(Discriminator(width=4), stream(0, "weights")).eval()
    with torch.inference_mode():
        images = torch.rand(3, 3, 64, 64, generator=stream(0, "images")) * 2 - 1
    usual = torch.rand(3, 3, 64, 64, generator=stream(0, "images")) * 2 - 1
    asked = (
        lambda given: saliency(model, given, "4x4", 1),
        lambda given: saliency(model, given, "8x8", 0, "leaky", at="map"),
        lambda given: grad_cam(model, given),
    )
    for ask in asked:
        with torch.inference_mode(inside):
            found = ask(images)
        assert torch.equal(found, ask(usual))


@pytest.mark.parametrize("kernel_size", [4, 5])
@pytest.mark.parametrize("size", [32, 128])
def test_fields_and_maps_are_as_large_as_the_networks_images(kernel_size, size):
    model = initialise(Discriminator(width=2, kernel_size=kernel_size, size=size)).eval()
    images = torch.rand(2, 3, size, size)
    field, places = receptive_field(model, "4x4"), torch.tensor([[1, 2], [0, 0]])
    seen = saliency(model, images, "4x4", 0, "plain", at=places).abs().sum(1) > 0
    assert field.masks(places).shape == (2, size, size)
    assert (field.masks(places) | ~seen).all(), "a unit sees what lies outside its field"
    assert enlarge(grad_cam(model, images), field).shape == (2, size, size)
    assert field.crop(images, places).shape == (2, 3, field.size, field.size)
