"""Where 10,000 rooms drive units of a discriminator most, trained and redrawn, for chapter 3.

`python book/experiments/patches.py` writes patches.json beside itself: for every training the first six units of the
last stage, and then the one that tells beds best by units.json, which is to be there. Rooms are stored by their seeds.
"""

from pathlib import Path

from shared import refuse_own_weights, rounded, store

from dcgan_book import features, pretrained
from dcgan_book.teaching import experiments
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
POOL, FIRST, PATCHES, STAGE = 10_000, 6, 9, "4x4"
RULES = {"random in the last layer": [STAGE], "random in all layers": None}
FITTED, FITTED_SEED = 500, 3_200_000  # rooms that give random layers their BatchNorm statistics


def main():
    refuse_own_weights()
    # the rooms that the networks were trained on, seeds 0 and up
    pool = rooms.dataset(60_000).images[:POOL]
    fitted = rooms.dataset(FITTED, seed=FITTED_SEED).images
    asked = experiments.load(FOLDER / "units.json")
    bed = asked["objects"].index("bed")
    found, names = {}, pretrained.trainings("rooms")
    for name in names:
        (known,) = (each for each in asked["networks"]
                    if (each["training"], each["kind"]) == (name, "trained"))  # fmt: skip
        units = [*range(FIRST), known["stages"][STAGE]["unit"][bed]]
        trained = features.dissected(pretrained.load(name))
        networks = {"trained": trained} | {
            kind: features.randomised(trained, stages, images=fitted)
            for kind, stages in RULES.items()
        }
        found[name] = {"units": units}
        for kind, network in networks.items():
            best = features.top_patches(network, pool, STAGE, PATCHES)
            parts = {"images": best.images, "locations": best.locations, "responses": best.responses}  # fmt: skip
            found[name][kind] = {key: part[units].tolist() for key, part in parts.items()}
    weights = (f"{name}/discriminator" for name in names)
    store(FOLDER / "patches.json", rounded(found), __file__, *weights)


if __name__ == "__main__":
    main()
