"""The trainer: its step is the plain one, a stopped run goes on to the same bits, and every fault is one line."""

import copy
import errno
import functools
import json
import mmap
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from dcgan_book import pretrained, training, winograd
from dcgan_book.latents import PRIORS, draw_z, recalibrate, stream, to_batch
from dcgan_book.models import Discriminator, Generator, initialise
from dcgan_book.training import data
from dcgan_book.training.recipe import TrainConfig, TrainingError

TINY = TrainConfig(
    data="rooms:24", steps=12, batch=4, width=4, z_dim=8, precision="fp32", device="cpu", threads=1, checkpoint_every=5
)
REMEDIES = {"instance_noise": 0.1, "noise_steps": 99, "label_smoothing": 0.1, "ema": 0.9}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Sheets need no good statistics here."""
    monkeypatch.setattr(training, "RECALIBRATION", 128)


@pytest.fixture(scope="module")
def images():
    return data.load("rooms:24", progress=False).images


def train(config, images, **options):
    return training.train(config, images, progress=False, **options)


def pair(width=4, z_dim=8, seed=0):
    random = torch.Generator().manual_seed(seed)
    return initialise(Generator(width, z_dim), random), initialise(Discriminator(width), random)


def weights(network):
    return [weight.detach().clone() for weight in network.parameters()]


def same(first, second):
    """Whether two trees of dicts, lists and tensors hold the same bits."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def learned(run):
    """All that a run's checkpoint says of what was trained, and nothing of the clock."""
    checkpoint = training.read_checkpoint(run)
    parts = ("generator", "discriminator", "ema", "optimiser_g", "optimiser_d", "random", "step", "epoch", "offset")
    return {name: checkpoint.get(name) for name in parts}


def steps_of(run):
    return [record["step"] for record in training.read_log(run)]


def flags(config, out):
    """The command line of a config."""
    defaults = asdict(TrainConfig())
    given = {name: value for name, value in asdict(config).items() if value != defaults[name]} | {"out": out}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def refusal(*arguments):
    """What the command says, called with arguments that end it with an error."""
    with pytest.raises(SystemExit) as end:
        training.main([str(argument) for argument in arguments])
    assert str(end.value).startswith("error: ") and "\n" not in str(end.value)
    return str(end.value)


# -------------------------------------------------------------------------------------------------- the step


def test_a_step_is_that_of_the_plain_loop():
    """Against `pytorch/examples/dcgan`, in double precision, over three steps."""
    ours = [network.double() for network in pair()]
    plain = copy.deepcopy(ours)
    adams = [training.adam(network, 2e-4) for network in ours]
    plain_adams = [torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in plain]
    before = weights(ours[0])
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        real = torch.rand(6, 3, 64, 64, generator=random).double() * 2 - 1
        z = draw_z(6, 8, generator=random).double()
        losses = training.gan_step(*ours, *adams, real, z)

        (generator, discriminator), (adam_g, adam_d) = plain, plain_adams
        discriminator.zero_grad()
        d_real = discriminator(real).sigmoid()
        fake = generator(z)
        d_fake = discriminator(fake.detach()).sigmoid()
        d_loss = F.binary_cross_entropy(d_real, torch.ones_like(d_real))
        d_loss = d_loss + F.binary_cross_entropy(d_fake, torch.zeros_like(d_fake))
        d_loss.backward()
        adam_d.step()
        generator.zero_grad()
        belief = discriminator(fake).sigmoid()
        g_loss = F.binary_cross_entropy(belief, torch.ones_like(belief))
        g_loss.backward()
        adam_g.step()

        expected = {"d_loss": d_loss, "g_loss": g_loss, "d_real": d_real.mean(), "d_fake": d_fake.mean()}
        for name, value in expected.items():
            torch.testing.assert_close(losses[name].double(), value.detach(), rtol=1e-4, atol=1e-6)
    for network, reference in zip(ours, plain, strict=True):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, reference.state_dict()[name], rtol=1e-4, atol=2e-6)
    moved = max((a - b).abs().max() for a, b in zip(weights(ours[0]), before, strict=True))
    assert moved > 1e-4  # fifty times the tolerance


def test_the_plain_step_of_the_benchmark_trains_the_same():
    results = []
    for step in (training.gan_step, training.plain_step):
        networks = pair()
        adams = [torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in networks]
        random = torch.Generator().manual_seed(1)
        real = torch.rand(6, 3, 64, 64, generator=random) * 2 - 1
        step(*networks, *adams, real, draw_z(6, 8, generator=random))
        results.append(weights(networks[0]) + weights(networks[1]))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_each_network_learns_from_its_own_loss_alone():
    generator, discriminator = pair()
    optimisers = [torch.optim.SGD(network.parameters(), lr=0) for network in (generator, discriminator)]
    real, z = torch.rand(6, 3, 64, 64) * 2 - 1, draw_z(6, 8)
    training.gan_step(generator, discriminator, *optimisers, real, z)
    found = [[weight.grad for weight in network.parameters()] for network in (generator, discriminator)]
    assert all(weight.requires_grad for weight in discriminator.parameters())

    fake = generator(z)
    g_loss = training.cross_entropy(discriminator(fake), 1)
    d_loss = training.cross_entropy(discriminator(real), 1) + training.cross_entropy(discriminator(fake.detach()), 0)
    for gradients, loss, network in zip(found, (g_loss, d_loss), (generator, discriminator), strict=True):
        torch.testing.assert_close(tuple(gradients), torch.autograd.grad(loss, list(network.parameters())))


