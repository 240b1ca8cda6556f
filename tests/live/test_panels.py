"""Live figures: engine.js computes what PyTorch does, and every panel answers to its controls."""

import base64
import html
import io
import json
import math
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from dcgan_book import arithmetic, features, figures, live, measure, pretrained, walking
from dcgan_book.arithmetic import combine
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import draw_z, recalibrate, to_batch
from dcgan_book.live.annotate import Annotator
from dcgan_book.live.assemble import assemble
from dcgan_book.models import Discriminator, Generator
from dcgan_book.worlds import rooms

ROOT = Path(__file__).parents[2]
MODULE = live.script()
MEAN, MAX = 0.008, 0.2  # allowed differences from PyTorch, on [-1, 1]
BYTE = 1 / 127.5  # one step of a pixel on a screen
STAGES = ["4x4", "8x8", "16x16", "32x32", "64x64"]

# Runs the module's engine in a page and returns its images as base64 of float32.
DRAW = """async ({ module, header, data, simd, latents, edits }) => {
  const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  const engine = (await import(url)).engine();
  const kernel = engine.load(header, await engine.unpack(data), simd);
  const images = [], times = [];
  for (const z of latents) {
    const began = performance.now();
    images.push(engine.draw(z, edits));
    times.push(performance.now() - began);
  }
  const reader = new FileReader();
  const done = new Promise((resolve) => (reader.onload = resolve));
  reader.readAsDataURL(new Blob(images));
  await done;
  return { kernel, times, images: reader.result.split(",")[1] };
}"""


@cache
def small(width=8, kernel_size=4, z_dim=100, channels=3, size=64):
    generator = Generator(width, z_dim, kernel_size, channels, size)
    torch.manual_seed(0)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 1 if parameter.ndim == 1 else 0, 0.02)
    return recalibrate(generator, count=512).requires_grad_(False)


def latents(n, z_dim=100):
    return draw_z(n, z_dim, generator=torch.Generator().manual_seed(1))


def in_browser(tab, generator, z, edits=(), simd=True, light=False):
    """What engine.js draws, (n, channels, size, size), and what else DRAW returns."""
    header, data = live.pack(generator, light)
    result = tab.evaluate(DRAW, {
        "module": MODULE, "header": header, "data": base64.b64encode(data).decode(), "simd": simd,
        "latents": z.tolist(), "edits": list(edits),
    })  # fmt: skip
    images = np.frombuffer(base64.b64decode(result["images"]), np.float32).copy()
    side = generator.size
    return torch.from_numpy(images).view(len(z), side, side, -1).permute(0, 3, 1, 2), result


def assert_close(images, expected, extra=0.0):
    difference = (images - expected).abs()
    mean, largest = difference.mean().item(), difference.max().item()
    print(f"mean {mean:.4f}, max {largest:.4f}")
    assert mean <= MEAN + extra and largest <= MAX + extra


@pytest.fixture(scope="module")
def blank(browser):
    tab = browser.new_page()
    yield tab
    tab.close()


# The engine


# Width, and as far as they are other than usual: kernel, numbers in z, channels, size
SIZES = [
    (64,), (16,), (8, 5), (4, 4, 50, 1),
    (4, 4, 100, 3, 128), (3, 5, 7, 3, 128), (8, 4, 100, 3, 32), (1, 5, 9, 1, 32),
]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_images_are_pytorchs(blank, sizes):
    generator = small(*sizes)
    z = latents(100 if generator.size == 64 else 20, generator.z_dim)
    images, _ = in_browser(blank, generator, z)
    assert_close(images, generator(z))


def test_images_of_the_shipped_rooms_are_pytorchs(blank):
    generator = pretrained.load("rooms").generator
    images, _ = in_browser(blank, generator, latents(100))
    assert_close(images, generator(latents(100)))


@pytest.mark.parametrize("kernel_size", [4, 5])
@pytest.mark.parametrize("simd, light", [(True, False), (True, True), (False, False)])
def test_only_the_rounding_of_weights_tells_them_apart(blank, kernel_size, simd, light):
    generator = small(8, kernel_size)
    x = latents(3)[:, :, None, None]
    units = live.scales(generator, light)
    for stage, (weight, bias), unit in zip(
        generator.stages.values(), live.fold(generator), units, strict=True
    ):
        layer, scale = stage[0], unit[:, None, None]
        rounded = (weight / scale).round() * scale
        x = F.conv_transpose2d(x, rounded, bias, layer.stride, layer.padding, layer.output_padding)
        x = stage[-1](x)
    images, result = in_browser(blank, generator, latents(3), simd=simd, light=light)
    assert (result["kernel"] == "plain") is not simd
    assert (images - x).abs().max() < 1e-5


