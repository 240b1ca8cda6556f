"""Training a DCGAN: the loop, what watches it, and what lets it stop and go on (paper, sections 3 and 4).

`gan_step` is the algorithm. `train` repeats it over images and keeps a run folder; `python -m
dcgan_book.training --help` is the same as a command. Bare, it is the paper's recipe; each remedy is one flag.
"""

import contextlib
import copy
import functools
import math
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from dcgan_book.latents import draw_z, recalibrate, stream, to_batch
from dcgan_book.models import Discriminator, Generator, initialise
from dcgan_book.training import data
from dcgan_book.training.alarm import Alarm
from dcgan_book.training.machine import (
    any_process,
    average_gradients,
    choose_device,
    choose_precision,
    computing,
    join_processes,
    machine_facts,
    of_the_first,
    sum_over_processes,
    threads_of,
)
from dcgan_book.training.recipe import (
    TrainConfig,
    TrainingError,
    adam,
    batch_indices,
    gan_step,
    noise_level,
    noisy,
    set_rates,
)
from dcgan_book.training.runs import SHEET_ROWS, RunFolder, sheets

# most changes in the first steps, so the film is dense there
EARLY_SHEETS = (0, 25, 50, 100, 200, 400)
LOG_EVERY = 5  # steps
BAR = "D {d_loss:.3f} G {g_loss:.3f} D(x) {d_real:.2f} D(G(z)) {d_fake:.2f} {images_per_s:.0f} images/s"
WATCHED = " spread {spread:.2f} distance {distance:.2f}"  # as last measured
RECALIBRATION = 1024  # z's for the BatchNorm statistics of a sheet


@dataclass
class Progress:
    """What `on_step` sees: the step just done, the networks, and the step's record where it is asked for."""

    step: int
    generator: nn.Module
    discriminator: nn.Module
    sample: Callable[[], torch.Tensor]  # (64, 3, size, size) in [-1, 1], always of the same 64 z's
    read: Callable[[], dict]

    @functools.cached_property
    def record(self) -> dict:
        """What a line of the log holds, a dict. A GPU is waited for; raises TrainingError if a loss is no number."""
        return self.read()


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


def train(
    config: TrainConfig,
    images: np.ndarray | None = None,
    run: str | os.PathLike | None = None,
    models: tuple[nn.Module, nn.Module] | None = None,
    on_step: Callable[[Progress], object] | None = None,
    resume: bool = False,
    progress: bool = True,
    step: Callable = gan_step,
    recalibration: int = RECALIBRATION,
) -> Trained:
    """Trains a DCGAN, and keeps the run in a folder if one is given.

    Arguments: `config`, a TrainConfig; `images`, uint8 (n, size, size, 3), by default what `config.data` names;
    `run`, a folder for checkpoints, log and sheets; `models`, a pair (G, D) to train instead of the paper's;
    `on_step`, called with a `Progress` after each step, stops the run by returning True; `resume` goes on
    from the checkpoint in `run`; `progress` shows a bar; `step` is called in place of `gan_step`, with the same
    arguments; `recalibration`, z's for the BatchNorm statistics of what is sampled. Returns a `Trained`.
    Raises TrainingError for a loss that is not a number, a checkpoint that does not fit, or a full disk. Losses
    are read when they are logged or a checkpoint is due, so that a GPU is not waited for at every step: one
    that is no number is found up to four steps later.
    """
    with threads_of(config.threads), torch.inference_mode(False), torch.enable_grad():
        # what is held, a run's folder among it, is let go of even where a traceback holds on to all else
        with contextlib.ExitStack() as stack:
            state = _Run(config, images, run, models, resume, progress, step, recalibration, stack)
            bar = stack.enter_context(
                tqdm(total=config.steps, initial=state.step, unit="step", disable=not state.talks)
            )
            batches = stack.enter_context(contextlib.closing(state.batches()))
            stopped = False
            while state.step < config.steps and not stopped:
                done = state.take_step(next(batches))
                state.watch(done)
                if state.logs():
                    bar.set_postfix_str(state.line(done.record), refresh=False)
                bar.update()
                stopped = any_process(on_step is not None and bool(on_step(done)), state.world)
                state.keep(done, stopped)
        return Trained(
            state.generator, state.discriminator, state.ema, state.step, state.sample(), state.log
        )


