"""Window, lamp, television set, door and the bed's place from 1,000 labels, for chapter 3 (paper, section 5).

`python book/experiments/thousand.py` writes thousand.json beside itself (some minutes on one core): a linear
L2-SVM on the features of the trained D, of D with random weights and on pixels, and the same network trained with the
labels alone. What can be chosen (the SVM's strength, the network's rate and epochs) is chosen on 200 of the 1,000.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from shared import refuse_own_weights, store
from torch import nn
from tqdm.auto import trange

from dcgan_book import features, measure, pretrained, training
from dcgan_book.latents import stream, to_batch
from dcgan_book.models import Discriminator, initialise
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
LABELLED, KEPT, TESTED, SEED = 1000, 200, 1000, 3_300_000
OBJECTS = ("window", "lamp", "tv", "door")
STRENGTHS = (1e-5, 1e-4, 1e-3)
RATES, EPOCHS, BATCH = (2e-4, 1e-3), 16, 32
THIRD = 1 / 3  # of bed_x, which is -1 to 1: left of it, between, right of it


def targets(data):
    """Name to labels (n,): 0 or 1 for an object, 0 to 2 for where the bed stands."""
    there = {
        name: torch.from_numpy(data.mask(name).sum((1, 2)) >= measure.VISIBLE).long()
        for name in OBJECTS
    }
    place = torch.as_tensor(data.factors["bed_x"].copy())
    return there | {"bed place": (place > -THIRD).long() + (place > THIRD).long()}


def svms(known, labels, strength):
    return {
        name: features.l2_svm(known, values, strength, scale=False)
        for name, values in labels.items()
    }


def choose(known, labels):
    """The strength that is right most often on the last `KEPT` labelled rooms."""
    fit = {name: values[:-KEPT] for name, values in labels.items()}
    shares = {}
    for strength in STRENGTHS:
        found = svms(known[:-KEPT], fit, strength)
        shares[strength] = sum(
            svm.score(known[-KEPT:], labels[name][-KEPT:]) for name, svm in found.items()
        )
    return max(shares, key=shares.get)


def judged(said, labels):
    """Name to the share that is right, with its interval, and the mean over the targets with that of its bootstrap."""
    right = {name: (torch.as_tensor(said[name]) == values) for name, values in labels.items()}
    whole = torch.stack(list(right.values())).double().mean(0)  # of each room
    shares = {name: list(measure.wilson(int(r.sum()), len(r))) for name, r in right.items()}
    return shares | {"mean": list(measure.bootstrap(whole))}


def supervised(images, labels, rate, seed=0):
    """D with an output for each answer, learning from all but the last `KEPT` rooms: its best epoch's network."""
    random = stream(seed, "supervised")
    network = initialise(Discriminator(), random)
    network.stages["1x1"] = nn.Sequential(nn.Conv2d(8 * network.width, len(OBJECTS) + 3, 4))
    initialise(network.stages["1x1"], random)
    nn.init.zeros_(network.stages["1x1"][0].bias)
    network.to(memory_format=torch.channels_last)
    optimiser = training.adam(network, rate)
    known, best = len(images) - KEPT, (-1.0, 0, None)
    for epoch in (bar := trange(EPOCHS)):
        network.train()
        for rows in torch.randperm(known, generator=random).split(BATCH):
            said = answers(network, images[rows])
            loss = F.cross_entropy(said["bed place"], labels["bed place"][rows])
            loss = loss + sum(
                F.binary_cross_entropy_with_logits(said[name], labels[name][rows].float())
                for name in OBJECTS
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        share = judged(decide(network, images[-KEPT:]), {n: v[-KEPT:] for n, v in labels.items()})[
            "mean"
        ][0]
        bar.set_postfix(share=share)
        if share > best[0]:
            best = (
                share,
                epoch + 1,
                {name: value.clone() for name, value in network.state_dict().items()},
            )
    network.load_state_dict(best[2])
    return network, best[:2]


def answers(network, images):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = (
            network(images.contiguous(memory_format=torch.channels_last))
            .float()
            .view(len(images), -1)
        )
    return dict(zip(OBJECTS, outputs.T, strict=False)) | {"bed place": outputs[:, len(OBJECTS) :]}


@torch.no_grad()
def decide(network, images):
    network.eval()
    parts = [answers(network, part) for part in images.split(200)]
    said = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {
        name: said[name].argmax(1) if name == "bed place" else (said[name] > 0).long()
        for name in said
    }


def linear(discriminator, images, known, asked):
    """What the SVMs say, for each set of features."""
    networks = {
        "trained D": discriminator,
        "random D": features.randomised(discriminator, images=images[:LABELLED]),
    }
    sets = {name: features.pooled_features(network, images) for name, network in networks.items()}
    result = {}

    def judge(name, numbers, strength=None):
        numbers = features.compact(numbers, LABELLED)
        strength = strength or choose(numbers[:LABELLED], known)
        found = svms(numbers[:LABELLED], known, strength)
        said = {target: svm.predict(numbers[LABELLED:]) for target, svm in found.items()}
        result[name] = judged(said, asked) | {"strength": strength}
        print(name, result[name]["mean"], strength, flush=True)

    for name, numbers in (sets | {"pixels": images.flatten(1)}).items():
        judge(name, numbers)
    sizes = [16 * stage[0].out_channels for stage in list(discriminator.stages.values())[:-1]]
    for name, numbers in sets.items():
        for stage, part in zip(discriminator.stages, numbers.split(sizes, 1), strict=False):
            judge(f"{name}, {stage}", part, result[name]["strength"])
    return result


def main():
    refuse_own_weights()
    data = rooms.dataset(LABELLED + TESTED, seed=SEED)
    images, labels = to_batch(data.images), targets(data)
    known, asked = (
        {name: v[rows] for name, v in labels.items()}
        for rows in (slice(LABELLED), slice(LABELLED, None))
    )
    result = linear(pretrained.load("rooms").discriminator, images, known, asked)
    save(result, [supervised(images[:LABELLED], known, rate) for rate in RATES], images, asked)


def save(result, runs, images, asked):
    """Writes the SVMs' shares, and those of the supervised network that was right most often on the kept rooms."""
    base = {name: values.bincount().max().item() / TESTED for name, values in asked.items()}
    result |= {
        "labelled": LABELLED,
        "tested": TESTED,
        "base": base | {"mean": sum(base.values()) / len(base)},
    }
    best = max(range(len(runs)), key=lambda i: runs[i][1][0])
    network, (_, epochs) = runs[best]
    result["supervised"] = judged(decide(network, images[LABELLED:]), asked) | {
        "rate": RATES[best],
        "epochs": epochs,
    }
    print("supervised", result["supervised"], flush=True)
    store(FOLDER / "thousand.json", result, __file__, "rooms/discriminator", indent=1)


if __name__ == "__main__":
    main()