@pytest.mark.parametrize("stage", STAGES)
def test_units_are_ablated_as_in_pytorch(blank, stage):
    generator, z = small(16), latents(4)
    units = [0, 2] if stage == "64x64" else [0, 1, 5, 14]
    side = int(stage.split("x")[0])
    region = torch.zeros(side, side, dtype=torch.bool)
    region[side // 4 : side // 2, : side // 2 + 1] = True
    whole, _ = in_browser(blank, generator, z)
    for value, where in [(0, None), (0.7, region), ([0.1 * (1 + unit) for unit in units], region)]:
        with ablate(generator, stage, units, value, where):
            expected = generator(z)
        images, _ = in_browser(blank, generator, z, [live.edit(stage, units, value, where)])
        assert (images - whole).abs().max() > 0.01  # there is something to compare
        assert_close(images, expected)


def test_edits_of_several_stages_add_up_and_leave_nothing_behind(blank):
    generator, z = small(16), latents(2)
    with ablate(generator, "8x8", range(20)), ablate(generator, "32x32", [3], 1.5):
        expected = generator(z)
    edits = [live.edit("8x8", range(20)), live.edit("32x32", [3], 1.5)]
    header, data = live.pack(generator)
    assert_close(in_browser(blank, generator, z, edits)[0], expected)
    repeated = blank.evaluate("""async ({ module, header, data, z, edits }) => {
      const engine = (await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })))).engine();
      engine.load(header, await engine.unpack(data));
      const before = engine.draw(z), between = engine.draw(z, edits), after = engine.draw(z);
      return [before.every((value, i) => value === after[i]), before.every((value, i) => value === between[i])];
    }""", {
        "module": MODULE, "header": header, "data": base64.b64encode(data).decode(), "z": z[0].tolist(), "edits": edits,
    })  # fmt: skip
    assert repeated == [True, False]


def test_vectors_and_the_plain_loop_draw_the_same(blank):
    images, result = in_browser(blank, small(16), latents(5))
    plain, other = in_browser(blank, small(16), latents(5), simd=False)
    assert result["kernel"] in ("simd", "fused") and other["kernel"] == "plain"
    assert (images - plain).abs().max() < 1e-5
    fastest, slower = min(result["times"]), min(other["times"])
    print(f"{result['kernel']}: {fastest:.1f} ms an image, plain: {slower:.1f} ms")


def test_the_kernels_that_ship_are_the_text_compiled():
    made = assemble()
    assert set(made) == set(Path(live.__file__).parent.glob("*.wasm"))
    for path, code in made.items():
        assert path.read_bytes() == code, "run python -m dcgan_book.live.assemble"
        assert f'"{base64.b64encode(code).decode()}"' in MODULE
    plain, fused = made.values()
    assert len(plain) - len(fused) == 32 * 3, "32 times an instruction of 3 bytes less"


def test_a_latent_of_another_length_is_an_error(blank):
    with pytest.raises(Exception, match="z has 3 numbers, this generator takes 100"):
        in_browser(blank, small(), torch.zeros(1, 3))


def test_statistics_that_follow_the_batch_cannot_be_folded():
    with pytest.raises(ValueError, match="call .eval()"):
        live.pack(Generator(4).train())


def test_weights_are_small_and_named_by_what_they_are():
    packed, light, other = (
        live.pack(small(64)),
        live.pack(small(64), light=True),
        live.pack(small(8)),
    )
    name = live.weights_name(*packed, "rooms")
    assert len(live.weights_script(name, *packed)) <= 3_800_000
    assert len(live.weights_script(name, *light)) <= 2_000_000
    assert name.startswith("rooms-") and name != live.weights_name(*other, "rooms")
    assert name == live.weights_name(*live.pack(small(64)), "rooms")


@pytest.mark.parametrize("path", ["line", "arc"])
def test_ways_between_latents_are_those_of_walking(blank, path):
    a, b = latents(2)
    points = blank.evaluate(
        """async ({ module, a, b, path }) => {
      const { between } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
      return [0, 0.25, 0.5, 0.75, 1].map((t) => between(a, b, t, path));
    }""",
        {"module": MODULE, "a": a.tolist(), "b": b.tolist(), "path": path},
    )
    torch.testing.assert_close(
        torch.tensor(points), getattr(walking, path)(a, b, 5), atol=1e-5, rtol=0
    )


# The panels, on a page in a folder


@pytest.fixture(scope="module")
def trained():
    """A generator of width 16 with a film of noise, called "tiny"."""
    film = (
        np.random.default_rng(0)
        .integers(0, 256, (4, 6, 8, 8, 3), np.uint8)
        .repeat(8, 2)
        .repeat(8, 3)
    )
    log = [
        {"step": step, "d_loss": 1 / step, "g_loss": math.log(step)} for step in range(5, 1001, 5)
    ]
    card = {"name": "tiny", "prior": "uniform", "film": {"steps": [0, 10, 100, 1000]}}
    return pretrained.Pretrained(small(16), None, card, log, film)


@pytest.fixture
def open_page(browser, tmp_path, trained):
    """A function that writes a page with figures, opens it from its folder and returns its tab."""
    contexts, troubles = [], []

    def open_it(
        *shown,
        weights=True,
        reading="",
        trouble=True,
        before="",
        generator=trained.generator,
        **options,
    ):
        static = tmp_path / "_static"
        static.mkdir()
        (static / "live.js").write_text(live.page_script(), encoding="utf-8")
        shutil.copy(Path(live.__file__).with_name("live.css"), static)
        packed = [live.pack(generator), live.pack(generator, light=True)]
        kinds = ["tiny", "tiny-light"]
        if reading:
            instrument = measure.load(reading)
            packed.append(live.pack_instrument(instrument))
            kinds.append(instrument.card["name"])
        for kind, (header, data) in zip(kinds, packed, strict=True):
            if weights:
                name = live.weights_name(header, data, kind)
                script = live.weights_script(name, header, data)
                (static / f"live-{name}.js").write_text(script, encoding="utf-8")
        (tmp_path / "page.html").write_text(
            '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            '<link rel="stylesheet" href="_static/live.css"><script defer src="_static/live.js"></script>'
            + before
            + "".join(figure.html() for figure in shown),
            encoding="utf-8",
        )
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        contexts.append(context)
        tab = context.new_page()
        tab.asked = []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        if weights and trouble:
            tab.on(
                "console",
                lambda message: troubles.append(message.text) if message.type == "error" else None,
            )
        tab.goto((tmp_path / "page.html").as_uri())
        return tab

    yield open_it
    for context in contexts:
        context.close()
    assert troubles == []


def alive(tab, number=0):
    figure = tab.locator(".dcgan-live").nth(number)
    figure.scroll_into_view_if_needed()
    tab.wait_for_function(
        "i => document.querySelectorAll('.dcgan-live')[i].dataset.state", arg=number, timeout=60_000
    )
    assert figure.get_attribute("data-state") == "alive", figure.inner_text()
    return figure


def pixels(canvas):
    """The canvas as an image (3, h, w) in [-1, 1]."""
    png = base64.b64decode(canvas.evaluate("c => c.toDataURL()").split(",")[1])
    image = np.array(Image.open(io.BytesIO(png)).convert("RGB"))
    return torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1


def drawn_after(tab, figure, act):
    """Does `act` and waits until the figure has drawn what follows from it and is at rest."""
    counter = figure.locator("[data-drawn]")
    before = counter.get_attribute("data-drawn")
    act()
    tab.wait_for_function(
        "([e, before]) => e.dataset.drawn !== before", arg=[counter.element_handle(), before]
    )
    for _ in range(100):
        before = counter.get_attribute("data-drawn")
        tab.wait_for_timeout(100)
        if counter.get_attribute("data-drawn") == before:
            return


def few(trained, n=2):
    """A small figure that needs weights."""
    return live.picker(trained, range(n), latents(n), ["smiling"], page=n)


def state(figure, name):
    return figure.evaluate("(root, name) => root.model.get(name)", name)


def test_the_film_shows_the_step_and_its_losses(open_page, trained):
    tab = open_page(live.film(trained))
    figure = alive(tab)
    slider = figure.get_by_role("slider", name="step")
    assert "step 1,000" in figure.locator("output").inner_text()
    slider.focus()
    for at in (2, 1, 0):
        slider.press("ArrowLeft")
        shown = pixels(figure.locator("canvas")).view(3, 2, 64, -1, 64)  # rows of three tiles
        film = torch.from_numpy(trained.film[at]).float() / 127.5 - 1
        tiles = shown.permute(1, 3, 2, 4, 0).flatten(0, 1)
        # webp loses something; another step differs by 0.6
        assert (tiles - film).abs().mean() < 0.08
    words = figure.locator("output").inner_text()
    assert words == "step 0: loss of D 0.20, of G 1.61"
    assert slider.get_attribute("aria-valuetext") == "step 0"
    assert figure.locator("img").is_hidden()


def test_a_film_asks_for_no_weights(open_page, trained):
    tab = open_page(live.film(trained))
    alive(tab)
    assert not [url for url in tab.asked if "live-" in url]


def test_a_walk_shows_the_point_between_its_rooms(open_page, trained):
    made = live.walk(trained, torch.Generator().manual_seed(3), directions=2)
    tab = open_page(made)
    figure = alive(tab)
    big = figure.locator("canvas").first
    generator, (a, b) = trained.generator, torch.tensor(made.ends)
    assert_close(pixels(big), generator(a[None])[0], BYTE)
    slider = figure.get_by_role("slider", name="A to B")
    slider.focus()

    drawn_after(tab, figure, lambda: [slider.press("PageUp") for _ in range(3)])
    t = state(figure, "t")
    assert 0 < t < 1
    assert_close(pixels(big), generator(torch.lerp(a, b, t)[None])[0], BYTE)
    straight = pixels(big)

    drawn_after(
        tab, figure, lambda: figure.get_by_label("path between the rooms").select_option("arc")
    )
    z = torch.tensor(state(figure, "z"))
    assert torch.allclose(z[0].norm(), (1 - t) * a.norm() + t * b.norm(), atol=1e-4)
    assert_close(pixels(big), generator(z)[0], BYTE)
    assert not torch.equal(pixels(big), straight)
    assert "arc" in figure.locator("output").inner_text()

    slider.press("End")
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="New room B").click())
    z = torch.tensor(state(figure, "z"))
    assert z.abs().max() <= 1 and not torch.allclose(z[0], b)
    assert_close(pixels(big), generator(z)[0], BYTE)


