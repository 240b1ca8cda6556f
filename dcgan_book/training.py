"""Training a DCGAN: the loop, what watches it, and what lets it stop and go on (paper, sections 3 and 4).

`gan_step` is the algorithm. `train` repeats it over images and keeps a run folder; `python -m
dcgan_book.training --help` is the same as a command. Bare, it is the paper's recipe; each remedy is one flag.
"""

import argparse
import contextlib
import copy
import dataclasses
import errno
import functools
import hashlib
import io
import json
import math
import mmap
import os
import platform
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from dcgan_book import data
from dcgan_book.models import SIZES, Discriminator, Generator, initialise
from dcgan_book.winograd import winograd

PRECISIONS = ("fp32", "winograd", "bf16")  # winograd is fp32 with its convolutions computed in that way
PRIORS = ("uniform", "normal")
EARLY_SHEETS = (0, 25, 50, 100, 200, 400)  # most changes in the first steps, so the film is dense there
LOG_EVERY = 5  # steps
BAR = "D {d_loss:.3f} G {g_loss:.3f} D(x) {d_real:.2f} D(G(z)) {d_fake:.2f} {images_per_s:.0f} images/s"
SHEET_ROWS = 8  # a sheet shows 8 x 8 samples
RECALIBRATION = 1024  # z's for the BatchNorm statistics of a sheet


class TrainingError(Exception):
    """What ends a training run, said in one line."""


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of a run. The defaults are the paper's; 0 turns `ema` and the other remedies off.

    The fields are the flags of the command line, whose help says what each is. Raises TrainingError for a value that
    one cannot take.
    """

    data: str = "rooms"
    limit: int | None = None
    size: int = 64
    steps: int = 6000
    batch: int = 128
    seed: int = 0
    prior: str = "uniform"
    width: int = 64
    z_dim: int = 100
    kernel_size: int = 4
    lr_d: float = 2e-4
    lr_g: float = 2e-4
    beta1: float = 0.5
    instance_noise: float = 0.0
    noise_steps: int | None = None
    label_smoothing: float = 0.0
    r1: float = 0.0
    r1_every: int = 8
    relativistic: bool = False
    decay_from: float = 1.0
    ema: float = 0.0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    sheet_every: int = 500
    checkpoint_every: int = 250

    def __post_init__(self):
        if self.prior not in PRIORS:
            raise TrainingError(f"prior is {self.prior!r}; it is one of {', '.join(PRIORS)}")
        if self.kernel_size not in (4, 5):
            raise TrainingError(f"kernel_size is {self.kernel_size}; it is 4 or 5")
        if self.size not in SIZES:
            raise TrainingError(f"size is {self.size}; it is one of {', '.join(map(str, SIZES))}")
        if self.precision not in ("auto", *PRECISIONS):
            raise TrainingError(f"precision is {self.precision!r}; it is one of auto, {', '.join(PRECISIONS)}")
        for name in ("steps", "batch", "width", "z_dim", "sheet_every", "checkpoint_every", "limit", "threads",
                     "noise_steps", "r1_every"):  # fmt: skip
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it is at least 1")
        for name in ("beta1", "ema", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it is at least 0 and under 1")
        for name in ("lr_d", "lr_g", "instance_noise", "r1"):
            if not 0 <= getattr(self, name) < math.inf:
                raise TrainingError(f"{name} is {getattr(self, name)}; it is a number from 0 up")
        if not 0 <= self.decay_from <= 1:
            raise TrainingError(f"decay_from is {self.decay_from}; it is a share of the steps, from 0 to 1")


# What a resumed run may change: how long, where and how often, never the recipe.
CHANGEABLE = {"steps", "device", "precision", "threads", "sheet_every", "checkpoint_every"}
CHECKPOINT = {  # what every checkpoint holds
    "generator": dict, "discriminator": dict, "optimiser_g": dict, "optimiser_d": dict, "random": torch.Tensor,
    "step": int, "seconds": float, "count": int, "machine": dict, "config": dict,
}  # fmt: skip


@dataclass
class Progress:
    """What `on_step` sees: the step just done, its record (a line of the log) and the networks."""

    step: int
    record: dict
    generator: nn.Module
    discriminator: nn.Module
    sample: Callable  # sample() -> (64, 3, size, size) in [-1, 1], always of the same 64 z's


@dataclass
class Trained:
    """What `train` returns. `ema` is None unless the recipe has it; `log` has a record for every step logged.

    The networks are as the last step left them, in training mode; before sampling in eval mode, `recalibrate`.
    `samples` are of the 64 fixed z's of the run's sheets: (64, 3, size, size) in [-1, 1].
    """

    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module | None
    step: int
    samples: torch.Tensor
    log: list = field(default_factory=list)


def draw_z(n, z_dim=100, prior="uniform", generator=None):
    """Draws n latents, shape (n, z_dim), from U(-1, 1) (the paper's) or N(0, 1) (PyTorch's tutorials).

    The first n of a larger draw equal a draw of n from the same `generator` state.
    """
    if prior == "uniform":
        return torch.rand(n, z_dim, generator=generator) * 2 - 1
    whole = -(-n * z_dim // 16) * 16  # torch.randn makes 16 at a time and redoes an incomplete end
    return torch.randn(whole, generator=generator)[: n * z_dim].view(n, z_dim)


def gan_step(
    generator, discriminator, optimiser_g, optimiser_d, real, z, smoothing=0.0, see=lambda images: images, r1=0.0,
    relativistic=False,
):  # fmt: skip
    """One step of D and one of G on a batch (paper, section 4; non-saturating loss).

    Arguments: `real` (n, 3, size, size) in [-1, 1]; `z` (n, z_dim); `smoothing` is taken off the label of real
    images; `see` is applied to every image before D sees it; `r1` weighs `gradient_penalty` in D's loss;
    `relativistic` lets D judge pairs, a real image against a generated one, instead of single images
    (Jolicoeur-Martineau 2018, arXiv 1807.00734). Returns four 0-d tensors in a dict: `d_loss` (without the penalty),
    `g_loss`, and the means of D(x) and D(G(z)) before the step, `d_real` and `d_fake`.
    """
    fake = generator(z)

    # D: real images are to get the label 1, generated ones 0. Nothing flows back into G.
    optimiser_d.zero_grad()
    on_real = discriminator(see(real))
    on_fake = discriminator(see(fake.detach()))
    if relativistic:
        d_loss = cross_entropy(on_real - on_fake, 1 - smoothing)
    else:
        d_loss = cross_entropy(on_real, 1 - smoothing) + cross_entropy(on_fake, 0)
    (d_loss + r1 * gradient_penalty(discriminator, real) if r1 else d_loss).backward()
    optimiser_d.step()

    # G: D is to give its images the label 1. D's weights stand still and need no gradient.
    discriminator.requires_grad_(False)
    optimiser_g.zero_grad()
    judged = discriminator(see(fake))
    if relativistic:
        judged = judged - discriminator(see(real)).detach()
    g_loss = cross_entropy(judged, 1)
    g_loss.backward()
    optimiser_g.step()
    discriminator.requires_grad_(True)

    return {
        "d_loss": d_loss.detach(),
        "g_loss": g_loss.detach(),
        "d_real": on_real.detach().sigmoid().mean(),
        "d_fake": on_fake.detach().sigmoid().mean(),
    }


def gradient_penalty(discriminator, real):
    """Half the mean squared length of D's gradient at real images, a 0-d tensor: R1 (Mescheder 2018, arXiv 1801.04406).

    It keeps D flat where the data are, so that D cannot win. Computed in fp32: squares of small gradients.
    """
    with torch.autocast(real.device.type, enabled=False):
        images = real.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def cross_entropy(logits, label):
    """Binary cross-entropy of `logits` (n,) against one label for all, a number from 0 to 1; 0-d tensor."""
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def adam(module, lr, beta1=0.5):
    """The paper's optimiser (section 4: lr 0.0002, beta1 0.5)."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=(beta1, 0.999), fused=True)


