"""Devices, precisions and threads."""

import re
from dataclasses import replace

import pytest
import torch
from tiny import TINY, pair, same, train, weights

from dcgan_book import training
from dcgan_book.training import machine
from dcgan_book.training.recipe import TrainingError


def test_the_probe_chooses_and_says(capsys):
    chosen = training.choose_precision("auto", torch.device("cpu"), width=4, say=True)
    assert chosen in training.PRECISIONS
    assert re.match(
        rf"training in {chosen}: on this cpu, a step on 32 images takes ", capsys.readouterr().out
    )
    assert training.choose_precision("bf16", torch.device("cpu")) == "bf16"


@pytest.mark.parametrize(
    "seconds, chosen", [({"fp32": 3, "bf16": 1}, "bf16"), ({"fp32": 3, "bf16": 8}, "fp32"), ({"fp32": 3}, "fp32"),
                        ({"fp32": 1, "bf16": 100}, "fp32")]
)  # fmt: skip
def test_the_probe_takes_the_fastest_that_is_there(monkeypatch, seconds, chosen):
    tried = []

    def trial(_, precision, width, __):
        tried.append((precision, width))
        if precision not in seconds:
            raise RuntimeError("no such type on this device")
        return seconds[precision]

    monkeypatch.setattr(machine, "_time_steps", trial)
    assert training.choose_precision("auto", torch.device("cpu")) == chosen
    if seconds.get("bf16", 100) >= 9:
        assert ("bf16", 64) not in tried, "a full trial of what is emulated takes minutes"


def test_a_precision_is_what_layers_compute_in():
    images = pair()[0].eval()(torch.zeros(2, 8)).detach()
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with machine.computing(precision, torch.device("cpu")):
            assert pair()[1](images).dtype == kind


def test_each_precision_trains_in_its_own_arithmetic(images):
    """Weights stay fp32; bf16 ends near fp32 and not at its bits."""
    found = [
        train(replace(TINY, steps=2, precision=precision), images) for precision in ("fp32", "bf16")
    ]
    first, second = (weights(trained.discriminator) for trained in found)
    assert all(weight.dtype == torch.float32 for weight in first + second)
    assert not same(first, second)
    for a, b in zip(first, second, strict=True):
        # two steps of Adam move a weight by 4e-4 at most
        torch.testing.assert_close(a, b, rtol=0, atol=9e-4)


@pytest.mark.parametrize("name", ["fp23", "winograd", "", "FP32"])
def test_an_unknown_precision_is_refused(name):
    for choose in (machine.choose_precision, machine.computing):
        with pytest.raises(TrainingError, match=f"precision is {name!r}; it is one of fp32, bf16"):
            choose(name, torch.device("cpu"))


@pytest.mark.parametrize("name", ["abacus", "cpu:one", "cpu:", "cuda:99", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(TrainingError, match=f"there is no device {name!r} here: give .*cpu"):
        machine.choose_device(name)
    assert machine.choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("count, inside", [(1, 1), (None, 3)])
def test_threads_are_set_for_a_while(count, inside):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with machine.threads_of(count):
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
