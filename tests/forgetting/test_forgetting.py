"""The recipe finds a planted unit, its scorecard says what a plain count says, and the controls control."""

import hashlib
import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

from dcgan_book import forgetting, measure
from dcgan_book.forgetting import effects
from dcgan_book.forgetting.boxes import Box
from dcgan_book.forgetting.rankings import Examples
from dcgan_book.hooks import ablate, activations_of, batch_statistics
from dcgan_book.latents import draw_z, recalibrate, stream
from dcgan_book.models import Discriminator, Generator, initialise
from dcgan_book.teaching import experiments
from dcgan_book.worlds.rooms import LABELS

WINDOW, BED, WALL = (LABELS.index(name) for name in ("window", "bed", "wall"))
PLANTED = 5  # the unit of 8x8 that draws windows, all alone


class Colours:
    """A stub instrument: what is red is a window, what is green a bed, and all else is wall."""

    def read(self, images):
        labels = torch.full(images[:, 0].shape, WALL, dtype=torch.uint8)
        labels[images[:, 1] > 0.3] = BED
        labels[images[:, 0] > 0.3] = WINDOW
        presence = {
            name: (labels == LABELS.index(name)).sum((1, 2)) >= 8 for name in ("window", "bed")
        }
        return measure.Reading({}, presence, labels, images.mean((2, 3)), {}, images[:, 0, 0, 0])


@pytest.fixture(scope="module")
def generator():
    """One in which red comes from a single unit of 8x8, and that unit gives nothing but red."""
    generator = initialise(Generator(width=4, z_dim=10), stream(0, "weights"))
    before = PLANTED
    with torch.no_grad():
        for stage, unit in (("16x16", 3), ("32x32", 2), ("64x64", 0)):
            weight = generator.stages[stage][0].weight
            weight[before] = 0
            weight[:, unit] = 0
            weight[before, unit] = torch.tensor([0.5, 1, 1, 0.5]).outer(
                torch.tensor([0.5, 1, 1, 0.5])
            )
            before = unit
        generator.stages["64x64"][0].weight[[0, 1, 3], 1:] *= 30
        generator.stages["8x8"][1].bias[PLANTED] = -1  # so that it is seldom on
        generator.stages["64x64"][0].weight[2, 0] *= 0.5
    return recalibrate(generator, count=512).requires_grad_(False)


@pytest.fixture(scope="module")
def z():
    return draw_z(60, 10, generator=stream(0, "z"))


@pytest.fixture(scope="module")
def windows(generator, z):
    """Where the windows of all samples are: bool (60, 64, 64)."""
    return Colours().read(generator(z)).mask("window")


@pytest.fixture(scope="module")
def cells(generator, z, windows):
    return forgetting.examples(
        activations_of(generator, "8x8", z),
        forgetting.coverage(windows, "8x8"),
        "outside",
        generator=stream(0, "cells"),
    )


def test_the_planted_windows_are_there_to_be_found(windows):
    assert 0.3 < windows.flatten(1).any(1).float().mean() < 1
    assert 0.02 < windows.float().mean() < 0.3


# Boxes and cells


def test_boxes_come_back_from_their_file(tmp_path):
    boxes = [Box(3, 0, 1, 64, 30), Box(7, 5, 5, 6, 6, "lamp")]
    forgetting.save_boxes(tmp_path / "boxes.json", [3, 4, 7], boxes)
    assert forgetting.load_boxes(tmp_path / "boxes.json") == ([3, 4, 7], boxes)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"boxes": []}', '{"seeds": [1], "boxes": [{"seed": 1, "box": [0, 0, 9]}]}',
             '{"seeds": [1], "boxes": [{"seed": 1, "box": [0, 0, 0, 9], "label": "window"}]}'],
)  # fmt: skip
def test_other_files_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "boxes.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="boxes.json is not a file of boxes") as refusal:
        forgetting.load_boxes(tmp_path / "boxes.json")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "edges", [(5, 0, 5, 9), (0, 9, 5, 3), (-1, 0, 5, 9), (0, 0, 65, 9), (0, 0, 5.5, 9)]
)
def test_boxes_that_cannot_be_are_refused(edges):
    with pytest.raises(ValueError, match="whole numbers from 0 to 64"):
        Box(0, *edges)