def test_smoothing_is_one_sided_and_see_stands_before_d():
    generator, discriminator = pair()
    optimisers = [torch.optim.SGD(network.parameters(), lr=0) for network in (generator, discriminator)]
    real, z = torch.rand(6, 3, 64, 64) * 2 - 1, draw_z(6, 8)
    seen, shown = [], []
    discriminator.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))

    def see(images):
        seen.append(images.detach())
        return images / 2

    losses = training.gan_step(generator, discriminator, *optimisers, real, z, 0.1, see)
    fake = generator(z).detach()
    for images, expected in zip(seen, (real, fake, fake), strict=True):
        torch.testing.assert_close(images, expected)
    for images, expected in zip(shown, seen, strict=True):
        assert torch.equal(images, expected / 2)
    on_real, on_fake = (discriminator(part).detach().sigmoid() for part in (real / 2, fake / 2))
    d_loss = -(0.9 * on_real.log() + 0.1 * (1 - on_real).log()).mean() - (1 - on_fake).log().mean()
    torch.testing.assert_close(losses["d_loss"], d_loss)
    torch.testing.assert_close(losses["g_loss"], -on_fake.log().mean())


# -------------------------------------------------------------------------------------------- what it is fed


@pytest.mark.parametrize("z_dim", [1, 7, 100])
@pytest.mark.parametrize("prior", PRIORS)
def test_the_first_of_many_z_are_those_of_a_smaller_draw(prior, z_dim):
    many = draw_z(50, z_dim, prior, torch.Generator().manual_seed(3))
    assert many.shape == (50, z_dim)
    for n in (1, 3, 17, 49):
        assert torch.equal(draw_z(n, z_dim, prior, torch.Generator().manual_seed(3)), many[:n])


def test_priors():
    uniform, normal = (draw_z(1000, 100, prior, torch.Generator().manual_seed(0)) for prior in PRIORS)
    assert -1 <= uniform.min() < -0.999 and 0.999 < uniform.max() < 1
    for z, spread in ((uniform, 3**-0.5), (normal, 1)):
        assert abs(z.mean()) < 0.01 and abs(z.std() - spread) < 0.01
    assert normal.abs().max() > 4


@pytest.mark.parametrize("count, batch", [(10, 4), (12, 4), (7, 3), (3, 8), (1, 4)])
def test_every_image_comes_once_an_epoch(count, batch):
    steps = 3 * count  # 3 * batch epochs
    stream = np.concatenate([training.batch_indices(count, batch, step, 5) for step in range(steps)])
    assert len(stream) == steps * batch
    epochs = stream.reshape(-1, count)
    assert (np.sort(epochs) == np.arange(count)).all()
    if count > 3:
        assert len(np.unique(epochs, axis=0)) > 1, "every epoch has the same order"
        assert (training.batch_indices(count, batch, 0, 6) != stream[:batch]).any(), "the seed changes nothing"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
def test_batches_of_millions_of_images_take_little_memory(tmp_path):
    def megabytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 1e6

    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (3_000_000, 64, 64, 3))  # a hole
    with closing(training._batches(images, TrainConfig(batch=128), 0, 0, 1)) as batches:
        next(batches)
        before = megabytes()
        for _ in range(20):
            next(batches)
        assert megabytes() - before < 50


