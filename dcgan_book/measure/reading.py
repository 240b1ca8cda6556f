"""The instruments: what they see in an image, how sure a number is, how far samples are from real ones.

Nobody can ask a generator what it drew, so a network looks instead: it says which objects are in an image, which
pixels they cover and which factors the room or face has, and gives features in which images can be compared. Each
has learned from one drawn world alone, damaged as a generator damages it, and never from a generated image; what it
gets wrong on drawings it has not seen stands in its card. The other modules turn its readings into numbers with
intervals (paper, opening of section 6: how such models should and should not be evaluated).

`network.py` is the network, `learning/instruments.py` trains it, and `python -m dcgan_book.measure NAME` writes a generator's
scores to its card.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import load_file

from dcgan_book import pretrained
from dcgan_book.latents import to_batch
from dcgan_book.measure.network import DAMAGE, SCHEMAS, Network
from dcgan_book.worlds import rooms
from dcgan_book.worlds.canvas import SIZE

FOLDER = pretrained.WEIGHTS / "instruments"


FOLDERS = {"rooms": FOLDER, "faces": pretrained.WEIGHTS / "instruments-faces"}


# pixels from which on an object counts as present; every object of a drawn room shows that many
VISIBLE = 8


BATCH = 250  # images read at a time


SURE = 0.9  # probability of a pixel's label above which the instrument is sure of it
DARK = 0.33  # daylight below which it is night: the middle of the gap that rooms leave


class MeasureError(ValueError):
    """There is nothing to measure, or nothing to measure it with; the message is one line."""


@dataclass(frozen=True)
class Reading:
    """What the instrument sees in n images, on the CPU.

    probability, presence: object name to float or bool (n,). labels: uint8 (n, 64, 64), indices into `names`, the
    world's `LABELS`. features: (n, 128). factors: name to (n,), see `Instrument.factors`. clear: share of an image's
    pixels that it is sure of, (n,): where the label has a probability over `SURE`.
    """

    probability: dict
    presence: dict
    labels: torch.Tensor
    features: torch.Tensor
    factors: dict
    clear: torch.Tensor
    names: tuple = rooms.LABELS

    def __len__(self) -> int:
        return len(self.features)

    def mask(self, name: str) -> torch.Tensor:
        """Pixels of one object: bool (n, 64, 64)."""
        return self.labels == self.names.index(name)


class Instrument:
    """Reads images; made by `load`.

    Every method takes images (n, 3, 64, 64) in [-1, 1], or uint8 (n, 64, 64, 3) as a world's `dataset` gives them,
    and answers on the CPU without gradients. Raises MeasureError for no images, and for those of another size. For
    gradients use `.network`, in eval mode, itself.
    """

    def __init__(self, network: Network, card: dict, device: str | torch.device = "cpu"):
        self.network, self.card, self.device = (
            network.eval().requires_grad_(False).to(device),
            card,
            device,
        )
        self.schema = network.schema

    def read(self, images: torch.Tensor | np.ndarray) -> Reading:
        """Everything at once: a `Reading`."""
        labels, clear, features, outputs = self._run(images, lambda maps: (
            *_labels(self.network.decode(maps)), *self.network.describe(maps)))  # fmt: skip
        probability = self._probability(labels, outputs)
        presence = {name: value > 0.5 for name, value in probability.items()}
        names = self.schema.world.LABELS
        return Reading(
            probability, presence, labels, features, self._factors(outputs), clear, names
        )

    def presence(self, images: torch.Tensor | np.ndarray) -> dict[str, torch.Tensor]:
        """Which objects are there: name in the world's `OBJECTS` to bool (n,); of faces also "face", whether it is one.

        Raises MeasureError for no images.
        """
        return self.read(images).presence

    def features(self, images: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Where images lie among those of the world: (n, 128), each feature with about mean 0 and variance 1."""
        return self._run(images, self.network.describe)[0]

    def factors(self, images: torch.Tensor | np.ndarray) -> dict[str, torch.Tensor | np.ndarray]:
        """The factors of the images: name to (n,), in the units and with the names of the world's `FACTORS`.

        Choices are arrays of str and say something only where their object is present. Added are, of rooms, `night`
        (bool) and the damage that the image seems to have: `blur` (pixels), `ringing`, `noise` (of [-1, 1]), `warp`
        (pixels), 0 for a drawn one.
        """
        return self._factors(self._run(images, self.network.describe)[1])

    def _factors(self, outputs):
        heads, factors = self.schema.split(outputs.float()), {}
        for name, value in zip(self.schema.scalars, heads["scalars"].unbind(1), strict=True):
            low, high = self.schema.world.RANGES[name]
            factors[name] = (low + (high - low) * (value + 1) / 2).clamp(low, high)
        for name, (x, y) in zip(
            self.schema.hues, heads["hues"].unflatten(1, (-1, 2)).permute(1, 2, 0), strict=True
        ):
            factors[name] = (torch.atan2(y, x) / (2 * math.pi)) % 1.0
        for name, options in self.schema.choices.items():
            factors[name] = np.array(options)[heads[name].argmax(1).numpy()]
        for (name, most), value in zip(DAMAGE.items(), heads["damage"].unbind(1), strict=True):
            factors[name] = (value * most).clamp(0, most)
        if "daylight" in factors:
            factors["night"] = factors["daylight"] < DARK
        return factors

    def _probability(self, labels, outputs):
        counts = count_pixels(labels, self.schema.world)
        head = self.schema.split(outputs)["presence"].float().sigmoid()
        shown = counts / (counts + VISIBLE - 0.5)  # above 1/2 from `VISIBLE` pixels on
        values = {"head": head, "segmenter": torch.cat([shown, head[:, counts.shape[1] :]], 1)}
        values["both"] = torch.minimum(*values.values())
        return dict(zip(self.schema.things, values[self.card["presence"]].unbind(1), strict=True))

    @torch.no_grad()
    def _run(self, images, describe):
        if len(images) == 0:
            raise MeasureError("there are no images to read")
        as_one = as_images(images[:1]).shape[1:]
        if as_one != (3, SIZE, SIZE):
            raise MeasureError(
                f"images are {' x '.join(map(str, as_one))}; the instruments read those of 3 x {SIZE} x {SIZE} alone, "
                "and what another size shows they have not learned"
            )
        parts = [
            [
                part.cpu()
                for part in describe(
                    self.network.encode(as_images(images[i : i + BATCH]).to(self.device))
                )
            ]
            for i in range(0, len(images), BATCH)
        ]
        return [torch.cat(part) for part in zip(*parts, strict=True)]