def test_nudges_move_along_coordinates_and_directions(open_page, trained):
    made = live.walk(trained, torch.Generator().manual_seed(3), directions=2)
    tab = open_page(made)
    figure = alive(tab)
    which, amount = figure.get_by_label("what to nudge"), figure.get_by_role("slider", name="nudge")
    expected = torch.tensor(made.z[0])
    for name, step in [
        ("direction 2", torch.tensor(made.data["directions"][1])),
        ("coordinate 8", torch.eye(100)[7]),
    ]:
        which.select_option(label=name)
        amount.focus()
        drawn_after(tab, figure, lambda: amount.press("End"))
        expected = expected + 3 * step
        torch.testing.assert_close(torch.tensor(state(figure, "z"))[0], expected, atol=1e-4, rtol=0)
        assert_close(
            pixels(figure.locator("canvas").first), trained.generator(expected[None])[0], BYTE
        )
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="Undo nudges").click())
    assert state(figure, "z") == made.z


def test_a_walk_goes_through_its_wall_by_itself_and_stops(open_page, trained):
    made = live.walk(trained, torch.Generator().manual_seed(3), directions=0)
    tab = open_page(made)
    figure = alive(tab)
    stones = figure.locator(".stones canvas")
    assert stones.count() == 9
    expected = trained.generator(torch.tensor(made.data["wall"]))
    for i in range(9):
        assert_close(pixels(stones.nth(i)), expected[i], BYTE)
    player = figure.get_by_role("button", name="Play")
    player.click()
    tab.wait_for_function("() => document.querySelector('.dcgan-live').model.get('t') > 0.2")
    figure.get_by_role("button", name="Pause").click()
    stopped = state(figure, "t"), state(figure, "ends")
    start = made.data["wall"].index(stopped[1][0])
    assert stopped[1][1] == made.data["wall"][(start + 1) % 9]
    tab.wait_for_timeout(300)
    assert (state(figure, "t"), state(figure, "ends")) == stopped
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="walk to room 5").click())
    assert_close(pixels(figure.locator("canvas").first), expected[4], BYTE)


def test_reduced_motion_stands_still_between_steps(open_page, trained):
    tab = open_page(
        live.walk(trained, torch.Generator().manual_seed(3), directions=0), reduced_motion="reduce"
    )
    figure = alive(tab)
    figure.get_by_role("button", name="Play").click()
    tab.wait_for_function(
        "() => document.querySelector('.dcgan-live').model.get('t') > 0", timeout=60_000
    )
    # one of ten places on the wall
    assert state(figure, "t") * 10 % 1 < 1e-6 or state(figure, "t") * 10 % 1 > 1 - 1e-6


CONCEPTS = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def sums(trained, **options):
    """A figure of twelve samples, three in each tray, and its pool as it stands there."""
    turn = latents(12)[9:].mean(0)
    made = live.arithmetic(trained, latents(12), [f"face {i}" for i in range(12)], CONCEPTS, {"turn": turn},
                           torch.Generator().manual_seed(4), **options)  # fmt: skip
    return made, torch.tensor(made.data["pool"]), torch.tensor(made.data["noise"]), turn


def nine_of(pool, noise, trays, norm="free", step=0.0):
    """What the figure's z must be, by the package."""
    zero = torch.zeros(1, pool.shape[1])
    centre = combine(*(pool[tray] if tray else zero for tray in trays), norm) + step
    return torch.cat([centre + noise[:4], centre[None], centre + noise[4:]])


def test_a_sum_is_the_packages_and_follows_its_trays_norm_and_slider(open_page, trained):
    made, pool, noise, turn = sums(trained)
    tab = open_page(made)
    figure = alive(tab)
    generator, trays = trained.generator, [list(tray) for tray in CONCEPTS]

    def check(**options):
        z = torch.tensor(state(figure, "z"))
        torch.testing.assert_close(z, nine_of(pool, noise, trays, **options), atol=3e-4, rtol=0)
        for i, expected in enumerate(generator(z)):
            assert_close(pixels(figure.locator("canvas").nth(i)), expected, BYTE)

    assert noise.abs().max() <= 0.25
    check()
    first = torch.tensor(state(figure, "z"))
    torch.testing.assert_close(first, torch.tensor(made.z), atol=3e-4, rtol=0)
    assert "A (3) − B (3) + C (3): length of z" in figure.locator("output").inner_text()

    # A sample into tray B, and one out of A
    figure.get_by_role("button", name="fill B").click()
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="sample 10, face 9").click())
    drawn_after(
        tab, figure, lambda: figure.get_by_role("button", name="take face 1 out of A").click()
    )
    trays = [[0, 2], [3, 4, 5, 9], [6, 7, 8]]
    assert state(figure, "trays") == trays
    check()
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="sample 10, face 9").click())
    trays[1] = [3, 4, 5]
    check()

    norm = figure.get_by_label("norm")
    for name in ("matched", "projected"):
        drawn_after(tab, figure, lambda name=name: norm.select_option(name))
        check(norm=name)
    drawn_after(tab, figure, lambda: norm.select_option("free"))
    slider = figure.get_by_role("slider", name="turn")
    slider.focus()
    drawn_after(tab, figure, lambda: slider.press("End"))
    check(step=turn)
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="Empty trays").click())
    trays = [[], [], []]
    check(step=turn)


def test_the_same_sum_of_pixels_stands_beside_it(open_page, trained):
    made, pool, _, _ = sums(trained)
    figure = alive(open_page(made))
    shown = trained.generator(pool)
    expected = arithmetic.pixels(*(shown[tray] for tray in CONCEPTS))
    control = figure.get_by_role("img", name="the same sum of pixels")
    assert (pixels(control) - expected).abs().mean() < 0.02 and (
        pixels(control) - expected
    ).abs().max() < 0.2