def to_batch(images):
    """uint8 (n, h, w, 3) as an array -> float (n, 3, h, w) in [-1, 1] (paper, section 4), channels last."""
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)


def batch_indices(count, batch, step, seed):
    """Which of `count` images make up the batch of `step`: an array of `batch` indices.

    Epoch after epoch is a new permutation that follows from `seed`; batches run over their borders.
    """
    first, end = step * batch, (step + 1) * batch
    parts = []
    for epoch in range(first // count, (end - 1) // count + 1):
        parts.append(_order(count, epoch, seed)[max(first - epoch * count, 0) : end - epoch * count])
    return np.concatenate(parts)


@functools.lru_cache(maxsize=2)  # of three million images it takes a tenth of a second, and a batch needs one or two
def _order(count, epoch, seed):
    return torch.randperm(count, dtype=torch.int32, generator=stream(seed, f"order {epoch}")).numpy()


def stream(seed, purpose, device="cpu"):
    """A torch.Generator of its own for each purpose of a run, so that none disturbs another."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


def recalibrate(generator, prior="uniform", count=4096, seed=0, batch=128):
    """Sets the BatchNorm statistics of a generator to the means over `count` z's, and its mode to eval.

    An average of weights has never seen a batch, and running averages lag behind live weights.
    Returns `generator`, changed in place.
    """
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    device = next(generator.parameters()).device
    random = stream(seed, "recalibration")
    generator.train()
    with torch.no_grad():
        for _ in range(math.ceil(count / batch)):
            generator(draw_z(batch, generator.z_dim, prior, random).to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return generator.eval()


def train(config, images=None, run=None, models=None, on_step=None, resume=False, progress=True):
    """Trains a DCGAN, and keeps the run in a folder if one is given.

    Arguments: `config`, a TrainConfig; `images`, uint8 (n, size, size, 3), by default what `config.data` names;
    `run`, a folder for checkpoints, log and sheets; `models`, a pair (G, D) to train instead of the paper's;
    `on_step`, called with a `Progress` after each step, stops the run by returning True; `resume` goes on
    from the checkpoint in `run`; `progress` shows a bar. Returns a `Trained`.
    Raises TrainingError for a loss that is not a number, a checkpoint that does not fit, or a full disk.
    """
    rank, world = _join()
    talks = progress and rank == 0
    if config.batch % world:
        raise TrainingError(f"a batch of {config.batch} does not divide among {world} processes")
    torch.set_flush_denormal(True)  # D's gradients shrink into denormals as it wins, and those are slow
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    if images is None:
        images = data.load(config.data, config.size, config.limit, progress=talks).images
    images = images[: config.limit]
    wanted = config.size, config.size, 3
    if images.dtype != np.uint8 or images.shape[1:] != wanted or not len(images):
        raise TrainingError(f"images are {images.dtype} {images.shape}; uint8 (n, {', '.join(map(str, wanted))}) is needed")

    state = _start(config, models, device)
    generator, discriminator, ema = state["generator"], state["discriminator"], state["ema"]
    players = generator, discriminator, state["optimiser_g"], state["optimiser_d"]
    folder = RunFolder(run, config, len(images)) if run is not None else None
    step, seconds, precision = folder.restore(state, device) if resume else (0, 0.0, None)
    precision = precision or choose_precision(config.precision, device, config.width, say=talks)
    if world > 1:
        precision = _of_the_first(precision)  # each has timed its own trial
        for optimiser in players[2:]:
            optimiser.register_step_pre_hook(_average_gradients)
        folder = folder if rank == 0 else None  # one process writes

    fixed_z = draw_z(SHEET_ROWS**2, config.z_dim, config.prior, stream(config.seed, "fixed z")).to(device)

    def sample():
        sampler = copy.deepcopy(generator if ema is None else ema)
        with torch.no_grad():
            return recalibrate(sampler, config.prior, RECALIBRATION, config.seed)(fixed_z)

    log, stopped = [], False
    if folder:
        log = folder.begin(step)
        if step == 0:
            folder.write_sheet(0, sample())
    since, since_step, began = time.perf_counter(), step, time.perf_counter() - seconds
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=config.steps, initial=step, unit="step", disable=not talks))
        batches = stack.enter_context(contextlib.closing(_batches(images, config, step, rank, world)))
        autocast = stack.enter_context(computing(precision, device, generator, discriminator))
        while step < config.steps and not stopped:
            real = next(batches).to(device)
            z = draw_z(config.batch, config.z_dim, config.prior, state["random"])[rank::world].to(device)
            see = _noise(_sigma(config, step), stream(config.seed, f"noise {step} {rank}", device))
            _set_rates(players[2:], config, step)
            r1 = config.r1 * config.r1_every if step % config.r1_every == 0 else 0.0
            with autocast:
                losses = gan_step(*players, real, z, config.label_smoothing, see, r1, config.relativistic)
            step += 1
            if ema is not None:
                decay = min(config.ema, step / (step + 9))  # short at first: the start is soon forgotten
                with torch.no_grad():
                    torch._foreach_lerp_(list(ema.parameters()), list(generator.parameters()), 1 - decay)

            now = time.perf_counter()
            record = {"step": step} | _mean_over_processes(losses, world)
            record["seconds"] = round(now - began, 3)
            record["images_per_s"] = round(config.batch * (step - since_step) / (now - since), 1)
            for name in ("d_loss", "g_loss"):
                if not math.isfinite(record[name]):
                    kept = f"; {folder.last_good()}" if folder else ""
                    raise TrainingError(f"{name} is {record[name]} at step {step}: training stopped{kept}")
            bar.set_postfix_str(BAR.format(**record), refresh=False)
            bar.update()
            logged = step % LOG_EVERY == 0 or step == config.steps
            if logged:
                log.append(record)
                since, since_step = now, step
            if on_step is not None:
                stopped = bool(on_step(Progress(step, record, generator, discriminator, sample)))
            stopped = _any_process(stopped, world)
            if folder:
                if logged:
                    folder.write_log(record)
                if step in EARLY_SHEETS or step % config.sheet_every == 0 or step == config.steps:
                    folder.write_sheet(step, sample())
                    folder.write_curves()
                if step % config.checkpoint_every == 0 or step == config.steps or stopped:
                    folder.save(state, step, time.perf_counter() - began, machine_facts(device, precision))
    return Trained(generator, discriminator, ema, step, sample(), log)


def _start(config, models, device):
    """All that a checkpoint holds, as it is before the first step."""
    if models is None:
        weights = stream(config.seed, "weights")
        models = [initialise(network, weights) for network in _networks(config)]
    layout = torch.contiguous_format if device.type == "mps" else torch.channels_last
    generator, discriminator = (model.to(device, memory_format=layout).train() for model in models)
    return {
        "generator": generator,
        "discriminator": discriminator,
        "ema": copy.deepcopy(generator).requires_grad_(False) if config.ema else None,
        "optimiser_g": adam(generator, config.lr_g, config.beta1),
        "optimiser_d": adam(discriminator, config.lr_d, config.beta1),
        "random": stream(config.seed, "z"),
    }


def _networks(config):
    return (
        Generator(config.width, config.z_dim, config.kernel_size, size=config.size),
        Discriminator(config.width, config.kernel_size, size=config.size),
    )


def _batches(images, config, step, rank, world):
    """Yields this process's share of batch after batch from `step` on; a thread has the next one ready."""

    def prepare(step):
        # in the order of the file, which is faster; a batch is a set
        mine = np.sort(batch_indices(len(images), config.batch, step, config.seed))[rank::world]
        batch = to_batch(images[mine])
        if isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            # what was read, and more around it, counts as this process's memory until it is given back; it stays in the
            # system's cache
            images._mmap.madvise(mmap.MADV_DONTNEED)
        return batch

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, step)
        while True:
            step += 1
            now, ahead = ahead, pool.submit(prepare, step)
            yield now.result()