def test_boxes_cover_cells_by_their_share():
    masks = forgetting.box_masks(
        [Box(9, 8, 16, 20, 24), Box(9, 12, 16, 20, 24), Box(4, 0, 0, 64, 64)], [4, 9, 2]
    )
    assert masks.sum((1, 2)).tolist() == [64 * 64, 12 * 8, 0], "a pixel in two boxes counts once"
    eight = forgetting.coverage(masks, "8x8")
    assert eight.shape == (3, 8, 8)
    assert eight[1, 2, 1:4].tolist() == [1, 0.5, 0] and eight[1].sum() == 1.5
    assert forgetting.coverage(masks, "16x16")[1, 4:6, 2:5].eq(1).all()
    assert forgetting.coverage(masks, "4x4")[1, 1, 0:2].tolist() == [0.25, 0.125]
    assert torch.equal(forgetting.coverage(masks, "64x64").bool(), masks)
    for stage in ("5x5", "8", "128x128", "wide"):
        with pytest.raises(ValueError, match=f"no stage '{stage}' of 64 pixels"):
            forgetting.coverage(masks, stage)
    with pytest.raises(ValueError, match="sample 9, which is not among the 1 seeds"):
        forgetting.box_masks([Box(9, 0, 0, 1, 1)], [4])


@pytest.mark.parametrize("kernel_size, shift", [(4, 0), (5, 3.5)])
def test_a_cell_draws_around_its_own_square(kernel_size, shift):
    """With even kernels the middle of what a cell of 8x8 draws is its square's; with odd ones further top left."""
    generator = Generator(1, 1, kernel_size)
    x = torch.zeros(1, 4, 8, 8)
    x[0, :, 3, 4] = 1
    with torch.no_grad():
        for stage in ("16x16", "32x32", "64x64"):
            convolution = generator.stages[stage][0]
            convolution.weight.fill_(1)
            x = convolution(x)
    drawn = x[0, 0] / x[0, 0].sum()
    pixels = torch.arange(64.0)
    middle = torch.stack([(drawn.sum(1) * pixels).sum(), (drawn.sum(0) * pixels).sum()])
    assert torch.allclose(middle, torch.tensor([8 * 3 + 3.5, 8 * 4 + 3.5]) - shift, atol=1e-3)


def test_examples_are_cells_from_where_they_should_be():
    activations = torch.arange(3 * 2 * 4 * 4.0).view(3, 2, 4, 4)
    covered = torch.zeros(3, 4, 4)
    covered[0, 1, 1:3] = torch.tensor([1, 0.4])
    covered[2, 3, 3] = 0.5
    place = {
        activations[i, 0, y, x].item(): (i, y, x)
        for i in range(3)
        for y in range(4)
        for x in range(4)
    }
    outside = forgetting.examples(
        activations, covered, "outside", per_positive=100, generator=stream(0, "cells")
    )
    places = [place[value.item()] for value in outside.activations[:, 0]]
    assert (
        places[:2] == [(0, 1, 1), (2, 3, 3)]
        and outside.positive.tolist() == [True] * 2 + [False] * 45
    )
    assert len(set(places)) == 47 and (0, 1, 2) not in places, (
        "the cell on the edge of a box is neither"
    )
    assert outside.image.tolist() == [i for i, _, _ in places]
    assert torch.equal(outside.activations[:, 1], outside.activations[:, 0] + 16)
    everywhere = forgetting.examples(activations, covered, per_positive=100)
    assert len(everywhere.positive) == 2 + 48, (
        "random negatives may lie in boxes, as the paper's may"
    )
    few, again = (
        forgetting.examples(
            activations, covered, "outside", overlap=0.3, per_positive=2, generator=stream(0, "few")
        )
        for _ in range(2)
    )
    assert few.positive.tolist() == [True] * 3 + [False] * 6
    assert torch.equal(few.activations, again.activations)
    with pytest.raises(ValueError, match="covered to 0.5"):
        forgetting.examples(activations, 0 * covered)
    with pytest.raises(ValueError, match="free of boxes"):
        forgetting.examples(activations, covered + 1, "outside")
    with pytest.raises(ValueError, match="negatives is 'inside'"):
        forgetting.examples(activations, covered, "inside")