@pytest.mark.parametrize("size", [32, 128])
def test_images_of_other_sizes_are_shown_whole(open_page, size):
    generator = small(4, size=size)
    made = pretrained.Pretrained(generator, None, {"name": "tiny", "prior": "uniform"}, [])
    rankings = {"all": ("8x8", range(16))}
    painting = live.forgetting(made, latents(2), rankings, ("8x8", [1, 2], [0.5, 1.0]))
    tab = open_page(painting, few(made), sums(made)[0], generator=generator)
    for number in range(3):
        figure = alive(tab, number)
        z = torch.tensor(state(figure, "z") or state(figure, "data")["latents"])
        assert_close(pixels(figure.locator("canvas").nth(1)), generator(z)[1], BYTE)
    shown = generator(torch.tensor(state(figure, "data")["pool"]))
    expected = arithmetic.pixels(*(shown[tray] for tray in CONCEPTS))
    control = figure.get_by_role("img", name="the same sum of pixels")
    assert (pixels(control) - expected).abs().mean() < 0.02
    copied = figure.get_by_role("button", name="take face 4 out of B").locator("canvas")
    assert_close(pixels(copied), shown[4], BYTE)


def test_latents_go_to_the_device_of_the_generator(trained, elsewhere):
    there = elsewhere(latents(12))
    with pytest.raises(RuntimeError, match="same device"):
        trained.generator(there)

    def made_of(z):
        random, rankings = torch.Generator().manual_seed(4), {"all": ("8x8", range(64))}
        return [
            live.picker(trained, range(12), z, ["smiling"], page=3).html(),
            live.arithmetic(trained, z, "abcdefghijkl", CONCEPTS, generator=random).html(),
            live.forgetting(trained, z[:2], rankings, ("8x8", [1, 2], [0.5, 1.0])).html(),
        ]

    assert made_of(there) == made_of(latents(12))


def parts(value):
    """A value and what it holds, as far as it can be changed."""
    if isinstance(value, list | dict):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from parts(part)


@pytest.mark.parametrize("kind", [live.LiveFigure, Annotator])
def test_two_figures_share_nothing_that_can_be_changed(kind, tmp_path):
    annotator = torch.zeros(1, 3, 64, 64), tmp_path / "boxes.json", [1]
    given = annotator if kind is Annotator else ()
    first, second = kind(*given), kind(*given)
    for name in kind.class_own_traits():
        held = {id(part) for part in parts(getattr(first, name))}
        assert not held & {id(part) for part in parts(getattr(second, name))}, name


def test_the_kernel_fills_the_trays(trained):
    """Both sides may set the state; a tray that the kernel sets is what the page's script sums (checked in a page)."""
    made, *_ = sums(trained)
    assert live.LiveFigure.norm.values == arithmetic.NORMS
    with pytest.raises(Exception, match="free"):
        made.norm = "half"
    made.trays = [[0], [], [2]]
    assert json.loads(html.unescape(made.html().split('data-figure="')[1].split('"')[0]))[
        "trays"
    ] == [[0], [], [2]]
    assert live.arithmetic(
        pretrained.Pretrained(trained.generator, None, {"prior": "normal"}, []),
        latents(3),
        "abc",
        [[0], [1], [2]],
    ).data["norms"] == ("free", "matched")


def test_trays_that_are_set_from_outside_are_summed(open_page, trained):
    made, pool, noise, _ = sums(trained)
    tab = open_page(made)
    figure = alive(tab)
    trays = [[11], [], [0, 5]]
    drawn_after(
        tab,
        figure,
        lambda: figure.evaluate("(root, trays) => root.model.set('trays', trays)", trays),
    )
    torch.testing.assert_close(
        torch.tensor(state(figure, "z")), nine_of(pool, noise, trays), atol=3e-4, rtol=0
    )


def test_exemplars_are_picked_by_concept(open_page, trained):
    z = latents(40)
    made = live.picker(trained, range(100, 140), z, ["smiling", "neutral"], page=18)
    tab = open_page(made)
    figure = alive(tab)
    assert_close(
        pixels(figure.locator("canvas").nth(3)),
        trained.generator(z[3:4].round(decimals=4))[0],
        BYTE,
    )
    figure.get_by_role("button", name="sample with seed 103").click()
    figure.get_by_role("button", name="sample with seed 100").click()
    drawn_after(
        tab,
        figure,
        lambda: [figure.get_by_role("button", name="More samples").click() for _ in range(2)],
    )
    assert figure.locator("button:visible canvas").count() == 4  # the last of 40, 18 a page
    assert_close(
        pixels(figure.locator("canvas").nth(3)),
        trained.generator(z[39:].round(decimals=4))[0],
        BYTE,
    )
    figure.get_by_label("concept").select_option("neutral")
    figure.get_by_role("button", name="sample with seed 139").click()
    assert state(figure, "chosen") == {"smiling": [103, 100], "neutral": [139]}
    assert figure.locator("output").inner_text() == "neutral: 139"
    figure.get_by_role("button", name="sample with seed 139").click()
    assert state(figure, "chosen")["neutral"] == []


def test_units_are_forgotten_by_rank_and_singly_and_windows_painted(open_page, trained):
    z, generator = latents(3), trained.generator
    first, second = (
        torch.randperm(n, generator=torch.Generator().manual_seed(n)).tolist() for n in (64, 32)
    )
    values = torch.rand(5, generator=torch.Generator().manual_seed(5)) + 0.5
    made = live.forgetting(
        trained, z, {"one": ("8x8", first), "two": ("16x16", second)}, ("8x8", first[:5], values)
    )
    tab = open_page(made)
    figure = alive(tab)
    z, canvases = torch.tensor(state(figure, "z")), figure.locator("canvas")

    def assert_shows(stage, units, region=None):
        with ablate(generator, stage, units):
            off = generator(z)
            for i in range(3):
                assert_close(pixels(canvases.nth(i + 3)), off[i], BYTE)
            with ablate(
                generator,
                "8x8",
                first[:5],
                values,
                torch.zeros(8, 8) > 0 if region is None else region,
            ):
                assert_close(pixels(figure.locator(".board canvas").first), generator(z)[0], BYTE)
        for i in range(3):
            assert_close(pixels(canvases.nth(i)), generator(z)[i], BYTE)

    assert_shows("8x8", first[:16])
    slider = figure.get_by_role("slider", name="units off")
    slider.focus()
    drawn_after(tab, figure, lambda: slider.press("ArrowRight"))
    assert (
        "17 of 64 units off at 8x8" in figure.inner_text()
        and slider.get_attribute("aria-valuetext")[:2] == "17"
    )
    drawn_after(tab, figure, figure.get_by_role("button", name=str(first[2]), exact=True).click)
    assert_shows("8x8", first[:2] + first[3:17])
    drawn_after(tab, figure, figure.get_by_role("button", name="All units on").click)
    assert_shows("8x8", [])
    drawn_after(tab, figure, figure.get_by_role("button", name=str(first[3]), exact=True).click)
    assert_shows("8x8", [first[3]])

    board = figure.get_by_role("application")
    box = board.bounding_box()

    def drag():
        tab.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.2 * box["height"], steps=8)
        tab.mouse.up()

    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    drawn_after(tab, figure, drag)
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[1, 2:5] = True
    assert_shows("8x8", [first[3]], region)
    drawn_after(tab, figure, lambda: [board.press(key) for key in ("ArrowDown", "Space")])
    region[2, 4] = True
    assert_shows("8x8", [first[3]], region)
    assert "on in 4 of 64 cells" in figure.inner_text()
    drawn_after(
        tab, figure, lambda: figure.get_by_label("ranking of the units").select_option(index=1)
    )
    assert_shows("16x16", second[:1], region)
    drawn_after(tab, figure, figure.get_by_role("button", name="New rooms").click)
    assert not torch.equal(torch.tensor(state(figure, "z")), z)
    z = torch.tensor(state(figure, "z"))
    drawn_after(tab, figure, figure.get_by_role("button", name="No windows painted").click)
    assert_shows("16x16", second[:1])


