"""The z of a picture, for chapter 2: trains an encoder on the generator's own samples, and says what it is worth.

`python book/experiments/inversion.py` writes inversion.safetensors, the encoder, and inversion.json, errors on rooms of four
kinds: samples, drawn rooms that the generator was trained on, drawn rooms that it was not, and photographs. Half an hour on
a core, most of it for the encoder.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from shared import refuse_own_weights, rounded, store
from sklearn.datasets import load_sample_images
from tqdm.auto import trange

from dcgan_book import measure, pretrained, walking
from dcgan_book.latents import draw_z, recalibrate_on, stream, to_batch
from dcgan_book.worlds import rooms

HERE = Path(__file__)
STEPS, BATCH, RATE = 600, 64, 1e-3
COUNT, DESCENT = 50, 200


def main():
    refuse_own_weights()
    torch.set_num_threads(1)
    shipped, instrument = pretrained.load("rooms"), measure.load()
    generator, prior = shipped.generator, shipped.card["prior"]
    encoder = trained(generator, prior)
    stored = {name: value.half().contiguous() for name, value in encoder.state_dict().items()}
    save_file(stored, HERE.with_suffix(".safetensors"))

    count = shipped.card["data"]["images"]
    pictures = {
        "samples": sample(generator, prior, COUNT, "inverted"),
        "training rooms": to_batch(rooms.dataset(count).images[:COUNT]),
        "unseen rooms": to_batch(rooms.dataset(COUNT, measure.HELD_OUT).images),
        "photographs": photographs(),
    }
    bound = 1.0 if prior == "uniform" else None
    found = {"count": COUNT, "steps": DESCENT, "error": {}, "features": {}, "guess": {}}
    for name, images in pictures.items():
        with torch.no_grad():
            guess = encoder(images)
        parts = zip(images.split(25), guess.split(25), strict=True)
        z = torch.cat([walking.invert(generator, *part, DESCENT, bound=bound).z for part in parts])
        with torch.no_grad():
            again, first = generator(z), generator(guess.clamp(-1, 1) if bound else guess)
        apart = instrument.features(again) - instrument.features(images)
        found["error"][name] = rms(again - images).tolist()
        found["guess"][name] = rms(first - images).tolist()
        found["features"][name] = apart.square().mean(1).sqrt().tolist()
        print(
            name,
            *(
                f"{kind} {np.median(found[kind][name]):.3f}"
                for kind in ("guess", "error", "features")
            ),
        )
    store(
        HERE.with_suffix(".json"),
        rounded(found),
        __file__,
        "rooms/generator",
        "instruments/instrument",
    )


def trained(generator, prior):
    """An encoder, fitted to the z's of samples that are drawn anew at every step."""
    torch.manual_seed(0)
    encoder, random = walking.encoder(generator.z_dim), stream(0, "encoder")
    optimiser = torch.optim.Adam(encoder.parameters(), RATE)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS)
    for _ in trange(STEPS):
        z = draw_z(BATCH, generator.z_dim, prior, random)
        with torch.no_grad():
            images = generator(z)
        loss = (encoder(images) - z).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
    print(f"mean square error of z at last: {loss.item():.3f}")
    fresh = (sample(generator, prior, BATCH, f"statistics {i}") for i in range(32))
    return recalibrate_on(encoder, fresh)


def sample(generator, prior, count, purpose):
    with torch.no_grad():
        return generator(draw_z(count, generator.z_dim, prior, stream(0, purpose)))


def photographs():
    """Squares of the two photographs that come with scikit-learn, as many as of the others."""
    squares = [
        Image.fromarray(photo[top : top + 300, left : left + 300]).resize((64, 64))
        for photo in load_sample_images().images
        for top in np.linspace(0, 127, 5).astype(int)
        for left in np.linspace(0, 340, 10).astype(int)
    ]
    return to_batch(np.stack([np.asarray(square) for square in squares]))


def rms(difference):
    return difference.square().mean((1, 2, 3)).sqrt()


if __name__ == "__main__":
    main()
