"""Images and a run that the tests of the trainer share."""

from dataclasses import replace

import pytest
from tiny import REMEDIES, TINY, train

from dcgan_book.training import data


@pytest.fixture(scope="session")
def images():
    return data.load("rooms:24", progress=False).images


@pytest.fixture(scope="session")
def unbroken(images, tmp_path_factory):
    """A run of 30 steps, all remedies on, that nothing stopped: its config and folder."""
    config = replace(TINY, steps=30, sheet_every=10, checkpoint_every=3, **REMEDIES)
    folder = tmp_path_factory.mktemp("unbroken")
    train(config, images, run=folder)
    return config, folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own for a test, outside the folders that it reads."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(folder))
    return folder


@pytest.fixture
def pictures(tmp_path):
    """A folder for a test's images."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder
