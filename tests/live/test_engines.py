"""The same figures in Chromium, Firefox and WebKitGTK, from a folder and from a server, and where a browser allows less."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from engines import open_engine

from dcgan_book import features, live, pretrained
from dcgan_book.latents import draw_z, recalibrate
from dcgan_book.models import Discriminator, Generator
from dcgan_book.worlds import rooms

POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'self' 'unsafe-inline' blob: data:\">"
# What a worker is asked to draw is counted, and reaches it `wait` milliseconds late.
DELAY = """<script>
  window.drawn = window.wait = 0;
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message) {
    drawn += message.latents?.length ?? 0;
    setTimeout(() => post.call(this, message), wait);
  };
</script>"""
# Every figure in turn is brought to the screen and waited for; what became of each, and its words if it is not alive.
ALIVE = """(async () => {
  const states = [];
  for (const figure of document.querySelectorAll(".dcgan-live")) {
    figure.scrollIntoView();
    for (let i = 0; i < 600 && !figure.dataset.state; i++) await new Promise((go) => setTimeout(go, 50));
    states.push([figure.model.get("view"), figure.dataset.state === "alive" ? "alive" : figure.innerText]);
  }
  return states;
})()"""
# The bytes that a figure shows in its first canvases, as it has kept them.
SHOWN = """[...document.querySelectorAll(".dcgan-live canvas")].filter((canvas) => canvas.shown).slice(0, 9)
  .map((canvas) => [...canvas.shown.data])"""


@pytest.fixture(scope="module")
def trained():
    generator = Generator(8)
    torch.manual_seed(0)
    film = np.zeros((2, 3, 64, 64, 3), np.uint8)
    log = [{"step": step, "d_loss": 1.0, "g_loss": 2.0} for step in (0, 10)]
    card = {"name": "tiny", "prior": "uniform", "film": {"steps": [0, 10]}}
    generator = recalibrate(generator, count=256).requires_grad_(False)
    return pretrained.Pretrained(generator, None, card, log, film)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A page with one figure of each kind, and the same under a policy that allows no WebAssembly."""
    z = draw_z(6, 100, generator=torch.Generator().manual_seed(1))
    few = rooms.dataset(2, seed=11, progress=False)
    networks = [
        features.randomised(Discriminator(4), seed=seed, images=few.images) for seed in (0, 1)
    ]
    trays = [[0, 1], [2], [3]]
    figures = [
        live.arithmetic(trained, z, list("abcdef"), trays),
        live.walk(trained, directions=0),
        live.forgetting(trained, z, {"all": ("8x8", range(32))}, ("8x8", [1], [0.5])),
        live.picker(trained, range(6), z, ["smiling"], page=6),
        live.film(trained),
        live.units(networks, few, [("first", None, 0)]),
    ]
    folder = tmp_path_factory.mktemp("pages")
    (folder / "live.js").write_text(live.page_script(), encoding="utf-8")
    shutil.copy(Path(live.__file__).with_name("live.css"), folder)
    header, data = live.pack(trained.generator)
    name = live.weights_name(header, data, "tiny")
    script = live.weights_script(name, header, data)
    (folder / f"live-{name}.js").write_text(script, encoding="utf-8")
    for page, more in (("page", ""), ("strict", POLICY)):
        head = f'<!doctype html><html lang="en"><meta charset="utf-8">{more}<title>Figures</title>'
        head += '<link rel="stylesheet" href="live.css"><script defer src="live.js"></script>'
        body = "".join(figure.html() for figure in figures)
        head += f"<style>body {{ margin: 1rem }}</style>{DELAY}"
        (folder / f"{page}.html").write_text(
            f"{head}<main><h1>Figures</h1>{body}</main>", encoding="utf-8"
        )
    return folder


@pytest.fixture(scope="module")
def served(folder):
    """The folder's address on a server."""
    handler = functools.partial(Silent, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words):
        pass


class Chromium:
    """A page of Playwright's with the two methods of engines.py that are used here."""

    def __init__(self, browser):
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.tab = self.context.new_page()
        self.goto, self.evaluate, self.close = self.tab.goto, self.tab.evaluate, self.context.close


@pytest.fixture
def engine(request, browser, tmp_path):
    """A page in the engine that the test names, with Firefox's preferences of these names."""
    name, *on = request.param
    preferences = {each.removeprefix("no "): not each.startswith("no ") for each in on}
    opened = Chromium(browser) if name == "chromium" else open_engine(name, tmp_path, **preferences)
    yield opened
    opened.close()


ENGINES = [("chromium",), ("firefox",), ("webkit",)]


@pytest.mark.parametrize("engine", ENGINES, indirect=True, ids=lambda engine: engine[0])
def test_every_figure_is_alive(engine, folder, served):
    """From a folder, from a server, and where the page's policy allows no WebAssembly."""
    images = []
    for address in (folder.as_uri(), served):
        for page in ("page", "strict"):
            engine.goto(f"{address}/{page}.html")
            assert [state for state in engine.evaluate(ALIVE) if state[1] != "alive"] == []
            few = engine.evaluate("document.querySelectorAll('.rooms.few').length > 0")
            assert few is (page == "strict"), "only the plain loop is too slow for six rooms"
            images.append(np.array(engine.evaluate(SHOWN)))
    for other in images[1:]:
        assert images[0].shape == other.shape and images[0].std() > 1
        assert abs(images[0] - other).max() <= 1


