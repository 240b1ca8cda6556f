"""What an edit of the generator does, measured on the same latents before and after (paper, section 6.3.1).

An instrument is anything with `.read(images)` as `measure.Instrument` has it; images are given to it on the CPU.
"""

from dataclasses import dataclass

import torch

from dcgan_book.hooks import ablate, unwrapped
from dcgan_book.measure.intervals import bootstrap, paired, wilson
from dcgan_book.measure.reading import MeasureError
from dcgan_book.worlds.rooms import LABELS


@dataclass(frozen=True)
class Observed:
    """Images of some latents, and what instrument and discriminator (`logits`, None without one) say of each."""

    images: torch.Tensor
    present: dict
    labels: torch.Tensor
    features: torch.Tensor
    logits: torch.Tensor | None


@torch.no_grad()
def observe(model, z, instrument, discriminator=None, batch=128):
    """Generates and looks, with whatever edits of the model are in force; see `Observed`.

    With batch statistics `batch` matters, and a last, smaller one has noisier statistics.
    """
    images, logits = [], []
    for part in _images(model, z, batch):
        images.append(part.cpu())
        if discriminator is not None:
            logits.append(discriminator(part).cpu())
    images = torch.cat(images)
    reading = instrument.read(images)
    logits = torch.cat(logits) if logits else None
    return Observed(images, reading.presence, reading.labels, reading.features, logits)


@dataclass(frozen=True)
class Scorecard:
    """The same latents before and after an edit, image by image, so that intervals can be had of everything.

    `before` and `after` are `Observed`. `inside`, (n,), is the mean change of a colour, on [-1, 1], where `target`
    was before, NaN in images without; `outside`, (n,), that in the rest of the image. `instead`, (n, labels), counts
    the pixels that were the target's, by what they became.
    """

    target: str
    before: Observed
    after: Observed
    inside: torch.Tensor
    outside: torch.Tensor
    instead: torch.Tensor

    def pixels(self, when="before"):
        """Pixels of the target in each image, (n,), `when` "before" or "after". Raises ValueError for another `when`."""
        if when not in ("before", "after"):
            raise ValueError(f'when is {when!r}; it is "before" or "after"')
        return (getattr(self, when).labels == LABELS.index(self.target)).sum((1, 2))

    def summary(self):
        """The main rows as plain numbers, NaN where no image had the target.

        `left` is the share of images with the target that kept it, `new` that of the others which got one;
        `pixels_left` is the ratio of its pixels; `lost` has for every other object by how much the share of images
        with it fell; `inside` and `outside` are mean changes in images with the target;
        `instead` has shares of the pixels that were its own; `logit` is the mean change of D's.
        """
        had, has = self.before.present[self.target], self.after.present[self.target]
        changed = had & self.inside.isfinite()
        instead = self.instead.sum(0) / self.instead.sum()
        rows = {
            "images": len(had),
            "left": has[had].float().mean(),
            "new": has[~had].float().mean(),
            "pixels_left": self.pixels("after").sum() / self.pixels().sum(),
            "lost": {
                name: (found.float().mean() - self.after.present[name].float().mean()).item()
                for name, found in self.before.present.items()
                if name != self.target
            },
            "inside": self.inside[changed].mean(),
            "outside": self.outside[changed].mean(),
            "instead": dict(zip(LABELS, instead.tolist(), strict=True)),
        }
        if self.before.logits is not None:
            rows["logit"] = (self.after.logits - self.before.logits).mean()
        return {
            name: row.item() if isinstance(row, torch.Tensor) else row for name, row in rows.items()
        }

    def estimates(self):
        """The rows of `summary` with their intervals: name to Estimate, `lost` a dict of such; without `instead`.

        Added is `spill`, the change outside as a share of that inside. Shares have Wilson's intervals; the others are
        bootstraps over images, differences and ratios of pairs. `new` is None where every image had the target.
        Raises MeasureError where none had it, so that nothing could be lost.
        """
        self._need_target()
        had, has = self.before.present[self.target], self.after.present[self.target]
        changed = had & self.inside.isfinite()
        now, then = self.pixels("after").double(), self.pixels().double()
        rows = {
            "left": wilson(int((had & has).sum()), int(had.sum())),
            "new": wilson(int((~had & has).sum()), int((~had).sum())) if not had.all() else None,
            "pixels_left": _ratio(now, then),
            "lost": {
                name: paired(self.after.present[name], found)
                for name, found in self.before.present.items()
                if name != self.target
            },
            "inside": bootstrap(self.inside[changed]),
            "outside": bootstrap(self.outside[changed]),
            "spill": _ratio(self.outside[changed].double(), self.inside[changed].double()),
        }
        if self.before.logits is not None:
            rows["logit"] = paired(self.before.logits, self.after.logits)
        return rows

    def became(self, label):
        """The share of the target's pixels that show `label` afterwards, with its interval: an Estimate.

        Raises ValueError for another label than a room's, MeasureError where no image had the target.
        """
        index = _index(label)
        self._need_target()
        return _ratio(self.instead[:, index].double(), self.instead.sum(1).double())

    def _need_target(self):
        had = self.before.present[self.target]
        if not (had & self.inside.isfinite()).any():
            found = [name for name, there in self.before.present.items() if there.any()]
            raise MeasureError(
                f"no {self.target} was found on any of {len(had)} images before the edit, so none can be forgotten; "
                f"found were: {', '.join(found) or 'none of the objects that the instrument knows'}"
            )


