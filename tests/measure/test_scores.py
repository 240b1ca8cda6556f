"""The scores on a model card, of generators that have learned nothing."""

import json

import pytest
import torch
from measure_helpers import random
from safetensors.torch import save_file

from dcgan_book import measure, pretrained
from dcgan_book.latents import recalibrate
from dcgan_book.measure.__main__ import main
from dcgan_book.measure.reading import MeasureError
from dcgan_book.models import Generator, initialise
from dcgan_book.worlds import rooms


def exported(folder, data="rooms", count=60):
    """A generator that has learned nothing, in a folder as `pretrained.export` writes it."""
    generator = recalibrate(initialise(Generator(4, 8), random()), count=128)
    save_file({name: value.contiguous() for name, value in generator.state_dict().items()
               if not name.endswith("tracked")}, folder / "generator.safetensors")  # fmt: skip
    card = {"name": "made", "data": {"name": data, "images": count}, "prior": "uniform", "steps": 1}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return card


def test_scores_are_written_into_the_card(tmp_path):
    card = exported(tmp_path)
    assert main([str(tmp_path), "--samples", "150", "--held-out", "300"]) is None
    written = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    scores = written.pop("scores")
    assert written == card
    assert scores["samples"] == 150 and set(scores["objects"]) == set(rooms.OBJECTS)
    for value in (
        *scores["objects"].values(),
        scores["frechet"],
        scores["diversity"]["near_identical"],
    ):
        assert value["low"] <= value["value"] <= value["high"]
    assert (
        scores["objects"]["window"]["world"] == 0.6 and scores["objects"]["curtain"]["world"] == 0.3
    )
    assert scores["objects"]["bed"]["value"] < 0.1
    assert scores["frechet"]["value"] > 5 * scores["frechet"]["floor"]["value"]
    # an untrained generator shows one grey picture
    assert scores["diversity"]["near_identical"]["value"] > 0.5
    assert set(scores["memorisation"]) == {"features", "pixels"}
    assert scores["memorisation"]["features"]["training"] == 60
    assert set(scores["memorisation"]["features"]["power"]) == {"0.01", "0.02", "0.05"}
    assert (
        scores["chessboard"]["low"] > 100
    )  # the grid of strided layers, which nothing has taught away


def test_scores_stand_with_the_weights_that_were_scored(tmp_path, monkeypatch):
    """Weights that the environment names in the place of the shipped ones leave the shipped card alone."""
    shipped, own = tmp_path / "shipped" / "rooms", tmp_path / "own"
    for folder in (shipped, own):
        folder.mkdir(parents=True)
        exported(folder)
    monkeypatch.setattr(pretrained, "WEIGHTS", shipped.parent)
    monkeypatch.setenv("DCGAN_BOOK_ROOMS", str(own))
    before = (shipped / "card.json").read_bytes()
    found = measure.score("rooms", n=20, held_out=40, progress=False)
    assert (shipped / "card.json").read_bytes() == before
    written = json.loads((own / "card.json").read_text(encoding="utf-8"))["scores"]
    assert written == {"command": "python -m dcgan_book.measure own"} | found


def test_a_run_has_no_card_to_write_scores_into(tmp_path, monkeypatch):
    card = {"data": {"name": "rooms", "images": 8}, "prior": "uniform"}
    run = pretrained.Pretrained(None, None, card, [], folder=tmp_path / "run")
    monkeypatch.setattr(pretrained, "load", lambda *_: run)
    with pytest.raises(MeasureError, match="run is a run and has no card: export it first"):
        measure.score("rooms")


def test_the_command_line_says_what_is_wrong_in_a_line():
    with pytest.raises(SystemExit, match="error: there are no weights called 'nothing'"):
        main(["nothing"])


def test_scores_need_rooms_and_a_card(tmp_path):
    exported(tmp_path, data="celeba")
    with pytest.raises(MeasureError, match="trained on celeba: only rooms and faces"):
        measure.score(str(tmp_path))
    with pytest.raises(ValueError, match="two sets of as many real images"):
        measure.scores(Generator(4, 8), None, n=100, held_out=150)


def test_samples_start_alike_and_follow_from_the_seed():
    generator = recalibrate(initialise(Generator(4, 8), random()), count=128)
    many = measure.sample(generator, 300, seed=3)
    torch.testing.assert_close(measure.sample(generator, 20, seed=3), many[:20])
    assert not torch.allclose(measure.sample(generator, 20, seed=4), many[:20])


def test_weights_that_stand_in_for_faces_are_compared_with_faces(tmp_path, monkeypatch):
    """Whatever they learned from; and with nobody in glasses, their style is left out."""
    exported(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "card.json").write_text(
        json.dumps(card | {"scores": {"of": "rooms"}}), encoding="utf-8"
    )
    assert measure.scores_of(pretrained.load(tmp_path)) == {"of": "rooms"}
    monkeypatch.setenv("DCGAN_BOOK_FACES", str(tmp_path))
    rates = measure.scores_of(pretrained.load("faces"), n=20)["rates"]
    assert rates["glasses"]["value"] == rates["beard"]["value"] == 0
    assert "glasses_style" not in rates and "beard_style" not in rates and "eye_colour" in rates
