"""Figures of the book: matplotlib from tensors and logs. Nothing is computed here but what a picture needs.

Images come as (n, 3, h, w) in [-1, 1]; this module alone turns them into what a screen shows.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by the colour-blind; the line styles tell it apart in print.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
STYLE = {
    "figure.dpi": 100, "savefig.dpi": 100, "figure.facecolor": "white", "figure.constrained_layout.use": True,
    "font.size": 10, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "0.9", "lines.linewidth": 1.6, "legend.frameon": False,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, PINK], linestyle=["-", "--", "-.", ":"]),
}  # fmt: skip
TILE = 0.82  # inches, the side of a 64-pixel image in a figure
MEDIANS = 500  # points of a running median, at most


def use_style():
    """Gives every later figure of the notebook the look of the book."""
    plt.rcParams.update(STYLE)


def style():
    """A context with the look of the book."""
    return plt.rc_context(STYLE)


def unmanaged(width, height):
    """An empty figure, in inches, that pyplot does not know: a thread may draw it, and nobody has to close it."""
    with style():
        return Figure(figsize=(width, height), layout="constrained")


def png(fig):
    """A figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    return buffer.getvalue()


def to_display(images):
    """Images in [-1, 1], (n, 3, h, w), to uint8 (n, h, w, 3); what lies outside is clipped."""
    images = ((images.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255)
    return images.byte().permute(0, 2, 3, 1).numpy()


def sheet(images, columns):
    """Tiles side by side: images (n, 3, h, w) in [-1, 1] to one uint8 (rows * h, columns * w, 3), the rest white."""
    tiles = to_display(images)
    n, height, width, _ = tiles.shape
    rows = -(-n // columns)
    whole = np.full((rows * columns, height, width, 3), 255, np.uint8)
    whole[:n] = tiles
    return (
        whole.reshape(rows, columns, height, width, 3)
        .swapaxes(1, 2)
        .reshape(rows * height, columns * width, 3)
    )


def signed(maps):
    """Gradients (n, 3, h, w) as images: each over its own largest absolute value, so that grey is 0."""
    return maps / maps.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)


def spotlit(images, maps):
    """Images (n, 3, h, w) that keep their light where a map (n, h, w), from 0 up, is large, and a fifth where it is 0."""
    share = maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)
    return (images + 1) * (0.2 + 0.8 * share[:, None]) - 1


