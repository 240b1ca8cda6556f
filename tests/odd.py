"""The shipped weights as networks that look different: other z, prior and kernels, and the same pictures."""

import json

import torch
import torch.nn.functional as F

from dcgan_book import pretrained

IDLE = 20  # numbers of z that change nothing


def odd(name, folder):
    """Writes the weights called `name` as `folder`, with 120 numbers of z from the normal prior and kernels of 5.

    Their pictures are those of the shipped ones for z's whose first 100 numbers are as large as the uniform prior's
    (`pretrained.load(folder).generator(z)` is the shipped one's image of z[:, :100] / sqrt(3)). Returns the folder.
    """
    shipped = pretrained.load(name)
    folder.mkdir(parents=True)
    for part in ("generator", "discriminator"):
        network = getattr(shipped, part)
        state = network.state_dict()
        for stage in network.stages:
            key = f"stages.{stage}.0.weight"
            if stage not in ("4x4" if part == "generator" else "", "1x1"):
                state[key] = F.pad(state[key], (1, 0, 1, 0))
        if part == "generator":
            first = state["stages.4x4.0.weight"] / 3**0.5
            state["stages.4x4.0.weight"] = F.pad(first, (0, 0, 0, 0, 0, 0, 0, IDLE))
        twin = type(network).from_state_dict(state)
        (folder / f"{part}.safetensors").write_bytes(
            pretrained.save({name: value.contiguous() for name, value in twin.state_dict().items()})
        )
    card = shipped.card | {"prior": "normal", "z_dim": 100 + IDLE, "kernel_size": 5}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    for file in ("log.jsonl", "film.png"):
        (folder / file).write_bytes((shipped.folder / file).read_bytes())
    return folder


def shipped_latents(z):
    """The shipped generator's latents of the same pictures."""
    return z[:, : z.shape[1] - IDLE] / torch.tensor(3.0).sqrt()
