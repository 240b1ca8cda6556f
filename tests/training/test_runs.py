"""A run on disk: what is resumed, what is refused, and what a fault leaves whole."""

import errno
import functools
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, flags, learned, pair, refusal, same, train, weights

from dcgan_book import pretrained, training
from dcgan_book.models import Generator
from dcgan_book.training import __main__ as command
from dcgan_book.training import data, duplicates, loop
from dcgan_book.training.__main__ import main
from dcgan_book.training.recipe import TrainingError


def test_a_run_older_than_an_option_goes_on(images, tmp_path):
    """Runs from before there was `size` do not have it in their checkpoints."""
    train(replace(TINY, steps=4), images, run=tmp_path)
    checkpoint = training.read_checkpoint(tmp_path)
    del checkpoint["config"]["size"]
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    assert train(replace(TINY, steps=5), images, run=tmp_path, resume=True).step == 5


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
    with pytest.raises(
        TrainingError, match="not of these networks: its generator does not fit"
    ) as fault:
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
    for content in (
        b"",
        b"x",
        b"hello, world\n" * 50,
        bytes(5000),
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-10],
    ):
        path.write_bytes(content)
        assert "not a checkpoint of this trainer, or a damaged one" in refusal(
            "--resume", "--out", tmp_path
        )
    for name, content in foreign.items():
        torch.save(content, path)
        assert "not a checkpoint of this trainer" in refusal("--resume", "--out", tmp_path), name


