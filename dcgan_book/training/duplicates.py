"""Near-duplicate images found and left out before training (paper, section 4.1.1).

A picture that is in the data a hundred times, a little shifted, cropped or compressed anew, is a picture that the
generator may learn by heart. The paper's way to find such copies: a small autoencoder learns to write each image,
32x32 pixels, in 128 numbers and to read it back; whether each number is above zero, which a ReLU decides, makes 128
bits. Copies have the same bits or nearly so, and bits can be looked up: no image is compared with all others.

`python -m dcgan_book.training.duplicates --data PATH --out unique.npy` writes what stays; `--data unique.npy` trains on it.
"""

import argparse
import sys
from itertools import count, product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from dcgan_book.cache import atomic_write, expanded
from dcgan_book.training import data

SIDE, BITS = 32, 128  # pixels a side and numbers in a code (paper, section 4.1.1)
# the paper gives neither; with more (0.3, 0.5) fewer copies were found among other rooms
NOISE, DROPOUT = 0.1, 0.1
# bits in which the codes of copies may differ: chosen by book/experiments/duplicates.py
RADIUS = 14
STEPS, BATCH = 600, 128
SAMPLE = 20_000  # images at most that the autoencoder learns from: 250 MB of thumbnails
BLOCK = 1024  # images encoded at a time