# The regression


def test_the_regression_finds_the_planted_unit(cells):
    # neighbouring cells have a hand in it too
    alone = roc_auc_score(cells.positive, cells.activations[:, PLANTED])
    for standardise in (True, False):
        found = forgetting.fit(cells, standardise=standardise)
        assert found.ranking[0] == PLANTED and found.auc > max(alone, 0.8)
        assert sorted(found.ranking.tolist()) == list(range(16))
        assert found.weights[found.ranking].diff().max() <= 0
        assert torch.equal(found.chosen.sort().values, (found.weights > 0).nonzero()[:, 0])


def test_standardised_weights_do_not_depend_on_a_units_scale(cells):
    stretched = Examples(cells.activations * torch.logspace(-2, 2, 16), cells.positive, cells.image)
    assert torch.allclose(
        forgetting.fit(stretched).weights, forgetting.fit(cells).weights, atol=1e-3
    )
    raw = [forgetting.fit(each, standardise=False).weights for each in (stretched, cells)]
    assert not torch.allclose(*raw, atol=0.1)


def test_shuffled_labels_teach_nothing_and_half_the_weights_are_positive_all_the_same(
    generator, z, windows
):
    """Why "weight > 0" is not a sparse choice."""
    random = stream(0, "shuffled")
    covered = forgetting.coverage(windows, "8x8")
    cells = forgetting.examples(
        activations_of(generator, "8x8", z, True), covered, generator=random
    )
    fits = [forgetting.fit(forgetting.shuffled(cells, random)) for _ in range(6)]
    assert abs(np.mean([found.auc for found in fits]) - 0.5) < 0.05
    assert abs(np.mean([len(found.chosen) / 16 for found in fits]) - 0.5) < 0.15
    assert forgetting.fit(cells).auc > 0.6
    assert sum(forgetting.shuffled(cells, random).positive) == sum(cells.positive)


def test_the_auc_is_of_other_images_than_the_fit():
    """Where only the image tells, cells split by location seem to be told apart, and are not."""
    random = stream(3, "images")
    image = torch.arange(60).repeat_interleave(8)[torch.randperm(480, generator=random)]
    x = torch.randn(60, 50, generator=random)[image] + 0.1 * torch.randn(480, 50, generator=random)
    y = (torch.rand(60, generator=random) < 0.5)[image]
    by_location = KFold(5, shuffle=True, random_state=0)
    leaky = cross_val_predict(
        LogisticRegression(), x, y, cv=by_location, method="decision_function"
    )
    assert roc_auc_score(y, leaky) > 0.9
    assert forgetting.fit(Examples(x, y, image)).auc < 0.7


def test_boxes_on_one_image_are_too_few(cells):
    one = Examples(cells.activations, cells.positive, cells.image * 0)
    with pytest.raises(ValueError, match=r"on 1 image\(s\)"):
        forgetting.fit(one)


# Other rankings


