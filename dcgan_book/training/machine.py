"""Where a run computes: device, precision, and several processes side by side."""

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist

from dcgan_book.models import Discriminator, Generator
from dcgan_book.training.recipe import PRECISIONS, TrainingError, adam, gan_step


def choose_device(name: str = "auto") -> torch.device:
    """cuda, else mps, else cpu, unless `name` says which. Raises TrainingError if it is not there."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, here in there.items() if here)
    kind, _, index = name.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if not there.get(kind) or (name != kind and index not in map(str, range(count))):
        here = ", ".join(kind for kind, here in there.items() if here)
        raise TrainingError(f"there is no device {name!r} here: give {here}")
    return torch.device(name)


def choose_precision(name: str, device: torch.device, width: int = 64, say: bool = False) -> str:
    """What `name` says, or for "auto" the one of `PRECISIONS` that is fastest in a trial on `device`.

    `width` is that of the networks in the trial; `say` prints what it found. Raises TrainingError for another name.
    """
    if name != "auto":
        return _known(name)
    trials = ["fp32"]
    # some devices lack bf16; others emulate it, a hundred times slower
    with contextlib.suppress(RuntimeError):
        if _time_steps(device, "bf16", 8, 4) < 3 * _time_steps(device, "fp32", 8, 4):
            trials.append("bf16")
    seconds = {trial: _time_steps(device, trial, width, 32) for trial in trials}
    chosen = min(seconds, key=seconds.__getitem__)
    if say:
        print(
            f"training in {chosen}: on this {device.type}, a step on 32 images takes "
            + ", ".join(f"{seconds[trial]:.3f} s in {trial}" for trial in trials)
            + ("" if "bf16" in trials else "; bf16 is not at home here")
        )
    return chosen


def computing(precision: str, device: torch.device) -> torch.autocast:
    """The context in which steps of a precision are computed. Raises TrainingError for one not in `PRECISIONS`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=_known(precision) == "bf16")


def _known(precision):
    if precision not in PRECISIONS:
        raise TrainingError(f"precision is {precision!r}; it is one of {', '.join(PRECISIONS)}")
    return precision


@contextlib.contextmanager
def threads_of(count: int | None = None) -> Iterator[None]:
    """So many CPU threads (None: as many as before), and numbers next to nothing as 0; afterwards as it was.

    D's gradients shrink into denormals as it wins, and those are slow.
    """
    threads, denormals = torch.get_num_threads(), torch.tensor(1e-310, dtype=torch.float64) * 1 != 0
    torch.set_flush_denormal(True)
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(not denormals)


def machine_facts(device: torch.device, precision: str) -> dict:
    """What a model card says of the machine: nothing that names it."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
        processor = next(
            (line.split(": ")[1] for line in lines if line.startswith("model name")), processor
        )
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
    for _ in range(3):
        start = time.perf_counter()
        with computing(precision, device):
            losses = gan_step(generator, discriminator, *optimisers, real, z)
        losses["g_loss"].item()
        times.append(time.perf_counter() - start)
    return min(times)


def join_processes() -> tuple[int, int]:
    """This process's rank and the number of processes; joins the others where torchrun started it."""
    if "RANK" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        store, rank, world = next(dist.rendezvous("env://"))
        if os.environ.get("LOCAL_WORLD_SIZE") == str(world):
            # torchrun keeps one store for all starts, in which the addresses of the processes that ended still stand
            # (on several machines TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 does the same)
            store = dist.PrefixStore(
                f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store
            )
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
def average_gradients(optimiser: torch.optim.Optimizer, *_) -> None:
    """Before an optimiser's step: every process gets the mean of all gradients."""
    gradients = [weight.grad for group in optimiser.param_groups for weight in group["params"]]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, flat.split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


@_together()
def of_the_first(value: object) -> object:
    """What the first process says, in every process."""
    shared = [value]
    dist.broadcast_object_list(shared)
    return shared[0]


@_together()
def sum_over_processes(losses: dict[str, torch.Tensor], world: int) -> torch.Tensor:
    """The losses, 0-d tensors, in one tensor (n,), each summed over `world` processes."""
    values = torch.stack(list(losses.values()))
    if world > 1:
        dist.all_reduce(values)
    return values


@_together()
def any_process(stopped: bool, world: int) -> bool:
    """Whether any of `world` processes says so."""
    if world == 1:
        return stopped
    votes = torch.tensor(float(stopped))
    dist.all_reduce(votes)
    return votes.item() > 0
