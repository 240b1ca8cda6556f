"""Two hundred samples of the shipped generator to be labelled by eye, before the instrument has been asked (chapter 2).

`python book/experiments/by_eye.py` writes by-eye.png, 20 samples across (and the first 64 as the README's picture).
by-eye.json holds what was seen in them: the numbers of the samples, row by row from 0, in which there is a window, a
lamp, a television set, a door. by-eye-second.json is what a second labeller saw, who did not know the first one's
labels (both were vision models).
"""

from pathlib import Path

from PIL import Image
from shared import refuse_own_weights

from dcgan_book import figures, measure, pretrained


def main():
    refuse_own_weights()
    samples = measure.sample(pretrained.load("rooms").generator, 200, purpose="by eye")
    here = Path(__file__).parent
    Image.fromarray(figures.sheet(samples, 20)).save(here / "by-eye.png", optimize=True)
    Image.fromarray(figures.sheet(samples[:64], 16)).save(
        here.parent / "static" / "rooms-samples.png", optimize=True
    )


if __name__ == "__main__":
    main()
