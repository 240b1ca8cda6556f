"""Writes the scores of a model card: `python -m dcgan_book.measure --help`."""

import argparse
import json
import sys

from dcgan_book.measure.scores import score


def main(arguments=None):
    """The command line; ends the process with 1 and one line where there is nothing to score."""
    parser = argparse.ArgumentParser(
        prog="python -m dcgan_book.measure",
        description="Write the scores of a generator of a drawn world into its card.",
    )
    parser.add_argument("name", metavar="NAME", help="weights, or an exported folder")
    parser.add_argument("--samples", type=int, metavar="N", default=5000, help="default: 5000")
    parser.add_argument(
        "--held-out", type=int, metavar="N", default=60_000, help="real images (default: 60000)"
    )
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="default: 0")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    options = parser.parse_args(arguments)
    try:
        found = score(options.name, options.samples, options.seed, options.held_out, options.device)
        print(json.dumps(found, indent=1))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