@pytest.fixture(scope="module")
def drawn():
    """The rooms that ship, under the name of the weights of these pages."""
    shipped = pretrained.load("rooms")
    return pretrained.Pretrained(shipped.generator, None, {"name": "tiny", "prior": "uniform"}, [])


def windows(images):
    """How likely a window is in each image, by PyTorch."""
    return measure.load().read(images).probability["window"]


def points(figure, number):
    """The values of a curve, from 0 to 1, as far as it is drawn."""
    text = figure.locator("polyline").nth(number).get_attribute("points") or ""
    return torch.tensor([1 - float(pair.split(",")[1]) / 100 for pair in text.split()])


def has_read(tab, figure, key, value=None):
    """Waits until the figure has read something, or, given a value, just that."""
    body = figure.locator("[data-drawn]").element_handle()
    wanted = "([e, key, value]) => value === null ? e.dataset[key] : e.dataset[key] === value"
    tab.wait_for_function(wanted, arg=[body, key, value], timeout=60_000)


def test_the_first_page_opens_with_a_room_to_walk_in_that_forgets_its_windows(
    open_page, blank, drawn
):
    z = draw_z(30, 100, generator=torch.Generator().manual_seed(4))
    z = z[windows(drawn.generator(z)).argsort(descending=True)[:3]]
    effect = json.loads((ROOT / "book/experiments/forgetting.json").read_text())["direct_8x8"]
    units = torch.tensor(effect).argsort(descending=True)[:100]
    made = live.opening(drawn, z, units, measure.load())
    tab = open_page(made, generator=drawn.generator, reading="rooms")
    figure = alive(tab)
    big = figure.get_by_role("img", name="a generated room")

    def assert_shows(edits):
        latent = torch.tensor(state(figure, "z"))
        wanted, _ = in_browser(blank, drawn.generator, latent, edits, light=True)
        assert_close(pixels(big), wanted[0], BYTE)
        has_read(tab, figure, "read", "1")
        tab.wait_for_timeout(300)
        shown = figure.locator(".gauge b").first.inner_text()
        assert abs(float(shown) - windows(wanted).item()) < 0.05
        return float(shown)

    assert assert_shows([]) > 0.9
    assert figure.locator(".gauge.control").is_hidden()
    drawn_after(tab, figure, figure.get_by_role("button", name="Forget windows").click)
    assert assert_shows([live.edit("8x8", units)]) < 0.1
    twin = made.data["twin"]
    assert len(twin) == 100 and twin != units.tolist()
    beside, _ = in_browser(
        blank,
        drawn.generator,
        torch.tensor(state(figure, "z")),
        [live.edit("8x8", twin)],
        light=True,
    )
    assert_close(pixels(figure.locator(".beside canvas")), beside[0], BYTE)
    assert abs(float(figure.locator(".control b").inner_text()) - windows(beside).item()) < 0.05
    drawn_after(tab, figure, figure.get_by_role("button", name="Bring windows back").click)
    slider = figure.get_by_role("slider", name="walk on")
    drawn_after(tab, figure, lambda: slider.press("PageUp"))
    at = state(figure, "t")
    assert at > 0 and state(figure, "z") != made.z
    box = big.bounding_box()

    def drag():
        tab.mouse.move(box["x"] + 300, box["y"] + 90)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 100, box["y"] + 90, steps=5)
        tab.mouse.up()

    drawn_after(tab, figure, drag)
    assert state(figure, "t") == pytest.approx(at + 200 / box["width"] / 3, abs=0.01)
    before = state(figure, "z")
    drawn_after(tab, figure, figure.get_by_role("button", name="New room").click)
    assert state(figure, "z") != before
    assert_shows([])


def test_until_its_network_is_there_the_first_page_shows_a_picture_and_says_so(open_page, drawn):
    made = live.opening(drawn, latents(3), range(5), measure.load())
    tab = open_page(made, generator=drawn.generator, before=SLOWLY)
    figure = tab.locator(".dcgan-live")
    tab.wait_for_selector(".opening")
    assert figure.locator("img").first.evaluate("image => image.naturalWidth") == 64
    assert "when the book was made" in figure.inner_text()
    assert figure.get_by_role("button", name="New room").is_disabled()
    assert 0 < figure.locator(".frame img").bounding_box()["width"]


SLOWLY = (
    "<script>window.Worker = class { postMessage() {} };</script>"  # a worker that never answers
)


def test_a_walk_is_read_beside_its_cross_fade(open_page, drawn):
    made = live.walk(
        drawn, torch.Generator().manual_seed(67), directions=0, instrument=measure.load()
    )
    tab = open_page(made, generator=drawn.generator, reading="rooms")
    figure = alive(tab)

    def compare():
        a, b = torch.tensor(state(figure, "ends"))
        has_read(
            tab,
            figure,
            "read",
            figure.evaluate("""root => JSON.stringify(
            ["ends", "path", "nudges", "units"].map((key) => root.model.get(key)))"""),
        )
        way = walking.arc if state(figure, "path") == "arc" else walking.line
        images = drawn.generator(way(a, b, 21))
        t = torch.linspace(0, 1, 21)[:, None, None, None]
        faded = (1 - t) * images[:1] + t * images[-1:]
        found = points(figure, 0), points(figure, 1)
        for values, pictures in zip(found, (images, faded), strict=True):
            assert (values - windows(pictures)).abs().mean() < 0.05
        return found

    first = compare()
    assert first[0].std() > 0.05 and (first[0] - first[1]).abs().mean() > 0.1
    figure.get_by_role("button", name="New room B").click()
    assert not torch.equal(compare()[0], first[0])