def test_iou_is_the_textbooks_at_the_most_informative_threshold():
    random = stream(0, "iou")
    masks = torch.zeros(4, 64, 64, dtype=torch.bool)
    masks[:, 10:30, 20:50] = True
    maps = torch.randn(4, 3, 64, 64, generator=random)
    maps[:, 1] += 3 * masks
    quantiles = (0.5, 0.9, 0.99)
    expected = []
    for unit in range(3):
        best = (-1, 0)
        for q in quantiles:
            values, mask = maps[:, unit].numpy().ravel(), masks.numpy().ravel()
            on = values > np.sort(values)[round(q * (len(values) - 1))]
            shares = np.unique(on * 2 + mask, return_counts=True)[1] / len(mask)
            quality = mutual_info_score(on, mask) / -(shares * np.log(shares)).sum()
            best = max(best, (quality, (on & mask).sum() / (on | mask).sum()))
        expected.append(best[1])
    found = forgetting.iou(maps, masks, quantiles, chunk=2)
    assert torch.allclose(found, torch.tensor(expected).float(), atol=1e-5)
    assert found.argmax() == 1 and found[1] > 0.6


def test_iou_finds_the_planted_unit_and_bears_dead_ones(generator, z, windows):
    activations = activations_of(generator, "8x8", z)
    activations[:, 0] = 0
    found = forgetting.iou(activations, windows)
    assert found.argmax() == PLANTED and found[PLANTED] > 0.4 and found[0] == 0
    assert (forgetting.iou(activations, windows & False) == 0).all()


def test_a_matched_ranking_is_random_within_groups_of_like_activity():
    random = stream(0, "matched")
    activity, ranking = torch.rand(50, generator=random), torch.randperm(50, generator=random)
    group_of = torch.empty(50, dtype=torch.long)
    group_of[activity.argsort()] = torch.arange(50) // 8
    found = forgetting.matched(ranking, activity, random)
    assert sorted(found.tolist()) == list(range(50))
    assert torch.equal(group_of[found], group_of[ranking])
    assert (found != ranking).float().mean() > 0.5
    assert torch.equal(forgetting.matched(ranking, activity, group=1), ranking)


@pytest.mark.parametrize("stage, units", [("8x8", [PLANTED]), ("16x16", [3]), ("32x32", [2])])
def test_only_the_planted_unit_has_an_effect_of_its_own(generator, z, stage, units):
    found = effects.direct_effect(generator, stage, z[:16], Colours())
    area = Colours().read(generator(z[:16])).mask("window").float().mean().item()
    assert found.nonzero()[:, 0].tolist() == units
    assert found[units].item() == pytest.approx(area) and area > 0.01


# What an edit does


def test_without_the_planted_unit_no_window_is_left(generator, z, windows):
    card = effects.scorecard(generator, z, "8x8", [PLANTED], Colours(), batch=25)
    rows = card.summary()
    assert rows["images"] == 60 and rows["left"] == rows["new"] == rows["pixels_left"] == 0
    assert rows["inside"] > 0.1 and rows["outside"] < rows["inside"] / 3
    assert (
        rows["instead"]["wall"] + rows["instead"]["bed"] == pytest.approx(1)
        and rows["instead"]["wall"] > 0.2
    )
    assert "logit" not in rows
    assert torch.equal(card.pixels(), windows.sum((1, 2)))
    assert torch.equal(card.instead.sum(1), card.pixels()), "every pixel has become something"
    assert torch.equal(card.inside.isnan(), card.pixels() == 0)
    assert torch.allclose(card.before.images, generator(z), atol=1e-6), (
        "and the next image is whole again"
    )


def test_without_all_others_every_window_is_left(generator, z):
    others = [unit for unit in range(16) if unit != PLANTED]
    before = effects.observe(generator, z, Colours())
    card = effects.scorecard(generator, z, "8x8", others, Colours(), before=before)
    rows = card.summary()
    assert card.before is before
    assert rows["left"] == rows["pixels_left"] == 1 and rows["new"] == 0
    assert rows["instead"]["window"] == 1
    assert rows["outside"] > 0.05


