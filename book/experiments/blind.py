"""Sums of photorealistic faces and their controls, shuffled, to be judged by eye without knowing which is which.

`python book/experiments/blind.py` writes blind.png, sixteen tiles across. blind.json holds what was seen in them, by
their numbers, row by row from 0: who smiles, who wears glasses, who looks like a woman, and what is no face any more.
It was written from the enlarged sheet before `kinds` was asked, and blind-second.json by a second judge, who did not
know the first one's answers: `blind.py unblind` writes blind-key.json, a pair of sum and way for each tile, which
follows from the seed alone. The two name the weights of the generator under "made_by".
"""

import json
import sys
from pathlib import Path

import torch
from exemplars import load
from PIL import Image

from dcgan_book import arithmetic, figures, pretrained
from dcgan_book.latents import stream

HERE = Path(__file__).parent
EACH = 30
SUMS = {
    "smile": ("smiling woman", "neutral woman", "neutral man"),
    "glasses": ("man with glasses", "man without glasses", "woman without glasses"),
}
WAYS = ("sum", "pixels", "C itself", "random direction")


def kinds():
    """What each tile is, a list of pairs (sum, way), in the order of the sheet."""
    all_kinds = [(name, way) for name in SUMS for way in WAYS for _ in range(EACH)]
    return [
        all_kinds[i]
        for i in torch.randperm(len(all_kinds), generator=stream(0, "blind order")).tolist()
    ]


@torch.no_grad()
def tiles():
    """The images in the order of the sheet, (n, 3, 64, 64): every sum of three exemplars a concept, by lot."""
    generator, concepts, made = pretrained.load("digiface").generator, load(), {}
    for name, parts in SUMS.items():
        a, b, c = (
            concepts[part][
                arithmetic.pick(
                    torch.ones(len(concepts[part])), 3, EACH, stream(0, f"blind {name} {part}")
                )
            ]
            for part in parts
        )
        middle, step = arithmetic.concept(c), arithmetic.concept(a) - arithmetic.concept(b)
        images = [generator(some.flatten(0, 1)).unflatten(0, (EACH, 3)) for some in (a, b, c)]
        made[name, "sum"] = list(generator(middle + step))
        made[name, "pixels"] = list(arithmetic.pixels(*images))
        made[name, "C itself"] = list(generator(middle))
        made[name, "random direction"] = list(
            generator(middle + arithmetic.random_like(step, stream(0, f"blind {name} random")))
        )
    return torch.stack([made[kind].pop(0) for kind in kinds()])


def main():
    if sys.argv[1:] == ["unblind"]:
        (HERE / "blind-key.json").write_text(json.dumps(kinds()) + "\n", encoding="utf-8")
        return
    Image.fromarray(figures.sheet(tiles(), 16)).save(HERE / "blind.png", optimize=True)


if __name__ == "__main__":
    main()
