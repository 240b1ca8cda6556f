"""Live figures: a run that is watched is the run it would have been, can be stopped, and hides no fault."""

import _thread
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import anywidget
import ipywidgets
import nbformat
import numpy as np
import pytest
import torch
import traitlets
from nbclient import NotebookClient
from PIL import Image

from dcgan_book import figures, training
from dcgan_book.live import widgets
from dcgan_book.live.widgets import LiveTraining, show
from dcgan_book.models import Discriminator, Generator
from dcgan_book.training.recipe import TrainConfig, TrainingError

TINY = TrainConfig(steps=7, batch=4, width=4, z_dim=8, precision="fp32", device="cpu", threads=1)
ENDLESS = replace(TINY, steps=1_000_000)
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def displayed(monkeypatch):
    """What is displayed, instead of displaying it."""
    calls = []
    monkeypatch.setattr(widgets, "display", lambda *what, **how: calls.append((what, how)))
    return calls


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8)


@pytest.fixture
def live(images):
    """Makes live runs, and lets none outlive its test."""
    made = []

    def make(config, **options):
        made.append(LiveTraining(config, images, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()
        assert one._ended.wait(60), "a run outlives its test"


def wait_for_step(one, step):
    deadline = time.monotonic() + 60
    while one.bar.value < step:
        assert one._thread.is_alive() and time.monotonic() < deadline, one.status.value
        time.sleep(0.005)


def same(first, second):
    """Whether two networks hold the same bits."""
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def assert_trained_like_an_unwatched_run(trained, images):
    config = replace(TINY, steps=trained.step)
    plain = training.train(config, images, progress=False)
    assert same(trained.generator, plain.generator) and same(
        trained.discriminator, plain.discriminator
    )
    assert torch.equal(trained.samples, plain.samples)


# ------------------------------------------------------------------------------------------------- a live run


def test_a_run_to_its_end_is_the_unwatched_one(live, images):
    one = live(TINY, every=3).start()
    trained = one.wait()
    assert trained is one.trained and one.error is None and trained.step == 7
    assert_trained_like_an_unwatched_run(trained, images)
    assert (one.bar.value, one.bar.max) == (7, 7)
    assert one.stop_button.disabled
    assert (
        one.status.value.endswith("images/s; done")
        and f"D {one.log[-1]['d_loss']:.2f}" in one.status.value
    )
    assert [record["step"] for record in one.log] == [1, 2, 3, 4, 5, 6, 7]


def test_pictures_come_at_the_first_step_every_few_and_the_last(live, monkeypatch):
    drawn, view = [], figures.training_view

    def spy(log, samples):
        drawn.append((len(log), samples))
        return view(log, samples)

    monkeypatch.setattr(figures, "training_view", spy)
    trained = live(TINY, every=3).start().wait()
    assert [steps for steps, _ in drawn] == [1, 3, 6, 7]
    assert torch.equal(drawn[-1][1], trained.samples[:16])
    assert not torch.equal(drawn[0][1], drawn[-1][1])


def test_the_picture_is_a_png_of_curves_and_samples(live):
    one = live(replace(TINY, steps=1))
    assert one.picture.value == b"" and one.picture.format == "png"
    trained = one.start().wait()
    with Image.open(BytesIO(one.picture.value)) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5
    assert one.picture.value == figures.png(figures.training_view(one.log, trained.samples[:16]))


def test_the_button_ends_the_run_early_and_keeps_what_is_trained(live, images, monkeypatch):
    monkeypatch.setattr(figures, "png", lambda _: b"a picture")
    one = live(ENDLESS, seconds=60).start()
    wait_for_step(one, 3)
    assert not one.stop_button.disabled and one.trained is None
    one.stop_button.click()
    shown = one.bar.value
    trained = one.wait()
    assert 3 <= trained.step == one.bar.value == len(one.log)
    assert trained.step <= shown + 2, "it went on after the step in progress"
    assert one.status.value.endswith("; stopped") and one.stop_button.disabled
    assert_trained_like_an_unwatched_run(trained, images)


def test_a_stop_before_the_first_step_ends_it_there(live):
    one = live(ENDLESS)
    one.stop()
    assert one.start().wait().step == 1 and one.picture.value[:4] == b"\x89PNG"


def test_a_run_stops_by_itself_when_its_time_is_up(live, monkeypatch):
    monkeypatch.setattr(figures, "png", lambda _: b"a picture")
    began = time.monotonic()
    one = live(ENDLESS, seconds=0.5).start()
    trained = one.wait()
    assert time.monotonic() - began > 0.5
    assert trained.step == len(one.log) < ENDLESS.steps and one.status.value.endswith("; stopped")
    assert all(record["seconds"] < 0.5 for record in one.log[:-1]), "it went on past its time"


def test_start_returns_at_once_and_the_thread_holds_no_notebook_back(live, monkeypatch):
    free = threading.Event()
    train = training.train
    monkeypatch.setattr(
        training, "train", lambda *given, **options: free.wait(60) and train(*given, **options)
    )
    one = live(TINY)
    assert one.start() is one and one._thread.is_alive() and one._thread.daemon
    assert one.trained is None and one.bar.value == 0 and not one.stop_button.disabled
    free.set()
    assert one.wait().step == 7


def test_own_networks_are_the_ones_trained(live):
    models = Generator(2, 8), Discriminator(2)
    trained = live(replace(TINY, steps=1), models=models).start().wait()
    assert (trained.generator, trained.discriminator) == models


# ---------------------------------------------------------------------------------------------------- faults


def test_a_fault_is_shown_and_raised_by_wait(live):
    one = live(replace(TINY, lr_d=1e30)).start()
    with pytest.raises(TrainingError, match="g_loss is nan at step 1"):
        one.wait()
    assert one.status.value.startswith("stopped: g_loss is nan at step 1")
    assert one.trained is None and one.stop_button.disabled
    with pytest.raises(TrainingError):  # and again: a second cell may wait too
        one.wait()


def test_a_fault_of_the_picture_is_none_the_less_a_fault(live, monkeypatch):
    def fails(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr(figures, "training_view", fails)
    one = live(TINY).start()
    with pytest.raises(RuntimeError, match="no ink"):
        one.wait()
    assert one.status.value == "stopped: no ink" and one.stop_button.disabled


def test_interrupting_the_kernel_stops_the_run_and_keeps_it(live, monkeypatch):
    monkeypatch.setattr(figures, "png", lambda _: b"a picture")
    one = live(ENDLESS, seconds=60).start()
    wait_for_step(one, 1)
    # a shell's background job ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer = threading.Timer(0.3, _thread.interrupt_main)
        timer.start()
        trained = one.wait()
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert trained.step == len(one.log) and one.status.value.endswith("; stopped")
    assert one.log[-1]["seconds"] < 60, "it went on until its time was up"


def test_the_line_says_what_the_collapse_alarm_saw(live):
    one = live(replace(TINY, watch_every=3)).start()
    (look,) = [record for record in one.wait().log if record["step"] == 6]
    assert one.status.value.endswith(training.WATCHED.format(**look) + "; done")


def test_waiting_for_what_was_never_started(images):
    with pytest.raises(RuntimeError, match="call start"):
        LiveTraining(TINY, images).wait()


# ---------------------------------------------------------------------------------------- what is displayed


class Own(anywidget.AnyWidget):
    _esm = "export default { render({ el }) { el.innerText = 'here' } }"


@pytest.mark.parametrize("kind", [ipywidgets.IntSlider, Own])
def test_a_widget_is_shown_with_a_sentence_for_pages_without_a_kernel(displayed, kind):
    widget = kind()
    show(widget, "Move it & see <nothing>.")
    [((formats,), how)] = displayed
    assert formats[VIEW]["model_id"] == widget.model_id
    assert formats["text/html"] == "<p>Move it &amp; see &lt;nothing&gt;.</p>"
    assert how == {"metadata": {}, "raw": True} and all(isinstance(name, str) for name in formats)


def test_a_line_follows_a_live_figure(displayed):
    class Figure(traitlets.HasTraits):
        z = traitlets.List([[1.0, 2.0]])

    figure = Figure()
    line = widgets.follow(figure, lambda z: f"<{z.sum().item():.0f}>", "Here <no> kernel runs.")
    assert line.value == "&lt;3&gt;"
    ((bundle,), _) = displayed[0]  # a page's line would stay at 3 while its figure moves on
    assert bundle["text/html"] == "<p>Here &lt;no&gt; kernel runs.</p>" and VIEW in bundle
    figure.z = [[4.0, 5.0]]
    assert line.value == "&lt;9&gt;"


def test_a_picture_of_the_readers_is_cut_to_its_middle_and_answered(displayed):
    seen = []

    def answer(image):
        seen.append(image)
        return torch.cat([image, -image])

    button, line, below = widgets.upload(answer, "a button stands here").children
    ((bundle,), _) = displayed[0]
    assert bundle["text/html"] == "<p>a button stands here</p>"
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    data = BytesIO()
    Image.fromarray(wide).save(data, "PNG")
    button.value = ({"name": "x.png", "type": "image/png", "size": 1, "content": data.getvalue(),
                     "last_modified": datetime.now(UTC)},)  # fmt: skip
    assert seen[0].shape == (1, 3, 64, 64) and seen[0][..., 8:-8].min() > 0.9
    assert Image.open(BytesIO(below.value)).width > 100 and line.value == ""
    button.value = ({"name": "x.png", "type": "image/png", "size": 1, "content": b"no picture",
                     "last_modified": datetime.now(UTC)},)  # fmt: skip
    assert len(seen) == 1 and line.value.startswith("not a picture that can be read")


def test_starting_shows_the_whole_view_once(live, displayed):
    one = live(replace(TINY, steps=1)).start()
    one.wait()
    [((formats,), _)] = displayed
    assert (
        formats[VIEW]["model_id"] == one.view.model_id
        and "progress, losses and samples" in formats["text/html"]
    )
    controls, picture = one.view.children
    assert controls.children == (one.bar, one.stop_button, one.status) and picture is one.picture


CELL = """
import numpy as np
from dcgan_book import training
from dcgan_book.live import widgets
config = training.TrainConfig(steps=3, batch=4, width=4, z_dim=8, precision="fp32", device="cpu", threads=1)
live = widgets.LiveTraining(config, np.zeros((8, 64, 64, 3), np.uint8)).start()
print(live.wait().step)
"""


def test_in_a_notebook_both_are_in_the_output_and_the_state_is_saved(tmp_path):
    """In a real kernel, which speaks for the widget as none of the above does."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown, printed = notebook.cells[0].outputs
    assert printed.text == "3\n"
    assert {VIEW, "text/html", "text/plain"} <= shown.data.keys()
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    models = {model["model_name"]: model["state"] for model in state.values()}
    assert shown.data[VIEW]["model_id"] in state
    assert models["IntProgressModel"]["value"] == 3 and models["ButtonModel"]["disabled"]
    [buffer] = [
        model["buffers"][0]["data"]
        for model in state.values()
        if model["model_name"] == "ImageModel"
    ]
    assert buffer.startswith("iVBORw0KGgo"), "no PNG in base64"
