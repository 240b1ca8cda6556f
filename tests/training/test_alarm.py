"""The collapse alarm: its numbers, what it says and when, that it changes no bit, and the best that is kept."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import REMEDIES, TINY, learned, pair, refusal, same, train, weights

from dcgan_book import measure, pretrained, training
from dcgan_book.training import alarm, recipe
from dcgan_book.training.recipe import TrainingError

WATCHED = replace(TINY, steps=30, watch_every=3, checkpoint_every=4, sheet_every=10)


def points(n=300, d=12, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=random) @ torch.randn(d, d, generator=random)


def test_the_distance_is_that_of_the_instruments():
    first, second = points(), 0.5 * points(seed=1) + 1
    ours = alarm.frechet(alarm.moments(first), alarm.moments(second))
    assert ours == pytest.approx(measure.frechet(first, second), rel=1e-9)
    assert alarm.frechet(alarm.moments(first), alarm.moments(first)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_a_thumbnail_is_the_mean_of_its_pixels(size):
    images = torch.rand(3, 3, size, size)
    blocks = images.reshape(3, 3, 8, size // 8, 8, size // 8).mean((3, 5))
    torch.testing.assert_close(alarm.thumbnails(images), blocks.flatten(1))


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 2.0])
def test_the_spread_is_the_distance_of_pairs_against_that_of_the_data(scale):
    data = points()
    pairs = torch.pdist(data).square().mean() / torch.pdist(scale * data + 7).square().mean()
    found = alarm.spread(alarm.moments(scale * data + 7), alarm.moments(data))
    assert found == pytest.approx(0 if scale == 0 else 1 / math.sqrt(pairs), rel=1e-4, abs=1e-6)


def test_copies_of_one_image_have_no_spread():
    assert alarm.spread(alarm.moments(torch.ones(4, 3)), alarm.moments(torch.ones(4, 3))) == 0


def judged(images, numbers):
    """What the alarm says of looks at steps 100, 200 and so on: step to message."""
    watcher = alarm.Alarm(images, TINY, [])
    said = {100 * i: watcher.judge(100 * i, *pair) for i, pair in enumerate(numbers, 1)}
    return {step: message for step, message in said.items() if message}, watcher


GOOD = [(0.1, 25.0), (0.4, 12.0), (0.8, 4.0), (0.9, 2.0), (0.85, 2.5), (0.9, 1.0)]


@pytest.mark.parametrize(
    "after, said",
    [
        ([(0.9, 1.2), (0.7, 2.9), (0.95, 1.1)], None),  # chance
        ([(0.9, 9.0), (0.9, 1.2), (0.4, 1.4), (0.9, 1.1)], None),  # single bad moments
        ([(0.9, 9.0), (0.9, 9.0)], 800),  # far from the data
        ([(0.45, 2.0), (0.2, 2.0), (0.1, 9.0)], 800),  # narrow, and said once
        ([(0.02, 30.0)] * 9, 800),
    ],
)
def test_what_was_good_and_is_bad_is_said_once(images, after, said):
    messages, watcher = judged(images, GOOD + after)
    assert list(messages) == ([said] if said else [])
    assert watcher.best[0] == 1.0 and watcher.best[1] == 600
    if said:
        assert watcher.good == 600 and "the best was 1.00 at step 600" in messages[said]


def test_it_is_said_again_after_a_recovery(images):
    bad = [(0.1, 9.0)] * 3
    assert list(judged(images, GOOD + bad + GOOD[-1:] + bad)[0]) == [800, 1200]


def test_what_was_never_various_is_said_after_some_looks(images):
    assert list(judged(images, [(0.1, 20.0)] * 20)[0]) == [1000]
    assert not judged(images, [(0.1, 20.0)] * 8 + [(0.6, 15.0)] * 8)[0]


def numbers(run):
    return [
        (r["step"], r["spread"], r["distance"]) for r in training.read_log(run) if "spread" in r
    ]


@pytest.mark.parametrize("remedies", [{}, REMEDIES])
def test_the_alarm_changes_no_bit_and_a_resumed_run_has_its_numbers(images, tmp_path, remedies):
    config = replace(WATCHED, **remedies)
    for name, every in (("watched", 3), ("plain", 0)):
        train(replace(config, watch_every=every), images, run=tmp_path / name)
    assert same(learned(tmp_path / "watched"), learned(tmp_path / "plain"))
    assert numbers(tmp_path / "plain") == []
    assert [step for step, _, _ in numbers(tmp_path / "watched")] == list(range(3, 31, 3))
    train(config, images, run=tmp_path / "parts", on_step=lambda progress: progress.step == 13)
    train(config, images, run=tmp_path / "parts", resume=True)
    assert same(learned(tmp_path / "parts"), learned(tmp_path / "plain"))
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "watched")


def test_a_look_draws_no_random_number_and_leaves_the_networks(images):
    generator = pair()[0]
    watcher, before = alarm.Alarm(images, TINY, []), copy.deepcopy(generator.state_dict())
    state = torch.random.get_rng_state()
    looks = [watcher.measure(generator, torch.device("cpu"), "fp32") for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state) and looks[0] == looks[1]
    assert same(dict(before), dict(generator.state_dict())) and generator.training


def collapsing(at):
    """A step after which, from step `at` on, all samples are white."""
    steps = []

    def step(generator, *rest):
        losses = recipe.gan_step(generator, *rest)
        steps.append(1)
        if len(steps) >= at:
            with torch.no_grad():
                list(generator.parameters())[-1].fill_(1e3)
        return losses

    return step


@pytest.fixture
def easy(monkeypatch):
    """Limits that a network of three channels and thirty steps keeps to."""
    monkeypatch.setattr(alarm, "NARROW", 0.005)


def test_a_collapse_names_the_step_the_last_good_sheet_and_the_best(images, tmp_path, capsys, easy):
    config = replace(WATCHED, keep_best=True)
    training.train(
        config, images, run=tmp_path, recalibration=128, step=collapsing(20), progress=True
    )
    (said,) = [line for line in capsys.readouterr().err.split("\n") if "have collapsed" in line]
    (record,) = [record for record in training.read_log(tmp_path) if "alarm" in record]
    assert record["alarm"] in said and record["step"] == 24 and "step 24: samples" in said
    good = max(step for step, spread, _ in numbers(tmp_path) if spread >= 0.005)
    sheet = max(step for step in training.sheets(tmp_path) if step <= good)
    assert f"the last good sheet is {training.sheets(tmp_path)[sheet]}" in said
    assert f"the best generator is in {tmp_path / 'best'}" in said


def test_the_bar_shows_both(images, capsys):
    config = replace(WATCHED, steps=6)
    training.train(config, images, recalibration=128, progress=True)
    (spread, distance) = capsys.readouterr().err.split(" spread ")[-1].split(" distance ")
    assert float(spread) >= 0 and float(distance.split("]")[0].split()[0]) > 0


@pytest.mark.parametrize("remedies", [{}, {"ema": 0.9}])
def test_the_best_is_kept_exported_and_gone_on_with(images, tmp_path, remedies):
    config = replace(WATCHED, keep_best=True, **remedies)
    train(config, images, run=tmp_path / "run", step=collapsing(20))
    best = min(numbers(tmp_path / "run"), key=lambda look: look[2])[0]
    assert best < 20 and training.read_checkpoint(tmp_path / "run" / "best")["step"] == best
    train(replace(config, keep_best=False), images, run=tmp_path / "there",
          on_step=lambda progress: progress.step == best)  # fmt: skip
    assert same(learned(tmp_path / "run" / "best"), learned(tmp_path / "there"))
    pretrained.export(tmp_path / "run" / "best", "mine", tmp_path)
    card = pretrained.load(tmp_path / "mine").card
    assert card["steps"] == best and card["film"]["steps"][-1] == best
    assert max(record["step"] for record in training.read_log(tmp_path / "run" / "best")) == best
    again = train(config, images, run=tmp_path / "run" / "best", resume=True)
    assert again.step == config.steps


def test_a_run_that_is_resumed_does_not_take_a_worse_one_for_the_best(images, tmp_path):
    config = replace(WATCHED, keep_best=True)
    train(config, images, run=tmp_path, step=collapsing(20))
    before = training.read_checkpoint(tmp_path / "best")["step"]
    train(replace(config, steps=36), images, run=tmp_path, resume=True, step=collapsing(1))
    assert training.read_checkpoint(tmp_path / "best")["step"] == before < 20


def test_samples_that_are_no_numbers_end_the_run(images, tmp_path):
    def spoil(progress):
        if progress.step == 5:
            next(progress.generator.parameters()).data[0, 1, 2, 3] = float("nan")

    def step(*given):
        return recipe.gan_step(*given) | {"d_loss": torch.ones(()), "g_loss": torch.ones(())}

    with pytest.raises(
        TrainingError, match="samples are no numbers at step 6: .* step 4 .* intact"
    ):
        train(WATCHED, images, run=tmp_path, on_step=spoil, step=step)


@pytest.mark.parametrize("flags", [["--watch-every=-1"], ["--watch-every=0", "--keep-best"]])
def test_a_watch_that_cannot_be(tmp_path, flags):
    assert "watch_every is" in refusal(*flags, "--data=rooms:4", "--out", tmp_path)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_are_watched_too(images, count):
    log = train(replace(WATCHED, steps=3), images[:count]).log
    assert log[-1]["distance"] >= 0 and np.isfinite(log[-1]["spread"])


# ------------------------------------------------------------------- images made under inference_mode


def test_steps_take_images_that_were_made_under_inference_mode(images):
    results = []
    for mode in (torch.inference_mode(), torch.no_grad()):
        generator, discriminator = pair()
        with mode:
            real, z = torch.linspace(-1, 1, 4 * 3 * 64 * 64).view(4, 3, 64, 64), torch.ones(4, 8)
        recipe.gan_step(generator, discriminator, recipe.adam(generator, 1e-3),
                        recipe.adam(discriminator, 1e-3), real, z, r1=1.0)  # fmt: skip
        recipe.gradient_penalty(discriminator, real).backward()
        results.append(weights(generator) + weights(discriminator))
    assert same(*results)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_a_training_under_it_is_one(images, mode):
    plain = train(TINY, images)
    with mode():
        under = train(TINY, images)
    assert same(weights(under.generator), weights(plain.generator))


def test_networks_made_under_it_are_refused(images):
    with torch.inference_mode():
        models = pair()
    with pytest.raises(TrainingError, match="made under torch.inference_mode cannot be trained"):
        train(TINY, images, models=models)
