"""The paper's bare recipe beside a run of as many steps with noise, both as wide as the shipped weights, for chapter 2.

`python book/experiments/bare.py` trains the bare recipe (a quarter of an hour on a core), takes the other run from the
stop that `young.py` makes at the same step, and writes bare.json: the Frechet distance of both in the instrument's
features, and the rates of objects.
"""

from pathlib import Path

import young
from shared import refuse_own_weights, store

from dcgan_book import measure, pretrained
from dcgan_book.training.__main__ import main as train
from dcgan_book.worlds import rooms

STEPS = 2000
SAMPLES = 5000
HERE = Path(__file__).parent
RUN = HERE.parents[1] / "runs" / "bare"


def main():
    refuse_own_weights()
    instrument = measure.load()
    card = pretrained.load("rooms").card
    if not RUN.exists():
        train(
            [
                f"--steps={STEPS}",
                f"--batch={card['batch']}",
                f"--width={card['width']}",
                f"--out={RUN}",
            ]
        )
    young.trained(STEPS)
    real = instrument.features(rooms.dataset(2 * SAMPLES, measure.HELD_OUT).images[SAMPLES:])
    found = {"steps": STEPS, "samples": SAMPLES}
    for name, folder in (("bare", RUN), ("noise", young.RUNS / str(STEPS))):
        reading = instrument.read(measure.sample(pretrained.load(folder).generator, SAMPLES))
        found[name] = {
            "frechet": measure.numbers(measure.frechet_interval(reading.features, real)),
            "objects": {
                what: measure.numbers(rate)
                for what, rate in measure.rates(reading.presence).items()
            },
        }
    store(HERE / "bare.json", found, __file__, "instruments/instrument", indent=1)


if __name__ == "__main__":
    main()
