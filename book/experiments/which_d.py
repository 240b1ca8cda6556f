"""Which BatchNorm statistics a discriminator is taken apart with, for chapter 3: `python book/experiments/which_d.py`.

In training D saw real and generated rooms in batches of their own; its running averages mix both. Here its statistics are
set to those of real rooms, of generated ones, or of both, and it tells fresh ones apart: the AUC of its logit. Beside them,
the running averages, and batches of one kind in the mode of the game, where the batch gives its kind away.
"""

import copy
from pathlib import Path

import torch
from shared import refuse_own_weights, rounded, store
from sklearn.metrics import roc_auc_score

from dcgan_book import measure, pretrained
from dcgan_book.latents import recalibrate_on, to_batch
from dcgan_book.worlds import rooms

COUNT, BATCH = 4000, 32


def main():
    refuse_own_weights()
    names = pretrained.trainings("rooms")
    real = to_batch(rooms.dataset(2 * COUNT, measure.HELD_OUT).images)
    found = {"images": COUNT, "batch": BATCH, "auc": {}}
    for name in names:
        shipped = pretrained.load(name)
        made = measure.sample(
            shipped.generator, 2 * COUNT, shipped.card["prior"], purpose="which D"
        )
        found["auc"][name] = aucs(shipped.discriminator, real, made)
        print(name, found["auc"][name])
    weights = [f"{name}/{part}" for name in names for part in ("generator", "discriminator")]
    store(Path(__file__).with_suffix(".json"), rounded(found), __file__, *weights)


def aucs(discriminator, real, made):
    """How well D tells the last COUNT images of each kind apart, with statistics of the first COUNT."""
    seen, judged = zip(*(kind.split(COUNT) for kind in (real, made)), strict=True)
    both = [
        part for pair in zip(*(kind.split(BATCH) for kind in seen), strict=True) for part in pair
    ]
    of = {"real": seen[0].split(BATCH), "generated": seen[1].split(BATCH), "both": both}
    networks = {"running averages": discriminator}
    for kind, batches in of.items():
        networks[kind] = recalibrate_on(copy.deepcopy(discriminator), batches)
    networks["batches of the game"] = copy.deepcopy(discriminator).train()
    truth = [1] * COUNT + [0] * COUNT
    with torch.no_grad():
        logits = {
            name: torch.cat([network(part) for kind in judged for part in kind.split(BATCH)])
            for name, network in networks.items()
        }
    return {name: roc_auc_score(truth, values.flatten()) for name, values in logits.items()}


if __name__ == "__main__":
    main()
