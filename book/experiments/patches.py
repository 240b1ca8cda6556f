"""Where 10,000 rooms drive the first six units of a discriminator most, trained and random, for chapter 3.

`python book/experiments/patches.py` writes patches.json beside itself: rooms by their seeds, places, responses, and
what one search took. The random network's BatchNorm statistics are those of `FITTED` rooms.
"""

import time
from pathlib import Path

from shared import peak_megabytes, refuse_own_weights, store

from dcgan_book import features, pretrained
from dcgan_book.worlds import rooms

FOLDER = Path(__file__).parent
POOL, UNITS, PATCHES, STAGE = 10_000, 6, 6, "4x4"
FITTED, FITTED_SEED = 500, 3_200_000


def main():
    refuse_own_weights()
    # the rooms that the networks were trained on, seeds 0 and up
    pool = rooms.dataset(60_000).images[:POOL]
    trained = pretrained.load("rooms").discriminator
    fitted = rooms.dataset(FITTED, seed=FITTED_SEED).images
    networks = {"trained": trained, "random": features.randomised(trained, images=fitted)}
    before = peak_megabytes()
    worked = time.process_time()
    found = {}
    for name, network in networks.items():
        best = features.top_patches(network, pool, STAGE, PATCHES)
        found[name] = {
            "images": best.images[:UNITS].tolist(), "locations": best.locations[:UNITS].tolist(),
            "responses": [[round(value, 4) for value in row] for row in best.responses[:UNITS].tolist()],
        }  # fmt: skip
    found["search"] = {
        "rooms": POOL, "cpu_seconds": round((time.process_time() - worked) / len(networks), 1),
        "megabytes": round(peak_megabytes() - before),
    }  # fmt: skip
    store(FOLDER / "patches.json", found, __file__, "rooms/discriminator")


if __name__ == "__main__":
    main()
