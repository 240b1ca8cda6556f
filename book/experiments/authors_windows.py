"""Windows in the authors' own ten pairs of figure 6, counted by judges who see single tiles and no key, for chapter 4.

`python book/experiments/authors_windows.py cut FOLDER PAIRS REAL` cuts the two pictures of the authors' public repository
(their window drop, and their sheet of real bedrooms) into tiles, in an order of its own for each of two judges. A judge
looks at 00.png to 29.png, one by one, and writes answers.json beside them: {"00": {"windows": 1}, ...}. Then
`... collect FOLDER` writes authors_windows.json, the counts alone: the pictures stay where they are.
"""

import json
import random
import sys
from pathlib import Path

from PIL import Image
from shared import store

SIDE, PAIRS, TIMES = 64, 10, 7
KINDS = {"above": "all units", "below": "window units dropped", "real": "real bedrooms"}


def main(command, folder, *pictures):
    if command == "cut":
        cut(Path(folder), *(Image.open(picture).convert("RGB") for picture in pictures))
    elif command == "collect":
        collect(Path(folder))
    else:
        sys.exit(f"error: {command!r} is neither cut nor collect")


def cut(folder, pairs, real):
    """A folder of tiles for each judge, and the key, beside the folders."""
    chance = random.Random(20151119)  # the day of the paper's first version
    places = [(x, y) for x in range(real.width // SIDE) for y in range(real.height // SIDE)]
    tiles = [(f"above-{i}", tile(pairs, i, 0)) for i in range(PAIRS)]
    tiles += [(f"below-{i}", tile(pairs, i, 1)) for i in range(PAIRS)]
    sampled = chance.sample(places, PAIRS)
    tiles += [(f"real-{i}", tile(real, *place)) for i, place in enumerate(sampled)]
    for judge in ("judge1", "judge2"):
        order = tiles[:]
        chance.shuffle(order)
        (folder / judge).mkdir(parents=True, exist_ok=True)
        for i, (_, image) in enumerate(order):
            image.save(folder / judge / f"{i:02d}.png")
        key = {f"{i:02d}": name for i, (name, _) in enumerate(order)}
        (folder / f"{judge}.key.json").write_text(json.dumps(key), encoding="utf-8")


def tile(picture, x, y):
    box = x * SIDE, y * SIDE, (x + 1) * SIDE, (y + 1) * SIDE
    return picture.crop(box).resize((TIMES * SIDE,) * 2, Image.Resampling.BICUBIC)


def collect(folder):
    """Counts of both judges by kind of tile, pair by pair."""
    windows = {label: [] for label in KINDS.values()}
    for judge in ("judge1", "judge2"):
        key = json.loads((folder / f"{judge}.key.json").read_text(encoding="utf-8"))
        answers = json.loads((folder / judge / "answers.json").read_text(encoding="utf-8"))
        seen = {key[number]: answer["windows"] for number, answer in answers.items()}
        for kind, label in KINDS.items():
            windows[label].append([seen[f"{kind}-{i}"] for i in range(PAIRS)])
    found = {"source": "https://github.com/Newmu/dcgan_code", "windows": windows}
    store(Path(__file__).with_suffix(".json"), found, __file__, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
