"""Two hundred samples of the shipped faces to be labelled by eye, before the instrument is asked (chapter 5).

`python book/experiments/faces_by_eye.py` writes faces-by-eye.png, 20 samples across. faces-by-eye.json holds what was
seen in them: the numbers of the samples, row by row from 0, that wear glasses, have a beard, look like a man, smile with
teeth, look to the left or the right of the picture, and those that are no face.
"""

from pathlib import Path

from PIL import Image
from shared import refuse_own_weights

from dcgan_book import figures, measure, pretrained


def main():
    refuse_own_weights()
    samples = measure.sample(pretrained.load("faces").generator, 200, purpose="by eye")
    sheet = Image.fromarray(figures.sheet(samples, 20))
    sheet.save(Path(__file__).with_name("faces-by-eye.png"), optimize=True)


if __name__ == "__main__":
    main()