class Hostile:
    """Unpickled with `pickle.load` or `torch.load(..., weights_only=False)`, this runs a command."""

    def __init__(self, mark):
        self.command = f'echo executed > "{mark}"'

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_hostile_checkpoint_is_refused_and_nothing_in_it_runs(unbroken, tmp_path):
    whole, mark, path = (
        training.read_checkpoint(unbroken[1]),
        tmp_path / "mark",
        tmp_path / "checkpoint.pt",
    )
    hostile = Hostile(mark)
    os.system(hostile.command)
    assert mark.exists(), "the command does nothing: its absence would show nothing"
    mark.unlink()
    for content in (
        hostile,
        [hostile],
        whole | {"random": hostile},
        whole | {"generator": {"weight": hostile}},
    ):
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
    for name, value in {
        "step": "12",
        "seconds": None,
        "machine": [],
        "config": {"width": "4"},
        "random": 3,
    }.items():
        torch.save(whole | {name: value}, tmp_path / "checkpoint.pt")
        with pytest.raises(
            TrainingError, match="not a checkpoint of this trainer, or a damaged one"
        ):
            train(config, images, run=tmp_path, resume=True)
    wrong = {
        "generator": Generator(8, 8).state_dict(), "discriminator": {"x": 1}, "ema": {}, "optimiser_g": {"state": 3},
        "optimiser_d": {}, "random": torch.zeros(3),
    }  # fmt: skip
    for name, value in wrong.items():
        torch.save(whole | {name: value}, tmp_path / "checkpoint.pt")
        with pytest.raises(
            TrainingError, match=f"not of these networks: its {name} does not fit"
        ) as fault:
            train(config, images, run=tmp_path, resume=True)
        assert "\n" not in str(fault.value)


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A folder, and what fills up its disk: a real one where we may mount it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if sys.platform == "linux" and subprocess.run(mount, capture_output=True).returncode == 0:

        def fill():
            with (
                open(folder / "ballast", "wb", buffering=0) as file,
                pytest.raises(OSError, match="No space"),
            ):
                while True:
                    file.write(bytes(4096))

        yield folder, fill
        subprocess.run(["umount", str(folder)], check=True)
    else:

        def no_space(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        yield folder, lambda: monkeypatch.setattr(os, "fsync", no_space)


def test_a_full_disk_leaves_the_last_checkpoint(images, small_disk):
    folder, fill = small_disk

    def full_after_8(progress):
        if progress.step == 8:
            fill()

    fault = "^cannot write to .*: no space is left; the checkpoint of step 5 in .* is intact$"
    with pytest.raises(TrainingError, match=fault):
        train(TINY, images, run=folder / "run", on_step=full_after_8)
    assert training.read_checkpoint(folder / "run")["step"] == 5
    assert [path.name for path in (folder / "run").glob(".*")] == [".lock"]


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
    assert (
        message.startswith(f"error: cannot write to {locked / 'new'}")
        and "Permission denied" in message
    )
    later = replace(config, steps=config.steps + 5)
    message = refusal(*flags(later, locked / "run"), "--resume")
    assert (
        "Permission denied" in message
        and f"the checkpoint of step {config.steps} in {locked / 'run'} is intact" in message
    )
    assert same(learned(locked / "run"), before)


@pytest.mark.skipif(os.name == "nt", reason="Windows locks files otherwise")
def test_a_checkpoint_that_may_not_be_read(locked):
    back = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    path = locked / "run" / "checkpoint.pt"
    path.chmod(0)
    os.seteuid(back)
    assert re.search(
        "cannot read .*checkpoint.pt: Permission denied",
        refusal("--resume", "--out", locked / "run"),
    )


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert f"cannot write to {tmp_path / 'file'}" in refusal(
        "--data=rooms:4", "--out", tmp_path / "file"
    )


def test_fewer_steps_than_the_checkpoint_has_are_refused_and_nothing_is_written(images, unbroken):
    config, run = unbroken
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    message = refusal(*flags(replace(config, steps=29), run), "--resume")
    assert "is of step 30, and 29 steps were asked for: give as many or more" in message
    models = pair()
    first = weights(models[0]) + weights(models[1])
    with pytest.raises(TrainingError, match="29 steps were asked for"):
        train(replace(config, steps=29), images, run=run, resume=True, models=models)
    assert same(weights(models[0]) + weights(models[1]), first), (
        "networks of the caller took on the checkpoint"
    )
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_resuming_a_finished_run_says_so_and_changes_nothing(unbroken, tmp_path, capsys):
    config, whole = unbroken
    run = shutil.copytree(whole, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    main([*flags(config, run), "--resume"])
    assert (
        f"the run in {run} already has its 30 steps; a larger number goes on"
        in capsys.readouterr().out
    )
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_with_falling_rates_is_resumed_with_its_own_number_of_steps(images, tmp_path):
    config = replace(TINY, steps=6, decay_from=0.5)
    train(config, images, run=tmp_path, on_step=lambda progress: progress.step == 4)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    message = refusal(*flags(replace(config, steps=9), tmp_path), "--resume")
    assert "was trained with steps 6, not 9" in message
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train(config, images, run=tmp_path, resume=True).step == 6


@pytest.mark.parametrize("asked", ["winograd", "auto"])
def test_an_old_run_in_winograd_goes_on_as_fp32(images, tmp_path, monkeypatch, asked):
    """Older runs have that word as the precision asked for, or, with auto, as what the machine chose."""
    train(replace(TINY, steps=4), images, run=tmp_path)
    checkpoint = training.read_checkpoint(tmp_path)
    checkpoint["config"]["precision"] = asked
    checkpoint["machine"]["precision"] = "winograd"
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    monkeypatch.setattr(loop, "choose_precision", lambda name, *_, **__: {"fp32": "fp32"}[name])
    main(["--resume", f"--out={tmp_path}", "--steps=5"])
    resumed = training.read_checkpoint(tmp_path)
    assert resumed["step"] == 5 and resumed["machine"]["precision"] == "fp32"
    assert resumed["config"]["precision"] == {"winograd": "fp32", "auto": "auto"}[asked]


# --------------------------------------------------------------------- one training at a time, the same images


def test_a_second_training_into_a_folder_is_refused_and_the_first_goes_on(
    images, unbroken, tmp_path
):
    """By the command or by `train`, anew or resumed, into the folder by whatever name."""
    config = replace(TINY, steps=6, checkpoint_every=2)
    (tmp_path / "other").mkdir()
    said = []

    def meanwhile(progress):
        if progress.step == 1:
            for out in (tmp_path / "run", tmp_path / "other" / ".." / "run"):
                said.append(refusal(*flags(config, out)))
        if progress.step == 3:
            for resume in (False, True):
                with pytest.raises(TrainingError) as fault:
                    train(replace(config, seed=1), images, run=tmp_path / "run", resume=resume)
                said.append(str(fault.value))

    train(config, images, run=tmp_path / "run", on_step=meanwhile)
    assert len(said) == 4 and all("another training is writing into" in each for each in said)
    train(config, images, run=tmp_path / "alone")
    assert same(learned(tmp_path / "run"), learned(tmp_path / "alone"))
    assert training.read_checkpoint(tmp_path / "run")["config"]["seed"] == config.seed


def test_the_folder_is_free_after_an_error_whose_traceback_is_kept(images, tmp_path):
    """As in a notebook, which keeps the last one."""

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as first:
        train(TINY, images, run=tmp_path, on_step=interrupt)
    with pytest.raises(TrainingError, match="there is no checkpoint.pt") as second:
        train(TINY, images, run=tmp_path, resume=True)
    assert train(replace(TINY, steps=2), images, run=tmp_path).step == 2
    assert first.value.__traceback__ and second.value.__traceback__


@pytest.fixture
def pictures(images, tmp_path, monkeypatch):
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path / "cache"))
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "train", functools.partial(training.train, recalibration=128))
    (tmp_path / "pics").mkdir()
    for i in range(12):
        Image.fromarray(images[i]).save(tmp_path / "pics" / f"{i:02}.png")
    return tmp_path / "pics"