def test_windows_left_are_counted_beside_as_many_random_units(open_page, drawn):
    effect = json.loads((ROOT / "book/experiments/forgetting.json").read_text())["direct_8x8"]
    order = torch.tensor(effect).argsort(descending=True).tolist()
    z = draw_z(6, 100, generator=torch.Generator().manual_seed(5)).round(decimals=4)
    made = live.forgetting(
        drawn, z, {"direct": ("8x8", order)}, ("8x8", order[:9], [1.0] * 9), measure.load()
    )
    tab = open_page(made, generator=drawn.generator, reading="rooms")
    figure = alive(tab)
    has_read(tab, figure, "curve", "17")
    twin = made.data["twin"]["8x8"]
    had = windows(drawn.generator(z)) > 0.5
    assert 1 < had.sum() and sorted(twin) == list(range(256))

    def left(units):
        with ablate(drawn.generator, "8x8", units):
            return (windows(drawn.generator(z)) > 0.5) & had

    for number, units in ((0, order), (1, twin)):
        shares = torch.tensor([left(units[:k]).sum() / had.sum() for k in range(0, 257, 16)])
        found = points(figure, number)
        # a window near one half may fall to either side
        assert (found - shares).abs().mean() < 0.05 and found[0] == 1
        if number == 0:
            assert shares[4] < 0.5
    words = figure.inner_text()
    assert f"windows left: {left(order[:64]).sum()} of {had.sum()}" in words
    assert f"as many random units: {left(twin[:64]).sum()} of {had.sum()}" in words
    with ablate(drawn.generator, "8x8", twin[:64]):
        images = drawn.generator(z)
    for i in range(6):
        assert_close(pixels(figure.locator("canvas").nth(12 + i)), images[i], BYTE)


def test_sums_are_judged_beside_a_random_vector(open_page):
    shipped, instrument = pretrained.load("faces"), measure.load("faces")
    faces = pretrained.Pretrained(shipped.generator, None, {"name": "tiny", "prior": "uniform"}, [])
    z = draw_z(300, 100, generator=torch.Generator().manual_seed(12)).round(decimals=4)
    read = instrument.read(faces.generator(z))
    kinds = [{"presentation": "woman", "smile": (0.7, 1.0)}, {"presentation": "woman", "smile": (0.0, 0.3)},
             {"presentation": "man", "smile": (0.0, 0.3)}]  # fmt: skip
    shelf = torch.cat([z[arithmetic.fits(read, face=True, **facts)][:3] for facts in kinds])
    trays = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    random = torch.Generator().manual_seed(1)
    made = live.arithmetic(
        faces, shelf, "abcdefghi", trays, generator=random, instrument=instrument
    )
    tab = open_page(made, generator=faces.generator, reading="faces")
    figure = alive(tab)
    has_read(tab, figure, "judged", "1")
    rows = [row.split("\t") for row in figure.locator("table").inner_text().splitlines()]
    seen = instrument.read(faces.generator(shelf))
    facts = {"presentation": "man", "glasses": True, "beard": True, "smile": (0.5, 1.0)}
    has = {name: arithmetic.fits(seen, **{name: fact}) for name, fact in facts.items()}
    most = [{name: 2 * has[name][tray].sum() > 3 for name in facts} for tray in trays]
    target = {name: facts[name] for name in facts if most[0][name] and not most[1][name]}
    assert "smile" in target and all(most[0][name] or not most[1][name] for name in facts)
    assert rows[0][1] == f"{', '.join(target)} arrived"

    a, b, c = (shelf[tray].mean(0) for tray in trays)
    centre = c + (a - b).norm() * torch.tensor(made.data["random"])
    noise = torch.tensor(made.data["noise"])
    others = torch.cat([centre + noise[:4], centre[None], centre + noise[4:]])
    before = instrument.read(faces.generator(c[None]))
    for row, nine in ((rows[1], torch.tensor(made.z)), (rows[2], others)):
        after = instrument.read(faces.generator(nine))
        found = arithmetic.outcome(after, before, target)
        wanted = [int(kind.sum()) for kind in (found.arrived, found.stayed, found.whole)]
        # one of nine may lie on an edge
        assert all(abs(int(text) - value) <= 1 for text, value in zip(row[1:], wanted, strict=True))
    assert int(rows[1][1]) > int(rows[2][1])
    assert_close(
        pixels(figure.get_by_role("img", name="C and a random")),
        faces.generator(centre[None])[0],
        BYTE,
    )


def test_single_units_are_lit_where_they_fire(open_page, trained):
    z, order = (
        latents(2).round(decimals=4),
        torch.randperm(64, generator=torch.Generator().manual_seed(64)),
    )
    tab = open_page(
        live.forgetting(trained, z, {"one": ("8x8", order)}, ("8x8", order[:5], [1.0] * 5))
    )
    figure = alive(tab)
    has_read(tab, figure, "lit", "1")
    room = trained.generator(z[:1])[0] + 1
    maps = activations_of(trained.generator, "8x8", z[:1])[0, order[:16]]
    assert figure.locator(".maps button").count() == 16 and (maps.amax((1, 2)) > 0).sum() > 10
    for i, unit in enumerate(maps):
        share = 0.25 + 0.75 * unit / (unit.max() if unit.max() > 0 else 1)
        wanted = room * share.repeat_interleave(8, 0).repeat_interleave(8, 1) - 1
        shown = pixels(figure.locator(".maps canvas").nth(i))
        assert (shown - wanted).abs().mean() < 0.03, i


def test_a_figures_state_stands_in_the_address_and_comes_back(open_page, trained):
    made = [
        live.film(trained),
        live.walk(trained, torch.Generator().manual_seed(3), directions=2),
        live.forgetting(trained, latents(3), {"a": ("8x8", range(64)), "b": ("16x16", range(32))},
                        ("8x8", [1, 2], [0.5, 1.0])),
        live.arithmetic(trained, latents(6), "abcdef", [[0], [1], [2]], {"turn": latents(1)[0]}),
    ]  # fmt: skip
    link = '<p><a href="#walk=t:0.25;path:arc;nudge:1*1.5">set it</a></p>'
    tab = open_page(*made, before=link)
    walk = alive(tab, 1)
    drawn_after(tab, walk, tab.get_by_role("link", name="set it").click)
    assert state(walk, "t") == 0.25 and state(walk, "path") == "arc"
    assert state(walk, "nudges")[1] == 1.5 and sum(map(bool, state(walk, "nudges"))) == 1

    film, forgetting, arithmetic_ = alive(tab, 0), alive(tab, 2), alive(tab, 3)
    keys = {
        film: ("at",),
        walk: ("t", "path", "ends", "nudges"),
        forgetting: ("units", "z"),
        arithmetic_: ("trays", "norm", "amounts"),
    }

    def acts(figure):
        if figure is film:
            figure.get_by_role("slider", name="step").press("ArrowLeft")
        if figure is walk:
            figure.get_by_role("button", name="New room B").click()
            figure.get_by_role("slider", name="A to B").press("PageUp")
        if figure is forgetting:
            figure.get_by_label("ranking of the units").select_option(index=1)
            figure.get_by_role("button", name="5", exact=True).click()
            figure.get_by_role("button", name="New rooms").click()
            figure.get_by_role("application").press("Space")
            figure.get_by_role("slider", name="units off").press("ArrowLeft")
        if figure is arithmetic_:
            figure.get_by_role("button", name="fill B").click()
            figure.get_by_role("button", name="sample 5, e").click()
            figure.get_by_label("norm").select_option("matched")
            figure.get_by_role("slider", name="turn").press("ArrowRight")

    for number, figure in enumerate((film, walk, forgetting, arithmetic_)):
        before = {key: state(figure, key) for key in keys[figure]}
        acts(figure)
        wanted = {key: state(figure, key) for key in keys[figure]}
        assert wanted != before
        other = tab.context.new_page()
        other.goto(tab.url)
        again = other.locator(".dcgan-live").nth(number)
        other.wait_for_function(
            "i => document.querySelectorAll('.dcgan-live')[i].dataset.state === 'alive'", arg=number
        )  # without scrolling: the address has led there
        assert {key: state(again, key) for key in keys[figure]} == wanted
        other.close()


