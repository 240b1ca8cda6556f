"""Live figures of the notebooks: thin wrappers of functions that the package already has.

A widget shows what a function returns and passes on what the reader does; it computes nothing of its own.
"""

import html
import io
import os
import threading
import time

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from PIL import Image, ImageOps

from dcgan_book import figures, training
from dcgan_book.latents import to_batch


def show(widget, sentence="", still=""):
    """Displays `widget`, and where a page has no kernel for it, `sentence`, or the HTML `still`, in its place."""
    bundle = widget._repr_mimebundle_()
    # anywidget gives both
    formats, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    fallback = {"text/html": still or f"<p>{html.escape(sentence)}</p>"}
    display(formats | fallback, metadata=metadata, raw=True)


def follow(figure, describe, still):
    """A line that says what `describe` says of the latents a live figure shows, and says it anew when they change.

    Arguments: `figure`, a `live.LiveFigure`; `describe`, from z (n, z_dim) to a str; `still`, the sentence of a page
    without a kernel, where nothing can follow the figure. Returns the line, an ipywidgets.HTML.
    """
    line = ipywidgets.HTML(html.escape(describe(torch.tensor(figure.z))))

    def update(_):
        line.value = html.escape(describe(torch.tensor(figure.z)))

    figure.observe(update, "z")
    show(line, still)
    return line


def upload(answer, sentence):
    """A button that takes a picture of the reader's own, and below it what `answer` makes of it.

    Arguments: `answer`, from the square in the picture's middle, (1, 3, 64, 64) in [-1, 1], to images (n, 3, 64, 64);
    `sentence`, what a page without a kernel says in its place. Returns an ipywidgets.VBox of button, line and picture.
    """
    button = ipywidgets.FileUpload(accept="image/*", description="Your picture")
    line, below = ipywidgets.Label(), ipywidgets.Image(layout={"display": "none"})

    def update(_):
        try:
            picture = Image.open(io.BytesIO(button.value[-1]["content"]))
            square = ImageOps.fit(ImageOps.exif_transpose(picture).convert("RGB"), (64, 64))
        except (OSError, ValueError) as error:
            line.value = f"not a picture that can be read: {error}"
            return
        images = answer(to_batch(np.asarray(square)[None]))
        with figures.style():
            fig = figures.grid(images, columns=len(images))
        below.value, line.value, below.layout.display = figures.png(fig), "", ""
        plt.close(fig)

    button.observe(update, "value")
    box = ipywidgets.VBox([button, line, below])
    show(box, sentence)
    return box


class LiveTraining:
    """A training run that the reader watches, and can stop: progress, losses and samples side by side (chapter 1).

    The run has a thread of its own, so that the notebook stays free and the button answers.
    Arguments: `config`, a `training.TrainConfig`; `images`, uint8 (n, 64, 64, 3); `seconds`, after which it stops
    by itself, or fewer if the variable DCGAN_BOOK_LIVE_SECONDS says so, as for tests;
    `every`, steps between two pictures; `models`, a pair (G, D) instead of the paper's.
    `start()` shows it and lets it run; `wait()` returns what it trained.
    """

    def __init__(self, config, images, seconds=60, every=20, models=None):
        seconds = min(seconds, float(os.environ.get("DCGAN_BOOK_LIVE_SECONDS") or seconds))
        self.config, self.images, self.seconds, self.every, self.models = (
            config,
            images,
            seconds,
            every,
            models,
        )
        self.trained = self.error = None
        self.log = []
        self.watched = ""  # what the collapse alarm said last
        self.bar = ipywidgets.IntProgress(max=config.steps, description="steps")
        self.status = ipywidgets.Label("starting")
        self.stop_button = ipywidgets.Button(
            description="Stop", icon="stop", tooltip="Stop and keep what is learned"
        )
        self.stop_button.on_click(lambda _: self.stop())
        self.picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        self.view = ipywidgets.VBox(
            [ipywidgets.HBox([self.bar, self.stop_button, self.status]), self.picture]
        )
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Shows the view, starts the run and returns at once."""
        show(
            self.view,
            "A live figure stands here when the notebook runs: progress, losses and samples, and a button.",
        )
        self._thread.start()
        return self

    def stop(self):
        """Lets the step in progress end and keeps what is trained by then."""
        self._stopping.set()

    def wait(self):
        """Waits for the run's end; interrupting the kernel stops the run too.

        Returns a `training.Trained`. Raises what the run raised, and RuntimeError before `start()`.
        """
        if self._thread.ident is None:
            raise RuntimeError("the run has not been started: call start() first")
        try:
            self._until_it_ends()
        except KeyboardInterrupt:
            self.stop()
            self._until_it_ends()
        if self.error is not None:
            raise self.error
        return self.trained

    def _until_it_ends(self):
        # a thread whose join() is interrupted counts as ended in Python 3.11 and 3.12, though it goes on
        while not self._ended.wait(0.2):  # an unlimited wait cannot be interrupted on Windows
            pass

    def _run(self):
        self._began = time.monotonic()
        try:
            self.trained = training.train(
                self.config, self.images, models=self.models, on_step=self._on_step, progress=False
            )
        except Exception as error:  # shown in the view, and raised again by wait()
            self.error = error
            self.status.value = f"stopped: {error}"
        finally:
            self.stop_button.disabled = True
            self._ended.set()

    def _on_step(self, progress):
        out_of_time = time.monotonic() - self._began > self.seconds
        last = self._stopping.is_set() or out_of_time or progress.step == self.config.steps
        self.log.append(progress.record)
        if "distance" in progress.record:
            self.watched = training.WATCHED.format(**progress.record)
            if "alarm" in progress.record:
                self.watched += f"; warning: {progress.record['alarm']}"
        self.bar.value = progress.step
        if last or progress.step % self.every == 0 or progress.step == 1:
            self.status.value = (
                "D {d_loss:.2f}, G {g_loss:.2f}, {images_per_s:.0f} images/s".format(
                    **progress.record
                )
                + self.watched
            )
            self.picture.value = figures.png(
                figures.training_view(self.log, progress.sample()[:16])
            )
        if last:
            self.status.value += "; stopped" if progress.step < self.config.steps else "; done"
        return last
