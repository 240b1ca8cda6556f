"""The speed benchmark compares what trains the same."""

import functools
import importlib.util
import re
import time
from pathlib import Path

import pytest
import torch
from tiny import pair, same, weights

from dcgan_book import training
from dcgan_book.latents import draw_z

spec = importlib.util.spec_from_file_location(
    "speed", Path(__file__).parents[2] / "book" / "experiments" / "speed.py"
)
speed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(speed)


def test_the_plain_step_of_the_benchmark_trains_the_same():
    results = []
    for step in (training.gan_step, speed.plain_step):
        networks = pair()
        adams = [
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
            for network in networks
        ]
        random = torch.Generator().manual_seed(1)
        real = torch.rand(6, 3, 64, 64, generator=random) * 2 - 1
        step(*networks, *adams, real, draw_z(6, 8, generator=random))
        results.append(weights(networks[0]) + weights(networks[1]))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_benchmark_prints_both_rates_their_ratio_and_where_the_time_goes(capsys):
    speed.main(["--width=4", "--batch=8", "--device=cpu", "--precision=fp32", "--threads=1"])
    found = re.search(
        r"plain loop, fp32: ([\d.]+) images/s\nours, fp32: ([\d.]+) images/s\nratio: ([\d.]+) \(medians of 5.*\n"
        r"our step: G (\d+)%, D (\d+)%, optimisers (\d+)%, data \d+% .*\narithmetic: \d+% of",
        capsys.readouterr().out,
    )
    plain, ours, ratio, *shares = map(float, found.groups())
    assert plain > 0 and ratio == pytest.approx(ours / plain, abs=0.03)
    assert sum(shares) == pytest.approx(100, abs=2) and min(shares) > 0


def test_the_benchmark_takes_both_widths_unless_told(monkeypatch):
    seen = []
    monkeypatch.setattr(
        speed, "benchmark", lambda config: seen.append((config.width, config.batch))
    )
    speed.main(["--batch=8"])
    speed.main(["--width", "7"])
    assert seen == [(64, 8), (128, 8), (7, 128)]


def test_watching_a_step_changes_nothing_in_it():
    results = []
    for step in (
        training.gan_step,
        functools.partial(
            speed._watched, time.perf_counter, parts := {"G": 0.0, "D": 0.0, "optimisers": 0.0}
        ),
    ):
        networks, random = pair(), torch.Generator().manual_seed(1)
        adams = [training.adam(network, 2e-4) for network in networks]
        for _ in range(2):
            losses = step(
                *networks,
                *adams,
                torch.rand(6, 3, 64, 64, generator=random),
                draw_z(6, 8, generator=random),
            )
        results.append([weights(network) for network in networks] + [losses])
        assert not any(
            adam._optimizer_step_pre_hooks or adam._optimizer_step_post_hooks for adam in adams
        )
    assert same(*results) and min(parts.values()) > 0