def _set_rates(optimisers, config, step):
    """Both learning rates at a step: as configured, from `decay_from` on falling in a straight line to nothing."""
    first = config.decay_from * config.steps
    left = 1.0 if step <= first else (config.steps - step) / (config.steps - first)
    for optimiser, rate in zip(optimisers, (config.lr_g, config.lr_d), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * left


def _sigma(config, step):
    """Instance noise at a step: the same always, or falling in a straight line to nothing at `noise_steps`."""
    left = 1 - step / config.noise_steps if config.noise_steps else 1
    return config.instance_noise * max(left, 0)


def _noise(sigma, generator):
    """What D sees of an image when instance noise is on (Sonderby 2016, arXiv 1610.04490)."""
    if not sigma:
        return lambda images: images
    return lambda images: images + sigma * torch.randn(images.shape, generator=generator, device=images.device)


class RunFolder:
    """A run on disk: checkpoint.pt, config.json, log.jsonl, samples-NNNNNN.png, losses.png.

    A checkpoint is written beside the last one and then takes its place, so that there is always a whole one.
    """

    def __init__(self, path, config, count):
        self.path, self.config, self.count = Path(path), config, count
        self.saved_step = None

    def begin(self, step):
        """Makes the folder, or cuts its log and sheets back to `step`; returns what is left of the log."""
        with self._space():
            self.path.mkdir(parents=True, exist_ok=True)
            self._replace("config.json", json.dumps(dataclasses.asdict(self.config), indent=1).encode())
            kept = [line for line in read_log(self.path) if line["step"] <= step]
            self._replace("log.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())
            for later in [path for at, path in sheets(self.path).items() if at > step]:
                later.unlink()
        return kept

    def save(self, state, step, seconds, machine):
        """Writes the checkpoint of `step`; `seconds` is the time trained so far, `machine` what did it.

        Raises TrainingError, and leaves the last checkpoint, where a weight is not finite or there is no space.
        """
        for name in ("generator", "discriminator"):
            if not all(torch.isfinite(weight).all() for weight in state[name].parameters()):
                raise TrainingError(
                    f"weights of the {name} are not finite at step {step}: training stopped; {self.last_good()}"
                )
        epoch, offset = divmod(step * self.config.batch, self.count)
        checkpoint = {
            name: part.get_state() if isinstance(part, torch.Generator) else part.state_dict()
            for name, part in state.items()
            if part is not None
        }
        checkpoint |= {
            "step": step,
            "seconds": seconds,
            "epoch": epoch,
            "offset": offset,
            "count": self.count,
            "machine": machine,
            "config": dataclasses.asdict(self.config),
        }
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with self._space():
            self._replace("checkpoint.pt", buffer.getbuffer())
        self.saved_step = step

    def restore(self, state, device):
        """Puts the checkpoint into the parts of `state`; returns (step, seconds, precision or None).

        The precision is kept where the device is, so that a resumed run computes what an unbroken one would.
        Raises TrainingError for a checkpoint of another recipe, other images or other networks.
        """
        checkpoint = read_checkpoint(self.path)
        for name, value in dataclasses.asdict(self.config).items():
            before = checkpoint["config"].get(name, value)
            fixed = name not in CHANGEABLE or (name == "steps" and self.config.decay_from < 1)  # its rates follow them
            if before != value and fixed:
                raise TrainingError(
                    f"the checkpoint in {self.path} was trained with {name} {before}, not {value}: "
                    "resume it with that or choose another folder"
                )
        if checkpoint["count"] != self.count:
            raise TrainingError(
                f"the checkpoint in {self.path} was trained on {checkpoint['count']} images, these are {self.count}"
            )
        try:
            for name, part in state.items():
                if isinstance(part, torch.Generator):
                    part.set_state(checkpoint[name])
                elif part is not None:
                    part.load_state_dict(checkpoint[name])
        except Exception:  # PyTorch raises several kinds for a state that is not its own
            raise TrainingError(
                f"the checkpoint in {self.path} is not of these networks: its {name} does not fit"
            ) from None
        self.saved_step = checkpoint["step"]
        machine = checkpoint["machine"]
        keep = self.config.precision == "auto" and machine.get("device") == device.type
        return checkpoint["step"], checkpoint["seconds"], machine.get("precision") if keep else None

    def last_good(self):
        """What a message says of the last whole checkpoint."""
        if self.saved_step is None:
            return "no checkpoint had been written"
        return f"the checkpoint of step {self.saved_step} in {self.path} is intact"

    def write_log(self, record):
        """Adds a record, a dict, to log.jsonl."""
        with self._space(), open(self.path / "log.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def write_sheet(self, step, images):
        """Writes images, (64, 3, size, size) in [-1, 1], as the sheet of `step`."""
        from dcgan_book import figures  # here, as matplotlib is slow to import

        buffer = io.BytesIO()
        Image.fromarray(figures.sheet(images, len(images) // SHEET_ROWS)).save(buffer, "png")
        with self._space():
            self._replace(f"samples-{step:06d}.png", buffer.getbuffer())

    def write_curves(self):
        """Draws the log so far as losses.png."""
        from dcgan_book import figures  # here, as matplotlib is slow to import

        with figures.style():
            picture = figures.png(figures.training_curves(read_log(self.path), figures.unmanaged(7, 4.6)))
        with self._space():
            self._replace("losses.png", picture)

    def _replace(self, name, content):
        """Writes a file so that under its name there is always the whole old or the whole new one."""
        temporary = self.path / f".{name}.new"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path / name)
        finally:
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _space(self):
        try:
            yield
        except OSError as error:
            reason = "no space is left" if error.errno == errno.ENOSPC else str(error)
            raise TrainingError(f"cannot write to {self.path}: {reason}; {self.last_good()}") from None


def read_checkpoint(run):
    """The checkpoint of a run folder, tensors and plain values in a dict. Raises TrainingError if there is none."""
    path = Path(run) / "checkpoint.pt"
    if not path.exists():
        raise TrainingError(f"there is no checkpoint.pt in {run}: it is not a run, or one stopped before its first")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)  # executes nothing that is in it
        TrainConfig(**checkpoint["config"])
        whole = all(isinstance(checkpoint[name], kind) for name, kind in CHECKPOINT.items())
    except PermissionError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from None
    except Exception:  # PyTorch raises a dozen kinds for a file that is not its own
        whole = False
    if not whole:
        raise TrainingError(f"{path} is not a checkpoint of this trainer, or a damaged one")
    return checkpoint


def read_log(run):
    """The log of a run folder, a list of dicts; a line cut off by a crash is left out."""
    path = Path(run) / "log.jsonl"
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def sheets(run):
    """The sample sheets of a run folder, a dict from step to path, in order."""
    numbered = ((re.fullmatch(r"samples-(\d{6,})", path.stem), path) for path in Path(run).glob("samples-*.png"))
    return dict(sorted((int(match[1]), path) for match, path in numbered if match))


def choose_device(name="auto"):
    """cuda, else mps, else cpu, unless `name` says which. Raises TrainingError if it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, here in there.items() if here)
    if not there.get(name.split(":")[0]):
        here = ", ".join(kind for kind, here in there.items() if here)
        raise TrainingError(f"there is no device {name!r} here: give {here}")
    return torch.device(name)


def choose_precision(name, device, width=64, say=False):
    """What `name` says, or for "auto" the one of `PRECISIONS` that is fastest in a trial on `device`."""
    if name != "auto":
        return name
    trials = ["fp32"]
    if device.type == "cpu":
        trials.append("winograd")
    with contextlib.suppress(RuntimeError):  # some devices lack bf16; others emulate it, a hundred times slower
        if _time_steps(device, "bf16", 8, 4) < 3 * _time_steps(device, "fp32", 8, 4):
            trials.append("bf16")
    seconds = {trial: _time_steps(device, trial, width, 32) for trial in trials}
    chosen = min(seconds, key=seconds.get)
    if say:
        print(
            f"training in {chosen}: on this {device.type}, a step on 32 images takes "
            + ", ".join(f"{seconds[trial]:.3f} s in {trial}" for trial in trials)
            + ("" if "bf16" in trials else "; bf16 is not at home here")
        )
    return chosen


@contextlib.contextmanager
def computing(precision, device, *networks):
    """Sets `networks` up for a precision; yields the context in which their steps are to be computed."""
    with winograd(*networks) if precision == "winograd" else contextlib.nullcontext():
        yield torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def machine_facts(device, precision):
    """What a model card says of the machine: nothing that names it."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n")
        processor = next((line.split(": ")[1] for line in lines if line.startswith("model name")), processor)
    return {
        "device": device.type,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "processor": torch.cuda.get_device_name() if device.type == "cuda" else processor,
        "torch": str(torch.__version__),
    }


def _time_steps(device, precision, width, batch):
    generator, discriminator = Generator(width), Discriminator(width)
    for network in (generator, discriminator):
        network.to(device, memory_format=torch.channels_last)
    optimisers = adam(generator, 2e-4), adam(discriminator, 2e-4)
    real, z = torch.zeros(batch, 3, 64, 64, device=device), torch.zeros(batch, 100, device=device)
    times = []
    with computing(precision, device, generator, discriminator) as autocast:
        for _ in range(3):
            start = time.perf_counter()
            with autocast:
                losses = gan_step(generator, discriminator, *optimisers, real, z)
            losses["g_loss"].item()
            times.append(time.perf_counter() - start)
    return min(times)


def _join():
    """This process's rank and the number of processes; joins the others where torchrun started it."""
    if "RANK" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        store, rank, world = next(dist.rendezvous("env://"))
        if os.environ.get("LOCAL_WORLD_SIZE") == str(world):
            # torchrun keeps one store for all starts, in which the addresses of the processes that ended still stand
            # (on several machines TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 does the same)
            store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return dist.get_rank(), dist.get_world_size()


@contextlib.contextmanager
def _together():
    """Where every process waits for the others: one that has ended is no fault of this one's."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"another process of this run has ended ({' '.join(str(error).split())[:80]}): see what it said; "
            "torchrun --max-restarts N goes on from the last checkpoint"
        ) from None


@_together()
def _average_gradients(optimiser, *_):
    gradients = [weight.grad for group in optimiser.param_groups for weight in group["params"]]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, flat.split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


@_together()
def _of_the_first(value):
    shared = [value]
    dist.broadcast_object_list(shared)
    return shared[0]


@_together()
def _mean_over_processes(losses, world):
    values = torch.stack(list(losses.values()))
    if world > 1:
        dist.all_reduce(values)
    return {name: round(value / world, 6) for name, value in zip(losses, values.tolist(), strict=True)}


@_together()
def _any_process(stopped, world):
    if world == 1:
        return stopped
    votes = torch.tensor(float(stopped))
    dist.all_reduce(votes)
    return votes.item() > 0


def plain_step(generator, discriminator, optimiser_g, optimiser_d, real, z):
    """The step as `pytorch/examples/dcgan` writes it: what `benchmark` compares with. Returns both losses in a dict."""
    ones, zeros = torch.ones(len(real), device=real.device), torch.zeros(len(real), device=real.device)
    discriminator.zero_grad()
    on_real = F.binary_cross_entropy(discriminator(real).sigmoid(), ones)
    on_real.backward()
    fake = generator(z)
    on_fake = F.binary_cross_entropy(discriminator(fake.detach()).sigmoid(), zeros)
    on_fake.backward()
    optimiser_d.step()
    generator.zero_grad()
    g_loss = F.binary_cross_entropy(discriminator(fake).sigmoid(), ones)
    g_loss.backward()
    optimiser_g.step()
    return {"d_loss": (on_real + on_fake).detach(), "g_loss": g_loss.detach()}


def plain_adam(network, lr=2e-4):
    """The optimiser of the same example."""
    return torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.999))


def benchmark(config, rounds=5, clock=time.perf_counter):
    """Times steps of the plain loop and of ours in turns, and where our time goes; prints and returns it in a dict.

    `images_per_s`, plain and ours: medians over the rounds. `shares` of our step: the generator's and the
    discriminator's passes, the optimisers, and the making of a batch, which in training a thread does meanwhile.
    `of_peak`: operations of our step's convolutions over its time, as a share of what a large matrix product reaches.
    With one thread, `time.process_time` as `clock` measures on a machine that does other things too.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device, config.width, say=True)
    pixels = np.random.default_rng(0).integers(0, 256, (config.batch, config.size, config.size, 3), np.uint8)
    real = to_batch(pixels).to(device)
    z = draw_z(config.batch, config.z_dim, config.prior).to(device)

    def contender(precision, layout, optimiser, step):
        networks = _networks(config)
        optimisers = [optimiser(network.to(device, memory_format=layout)) for network in networks]
        images = real.contiguous(memory_format=layout)

        def timed(step=step):
            start = clock()
            with computing(precision, device, *networks) as autocast, autocast:
                step(*networks, *optimisers, images, z)["g_loss"].item()
            return clock() - start

        return timed

    plain = contender("fp32", torch.contiguous_format, plain_adam, plain_step)
    ours = contender(precision, torch.channels_last, lambda network: adam(network, 2e-4), gan_step)
    from torch.utils.flop_counter import FlopCounterMode  # here, as it loads Triton: 80 MB of every kernel

    networks = [network.to(device) for network in _networks(config)]
    with FlopCounterMode(display=False) as counter:
        gan_step(*networks, *map(plain_adam, networks), real, z)
    plain(), ours()  # the first step prepares
    times = [(plain(), ours()) for _ in range(rounds)]
    seconds = [statistics.median(column) for column in zip(*times, strict=True)]
    parts = {"G": 0.0, "D": 0.0, "optimisers": 0.0}
    for _ in range(rounds):
        ours(functools.partial(_watched, clock, parts))
    shares = {part: spent / sum(parts.values()) for part, spent in parts.items()}
    began = clock()
    to_batch(pixels)
    shares["data"] = (clock() - began) / seconds[1]
    peak = _peak(clock, device, torch.bfloat16 if precision == "bf16" else torch.float32)
    result = {
        "width": config.width,
        "batch": config.batch,
        "precision": precision,
        "images_per_s": {"plain": config.batch / seconds[0], "ours": config.batch / seconds[1]},
        "ratio": seconds[0] / seconds[1],
        "shares": shares,
        "of_peak": counter.get_total_flops() / seconds[1] / peak,
    }
    print(
        f"plain loop, fp32: {config.batch / seconds[0]:.1f} images/s\n"
        f"ours, {precision}: {config.batch / seconds[1]:.1f} images/s\n"
        f"ratio: {result['ratio']:.2f} (medians of {rounds} steps in turns, batch {config.batch}, "
        f"width {config.width}, {torch.get_num_threads()} threads)\n"
        f"our step: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())} (data in a thread, meanwhile)\n"
        f"arithmetic: {result['of_peak']:.0%} of what a large matrix product reaches here in this precision"
    )
    return result


def _watched(clock, parts, generator, discriminator, optimiser_g, optimiser_d, real, z):
    """`gan_step`; the seconds that each part of it took are added to the dict `parts`."""
    last = clock()
    ended = iter(("G", "D", "optimisers"))  # what is over when D is about to see an image

    def mark(part):
        nonlocal last
        if real.is_cuda:
            torch.cuda.synchronize()
        now = clock()
        parts[part] += now - last
        last = now

    def see(images):
        mark(next(ended))
        if images.requires_grad:
            images.register_hook(lambda _: mark("D"))  # on its way back to G
        return images

    hooks = [
        hook
        for optimiser, part in ((optimiser_d, "D"), (optimiser_g, "G"))
        for hook in (
            optimiser.register_step_pre_hook(lambda *_, part=part: mark(part)),
            optimiser.register_step_post_hook(lambda *_: mark("optimisers")),
        )
    ]
    losses = gan_step(generator, discriminator, optimiser_g, optimiser_d, real, z, see=see)
    for hook in hooks:
        hook.remove()
    return losses


def _peak(clock, device, kind, side=2048):
    """Operations a second of a matrix product."""
    left, right = (torch.rand(side, side, device=device).to(kind) for _ in range(2))
    times = []
    for _ in range(5):
        start = clock()
        (left @ right)[0, 0].item()
        times.append(clock() - start)
    return 2 * side**3 / min(times)


def main(arguments=None):
    """The command line; ends the process with 1 and one line where training cannot go on."""
    options = vars(_parser().parse_args(arguments))
    out, resume = options.pop("out", None), options.pop("resume", False)
    only_time = options.pop("benchmark", False)
    talks = os.environ.get("RANK", "0") == "0"
    stopped_by = []
    try:
        if only_time:
            for width in [options.pop("width")] if "width" in options else (64, 128):
                benchmark(TrainConfig(width=width, **options))
            return
        out = Path(out or f"runs/{_kind(options.get('data', 'rooms'))}")
        if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)):  # torchrun starts all anew when one has ended
            resume = (out / "checkpoint.pt").exists()
        if resume:
            options = read_checkpoint(out)["config"] | options
        elif (out / "checkpoint.pt").exists():
            raise TrainingError(f"{out} already holds a run: add --resume, or choose another --out")
        config = TrainConfig(**options)
        images = data.load(config.data, config.size, config.limit, progress=talks).images
        with _signals_in(stopped_by):
            trained = train(
                config, images, run=out, resume=resume, on_step=lambda _: bool(stopped_by), progress=talks
            )
    except (TrainingError, data.DataError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    if stopped_by and trained.step < config.steps:
        print(f"stopped after step {trained.step}; the same command with --resume goes on", file=sys.stderr)
        sys.exit(128 + stopped_by[0])


def _kind(spec):
    """What a run on `spec` is called: rooms, faces, lsun, celeba, or the folder's own name."""
    kind = spec.partition(":")[0]
    return kind if kind in data.NAMED else Path(spec).expanduser().resolve().name.removesuffix(".npy")


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


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m dcgan_book.training",
        argument_default=argparse.SUPPRESS,
        description="Train a DCGAN. Without flags this is the paper's recipe on the drawn bedrooms.",
        epilog="Several processes: torchrun --nproc-per-node 2 -m dcgan_book.training ... ; --batch is then "
        "the sum over all, and each takes BatchNorm statistics of its own share.",
    )
    defaults = TrainConfig()

    def add(group, flag, text, **options):
        name = flag.lstrip("-").replace("-", "_")
        default = getattr(defaults, name, None)
        if default is not None and not isinstance(default, bool):
            text += f" (default: {default})"
            options.setdefault("type", type(default))
        group.add_argument(flag, help=text, **options)

    run = parser.add_argument_group("the run")
    add(run, "--data", "rooms[:N], faces[:N], a folder of images, lsun:PATH[:category], celeba:PATH or a FILE.npy")
    add(run, "--limit", "use only the first N images", type=int, metavar="N")
    add(run, "--size", "pixels a side; 32 and 128 take one stage fewer or more", choices=SIZES)
    add(run, "--out", "folder of the run (default: runs/ and the name of the data)", metavar="FOLDER")
    add(run, "--steps", "batches, each one step of D and one of G", metavar="N")
    add(run, "--seed", "starts every random stream", metavar="N")
    add(run, "--resume", "go on from the checkpoint in --out", action="store_true")
    add(run, "--checkpoint-every", "steps between checkpoints", metavar="N")
    add(run, "--sheet-every", "steps between sample sheets, after denser ones at the start", metavar="N")

    recipe = parser.add_argument_group("the paper's recipe")
    add(recipe, "--batch", "images in a batch", metavar="N")
    add(recipe, "--prior", "distribution of z: uniform on [-1, 1], or normal", choices=PRIORS)
    add(recipe, "--width", "feature maps next to the image; the paper's network has 128", metavar="N")
    add(recipe, "--z-dim", "numbers in z", metavar="N")
    add(recipe, "--kernel-size", "4, or 5 as in the authors' code", choices=(4, 5))
    add(recipe, "--lr-d", "Adam's learning rate for D", metavar="RATE")
    add(recipe, "--lr-g", "Adam's learning rate for G", metavar="RATE")
    add(recipe, "--beta1", "Adam's momentum; 0.9 oscillates", metavar="BETA")

    remedies = parser.add_argument_group("remedies, off by default")
    add(remedies, "--instance-noise", "add N(0, SIGMA) noise to all that D sees", metavar="SIGMA")
    add(remedies, "--noise-steps", "let it fall to nothing over N steps (default: it stays)", type=int, metavar="N")
    add(remedies, "--label-smoothing", "label real images 1 - EPS instead of 1", metavar="EPS")
    add(remedies, "--r1", "penalise D's gradient at real images, weight for example 1", metavar="GAMMA")
    add(remedies, "--r1-every", "do so every N steps, N times as strongly", metavar="N")
    add(remedies, "--relativistic", "let D judge pairs of a real and a generated image", action="store_true")
    add(remedies, "--decay-from", "let the rates fall to nothing from this share of the steps on", metavar="SHARE")
    add(remedies, "--ema", "sample from a moving average of G's weights, decay for example 0.998", metavar="DECAY")

    machine = parser.add_argument_group("the machine")
    add(machine, "--device", "auto (cuda, else mps, else cpu) or a device's name")
    add(
        machine,
        "--precision",
        "auto takes what is fastest here in a short trial; winograd is fp32, computed differently",
        choices=("auto", *PRECISIONS),
    )
    add(machine, "--threads", "CPU threads (default: PyTorch's choice)", type=int, metavar="N")
    add(machine, "--benchmark", "only time our step against a plain one", action="store_true")
    return parser


if __name__ == "__main__":
    main()
