"""A generator of faces that has learned from normal latents, for chapter 5's question: averaging, or the norm?

`python book/experiments/normal.py` trains it by the recipe of the shipped `faces`, but for the prior, in runs/faces-normal
(half an hour of two cores; it goes on where it was stopped), and writes normal.safetensors beside itself, which
arithmetic.py reads.
"""

import shutil
import tempfile
from pathlib import Path

from dcgan_book import pretrained, training

HERE = Path(__file__).parent
RUN = HERE.parents[1] / "runs" / "faces-normal"
RECIPE = "--data faces --prior normal --steps 6000 --batch 32 --instance-noise 0.1 --noise-steps 8000 --ema 0.999"


def main():
    training.main([*RECIPE.split(), f"--out={RUN}", *["--resume"] * RUN.exists()])
    with tempfile.TemporaryDirectory() as folder:
        exported = pretrained.export(RUN, "normal", folder)
        shutil.copyfile(exported / "generator.safetensors", HERE / "normal.safetensors")


if __name__ == "__main__":
    main()
