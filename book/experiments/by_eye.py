"""Two hundred samples of the shipped generator for a person to label, before the instrument has been asked (chapter 2).

`python book/experiments/by_eye.py` writes by-eye.png, 20 samples across. by-eye.json holds what was seen in them:
the numbers of the samples, row by row from 0, in which there is a window, a lamp, a television set, a door.
"""

from pathlib import Path

from PIL import Image

from dcgan_book import figures, measure, pretrained


def main():
    samples = measure.sample(pretrained.load("rooms").generator, 200, purpose="by eye")
    Image.fromarray(figures.sheet(samples, 20)).save(Path(__file__).with_name("by-eye.png"), optimize=True)


if __name__ == "__main__":
    main()
