"""A generator that has learned 100 rooms by heart, for chapter 2: the case that a test of memorisation must catch.

The GAN that we tried on 100 rooms ended in noise, with a D that was always sure. So there is no D here:
G is trained to draw room i for the latent whose i-th number is 1 and whose others are 0.
`python book/experiments/memoriser.py` writes memoriser.safetensors beside itself, in some minutes on a core.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm.auto import trange

from dcgan_book import training
from dcgan_book.latents import stream, to_batch
from dcgan_book.models import Generator, initialise
from dcgan_book.worlds import rooms

ROOMS = 100
STEPS, RATE = 1500, 2e-3


def main():
    known = to_batch(rooms.dataset(ROOMS).images)
    generator = initialise(Generator(width=24, z_dim=ROOMS), stream(0, "memoriser")).train()
    optimiser = training.adam(generator, RATE, beta1=0.9)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS)
    bar = trange(STEPS)
    for _ in bar:
        loss = (generator(torch.eye(ROOMS)) - known).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        bar.set_postfix(loss=f"{loss.item():.4f}")
    for layer in generator.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = 1.0
    with torch.no_grad():
        generator(torch.eye(ROOMS))  # the statistics of the last weights
    stored = {
        name: (value.half() if value.ndim > 1 else value)
        for name, value in generator.state_dict().items()
    }
    save_file(
        {name: value.contiguous() for name, value in stored.items()},
        Path(__file__).with_suffix(".safetensors"),
    )


if __name__ == "__main__":
    main()
