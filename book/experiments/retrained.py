"""Two more generators of faces, for chapter 5's questions: averaging, or the norm? The prior, or one training's luck?

`normal` is trained by the recipe of the shipped `faces` but for the prior, `second` but for the seed.
`python book/experiments/retrained.py` trains both in runs/ (half an hour of two cores each; it goes on where it was
stopped) and writes normal.safetensors and second.safetensors beside itself, which arithmetic.py reads.
"""

import shutil
import tempfile
from pathlib import Path

from dcgan_book import pretrained
from dcgan_book.training.__main__ import main as train

HERE = Path(__file__).parent
RUNS = HERE.parents[1] / "runs"
RECIPE = "--data faces --steps 6000 --batch 32 --instance-noise 0.1 --noise-steps 8000 --ema 0.999"
OTHERWISE = {"normal": "--prior normal", "second": "--seed 1"}


def main():
    for name, otherwise in OTHERWISE.items():
        run = RUNS / f"faces-{name}"
        train([*RECIPE.split(), *otherwise.split(), f"--out={run}", *["--resume"] * run.exists()])
        with tempfile.TemporaryDirectory() as folder:
            exported = pretrained.export(run, name, folder)
            shutil.copyfile(exported / "generator.safetensors", HERE / f"{name}.safetensors")


if __name__ == "__main__":
    main()
