"""Chapter 1, training: the recipe, the loop, the run on disk, the machine, the images."""

from dcgan_book.training.loop import (
    BAR,
    EARLY_SHEETS,
    LOG_EVERY,
    RECALIBRATION,
    WATCHED,
    Progress,
    Trained,
    train,
)
from dcgan_book.training.machine import choose_device, choose_precision, computing, machine_facts
from dcgan_book.training.recipe import (
    CHANGEABLE,
    PRECISIONS,
    TrainConfig,
    TrainingError,
    adam,
    batch_indices,
    cross_entropy,
    gan_step,
    gradient_penalty,
)
from dcgan_book.training.runs import (
    CHECKPOINT,
    SHEET_ROWS,
    RunFolder,
    read_checkpoint,
    read_log,
    sheets,
)

__all__ = [
    "BAR",
    "CHANGEABLE",
    "CHECKPOINT",
    "EARLY_SHEETS",
    "LOG_EVERY",
    "PRECISIONS",
    "Progress",
    "RECALIBRATION",
    "RunFolder",
    "SHEET_ROWS",
    "TrainConfig",
    "Trained",
    "TrainingError",
    "WATCHED",
    "adam",
    "batch_indices",
    "choose_device",
    "choose_precision",
    "computing",
    "cross_entropy",
    "gan_step",
    "gradient_penalty",
    "machine_facts",
    "read_checkpoint",
    "read_log",
    "sheets",
    "train",
]
