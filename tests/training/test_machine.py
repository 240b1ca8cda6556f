"""Devices, precisions and threads."""

import re
from dataclasses import replace

import pytest
import torch
from tiny import TINY, pair, train

from dcgan_book import training
from dcgan_book.latents import draw_z


def test_the_probe_chooses_and_says(capsys):
    chosen = training.choose_precision("auto", torch.device("cpu"), width=4, say=True)
    assert chosen in training.PRECISIONS
    assert re.match(rf"training in {chosen}: on this cpu, a step on 32 images takes ", capsys.readouterr().out)
    assert training.choose_precision("bf16", torch.device("cpu")) == "bf16"


@pytest.mark.parametrize(
    "seconds, chosen",
    [
        ({"fp32": 3, "winograd": 2, "bf16": 1}, "bf16"),
        ({"fp32": 3, "winograd": 2, "bf16": 8}, "winograd"),
        ({"fp32": 1, "winograd": 2, "bf16": 100}, "fp32"),
        ({"fp32": 3, "winograd": 2}, "winograd"),
    ],
)
def test_the_probe_takes_the_fastest_that_is_there(monkeypatch, seconds, chosen):
    tried = []

    def trial(_, precision, width, __):
        tried.append((precision, width))
        if precision not in seconds:
            raise RuntimeError("no such type on this device")
        return seconds[precision]

    monkeypatch.setattr(training, "_time_steps", trial)
    assert training.choose_precision("auto", torch.device("cpu")) == chosen
    if seconds.get("bf16", 100) >= 9:
        assert ("bf16", 64) not in tried, "a full trial of what is emulated takes minutes"


@pytest.mark.parametrize("precision", training.PRECISIONS)
def test_networks_compute_as_before_after_any_precision(monkeypatch, precision):
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 1)
    networks = [network.eval() for network in pair()]
    kinds = [type(layer) for network in networks for layer in network.modules()]
    z = draw_z(2, 8, generator=torch.Generator().manual_seed(0))
    before = networks[1](networks[0](z))
    with training.computing(precision, torch.device("cpu"), *networks) as context:
        with context:
            inside = networks[1](networks[0](z))
        swapped = [type(layer) for network in networks for layer in network.modules()] != kinds
    assert swapped == (precision == "winograd")
    assert inside.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    torch.testing.assert_close(inside.float(), before, rtol=0.05, atol=1e-3)
    assert [type(layer) for network in networks for layer in network.modules()] == kinds
    assert torch.equal(networks[1](networks[0](z)), before)


def test_every_precision_trains(images):
    for precision in training.PRECISIONS:
        trained = train(replace(TINY, steps=2, precision=precision), images)
        for weight in trained.generator.parameters():
            assert weight.dtype == torch.float32 and weight.isfinite().all()
