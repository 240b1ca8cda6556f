"""The loop: what it keeps, what it shows, and a stopped run that goes on to the same bits."""

import contextlib
import json
import mmap
import re
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, flags, learned, pair, refusal, same, steps_of, train

from dcgan_book import training
from dcgan_book.training import loop, recipe
from dcgan_book.training.recipe import TrainConfig, TrainingError


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
def test_batches_of_millions_of_images_take_little_memory(tmp_path):
    def megabytes():
        return (
            int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
            * mmap.PAGESIZE
            / 1e6
        )

    # a hole
    images = np.lib.format.open_memmap(
        tmp_path / "images.npy", "w+", np.uint8, (3_000_000, 64, 64, 3)
    )
    with closing(loop._batches(images, TrainConfig(batch=128), 0, 0, 1)) as batches:
        next(batches)
        before = megabytes()
        for _ in range(20):
            next(batches)
        assert megabytes() - before < 50


def test_a_run_folder_holds_what_the_run_was(images, tmp_path):
    config = replace(TINY, steps=52, sheet_every=20, ema=0.9)
    trained = train(config, images, run=tmp_path / "run")
    sheets = [0, 20, 25, 40, 50, 52]
    names = {f"samples-{step:06d}.png" for step in sheets} | {
        "checkpoint.pt",
        "config.json",
        "log.jsonl",
        "losses.png",
        ".lock",
    }
    assert {path.name for path in (tmp_path / "run").iterdir()} == names
    assert list(training.sheets(tmp_path / "run")) == sheets
    assert json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8")) == asdict(
        config
    )
    assert steps_of(tmp_path / "run") == [*range(5, 51, 5), 52]
    assert training.read_log(tmp_path / "run") == trained.log
    for record in trained.log:
        assert record.keys() == {
            "step",
            "d_loss",
            "g_loss",
            "d_real",
            "d_fake",
            "seconds",
            "images_per_s",
        }
        assert 0 < record["d_real"] < 1 and 0 < record["d_fake"] < 1 and record["images_per_s"] > 0

    last = np.asarray(Image.open(tmp_path / "run" / "samples-000052.png")).astype(int)
    assert last.shape == (512, 512, 3)
    for i in (0, 7, 8, 63):
        tile = last[i // 8 * 64 : i // 8 * 64 + 64, i % 8 * 64 : i % 8 * 64 + 64]
        assert np.abs(tile - (trained.samples[i].permute(1, 2, 0).numpy() + 1) * 127.5).max() < 0.51
    curves = np.asarray(Image.open(tmp_path / "run" / "losses.png").convert("RGB"))
    assert curves.std() > 5
    assert training.read_checkpoint(tmp_path / "run")["epoch"] == 52 * 4 // 24


def test_a_sheet_at_every_step_and_an_own_pair(images, tmp_path):
    """Before the first line of the log there is no curve to draw."""
    models = pair(width=2)
    trained = train(replace(TINY, steps=3, sheet_every=1), images, run=tmp_path, models=models)
    assert list(training.sheets(tmp_path)) == [0, 1, 2, 3]
    assert trained.generator is models[0] and trained.discriminator is models[1]


def test_on_step_sees_every_step_and_stops_the_run(images):
    seen = []

    def stop(progress):
        seen.append((progress.step, progress.record["step"], progress.sample()))
        return progress.step == 4

    trained = train(TINY, images, on_step=stop)
    assert [step for step, _, _ in seen] == [step for _, step, _ in seen] == [1, 2, 3, 4]
    assert trained.step == 4 and torch.equal(seen[-1][2], trained.samples)
    assert trained.samples.shape == (64, 3, 64, 64) and trained.samples.abs().max() <= 1
    assert not torch.equal(seen[0][2], trained.samples)


@pytest.mark.parametrize("at", [1, 13, 24])
def test_a_stopped_run_goes_on_to_the_same_bits(images, unbroken, tmp_path, at):
    config, whole = unbroken
    train(config, images, run=tmp_path, on_step=lambda progress: progress.step == at)
    assert training.read_checkpoint(tmp_path)["step"] == at
    # as if killed past the checkpoint, in the middle of a line
    with open(tmp_path / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({"step": at + 1, "d_loss": 0.5}) + '\n{"step": 31, "d_lo')
    (tmp_path / "samples-000027.png").write_bytes(b"of a later step")
    torch.rand(5)  # whatever the process drew meanwhile
    trained = train(config, images, run=tmp_path, resume=True)
    assert same(learned(tmp_path), learned(whole))
    assert steps_of(tmp_path) == [5, 10, 15, 20, 25, 30] and trained.log == training.read_log(
        tmp_path
    )
    assert list(training.sheets(tmp_path)) == [0, 10, 20, 25, 30]
    for step, path in training.sheets(tmp_path).items():
        assert path.read_bytes() == (whole / f"samples-{step:06d}.png").read_bytes()


def test_a_resumed_run_computes_as_it_began(images, tmp_path, monkeypatch):
    """The probe's choice may differ from run to run; within a run it may not."""
    config = replace(TINY, precision="auto", steps=2)
    monkeypatch.setattr(loop, "choose_precision", lambda *_, **__: "bf16")
    train(config, images, run=tmp_path)
    monkeypatch.setattr(loop, "choose_precision", lambda *_, **__: pytest.fail("probed again"))
    train(replace(config, steps=3), images, run=tmp_path, resume=True)
    assert training.read_checkpoint(tmp_path)["machine"]["precision"] == "bf16"


def test_images_of_another_size_train_with_networks_of_that_size(images, tmp_path):
    for size in (32, 128):
        config, run = replace(TINY, size=size, steps=3, batch=8), tmp_path / str(size)
        pixels = np.resize(images, (24, size, size, 3))
        trained = train(config, pixels, run=run)
        assert trained.samples.shape == (64, 3, size, size)
        assert np.asarray(Image.open(run / "samples-000003.png")).shape == (8 * size, 8 * size, 3)
        assert train(replace(config, steps=4), pixels, run=run, resume=True).step == 4
    with pytest.raises(TrainingError, match="trained with size 128, not 32"):
        train(replace(config, size=32), images[:, :32, :32], run=run, resume=True)
    with pytest.raises(TrainingError, match="size is 48; it is one of 32, 64, 128"):
        replace(TINY, size=48)


def test_images_of_another_shape():
    for wrong in (
        np.zeros((4, 32, 32, 3), np.uint8),
        np.zeros((4, 64, 64, 3)),
        np.zeros((0, 64, 64, 3), np.uint8),
    ):
        with pytest.raises(TrainingError, match=r"uint8 \(n, 64, 64, 3\) is needed"):
            train(TINY, wrong)


@pytest.mark.parametrize("fault", [{"lr_d": 1e30}, {"lr_g": 1e30}])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, fault):
    """It is found at the first step whose losses are read."""
    message = refusal(*flags(replace(TINY, **fault), tmp_path))
    assert re.search(
        "[dg]_loss is nan at step 5: training stopped; no checkpoint had been written", message
    )