def compare(before, after, target="window"):
    """The `Scorecard` of two `Observed` of the same latents.

    Raises ValueError for a `target` that is not an object that can be present.
    """
    if target not in before.present:
        raise ValueError(f"target is {target!r}; it is one of {', '.join(before.present)}")
    was = before.labels == _index(target)
    inside, outside = changes(before.images, after.images, was)
    instead = torch.stack([(was & (after.labels == i)).sum((1, 2)) for i in range(len(LABELS))], 1)
    return Scorecard(target, before, after, inside, outside, instead)


def changes(before, after, masks):
    """The mean change of a colour inside the masks and outside, two (n,), NaN where there is nothing of it.

    Arguments: `before` and `after`, images (n, 3, h, w) of the same latents; `masks`, bool (n, h, w), such as boxes':
    so an edit is judged also where no instrument can say what is there.
    """
    change = (after - before).abs().mean(1)
    return tuple((change * where).sum((1, 2)) / where.sum((1, 2)) for where in (masks, ~masks))


def scorecard(
    model,
    z,
    stage,
    units,
    instrument,
    target="window",
    discriminator=None,
    batch=128,
    before=None,
    **options,
):
    """What is lost without some units, on given latents, the same before and after; see `Scorecard`.

    Arguments: `z`, (n, z_dim), fresh ones; `before`, the `observe` of them, where it has been made already;
    `options` are those of `ablate`. For "mean" give the units' means over many z's as `value`, or it is each batch's.
    """
    if before is None:
        before = observe(model, z, instrument, discriminator, batch)
    with ablate(model, stage, units, **options):
        after = observe(model, z, instrument, discriminator, batch)
    return compare(before, after, target)


def direct_effect(model, stage, z, instrument, target="window", batch=128, **options):
    """What each unit does alone: the share of the picture that `target` loses without it, mean over z, (units,).

    `options` are those of `ablate`. It takes a pass through the model and the instrument for every unit. All are 0 where
    no image shows the target.
    Raises ValueError for another target than a label of a room's pixels.
    """
    wanted = _index(target)

    def area():
        labels = [instrument.read(images.cpu()).labels for images in _images(model, z, batch)]
        return (torch.cat(labels) == wanted).float().mean()

    before, without = area(), []
    for unit in range(unwrapped(model).stages[stage][0].out_channels):
        with ablate(model, stage, [unit], **options):
            without.append(area())
    return before - torch.stack(without)


def _index(label):
    """The number that stands for a label in an image of labels."""
    if label not in LABELS:
        raise ValueError(f"there is no label {label!r}; there are {', '.join(LABELS)}")
    return LABELS.index(label)


def _ratio(values, whole):
    """The ratio of two means over images as an Estimate: the bootstrap of its linear part."""
    ratio = values.mean() / whole.mean()
    return bootstrap(ratio + (values - ratio * whole) / whole.mean())


@torch.no_grad()
def _images(model, z, batch):
    """The model's images, batch by batch, on its own device."""
    device = next(model.parameters()).device
    for part in z.split(batch):
        yield model(part.to(device))