def test_what_is_shown_can_be_saved(open_page, trained):
    tab = open_page(few(trained), live.walk(trained, directions=0))
    figure = alive(tab, 1)
    with tab.expect_download() as download:
        figure.get_by_role("button", name="Save image").click()
    with Image.open(download.value.path()) as saved:
        assert saved.size == (256, 256)
        small_again = np.array(saved.convert("RGB").resize((64, 64), Image.Resampling.NEAREST))
    shown = pixels(figure.locator("canvas").first)
    saved = torch.from_numpy(small_again).permute(2, 0, 1).float() / 127.5 - 1
    assert_close(saved, shown)


def test_weights_are_loaded_one_screen_ahead_and_a_second_network_when_asked(open_page, trained):
    """800 pixels of screen: a figure 1,500 down is one screen ahead, one at 3,000 is not."""
    other = pretrained.Pretrained(small(8), None, {"name": "other"}, [])
    apart = "<style>.dcgan-live + .dcgan-live { margin-top: 3000px }</style>"
    tab = open_page(
        few(trained), few(other), before=apart + '<div style="height: 1500px"></div>', trouble=False
    )
    tab.wait_for_function("document.querySelector('.dcgan-live').dataset.state === 'alive'")
    assert tab.evaluate("scrollY") == 0
    second = tab.locator(".dcgan-live").nth(1)
    assert "Load it" not in second.inner_text()
    second.scroll_into_view_if_needed()
    button = second.get_by_role("button", name="Load it")
    button.wait_for()
    tab.wait_for_timeout(200)
    assert len([url for url in tab.asked if "live-" in url]) == 1
    assert second.locator("img").is_visible()
    button.click()
    tab.wait_for_selector('.dcgan-live[data-state="still"]')  # these are on no page here
    assert len([url for url in tab.asked if "live-" in url]) == 2


@pytest.fixture(scope="module")
def units_of_a_small_discriminator():
    """Three rooms, two networks of width 4, five units, and the figure of them."""
    few = rooms.dataset(3, seed=11, progress=False)
    networks = [
        features.randomised(Discriminator(4), seed=seed, images=few.images) for seed in (0, 1)
    ]
    chosen = [("strongest for bed", "bed", 3), ("strongest for bed", "bed", 9), ("strongest for window", "window", 3),
              ("the first units", None, 0), ("the first units", None, 1)]  # fmt: skip
    return few, networks, chosen, live.units(networks, few, chosen)


def test_a_unit_is_shown_beside_the_truth_and_random_weights(
    open_page, units_of_a_small_discriminator
):
    few, networks, chosen, made = units_of_a_small_discriminator
    tab = open_page(made)
    figure = alive(tab)
    assert not [url for url in tab.asked if "live-" in url], "it needs no weights"
    photos = to_batch(few.images)
    tiles = figure.locator(".sights canvas")
    assert tiles.count() == 5 and figure.locator(".stones button").count() == 3

    def compare(room, at):
        group, _, unit = chosen[at]
        photo = photos[room : room + 1]
        for canvas, network in ((2, networks[0]), (4, networks[1])):
            place = features.peaks(activations_of(network, "4x4", photo)[:, unit])[1]
            wanted = (
                figures.signed(features.saliency(network, photo, "4x4", unit, at=place))[0]
                .clamp(-1, 1)
                .mean(0)
            )
            # in grey, as webp keeps colours at half the resolution
            shown = pixels(tiles.nth(canvas)).mean(0)
            assert (shown - wanted).abs().mean() < 0.04
            assert (
                wanted.abs().max() == 0
                or np.corrcoef(shown.flatten(), wanted.flatten())[0, 1] > 0.55
            )
        inside = torch.from_numpy(
            few.mask(figure.get_by_label("object of the mask").input_value())[room].copy()
        )
        lit = pixels(tiles.nth(1)) + 1
        assert (lit - (photo[0] + 1) * torch.where(inside, 1, 0.25)).abs().mean() < 0.1
        words = figure.locator("output").inner_text()
        assert f"Room {room + 1}, unit {unit} ({group})" in words
        return words

    words = compare(0, 0)
    field = features.receptive_field(networks[0], "4x4")
    place = features.peaks(activations_of(networks[0], "4x4", photos[:1])[:, 3])[1]
    gradient = features.saliency(networks[0], photos[:1], "4x4", 3, at=place)
    lift = features.lift(
        gradient, torch.from_numpy(few.mask("bed")[:1].copy()), field.masks(place)
    ).item()
    assert f"Lift on the bed: {round(lift, 1):g} for the unit" in words
    drawn_after(tab, figure, lambda: figure.get_by_label("unit", exact=True).select_option("2"))
    assert (
        state(figure, "unit") == 2
        and figure.get_by_label("object of the mask").input_value() == "window"
    )
    compare(0, 2)
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="room 3").click())
    assert state(figure, "at") == 2
    compare(2, 2)
    drawn_after(tab, figure, lambda: figure.get_by_role("button", name="Next unit").click())
    assert state(figure, "unit") == 3
    compare(2, 3)
    drawn_after(tab, figure, lambda: figure.get_by_label("object of the mask").select_option("bed"))
    compare(2, 3)
    # as the kernel does
    drawn_after(tab, figure, lambda: figure.evaluate("root => root.model.set('unit', 1)"))
    assert figure.get_by_label("unit", exact=True).input_value() == "1"
    compare(2, 1)


def test_tiles_of_units_are_light(units_of_a_small_discriminator):
    _, networks, _, _ = units_of_a_small_discriminator
    made = live.units(
        networks,
        rooms.dataset(6, seed=11, progress=False),
        [("first", None, unit) for unit in range(24)],
    )
    assert len(made.html()) < 500_000  # of the page's 1.5 MB; 24 units in 6 rooms
    assert len(json.dumps(made.data["lifts"], allow_nan=False)) < 60_000


