"""Weights of your own stand in for those that come with the book, and their claims are written elsewhere."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from dcgan_book import pretrained, training
from dcgan_book.pretrained import PretrainedError
from dcgan_book.teaching import ledger
from dcgan_book.training import TrainConfig

BOOK = Path(__file__).parent.parent / "book"
CHAPTERS = sorted(path.stem for path in BOOK.glob("0*.ipynb"))
# asks for its weights, or runs its chapters
OF_THE_BOOK = re.compile(r'pretrained\.load\((?:"(?:rooms|faces)"|name)\)|glob\("0')
SCRIPTS = [
    path.name
    for path in sorted(BOOK.glob("experiments/*.py"))
    if OF_THE_BOOK.search(path.read_text(encoding="utf-8"))
]


SHORTER = {  # fewer latents and rooms than the chapter's: here no number matters, only that it runs
    "04-forgetting": {"draw_z(2000, generator=stream(": "draw_z(400, generator=stream("}
}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Networks of width 4 after six steps: the run, and its export."""
    place = tmp_path_factory.mktemp("own")
    config = TrainConfig(data="rooms:24", steps=6, batch=4, width=4, precision="fp32", device="cpu")
    training.train(config, run=place / "run", progress=False, recalibration=128)
    pretrained.export(place / "run", "rooms", place)
    return place


def test_a_variable_says_whose_weights_are_meant(own, monkeypatch):
    shipped = pretrained.load("rooms")
    for given in (own / "rooms", own / "run"):  # exported, and the run itself
        monkeypatch.setenv("DCGAN_BOOK_ROOMS", str(given))
        found = pretrained.load("rooms")
        assert found.generator.width == 4 and found.card["steps"] == 6
    monkeypatch.setenv("DCGAN_BOOK_ROOMS", str(own / "nowhere"))
    with pytest.raises(PretrainedError, match="there are no weights called '.*nowhere'"):
        pretrained.load("rooms")
    monkeypatch.setenv("DCGAN_BOOK_ROOMS", "")
    assert pretrained.load("rooms").card == shipped.card


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A copy of the experiments, since one that is not refused writes beside itself."""
    return shutil.copytree(
        BOOK / "experiments", tmp_path_factory.mktemp("copy") / "book" / "experiments"
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_writes_numbers_of_your_own_weights_over_the_books(scripts, script, monkeypatch):
    monkeypatch.syspath_prepend(scripts)
    monkeypatch.setattr(sys, "argv", [script])
    before = {path: path.stat().st_mtime_ns for path in scripts.glob("*.*")}
    for name in ("DCGAN_BOOK_ROOMS", "DCGAN_BOOK_FACES"):
        with (
            monkeypatch.context() as patch,
            pytest.raises(SystemExit, match=f"error: {name} names .* your own, .*: unset it"),
        ):
            patch.setenv(name, "runs/mine")
            runpy.run_path(scripts / script, run_name="__main__")
    assert {path: path.stat().st_mtime_ns for path in scripts.glob("*.*")} == before


def test_numbers_of_a_script_are_rounded_wherever_they_stand(monkeypatch):
    monkeypatch.syspath_prepend(BOOK / "experiments")
    from shared import rounded

    known = {"a": [1.23456, (2, 0.00004)], "b": {"c": -0.5, "d": None}}
    assert rounded(known) == {"a": [1.2346, [2, 0.0]], "b": {"c": -0.5, "d": None}}
    assert rounded(1.23456, 1) == 1.2


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two tiny runs, as bare as they come: networks that know where a room is bright, with another width, prior, latent
    and kernel than the book's, and shipped ones, since chapter 5 asks for faces, two steps
    further. Beside them a copy of the book, which a chapter may write to."""
    place = tmp_path_factory.mktemp("runs")
    shutil.copytree(BOOK, place / "book")
    rooms = TrainConfig(
        data="rooms:1000",
        steps=100,
        batch=32,
        width=8,
        z_dim=64,
        prior="normal",
        kernel_size=5,
        lr_d=1e-3,
        lr_g=1e-3,
        instance_noise=0.1,
        precision="fp32",
    )
    faces = TrainConfig(data="faces:24", steps=2, batch=4, precision="fp32")
    shipped = pretrained.load("faces")
    networks = [
        network.requires_grad_(True) for network in (shipped.generator, shipped.discriminator)
    ]
    training.train(rooms, run=place / "rooms", progress=False, recalibration=128)
    training.train(faces, run=place / "faces", models=networks, progress=False, recalibration=128)
    return place


def shorter(chapter):
    """A chapter with the changes of SHORTER."""
    notebook = nbformat.read(BOOK / f"{chapter}.ipynb", 4)
    for long, short in SHORTER.get(chapter, {}).items():
        assert any(long in cell.source for cell in notebook.cells), long
        for cell in notebook.cells:
            cell.source = cell.source.replace(long, short)
    return notebook


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_on_weights_of_your_own(runs, chapter, monkeypatch):
    for name, value in {"ROOMS": "rooms", "FACES": "faces", "RESULTS": "results"}.items():
        monkeypatch.setenv(f"DCGAN_BOOK_{name}", str(runs / value))
    monkeypatch.setenv("DCGAN_BOOK_LIVE_SECONDS", "1")  # of chapter 1
    notebook = shorter(chapter)
    NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(runs / "book")}}
    ).execute()
    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text" in output
    )
    assert "weights of your own" in printed
    book, mine = (ledger.load(folder) for folder in (BOOK / "results", runs / "results"))
    tested = [
        claim.id
        for claim in ledger.registry(BOOK / "claims.yml").values()
        if claim.chapter == chapter
    ]
    # a card for every claim that has one in the book; with values only where this run measured them
    assert set(tested) & set(book) == set(tested) & set(mine) != set()