def grid(images, columns=8, labels=None, notes=None):
    """Images (n, 3, h, w) in [-1, 1] in rows of `columns`, each with its label above, or its note below, if any.

    `labels` and `notes` are texts, one for each image. Raises ValueError for other than n labels.
    """
    n = len(images)
    rows = -(-n // columns)
    if labels is None:
        strip = 0 if notes is None else 14  # pixels below a tile, for its note
        white = torch.ones(n, 3, strip, images.shape[3], device=images.device)
        picture = sheet(torch.cat([images, white], 2), columns)
        fig = plt.figure(
            figsize=(TILE * columns, TILE * rows * (1 + strip / images.shape[2])), layout="none"
        )
        ax = fig.add_axes((0, 0, 1, 1))
        _picture(ax, picture)
        for i, note in enumerate(notes or []):
            row, column = divmod(i, columns)
            middle, below = (
                (column + 0.5) * images.shape[3],
                (row + 1) * (images.shape[2] + strip) - strip / 2,
            )
            ax.text(middle, below, note, ha="center", va="center", fontsize=7.5)
        return fig
    if len(labels) != n:
        raise ValueError(f"there are {n} images and {len(labels)} labels: give one for each")
    fig, axes = plt.subplots(
        rows, columns, figsize=(TILE * 1.6 * columns, TILE * 1.9 * rows), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, tile, label in zip(axes.flat, to_display(images), labels, strict=False):
        _picture(ax, tile)
        ax.set_title(label)
    return fig


def strips(rows, titles, marks=(), side=1.32):
    """Rows of large images, (rows, columns, 3, h, w) in [-1, 1], each under its title, with frames where a change is.

    marks: (row, column, (left, top, right, bottom)) of each frame, in pixels of the image. side: of an image, in inches.
    """
    height, width = rows[0].shape[2:]
    columns, title = len(rows[0]), 0.26  # inches
    fig, axes = plt.subplots(
        len(rows), 1, figsize=(side * columns, len(rows) * (side * height / width + title)), squeeze=False
    )  # fmt: skip
    for ax, images, name in zip(axes[:, 0], rows, titles, strict=True):
        _picture(ax, sheet(images, columns))
        ax.set_title(name, loc="left", fontsize=10, pad=3)
    for row, column, (left, top, right, bottom) in marks:
        frame = plt.Rectangle((column * width + left - 0.5, top - 0.5), right - left, bottom - top,
                              fill=False, ec=ORANGE, lw=1.6)  # fmt: skip
        axes[row, 0].add_patch(frame)
    return fig


def arithmetic(exemplars, nine, pixels, names):
    """A sum of concepts as the paper lays it out: exemplars and their mean's image, the sum among its neighbours.

    exemplars: for A, B and C images (k + 1, 3, h, w), the last of the mean latent. nine: (9, 3, h, w), the sum in the
    middle. pixels: (3, h, w), the same sum of pixels. names: of the three concepts. All images are in [-1, 1].
    """
    each = len(exemplars[0])
    parts = [
        np.concatenate([sheet(some, each) for some in exemplars]),
        sheet(nine, 3),
        sheet(pixels[None], 1),
    ]
    high, wide = parts[0].shape[0], sum(part.shape[1] for part in parts)
    fig, axes = plt.subplots(1, 3, figsize=(TILE * wide / 64 + 0.9, TILE * high / 64 + 0.3),
                             width_ratios=[part.shape[1] for part in parts], layout="constrained")  # fmt: skip
    for ax, part, title in zip(axes, parts, ("exemplars, and the image of their mean", "A − B + C, neighbours",
                                             "pixels"), strict=True):  # fmt: skip
        _picture(ax, part)
        ax.set_title(title, fontsize=9)
    for i, (sign, name) in enumerate(zip(("", "− ", "+ "), names, strict=True)):
        axes[0].text(-4, (i + 0.5) * high / 3, f"{sign}{name}".replace(" ", "\n", 2 if sign else 1), ha="right",
                     va="center", fontsize=8)  # fmt: skip
    return fig


def training_curves(log, fig=None):
    """Losses of both networks, and what D believes, over the steps.

    `log` is a list of dicts with step, d_loss, g_loss, d_real and d_fake. Thin lines are the steps, thick ones
    a running median, since single steps say little. `fig` is an empty figure to draw in, by default a new one.
    """
    fig = fig or plt.figure(figsize=(7, 4.6))
    axes = fig.subplots(2, 1, sharex=True)
    _losses(axes[0], log)
    _beliefs(axes[1], log)
    axes[1].set_xlabel("step")
    return fig


def training_view(log, samples):
    """A run at a glance: losses and beliefs on the left, samples (n, 3, h, w) in [-1, 1] on the right."""
    fig = unmanaged(9, 4)
    spec = fig.add_gridspec(2, 2, width_ratios=(1.25, 1))
    losses, beliefs = fig.add_subplot(spec[0, 0]), fig.add_subplot(spec[1, 0])
    _losses(losses, log)
    _beliefs(beliefs, log)
    beliefs.set_xlabel("step")
    _picture(fig.add_subplot(spec[:, 1]), sheet(samples, round(len(samples) ** 0.5)))
    return fig


def runs(runs):
    """Several short runs under each other: name to (log, samples (n, 3, h, w) in [-1, 1])."""
    fig, axes = plt.subplots(
        len(runs), 2, figsize=(9, 1.25 * len(runs) + 0.4), squeeze=False, width_ratios=(1, 2.1)
    )
    for (curve, picture), (name, (log, samples)) in zip(axes, runs.items(), strict=True):
        _losses(curve, log)
        curve.set_title(name, loc="left")
        curve.legend_ = None
        _picture(picture, sheet(samples, len(samples)))
    axes[-1, 0].set_xlabel("step")
    # a title stands over each curve
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return fig


def table(*rows):
    """Rows of cells as the text of a Markdown table; the first is its head.

    >>> print(table(("side", "units"), (8, 256)))
    | side | units |
    |---|---|
    | 8 | 256 |
    """
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def dots(ax, table):
    """A row for each name and in it a mark for each kind: table is kind to name to (value, low, high, ...) or None."""
    names = list(next(iter(table.values())))
    for k, (kind, row) in enumerate(table.items()):
        values = np.array([(row[name] or [np.nan] * 3)[:3] for name in names])
        reach = np.abs(values[:, 1:] - values[:, :1]).T
        places = np.arange(len(names)) + 0.17 * (k - (len(table) - 1) / 2)
        ax.errorbar(
            values[:, 0],
            places,
            xerr=reach,
            fmt="osD^vP"[k],
            markersize=4.5,
            linewidth=1,
            label=kind,
        )
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)  # the first on top


def _losses(ax, log):
    _line(ax, log, "d_loss", "D's loss", BLUE, "-")
    _line(ax, log, "g_loss", "G's loss", ORANGE, "--")
    ax.set_ylabel("loss")
    ax.set_ylim(bottom=0)
    _legend_above(ax)


def _beliefs(ax, log):
    _line(ax, log, "d_real", "D(x), real", BLUE, "-")
    _line(ax, log, "d_fake", "D(G(z)), generated", ORANGE, "--")
    ax.set_ylabel("D's belief")
    ax.set_ylim(-0.03, 1.03)
    _legend_above(ax)


def _legend_above(ax):
    # never over a curve
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=2)


def _line(ax, log, key, label, colour, style):
    steps, values = (np.array([record[name] for record in log], float) for name in ("step", key))
    ax.plot(steps, values, color=colour, alpha=0.25, linewidth=0.7, linestyle="-")
    reach = len(values) // 50  # to each side; cut short at the ends
    at = np.unique(np.linspace(0, len(values) - 1, min(len(values), MEDIANS)).round().astype(int))
    middle = [np.median(values[max(0, i - reach) : i + reach + 1]) for i in at]
    ax.plot(steps[at], middle, color=colour, linestyle=style, label=label)


def _picture(ax, array):
    ax.imshow(array, interpolation="nearest")
    ax.axis("off")