def test_nothing_is_loaded_before_a_figure_is_on_screen(open_page, trained):
    tab = open_page(live.walk(trained, directions=0), before='<div style="height: 3000px"></div>')
    tab.wait_for_timeout(300)
    assert not [url for url in tab.asked if "live-" in url]
    assert tab.locator(".dcgan-live").get_attribute("data-state") is None
    alive(tab)
    assert len([url for url in tab.asked if "live-" in url]) == 1


def test_figures_of_one_generator_load_it_once(open_page, trained):
    tab = open_page(few(trained), few(trained, 3))
    alive(tab, 0), alive(tab, 1)
    assert len([url for url in tab.asked if "live-" in url]) == 1


def test_a_figure_that_cannot_run_says_so_and_keeps_its_picture(open_page, trained):
    tab = open_page(few(trained), weights=False)
    tab.wait_for_selector('.dcgan-live[data-state="still"]')
    assert "cannot run here (its weights are missing)" in tab.get_by_role("status").inner_text()
    assert (
        tab.locator("img").is_visible()
        and tab.locator("img").evaluate("image => image.naturalWidth") == 9 * 64
    )


WORKERS = """<script>
  window.workers = [];
  const Plain = Worker;
  window.Worker = function (url) {
    workers.push(new Plain(url));
    return workers[workers.length - 1];
  };
</script>"""


def test_after_a_worker_has_died_the_next_figure_starts_another(open_page, trained):
    made = [live.walk(trained, torch.Generator().manual_seed(3), directions=0), few(trained)]
    apart = "<style>.dcgan-live + .dcgan-live { margin-top: 3000px }</style>"
    tab = open_page(*made, before=WORKERS + apart)
    first = alive(tab, 0)
    assert tab.evaluate("workers.length") == 1
    tab.evaluate("workers[0].terminate(), workers[0].dispatchEvent(new ErrorEvent('error'))")
    second = alive(tab, 1)
    assert tab.evaluate("workers.length") == 2
    z = torch.tensor(made[1].data["latents"])
    assert_close(pixels(second.locator("canvas").first), trained.generator(z)[0], BYTE)

    # A figure that was alive goes on with the new worker
    slider = first.get_by_role("slider", name="A to B")
    slider.focus()
    drawn_after(tab, first, lambda: slider.press("End"))
    end = trained.generator(torch.tensor(made[0].ends[1])[None])[0]
    assert_close(pixels(first.locator("canvas").first), end, BYTE)
    assert tab.evaluate("workers.length") == 2


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (360, "dark")])
def test_figures_fit_the_screen_and_are_named(open_page, trained, width, scheme):
    painting = live.forgetting(
        trained, latents(6), {"all": ("8x8", range(64))}, ("8x8", [1, 2], [0.5, 1.0])
    )
    shown = [live.film(trained), live.walk(trained, directions=1), few(trained, 9), painting]
    tab = open_page(
        *shown, viewport={"width": width, "height": 700}, color_scheme=scheme, has_touch=width < 500
    )
    for i in range(len(shown)):
        figure = alive(tab, i)
        controls = figure.locator("button, input, select, canvas:not([aria-hidden])")
        unnamed = controls.evaluate_all("""all => all.filter((e) =>
            !(e.getAttribute("aria-label") || e.innerText || e.labels?.length)).map((e) => e.outerHTML)""")
        assert unnamed == []
        small_ones = figure.locator("button, input, select").evaluate_all(
            "all => all.filter((e) => e.getBoundingClientRect().height < 24).length"
        )
        assert small_ones == 0  # what a finger can hit
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


# The book's extension


def test_the_build_writes_what_the_pages_ask_for(tmp_path, trained):
    safe = tmp_path / "weights" / "tiny"
    safe.mkdir(parents=True)
    from safetensors.torch import save_file

    save_file(pretrained.stored(trained.generator), safe / "generator.safetensors")
    (safe / "card.json").write_text(json.dumps(trained.card), encoding="utf-8")
    loaded = pretrained._from_files(safe)[0].eval()
    made = few(pretrained.Pretrained(loaded, None, trained.card, []))
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / 'extensions')!r})\n"
        "from pathlib import Path; from dcgan_book import pretrained\n"
        f"pretrained.WEIGHTS = Path({str(safe.parent)!r})\nextensions = ['live']\n",
        encoding="utf-8",
    )
    raw = "\n".join("   " + line for line in made.html().splitlines())
    index = f"Title\n=====\n\n.. toctree::\n\n   other\n\n.. raw:: html\n\n{raw}\n"
    (source / "index.rst").write_text(index, encoding="utf-8")
    (source / "other.rst").write_text("Other\n=====\n\nNothing here.\n", encoding="utf-8")
    build = [sys.executable, "-m", "sphinx", "-qW", source, tmp_path / "out"]
    subprocess.run(build, check=True, timeout=120)
    static = tmp_path / "out" / "_static"
    assert (
        f'["{made.weights}"]'
        in (static / f"live-{made.weights}.js").read_text(encoding="utf-8")[:200]
    )
    assert (static / "live.js").read_text(encoding="utf-8") == live.page_script()
    assert "live.js" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "live.js" not in (tmp_path / "out" / "other.html").read_text(encoding="utf-8")

    index = index.replace(made.weights, "tiny-000000000000")
    (source / "index.rst").write_text(index, encoding="utf-8")
    stale = subprocess.run(build, capture_output=True, encoding="utf-8", timeout=120)
    assert stale.returncode != 0 and "other weights than today's 'tiny'" in stale.stderr


def test_a_build_asks_nobody_for_the_weights_that_do_not_come_with_the_book(tmp_path, trained):
    """A page that was executed when digiface was cached, built where it is not: a picture, no fault, no network."""
    made = few(pretrained.Pretrained(trained.generator, None, {"name": "digiface"}, []))
    (tmp_path / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / 'extensions')!r})\nextensions = ['live']\n"
        "from dcgan_book import pretrained\npretrained._fetch_digiface = lambda: 1 / 0\n",
        encoding="utf-8",
    )
    raw = "\n".join("   " + line for line in made.html().splitlines())
    index = f"Title\n=====\n\n.. raw:: html\n\n{raw}\n"
    (tmp_path / "index.rst").write_text(index, encoding="utf-8")
    build = [sys.executable, "-m", "sphinx", "-W", tmp_path, tmp_path / "out"]
    environment = os.environ | {"DCGAN_BOOK_CACHE": str(tmp_path / "empty")}
    done = subprocess.run(
        build, check=True, timeout=120, env=environment, capture_output=True, text=True
    )
    assert "a live figure stays still: the weights digiface are not in" in done.stdout
    assert not list((tmp_path / "out" / "_static").glob("live-digiface*"))
