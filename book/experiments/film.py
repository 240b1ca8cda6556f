"""The film at the top of the README: a walk through rooms, and the same walk without the units that draw windows.

`python book/experiments/film.py` writes `book/static/opening.webp`, at most 2 MB. Left is what the network draws, in the
middle the same latents with the units of the book's first page off, right with as many random units off.
"""

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from shared import refuse_own_weights

from dcgan_book import figures, measure, pretrained, walking
from dcgan_book.hooks import ablate

BOOK = Path(__file__).parents[1]
TO = BOOK / "static" / "opening.webp"
STEPS, SIDE, GAP, LINE = 12, 256, 8, 30  # frames from room to room; pixels
MILLISECONDS = 110


def film():
    """The frames, PIL images."""
    sys.path.insert(0, str(BOOK / "extensions"))
    import opening  # the first page's own rooms and units

    trained, instrument = pretrained.load("rooms"), measure.load()
    rooms = opening.windowed(trained, instrument, 5)
    legs = zip(rooms, rooms.roll(-1, 0), strict=True)
    z = torch.cat([walking.line(a, b, STEPS + 1)[:-1] for a, b in legs])
    off = opening.ranking()[: opening.OFF].tolist()
    random = torch.randperm(256, generator=torch.Generator().manual_seed(0))[: len(off)].tolist()
    drawn = []
    for units in ([], off, random):
        with torch.no_grad(), ablate(trained.generator, "8x8", units):
            drawn.append(figures.to_display(trained.generator(z)))
    titles = ("a network's rooms", f"without {len(off)} units", f"without {len(off)} at random")
    return [frame(tiles, titles) for tiles in zip(*drawn, strict=True)]


def frame(tiles, titles):
    whole = Image.new("RGB", (3 * SIDE + 2 * GAP, SIDE + LINE), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(18)
    for i, (tile, title) in enumerate(zip(tiles, titles, strict=True)):
        left = i * (SIDE + GAP)
        whole.paste(
            Image.fromarray(tile).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, LINE)
        )
        pen.text((left + 2, 3), title, "black", font)
    return whole


def main():
    refuse_own_weights()
    first, *rest = film()
    first.save(
        TO, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, quality=72, method=4
    )
    print(f"{TO.name}: {TO.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
