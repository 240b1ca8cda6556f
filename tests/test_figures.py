"""The figures: every tile in its place, medians that are NumPy's, nothing changed and nothing left behind."""

import copy
import io
import threading

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_book import figures


@pytest.fixture(autouse=True)
def canvas():
    """Figures without a screen; none is left open from test to test."""
    before = mpl.rcParams.copy()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    mpl.rcParams.update(before)


def some_images(n, height=64, width=64):
    """Smooth images in [-1, 1], all different."""
    small = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(n)) * 2 - 1
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")


def some_log(n, every=5):
    """A log as the trainer writes it, restless as a real one."""
    random = np.random.default_rng(n)
    names = {"d_loss": 2.0, "g_loss": 8.0, "d_real": 1.0, "d_fake": 1.0}
    return [
        {"step": every * (i + 1)}
        | {name: most * float(random.random()) for name, most in names.items()}
        for i in range(n)
    ]


def drawn(fig):
    """The pixels of a figure as a PNG has them, int (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(figures.png(fig))).convert("RGB")).astype(int)


# ---------------------------------------------------------------------------------------------------- pixels


def test_a_sum_has_every_tile_in_its_place():
    exemplars, nine, pixels = (
        [some_images(n)[:4] for n in (4, 5, 6)],
        some_images(9),
        some_images(1)[0],
    )
    fig = figures.arithmetic(
        exemplars, nine, pixels, ("smiling woman", "neutral woman", "neutral man")
    )
    left, middle, right = (ax.images[0].get_array() for ax in fig.axes)
    assert (
        left.shape == (192, 256, 3) and middle.shape == (192, 192, 3) and right.shape == (64, 64, 3)
    )
    for i in range(3):
        tiles = figures.to_display(exemplars[i])
        for j in range(4):
            assert (left[64 * i : 64 * i + 64, 64 * j : 64 * j + 64] == tiles[j]).all()
    assert (middle[64:128, 64:128] == figures.to_display(nine)[4]).all()
    words = " ".join(text.get_text() for text in fig.axes[0].texts).replace("\n", " ")
    assert words == "smiling woman − neutral woman + neutral man"


def test_bytes_come_back_as_they_were():
    values = torch.arange(256).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    shown = figures.to_display(values / 127.5 - 1)
    assert shown.dtype == np.uint8 and shown.shape == (2, 16, 16, 3)
    assert (shown[1, :, :, 2] == np.arange(256).reshape(16, 16)).all()


def test_values_are_rounded_to_the_nearest_and_clipped():
    exact = np.linspace(-1.2, 1.2, 4800)
    shown = (
        figures.to_display(torch.from_numpy(exact).view(1, 3, 40, 40))[0].transpose(2, 0, 1).ravel()
    )
    wanted = np.clip((exact + 1) * 127.5, 0, 255)
    assert np.abs(shown - wanted).max() <= 0.5 + 1e-4
    edges = torch.tensor([-9.0, -1, -0.9999, 0.9999, 1, 9, -torch.inf, torch.inf]).view(1, 1, 2, 4)
    assert figures.to_display(edges).ravel().tolist() == [0, 0, 0, 255, 255, 255, 0, 255]


def test_channels_go_last_and_any_tensor_will_do():
    images = torch.full((1, 3, 2, 2), -1.0)
    images[0, 0, 0, 1] = 1  # red, at the right of the upper row
    expected = np.zeros((1, 2, 2, 3))
    expected[0, 0, 1, 0] = 255
    channels_last = images.to(memory_format=torch.channels_last)
    for given in (
        images,
        images.bfloat16(),
        images.double(),
        channels_last,
        images.clone().requires_grad_() * 1,
    ):
        assert (figures.to_display(given) == expected).all()


def test_gradients_are_each_over_their_largest_and_grey_is_zero():
    maps = torch.zeros(3, 3, 2, 2)
    maps[0, 1, 0, 0], maps[0, 2, 1, 1] = -4, 2
    maps[1, 0, 0, 1] = 0.001
    shown = figures.signed(maps)
    assert shown[0, 1, 0, 0] == -1 and shown[0, 2, 1, 1] == 0.5 and shown[1].max() == 1
    assert (shown[2] == 0).all() and (figures.to_display(shown)[2] == 128).all()


def test_light_stays_where_the_map_is_large():
    images, maps = torch.ones(2, 3, 2, 2) * 0.6, torch.zeros(2, 2, 2)
    maps[0, 0, 0], maps[0, 1, 1] = 8, 4
    lit = figures.spotlit(images, maps) + 1
    assert torch.allclose(lit[0, :, 0, 0], torch.tensor(1.6)) and torch.allclose(
        lit[0, :, 1, 1], torch.tensor(0.6 * 1.6)
    )
    assert torch.allclose(lit[1], torch.tensor(0.2 * 1.6)), "an empty map leaves a fifth"


# ---------------------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("n, columns", [(1, 1), (5, 3), (6, 3), (7, 1), (2, 5), (64, 8)])
def test_a_sheet_has_its_tiles_row_by_row_and_the_rest_white(n, columns):
    images = some_images(n, height=4, width=6)
    whole = figures.sheet(images, columns)
    rows = -(-n // columns)
    assert whole.shape == (rows * 4, columns * 6, 3) and whole.dtype == np.uint8
    for i in range(rows * columns):
        row, column = divmod(i, columns)
        tile = whole[row * 4 : row * 4 + 4, column * 6 : column * 6 + 6]
        assert (tile == (figures.to_display(images)[i] if i < n else 255)).all()


def test_a_grid_draws_each_tile_where_it_belongs():
    colours = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [-1, 1, 1]]).float()
    fig = figures.grid(colours[:, :, None, None].expand(5, 3, 64, 64), columns=3)
    pixels = drawn(fig)
    height, width, _ = pixels.shape
    assert abs(width / height - 3 / 2) < 0.02
    for i, expected in enumerate([*((colours + 1) * 127.5).tolist(), [255, 255, 255]]):
        row, column = divmod(i, 3)
        # the middle and close to two corners: the tile fills its place
        for at in (0.5, 0.04, 0.96):
            y, x = (row + at) * height / 2, (column + at) * width / 3
            assert np.abs(pixels[int(y), int(x)] - expected).max() <= 1, (i, at)


@pytest.mark.parametrize("n", [5, 6])
def test_a_labelled_grid_has_each_label_above_its_tile(n):
    images = some_images(n)
    fig = figures.grid(images, columns=3, labels=[f"tile {i}" for i in range(n)])
    drawn(fig)
    assert len(fig.axes) == 6
    for i, ax in enumerate(fig.axes[:n]):
        assert ax.get_title() == f"tile {i}"
        assert (ax.images[0].get_array() == figures.to_display(images)[i]).all()
        place = ax.get_position()
        if i % 3:
            assert place.x0 > fig.axes[i - 1].get_position().x1 - 1e-6
        if i >= 3:
            assert place.y1 < fig.axes[i - 3].get_position().y0
    assert not any(ax.axison or ax.images for ax in fig.axes[n:])


def test_strips_stand_under_their_titles_and_frames_where_the_change_is():
    rows = torch.rand(2, 3, 3, 8, 8) * 2 - 1
    fig = figures.strips(rows, ["first", "second"], [(1, 2, (1, 2, 5, 6))])
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["first", "second"]
    for ax, row in zip(fig.axes, rows, strict=True):
        assert (ax.images[0].get_array() == figures.sheet(row, 3)).all()
    (frame,) = fig.axes[1].patches
    assert not fig.axes[0].patches and frame.get_bbox().extents.tolist() == [16.5, 1.5, 20.5, 5.5]


def test_a_label_for_every_image():
    for labels in (["one"], ["one", "two", "three"]):
        with pytest.raises(ValueError, match=f"2 images and {len(labels)} labels"):
            figures.grid(some_images(2), labels=labels)
    assert plt.get_fignums() == []


def test_runs_stand_under_each_other():
    given = {f"run {i}": (some_log(30 + i), some_images(4 + i)) for i in range(3)}
    with figures.style():  # its layout keeps the legend off the titles
        fig = figures.runs(given)
        drawn(fig)
    rows = zip(fig.axes[::2], fig.axes[1::2], given.items(), strict=True)
    for curve, picture, (name, (log, samples)) in rows:
        assert curve.get_title("left") == name
        assert (curve.lines[0].get_ydata() == [record["d_loss"] for record in log]).all()
        assert (picture.images[0].get_array() == figures.sheet(samples, len(samples))).all()
    tops = [curve.get_position().y1 for curve in fig.axes[::2]]
    assert tops == sorted(tops, reverse=True)
    assert [curve.get_legend() for curve in fig.axes[::2]] == [None] * 3
    legend = fig.legends[0].get_window_extent()
    assert not any(
        legend.overlaps(curve._left_title.get_window_extent()) for curve in fig.axes[::2]
    )
    assert len(figures.runs({"alone": (some_log(3), some_images(2))}).axes) == 2


# ------------------------------------------------------------------------------------------------------ curves


@pytest.mark.parametrize("n", [1, 2, 49, 50, 120, 500, 501, 2003])
def test_thin_lines_are_the_log_and_thick_ones_numpys_running_median(n):
    log = some_log(n)
    fig = figures.training_curves(log)
    steps = np.array([record["step"] for record in log])
    lines = [ax.lines[i : i + 2] for ax in fig.axes for i in (0, 2)]
    for (thin, thick), name in zip(lines, ("d_loss", "g_loss", "d_real", "d_fake"), strict=True):
        values = np.array([record[name] for record in log])
        assert (thin.get_xdata() == steps).all() and (thin.get_ydata() == values).all()
        reach = n // 50
        padded = np.pad(values, reach, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
        medians = dict(zip(steps, np.nanmedian(windows, axis=1), strict=True))
        shown = thick.get_xdata()
        assert (thick.get_ydata() == [medians[step] for step in shown]).all()
        assert shown[0] == steps[0] and shown[-1] == steps[-1] and len(shown) == min(n, 500)
        assert np.diff(shown).max(initial=0) <= 5 * -(-n // 499), "a gap between the medians"


def test_curves_are_named_told_apart_and_in_range():
    fig = figures.training_curves(some_log(100))
    losses, beliefs = fig.axes
    assert [text.get_text() for ax in fig.axes for text in ax.get_legend().texts] == [
        "D's loss", "G's loss", "D(x), real", "D(G(z)), generated"
    ]  # fmt: skip
    for ax in fig.axes:
        first, second = ax.lines[1], ax.lines[3]
        assert (
            first.get_linestyle() != second.get_linestyle()
            and first.get_color() != second.get_color()
        )
    assert losses.get_ylim()[0] == 0 and losses.get_ylim()[1] > max(
        record["g_loss"] for record in some_log(100)
    )
    assert beliefs.get_ylim()[0] < 0 and beliefs.get_ylim()[1] > 1
    assert beliefs.get_xlabel() == "step" and losses.get_ylabel() == "loss"


def test_before_the_first_line_of_the_log_there_are_empty_axes():
    for fig in (figures.training_curves([]), figures.training_view([], some_images(4))):
        assert drawn(fig).std() > 1
        assert all(len(line.get_xdata()) == 0 for ax in fig.axes for line in ax.lines)


def test_curves_can_be_drawn_into_a_figure_that_is_there():
    given = figures.unmanaged(7, 4.6)
    assert figures.training_curves(some_log(20), given) is given
    assert len(given.axes) == 2 and plt.get_fignums() == []
    assert drawn(given).shape == (460, 700, 3)


@pytest.mark.parametrize("n, columns", [(1, 1), (9, 3), (16, 4), (64, 8)])
def test_a_view_has_both_curves_and_the_samples_in_a_square(n, columns):
    log, samples = some_log(40), some_images(n)
    losses, beliefs, picture = figures.training_view(log, samples).axes
    assert (losses.lines[2].get_ydata() == [record["g_loss"] for record in log]).all()
    assert (beliefs.lines[2].get_ydata() == [record["d_fake"] for record in log]).all()
    assert (picture.images[0].get_array() == figures.sheet(samples, columns)).all()


def test_dots_stand_at_their_values_under_each_other():
    table = {
        "ours": {"bed": (2.0, 1.5, 3.0), "door": None},
        "theirs": {"bed": (1.0, 0.9, 1.1, 40), "door": (3, 3, 3)},
    }
    with figures.style():
        ax = plt.figure().subplots()
    figures.dots(ax, table)
    (ours, _, (ours_bars,)), (theirs, _, (theirs_bars,)) = ax.containers
    assert (
        ours.get_xdata()[0] == 2
        and np.isnan(ours.get_xdata()[1])
        and theirs.get_xdata().tolist() == [1, 3]
    )
    assert np.allclose(ours_bars.get_segments()[0][:, 0], [1.5, 3]) and np.allclose(
        theirs_bars.get_segments()[0][:, 0], [0.9, 1.1]
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bed", "door"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1] and ours.get_ydata()[0] < theirs.get_ydata()[0] < 0.5
    assert ours.get_marker() != theirs.get_marker() and ours.get_color() != theirs.get_color()


# ------------------------------------------------------------------------------------- what figures leave alone

DRAWINGS = {
    "grid": (figures.grid, some_images(5)),
    "labelled grid": (
        lambda images, labels: figures.grid(images, labels=labels),
        some_images(2),
        ["a", "b"],
    ),
    "training_curves": (figures.training_curves, some_log(60)),
    "training_view": (figures.training_view, some_log(60), some_images(9)),
    "runs": (
        figures.runs,
        {"one": (some_log(60), some_images(5)), "two": (some_log(9), some_images(5))},
    ),
}


def values_in(tree):
    """A tree of dicts, lists, tensors and arrays as plain values that == compares."""
    if isinstance(tree, torch.Tensor | np.ndarray):
        return tree.tolist()
    if isinstance(tree, dict):
        return {name: values_in(part) for name, part in tree.items()}
    return [values_in(part) for part in tree] if isinstance(tree, list | tuple) else tree


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_changes_neither_what_it_is_given_nor_the_style(name):
    draw, *given = DRAWINGS[name]
    before, style = values_in(copy.deepcopy(given)), mpl.rcParams.copy()
    pixels = drawn(draw(*given))
    assert pixels.std() > 5, "an empty picture"
    assert values_in(given) == before
    assert mpl.rcParams == style


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_leaves_pyplot_at_most_the_figure_it_returns(name):
    draw, *given = DRAWINGS[name]
    fig = draw(*given)
    figures.png(fig)
    plt.close(fig)
    assert plt.get_fignums() == []
    if name == "training_view":
        assert not hasattr(fig, "number") and fig.canvas.manager is None


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawn_twice_it_is_the_same(name):
    draw, *given = DRAWINGS[name]
    assert (drawn(draw(*given)) == drawn(draw(*given))).all()


def test_sheets_and_bytes_share_no_memory_with_the_images():
    images = some_images(4)
    before = images.clone()
    figures.sheet(images, 2)[:] = 0
    figures.to_display(images)[:] = 0
    assert torch.equal(images, before)


def test_a_thread_can_draw_a_view():
    """A live figure draws in its run's thread, while the notebook draws its own."""
    given = some_log(60), some_images(9)
    made, faults = [], []

    def draw():
        try:
            made.append(figures.png(figures.training_view(*given)))
        except Exception as error:  # an exception in a thread fails no test by itself
            faults.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join(60)
    assert not faults and plt.get_fignums() == []
    assert made == [figures.png(figures.training_view(*given))]


# ------------------------------------------------------------------------------------------------------- style


def test_the_style_ends_with_its_context_and_stays_after_use_style():
    name = "axes.spines.top"
    assert mpl.rcParams[name]
    with figures.style():
        assert not mpl.rcParams[name]
    assert mpl.rcParams[name]
    figures.use_style()
    assert not mpl.rcParams[name] and mpl.rcParams["axes.grid"]
    assert not plt.figure().subplots().spines["right"].get_visible()


def test_a_figure_is_as_large_as_said_and_white():
    pixels = drawn(figures.unmanaged(3, 2))
    assert pixels.shape == (200, 300, 3) and (pixels == 255).all()
