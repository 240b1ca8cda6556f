"""Small runs side by side for chapter 1 and the failure zoo: the paper's recipe, each remedy, and four faults.

`python book/experiments/recipes.py` trains every recipe with every seed (about five minutes each on one core) and
writes one JSON and one PNG a run beside itself; what is there already is kept. The chapter draws them.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from dcgan_book import figures, training
from dcgan_book.latents import draw_z, recalibrate, stream, to_batch
from dcgan_book.measure.distances import frechet
from dcgan_book.models import Discriminator, Generator, initialise
from dcgan_book.training.recipe import cross_entropy, gan_step
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
SEEDS = (0, 1, 2)
# ema only watches, see below
BASE = {"data": "rooms", "width": 16, "batch": 64, "steps": 800, "ema": 0.998}
RECIPES = {  # by the name of their files: the name in the figure, and what they change
    "paper": ("the paper's", {}),
    "lr-0001": ("learning rates 0.001", {"lr_d": 1e-3, "lr_g": 1e-3}),
    "batchnorm": ("BatchNorm scale N(0, 0.02)", {}),
    "beta1-09": ("beta1 0.9", {"beta1": 0.9}),
    "noise": ("instance noise 0.1", {"instance_noise": 0.1}),
    "labels": ("one-sided labels 0.9", {"label_smoothing": 0.1}),
    "half-rate": ("half D's rate", {"lr_d": 1e-4}),
}
G_TWICE = "g-twice"  # for the zoo alone, with one seed
SAMPLES = 2000


def main():
    training_rooms = rooms.dataset(20_000).images
    held_out = thumbnails(to_batch(rooms.dataset(2 * SAMPLES, seed=1_000_000).images))
    floor = frechet(held_out[:SAMPLES], held_out[SAMPLES:])
    wanted = [(f"{slug}-{seed}", slug, seed) for seed in SEEDS for slug in RECIPES] + [
        (G_TWICE, G_TWICE, 0)
    ]
    for file, slug, seed in wanted:
        name, changes = RECIPES.get(slug, ("G twice a step", {}))
        path = FOLDER / file
        if not path.with_suffix(".json").exists():
            config = training.TrainConfig(**BASE | changes, seed=seed)
            run = training.train(
                config,
                training_rooms,
                models=faulty(config) if slug == "batchnorm" else None,
                step=g_twice if slug == G_TWICE else gan_step,
            )
            random = stream(seed, "judged")
            z = draw_z(SAMPLES, config.z_dim, config.prior, random)
            result = {"name": name, "seed": seed, "config": BASE | changes, "floor": floor}
            tiles = []
            for which, generator in (("live", run.generator), ("average", run.ema)):
                recalibrate(generator, config.prior, seed=seed)
                with torch.no_grad():
                    images = torch.cat([generator(part) for part in z.split(200)])
                result[f"distance_{which}"] = frechet(thumbnails(images), held_out[:SAMPLES])
                tiles.append(figures.sheet(images[:12], 12))
            result["log"] = [
                {k: record[k] for k in ("step", "d_loss", "g_loss", "d_real", "d_fake")}
                for record in run.log
            ]
            Image.fromarray(np.concatenate(tiles)).save(path.with_suffix(".png"), optimize=True)
            path.with_suffix(".json").write_text(json.dumps(result) + "\n", encoding="utf-8")


def g_twice(generator, discriminator, optimiser_g, optimiser_d, real, z, *how):
    """A step in which G moves twice for D's once."""
    losses = gan_step(generator, discriminator, optimiser_g, optimiser_d, real, z, *how)
    discriminator.requires_grad_(False)
    optimiser_g.zero_grad()
    cross_entropy(discriminator(generator(-z)), 1).backward()  # latents of the same prior
    optimiser_g.step()
    discriminator.requires_grad_(True)
    return losses


def faulty(config):
    """The networks of a seed with a well-known bug: BatchNorm's scales drawn around 0, as convolutions are."""
    random = stream(config.seed, "weights")
    networks = (
        initialise(Generator(config.width), random),
        initialise(Discriminator(config.width), random),
    )
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 0, 0.02, generator=random)
    return networks


def thumbnails(images):
    """Images (n, 3, 64, 64) as 8x8 thumbnails, (n, 192)."""
    return nn.functional.avg_pool2d(images.float(), 8).flatten(1)


if __name__ == "__main__":
    main()
