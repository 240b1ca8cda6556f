"""A small recipe, and what the tests of the trainer ask of its runs."""

from dataclasses import asdict

import pytest
import torch

from dcgan_book import training
from dcgan_book.models import Discriminator, Generator, initialise
from dcgan_book.training.__main__ import main
from dcgan_book.training.recipe import TrainConfig

TINY = TrainConfig(
    data="rooms:24",
    steps=12,
    batch=4,
    width=4,
    z_dim=8,
    precision="fp32",
    device="cpu",
    threads=1,
    checkpoint_every=5,
)


REMEDIES = {"instance_noise": 0.1, "noise_steps": 99, "label_smoothing": 0.1, "ema": 0.9}


def train(config, images, **options):
    """Trains without a bar; sheets need no good statistics here."""
    return training.train(config, images, progress=False, recalibration=128, **options)


def pair(width=4, z_dim=8, seed=0):
    random = torch.Generator().manual_seed(seed)
    return initialise(Generator(width, z_dim), random), initialise(Discriminator(width), random)


def weights(network):
    return [weight.detach().clone() for weight in network.parameters()]


def same(first, second):
    """Whether two trees of dicts, lists and tensors hold the same bits."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def learned(run):
    """All that a run's checkpoint says of what was trained, and nothing of the clock."""
    checkpoint = training.read_checkpoint(run)
    parts = (
        "generator",
        "discriminator",
        "ema",
        "optimiser_g",
        "optimiser_d",
        "random",
        "step",
        "epoch",
        "offset",
    )
    return {name: checkpoint.get(name) for name in parts}


def steps_of(run):
    return [record["step"] for record in training.read_log(run)]


def flags(config, out):
    """The command line of a config."""
    defaults = asdict(TrainConfig())
    given = {name: value for name, value in asdict(config).items() if value != defaults[name]} | {
        "out": out
    }
    return [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in given.items()
    ]


def refusal(*arguments):
    """What the command says, called with arguments that end it with an error."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert str(end.value).startswith("error: ") and "\n" not in str(end.value)
    return str(end.value)