class _Run:
    """What `train` carries from step to step; made ready for the first, or for the one after a checkpoint."""

    def __init__(self, config, images, run, models, resume, progress, step, recalibration, stack):
        self.config, self.gan_step, self.recalibration = config, step, recalibration
        self.rank, self.world = join_processes()
        self.talks = progress and self.rank == 0
        if config.batch % self.world:
            raise TrainingError(
                f"a batch of {config.batch} does not divide among {self.world} processes"
            )
        self.device = choose_device(config.device)
        self.images = _fitting(images, config, self.talks)
        self.parts = _start(config, models, self.device)
        self.generator, self.discriminator = self.parts["generator"], self.parts["discriminator"]
        self.ema = self.parts["ema"]
        self.optimisers = self.parts["optimiser_g"], self.parts["optimiser_d"]
        self.folder = None
        if run is not None:
            count, fingerprint = len(self.images), data.fingerprint(self.images)
            self.folder = RunFolder(run, config, count, fingerprint)
            if self.rank == 0:
                stack.enter_context(self.folder.alone())
        self.step, seconds, precision = (
            self.folder.restore(self.parts, self.device) if resume else (0, 0.0, None)
        )
        if resume and self.step == config.steps and self.talks:
            print(f"the run in {run} already has its {config.steps} steps; a larger number goes on")
        self.precision = precision or choose_precision(
            config.precision, self.device, config.width, say=self.talks
        )
        if self.world > 1:
            self.precision = of_the_first(self.precision)  # each has timed its own trial
            for optimiser in self.optimisers:
                optimiser.register_step_pre_hook(average_gradients)
            self.folder = self.folder if self.rank == 0 else None  # one process writes
        fixed = draw_z(SHEET_ROWS**2, config.z_dim, config.prior, stream(config.seed, "fixed z"))
        self.fixed_z = fixed.to(self.device)
        self.log = self.folder.begin(self.step) if self.folder else []
        watched = config.watch_every and self.rank == 0
        self.alarm = Alarm(self.images, config, self.log) if watched else None
        self.watched = next((record for record in self.log[::-1] if "distance" in record), {})
        if self.folder and self.step == 0:
            self.folder.write_sheet(0, self.sample())
        now = time.perf_counter()
        self.began, self.logged_at = now - seconds, (now, self.step)

    def sample(self):
        """The images of the 64 z's that every sheet shows."""
        sampler = copy.deepcopy(self._sampled())
        with torch.no_grad():
            return recalibrate(sampler, self.config.prior, self.recalibration, self.config.seed)(
                self.fixed_z
            )

    def _sampled(self):
        """The generator that is sampled from: the moving average where there is one."""
        return self.generator if self.ema is None else self.ema

    def batches(self):
        pinned = self.device.type == "cuda"
        return _batches(self.images, self.config, self.step, self.rank, self.world, pinned)

    def take_step(self, real):
        """One step of both networks on a batch; returns its `Progress`."""
        config, step = self.config, self.step
        z = draw_z(config.batch, config.z_dim, config.prior, self.parts["random"])[
            self.rank :: self.world
        ]
        see = noisy(
            noise_level(config, step), stream(config.seed, f"noise {step} {self.rank}", self.device)
        )
        set_rates(self.optimisers, config, step)
        r1 = config.r1 * config.r1_every if step % config.r1_every == 0 else 0.0
        with computing(self.precision, self.device):
            losses = self.gan_step(
                self.generator, self.discriminator, *self.optimisers, self._here(real), self._here(z),
                config.label_smoothing, see, r1, config.relativistic,
            )  # fmt: skip
        self.step += 1
        if self.ema is not None:
            # short at first: the start is soon forgotten
            decay = min(config.ema, self.step / (self.step + 9))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.ema.parameters()), list(self.generator.parameters()), 1 - decay
                )
        sums = sum_over_processes(losses, self.world)  # now, as every process has to take part
        read = functools.partial(self._record, self.step, list(losses), sums, self.logged_at)
        return Progress(self.step, self.generator, self.discriminator, self.sample, read)

    def _here(self, tensor):
        """A tensor on the device; a GPU copies it while the CPU goes on."""
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _record(self, step, names, sums, logged_at):
        values = sums.tolist()  # waits for the device
        now, (since, since_step) = time.perf_counter(), logged_at
        record = {"step": step} | {
            n: round(v / self.world, 6) for n, v in zip(names, values, strict=True)
        }
        record["seconds"] = round(now - self.began, 3)
        record["images_per_s"] = round(self.config.batch * (step - since_step) / (now - since), 1)
        for name in ("d_loss", "g_loss"):
            if not math.isfinite(record[name]):
                kept = f"; {self.folder.last_good()}" if self.folder else ""
                raise TrainingError(
                    f"{name} is {record[name]} at step {step}: training stopped{kept}"
                )
        return record

    def logs(self):
        """Whether the step just done is one for the log."""
        return self.step % LOG_EVERY == 0 or self.step == self.config.steps or self._watches()

    def _watches(self):
        return self.config.watch_every and self.step % self.config.watch_every == 0

    def watch(self, done):
        """Every `watch_every` steps the alarm's numbers join the step's record, and what it says is printed."""
        if self.alarm is None or not self._watches():
            return
        try:
            numbers = self.alarm.measure(self._sampled(), self.device, self.precision)
        except TrainingError as error:
            kept = f"; {self.folder.last_good()}" if self.folder else ""
            raise TrainingError(f"{error} at step {self.step}: training stopped{kept}") from None
        self.watched = dict(zip(("spread", "distance"), numbers, strict=True))
        done.record.update(self.watched)
        said = self.alarm.judge(self.step, **self.watched)
        if said:
            done.record["alarm"] = said + (self._remedy() if self.folder else "")
            if self.talks:
                tqdm.write(f"warning: {done.record['alarm']}", file=sys.stderr)

    def _remedy(self):
        """What is left of better times."""
        good = [path for step, path in sheets(self.folder.path).items() if step <= self.alarm.good]
        best = self.folder.path / "best"
        return (f"; the last good sheet is {good[-1]}" if good else "") + (
            f", the best generator is in {best}" if self.config.keep_best else ""
        )

    def line(self, record):
        """What the bar says."""
        return BAR.format(**record) + (WATCHED.format(**self.watched) if self.watched else "")

    def keep(self, done, stopped):
        """What stays of a step: its record in the log, now and then a sheet and a checkpoint."""
        config, step, last = self.config, self.step, self.step == self.config.steps
        if self.logs():
            self.log.append(done.record)
            self.logged_at = time.perf_counter(), step
        if not self.folder:
            return
        if self.logs():
            self.folder.write_log(done.record)
        if step in EARLY_SHEETS or step % config.sheet_every == 0 or last:
            self.folder.write_sheet(step, self.sample())
            self.folder.write_curves()
        if config.keep_best and self.alarm.best == (done.record.get("distance"), step):
            self.folder.keep_best(self.parts, step, *self._facts(), self.sample())
        if step % config.checkpoint_every == 0 or last or stopped:
            done.record  # noqa: B018  a loss that is no number is found here, before it is saved
            self.folder.save(self.parts, step, *self._facts())

    def _facts(self):
        """Seconds trained so far, and what computes."""
        return time.perf_counter() - self.began, machine_facts(self.device, self.precision)


