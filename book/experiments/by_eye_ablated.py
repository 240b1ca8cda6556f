"""A hundred and twenty samples with and without some units, shuffled, to be labelled for windows by eye (chapter 4).

`python book/experiments/by_eye_ablated.py` writes by-eye-ablated.png, 20 samples across. by-eye-ablated.json holds
"window", the numbers of the samples, row by row from 0, in which one was seen in the enlarged picture, before the
instrument had been asked and without knowing which units were off; and "edits", which that was, written by this script.
"""

from pathlib import Path

import torch
from PIL import Image
from shared import refuse_own_weights, store

from dcgan_book import figures, forgetting, pretrained
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import draw_z, stream
from dcgan_book.teaching import experiments

HERE = Path(__file__).parent
STAGE = "8x8"


def main():
    refuse_own_weights()
    generator = pretrained.load("rooms").generator
    seeds, boxes = forgetting.load_boxes(HERE / "window-boxes.json")
    masks = forgetting.box_masks(boxes, seeds)
    maps = activations_of(generator, STAGE, forgetting.latents(seeds))
    cells = forgetting.examples(
        maps, forgetting.coverage(masks, STAGE), generator=stream(0, "cells")
    )
    edits = {
        "none": (30, []),
        "weight > 0, C = 1": (20, forgetting.fit(cells).chosen),
        "weight > 0, C = 0.01": (30, forgetting.fit(cells, strength=0.01).chosen),
        "64 by IoU": (30, forgetting.iou(maps, masks).argsort(descending=True)[:64]),
        "131 at random": (10, torch.randperm(maps.shape[1], generator=stream(0, "by eye"))[:131]),
    }
    names = [name for name, (count, _) in edits.items() for _ in range(count)]
    order = torch.randperm(len(names), generator=stream(1, "by eye")).tolist()
    images = []
    with torch.no_grad():
        for z, i in zip(
            draw_z(len(names), generator=stream(2, "by eye")).split(1), order, strict=True
        ):
            with ablate(generator, STAGE, edits[names[i]][1]):
                images.append(generator(z))
    Image.fromarray(figures.sheet(torch.cat(images), 20)).save(
        HERE / "by-eye-ablated.png", optimize=True
    )
    path = HERE / "by-eye-ablated.json"
    try:
        labelled = experiments.load(path)["window"]
    except (FileNotFoundError, experiments.StaleError):  # nobody has looked at this sheet
        labelled = []
    store(
        path, {"window": labelled, "edits": [names[i] for i in order]}, __file__, "rooms/generator"
    )


if __name__ == "__main__":
    main()
