"""The network of the instruments, and what it reads off the images of each world; see `reading.py`."""

from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import nn

from dcgan_book.worlds import faces, rooms

FEATURES = 128  # numbers in which images are compared
# The most that training adds; see `learning/damage.py`
DAMAGE = {"blur": 1.4, "ringing": 1.5, "noise": 0.06, "warp": 2.5}


@dataclass(frozen=True)
class Schema:
    """What an instrument reads off the images of a world, besides which label each pixel has.

    world: its module. scalars, hues (points on a circle) and choices, name to options, are factors of it. owners:
    choices that mean something only where an object is, name to object. image_labels: what is present or not like
    an object, but of the image as a whole. attention_maps: places that the network picks out to look at closely.
    weights: how much more than others a scalar counts in training, by name.
    """

    world: ModuleType
    scalars: tuple
    hues: tuple
    choices: dict
    owners: dict
    image_labels: tuple = ()
    attention_maps: int = 0
    weights: dict = field(default_factory=dict)

    @property
    def things(self) -> tuple:
        """All that can be present: the world's objects, then the image labels."""
        return self.world.OBJECTS + self.image_labels

    @cached_property
    def heads(self) -> dict[str, int]:
        """Name to width, in the order of the network's outputs."""
        return (
            {"presence": len(self.things), "scalars": len(self.scalars), "hues": 2 * len(self.hues)}
            | {name: len(options) for name, options in self.choices.items()}
            | {"damage": len(DAMAGE)}
        )

    def split(self, outputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """The heads' outputs by name."""
        return dict(zip(self.heads, outputs.split(list(self.heads.values()), dim=1), strict=True))


ROOMS = Schema(
    rooms,
    scalars=(
        "daylight",
        "bed_x",
        "bed_tone",
        "wood",
        "wall_saturation",
        "wall_brightness",
        "floor_brightness",
    ),
    hues=("wall_hue", "bed_hue"),
    choices={"bed_size": rooms.CHOICES["bed_size"]}
    | {f"{name}_place": rooms.PLACES for name in rooms.HUNG},
    owners={f"{name}_place": name for name in rooms.HUNG},
)
FACES = Schema(
    faces,
    scalars=("yaw", "smile", "skin", "face_width", "jaw", "light", "background_tone"),
    hues=("background_hue", "clothes_hue"),
    choices={name: tuple(rates) for name, rates in faces.RATES.items()}
    | {"hair_style": tuple(faces.HAIR_RATES["woman"])},
    owners={"glasses_style": "glasses", "beard_style": "beard"},
    image_labels=("face",),  # "still a face": neither melted, nor double, nor without eyes or mouth
    attention_maps=4,  # a smile is a matter of a few pixels, which a grid of 4x4 loses
    weights={"smile": 4.0},
)
SCHEMAS = {"rooms": ROOMS, "faces": FACES}


class Network(nn.Module):
    """One encoder for three readings of 64x64 images: labels, factors, features.

    `forward(images)` takes (n, 3, 64, 64) in [-1, 1] and returns the logits of the world's `LABELS` for each pixel,
    (n, labels, 64, 64), the features (n, 128), each with mean 0 and variance 1 over the training images, and the
    outputs named by `schema.heads` in one tensor. Half of the resolution is enough inside, as four pixels leave
    together.
    """

    def __init__(self, width: int = 24, schema: Schema = ROOMS):
        super().__init__()
        self.schema = schema
        w = self.width = width
        self.encoder = nn.ModuleList(
            [
                nn.Sequential(_conv(12, w), _conv(w, w)),  # 32x32
                nn.Sequential(_conv(w, 2 * w), _conv(2 * w, 2 * w)),  # 16x16
                nn.Sequential(_conv(2 * w, 3 * w), _conv(3 * w, 3 * w)),  # 8x8
                nn.Sequential(_conv(3 * w, 4 * w)),  # 4x4
            ]
        )
        self.decoder = nn.ModuleList([_conv(7 * w, 2 * w), _conv(4 * w, 2 * w), _conv(3 * w, w)])
        self.pixels = nn.Conv2d(w, 4 * len(schema.world.LABELS), 1)
        self.grid = nn.Conv2d(4 * w, 32, 1)
        self.places = nn.Conv2d(2 * w, schema.attention_maps, 1) if schema.attention_maps else None
        inputs = 32 * 16 + 6 * w + 2 * w * schema.attention_maps
        self.features = nn.Sequential(
            nn.Linear(inputs, FEATURES, bias=False), nn.BatchNorm1d(FEATURES, affine=False)
        )
        self.head = nn.Linear(FEATURES, sum(schema.heads.values()))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        maps = self.encode(images)
        return (self.decode(maps), *self.describe(maps))

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The feature maps of four resolutions, 32x32 first."""
        x = F.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        maps = [self.encoder[0](x)]
        for stage in self.encoder[1:]:
            maps.append(stage(F.max_pool2d(maps[-1], 2)))
        return maps

    def decode(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Logits of each pixel's label."""
        x = maps[-1]
        for stage, skip in zip(self.decoder, maps[-2::-1], strict=True):
            x = stage(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return F.pixel_shuffle(self.pixels(x), 2)

    def describe(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, from the coarsest map, the means of the finer ones and what the attention maps pick at 16x16,
        and the heads' outputs."""
        means = [each.mean((2, 3)) for each in maps[:-1]]
        if self.places is not None:
            where = self.places(maps[1]).flatten(2).softmax(2)
            means.append(torch.einsum("nkp,ncp->nkc", where, maps[1].flatten(2)).flatten(1))
        features = self.features(torch.cat([self.grid(maps[-1]).flatten(1), *means], 1))
        return features, self.head(F.relu(features))


def _conv(before, after):
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )
