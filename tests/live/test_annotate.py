"""Boxes are drawn, kept and found again; the shipped ones are those of the shipped generator."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image
from scipy import ndimage

from dcgan_book import forgetting, measure, pretrained
from dcgan_book.forgetting.boxes import Box, load_boxes, save_boxes
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import draw_z, recalibrate, stream
from dcgan_book.live import annotate, widgets
from dcgan_book.live.annotate import Annotator, Refitting, refit
from dcgan_book.models import Generator

BY_EYE = Path(__file__).parents[2] / "book" / "experiments" / "window-boxes.json"
# the generator's weights, by their SHA-256
BOXED = "3e1c502efd9a0bfed4a00401f06684af195c36ec50bedbb5e0b236d062cfcc83"
SEEDS = [5, 6, 9, 12]


@pytest.fixture
def images():
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def path(tmp_path):
    return tmp_path / "boxes.json"


# The Python side


def test_every_change_is_in_the_file_and_nothing_else_lies_beside_it(images, path):
    annotator = Annotator(images, path, SEEDS)
    assert annotator.boxes == [] and annotator.at == 0 and not path.exists(), (
        "looking alone writes nothing"
    )
    annotator.rows = [[6, 1, 2, 30, 40, "window"]]
    assert load_boxes(path) == ([6], [Box(6, 1, 2, 30, 40)]), (
        "a sample with a box counts as looked at"
    )
    annotator.visited = [9, 5, 6]
    assert load_boxes(path) == ([5, 6, 9], [Box(6, 1, 2, 30, 40)])
    annotator.rows = []
    assert load_boxes(path) == ([5, 6, 9], [])
    assert list(path.parent.iterdir()) == [path]


def test_it_goes_on_where_it_stopped(images, path):
    save_boxes(path, [5, 6, 12], [Box(6, 1, 2, 30, 40, "lamp"), Box(5, 0, 0, 9, 9)])
    annotator = Annotator(images, path, SEEDS)
    assert annotator.at == 2 and annotator.visited == [5, 6, 12]
    assert annotator.boxes == [Box(6, 1, 2, 30, 40, "lamp"), Box(5, 0, 0, 9, 9)]
    assert annotator.labels == ["window", "lamp"]
    annotator.visited = [*annotator.visited, 9]
    assert Annotator(images, path, SEEDS).at == 3, "all are looked at: the last one"


def test_what_does_not_fit_is_refused(images, path):
    with pytest.raises(ValueError, match=r"images are \(4, 3, 64, 64\); each of 3 seeds"):
        Annotator(images, path, SEEDS[:3])
    annotator = Annotator(images, path, SEEDS)
    annotator.rows = [[6, 1, 2, 30, 40, "window"]]
    for rows, words in [([[6, 1, 2, 1, 40, "window"]], "left < right"), ([[7, 1, 2, 3, 4, "window"]], "sample 7"),
                        ([[6, 1]], "missing")]:  # fmt: skip
        with pytest.raises(traitlets.TraitError, match=words):
            annotator.rows = rows
        with pytest.raises(traitlets.TraitError, match=words):
            annotator.set_state({"rows": rows})  # as the browser does
        assert annotator.boxes == load_boxes(path)[1] == [Box(6, 1, 2, 30, 40)]
    annotator.at = 99
    assert annotator.at == 3
    save_boxes(path, [5, 77], [])
    with pytest.raises(ValueError, match="boxes.json is of other samples: 77"):
        Annotator(images, path, SEEDS)


def test_a_file_that_cannot_be_written_is_told(images, path):
    annotator = Annotator(images, path.parent / "gone" / "boxes.json", SEEDS)
    annotator.visited = [5]
    assert annotator.trouble == "not saved: No such file or directory"
    (path.parent / "gone").mkdir()
    annotator.visited = [5, 6]
    assert annotator.trouble == "" and load_boxes(annotator.path) == ([5, 6], [])


def test_without_kernel_there_is_a_picture_of_the_boxes(images, path):
    save_boxes(path, SEEDS, [Box(6, 10, 20, 30, 40)])
    annotator = Annotator(images * 0.1 - 0.9, path, SEEDS)  # nearly black
    formats, _ = annotator._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in formats
    page = formats["text/html"]
    assert 'alt="4 of 4 samples with the boxes drawn on them"' in page
    data = base64.b64decode(page.partition("base64,")[2].partition('"')[0])
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert picture.shape == (128, 1024, 3)
    red = picture[:, 128:256, 0] - picture[:, 128:256, 2] > 60
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx(
        (40, 79, 20, 59), abs=1
    )
    assert not red[45:75, 25:55].any(), "an outline only"


# The instrument's boxes beside those made by eye


def test_components_are_scipys():
    masks = torch.rand(6, 64, 64, generator=torch.Generator().manual_seed(1)) < 0.25
    masks[0] = False
    masks[1] = True
    boxes = forgetting.component_boxes(masks, range(10, 16), "lamp", smallest=5)
    expected = []
    for i, mask in enumerate(masks.numpy()):
        numbered, _ = ndimage.label(mask, np.ones((3, 3)))
        for k, (down, across) in enumerate(ndimage.find_objects(numbered)):
            if (numbered == k + 1).sum() >= 5:
                expected.append(
                    Box(10 + i, across.start, down.start, across.stop, down.stop, "lamp")
                )
    assert len(expected) > 50 and set(boxes) == set(expected) and len(boxes) == len(expected)


def test_agreement_counts_matches_once():
    mine = [Box(1, 0, 0, 10, 10), Box(1, 20, 0, 30, 10), Box(2, 0, 0, 10, 10), Box(4, 0, 0, 10, 10)]
    theirs = [
        Box(1, 0, 0, 10, 5),  # half of the first: just a match, but the next one is a better one
        Box(1, 1, 0, 10, 10),  # 0.9 of the first
        Box(1, 20, 0, 30, 4),  # 0.4 of the second: none
        Box(2, 0, 0, 10, 10, "lamp"),  # another thing
        Box(3, 0, 0, 10, 10),
    ]
    found = forgetting.agreement([1, 2, 3, 4, 5], mine, theirs)
    assert found.matches == [(mine[0], theirs[1])]
    assert found.precision == measure.wilson(1, 5) and found.recall == measure.wilson(1, 4)
    assert found.presence == measure.wilson(3, 5), "1, 2 and 5"
    assert found.iou.value == pytest.approx(0.9)
    assert forgetting.agreement([1, 2, 3, 4, 5], mine, theirs, 0.4).recall == measure.wilson(2, 4)
    assert forgetting.agreement([3, 4], mine[3:], theirs[4:]).iou is None


def test_the_shipped_boxes_are_of_the_shipped_generator():
    card = pretrained.load("rooms").card
    assert card["sha256"]["generator.safetensors"] == BOXED, (
        "the windows were boxed on samples of other weights"
    )
    seeds, boxes = load_boxes(BY_EYE)
    assert seeds == list(range(150)) and len(boxes) >= 52
    assert {box.label for box in boxes} == {"window"}


def test_the_instrument_sees_most_windows_that_were_boxed():
    trained = pretrained.load("rooms")
    seeds, boxes = load_boxes(BY_EYE)
    samples = trained.generator(
        forgetting.latents(seeds, trained.generator.z_dim, trained.card["prior"])
    )
    theirs = forgetting.component_boxes(measure.load().read(samples).mask("window"), seeds)
    found = forgetting.agreement(seeds, boxes, theirs)
    print(found.precision, found.recall, found.presence, found.iou)
    assert found.recall.value > 0.8 and found.presence.value > 0.85 and found.iou.value > 0.7
    others = forgetting.agreement(
        seeds, boxes, [replace(box, seed=(box.seed + 1) % 150) for box in theirs]
    )
    assert others.recall.high < 0.3, "windows of another sample are elsewhere"


# In the browser, without Jupyter: a model on the page stands for the kernel's

MOUNT = """async ({ module, state, message, sheet }) => {
  const { default: widget } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const listeners = {};
  const tell = (event, ...values) => (listeners[event] ?? []).forEach((listener) => listener(...values));
  const bytes = Uint8Array.from(atob(sheet), (c) => c.charCodeAt(0));
  window.state = state;
  window.saves = 0;
  window.model = {
    get: (key) => state[key],
    set(key, value) {
      state[key] = value;
      tell(`change:${key}`);
    },
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    save_changes: () => window.saves++,
    send: (wanted) => wanted === "images" && tell("msg:custom", message, [bytes]),
  };
  document.onkeydown = (event) => (window.leaked = event.key);
  widget.render({ model: window.model, el: document.querySelector("#here") });
}"""


class Tab:
    """A page with the widget of an annotator, whose state follows what is done on the page."""

    def __init__(self, page, annotator):
        self.page, self.annotator = page, annotator
        sent = []
        annotator.send = lambda message, buffers: sent.append((message, buffers[0]))
        annotator._handle_custom_msg("images", [])
        folder = Path(annotate.__file__).parent
        css, module = (
            (folder / name).read_text(encoding="utf-8") for name in ("annotate.css", "annotate.js")
        )
        page.set_content(
            '<!doctype html><meta name="viewport" content="width=device-width"><style>:root { color-scheme: light dark }'
            f'{css}</style><p><button>before</button><div id="here"></div>'
        )
        names = ("seeds", "labels", "rows", "visited", "at", "trouble")
        page.evaluate(MOUNT, {
            "module": module, "state": {n: getattr(annotator, n) for n in names},
            "message": sent[0][0], "sheet": base64.b64encode(sent[0][1]).decode(),
        })  # fmt: skip
        page.wait_for_selector(".dcgan-annotate[data-state=alive]")
        self.stage = page.get_by_role("application")

    def boxes(self):
        """The boxes that Python has, once it has heard what the page has done."""
        names = "({ rows: state.rows, visited: state.visited, at: state.at })"
        self.annotator.set_state(self.page.evaluate(names))
        assert load_boxes(self.annotator.path)[1] == self.annotator.boxes
        return [
            (box.seed, box.left, box.top, box.right, box.bottom, box.label)
            for box in self.annotator.boxes
        ]

    def where(self, x, y):
        frame = self.stage.bounding_box()
        return frame["x"] + x / 64 * frame["width"], frame["y"] + y / 64 * frame["height"]

    def drag(self, *points):
        """From the first point to the last one, in pixels of the sample."""
        self.page.mouse.move(*self.where(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.where(*point), steps=3)
        self.page.mouse.up()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def words(self):
        return self.page.locator("output").inner_text()


@pytest.fixture
def open_tab(browser):
    """A function that opens an annotator in a `Tab`."""
    contexts, trouble = [], []

    def open_it(annotator, **options):
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1000, "height": 900}} | options)
        )
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        return Tab(page, annotator)

    yield open_it
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def tab(open_tab, images, path):
    return open_tab(Annotator(images, path, SEEDS, ("window", "lamp")))


def test_boxes_are_drawn_moved_resized_and_deleted_with_the_mouse(tab):
    tab.drag((10, 12), (30, 40))
    assert tab.boxes() == [(5, 10, 12, 30, 40, "window")]
    assert tab.words() == "sample 1 of 4, 1 box; selected: window from 10, 12 to 30, 40 (20 by 28)"
    tab.drag((20, 20), (25, 17))  # from its inside
    assert tab.boxes() == [(5, 15, 9, 35, 37, "window")]
    tab.drag((35, 37), (40, 50))  # at its corner
    assert tab.boxes() == [(5, 15, 9, 40, 50, "window")]
    tab.drag((15, 29), (20, 60))  # at its left edge, which goes sideways only
    assert tab.boxes() == [(5, 20, 9, 40, 50, "window")]
    tab.drag((20, 9), (63, 63))  # no further than the opposite corner
    assert tab.boxes() == [(5, 38, 48, 40, 50, "window")]
    tab.drag((39, 49), (80, 0))  # not when its handles are all over it
    tab.click("Undo")
    tab.click("Undo")
    assert tab.boxes() == [(5, 20, 9, 40, 50, "window")]
    tab.drag((30, 30), (80, -30))  # not out of the sample, nor smaller
    assert tab.boxes() == [(5, 44, 0, 64, 41, "window")]
    tab.drag((12, 60), (2, 44))  # another, from its lower right
    assert tab.boxes()[1] == (5, 2, 44, 12, 60, "window")
    tab.drag((60, 10), (60, 10))
    tab.click("Delete")
    assert tab.boxes() == [(5, 2, 44, 12, 60, "window")]
    before = tab.page.evaluate("saves")
    tab.drag((30, 30), (31, 31))  # too small, and a click on nothing
    assert tab.boxes() == [(5, 2, 44, 12, 60, "window")] and tab.page.evaluate("saves") == before
    assert "selected" not in tab.words()


def test_all_of_it_goes_by_keyboard(tab):
    tab.page.get_by_text("before").focus()
    tab.press("Tab", "a")
    assert tab.boxes() == [(5, 24, 24, 40, 40, "window")]
    tab.press(
        "ArrowLeft",
        "ArrowLeft",
        "ArrowUp",
        "Shift+ArrowRight",
        "Shift+ArrowDown",
        "Shift+ArrowDown",
        "2",
    )
    assert tab.boxes() == [(5, 22, 23, 39, 41, "lamp")]
    tab.press("a")
    assert tab.boxes()[1] == (5, 24, 24, 40, 40, "lamp"), "new boxes have the label chosen last"
    tab.press("s", "Delete")
    assert tab.boxes() == [(5, 24, 24, 40, 40, "lamp")]
    tab.press("n", "n")
    assert tab.page.evaluate("state.visited") == [5, 6] and "sample 3 of 4, 0 boxes" in tab.words()
    tab.press("b", "a", "1", "Escape", "Delete", "ArrowLeft")
    assert tab.boxes()[1] == (6, 24, 24, 40, 40, "window") and "selected" not in tab.words()
    tab.press("n", "u")  # the label, on the sample before
    assert tab.boxes()[1] == (6, 24, 24, 40, 40, "lamp") and "sample 2 of 4" in tab.words()
    tab.press("Control+z", "u")
    assert tab.boxes() == [(5, 22, 23, 39, 41, "lamp"), (5, 24, 24, 40, 40, "lamp")]
    tab.press(*"uuuuuuuuuuuu")
    assert tab.boxes() == [] and tab.page.get_by_role("button", name="Undo").is_disabled()
    tab.press("n", "n", "n", "n")
    assert "sample 4 of 4, 0 boxes; all samples are looked at" in tab.words()
    assert tab.page.evaluate("window.leaked") in (None, "Tab"), (
        "the notebook hears of none of these keys"
    )
    focusable = tab.page.locator("#here :is(button, select, summary, [tabindex])")
    assert focusable.evaluate_all("all => all.every((e) => e.dataset.lmSuppressShortcuts)"), (
        "Notebook 7 looks for that"
    )


def test_buttons_do_what_keys_do_and_leave_the_keys_to_the_widget(tab):
    tab.drag((4, 4), (20, 20))
    tab.drag((30, 30), (50, 50))
    tab.page.get_by_role("button", name="window from 4, 4").click()
    assert (
        tab.page.get_by_role("button", name="window from 4, 4").get_attribute("aria-pressed")
        == "true"
    )
    tab.press("ArrowDown")
    tab.page.get_by_label("label of the box").select_option("lamp")
    assert tab.boxes() == [(5, 4, 5, 20, 21, "lamp"), (5, 30, 30, 50, 50, "window")]
    tab.click("Delete")
    tab.press("n")  # the button cannot be pressed again, and has no focus
    assert "sample 2 of 4" in tab.words() and len(tab.boxes()) == 1
    tab.click("Back")
    tab.press("n")
    tab.click("Next")
    assert "sample 3 of 4" in tab.words()
    tab.click("Undo")
    assert "sample 1 of 4, 2 boxes" in tab.words()


def test_the_samples_are_shown_as_they_are(tab, images):
    for i in range(len(images)):
        png = tab.page.locator("canvas").evaluate("c => c.toDataURL()").split(",")[1]
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
        assert np.array_equal(shown, annotate.figures.to_display(images[i : i + 1])[0])
        tab.press("n") if i else tab.click("Next")
    assert (
        tab.page.locator("canvas").evaluate("c => getComputedStyle(c).imageRendering")
        == "pixelated"
    )


def test_what_python_sets_is_shown(tab):
    tab.page.evaluate("model.set('at', 2); model.set('rows', [[9, 8, 16, 32, 48, 'lamp']])")
    assert "sample 3 of 4, 1 box" in tab.words()
    frame, drawn = tab.stage.bounding_box(), tab.page.locator("rect").last.bounding_box()
    assert drawn["x"] - frame["x"] == pytest.approx(frame["width"] / 8, abs=4)
    assert drawn["height"] == pytest.approx(frame["height"] / 2, abs=6)
    tab.page.evaluate("model.set('trouble', 'not saved: No space left on device')")
    assert tab.page.get_by_role("alert").inner_text() == "not saved: No space left on device"


def test_a_finger_draws_on_a_telephone_in_the_dark(open_tab, images, path):
    phone = {
        "viewport": {"width": 360, "height": 640},
        "has_touch": True,
        "is_mobile": True,
        "color_scheme": "dark",
    }
    tab = open_tab(Annotator(images, path, SEEDS), **phone)
    finger = tab.page.context.new_cdp_session(tab.page)

    def swipe(*points):
        for kind, point in zip(
            ["touchStart"] + ["touchMove"] * (len(points) - 1), points, strict=True
        ):
            x, y = tab.where(*point)
            finger.send(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]}
            )
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    swipe((10, 10), (15, 20), (30, 50))
    assert tab.boxes() == [(5, 10, 10, 30, 50, "window")]
    swipe((31, 51), (40, 55), (41, 56))  # a finger need not hit the corner
    assert tab.boxes() == [(5, 10, 10, 40, 55, "window")]
    assert tab.page.evaluate("scrollY") == 0, "the page stays where it is"
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360
    controls = tab.page.locator("#here :is(button, select, canvas, progress, [tabindex])")
    low = "all => all.filter((e) => e.matches('button, select') && e.getBoundingClientRect().height < 24).length"
    assert controls.evaluate_all(low) == 0
    unnamed = """all => all.filter((e) => !e.matches("canvas") && !(e.getAttribute("aria-label") || e.innerText))
        .map((e) => e.outerHTML)"""
    assert controls.evaluate_all(unnamed) == []
    text = tab.page.locator("output").evaluate("e => getComputedStyle(e).color")
    assert text == "rgb(255, 255, 255)", "the host's colour"


# Boxes, and what the generator then forgets


def test_boxes_are_refitted_and_drawn_anew_after_every_change(tmp_path):
    """With the shipped generator, the shipped boxes and all 150 samples."""
    seeds, boxes = load_boxes(BY_EYE)
    generator = pretrained.load("rooms").generator
    with torch.no_grad():
        samples = generator(forgetting.latents(seeds))
    path = tmp_path / "boxes.json"
    path.write_text(BY_EYE.read_text(encoding="utf-8"), encoding="utf-8")
    annotator = Annotator(samples, path, seeds)
    refitting = Refitting(annotator, generator, "8x8", draw_z(8, generator=stream(0, "fresh")))
    first, words = refitting.picture.value, refitting.words.value
    assert words.startswith(f"{len(boxes)} boxes tell windows with an AUC of 0.9")
    for gone in range(1, 4):
        annotator.rows = annotator.rows[1:]
        assert refitting.words.value.startswith(f"{len(boxes) - gone} boxes")
    assert refitting.picture.value != first

    last, annotator.rows = refitting.picture.value, annotator.rows[:1]
    assert (
        "1 boxes: boxes lie on 1 image" in refitting.words.value and refitting.picture.value == last
    )


def test_a_refit_is_the_recipe_by_hand():
    seeds, boxes = [1, 2, 3], [Box(1, 0, 0, 16, 16), Box(2, 8, 8, 40, 40), Box(3, 24, 0, 48, 24)]
    generator = recalibrate(Generator(4), count=128).requires_grad_(False)
    z = draw_z(2, generator=stream(0, "z"))
    maps = activations_of(generator, "8x8", forgetting.latents(seeds))
    found, images = refit(generator, "8x8", maps, seeds, boxes, z)
    covered = forgetting.coverage(forgetting.box_masks(boxes, seeds), "8x8")
    expected = forgetting.fit(
        forgetting.examples(maps, covered, generator=stream(0, "cells")), 0.01
    )
    assert torch.equal(found.weights, expected.weights) and 0 < len(found.chosen) < 16
    with ablate(generator, "8x8", expected.chosen):
        assert torch.equal(images, generator(z))


def test_rooms_are_refitted_on_the_generators_device(tmp_path, elsewhere):
    generator = recalibrate(Generator(4), count=128).requires_grad_(False)
    path, z = tmp_path / "boxes.json", draw_z(2, generator=stream(0, "z"))
    save_boxes(path, [1, 2], [Box(1, 0, 0, 16, 16), Box(2, 8, 8, 40, 40)])
    annotator = Annotator(torch.zeros(2, 3, 64, 64), path, [1, 2])
    there, here = (Refitting(annotator, generator, "8x8", some) for some in (elsewhere(z), z))
    assert there.picture.value == here.picture.value != b""


def test_a_page_without_kernel_gets_the_refits_picture(tmp_path):
    generator = recalibrate(Generator(4), count=128).requires_grad_(False)
    path = tmp_path / "boxes.json"
    save_boxes(path, [1, 2], [Box(1, 0, 0, 16, 16), Box(2, 8, 8, 40, 40)])
    annotator = Annotator(torch.zeros(2, 3, 64, 64), path, [1, 2])
    shown = []
    refitting = Refitting(annotator, generator, "8x8", draw_z(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widgets, "display", lambda formats, **_: shown.append(formats))
        refitting.show()
    page = shown[0]["text/html"]
    assert (
        "2 of 2 samples with the boxes" in page
        and "2 boxes tell windows" in page
        and page.count("<img") == 2
    )
    assert "application/vnd.jupyter.widget-view+json" in shown[0]


def test_samples_of_another_prior_are_refitted_with_their_own_maps(tmp_path):
    generator = recalibrate(Generator(4, 6), "normal", 128).requires_grad_(False)
    path = tmp_path / "boxes.json"
    save_boxes(path, [1, 2], [Box(1, 0, 0, 16, 16), Box(2, 8, 8, 40, 40)])
    z = forgetting.latents([1, 2], 6, "normal")
    annotator = Annotator(generator(z), path, [1, 2])
    refitting = Refitting(annotator, generator, "8x8", draw_z(2, 6), prior="normal")
    assert torch.equal(refitting.maps, activations_of(generator, "8x8", z))