def test_a_batch_is_in_the_papers_range():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    pixels[0, 0, 0] = (0, 255, 51)
    batch = to_batch(pixels)
    assert batch.shape == (3, 3, 64, 64) and batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([-1.0, 1.0, -0.6]))
    assert (((batch.permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy() == pixels).all()


def test_recalibrated_statistics_are_those_of_the_z():
    generator, _ = pair()
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.fill_(5)
    before = weights(generator)
    assert recalibrate(generator, count=96, seed=3, batch=32) is generator
    assert not generator.training and all(map(torch.equal, weights(generator), before))

    inputs = {}
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.momentum == 0.1
            layer.register_forward_pre_hook(lambda layer, given: inputs.setdefault(layer, []).append(given[0]))
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


# ------------------------------------------------------------------------------- the recipe and its remedies


def test_bare_it_is_the_papers_recipe():
    config = TrainConfig()
    assert (config.batch, config.prior, config.z_dim, config.lr_d, config.lr_g) == (128, "uniform", 100, 2e-4, 2e-4)
    assert config.beta1 == 0.5
    assert not (config.instance_noise or config.label_smoothing or config.ema or config.limit)
    assert vars(training._parser().parse_args([])) == {}
    optimiser = training.adam(nn.Linear(2, 2), config.lr_d, config.beta1).param_groups[0]
    assert optimiser["lr"] == 2e-4 and optimiser["betas"] == (0.5, 0.999) and optimiser["weight_decay"] == 0


def test_each_flag_is_the_field_of_its_name(tmp_path):
    given = replace(
        TINY, limit=9, size=32, seed=3, prior="normal", kernel_size=5, lr_d=1e-4, lr_g=3e-4, beta1=0.9, sheet_every=7, **REMEDIES
    )
    options = vars(training._parser().parse_args(flags(given, tmp_path)))
    assert options.pop("out") == str(tmp_path) and TrainConfig(**options) == given
    assert set(options) == set(asdict(given))


def spied(monkeypatch):
    """The arguments of every step from here on, and its networks' weights after it."""
    calls, step = [], training.gan_step

    def spy(generator, discriminator, *rest):
        before = weights(generator), weights(discriminator)
        losses = step(generator, discriminator, *rest)
        calls.append((rest[2:], before, (weights(generator), weights(discriminator))))
        return losses

    monkeypatch.setattr(training, "gan_step", spy)
    return calls


def test_off_a_remedy_does_nothing(images, monkeypatch):
    calls = spied(monkeypatch)
    trained = train(replace(TINY, steps=2), images)
    (real, z, smoothing, see), _, _ = calls[0]
    assert smoothing == 0 and see(real) is real and trained.ema is None
    assert z.shape == (4, 8) and z.abs().max() <= 1
    first = np.sort(training.batch_indices(24, 4, 0, 0))
    assert torch.equal(real, to_batch(images[first]))


def test_instance_noise_changes_only_what_d_sees(images, monkeypatch):
    calls = spied(monkeypatch)
    for noise in (0.0, 0.5):
        train(replace(TINY, steps=1, instance_noise=noise), images)
    ((real, z, _, _), before, _), ((noisy_real, noisy_z, _, see), noisy_before, _) = calls
    assert torch.equal(real, noisy_real) and torch.equal(z, noisy_z) and same(before, noisy_before)
    noise, other = (see(real) - real for _ in range(2))
    for drawn in (noise, other):
        assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 0.5) < 0.02
    assert abs((noise * other).mean()) < 0.02, "the same noise twice"


def test_instance_noise_falls_to_nothing_where_asked(images, monkeypatch):
    calls = spied(monkeypatch)
    train(replace(TINY, steps=6, instance_noise=0.4, noise_steps=4), images)
    spread = [(see(real) - real).std().item() for (real, _, _, see), _, _ in calls]
    assert spread == pytest.approx([0.4, 0.3, 0.2, 0.1, 0, 0], rel=0.02)


def test_one_sided_labels_and_two_learning_rates(images, monkeypatch):
    """Adam's first step moves every weight by its learning rate."""
    calls = spied(monkeypatch)
    train(replace(TINY, steps=1, lr_d=1e-3, lr_g=1e-5, label_smoothing=0.2), images)
    (_, _, smoothing, _), before, after = calls[0]
    assert smoothing == 0.2
    for old, new, rate in zip(before, after, (1e-5, 1e-3), strict=True):
        moved = torch.cat([(a - b).abs().flatten() for a, b in zip(old, new, strict=True)])
        torch.testing.assert_close(moved.median(), torch.tensor(rate), rtol=0.02, atol=0)


def test_the_moving_average_is_its_formula(images):
    history = []

    def keep(progress):
        history.append(weights(progress.generator))

    trained = train(replace(TINY, steps=12, ema=0.5, lr_g=1e-2), images, on_step=keep)
    average = [weight.double() for weight in weights(training._start(TINY, None, torch.device("cpu"))["generator"])]
    for step, live in enumerate(history, 1):
        decay = min(0.5, step / (step + 9))
        average = [decay * old + (1 - decay) * new for old, new in zip(average, live, strict=True)]
    for found, expected, live in zip(weights(trained.ema), average, history[-1], strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
        assert not torch.equal(found, live)
    assert all(weight.is_leaf and not weight.requires_grad for weight in trained.ema.parameters())

    twin = recalibrate(copy.deepcopy(trained.ema), count=128)
    z = draw_z(64, 8, generator=stream(0, "fixed z"))
    torch.testing.assert_close(trained.samples, twin(z).detach())


def test_a_watching_average_changes_nothing_in_the_run(images):
    plain, watched = (train(replace(TINY, ema=ema), images) for ema in (0.0, 0.9))
    assert same(plain.generator.state_dict(), watched.generator.state_dict())


# ------------------------------------------------------------------------------------------------ a run's folder


def test_a_run_folder_holds_what_the_run_was(images, tmp_path):
    config = replace(TINY, steps=52, sheet_every=20, ema=0.9)
    trained = train(config, images, run=tmp_path / "run")
    sheets = [0, 20, 25, 40, 50, 52]
    names = {f"samples-{step:06d}.png" for step in sheets} | {"checkpoint.pt", "config.json", "log.jsonl", "losses.png"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names
    assert list(training.sheets(tmp_path / "run")) == sheets
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == asdict(config)
    assert steps_of(tmp_path / "run") == [*range(5, 51, 5), 52]
    assert training.read_log(tmp_path / "run") == trained.log
    for record in trained.log:
        assert record.keys() == {"step", "d_loss", "g_loss", "d_real", "d_fake", "seconds", "images_per_s"}
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


# -------------------------------------------------------------------------------------------------- going on


@pytest.fixture(scope="module")
def unbroken(images, tmp_path_factory):
    """A run of 30 steps, all remedies on, that nothing stopped: its config and folder."""
    config = replace(TINY, steps=30, sheet_every=10, checkpoint_every=3, **REMEDIES)
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "RECALIBRATION", 128)
        train(config, images, run=folder)
    return config, folder


@pytest.mark.parametrize("at", [1, 13, 24])
def test_a_stopped_run_goes_on_to_the_same_bits(images, unbroken, tmp_path, at):
    config, whole = unbroken
    train(config, images, run=tmp_path, on_step=lambda progress: progress.step == at)
    assert training.read_checkpoint(tmp_path)["step"] == at
    with open(tmp_path / "log.jsonl", "a") as log:  # as if killed past the checkpoint, in the middle of a line
        log.write(json.dumps({"step": at + 1, "d_loss": 0.5}) + '\n{"step": 31, "d_lo')
    (tmp_path / "samples-000027.png").write_bytes(b"of a later step")
    torch.rand(5)  # whatever the process drew meanwhile
    trained = train(config, images, run=tmp_path, resume=True)
    assert same(learned(tmp_path), learned(whole))
    assert steps_of(tmp_path) == [5, 10, 15, 20, 25, 30] and trained.log == training.read_log(tmp_path)
    assert list(training.sheets(tmp_path)) == [0, 10, 20, 25, 30]
    for step, path in training.sheets(tmp_path).items():
        assert path.read_bytes() == (whole / f"samples-{step:06d}.png").read_bytes()


def launch(config, out, *more):
    command = [sys.executable, "-m", "dcgan_book.training", *flags(config, out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_step(process, run, step):
    """Waits until the log of a running command has `step`."""
    log, latest = run / "log.jsonl", re.compile(r'"step": (\d+)')
    deadline = time.monotonic() + 120
    while not (log.exists() and max(map(int, latest.findall(log.read_text())), default=0) >= step):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


def test_a_killed_command_goes_on_to_the_same_bits(unbroken, tmp_path):
    """kill -9 twice, somewhere among writing checkpoints, sheets and the log."""
    config, whole = unbroken
    resume = ()
    for moment in (5, 15):
        process = launch(config, tmp_path, *resume)
        wait_for_step(process, tmp_path, moment)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        lost = max(steps_of(tmp_path)) - training.read_checkpoint(tmp_path)["step"]
        assert lost <= config.checkpoint_every, "more was lost than the steps since the last checkpoint"
        resume = ("--resume",)
    training.main([*flags(config, tmp_path), "--resume"])
    assert same(learned(tmp_path), learned(whole))
    assert steps_of(tmp_path) == [5, 10, 15, 20, 25, 30]
    assert not list(tmp_path.glob(".*.new")), "half-written files are left"


KILLS = """
import contextlib, os, random, re, signal, sys, time
from pathlib import Path
from dcgan_book import training

run, arguments, chance = Path(sys.argv[1]), sys.argv[2:], random.Random(0)
training.RECALIBRATION = 128
training.RunFolder.write_curves = lambda self: None  # only a picture, and slow
resumed, longest = [], 0


def latest():
    log = run / "log.jsonl"
    steps = re.findall(r'"step": (\\d+)', log.read_text()) if log.exists() else []
    return max(map(int, steps), default=0)


for kill in range(20):
    there = (run / "checkpoint.pt").exists()
    resumed.append(there)
    began = training.read_checkpoint(run)["step"] if there else 0
    child = os.fork()
    if not child:
        with contextlib.redirect_stderr(open(os.devnull, "w")):
            training.main(arguments + ["--resume"] * there)
        os._exit(0)
    moment = began + chance.randrange(8)
    while latest() < moment:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"kill {kill} came after the end"
    if (run / "checkpoint.pt").exists():
        assert latest() - training.read_checkpoint(run)["step"] <= 3 + training.LOG_EVERY
print(sum(resumed), training.read_checkpoint(run)["step"])
training.main([*arguments, "--resume"])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_twenty_kills_at_random_moments_change_no_bit(images, tmp_path):
    """kill -9, wherever it strikes: in a step, between files, while a checkpoint is written. The imports are made
    once and every run is a fork of that process, so that twenty runs take seconds."""
    config = replace(TINY, steps=400, checkpoint_every=3, sheet_every=500, **REMEDIES)
    train(config, images, run=tmp_path / "whole")
    command = [sys.executable, "-c", KILLS, str(tmp_path / "run"), *flags(config, tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    resumed, step = map(int, done.stdout.split()[:2])
    assert resumed >= 15 and 30 <= step < 400, "hardly a kill fell on a run with something to lose"
    assert same(learned(tmp_path / "run"), learned(tmp_path / "whole"))
    assert steps_of(tmp_path / "run") == list(range(5, 401, 5))
    assert not list((tmp_path / "run").glob(".*.new")), "half-written files are left"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no polite kill")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_end_keeps_every_step(unbroken, tmp_path, number):
    config, whole = unbroken
    process = launch(replace(config, steps=100_000, checkpoint_every=90_000), tmp_path)
    wait_for_step(process, tmp_path, 5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "Traceback" not in errors
    step = training.read_checkpoint(tmp_path)["step"]
    assert f"stopped after step {step}; the same command with --resume goes on" in errors
    assert max(steps_of(tmp_path)) > step - training.LOG_EVERY
    if step < config.steps:  # nearly always; resumed with nothing but the folder, and as long as the other
        training.main(["--resume", f"--out={tmp_path}", f"--steps={config.steps}", "--checkpoint-every=3"])
        assert same(learned(tmp_path), learned(whole))


def test_a_resumed_run_computes_as_it_began(images, tmp_path, monkeypatch):
    """The probe's choice may differ from run to run; within a run it may not."""
    config = replace(TINY, precision="auto", steps=2)
    monkeypatch.setattr(training, "choose_precision", lambda *_, **__: "bf16")
    train(config, images, run=tmp_path)
    monkeypatch.setattr(training, "choose_precision", lambda *_, **__: pytest.fail("probed again"))
    train(replace(config, steps=3), images, run=tmp_path, resume=True)
    assert training.read_checkpoint(tmp_path)["machine"]["precision"] == "bf16"


# ---------------------------------------------------------------------------------------- several processes

WORKER = """
import json, os, signal, sys
import torch
from dcgan_book import training
from dcgan_book.models import Discriminator, Generator, initialise

rank, restarts = int(os.environ.get("RANK", 0)), int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
folder, what, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
config = training.TrainConfig(**options)
training.RECALIBRATION = 128
training.choose_precision = lambda *_, **__: ["fp32", "bf16"][rank]  # as a probe may, on a busy machine


def written(self, name, content, replace=training.RunFolder._replace):
    with open(f"{folder}/writes-{rank}.txt", "a") as file:
        print(name, file=file)
    replace(self, name, content)


def in_shares(network, count):
    "One process's network that takes BatchNorm's statistics of `count` shares, as as many processes do."
    forward = network.forward
    network.forward = lambda x: torch.stack([forward(x[k::count]) for k in range(count)], 1).flatten(0, 1)


def trained(name, shares=1, **more):
    random = torch.Generator().manual_seed(0)
    models = [initialise(network, random) for network in (Generator(4, 8), Discriminator(4))]
    for network in models:
        in_shares(network, shares)
    images = training.data.load(config.data, progress=False).images
    done = training.train(training.dataclasses.replace(config, **more), images, models=models, progress=False)
    parts = {"generator": done.generator, "discriminator": done.discriminator, "ema": done.ema}
    values = {part: list(network.parameters()) for part, network in parts.items()}
    values |= {"gradients": [weight.grad for network in models for weight in network.parameters()], "losses": done.log[-1]}
    torch.save(values, f"{folder}/{name}-{rank}.pt")


if what == "compare":
    training.RunFolder._replace = written
    if "RANK" in os.environ:
        trained("one-step", steps=1)
        trained("twenty", steps=20)
        options["steps"] = 20
    else:
        trained("one-step", shares=2, steps=1)
if what == "killed" and rank == 1 and not restarts:
    step, calls = training.gan_step, []

    def fatal(*given):
        calls.append(None)
        if len(calls) == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*given)

    training.gan_step = fatal
if "RANK" in os.environ:
    training.main([f"--{name.replace('_', '-')}={value}" for name, value in options.items()] + [f"--out={folder}/run"])
"""
TWO = {"data": "rooms:24", "steps": 20, "batch": 8, "width": 4, "z_dim": 8, "ema": 0.5, "device": "cpu",
       "checkpoint_every": 5, "sheet_every": 50}  # fmt: skip


def start_worker(tmp_path, folder, what, processes, *more):
    """Starts WORKER under torchrun, or alone; returns it when it has ended."""
    (tmp_path / "worker.py").write_text(WORKER)
    folder.mkdir()
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *more]
    command += [str(tmp_path / "worker.py"), str(folder), what, json.dumps(TWO)]
    environment = {key: value for key, value in os.environ.items() if key != "RANK"} | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes computed, and one on the joint batch: the folders."""
    place = tmp_path_factory.mktemp("processes")
    for count in (1, 2):
        done = start_worker(place, place / str(count), "compare", count)
        assert done.returncode == 0, done.stderr
    return place / "1", place / "2"


def saved(folder, name, rank=0):
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=False)


def test_two_processes_have_the_gradients_of_one_on_the_joint_batch(two):
    """BatchNorm takes the statistics of each process's share, so the one process does the same: it computes the
    two shares apart and joins them before the loss. What is left is the order of the sums."""
    alone, together = two
    expected, first, second = saved(alone, "one-step"), saved(together, "one-step"), saved(together, "one-step", 1)
    assert len(expected["gradients"]) == 24 and same(first["gradients"], second["gradients"])
    for ours, theirs in zip(first["gradients"], expected["gradients"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()) + 1e-9)
        assert theirs.abs().max() > 0
    for name in ("d_loss", "g_loss", "d_real", "d_fake"):
        assert first["losses"][name] == second["losses"][name] == pytest.approx(expected["losses"][name], abs=2e-6)


def test_two_processes_have_the_same_weights_and_one_writes(two):
    _, together = two
    first, second = (saved(together, "twenty", rank) for rank in (0, 1))
    start = saved(together, "one-step")
    for part in ("generator", "discriminator", "ema"):
        assert same([w.data for w in first[part]], [w.data for w in second[part]])
        assert not same([w.data for w in first[part]], [w.data for w in start[part]])
    assert "checkpoint.pt" in (together / "writes-0.txt").read_text()
    assert not (together / "writes-1.txt").exists()


def test_a_killed_worker_is_started_again_and_the_run_ends_as_if_nothing_had_been(two, tmp_path):
    done = start_worker(tmp_path, tmp_path / "killed", "killed", 2, "--max-restarts=2")
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr and "another process of this run has ended" in done.stderr
    run, whole = tmp_path / "killed" / "run", two[1] / "run"
    assert training.read_checkpoint(run)["step"] == TWO["steps"] and steps_of(run) == [5, 10, 15, 20]
    assert same(learned(run), learned(whole))


def test_another_number_of_processes_goes_on_with_a_run(two, tmp_path):
    run = shutil.copytree(two[1] / "run", tmp_path / "run")
    before = training.read_checkpoint(run)
    training.main(["--resume", f"--out={run}", "--steps=22", "--threads=1"])
    after = training.read_checkpoint(run)
    assert after["step"] == 22 and steps_of(run) == [5, 10, 15, 20, 22]
    assert after["machine"]["precision"] == before["machine"]["precision"] == "fp32"
    assert not same(before["generator"], after["generator"])


# ---------------------------------------------------------------------------------------------------- faults


def test_the_command_ends_with_1_and_one_line(tmp_path):
    command = [sys.executable, "-m", "dcgan_book.training", "--data", "nowhere", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch("error: data 'nowhere' is neither a known name nor a folder that exists.*\n", done.stderr)
    assert not (tmp_path / "run").exists()


def test_data_that_is_not_there(tmp_path):
    assert "neither a known name nor a folder" in refusal("--data", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert "holds no images" in refusal("--data", tmp_path, "--out", tmp_path / "run")
    assert "rooms:N" in refusal("--data", "rooms:none", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    "flag, value, allowed",
    [
        ("width", 0, "at least 1"), ("batch", -1, "at least 1"), ("steps", 0, "at least 1"), ("limit", 0, "at least 1"),
        ("threads", 0, "at least 1"), ("sheet-every", 0, "at least 1"), ("beta1", 1.5, "under 1"),
        ("ema", 1, "under 1"), ("label-smoothing", -0.1, "at least 0"), ("lr-d", -1, "from 0 up"),
        ("lr-g", "nan", "from 0 up"), ("instance-noise", "inf", "from 0 up"), ("device", "abacus", "no device 'abacus'"),
    ],
)  # fmt: skip
def test_values_that_cannot_be(tmp_path, flag, value, allowed):
    message = refusal(f"--{flag}={value}", "--data=rooms:4", "--out", tmp_path)
    assert allowed in message and str(value) in message


def test_choices_are_checked_without_the_command_line_too():
    for name, value in {"prior": "cauchy", "kernel_size": 3, "precision": "fp8"}.items():
        with pytest.raises(TrainingError, match=f"{name} is {value!r}"):
            TrainConfig(**{name: value})


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


def test_a_run_older_than_an_option_goes_on(images, tmp_path):
    """Runs from before there was `size` do not have it in their checkpoints."""
    train(replace(TINY, steps=4), images, run=tmp_path)
    checkpoint = training.read_checkpoint(tmp_path)
    del checkpoint["config"]["size"]
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    assert train(replace(TINY, steps=5), images, run=tmp_path, resume=True).step == 5


def test_images_of_another_shape():
    for wrong in (np.zeros((4, 32, 32, 3), np.uint8), np.zeros((4, 64, 64, 3)), np.zeros((0, 64, 64, 3), np.uint8)):
        with pytest.raises(TrainingError, match=r"uint8 \(n, 64, 64, 3\) is needed"):
            train(TINY, wrong)


def test_a_run_is_neither_overwritten_nor_resumed_as_another(unbroken):
    config, run = unbroken
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert "already holds a run: add --resume" in refusal(*flags(config, run))
    for change in ({"width": 8}, {"seed": 1}, {"data": "rooms:25"}, {"ema": 0.5}, {"batch": 8}):
        (name, value), *_ = change.items()
        message = refusal(*flags(replace(config, **change), run), "--resume")
        assert f"trained with {name} {getattr(config, name)}, not {value}" in message
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_checkpoint_of_other_networks_or_images(images, unbroken):
    config, run = unbroken
    with pytest.raises(TrainingError, match="not of these networks: its generator does not fit") as fault:
        train(config, images, run=run, resume=True, models=pair(width=2))
    assert "\n" not in str(fault.value)
    with pytest.raises(TrainingError, match="trained on 24 images, these are 20"):
        train(config, images[:20], run=run, resume=True)


def test_a_run_that_has_no_checkpoint_says_so(tmp_path):
    assert "there is no checkpoint.pt in" in refusal("--resume", "--out", tmp_path)


def test_foreign_and_damaged_checkpoints(unbroken, tmp_path):
    whole = (unbroken[1] / "checkpoint.pt").read_bytes()
    checkpoint = training.read_checkpoint(unbroken[1])
    foreign = {
        "tutorial": Generator(4).state_dict(), "list": [1, 2], "tensor": torch.zeros(3),
        "unfinished": {name: value for name, value in checkpoint.items() if name != "optimiser_d"},
        "unknown option": checkpoint | {"config": {"depth": 3}},
    }  # fmt: skip
    path = tmp_path / "checkpoint.pt"
    for content in (b"", b"x", b"hello, world\n" * 50, bytes(5000), whole[:100], whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(content)
        assert "not a checkpoint of this trainer, or a damaged one" in refusal("--resume", "--out", tmp_path)
    for name, content in foreign.items():
        torch.save(content, path)
        assert "not a checkpoint of this trainer" in refusal("--resume", "--out", tmp_path), name


class Hostile:
    """Unpickled with `pickle.load` or `torch.load(..., weights_only=False)`, this runs a command."""

    def __init__(self, mark):
        self.command = f"echo executed > '{mark}'"

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_hostile_checkpoint_is_refused_and_nothing_in_it_runs(unbroken, tmp_path):
    whole, mark, path = training.read_checkpoint(unbroken[1]), tmp_path / "mark", tmp_path / "checkpoint.pt"
    hostile = Hostile(mark)
    os.system(hostile.command)
    assert mark.exists(), "the command does nothing: its absence would show nothing"
    mark.unlink()
    for content in (hostile, [hostile], whole | {"random": hostile}, whole | {"generator": {"weight": hostile}}):
        torch.save(content, path)
        assert "not a checkpoint of this trainer" in refusal("--resume", "--out", tmp_path)
        with pytest.raises(pretrained.PretrainedError, match="not a checkpoint of this trainer"):
            pretrained.load(tmp_path)
    for protocol in (0, 2, 5):
        path.write_bytes(pickle.dumps(whole["config"] | {"steps": hostile}, protocol))
        assert "not a checkpoint of this trainer" in refusal("--resume", "--out", tmp_path)
    assert not mark.exists()


def test_a_checkpoint_with_values_of_other_kinds(images, unbroken, tmp_path):
    config, run = unbroken
    whole = training.read_checkpoint(run)
    for name, value in {"step": "12", "seconds": None, "machine": [], "config": {"width": "4"}, "random": 3}.items():
        torch.save(whole | {name: value}, tmp_path / "checkpoint.pt")
        with pytest.raises(TrainingError, match="not a checkpoint of this trainer, or a damaged one"):
            train(config, images, run=tmp_path, resume=True)
    wrong = {
        "generator": Generator(8, 8).state_dict(), "discriminator": {"x": 1}, "ema": {}, "optimiser_g": {"state": 3},
        "optimiser_d": {}, "random": torch.zeros(3),
    }  # fmt: skip
    for name, value in wrong.items():
        torch.save(whole | {name: value}, tmp_path / "checkpoint.pt")
        with pytest.raises(TrainingError, match=f"not of these networks: its {name} does not fit") as fault:
            train(config, images, run=tmp_path, resume=True)
        assert "\n" not in str(fault.value)


@pytest.mark.parametrize("fault, says", [({"lr_d": 1e30}, "g_loss is nan"), ({"lr_g": 1e30}, "d_loss is nan")])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, fault, says):
    message = refusal(*flags(replace(TINY, **fault), tmp_path))
    assert re.search(f"{says} at step [12]: training stopped; no checkpoint had been written", message)


def test_the_last_good_checkpoint_outlives_a_bad_loss(images, tmp_path, monkeypatch):
    to_batch, batches = to_batch, []

    def spoiled(pixels):
        batches.append(to_batch(pixels))
        return batches[-1] * (float("nan") if len(batches) == 8 else 1)

    monkeypatch.setattr(training, "to_batch", spoiled)
    with pytest.raises(TrainingError, match="^d_loss is nan at step 8: .*; the checkpoint of step 5 in .* is intact$"):
        train(TINY, images, run=tmp_path)
    monkeypatch.undo()
    assert training.read_checkpoint(tmp_path)["step"] == 5
    assert train(TINY, images, run=tmp_path, resume=True).step == TINY.steps


def test_weights_that_are_no_numbers_are_not_saved(images, tmp_path):
    """At the last step, when no further loss would show it."""

    def spoil(progress):
        if progress.step == TINY.steps:
            next(progress.generator.parameters()).data[0, 1, 2, 3] = float("inf")

    with pytest.raises(TrainingError, match="weights of the generator are not finite at step 12: .* step 10 .* intact"):
        train(TINY, images, run=tmp_path, on_step=spoil)


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A folder, and what fills up its disk: a real one where we may mount it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if sys.platform == "linux" and subprocess.run(mount, capture_output=True).returncode == 0:

        def fill():
            with open(folder / "ballast", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))

        yield folder, fill
        subprocess.run(["umount", str(folder)], check=True)
    else:

        def no_space(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        yield folder, lambda: monkeypatch.setattr(training.os, "fsync", no_space)


def test_a_full_disk_leaves_the_last_checkpoint(images, small_disk):
    folder, fill = small_disk

    def full_after_8(progress):
        if progress.step == 8:
            fill()

    fault = "^cannot write to .*: no space is left; the checkpoint of step 5 in .* is intact$"
    with pytest.raises(TrainingError, match=fault):
        train(TINY, images, run=folder / "run", on_step=full_after_8)
    assert training.read_checkpoint(folder / "run")["step"] == 5
    assert not list((folder / "run").glob(".*"))


@pytest.fixture
def locked(unbroken):
    """A folder with a run in it that may be read and not written. Root, who may everything, steps aside."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(unbroken[1], folder / "run")
    for path in (folder / "run", folder):
        path.chmod(0o555)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    for path in (folder, folder / "run"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows locks folders otherwise")
def test_a_folder_that_may_not_be_written_or_read(images, unbroken, locked):
    config, _ = unbroken
    before = learned(locked / "run")
    message = refusal(*flags(TINY, locked / "new"))
    assert message.startswith(f"error: cannot write to {locked / 'new'}") and "Permission denied" in message
    later = replace(config, steps=config.steps + 5)
    message = refusal(*flags(later, locked / "run"), "--resume")
    assert "Permission denied" in message and f"the checkpoint of step {config.steps} in {locked / 'run'} is intact" in message
    assert same(learned(locked / "run"), before)


@pytest.mark.skipif(os.name == "nt", reason="Windows locks files otherwise")
def test_a_checkpoint_that_may_not_be_read(locked):
    back = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    path = locked / "run" / "checkpoint.pt"
    path.chmod(0)
    os.seteuid(back)
    assert re.search("cannot read .*checkpoint.pt: Permission denied", refusal("--resume", "--out", locked / "run"))


def test_ctrl_c_before_the_first_step(monkeypatch):
    """While images are drawn or decoded there is nothing to save, and it ends at once."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", interrupted)
    with pytest.raises(SystemExit) as end:
        training.main(["--data=rooms:24"])
    assert end.value.code == 130


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert f"cannot write to {tmp_path / 'file'}" in refusal("--data=rooms:4", "--out", tmp_path / "file")


# ------------------------------------------------------------------------------------------------ the machine


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as end:
        training.main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for name in (*asdict(TrainConfig()), "out", "resume", "benchmark"):
        assert f"--{name.replace('_', '-')}" in text
    assert "None" not in text


def test_the_benchmark_prints_both_rates_their_ratio_and_where_the_time_goes(capsys):
    training.main(["--benchmark", "--width=4", "--batch=8", "--device=cpu", "--precision=fp32"])
    found = re.search(
        r"plain loop, fp32: ([\d.]+) images/s\nours, fp32: ([\d.]+) images/s\nratio: ([\d.]+) \(medians of 5.*\n"
        r"our step: G (\d+)%, D (\d+)%, optimisers (\d+)%, data \d+% .*\narithmetic: \d+% of",
        capsys.readouterr().out,
    )
    plain, ours, ratio, *shares = map(float, found.groups())
    assert plain > 0 and ratio == pytest.approx(ours / plain, abs=0.03)
    assert sum(shares) == pytest.approx(100, abs=2) and min(shares) > 0


def test_the_benchmark_takes_both_widths_unless_told(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "benchmark", lambda config: seen.append((config.width, config.batch)))
    training.main(["--benchmark", "--batch=8"])
    training.main(["--benchmark", "--width=7"])
    assert seen == [(64, 8), (128, 8), (7, 128)]


def test_watching_a_step_changes_nothing_in_it():
    results = []
    for step in (training.gan_step, functools.partial(training._watched, time.perf_counter, parts := {"G": 0.0, "D": 0.0, "optimisers": 0.0})):
        networks, random = pair(), torch.Generator().manual_seed(1)
        adams = [training.adam(network, 2e-4) for network in networks]
        for _ in range(2):
            losses = step(*networks, *adams, torch.rand(6, 3, 64, 64, generator=random), draw_z(6, 8, generator=random))
        results.append([weights(network) for network in networks] + [losses])
        assert not any(adam._optimizer_step_pre_hooks or adam._optimizer_step_post_hooks for adam in adams)
    assert same(*results) and min(parts.values()) > 0


def test_the_probe_chooses_and_says(capsys):
    chosen = training.choose_precision("auto", torch.device("cpu"), width=4, say=True)
    assert chosen in training.PRECISIONS
    assert re.match(rf"training in {chosen}: on this cpu, a step on 32 images takes ", capsys.readouterr().out)
    assert training.choose_precision("bf16", torch.device("cpu")) == "bf16"


@pytest.mark.parametrize(
    "seconds, chosen",
    [
        ({"fp32": 3, "winograd": 2, "bf16": 1}, "bf16"),
        ({"fp32": 3, "winograd": 2, "bf16": 8}, "winograd"),
        ({"fp32": 1, "winograd": 2, "bf16": 100}, "fp32"),
        ({"fp32": 3, "winograd": 2}, "winograd"),
    ],
)
def test_the_probe_takes_the_fastest_that_is_there(monkeypatch, seconds, chosen):
    tried = []

    def trial(_, precision, width, __):
        tried.append((precision, width))
        if precision not in seconds:
            raise RuntimeError("no such type on this device")
        return seconds[precision]

    monkeypatch.setattr(training, "_time_steps", trial)
    assert training.choose_precision("auto", torch.device("cpu")) == chosen
    if seconds.get("bf16", 100) >= 9:
        assert ("bf16", 64) not in tried, "a full trial of what is emulated takes minutes"


@pytest.mark.parametrize("precision", training.PRECISIONS)
def test_networks_compute_as_before_after_any_precision(monkeypatch, precision):
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 1)
    networks = [network.eval() for network in pair()]
    kinds = [type(layer) for network in networks for layer in network.modules()]
    z = draw_z(2, 8, generator=torch.Generator().manual_seed(0))
    before = networks[1](networks[0](z))
    with training.computing(precision, torch.device("cpu"), *networks) as context:
        with context:
            inside = networks[1](networks[0](z))
        swapped = [type(layer) for network in networks for layer in network.modules()] != kinds
    assert swapped == (precision == "winograd")
    assert inside.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    torch.testing.assert_close(inside.float(), before, rtol=0.05, atol=1e-3)
    assert [type(layer) for network in networks for layer in network.modules()] == kinds
    assert torch.equal(networks[1](networks[0](z)), before)


def test_every_precision_trains(images):
    for precision in training.PRECISIONS:
        trained = train(replace(TINY, steps=2, precision=precision), images)
        for weight in trained.generator.parameters():
            assert weight.dtype == torch.float32 and weight.isfinite().all()


@pytest.mark.parametrize(
    "spec, name",
    [("rooms", "rooms"), ("rooms:12", "rooms"), ("faces:9", "faces"), ("lsun:a/b", "lsun"), ("a/photos/", "photos")],
)
def test_a_run_is_called_after_its_data(spec, name):
    assert training._kind(spec) == name


def test_a_run_on_this_folder_is_called_after_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert training._kind(".") == tmp_path.name
