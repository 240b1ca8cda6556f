"""Trains an instrument: `python -m dcgan_book.measure.learning --help`."""

import argparse
import json
import sys

from dcgan_book.measure.learning.instruments import PRECISIONS, RECIPES, train


def main(arguments=None):
    """The command line; ends the process with 1 and one line where training cannot go on."""
    parser = argparse.ArgumentParser(
        prog="python -m dcgan_book.measure.learning", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", metavar="FOLDER", help="default: the package's weights")
    parser.add_argument("--world", choices=RECIPES, default="rooms", help="default: rooms")
    parser.add_argument(
        "--rooms",
        "--faces",
        type=int,
        metavar="N",
        dest="count",
        help="to learn from (default: 30000, 20000)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="default: 4000, for faces 3000")
    parser.add_argument("--batch", type=int, metavar="N", default=32, help="default: 32")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="default: 0")
    parser.add_argument("--rate", type=float, metavar="RATE", default=3e-3, help="default: 0.003")
    parser.add_argument(
        "--device", default="auto", help="auto (cuda, else mps, else cpu) or a device's name"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto (the faster one), fp32 or bf16",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    options = vars(parser.parse_args(arguments))
    try:
        instrument = train(**options)
        print(json.dumps(instrument.card["scores"], indent=1))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
