"""The cache: one process makes what several ask for, and what a killed one left is swept away."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcgan_book.cache import atomic_write, locked
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
