"""The game in two dimensions: its gradients and steps are PyTorch's, and each preset ends in what it is called."""

import numpy as np
import pytest
import torch
from test_panels import MODULE, alive, open_page, trained  # noqa: F401
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from dcgan_book import live

LOAD = """async (options) => {
  const { planeGame, playStep, realPoints } = await import(
    URL.createObjectURL(new Blob([options.module], { type: "text/javascript" })));
"""
STEPS = (
    LOAD
    + """
  const game = planeGame(3, 5), told = (layers) => layers.map(({ weights }) => weights.map((w) => [...w]));
  const start = [told(game.generator), told(game.discriminator)], rounds = [];
  for (const saturating of options.saturating) {
    const real = realPoints("spiral", 6, game.random), z = game.latents(6);
    const d = game.dStep(real, z, { rate: 0.01, beta1: 0.5 });
    const { byPoint } = game.pull(z, saturating);
    const g = game.gStep(z, { rate: 0.02, beta1: 0.5, saturating });
    rounds.push({ real: [...real], z: [...z], d, g, byPoint: [...byPoint] });
  }
  return { start, rounds, end: [told(game.generator), told(game.discriminator)] };
}"""
)
RUN = (
    LOAD
    + """
  const { settings } = options, game = planeGame(settings.seed), seen = planeGame(999), z = seen.latents(200);
  const real = [...realPoints(settings.shape, 200, seen.random)], snapshots = [];
  for (let i = 1; i <= 1500; i++) {
    playStep(game, settings);
    if (i > 500 && i % 25 === 0) snapshots.push([...game.generate(z)]);
  }
  return { real, snapshots };
}"""
)


@pytest.fixture(scope="module")
def blank(browser):
    tab = browser.new_page()
    yield tab
    tab.close()


