"""The command line: its flags, its ends, and kills that lose nothing."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
from tiny import REMEDIES, TINY, flags, learned, refusal, same, steps_of, train

from dcgan_book import training
from dcgan_book.training import data
from dcgan_book.training.__main__ import _kind, _parser, _translated, main
from dcgan_book.training.recipe import TrainConfig


def test_each_flag_is_the_field_of_its_name(tmp_path):
    given = replace(
        TINY,
        limit=9,
        size=32,
        seed=3,
        prior="normal",
        kernel_size=5,
        lr_d=1e-4,
        lr_g=3e-4,
        beta1=0.9,
        sheet_every=7,
        r1=0.5,
        r1_every=4,
        relativistic=True,
        decay_from=0.5,
        watch_every=9,
        keep_best=True,
        **REMEDIES,
    )
    options = vars(_parser().parse_args(flags(given, tmp_path)))
    assert options.pop("out") == str(tmp_path) and TrainConfig(**options) == given
    assert set(options) == set(asdict(given))


def launch(config, out, *more):
    command = [sys.executable, "-m", "dcgan_book.training", *flags(config, out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_step(process, run, step):
    """Waits until the log of a running command has `step`."""
    log, latest = run / "log.jsonl", re.compile(r'"step": (\d+)')
    deadline = time.monotonic() + 120
    while not (
        log.exists()
        and max(map(int, latest.findall(log.read_text(encoding="utf-8"))), default=0) >= step
    ):
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
        assert process.returncode == (1 if os.name == "nt" else -signal.SIGKILL)
        lost = max(steps_of(tmp_path)) - training.read_checkpoint(tmp_path)["step"]
        assert lost <= config.checkpoint_every, (
            "more was lost than the steps since the last checkpoint"
        )
        resume = ("--resume",)
    main([*flags(config, tmp_path), "--resume"])
    assert same(learned(tmp_path), learned(whole))
    assert steps_of(tmp_path) == [5, 10, 15, 20, 25, 30]
    assert not list(tmp_path.glob(".*.new")), "half-written files are left"


KILLS = """
import contextlib, functools, os, random, re, signal, sys, time
from pathlib import Path
from dcgan_book import training
from dcgan_book.training import __main__ as command

run, arguments, chance = Path(sys.argv[1]), sys.argv[2:], random.Random(0)
command.train = functools.partial(training.train, recalibration=128)  # sheets are not looked at
training.RunFolder.write_curves = lambda self: None  # only a picture, and slow
resumed, longest = [], 0


def latest():
    log = run / "log.jsonl"
    steps = re.findall(r'"step": (\\d+)', log.read_text(encoding="utf-8")) if log.exists() else []
    return max(map(int, steps), default=0)


for kill in range(20):
    there = (run / "checkpoint.pt").exists()
    resumed.append(there)
    began = training.read_checkpoint(run)["step"] if there else 0
    child = os.fork()
    if not child:
        with contextlib.redirect_stderr(open(os.devnull, "w", encoding="utf-8")):
            command.main(arguments + ["--resume"] * there)
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
command.main([*arguments, "--resume"])
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
    # nearly always; resumed with nothing but the folder, and as long as the other
    if step < config.steps:
        main(["--resume", f"--out={tmp_path}", f"--steps={config.steps}", "--checkpoint-every=3"])
        assert same(learned(tmp_path), learned(whole))


def test_the_command_ends_with_1_and_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "dcgan_book.training",
        "--data",
        "nowhere",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(
        "error: data 'nowhere' is neither a known name nor a folder that exists.*\n", done.stderr
    )
    assert not (tmp_path / "run").exists()


def test_data_that_is_not_there(tmp_path):
    assert "neither a known name nor a folder" in refusal(
        "--data", tmp_path / "nowhere", "--out", tmp_path / "run"
    )
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


def test_ctrl_c_before_the_first_step(monkeypatch):
    """While images are drawn or decoded there is nothing to save, and it ends at once."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["--data=rooms:24"])
    assert end.value.code == 130


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for name in (*asdict(TrainConfig()), "out", "resume"):
        assert f"--{name.replace('_', '-')}" in text
    assert "None" not in text


@pytest.mark.parametrize(
    "spec, name",
    [
        ("rooms", "rooms"),
        ("rooms:12", "rooms"),
        ("faces:9", "faces"),
        ("lsun:a/b", "lsun"),
        ("a/photos/", "photos"),
    ],
)
def test_a_run_is_called_after_its_data(spec, name):
    assert _kind(spec) == name


def test_a_run_on_this_folder_is_called_after_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _kind(".") == tmp_path.name


# --------------------------------------------------------------------- the flags of pytorch/examples' dcgan


def translated(*given):
    return _translated(vars(_parser().parse_args(given)), False)


@pytest.mark.parametrize("theirs, ours", [
    ("--dataset folder --dataroot pics", {"data": "pics"}), ("--dataset lsun --dataroot lsun", {"data": "lsun:lsun"}),
    ("--dataroot pics --batchSize 16", {"data": "pics", "batch": 16}), ("--imageSize 128", {"size": 128}),
    ("--nz 64", {"z_dim": 64}), ("--ngf 32", {"width": 32}), ("--ngf 32 --ndf 32", {"width": 32}),
    ("--ndf 16", {"width": 16}), ("--lr 0.0001 --beta1 0.4", {"lr_d": 1e-4, "lr_g": 1e-4, "beta1": 0.4}),
    ("--cuda", {"device": "cuda"}), ("--mps", {"device": "mps"}), ("--workers 8", {}), ("--ngpu 1", {}),
    ("--outf runs/a", {"out": "runs/a"}), ("--manualSeed 3", {"seed": 3}), ("--dry-run", {"steps": 1}),
    ("--dataset imagenet --dataroot a --cuda --resume", {"data": "a", "device": "cuda", "resume": True})])  # fmt: skip
def test_the_flags_of_pytorchs_example_are_understood(theirs, ours):
    assert translated(*theirs.split()) == (ours, None)


def test_epochs_are_counted_in_the_steps_of_these_images(tmp_path, capsys):
    main(["--dataroot", "rooms:24", "--niter", "2", "--batchSize", "5", "--ngf", "4", "--nz", "8",
          "--outf", str(tmp_path), "--device=cpu", "--precision=fp32", "--threads=1"])  # fmt: skip
    said = capsys.readouterr().out
    assert "understood as --data rooms:24 --batch 5 --z-dim 8 --width 4 --out" in said
    assert "theirs is --prior normal" in said and "2 epochs of 24 images: --steps 10" in said
    checkpoint = training.read_checkpoint(tmp_path)
    assert checkpoint["step"] == 10 and checkpoint["config"]["width"] == 4


@pytest.mark.parametrize("theirs, answer", [
    ("--netG netG.pth", "--resume"), ("--netD netD.pth", "models=(G, D)"), ("--ngpu 2", "torchrun"),
    ("--classes bedroom", "lsun:PATH:category"), ("--dataset cifar10", "give a folder of its images"),
    ("--dataset mnist --dataroot a", "give a folder"), ("--ngf 64 --ndf 32", "one width"),
    ("--width 32 --ndf 16", "one width"), ("--dataroot a --data b", "twice"), ("--outf a --out b", "twice")])  # fmt: skip
def test_flags_without_a_counterpart_are_answered_with_ours(theirs, answer):
    assert answer in refusal(*theirs.split())