def test_the_rows_are_plain_counts_of_a_small_case():
    """Three images by hand: a window halved, one gone, one that comes; and of two beds one goes."""

    def observed(red, green, logits):
        images = torch.zeros(3, 3, 64, 64)
        for i in range(3):
            images[i, 0, :, : red[i]] = 1
            images[i, 1, :, 64 - green[i] :] = 1
        seen = Colours().read(images)
        return effects.Observed(
            images, seen.presence, seen.labels, seen.features, torch.tensor(logits)
        )

    card = effects.compare(
        observed([4, 2, 0], [0, 3, 2], [1.0, 2, 3]), observed([2, 0, 1], [0, 3, 0], [0.0, 2, 1])
    )
    rows = card.summary()
    assert rows["left"] == 0.5 and rows["new"] == 1 and rows["pixels_left"] == pytest.approx(3 / 6)
    assert card.inside[:2].tolist() == pytest.approx([1 / 6, 1 / 3]) and card.inside[2].isnan()
    assert card.outside.tolist() == pytest.approx([0, 0, 1 / 64])
    assert rows["inside"] == pytest.approx(0.25) and rows["outside"] == 0, "of images with a window"
    assert rows["instead"]["wall"] == pytest.approx(4 / 6) and rows["instead"][
        "window"
    ] == pytest.approx(2 / 6)
    assert rows["lost"] == {"bed": pytest.approx(1 / 3)} and rows["logit"] == pytest.approx(-1)
    card.before.present["window"][0] = False  # where a few pixels are not enough to be one
    assert card.summary()["inside"] == pytest.approx(1 / 3) and card.summary()["left"] == 0


def test_what_has_no_name_here_is_refused(generator, z):
    before = effects.observe(generator, z[:4], Colours())
    for target in ("widnow", "wall"):  # pixels may be a wall, but none is present or lost
        with pytest.raises(ValueError, match=f"target is '{target}'; it is one of window, bed"):
            effects.compare(before, before, target)
    card = effects.compare(before, before)
    with pytest.raises(ValueError, match="no label 'widnow'"):
        card.became("widnow")
    with pytest.raises(ValueError, match="no label 'widnow'"):
        effects.direct_effect(generator, "8x8", z[:4], Colours(), "widnow")
    with pytest.raises(ValueError, match="when is 'instead'"):
        card.pixels("instead")


def test_other_edits_are_observed_in_the_same_way(generator, z):
    discriminator = initialise(Discriminator(width=4), stream(1, "weights")).eval()
    means = activations_of(generator, "8x8", z).mean((0, 2, 3))
    cards = [
        effects.scorecard(
            generator, z, "8x8", [PLANTED], Colours(), discriminator=discriminator, value=value
        )
        for value in (0, means[[PLANTED]], 5.0)
    ]
    left = [card.pixels("after").sum() for card in cards]
    assert left[0] == 0 < left[2] and all(np.isfinite(card.summary()["logit"]) for card in cards)
    assert torch.allclose(cards[0].before.logits, discriminator(generator(z)), atol=1e-6)
    with batch_statistics(generator):
        again = effects.scorecard(generator, z, "8x8", [PLANTED], Colours())
    assert not torch.allclose(again.before.images, cards[0].before.images, atol=1e-3)


def test_a_unit_switched_on_in_a_place_draws_its_window_there(generator, z):
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[1:3, 4:6] = True
    with ablate(generator, "8x8", [PLANTED]):
        bare = generator(z)
        with ablate(generator, "8x8", [PLANTED], 5.0, region=region):
            images = generator(z)
    there = Colours().read(images).mask("window")
    assert there[:, 8:24, 32:48].all()
    reach = torch.zeros(64, 64, dtype=torch.bool)
    reach[8 - 7 : 24 + 7, 32 - 7 : 48 + 7] = True
    assert torch.equal(images[..., ~reach], bare[..., ~reach])


