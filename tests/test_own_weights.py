"""Weights of your own stand in for those that come with the book, and their claims are written elsewhere."""

import pytest

from dcgan_book import ledger, pretrained, training
from dcgan_book.pretrained import PretrainedError
from dcgan_book.training import TrainConfig


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Networks of width 4 after six steps: the run, and its export."""
    place = tmp_path_factory.mktemp("own")
    config = TrainConfig(data="rooms:24", steps=6, batch=4, width=4, precision="fp32", device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "RECALIBRATION", 128)
        patch.setattr(pretrained, "RECALIBRATION", 256)
        training.train(config, run=place / "run", progress=False)
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


def test_claims_of_your_own_weights_go_where_you_say(monkeypatch, tmp_path):
    row = ledger.Row("c", "6", "t", "12 %", "k", "holds", "fig")
    monkeypatch.setenv("DCGAN_BOOK_RESULTS", str(tmp_path / "mine"))
    assert ledger.write("01-training", [row]) == tmp_path / "mine" / "01-training.json"
    assert ledger.load("01-training", tmp_path / "mine") == [row] != ledger.load("01-training")
