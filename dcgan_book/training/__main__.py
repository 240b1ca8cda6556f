"""The command line of training: `python -m dcgan_book.training --help`."""

import argparse
import contextlib
import math
import os
import signal
import sys
from dataclasses import replace

import torch.distributed as dist

from dcgan_book.cache import expanded
from dcgan_book.latents import PRIORS
from dcgan_book.models import SIZES
from dcgan_book.training import data
from dcgan_book.training.loop import train
from dcgan_book.training.recipe import PRECISIONS, TrainConfig, TrainingError
from dcgan_book.training.runs import read_checkpoint


def main(arguments: list[str] | None = None) -> None:
    """The command line; ends the process with 1 and one line where training cannot go on."""
    options = vars(_parser().parse_args(arguments))
    talks = os.environ.get("RANK", "0") == "0"
    stopped_by: list[int] = []
    try:
        options, epochs = _translated(options, talks)
        out, resume = options.pop("out", None), options.pop("resume", False)
        out = expanded(out or f"runs/{_kind(options.get('data', 'rooms'))}")
        restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
        if restarts:  # torchrun starts all anew when one has ended
            resume = (out / "checkpoint.pt").exists()
        given = options.get("data")
        if resume:
            options = read_checkpoint(out)["config"] | options
        elif (out / "checkpoint.pt").exists():
            raise TrainingError(f"{out} already holds a run: add --resume, or choose another --out")
        config = TrainConfig(**options)
        if expanded(config.data).is_dir() and out.resolve() == expanded(config.data).resolve():
            raise TrainingError(f"{out} is the folder of the images: choose another --out")
        images = data.load(config.data, config.size, config.limit, progress=talks).images
        if epochs:
            config = replace(config, steps=math.ceil(epochs * len(images) / config.batch))
            if talks:
                print(f"{epochs} epochs of {len(images):,} images: --steps {config.steps}")
        with _signals_in(stopped_by):
            trained = train(
                config,
                images,
                run=out,
                resume=resume,
                on_step=lambda _: bool(stopped_by),
                progress=talks,
            )
    except data.DataError as error:
        moved = (
            "; where the run's images have moved, add --data" if given is None and resume else ""
        )
        sys.exit(f"error: {error}{moved}")
    except TrainingError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    if stopped_by and trained.step < config.steps:
        print(
            f"stopped after step {trained.step}; the same command with --resume goes on",
            file=sys.stderr,
        )
        sys.exit(128 + stopped_by[0])


def _kind(spec):
    """What a run on `spec` is called: rooms, faces, lsun, celeba, or the folder's own name."""
    kind = spec.partition(":")[0]
    return kind if kind in data.NAMED else expanded(spec).resolve().name.removesuffix(".npy")


def _translated(options, talks):
    """Options with the flags of PyTorch's example in ours, and the epochs that it counts in, if any.

    Raises TrainingError, with the way that is ours, for a flag that has no counterpart.
    """
    theirs = {name: options.pop(name) for name in (*EXAMPLE, *UNLIKE) if name in options}
    ours = {}
    for name, value in theirs.items():
        if name in UNLIKE and not (name == "ngpu" and value in (0, 1)):
            raise TrainingError(f"--{name}: {UNLIKE[name]}")
        if name not in UNLIKE:
            ours |= EXAMPLE[name](value)
    if "ndf" in theirs and theirs["ndf"] != ours.get("width", options.get("width", theirs["ndf"])):
        raise TrainingError("--ndf: both networks have one width here, --width (their --ngf)")
    kind, epochs = theirs.get("dataset", "folder"), ours.pop("epochs", None)
    if kind == "lsun":
        ours["data"] = f"lsun:{ours.get('data', '.')}"
    elif kind not in ("folder", "imagenet", "lfw"):
        raise TrainingError(f"--dataset {kind}: give a folder of its images, --data FOLDER")
    if "ndf" in theirs and "width" not in ours:
        ours["width"] = theirs["ndf"]
    both = [name for name in ours if name in options]
    if both:
        raise TrainingError(f"--{both[0]} is given twice, in PyTorch's words and in ours")
    if theirs and talks:
        said = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in ours.items())
        prior = "" if "prior" in options else "; z is uniform, theirs is --prior normal"
        print(f"understood as {said or 'nothing'}{prior}")
    return options | ours, epochs


@contextlib.contextmanager
def _signals_in(stopped_by):
    """The first Ctrl-C (or polite kill) lets the step end and a checkpoint be written, the second does not."""

    def handle(number, _):
        stopped_by.append(number)
        if "RANK" not in os.environ:  # torchrun passes on what the terminal already sent
            signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Each group's flags, with what --help says of them; a field of TrainConfig gives the type and the default.