def test_estimates_are_the_rows_with_intervals(generator, z):
    card = effects.scorecard(generator, z, "8x8", [PLANTED, 1, 2], Colours(), value=0.4)
    rows, estimates = card.summary(), card.estimates()
    for name in ("left", "new", "pixels_left", "inside", "outside"):
        value, low, high = estimates[name]
        assert value == pytest.approx(rows[name], abs=1e-6) and low <= value <= high
    assert estimates["lost"]["bed"].value == pytest.approx(rows["lost"]["bed"])
    assert estimates["spill"].value == pytest.approx(rows["outside"] / rows["inside"], rel=1e-5)
    assert "logit" not in estimates
    for label in ("wall", "bed"):
        value, low, high = card.became(label)
        assert value == pytest.approx(rows["instead"][label]) and low < value < high


def test_a_ratios_interval_is_a_bootstraps_of_pairs():
    random = stream(0, "ratio")
    whole = torch.rand(400, generator=random).double() + 0.5
    part = whole * (0.3 + 0.2 * torch.rand(400, generator=random).double())
    found = effects._ratio(part, whole)
    rows = torch.randint(400, (4000, 400), generator=random)
    low, high = (
        (part[rows].mean(1) / whole[rows].mean(1))
        .quantile(torch.tensor([0.025, 0.975]).double())
        .tolist()
    )
    assert found.value == pytest.approx((part.sum() / whole.sum()).item())
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))


def test_the_hook_of_the_chapter_is_the_packages(generator, z):
    names = {"torch": torch}
    for cell in json.loads(
        (Path(__file__).parents[2] / "book" / "04-forgetting.ipynb").read_text(encoding="utf-8")
    )["cells"]:
        if "derived" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)  # our own notebook
    whole = generator(z)
    for stage, units in (("8x8", [PLANTED, 3]), ("16x16", torch.tensor([0, 2])), ("32x32", [])):
        with names["without"](generator, stage, units):
            found = generator(z)
        with ablate(generator, stage, units):
            assert torch.equal(found, generator(z))
        assert torch.equal(found, whole) is (len(units) == 0)
    assert torch.equal(generator(z), whole)


EXPERIMENTS = Path(__file__).parents[2] / "book" / "experiments"


def test_the_experiments_are_of_todays_weights_and_boxes():
    boxes = hashlib.sha256((EXPERIMENTS / "window-boxes.json").read_bytes()).hexdigest()[:12]
    assert experiments.load(EXPERIMENTS / "forgetting.json")["boxes_of"] == boxes


def test_the_sheet_of_ablated_samples_has_a_label_for_each():
    key = json.loads((EXPERIMENTS / "by-eye-ablated.json").read_text(encoding="utf-8"))
    assert Image.open(EXPERIMENTS / "by-eye-ablated.png").size == (20 * 64, 6 * 64)
    assert len(key["edits"]) == 120 and key["edits"].count("none") == 30
    assert (
        key["window"] == sorted(set(key["window"]))
        and 0 <= key["window"][0] <= key["window"][-1] < 120
    )
    runs = [len(list(group)) for _, group in groupby(key["edits"])]
    assert max(runs) < 8, "the sheet is shuffled"


# Where nothing is found


def unlike(images, **shown):
    """`Observed` of grey images, in which objects are there or not as `shown` says, without a pixel if not."""
    reading = Colours().read(images)
    return effects.Observed(
        images, reading.presence | shown, reading.labels, reading.features, None
    )


def test_a_scorecard_without_the_target_says_what_was_not_found():
    grey = torch.zeros(5, 3, 64, 64)
    beds = unlike(grey, bed=torch.ones(5, dtype=torch.bool))
    nothing = unlike(grey)
    no_pixels = unlike(grey, window=torch.ones(5, dtype=torch.bool))
    for before, found in (
        (beds, "found were: bed"),
        (nothing, "found were: none of the objects"),
        (no_pixels, "found were: window"),
    ):
        card = effects.compare(before, nothing)
        for ask in (card.estimates, lambda card=card: card.became("wall")):
            with pytest.raises(
                measure.MeasureError, match=f"no window was found on any of 5 .*{found}"
            ) as error:
                ask()
            assert "\n" not in str(error.value)