class Autoencoder(nn.Module):
    """The paper's 3072-128-3072 autoencoder: denoising, with dropout and ReLU (section 4.1.1).

    `mean` (3072,) is the mean thumbnail of the data; the network sees what differs from it, and then a code's
    numbers are above zero about half of the time, which makes bits that tell most.
    """

    mean: torch.Tensor

    def __init__(self, mean: torch.Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.encoder = nn.Linear(3 * SIDE**2, BITS)
        self.decoder = nn.Linear(BITS, 3 * SIDE**2)

    def forward(self, thumbnails: torch.Tensor) -> torch.Tensor:
        """(n, 3072) -> the same, read back from the code."""
        code = F.relu(self.encoder(thumbnails - self.mean))
        return self.decoder(F.dropout(code, DROPOUT, self.training)) + self.mean

    def bits(self, thumbnails: torch.Tensor) -> torch.Tensor:
        """(n, 3072) -> bool (n, 128): which numbers of the code are above zero."""
        return self.encoder(thumbnails - self.mean) > 0


def thumbnails(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, side, side, 3) -> float (n, 3072): 32x32 pixels, each picture scaled to a mean of 1/2.

    Without that, a copy made a little brighter would have another code.
    """
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    small = F.adaptive_avg_pool2d(pixels, SIDE)
    return (small / small.mean((1, 2, 3), keepdim=True).clamp(min=1) / 2).flatten(1)


def fit(
    images: np.ndarray, steps: int = STEPS, seed: int = 0, progress: bool = False
) -> Autoencoder:
    """Trains an `Autoencoder` on up to 20,000 of the images, uint8 (n, side, side, 3); returns it in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[:SAMPLE].sort().values.numpy()
    known = torch.cat(
        [thumbnails(images[part]) for part in np.array_split(chosen, -(-len(chosen) // BLOCK))]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the first weights and the dropout
        model = Autoencoder(known.mean(0))
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        for _ in tqdm(range(steps), desc="learning codes", unit="step", disable=not progress):
            clean = known[torch.randint(len(known), (BATCH,), generator=generator)]
            noisy = clean + NOISE * torch.randn(clean.shape, generator=generator)
            loss = F.mse_loss(model(noisy), clean)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def encode(model: Autoencoder, images: np.ndarray, progress: bool = False) -> np.ndarray:
    """The codes of uint8 (n, side, side, 3), read in blocks: uint64 (n, 2), 16 bytes an image."""
    codes = np.empty((len(images), BITS // 64), np.uint64)
    with (
        torch.no_grad(),
        tqdm(total=len(images), desc="coding", unit="image", disable=not progress) as bar,
    ):
        for start in range(0, len(images), BLOCK):
            bits = model.bits(thumbnails(images[start : start + BLOCK])).numpy()
            codes[start : start + len(bits)] = np.packbits(bits, axis=1).view(np.uint64)
            bar.update(len(bits))
    return codes


def pairs(codes: np.ndarray, radius: int = RADIUS) -> np.ndarray:
    """All pairs of codes, uint64 (n, 2), that differ in at most `radius` bits: int (m, 2), the smaller index first.

    Two such codes agree in a whole part where the bits are cut into more than `radius` parts, so only codes with an
    equal part are compared (Norouzi 2012, arXiv 1307.2982, section 3). Raises ValueError unless 0 <= radius < 128.
    """
    if not 0 <= radius < BITS:
        raise ValueError(f"radius is {radius}; it is from 0 to {BITS - 1} bits")
    found = [np.empty((0, 2), np.intp)]
    for word, part in product(codes.T, np.array_split(np.arange(64), radius // 2 + 1)):
        keys = word >> np.uint64(part[0]) & np.uint64(2 ** len(part) - 1)
        order = np.argsort(keys, kind="stable")
        keys, sorted_codes = keys[order], codes[order]
        first = np.arange(len(codes))
        # neighbours in the order, then those two apart, and so on while any part is equal
        for apart in count(1):
            first = first[first + apart < len(codes)]
            first = first[keys[first] == keys[first + apart]]
            if not len(first):
                break
            differing = np.bitwise_count(sorted_codes[first] ^ sorted_codes[first + apart]).sum(1)
            near = first[differing <= radius]
            found.append(np.stack([order[near], order[near + apart]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def find(
    images: np.ndarray,
    radius: int = RADIUS,
    steps: int = STEPS,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """The images to leave out, an ascending array of indices: each is a near-duplicate of an earlier one that stays.

    images: uint8 (n, side, side, 3), read in blocks, so that a memory map of millions will do. radius: bits in which
    the codes may differ. steps, seed: the training of the autoencoder.
    """
    codes = encode(fit(images, steps, seed, progress=progress), images, progress)
    # a thousand equal codes would make a million pairs
    first = np.sort(np.unique(codes, axis=0, return_index=True)[1])
    gone = set(range(len(images))) - set(first.tolist())
    # in the order of the earlier
    for earlier, later in first[pairs(codes[first], radius)].tolist():
        if earlier not in gone:
            gone.add(later)
    return np.array(sorted(gone), dtype=np.intp)


def write(path: str | Path, images: np.ndarray, kept: np.ndarray) -> None:
    """Writes the images of the indices `kept`, uint8 (n, side, side, 3), block by block as a .npy file."""
    with atomic_write(expanded(path)) as temporary:
        written = np.lib.format.open_memmap(
            temporary, "w+", np.uint8, (len(kept), *images.shape[1:])
        )
        for start in range(0, len(kept), BLOCK):
            written[start : start + BLOCK] = images[kept[start : start + BLOCK]]
        written.flush()
        del written  # Windows renames no file that is mapped


def main(arguments: list[str] | None = None) -> None:
    """The command line; ends the process with 1 and one line where the images cannot be had or written."""
    parser = argparse.ArgumentParser(
        prog="python -m dcgan_book.training.duplicates",
        description="Leave near-duplicate images out, as in section 4.1.1 of the DCGAN paper.",
    )
    parser.add_argument("--data", required=True, help=data.ALLOWED.removeprefix("give "))
    parser.add_argument(
        "--size", type=int, default=64, metavar="N", help="pixels a side (default: 64)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N images")
    parser.add_argument(
        "--out", required=True, metavar="FILE.npy", help="where the images that stay are written"
    )
    parser.add_argument("--radius", type=int, default=RADIUS, metavar="BITS",
                        help=f"bits in which the codes of copies may differ (default: {RADIUS})")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        if not options.out.endswith(".npy") or not 0 <= options.radius < BITS:
            given = f"--out {options.out} --radius {options.radius}"
            raise data.DataError(f"{given}: give a FILE.npy, and 0 to {BITS - 1} bits")
        images = data.load(options.data, options.size, options.limit).images
        gone = find(images, options.radius, progress=True)
        kept = np.delete(np.arange(len(images)), gone)
        write(options.out, images, kept)
    except data.DataError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {options.out} cannot be written: {error}")
    print(
        f"{len(gone):,} of {len(images):,} images are near-duplicates of earlier ones; the others are in {options.out}"
    )


if __name__ == "__main__":
    main()
