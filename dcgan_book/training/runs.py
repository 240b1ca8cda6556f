"""A run on disk: its folder, checkpoints, log and sample sheets."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from PIL import Image

from dcgan_book.cache import expanded
from dcgan_book.training.data import WORLDS
from dcgan_book.training.recipe import CHANGEABLE, TrainConfig, TrainingError

SHEET_ROWS = 8  # a sheet shows 8 x 8 samples
CHECKPOINT = {  # what every checkpoint holds
    "generator": dict, "discriminator": dict, "optimiser_g": dict, "optimiser_d": dict, "random": torch.Tensor,
    "step": int, "seconds": float, "count": int, "machine": dict, "config": dict,
}  # fmt: skip


class RunFolder:
    """A run on disk: checkpoint.pt, config.json, log.jsonl, samples-NNNNNN.png, losses.png.

    A checkpoint is written beside the last one and then takes its place, so that there is always a whole one.
    """

    def __init__(self, path: str | os.PathLike, config: TrainConfig, count: int, fingerprint: str):
        """`count` and `fingerprint` are those of the images, see `data.fingerprint`."""
        self.path, self.config, self.count = expanded(path), config, count
        self.fingerprint = fingerprint
        self.saved_step: int | None = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Makes the folder and holds it against other trainings. Raises TrainingError if one is writing there."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise TrainingError(
                f"another training is writing into {self.path}: wait for its end, or choose another folder"
            ) from None
        except (OSError, NotImplementedError):
            pass  # no lock where nothing can be written, as `begin` will say, or the disk has none
        try:
            yield
        finally:
            lock.release()

    def begin(self, step: int, log: list[dict] | None = None) -> list[dict]:
        """Makes the folder, or cuts its log and sheets back to `step`; returns what is left of the log.

        `log` takes the place of the one that is there.
        """
        with self._space():
            self.path.mkdir(parents=True, exist_ok=True)
            self._replace(
                "config.json", json.dumps(dataclasses.asdict(self.config), indent=1).encode()
            )
            log = read_log(self.path) if log is None else log
            kept = [line for line in log if line["step"] <= step]
            self._replace("log.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())
            for later in [path for at, path in sheets(self.path).items() if at > step]:
                later.unlink()
        return kept

    def save(self, state: dict, step: int, seconds: float, machine: dict) -> None:
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
            "fingerprint": self.fingerprint,
            "machine": machine,
            "config": dataclasses.asdict(self.config),
        }
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with self._space():
            self._replace("checkpoint.pt", buffer.getbuffer())
        self.saved_step = step

    def restore(self, state: dict, device: torch.device) -> tuple[int, float, str | None]:
        """Puts the checkpoint into the parts of `state`; returns (step, seconds, precision or None).

        The precision is kept where the device is, so that a resumed run computes what an unbroken one would.
        Raises TrainingError for a checkpoint of another recipe, other images, other networks or a later step.
        """
        checkpoint = read_checkpoint(self.path)
        for name, value in dataclasses.asdict(self.config).items():
            before = checkpoint["config"].get(name, value)
            # its rates follow them
            fixed = name not in CHANGEABLE | {"data", "limit"} or (
                name == "steps" and self.config.decay_from < 1
            )
            if before != value and fixed:
                raise TrainingError(
                    f"the checkpoint in {self.path} was trained with {name} {before}, not {value}: "
                    "resume it with that or choose another folder"
                )
        self._check_images(checkpoint)
        if self.config.steps < checkpoint["step"]:
            raise TrainingError(
                f"the checkpoint in {self.path} is of step {checkpoint['step']}, and {self.config.steps} steps "
                "were asked for: give as many or more"
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
        return (
            checkpoint["step"],
            checkpoint["seconds"],
            _today(machine).get("precision") if keep else None,
        )

    def _check_images(self, checkpoint):
        """Raises TrainingError for other images than the checkpoint's; where they are kept does not matter."""
        before, now = checkpoint["config"], dataclasses.asdict(self.config)
        if "fingerprint" in checkpoint:
            same = checkpoint["fingerprint"] == self.fingerprint
        else:  # a run of an older version
            same = _place(before.get("data", now["data"])) == _place(now["data"])
        if same and checkpoint["count"] == self.count:
            return
        for name in ("data", "limit"):
            if before.get(name, now[name]) != now[name]:
                raise TrainingError(
                    f"the checkpoint in {self.path} was trained with {name} {before[name]}, not {now[name]}, and the "
                    "images are not the same: resume it with that or choose another folder"
                )
        raise TrainingError(
            f"the checkpoint in {self.path} was trained on {checkpoint['count']} images, these are {self.count}"
            + (" others" if checkpoint["count"] == self.count else "")
        )

    def last_good(self) -> str:
        """What a message says of the last whole checkpoint."""
        if self.saved_step is None:
            return "no checkpoint had been written"
        return f"the checkpoint of step {self.saved_step} in {self.path} is intact"

    def write_log(self, record: dict) -> None:
        """Adds a record, a dict, to log.jsonl."""
        with self._space(), open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def write_sheet(self, step: int, images: torch.Tensor) -> None:
        """Writes images, (64, 3, size, size) in [-1, 1], as the sheet of `step`."""
        from dcgan_book import figures  # here, as matplotlib is slow to import

        buffer = io.BytesIO()
        Image.fromarray(figures.sheet(images, len(images) // SHEET_ROWS)).save(buffer, "png")
        with self._space():
            self._replace(f"samples-{step:06d}.png", buffer.getbuffer())

    def keep_best(
        self, state: dict, step: int, seconds: float, machine: dict, images: torch.Tensor
    ) -> None:
        """Makes the folder `best` in this one the run up to `step`, which can be exported, and gone on with.

        Arguments: as those of `save`; `images`, as those of `write_sheet`.
        """
        best = RunFolder(self.path / "best", self.config, self.count, self.fingerprint)
        with best.alone(), self._space():
            for at, path in sheets(self.path).items():
                if at < step and not (best.path / path.name).exists():
                    shutil.copyfile(path, best.path / path.name)
            best.write_sheet(step, images)
            best.save(state, step, seconds, machine)
            best.begin(step, read_log(self.path))

    def write_curves(self) -> None:
        """Draws the log so far as losses.png."""
        from dcgan_book import figures  # here, as matplotlib is slow to import

        with figures.style():
            picture = figures.png(
                figures.training_curves(read_log(self.path), figures.unmanaged(7, 4.6))
            )
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
    def _space(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "no space is left" if error.errno == errno.ENOSPC else str(error)
            raise TrainingError(
                f"cannot write to {self.path}: {reason}; {self.last_good()}"
            ) from None


def _place(spec):
    """What `--data` was given, spelled in one way."""
    kind, _, rest = spec.partition(":")
    if kind in WORLDS:
        return spec
    return (
        f"{kind}:{os.path.realpath(expanded(rest))}" if rest else os.path.realpath(expanded(spec))
    )


def _today(facts):
    """A config, or the facts of a machine, in today's words: "winograd" was fp32, computed in another way."""
    return facts | ({"precision": "fp32"} if facts.get("precision") == "winograd" else {})


def read_checkpoint(run: str | os.PathLike) -> dict:
    """The checkpoint of a run folder, tensors and plain values in a dict. Raises TrainingError if there is none."""
    path = expanded(run) / "checkpoint.pt"
    if not path.exists():
        raise TrainingError(
            f"there is no checkpoint.pt in {run}: it is not a run, or one stopped before its first"
        )
    try:
        # executes nothing that is in it
        checkpoint = dict(torch.load(path, map_location="cpu", weights_only=True))
        checkpoint["config"] = _today(checkpoint["config"])
        TrainConfig(**checkpoint["config"])
        whole = all(isinstance(checkpoint[name], kind) for name, kind in CHECKPOINT.items())
    except PermissionError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from None
    except Exception:  # PyTorch raises a dozen kinds for a file that is not its own
        whole = False
    if not whole:
        raise TrainingError(f"{path} is not a checkpoint of this trainer, or a damaged one")
    return checkpoint


def read_log(run: str | os.PathLike) -> list[dict]:
    """The log of a run folder, a list of dicts; a line cut off by a crash is left out."""
    path = expanded(run) / "log.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def sheets(run: str | os.PathLike) -> dict[int, Path]:
    """The sample sheets of a run folder, a dict from step to path, in order."""
    numbered = (
        (re.fullmatch(r"samples-(\d{6,})", path.stem), path)
        for path in expanded(run).glob("samples-*.png")
    )
    return dict(sorted((int(match[1]), path) for match, path in numbered if match))
