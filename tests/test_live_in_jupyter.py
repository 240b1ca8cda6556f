"""A live figure in JupyterLab, with a kernel: both sides set its state, and see what the other has set."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import torch
from PIL import Image

from dcgan_book.hooks import ablate
from dcgan_book.models import Generator
from dcgan_book.training import recalibrate

CELLS = [
    """import torch
from dcgan_book import live, pretrained
from dcgan_book.models import Generator
from dcgan_book.training import recalibrate
torch.manual_seed(0)
generator = recalibrate(Generator(8), count=128)
trained = pretrained.Pretrained(generator, None, {"prior": "uniform"}, [])
figure = live.walk(trained, torch.Generator().manual_seed(0), directions=1)
figure""",
    'print("t is", round(figure.t, 2)); print("z is", figure.z)',
    'figure.units = [live.edit("16x16", range(10))]; figure.t = 0.75; print("set")',
    'print("now", figure.z)',
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab whose folder holds `figure.ipynb`."""
    home = tmp_path_factory.mktemp("lab")
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [empty | {"id": f"c{i}", "source": code} for i, code in enumerate(CELLS)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (home / "figure.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = os.environ | {name: str(home / name.lower()) for name in names}
    options = [f"--port={port}", "--ip=127.0.0.1", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    with open(home / "log", "w") as log:
        command = [sys.executable, "-m", "jupyter", "lab", *options]
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (home / "log").read_text()[-2000:]
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def shown(figure):
    png = base64.b64decode(figure.locator("canvas").first.evaluate("c => c.toDataURL()").split(",")[1])
    return torch.from_numpy(np.array(Image.open(io.BytesIO(png)).convert("RGB"))).permute(2, 0, 1) / 127.5 - 1


def test_kernel_and_figure_stay_in_step(lab, browser):
    torch.manual_seed(0)
    generator = recalibrate(Generator(8), count=128).requires_grad_(False)
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    tab.goto(f"{lab}/lab/tree/figure.ipynb")
    cells = tab.locator(".jp-CodeCell")

    def run(number, answer):
        cells.nth(number).locator(".cm-content").click()
        tab.keyboard.press("Shift+Enter")
        output = cells.nth(number).locator(answer)
        output.wait_for()
        return output

    tab.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # cells run before that are dropped
    figure = run(0, ".dcgan-live[data-state=alive]")
    slider = figure.get_by_role("slider", name="A to B")
    slider.focus()
    for _ in range(3):
        slider.press("PageUp")
    words = run(1, ".jp-OutputArea-output pre").inner_text()
    assert "t is 0.3" in words
    z = torch.tensor(json.loads(words.partition("z is ")[2]))
    assert (shown(figure) - generator(z)[0]).abs().max() < 0.06

    run(2, ".jp-OutputArea-output pre")
    tab.wait_for_function("() => document.querySelector('.dcgan-live output').innerText.startsWith('75 %')")
    tab.wait_for_timeout(1000)
    after = torch.tensor(json.loads(run(3, ".jp-OutputArea-output pre").inner_text().partition("now ")[2]))
    assert not torch.equal(after, z)
    assert slider.input_value() == "0.75"
    with ablate(generator, "16x16", range(10)):
        expected = generator(after)[0]
    assert (shown(figure) - expected).abs().max() < 0.06
    assert (shown(figure) - generator(after)[0]).abs().max() > 0.06
    context.close()
