"""The exemplars of chapter 5 among the samples of the public generator of photorealistic faces.

`python book/experiments/exemplars.py` writes exemplars.png, all that were chosen, a row for each concept.
exemplars.json holds the choice, by the seeds of the latents: 768 samples were looked at, enlarged, before any sum had
been made of them. `latents(seeds)` gives the latents.
"""

from pathlib import Path

import torch
from PIL import Image

from dcgan_book import figures, pretrained
from dcgan_book.latents import draw_z
from dcgan_book.teaching import experiments

HERE = Path(__file__).parent


def latents(seeds):
    """The latents of seeds, (n, 100)."""
    return torch.cat(
        [draw_z(1, prior="normal", generator=torch.Generator().manual_seed(s)) for s in seeds]
    )


def load():
    """Concept to latents, (n, 100). Raises StaleError if they were chosen from another generator."""
    chosen = experiments.load(HERE / "exemplars.json")
    return {name: latents(seeds) for name, seeds in chosen["concepts"].items()}


def main():
    with torch.no_grad():
        generator, rows = pretrained.load("digiface").generator, []
        for concept in load().values():
            white = torch.ones(10, 3, 64, 64)
            white[: len(concept)] = generator(concept)
            rows.append(white)
    Image.fromarray(figures.sheet(torch.cat(rows), 10)).save(HERE / "exemplars.png", optimize=True)


if __name__ == "__main__":
    main()
