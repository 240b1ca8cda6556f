"""The paper's bare recipe beside the shipped one, by the instrument of chapter 2, after the same number of steps.

`python book/experiments/bare.py` trains both at the shipped width and batch (about twelve minutes each on one core) and
writes bare.json: Frechet distances to real rooms in the instrument's features, and the object rates it reads.
"""

import json
from pathlib import Path

from dcgan_book import measure, rooms, training

SHIPPED = {"instance_noise": 0.1, "ema": 0.999}  # as in the card of `rooms`
RECIPES = {"bare": {}, "shipped": SHIPPED}
STEPS, SAMPLES = 1500, 2000


def main():
    instrument = measure.load()
    real = instrument.features(rooms.dataset(2 * SAMPLES, measure.HELD_OUT).images)
    result = {"steps": STEPS, "samples": SAMPLES, "floor": measure.frechet(real[:SAMPLES], real[SAMPLES:])}
    for name, remedies in RECIPES.items():
        config = training.TrainConfig(steps=STEPS, batch=32, **remedies)
        run = training.train(config, rooms.dataset(60_000).images)
        generator = training.recalibrate(run.ema or run.generator, config.prior)
        reading = instrument.read(measure.sample(generator, SAMPLES))
        rates = {what: rate.value for what, rate in measure.rates(reading.presence).items()}
        result[name] = {"frechet": measure.frechet(reading.features, real[:SAMPLES]), "rates": rates}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