def network(layers):
    """The page's layers as PyTorch's, with a leaky rectifier after each but the last."""
    parts = []
    for weights, biases in layers:
        weights, biases = torch.tensor(weights).double(), torch.tensor(biases).double()
        linear = nn.Linear(len(weights) // len(biases), len(biases)).double()
        linear.weight.data, linear.bias.data = weights.view_as(linear.weight), biases
        parts += [linear, nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts[:-1])


def test_losses_gradients_and_steps_are_pytorchs(blank):
    torch.set_default_dtype(torch.float64)
    try:
        check_steps(blank)
    finally:
        torch.set_default_dtype(torch.float32)


def check_steps(blank):
    kinds = [False, False, True, True, False]
    found = blank.evaluate(STEPS, {"module": MODULE, "saturating": kinds})
    g, d = map(network, found["start"])
    adam_g = torch.optim.Adam(g.parameters(), 0.02, (0.5, 0.999))
    adam_d = torch.optim.Adam(d.parameters(), 0.01, (0.5, 0.999))
    close = {"rtol": 1e-9, "atol": 1e-11}
    for saturating, told in zip(kinds, found["rounds"], strict=True):
        real, z = (torch.tensor(told[name]).view(-1, 2) for name in ("real", "z"))
        on_real, on_fake = d(real), d(g(z).detach())
        loss = cross_entropy(on_real, torch.ones_like(on_real))
        loss = loss + cross_entropy(on_fake, torch.zeros_like(on_fake))
        adam_d.zero_grad()
        loss.backward()
        adam_d.step()
        torch.testing.assert_close(torch.tensor(told["d"]), loss.detach(), **close)
        points = g(z)
        points.retain_grad()
        logits = d(points)
        label = torch.full_like(logits, 0.0 if saturating else 1.0)
        loss = cross_entropy(logits, label) * (-1 if saturating else 1)
        adam_g.zero_grad()
        loss.backward()
        adam_g.step()
        torch.testing.assert_close(torch.tensor(told["g"]), loss.detach(), **close)
        torch.testing.assert_close(torch.tensor(told["byPoint"]).view(-1, 2), points.grad, **close)
    for ours, theirs in zip((g, d), map(network, found["end"]), strict=True):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def energy_distance(a, b):
    between = [torch.cdist(x, y).mean().item() for x, y in ((a, b), (a, a), (b, b))]
    return 2 * between[0] - between[1] - between[2]


def run_of(tab, name):
    """Energy distances and spreads of a preset's points, each 25 of the steps 500 to 1,500."""
    found = tab.evaluate(RUN, {"module": MODULE, "settings": live.GAME_PRESETS[name]})
    real = torch.tensor(found["real"]).view(-1, 2)
    seen = [torch.tensor(points).view(-1, 2) for points in found["snapshots"]]
    spreads = np.array([(p - p.mean(0)).norm(dim=1).square().mean().sqrt().item() for p in seen])
    return np.array([energy_distance(p, real) for p in seen]), spreads


def test_the_preset_that_converges_stays_at_the_data(blank):
    distances, _ = run_of(blank, "converges")
    assert distances.max() < 0.05


def test_the_preset_that_collapses_has_its_points_in_one_place(blank):
    distances, spreads = run_of(blank, "collapses")
    assert np.median(spreads) < 0.15 and np.median(distances) > 0.5  # the ring's spread is 0.8


def test_the_preset_that_oscillates_shrinks_and_swells_again_and_again(blank):
    _, spreads = run_of(blank, "oscillates")
    sides = [spread > 0.8 for spread in spreads if not 0.5 <= spread <= 0.8]
    assert sum(a != b for a, b in zip(sides, sides[1:], strict=False)) >= 4


def steps(figure):
    words = figure.locator("output").inner_text().split()
    return int(words[0]), int(words[4])


def test_buttons_step_one_network_run_pause_and_reset(open_page):  # noqa: F811
    tab = open_page(live.game())
    figure = alive(tab)
    press = lambda name: figure.get_by_role("button", name=name, exact=True).click()  # noqa: E731
    assert steps(figure) == (0, 0)
    press("Step D")
    press("Step D")
    press("Step G")
    assert steps(figure) == (2, 1)
    press("Run")
    tab.wait_for_function("() => document.querySelector('output').value.split(' ')[0] > 20")
    press("Pause")
    stopped = steps(figure)
    tab.wait_for_timeout(200)
    assert steps(figure) == stopped
    press("Reset")
    assert steps(figure) == (0, 0)
    figure.get_by_label("preset").select_option("oscillates")
    assert "beta1 0.9" in figure.locator("output").inner_text()
    slider = figure.get_by_role("slider", name="D's rate, 10 to the")
    slider.focus()
    slider.press("End")
    assert "rates 0.10 and 0.0020" in figure.locator("output").inner_text()


def test_it_rests_while_it_is_off_screen(open_page):  # noqa: F811
    tab = open_page(live.game(), before="<p style='height: 3000px'>far above</p>")
    figure = alive(tab)
    figure.get_by_role("button", name="Run").click()
    tab.wait_for_function("() => document.querySelector('output').value.split(' ')[0] > 3")
    tab.evaluate("scrollTo(0, 0)")
    tab.wait_for_timeout(500)
    away = steps(figure)
    tab.wait_for_timeout(500)
    assert steps(figure) == away
    figure.scroll_into_view_if_needed()
    tab.wait_for_function(
        "n => document.querySelector('output').value.split(' ')[0] > n", arg=away[0]
    )


def test_points_can_be_drawn_by_keyboard_and_by_pointer(open_page):  # noqa: F811
    tab = open_page(live.game())
    figure = alive(tab)
    canvas, shape = figure.locator("canvas"), figure.get_by_label("distribution")
    canvas.focus()
    canvas.press("ArrowLeft")
    assert shape.input_value() == "ring"
    before = canvas.evaluate("c => c.toDataURL()")
    canvas.press(" ")
    assert shape.input_value() == "your own" and canvas.evaluate("c => c.toDataURL()") != before
    before = canvas.evaluate("c => c.toDataURL()")
    canvas.click(position={"x": 20, "y": 20})
    assert canvas.evaluate("c => c.toDataURL()") != before


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (360, "dark")])
def test_it_fits_the_screen_is_named_and_a_step_takes_a_moment(open_page, width, scheme):  # noqa: F811
    tab = open_page(live.game(), viewport={"width": width, "height": 700}, color_scheme=scheme)
    figure = alive(tab)
    unnamed = figure.locator(
        "button, input, select, canvas"
    ).evaluate_all("""all => all.filter((e) =>
        !(e.getAttribute("aria-label") || e.innerText || e.labels?.length)).map((e) => e.outerHTML)""")
    assert unnamed == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    times = []
    for _ in range(15):
        figure.get_by_role("button", name="Step D").click()
        times.append(float(figure.locator("[data-ms]").get_attribute("data-ms")))
    print(sorted(times))
    assert min(times) < 16  # the least, as tests run beside others
