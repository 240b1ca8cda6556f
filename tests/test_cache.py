"""The cache: one process makes what several ask for, and what a killed one left is swept away."""

import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcgan_book.cache import NOTE, atomic_write, cache_dir, locked
from dcgan_book.worlds.canvas import cached_dataset

STUCK = """
import time
from dcgan_book.worlds.canvas import cached_dataset

def draw_block(seed, n):
    print("drawing", flush=True)
    time.sleep(600)

cached_dataset("spot", 1, draw_block, 1000, 0, 1, False)
"""


def draw_block(seed, n):
    return {"images": np.zeros((n, 2, 2, 3), np.uint8)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DCGAN_BOOK_CACHE", str(tmp_path))
    return tmp_path


def test_a_set_that_two_ask_for_is_drawn_once(cache):
    drawn = []

    def slowly(seed, n):
        drawn.append(seed)
        time.sleep(0.1)
        return draw_block(seed, n)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(cached_dataset, "spot", 1, slowly, 1000, 0, 1, False) for _ in range(2)]
    assert sorted(drawn) == [0, 250, 500, 750]
    assert all(each.result()["images"].shape == (1000, 2, 2, 3) for each in both)


@pytest.mark.parametrize("n", [1000, 2000])
def test_what_a_killed_draw_left_goes_with_the_next_one(cache, n):
    """Of the same set or of another."""
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.kill()
    assert [path.name for path in cache.glob("**/*") if path.name == "spots-v1-0-1000"]
    cached_dataset("spot", 1, draw_block, n, 0, 1, False)
    left = [path.name for path in cache.iterdir() if path.suffix != ".lock"]
    assert left == [f"spots-v1-0-{n}"]


def test_what_a_living_process_makes_is_left_alone(tmp_path):
    with locked(tmp_path / "first"), atomic_write(tmp_path / "first") as temporary:
        temporary.write_text("half", encoding="utf-8")
        with locked(tmp_path / "second"):
            assert temporary.read_text(encoding="utf-8") == "half"
    assert (tmp_path / "first").read_text(encoding="utf-8") == "half"


def count(seed, n):
    return {"images": np.arange(seed, seed + n), "labels": np.zeros((n, 2), np.uint8)}


def dataset():
    return cached_dataset("spot", 1, count, 1000, 0, 1, False)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path):
    with open(path, "r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"otherwise")


def behead(path):
    path.write_bytes(b"no head" + path.read_bytes()[7:])


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", NOTE])
@pytest.mark.parametrize("damage", [cut, overwrite, behead, os.unlink])
def test_a_damaged_drawn_set_is_drawn_anew_and_says_so(cache, name, damage):
    dataset()
    damage(cache / "spots-v1-0-1000" / name)
    if (damage, name) == (os.unlink, NOTE):  # as older versions left it
        assert (dataset()["images"] == np.arange(1000)).all()
        return
    with pytest.warns(UserWarning, match="the cache is damaged .*: the spots are drawn anew"):
        assert (dataset()["images"] == np.arange(1000)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset().keys() == {"images", "labels"}


def test_a_set_of_an_older_version_that_is_cut_short_is_drawn_anew(cache):
    dataset()
    (cache / "spots-v1-0-1000" / NOTE).unlink()
    cut(cache / "spots-v1-0-1000" / "labels.npy")
    with pytest.warns(UserWarning, match="drawn anew"):
        assert dataset()["labels"].shape == (1000, 2)


@pytest.mark.parametrize("given", ["~/c", "~", "~/a/../c"])
def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch, given):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("DCGAN_BOOK_CACHE", given)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home" / "a").mkdir(parents=True)
    home = tmp_path / "home"
    assert cache_dir().resolve() == (home if given == "~" else home / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
