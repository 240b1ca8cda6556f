"""D's own architecture, trained on the 1,000 labels of thousand.py alone, for chapter 3 (paper, section 5).

`python book/experiments/supervised.py --trials 64` writes supervised.json beside itself: a random search over rate,
decay, momentum and batch on the first draw of labels, and the best setting on each other draw. Trials that are there are
kept, so that a search can go on later. Of each draw 800 rooms are learned from, and 200 choose setting and epoch.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from shared import refuse_own_weights, store
from thousand import DRAWS, KEPT, LABELLED, LEARNED, OBJECTS, QUESTIONS, judged, labelled
from torch import nn

from dcgan_book.latents import stream
from dcgan_book.models import Discriminator, initialise
from dcgan_book.teaching import experiments

FOLDER = Path(__file__).parent
EPOCHS = 16


def setting(trial):
    """The setting of a trial, drawn; the first is what was better of two rates in an earlier, smaller search."""
    if trial == 0:
        return {"rate": 1e-3, "decay": 0.0, "beta1": 0.5, "batch": 32}
    random = stream(trial, "supervised setting")
    rate, decay, beta1, batch = torch.rand(4, generator=random).tolist()
    return {
        "rate": 10 ** (-4 + 1.5 * rate), "decay": 10 ** (-4 + 3 * decay),
        "beta1": 0.5 if beta1 < 0.5 else 0.9, "batch": 16 if batch < 0.5 else 32,
    }  # fmt: skip


def trained(images, labels, rate, decay, beta1, batch, seed):
    """D with an output for each answer: how right its best epoch is on the kept rooms, and that epoch on the tested."""
    random = stream(seed, "supervised")
    network = initialise(Discriminator(), random)
    network.stages["1x1"] = nn.Sequential(nn.Conv2d(8 * network.width, len(OBJECTS) + 3, 4))
    initialise(network.stages["1x1"], random)
    nn.init.zeros_(network.stages["1x1"][0].bias)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), rate, (beta1, 0.999), weight_decay=decay)
    best = None
    for epoch in range(EPOCHS):
        network.train()
        for rows in torch.randperm(LEARNED, generator=random).split(batch):
            loss = loss_of(answers(network, images[rows]), {n: v[rows] for n, v in labels.items()})
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        said = decided(network, images[LEARNED:])
        kept = judged(
            {n: v[:KEPT] for n, v in said.items()},
            {n: v[LEARNED:LABELLED] for n, v in labels.items()},
        )
        share = sum(kept["shares"].values()) / len(QUESTIONS)
        if best is None or share > best["kept"]:
            tested = judged(
                {n: v[KEPT:] for n, v in said.items()}, {n: v[LABELLED:] for n, v in labels.items()}
            )
            best = {"kept": share, "epoch": epoch + 1} | tested
    return best


def loss_of(said, labels):
    loss = F.cross_entropy(said["bed place"], labels["bed place"])
    return loss + sum(
        F.binary_cross_entropy_with_logits(said[name], labels[name].float()) for name in OBJECTS
    )


def answers(network, images):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(images.contiguous(memory_format=torch.channels_last))
    outputs = outputs.float().view(len(images), -1)
    return dict(zip(OBJECTS, outputs.T, strict=False)) | {"bed place": outputs[:, len(OBJECTS) :]}


@torch.no_grad()
def decided(network, images):
    network.eval()
    parts = [answers(network, part) for part in images.split(200)]
    said = {name: torch.cat([part[name] for part in parts]) for name in QUESTIONS}
    return {n: v.argmax(1) if n == "bed place" else (v > 0).long() for n, v in said.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=64)
    trials = parser.parse_args().trials
    refuse_own_weights()
    path = FOLDER / "supervised.json"
    fits = experiments.load(path)["fits"] if path.exists() else []

    def fit(draw, trial):
        if not any((each["draw"], each["trial"]) == (draw, trial) for each in fits):
            found = trained(*labelled(draw), **setting(trial), seed=trial)
            fits.append({"draw": draw, "trial": trial} | setting(trial) | found)
            print(draw, trial, found["kept"], found["shares"], flush=True)
            store(path, {"trials": len(tried()), "best": best(), "fits": fits}, __file__)

    def tried():
        return [each for each in fits if each["draw"] == 0]

    def best():
        return max(tried(), key=lambda each: each["kept"])["trial"]

    for trial in range(trials):
        fit(0, trial)
    for draw in range(1, DRAWS):
        fit(draw, best())


if __name__ == "__main__":
    main()
