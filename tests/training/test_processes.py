"""Several processes train as one."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from tiny import learned, same, steps_of

from dcgan_book import training
from dcgan_book.training.__main__ import main

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="PyTorch for Windows has no libuv, which torchrun needs"
)

WORKER = """
import dataclasses, functools, json, os, signal, sys
import torch
from dcgan_book import training
from dcgan_book.training import __main__ as command, data, loop, runs
from dcgan_book.models import Discriminator, Generator, initialise

rank, restarts = int(os.environ.get("RANK", 0)), int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
folder, what, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
config = training.TrainConfig(**options)
loop.choose_precision = lambda *_, **__: ["fp32", "bf16"][rank]  # as a probe may, on a busy machine


def written(self, name, content, replace=runs.RunFolder._replace):
    with open(f"{folder}/writes-{rank}.txt", "a", encoding="utf-8") as file:
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
    images = data.load(config.data, progress=False).images
    done = training.train(dataclasses.replace(config, **more), images, models=models, progress=False)
    parts = {"generator": done.generator, "discriminator": done.discriminator, "ema": done.ema}
    values = {part: list(network.parameters()) for part, network in parts.items()}
    values |= {"gradients": [weight.grad for network in models for weight in network.parameters()], "losses": done.log[-1]}
    torch.save(values, f"{folder}/{name}-{rank}.pt")


if what == "compare":
    runs.RunFolder._replace = written
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

    command.train = functools.partial(training.train, step=fatal)
if "RANK" in os.environ:
    command.main([f"--{name.replace('_', '-')}={value}" for name, value in options.items()] + [f"--out={folder}/run"])
"""


TWO = {"data": "rooms:24", "steps": 20, "batch": 8, "width": 4, "z_dim": 8, "ema": 0.5, "device": "cpu",
       "checkpoint_every": 5, "sheet_every": 50}  # fmt: skip


def start_worker(tmp_path, folder, what, processes, *more):
    """Starts WORKER under torchrun, or alone; returns it when it has ended."""
    (tmp_path / "worker.py").write_text(WORKER, encoding="utf-8")
    folder.mkdir()
    command = [sys.executable]
    if processes > 1:
        command += [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            *more,
        ]
    command += [str(tmp_path / "worker.py"), str(folder), what, json.dumps(TWO)]
    environment = {key: value for key, value in os.environ.items() if key != "RANK"} | {
        "OMP_NUM_THREADS": "1"
    }
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
    expected, first, second = (
        saved(alone, "one-step"),
        saved(together, "one-step"),
        saved(together, "one-step", 1),
    )
    assert len(expected["gradients"]) == 24 and same(first["gradients"], second["gradients"])
    for ours, theirs in zip(first["gradients"], expected["gradients"], strict=True):
        torch.testing.assert_close(
            ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()) + 1e-9
        )
        assert theirs.abs().max() > 0
    for name in ("d_loss", "g_loss", "d_real", "d_fake"):
        assert (
            first["losses"][name]
            == second["losses"][name]
            == pytest.approx(expected["losses"][name], abs=2e-6)
        )


def test_two_processes_have_the_same_weights_and_one_writes(two):
    _, together = two
    first, second = (saved(together, "twenty", rank) for rank in (0, 1))
    start = saved(together, "one-step")
    for part in ("generator", "discriminator", "ema"):
        assert same([w.data for w in first[part]], [w.data for w in second[part]])
        assert not same([w.data for w in first[part]], [w.data for w in start[part]])
    assert "checkpoint.pt" in (together / "writes-0.txt").read_text(encoding="utf-8")
    assert not (together / "writes-1.txt").exists()


def test_a_killed_worker_is_started_again_and_the_run_ends_as_if_nothing_had_been(two, tmp_path):
    done = start_worker(tmp_path, tmp_path / "killed", "killed", 2, "--max-restarts=2")
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr and "another process of this run has ended" in done.stderr
    run, whole = tmp_path / "killed" / "run", two[1] / "run"
    assert training.read_checkpoint(run)["step"] == TWO["steps"] and steps_of(run) == [
        5,
        10,
        15,
        20,
    ]
    assert same(learned(run), learned(whole))


def test_another_number_of_processes_goes_on_with_a_run(two, tmp_path):
    run = shutil.copytree(two[1] / "run", tmp_path / "run")
    before = training.read_checkpoint(run)
    main(["--resume", f"--out={run}", "--steps=22", "--threads=1"])
    after = training.read_checkpoint(run)
    assert after["step"] == 22 and steps_of(run) == [5, 10, 15, 20, 22]
    assert after["machine"]["precision"] == before["machine"]["precision"] == "fp32"
    assert not same(before["generator"], after["generator"])