def _fitting(images, config, talks):
    """The images of a run, those given or those that its recipe names, as many as it allows."""
    if images is None:
        images = data.load(config.data, config.size, config.limit, progress=talks).images
    images = images[: config.limit]
    wanted = config.size, config.size, 3
    if images.dtype != np.uint8 or images.shape[1:] != wanted or not len(images):
        raise TrainingError(
            f"images are {images.dtype} {images.shape}; uint8 (n, {', '.join(map(str, wanted))}) is needed"
        )
    return images


def _start(config, models, device):
    """All that a checkpoint holds, as it is before the first step."""
    if models is None:
        weights = stream(config.seed, "weights")
        models = [initialise(network, weights) for network in networks_of(config)]
    if any(weight.is_inference() for model in models for weight in model.parameters()):
        raise TrainingError(
            "networks made under torch.inference_mode cannot be trained: make them outside"
        )
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


def networks_of(config: TrainConfig) -> tuple[Generator, Discriminator]:
    """The networks of a recipe, G and D, with PyTorch's first weights."""
    return (
        Generator(config.width, config.z_dim, config.kernel_size, size=config.size),
        Discriminator(config.width, config.kernel_size, size=config.size),
    )


def _batches(images, config, step, rank, world, pinned=False) -> Iterator[torch.Tensor]:
    """Yields this process's share of batch after batch from `step` on; a thread has the next one ready.

    In `pinned` memory a GPU copies it without waiting.
    """

    def prepare(step):
        # in the order of the file, which is faster; a batch is a set
        mine = np.sort(batch_indices(len(images), config.batch, step, config.seed))[rank::world]
        batch = to_batch(images[mine])
        if isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            # what was read, and more around it, counts as this process's memory until it is given back; it stays in the
            # system's cache
            images._mmap.madvise(mmap.MADV_DONTNEED)
        return batch.pin_memory() if pinned else batch

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(prepare, step)
        while True:
            step += 1
            now, ahead = ahead, pool.submit(prepare, step)
            yield now.result()