def _labels(logits):
    """The most probable label of each pixel, and the share of the pixels for which it is beyond doubt."""
    most, labels = logits.float().softmax(1).max(1)
    return labels.byte(), (most > SURE).float().mean((1, 2))


def load(folder: str | Path = FOLDER, device: str | torch.device = "cpu") -> Instrument:
    """The shipped instrument, or the one that was trained into `folder`. Raises MeasureError if there is none.

    folder: also the name of a world, "rooms" (the default) or "faces", for the one that is shipped.
    """
    folder = Path(FOLDERS.get(str(folder), folder)).expanduser()
    if not (folder / "card.json").exists():
        raise MeasureError(
            f"there is no instrument in {folder}: python -m dcgan_book.measure.learning makes one"
        )
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    network = Network(card["width"], SCHEMAS[card["data"]["name"]])
    network.load_state_dict(
        {
            name: value.float()
            for name, value in load_file(folder / "instrument.safetensors").items()
        },
        strict=False,
    )
    return Instrument(network, card, device)


def as_images(images: torch.Tensor | np.ndarray) -> torch.Tensor:
    """uint8 (n, 64, 64, 3) to float (n, 3, 64, 64) in [-1, 1]; what is such already stays."""
    return images if isinstance(images, torch.Tensor) else to_batch(np.asarray(images))


def count_pixels(labels: torch.Tensor, world: ModuleType = rooms) -> torch.Tensor:
    """Pixels that each object has in labels (n, 64, 64): (n, objects), in the order of the world's `OBJECTS`."""
    first = len(world.SURFACES)
    return torch.stack([(labels == first + i).sum((1, 2)) for i in range(len(world.OBJECTS))], 1)
