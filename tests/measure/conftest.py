"""The shipped instrument for rooms, and what it reads off rooms that are new to it."""

import pytest
import torch
from measure_helpers import FRESH

from dcgan_book import measure
from dcgan_book.worlds import rooms


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def instrument():
    return measure.load()


@pytest.fixture(scope="session")
def held_out():
    return rooms.dataset(2000, FRESH, progress=False)


@pytest.fixture(scope="session")
def reading(instrument, held_out):
    return instrument.read(held_out.images)


@pytest.fixture(scope="session")
def truth(held_out):
    return {name: torch.from_numpy(held_out.mask(name).any((1, 2))) for name in rooms.OBJECTS}