class Broken:
    """A step whose batch is no number at step `at`."""

    def __init__(self, at):
        self.at, self.step = at, 0

    def __call__(self, generator, discriminator, optimiser_g, optimiser_d, real, *rest):
        self.step += 1
        real = real * (float("nan") if self.step == self.at else 1)
        return recipe.gan_step(generator, discriminator, optimiser_g, optimiser_d, real, *rest)


@pytest.mark.parametrize("every, found", [(5, 10), (4, 8)])
def test_the_last_good_checkpoint_outlives_a_bad_loss(images, tmp_path, every, found):
    """The loss of step 8 shows when it is logged, and before a checkpoint is written over the good one."""
    config = replace(TINY, checkpoint_every=every)
    good = 5 if every == 5 else 4
    fault = f"^d_loss is nan at step {found}: .*; the checkpoint of step {good} in .* is intact$"
    with pytest.raises(TrainingError, match=fault):
        train(config, images, run=tmp_path, step=Broken(8))
    assert training.read_checkpoint(tmp_path)["step"] == good
    assert train(config, images, run=tmp_path, resume=True).step == TINY.steps


def test_losses_are_waited_for_only_where_they_are_logged_or_asked_for(
    images, monkeypatch, tmp_path
):
    read, tolist = [], torch.Tensor.tolist

    def counted(tensor):
        read.append(tensor.shape)
        return tolist(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    train(replace(TINY, steps=12), images)
    assert len(read) == 3  # steps 5, 10 and 12
    read.clear()
    asked = []
    train(
        replace(TINY, steps=4),
        images,
        on_step=lambda done: asked.append((done.record, done.record)),
    )
    assert len(read) == 4 and [record["step"] for record, _ in asked] == [1, 2, 3, 4]


def test_a_record_asked_for_later_is_still_that_of_its_step(images):
    kept, records = [], []
    train(replace(TINY, steps=4), images, on_step=kept.append)
    train(replace(TINY, steps=4), images, on_step=lambda done: records.append(done.record))
    for progress, record in zip(kept, records, strict=True):
        assert all(
            progress.record[name] == record[name]
            for name in ("step", "d_loss", "g_loss", "d_real", "d_fake")
        )


def test_weights_that_are_no_numbers_are_not_saved(images, tmp_path):
    """At the last step, when no further loss would show it."""

    def add_nan(progress):
        if progress.step == TINY.steps:
            next(progress.generator.parameters()).data[0, 1, 2, 3] = float("inf")

    with pytest.raises(
        TrainingError,
        match="weights of the generator are not finite at step 12: .* step 10 .* intact",
    ):
        train(TINY, images, run=tmp_path, on_step=add_nan)


@pytest.mark.parametrize("at", [3, 8])
def test_a_resumed_run_with_falling_rates_has_the_bits_of_an_unbroken_one(images, tmp_path, at):
    config = replace(TINY, decay_from=0.4, r1=0.5, r1_every=3, relativistic=True)
    train(config, images, run=tmp_path / "whole")
    train(config, images, run=tmp_path / "parts", on_step=lambda progress: progress.step == at)
    train(config, images, run=tmp_path / "parts", resume=True)
    assert same(learned(tmp_path / "parts"), learned(tmp_path / "whole"))


@pytest.mark.parametrize("raises", [False, True])
def test_training_leaves_threads_and_denormals_as_they_were(images, raises):
    def flushed():
        return bool(torch.tensor(1e-310, dtype=torch.float64) * 1 == 0)

    inside = []

    def watch(_):
        inside.append((torch.get_num_threads(), flushed()))
        if raises:
            raise RuntimeError("of the watcher")

    before = torch.get_num_threads()
    try:
        for flush in (False, True):
            torch.set_num_threads(2)
            torch.set_flush_denormal(flush)
            with (
                pytest.raises(RuntimeError, match="of the watcher")
                if raises
                else contextlib.nullcontext()
            ):
                train(replace(TINY, steps=1, threads=1), images, on_step=watch)
            assert (torch.get_num_threads(), flushed()) == (2, flush)
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)
    assert inside == [(1, True)] * 2