@pytest.mark.parametrize(
    "engine",
    [("firefox", "privacy.resistFingerprinting", "no javascript.options.wasm")],
    indirect=True,  # fmt: skip
)
def test_no_picture_is_noise_where_canvases_are(engine, folder):
    """Firefox without WebAssembly and with resistFingerprinting: the sum of pixels is that of the bytes drawn."""
    engine.goto(f"{folder.as_uri()}/page.html")
    assert {state[1] for state in engine.evaluate(ALIVE)} == {"alive"}
    noise = engine.evaluate("""(() => {
      const canvas = document.querySelector(".dcgan-live canvas"), { width, height, data } = canvas.shown;
      return canvas.getContext("2d").getImageData(0, 0, width, height).data.some((value, i) => value !== data[i]);
    })()""")
    assert noise and engine.evaluate("typeof WebAssembly") == "undefined"
    wanted, shown = engine.evaluate("""(() => {
      const figure = document.querySelector(".dcgan-live"), byte = (label) =>
        [...[...figure.querySelectorAll(`canvas[aria-label="${label}"]`)].at(-1).shown.data];
      return [[..."abcd"].map(byte), byte("the same sum of pixels")];
    })()""")
    a, b, c, d = np.array(wanted).astype(float) - 127.5
    total = np.clip((a + b) / 2 - c + d + 127.5, 0, 255).reshape(-1, 4)[:, :3]
    assert abs(np.array(shown).reshape(-1, 4)[:, :3] - total).max() <= 1


@pytest.fixture
def shown(browser, folder):
    """A function that opens the page of figures in Chromium and returns its tab, all figures alive."""
    contexts = []

    def open_it(**options):
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        )
        tab = contexts[-1].new_page()
        tab.goto(f"{folder.as_uri()}/page.html")
        assert {state[1] for state in tab.evaluate(ALIVE)} == {"alive"}
        return tab

    yield open_it
    for context in contexts:
        context.close()


PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}


def figure_of(tab, view):
    return tab.locator(f'.dcgan-live[data-figure*=\'"view":"{view}"\']')


def drawn_by(tab, act):
    """How many images follow from an act."""
    before = tab.evaluate("drawn")
    act()
    tab.wait_for_timeout(400)
    return tab.evaluate("drawn") - before


def test_only_what_changes_is_drawn_again(shown):
    tab = shown()
    figure = figure_of(tab, "forgetting")
    slider = figure.get_by_role("slider", name="units off")
    assert drawn_by(tab, lambda: slider.press("ArrowRight")) == 7, (
        "six rooms without the units, one to paint on"
    )
    board = figure.get_by_role("application")
    assert drawn_by(tab, lambda: board.press("Space")) == 1
    assert drawn_by(tab, lambda: board.press("ArrowRight")) == 0


def test_a_walk_by_itself_is_not_announced_at_every_step(shown):
    figure = figure_of(shown(), "walk")
    words = figure.locator("output").first
    figure.get_by_role("button", name="Play").click()
    assert words.get_attribute("aria-live") == "off"
    figure.get_by_role("button", name="Pause").click()
    assert words.get_attribute("aria-live") == "polite"


def test_a_figure_that_draws_for_long_says_so(shown):
    tab = shown()
    figure = figure_of(tab, "forgetting")
    tab.evaluate("wait = 700")
    figure.get_by_role("slider", name="units off").press("ArrowRight")
    figure.locator("[aria-busy=true]").wait_for(timeout=5000)
    said = figure.locator("[aria-busy=true]").evaluate(
        "e => getComputedStyle(e, '::after').content"
    )
    assert "drawing" in said
    figure.locator("[aria-busy=true]").wait_for(state="detached", timeout=15_000)


def test_on_a_phone_rooms_are_large_and_a_finger_scrolls(shown):
    tab = shown(**PHONE)
    figure = figure_of(tab, "forgetting")
    rooms_shown = figure.locator(".rooms canvas").evaluate_all(
        "all => all.map((e) => e.clientWidth)"
    )
    assert len(rooms_shown) == 4 and min(rooms_shown) >= 128
    board = figure.get_by_role("application")
    assert board.evaluate("e => getComputedStyle(e).touchAction") == "pan-y"
    region = "root => root.model.get('units').filter((edit) => edit.region).length"
    board.dispatch_event("pointerdown", {"pointerId": 1, "clientX": 50, "clientY": 50})
    assert figure.evaluate(region) == 1
    board.dispatch_event("pointercancel", {"pointerId": 1})
    assert figure.evaluate(region) == 0, "what a finger that scrolls has touched is not painted"
    tab.evaluate(
        "document.querySelectorAll('.sum .stones button')[5].scrollIntoView({ block: 'end' })"
    )
    top = tab.locator(".sum .wall").first.bounding_box()
    assert top["y"] >= 0 and top["y"] + top["height"] < 740, (
        "the sum is in sight beside the samples"
    )
    small = tab.evaluate("""[...document.querySelectorAll("main :is(button, select, input)")].map((e) =>
        e.getBoundingClientRect()).filter(({ width, height }) => width > 0 && Math.min(width, height) < 24).length""")
    assert small == 0 and tab.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (360, "dark")])
def test_axe_finds_nothing_in_the_figures(shown, width, scheme):
    tab = shown(viewport={"width": width, "height": 740}, color_scheme=scheme)
    found = Axe().run(tab).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"][:150]) for fault in found] == []


def test_the_ring_of_the_keyboard_is_seen_on_what_is_chosen_too(shown):
    tab = shown()
    for pressed in ("[aria-pressed=true]", "[aria-pressed=false]"):
        tile = tab.locator(f".stones button{pressed}").first
        tab.keyboard.press("Tab")  # the ring is the keyboard's
        tile.focus()
        assert tile.evaluate("e => getComputedStyle(e).outlineWidth") == "3px"