FLAGS = {
    "the run": {
        "--data": ("rooms[:N], faces[:N], a folder of images, lsun:PATH[:category], celeba:PATH or a FILE.npy", {}),
        "--limit": ("use only the first N images", {"type": int, "metavar": "N"}),
        "--size": ("pixels a side; each doubling takes one stage more", {"choices": SIZES}),
        "--out": ("folder of the run (default: runs/ and the name of the data)", {"metavar": "FOLDER"}),
        "--steps": ("batches, each one step of D and one of G", {"metavar": "N"}),
        "--seed": ("starts every random stream", {"metavar": "N"}),
        "--resume": ("go on from the checkpoint in --out", {"action": "store_true"}),
        "--checkpoint-every": ("steps between checkpoints", {"metavar": "N"}),
        "--watch-every": ("steps between two looks of the collapse alarm; 0 for none", {"metavar": "N"}),
        "--keep-best": ("keep the run up to its smallest distance in OUT/best", {"action": "store_true"}),
        "--sheet-every": ("steps between sample sheets, after denser ones at the start", {"metavar": "N"}),
    },
    "the paper's recipe": {
        "--batch": ("images in a batch", {"metavar": "N"}),
        "--prior": ("distribution of z: uniform on [-1, 1], or normal", {"choices": PRIORS}),
        "--width": ("feature maps next to the image; the paper's network has 128", {"metavar": "N"}),
        "--z-dim": ("numbers in z", {"metavar": "N"}),
        "--kernel-size": ("4, or 5 as in the authors' code", {"choices": (4, 5)}),
        "--lr-d": ("Adam's learning rate for D", {"metavar": "RATE"}),
        "--lr-g": ("Adam's learning rate for G", {"metavar": "RATE"}),
        "--beta1": ("Adam's momentum; 0.9 oscillates", {"metavar": "BETA"}),
    },
    "remedies, off by default": {
        "--instance-noise": ("add N(0, SIGMA) noise to all that D sees", {"metavar": "SIGMA"}),
        "--noise-steps": ("let it fall to nothing over N steps (default: it stays)", {"type": int, "metavar": "N"}),
        "--label-smoothing": ("label real images 1 - EPS instead of 1", {"metavar": "EPS"}),
        "--r1": ("penalise D's gradient at real images, weight for example 1", {"metavar": "GAMMA"}),
        "--r1-every": ("do so every N steps, N times as strongly", {"metavar": "N"}),
        "--relativistic": ("let D judge pairs of a real and a generated image", {"action": "store_true"}),
        "--decay-from": ("let the rates fall to nothing from this share of the steps on", {"metavar": "SHARE"}),
        "--ema": ("sample from a moving average of G's weights, decay for example 0.998", {"metavar": "DECAY"}),
    },
    "the machine": {
        "--device": ("auto (cuda, else mps, else cpu) or a device's name", {}),
        "--precision": ("auto takes what is fastest here in a short trial", {"choices": ("auto", *PRECISIONS)}),
        "--threads": ("CPU threads (default: PyTorch's choice)", {"type": int, "metavar": "N"}),
    },
}  # fmt: skip


# The flags of pytorch/examples' dcgan/main.py: how each is said in ours
EXAMPLE = {
    "dataroot": lambda value: {"data": value},
    "dataset": lambda value: {},  # with dataroot, see `_translated`
    "niter": lambda value: {"epochs": value},
    "batchSize": lambda value: {"batch": value},
    "imageSize": lambda value: {"size": value},
    "nz": lambda value: {"z_dim": value},
    "ngf": lambda value: {"width": value},
    "ndf": lambda value: {},
    "lr": lambda value: {"lr_d": value, "lr_g": value},
    "cuda": lambda value: {"device": "cuda"},
    "mps": lambda value: {"device": "mps"},
    "accel": lambda value: {},  # what is there is used
    "workers": lambda value: {},  # images are decoded once, by all cores
    "outf": lambda value: {"out": value},
    "manualSeed": lambda value: {"seed": value},
    "dry-run": lambda value: {"steps": 1},
}
# and what there is instead
UNLIKE = {
    "netG": "--resume goes on with the run in --out; weights of other code train as train(config, models=(G, D))",
    "netD": "--resume goes on with the run in --out; weights of other code train as train(config, models=(G, D))",
    "ngpu": "torchrun --nproc-per-node N -m dcgan_book.training ... takes N processes",
    "classes": "--data lsun:PATH:category takes one category",
}
WORDS = ("dataroot", "dataset", "outf", "netG", "netD", "classes")
SWITCHES = ("cuda", "mps", "accel", "dry-run")


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m dcgan_book.training",
        argument_default=argparse.SUPPRESS,
        description="Train a DCGAN. Without flags this is the paper's recipe on the drawn bedrooms.",
        epilog="Several processes: torchrun --nproc-per-node 2 -m dcgan_book.training ... ; --batch is then "
        "the sum over all, and each takes BatchNorm statistics of its own share. The flags of pytorch/examples' "
        "dcgan, such as --dataroot, --niter and --batchSize, are understood, too.",
    )
    for name in (*EXAMPLE, *UNLIKE):
        switch = (
            {"action": "store_true"}
            if name in SWITCHES
            else {"type": str if name in WORDS else float if name == "lr" else int}
        )
        parser.add_argument(f"--{name}", dest=name, help=argparse.SUPPRESS, **switch)
    defaults = TrainConfig()
    for title, flags in FLAGS.items():
        group = parser.add_argument_group(title)
        for flag, (text, options) in flags.items():
            default = getattr(defaults, flag.lstrip("-").replace("-", "_"), None)
            if default is not None and not isinstance(default, bool):
                text += f" (default: {default})"
                options = {"type": type(default)} | options
            group.add_argument(flag, help=text, **options)
    return parser


if __name__ == "__main__":
    main()
