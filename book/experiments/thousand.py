"""Window, lamp, television set, door and the bed's place from 1,000 labels, for chapter 3 (paper, section 5).

`python book/experiments/thousand.py` writes thousand.json beside itself (some minutes on one core): a linear L2-SVM on
the features of each trained D, on those of random D's, and on pixels, for some draws of 1,000 labelled rooms. Of
each draw 800 rooms are learned from, and the SVM's strength is chosen on the other 200, as in supervised.py.
"""

import argparse
from pathlib import Path

import torch
from shared import refuse_own_weights, rounded, store

from dcgan_book import features, measure, pretrained
from dcgan_book.latents import to_batch
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
DRAWS, LEARNED, KEPT, SEED = 3, 800, 200, 3_300_000
LABELLED = LEARNED + KEPT
TESTED, TEST_SEED = 1000, 3_301_000
OBJECTS = ("window", "lamp", "tv", "door")
QUESTIONS = (*OBJECTS, "bed place")
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2)
THIRD = 1 / 3  # of bed_x, which is -1 to 1: left of it, between, right of it


def labelled(draw):
    """Images and labels of a draw: the rooms to learn from, those kept to choose on, and then those to test on."""
    drawn = rooms.dataset(LABELLED, seed=SEED + 2 * LABELLED * draw)  # those tested on lie between
    tested = rooms.dataset(TESTED, seed=TEST_SEED)
    images = torch.cat([to_batch(drawn.images), to_batch(tested.images)])
    parts = targets(drawn), targets(tested)
    return images, {name: torch.cat([part[name] for part in parts]) for name in QUESTIONS}


def targets(data):
    """Name to labels (n,): 0 or 1 for an object, 0 to 2 for where the bed stands."""
    there = {
        name: torch.from_numpy(data.mask(name).sum((1, 2)) >= measure.VISIBLE).long()
        for name in OBJECTS
    }
    place = torch.as_tensor(data.factors["bed_x"].copy())
    return there | {"bed place": (place > -THIRD).long() + (place > THIRD).long()}


def judged(said, labels):
    """The share that is right of each question, and how many of the five are right in each room, as digits."""
    right = torch.stack([torch.as_tensor(said[name]) == labels[name] for name in QUESTIONS])
    shares = dict(zip(QUESTIONS, right.double().mean(1).tolist(), strict=True))
    return {"shares": shares, "right": "".join(map(str, right.sum(0).tolist()))}


def answered(numbers, labels):
    """What SVMs say of the rooms to test on, each of the strength that is right most often on the kept ones."""
    numbers, said = features.compact(numbers, LEARNED).numpy(), {}
    for name, values in labels.items():
        fits = [
            features.l2_svm(numbers[:LEARNED], values[:LEARNED], strength, scale=False)
            for strength in STRENGTHS
        ]
        kept = slice(LEARNED, LABELLED)
        best = max(fits, key=lambda svm: svm.score(numbers[kept], values[kept]))
        said[name] = best.predict(numbers[LABELLED:])
    return said


def feature_sets(trained, images, seed):
    """Name, training or seed, and the features of all images; each draw has a random D of its own."""
    yield "pixels", 0, images.flatten(1)
    for name, network in trained.items():
        yield "trained D", name, features.pooled_features(network, images)
    first = next(iter(trained.values()))
    network = features.randomised(first, seed=seed, images=images[:LABELLED])
    yield "random D", seed, features.pooled_features(network, images)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=DRAWS)
    draws = parser.parse_args().draws
    refuse_own_weights()
    names = pretrained.trainings("rooms")
    trained = {name: features.dissected(pretrained.load(name)) for name in names}
    fits = []
    for draw in range(draws):
        images, labels = labelled(draw)
        tested = {name: values[LABELLED:] for name, values in labels.items()}
        for name, of, numbers in feature_sets(trained, images, draw):
            found = judged(answered(numbers, labels), tested)
            fits.append({"features": name, "of": of, "draw": draw} | found)
            print(name, of, draw, found["shares"], flush=True)
    base = {name: values.bincount().max().item() / TESTED for name, values in tested.items()}
    found = {"tested": TESTED, "base": base, "fits": rounded(fits)}
    store(FOLDER / "thousand.json", found, __file__, *(f"{name}/discriminator" for name in names))


if __name__ == "__main__":
    main()
