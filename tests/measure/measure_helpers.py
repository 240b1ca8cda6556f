"""What the tests of the instruments share."""

import torch

from dcgan_book.latents import to_batch
from dcgan_book.measure.learning import damage
from dcgan_book.worlds import rooms

FRESH = 5_000_000  # drawings that neither training nor the card's test has used


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=random(seed), dtype=torch.float64)


def blurred(images, sigma):
    return damage._blur(images, torch.full((len(images),), sigma))


def noisy(images, sigma):
    return images + sigma * torch.randn(images.shape, generator=random())


def a_batch(n=32):
    drawn = rooms.dataset(n, FRESH + 10_000)
    return to_batch(drawn.images), torch.from_numpy(drawn.labels).long()
