"""Widgets in JupyterLab, with a kernel: both sides set their state, and see what the other has set."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_book.hooks import ablate
from dcgan_book.latents import recalibrate
from dcgan_book.models import Generator

FIGURE = [
    """import torch
from dcgan_book import live, pretrained
from dcgan_book.latents import recalibrate
from dcgan_book.models import Generator
torch.manual_seed(0)
generator = recalibrate(Generator(8), count=128)
trained = pretrained.Pretrained(generator, None, {"prior": "uniform"}, [])
figure = live.walk(trained, torch.Generator().manual_seed(0), directions=1)
figure""",
    'print("t is", round(figure.t, 2)); print("z is", figure.z)',
    'figure.units = [live.edit("16x16", range(10))]; figure.t = 0.75; print("set")',
    'print("now", figure.z)',
]
BOXES = [
    """import torch
from dcgan_book.live.annotate import Annotator
annotator = Annotator(torch.zeros(3, 3, 64, 64), "boxes.json", [4, 8, 15])
annotator""",
    """from pathlib import Path
print(annotator.visited, annotator.rows, len(Path("boxes.json").read_text(encoding="utf-8")))""",
    'annotator.rows = []; annotator.at = 2; print("set")',
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, jupyter):
    """The address of a JupyterLab whose folder holds `figure.ipynb` and `boxes.ipynb`."""
    home = tmp_path_factory.mktemp("lab")
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for name, codes in (("figure", FIGURE), ("boxes", BOXES)):
        cells = [empty | {"id": f"c{i}", "source": code} for i, code in enumerate(codes)]
        notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        (home / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    return jupyter(home)


@pytest.fixture
def notebook(lab, browser):
    """A function that opens a notebook, and returns its tab and a function that runs a cell and awaits its output."""
    contexts = []

    def open_it(name):
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 1400}))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(120_000)
        tab.goto(f"{lab}/lab/workspaces/{name}/tree/{name}.ipynb")
        # cells run before that are dropped
        tab.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

        def run(number, answer=".jp-OutputArea-output pre"):
            cell = tab.locator(".jp-CodeCell").nth(number)
            cell.locator(".cm-content").click()
            tab.keyboard.press("Shift+Enter")
            output = cell.locator(answer)
            output.wait_for()
            return output

        return tab, run

    yield open_it
    for context in contexts:
        context.close()


def shown(figure):
    png = base64.b64decode(
        figure.locator("canvas").first.evaluate("c => c.toDataURL()").split(",")[1]
    )
    return (
        torch.from_numpy(np.array(Image.open(io.BytesIO(png)).convert("RGB"))).permute(2, 0, 1)
        / 127.5
        - 1
    )


def test_kernel_and_figure_stay_in_step(notebook):
    torch.manual_seed(0)
    generator = recalibrate(Generator(8), count=128).requires_grad_(False)
    tab, run = notebook("figure")
    figure = run(0, ".dcgan-live[data-state=alive]")
    slider = figure.get_by_role("slider", name="A to B")
    slider.focus()
    for _ in range(3):
        slider.press("PageUp")
    words = run(1).inner_text()
    assert "t is 0.3" in words
    z = torch.tensor(json.loads(words.partition("z is ")[2]))
    assert (shown(figure) - generator(z)[0]).abs().max() < 0.06

    run(2)
    tab.wait_for_function(
        "() => document.querySelector('.dcgan-live output').innerText.startsWith('75 %')"
    )
    tab.wait_for_timeout(1000)
    after = torch.tensor(json.loads(run(3).inner_text().partition("now ")[2]))
    assert not torch.equal(after, z)
    assert slider.input_value() == "0.75"
    with ablate(generator, "16x16", range(10)):
        expected = generator(after)[0]
    assert (shown(figure) - expected).abs().max() < 0.06
    assert (shown(figure) - generator(after)[0]).abs().max() > 0.06


def test_boxes_drawn_in_a_notebook_are_the_kernels(notebook):
    tab, run = notebook("boxes")
    widget = run(0, ".dcgan-annotate[data-state=alive]")
    frame = widget.get_by_role("application").bounding_box()
    pixel = frame["width"] / 64
    tab.mouse.move(frame["x"] + 8 * pixel, frame["y"] + 16 * pixel)
    tab.mouse.down()
    tab.mouse.move(frame["x"] + 30 * pixel, frame["y"] + 40 * pixel, steps=3)
    tab.mouse.up()
    cells = tab.locator(".jp-CodeCell").count()
    # some of which add and move cells where nothing is in the way
    for key in ("n", "a", "ArrowUp", "b"):
        tab.keyboard.press(key)
    assert "sample 1 of 3, 1 box" in widget.locator("output").inner_text()
    assert tab.locator(".jp-CodeCell").count() == cells
    words = run(1).inner_text()
    assert "[4, 8] [[4, 8, 16, 30, 40, 'window'], [8, 24, 23, 40, 39, 'window']]" in words
    assert int(words.split()[-1]) > 100  # characters of the file
    run(2)
    tab.wait_for_function(
        "() => document.querySelector('.dcgan-annotate output').innerText == 'sample 3 of 3, 0 boxes'"
    )