def test_where_every_image_had_the_target_none_can_get_one(generator, z):
    images = torch.full((4, 3, 64, 64), -1.0)
    images[:, 0, :8] = 1
    card = effects.compare(unlike(images), unlike(images))
    assert card.estimates()["new"] is None and card.estimates()["left"].value == 1


def test_boxes_of_nobody_are_compared_with_nothing():
    box = Box(1, 0, 0, 9, 9)
    for boxes, others, message in (
        ([], [box], "there is no box on any of the 2 samples"),
        ([box], [], "the others have no box on any of the 2 samples"),
        ([], [], "there is no box"),
    ):
        with pytest.raises(measure.MeasureError, match=message) as error:
            forgetting.agreement([1, 2], boxes, others)
        assert "\n" not in str(error.value)


def test_no_seeds_and_no_file_of_boxes_are_said(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="there are no seeds"):
        forgetting.latents([])
    with pytest.raises(
        ValueError, match="there are no boxes in .*mine.json yet: draw some with"
    ) as error:
        forgetting.load_boxes(tmp_path / "mine.json")
    assert "\n" not in str(error.value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    forgetting.save_boxes("~/mine.json", [1], [Box(1, 0, 0, 9, 9)])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]
    assert forgetting.load_boxes("~/mine.json") == forgetting.load_boxes(tmp_path / "mine.json")


def test_units_of_a_wrapped_generator_have_the_same_effects(generator, z):
    wrapped = torch.nn.DataParallel(generator)
    expected = effects.direct_effect(generator, "32x32", z[:4], Colours())
    assert torch.equal(effects.direct_effect(wrapped, "32x32", z[:4], Colours()), expected)
    wide = effects.direct_effect(generator, "32x32", z[:4, :, None, None], Colours())
    assert torch.equal(wide, expected)


def test_boxes_are_the_hands_or_the_instruments_or_are_asked_for(generator, z, tmp_path):
    samples, seeds, mine = generator(z), list(range(60)), tmp_path / "mine.json"
    seen = forgetting.component_boxes(Colours().read(samples).mask("window"), seeds)
    assert forgetting.boxes_on(samples, seeds, mine, Colours()) == seen
    drawn = [Box(3, 0, 0, 9, 9), Box(4, 0, 0, 9, 9), Box(5, 0, 0, 9, 9, "bed")]
    forgetting.save_boxes(mine, seeds, drawn)
    for instrument in (Colours(), None):
        assert forgetting.boxes_on(samples, seeds, mine, instrument) == drawn[:2]
    for boxes, target in ((drawn[:1], "window"), (drawn, "bed"), ([], "window")):
        forgetting.save_boxes(mine, seeds, boxes)
        with pytest.raises(
            measure.MeasureError, match=f"[01] of 60 samples have a box around a {target} in"
        ):
            forgetting.boxes_on(samples, seeds, mine, Colours(), target)
    mine.unlink()
    for images, instrument, whose in (
        (torch.zeros(60, 3, 64, 64), Colours(), "by the instrument"),
        (samples, None, "by hand, and no instrument knows"),
    ):
        with pytest.raises(
            measure.MeasureError, match=f"0 of 60 .*{whose}.*mine.json', seeds"
        ) as error:
            forgetting.boxes_on(images, seeds, mine, instrument)
        assert "\n" not in str(error.value)


def test_changes_are_the_scorecards(generator, z, windows):
    card = effects.scorecard(generator, z, "8x8", [PLANTED], Colours())
    found = effects.changes(card.before.images, card.after.images, windows)
    for ours, theirs in zip(found, (card.inside, card.outside), strict=True):
        torch.testing.assert_close(ours, theirs, equal_nan=True)
