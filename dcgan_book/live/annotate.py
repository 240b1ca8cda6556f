"""Boxes by hand: a widget in which a reader marks objects on samples, as the paper's authors did (section 6.3.1).

The file it keeps is one of `forgetting.save_boxes`. The windows of book/experiments/window-boxes.json were boxed by
looking too: at samples enlarged eight times, before the instrument had been asked.
"""

import base64
import html
import io
from pathlib import Path

import anywidget
import ipywidgets
import torch
import traitlets
from PIL import Image, ImageDraw

from dcgan_book import figures, forgetting
from dcgan_book.forgetting.boxes import SIDE, Box, load_boxes, save_boxes
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import stream
from dcgan_book.live import widgets

COLUMNS = 8  # samples side by side, in the sheet that the browser gets and in the picture
# samples in the picture that stands where there is no kernel, and how much they are enlarged
SHOWN, ZOOM = 24, 2
ORANGE = (213, 94, 0)  # as in annotate.css


class Annotator(anywidget.AnyWidget):
    """Samples one after the other, to draw, move, resize and delete boxes on; every change is saved at once.

    Arguments: `images`, (n, 3, 64, 64) in [-1, 1]; `path`, the file of boxes, read if it is there; `seeds`, what
    the samples are called in it, n ints; `labels`, what a box can be called. It starts at the first sample that
    nobody has looked at. Raises ValueError if the images do not fit the seeds, or the file is of other samples.

    State that both sides set: `rows`, the arguments of each `Box`; `visited`, the seeds of the
    samples looked at; `at`, the index of the sample shown. `observe(f, "rows")` calls f after every change. `trouble` says why the
    file could not be written, and is "" where it could.
    """

    _esm = Path(__file__).with_name("annotate.js")
    _css = Path(__file__).with_name("annotate.css")
    seeds = traitlets.List().tag(sync=True)
    labels = traitlets.List().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    visited = traitlets.List().tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    trouble = traitlets.Unicode().tag(sync=True)

    def __init__(self, images, path, seeds, labels=("window",)):
        seeds = [int(seed) for seed in seeds]
        if images.shape != (len(seeds), 3, SIDE, SIDE) or not seeds:
            raise ValueError(
                f"images are {tuple(images.shape)}; each of {len(seeds)} seeds needs 3 x {SIDE} x {SIDE}"
            )
        self.path, self.images = Path(path).expanduser(), images
        visited, boxes = load_boxes(path) if self.path.exists() else ([], [])
        if strangers := {*visited, *(box.seed for box in boxes)} - set(seeds):
            raise ValueError(
                f"{self.path.name} is of other samples: {min(strangers)} is not among these {len(seeds)}"
            )
        new = [i for i, seed in enumerate(seeds) if seed not in visited]
        super().__init__(
            seeds=seeds, labels=list(dict.fromkeys([*labels, *(box.label for box in boxes)])), visited=visited,
            rows=[_row(box) for box in boxes], at=new[0] if new else len(seeds) - 1,
        )  # fmt: skip
        self.observe(self._save, ["rows", "visited"])
        self.on_msg(
            lambda _widget, message, _buffers: self._send_images() if message == "images" else None
        )

    @property
    def boxes(self):
        """The boxes as they are now, a list of `forgetting.Box`."""
        return [Box(*row) for row in self.rows]

    @traitlets.validate("rows")
    def _only_boxes(self, proposal):
        try:
            strangers = {Box(*row).seed for row in proposal.value} - set(self.seeds)
        except (TypeError, ValueError) as error:
            raise traitlets.TraitError(str(error)) from None
        if strangers:
            raise traitlets.TraitError(
                f"a box lies on sample {min(strangers)}, which is not among those here"
            )
        return proposal.value

    @traitlets.validate("at")
    def _within(self, proposal):
        return min(max(proposal.value, 0), len(self.seeds) - 1)

    def _save(self, _):
        visited = {*self.visited, *(row[0] for row in self.rows)}
        try:
            save_boxes(self.path, [seed for seed in self.seeds if seed in visited], self.boxes)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"not saved: {error.strerror or error}"

    def _send_images(self):
        # not a part of the state, which would go into the notebook's file, and from there into a page
        self.send(
            {"columns": COLUMNS},
            [_encoded(Image.fromarray(figures.sheet(self.images, COLUMNS)), "png")],
        )

    def html(self):
        """What stands on a page without kernel: the first samples and their boxes."""
        n, side = min(SHOWN, len(self.seeds)), ZOOM * SIDE
        sheet = Image.new("RGB", (COLUMNS * side, -(-n // COLUMNS) * side), "white")
        for i, tile in enumerate(figures.to_display(self.images[:n])):
            tile = Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST)
            for seed, *edges, _ in self.rows:
                if seed == self.seeds[i]:
                    left, top, right, bottom = (ZOOM * edge for edge in edges)
                    ImageDraw.Draw(tile).rectangle(
                        (left, top, right - 1, bottom - 1), outline=ORANGE, width=ZOOM
                    )
            sheet.paste(tile, (i % COLUMNS * side, i // COLUMNS * side))
        picture = base64.b64encode(_encoded(sheet, "webp")).decode()
        words = f"{n} of {len(self.seeds)} samples with the boxes drawn on them"
        return (
            f'<p><img src="data:image/webp;base64,{picture}" alt="{html.escape(words)}" style="max-width: 100%"></p>'
            f"<p>{words}. In a notebook that runs, boxes are drawn here.</p>"
        )

    def _repr_mimebundle_(self, **options):
        formats, metadata = super()._repr_mimebundle_(**options)
        return formats | {"text/html": self.html()}, metadata


def refit(generator, stage, maps, seeds, boxes, z, strength=0.01):
    """The recipe once more, for other boxes: the `forgetting.Fit`, and what is drawn without its units, (n, 3, 64, 64).

    Arguments: `maps`, the stage's activations on the samples of `seeds`, (seeds, units, h, w); `z`, latents to draw;
    `strength` as in `forgetting.fit`. Raises ValueError if the boxes are too few.
    """
    covered = forgetting.coverage(forgetting.box_masks(boxes, seeds), stage)
    found = forgetting.fit(
        forgetting.examples(maps, covered, generator=stream(0, "cells")), strength
    )
    with torch.no_grad(), ablate(generator, stage, found.chosen):
        return found, generator(z)


class Refitting:
    """An `Annotator`, and below it what its boxes make the generator forget, fitted and drawn anew after every change.

    Arguments: `annotator`; `generator` and `stage`; `z`, latents of the rooms to draw; `prior`, that of the samples
    that the annotator shows. `show()` displays it.
    """

    def __init__(self, annotator, generator, stage, z, prior="uniform"):
        self.annotator, self.generator, self.stage = annotator, generator, stage
        self.z = z = z.to(next(generator.parameters()).device)
        boxed = forgetting.latents(annotator.seeds, generator.z_dim, prior)
        self.maps = activations_of(generator, stage, boxed)
        with torch.no_grad():
            self.before = generator(z)
        self.words, self.picture = (
            ipywidgets.HTML(),
            ipywidgets.Image(format="webp", layout={"max_width": "100%"}),
        )
        self.view = ipywidgets.VBox([annotator, self.words, self.picture])
        annotator.observe(self.update, "rows")
        self.update()

    def update(self, _=None):
        """Fits and draws; boxes that are too few leave the last picture and say so."""
        boxes = self.annotator.boxes
        try:
            found, after = refit(
                self.generator, self.stage, self.maps, self.annotator.seeds, boxes, self.z
            )
        except ValueError as error:
            self.words.value = f"{len(boxes)} boxes: {html.escape(str(error))}"
            return
        sheet = Image.fromarray(figures.sheet(torch.cat([self.before, after]), len(self.z)))
        self.picture.value = _encoded(
            sheet.resize((ZOOM * sheet.width, ZOOM * sheet.height)), "webp"
        )
        self.words.value = (
            f"{len(boxes)} boxes tell windows with an AUC of {found.auc:.3f}; below, rooms with all units of {self.stage}, "
            f"and without the {len(found.chosen)} of {len(found.weights)} whose weight is above 0"
        )

    def show(self):
        """Displays the widget; a page without kernel gets the samples, the words and the picture."""
        picture = base64.b64encode(self.picture.value).decode()
        still = (
            f'{self.annotator.html()}<p>{self.words.value}.</p><p><img src="data:image/webp;base64,{picture}" '
            f'alt="Two rows of rooms: with all units, and without those that the boxes choose" style="max-width: 100%"></p>'
        )
        widgets.show(self.view, still=still)


def _row(box):
    return [box.seed, box.left, box.top, box.right, box.bottom, box.label]


def _encoded(image, kind):
    """A Pillow image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