@pytest.mark.parametrize(
    "spelled", ["pics/", "./pics", "~/pics", "{tmp}/pics", "moved", "pics.npy", "copy", None]
)
def test_the_same_images_are_gone_on_with_wherever_they_are(pictures, spelled):
    config = replace(TINY, data="pics", steps=3)
    main(flags(config, "run"))
    if spelled == "moved":
        pictures.rename(pictures.parent / "moved")
    elif spelled == "copy":
        shutil.copytree(pictures, pictures.parent / "copy")
    elif spelled == "pics.npy":
        np.save("pics.npy", np.array(data.load("pics", progress=False).images))
    named = [f"--data={spelled.format(tmp=pictures.parent)}"] if spelled else []
    main(["--resume", "--out=run", "--steps=5", *named])
    assert training.read_checkpoint("run")["step"] == 5
    main(flags(replace(config, steps=5), "whole") if spelled != "moved" else
         flags(replace(config, steps=5, data="moved"), "whole"))  # fmt: skip
    assert same(learned("run"), learned("whole"))


@pytest.mark.parametrize("change", ["another picture", "one more", "one fewer", "other order"])
def test_other_images_are_refused_by_the_same_name(pictures, change):
    config = replace(TINY, data="pics", steps=2)
    main(flags(config, "run"))
    if change == "one fewer":
        (pictures / "03.png").unlink()
    elif change == "other order":
        (pictures / "03.png").rename(pictures / "zz.png")
    else:
        name = "03.png" if change == "another picture" else "99.png"
        Image.new("RGB", (64, 64), "red").save(pictures / name)
    message = refusal("--resume", "--out=run", "--steps=4")
    assert re.search("was trained on 12 images, these are (13|11|12 others)", message)


def test_images_that_have_moved_are_asked_for(pictures):
    main(flags(replace(TINY, data="pics", steps=2), "run"))
    pictures.rename(pictures.parent / "moved")
    assert "where the run's images have moved, add --data" in refusal("--resume", "--out=run")


@pytest.mark.parametrize("spelled", ["pics/", "~/pics", "moved"])
def test_a_run_of_an_older_version_has_no_fingerprint(pictures, spelled):
    """It goes on with the same folder, however spelled; of another one nobody can tell."""
    main(flags(replace(TINY, data="pics", steps=2), "run"))
    checkpoint = training.read_checkpoint("run")
    del checkpoint["fingerprint"]
    for field in ("watch_every", "keep_best"):
        del checkpoint["config"][field]
    torch.save(checkpoint, "run/checkpoint.pt")
    again = ["--resume", "--out=run", "--steps=4", f"--data={spelled}"]
    if spelled == "moved":
        pictures.rename(pictures.parent / "moved")
        assert "was trained with data pics, not moved" in refusal(*again)
    else:
        main(again)
        assert "fingerprint" in training.read_checkpoint("run")


def test_a_run_among_its_own_images_trains_on_none_of_its_sheets(pictures):
    config = replace(TINY, data="pics", steps=3)
    main(flags(config, "pics/runs/mine"))
    main(["--resume", "--out=pics/runs/mine", "--steps=5"])
    assert training.read_checkpoint("pics/runs/mine")["count"] == 12
    for out in ("pics", "pics/../pics", "~/pics"):
        assert "is the folder of the images: choose another --out" in refusal(*flags(config, out))
    assert not (pictures / "checkpoint.pt").exists()


def test_a_tilde_is_the_home_folder_wherever_a_run_is_named(pictures, monkeypatch):
    config = replace(TINY, data="~/pics", steps=2)
    main(flags(config, "~/runs/a"))
    train(config, data.load("~/pics", progress=False).images, run="~/runs/b")
    for run in ("a", "b"):
        assert training.read_checkpoint(f"~/runs/{run}")["step"] == 2
        assert training.read_log(f"~/runs/{run}") and training.sheets(f"~/runs/{run}")
        assert (pictures.parent / "runs" / run / "checkpoint.pt").exists()
    np.save("pics.npy", np.zeros((2, 64, 64, 3), np.uint8))
    assert len(data.load("~/pics.npy", progress=False).images) == 2
    monkeypatch.setattr(duplicates, "find", lambda *_, **__: np.array([0]))
    duplicates.main(["--data=~/pics", "--out=~/unique.npy"])
    assert (pictures.parent / "unique.npy").exists() and not Path("~").exists()
