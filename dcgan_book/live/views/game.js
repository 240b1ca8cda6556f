// Chapter 1: the game in two dimensions. A generator and a discriminator of points, trained here.

// Numbers in [0, 1) that a seed decides (mulberry32).
function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Fully connected layers from `sizes[0]` to the last size, weights drawn as PyTorch draws those of nn.Linear.
function layersOf(sizes, random) {
  const drawn = (n, bound) => Float64Array.from({ length: n }, () => (2 * random() - 1) * bound);
  return sizes.slice(1).map((outputs, i) => {
    const inputs = sizes[i], bound = 1 / Math.sqrt(inputs);
    const weights = [drawn(outputs * inputs, bound), drawn(outputs, bound)];
    return { inputs, outputs, weights, moments: weights.map((w) => [new Float64Array(w.length), new Float64Array(w.length)]) };
  });
}

// The input (n rows) and what each layer puts out; all but the last end in a leaky rectifier.
function forward(layers, x) {
  const values = [x], n = x.length / layers[0].inputs;
  layers.forEach(({ inputs, outputs, weights: [w, b] }, l) => {
    const before = values[l], after = new Float64Array(n * outputs);
    for (let r = 0; r < n; r++) {
      for (let o = 0; o < outputs; o++) {
        let sum = b[o];
        for (let i = 0; i < inputs; i++) sum += w[o * inputs + i] * before[r * inputs + i];
        after[r * outputs + o] = l < layers.length - 1 && sum < 0 ? 0.2 * sum : sum;
      }
    }
    values.push(after);
  });
  return values;
}

// The gradients of a loss from its gradient by the output: by each layer's weights, and by the input.
function backward(layers, values, gradient) {
  const byWeights = layers.map(({ weights }) => weights.map((w) => new Float64Array(w.length)));
  for (let l = layers.length - 1; l >= 0; l--) {
    const { inputs, outputs, weights: [w] } = layers[l], [dw, db] = byWeights[l];
    const before = values[l], after = values[l + 1], next = new Float64Array(before.length);
    for (let r = 0; r < before.length / inputs; r++) {
      for (let o = 0; o < outputs; o++) {
        const at = r * outputs + o, g = gradient[at] * (l < layers.length - 1 && after[at] < 0 ? 0.2 : 1);
        db[o] += g;
        for (let i = 0; i < inputs; i++) {
          dw[o * inputs + i] += g * before[r * inputs + i];
          next[r * inputs + i] += g * w[o * inputs + i];
        }
      }
    }
    gradient = next;
  }
  return { byWeights, byInput: gradient };
}

// One step of Adam as PyTorch takes it, the `t`th.
function adam(layers, byWeights, { rate, beta1 }, t) {
  layers.forEach(({ weights, moments }, l) => weights.forEach((w, k) => {
    const [first, second] = moments[k], g = byWeights[l][k];
    for (let i = 0; i < w.length; i++) {
      first[i] = beta1 * first[i] + (1 - beta1) * g[i];
      second[i] = 0.999 * second[i] + 0.001 * g[i] * g[i];
      w[i] -= (rate / (1 - beta1 ** t)) * first[i] / (Math.sqrt(second[i] / (1 - 0.999 ** t)) + 1e-8);
    }
  }));
}

const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// Both networks and their steps, the loop's of the chapter; points are flat arrays x, y, x, y, and so on.
export function planeGame(seed, width = 16) {
  const random = seeded(seed), steps = { d: 0, g: 0 };
  const generator = layersOf([2, width, width, 2], random), discriminator = layersOf([2, width, width, 1], random);
  const latents = (n) => Float64Array.from({ length: 2 * n }, () => 2 * random() - 1);
  const last = (values) => values[values.length - 1];
  const generate = (z) => last(forward(generator, z));
  const judge = (points) => last(forward(discriminator, points));
  // D's loss: a real point is to get the label 1, a generated one 0
  const dStep = (real, z, options) => {
    const sides = [[real, 1], [generate(z), 0]].map(([points, label]) => {
      const values = forward(discriminator, points), logits = last(values);
      const slopes = logits.map((logit) => (sigmoid(logit) - label) / logits.length);
      return { loss: mean(logits.map((logit) => softplus(label ? -logit : logit))),
        byWeights: backward(discriminator, values, slopes).byWeights };
    });
    const [{ byWeights }, fake] = sides;
    byWeights.forEach((layer, l) => layer.forEach((g, k) => fake.byWeights[l][k].forEach((v, i) => (g[i] += v))));
    adam(discriminator, byWeights, options, ++steps.d);
    return sides[0].loss + sides[1].loss;
  };
  // G's loss on these latents, and its gradient by each generated point
  const pull = (z, saturating) => {
    const values = forward(generator, z), seen = forward(discriminator, last(values)), logits = last(seen);
    const slopes = logits.map((logit) => (saturating ? -sigmoid(logit) : sigmoid(logit) - 1) / logits.length);
    const loss = mean(logits.map((logit) => (saturating ? -softplus(logit) : softplus(-logit))));
    return { loss, values, points: last(values), byPoint: backward(discriminator, seen, slopes).byInput };
  };
  const gStep = (z, options) => {
    const { loss, values, byPoint } = pull(z, options.saturating);
    adam(generator, backward(generator, values, byPoint).byWeights, options, ++steps.g);
    return loss;
  };
  return { random, generator, discriminator, steps, latents, generate, judge, dStep, gStep, pull };
}

// The distributions to choose from: each makes a point from two numbers in [0, 1).
const SHAPES = {
  ring: (u, v) => [0.8 * Math.cos(2 * Math.PI * u), 0.8 * Math.sin(2 * Math.PI * u)].map((x) => x + 0.08 * (v - 0.5)),
  "two clusters": (u, v) => {
    const [side, r, angle] = [u < 0.5 ? -0.6 : 0.6, 0.15 * Math.sqrt(v), 4 * Math.PI * u];
    return [side + r * Math.cos(angle), r * Math.sin(angle)];
  },
  "eight clusters": (u, v) => {
    const [k, r] = [Math.floor(8 * u), 0.1 * Math.sqrt(v)], [at, angle] = [(Math.PI * k) / 4, 2 * Math.PI * (8 * u - k)];
    return [0.8 * Math.cos(at) + r * Math.cos(angle), 0.8 * Math.sin(at) + r * Math.sin(angle)];
  },
  spiral: (u, v) => [0.9 * u * Math.cos(9 * u), 0.9 * u * Math.sin(9 * u)].map((x) => x + 0.06 * (v - 0.5)),
};

// `n` real points: of a shape, or of the reader's `own` with a little noise.
export function realPoints(shape, n, random, own = []) {
  const one = () => {
    if (SHAPES[shape]) return SHAPES[shape](random(), random());
    return own[Math.floor(random() * own.length)].map((x) => x + 0.06 * (random() - 0.5));
  };
  return Float64Array.from(Array.from({ length: n }, one).flat());
}

const BATCH = 128;

// A step of each that `which` names, "d" and "g"; returns the losses. `settings` has shape, rateD, rateG, beta1,
// saturating.
export function playStep(game, settings, which = "dg", own = []) {
  const { shape, rateD, rateG, beta1, saturating } = settings, z = game.latents(BATCH), losses = {};
  const real = realPoints(shape, BATCH, game.random, own);
  if (which.includes("d")) losses.d = game.dStep(real, z, { rate: rateD, beta1 });
  if (which.includes("g")) losses.g = game.gStep(z, { rate: rateG, beta1, saturating });
  return losses;
}

const PLANE = 320, REACH = 1.6, CELLS = 40, SHOWN = 64; // pixels; the plane is shown from -REACH to REACH
const toPixel = (x) => ((x + REACH) / (2 * REACH)) * PLANE;

// D's opinion as a heat map, real points, generated ones with the way that G's loss pulls each, and the cursor.
function drawGame(canvas, game, { settings, real, z, cursor }) {
  const context = canvas.getContext("2d"), cell = PLANE / CELLS, at = (i) => ((i + 0.5) / CELLS) * 2 * REACH - REACH;
  const centres = Float64Array.from({ length: 2 * CELLS ** 2 }, (_, i) =>
    (i % 2 ? -at(Math.floor(i / 2 / CELLS)) : at((i >> 1) % CELLS)));
  game.judge(centres).forEach((logit, i) => {
    const p = sigmoid(logit), [from, to, t] = p < 0.5 ? [[244, 178, 120], [247, 247, 247], 2 * p]
      : [[247, 247, 247], [130, 190, 232], 2 * p - 1];
    context.fillStyle = `rgb(${from.map((v, k) => Math.round(v + t * (to[k] - v)))})`;
    context.fillRect((i % CELLS) * cell, Math.floor(i / CELLS) * cell, cell + 1, cell + 1);
  });
  context.fillStyle = "#003f66";
  for (let i = 0; i < real.length; i += 2) context.fillRect(toPixel(real[i]) - 2, toPixel(-real[i + 1]) - 2, 4, 4);
  const { points, byPoint } = game.pull(z, settings.saturating);
  context.fillStyle = context.strokeStyle = "#a03c00";
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = [toPixel(points[i]), toPixel(-points[i + 1])], scale = (SHOWN * PLANE) / 16;
    const [dx, dy] = [-byPoint[i] * scale, byPoint[i + 1] * scale], shorter = Math.min(1, 40 / Math.hypot(dx, dy));
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + dx * shorter, y + dy * shorter);
    context.stroke();
    context.beginPath();
    context.arc(x, y, 3, 0, 2 * Math.PI);
    context.fill();
  }
  if (!cursor) return;
  context.strokeStyle = "#000";
  context.strokeRect(toPixel(cursor[0]) - 5, toPixel(-cursor[1]) - 5, 10, 10);
}

// Both losses over the last steps.
function gameChart() {
  const drawing = el("div", { role: "img", "aria-label": "losses of D and of G over the last 300 steps" });
  drawing.innerHTML = `<svg viewBox="0 0 300 100" preserveAspectRatio="none"><polyline class="d"/><polyline class="g"/></svg>`;
  const show = (losses) => {
    const values = losses.flatMap(({ d, g }) => [d, g]).filter((value) => value !== undefined);
    const [low, high] = [Math.min(0, ...values), Math.max(2, ...values)];
    for (const key of "dg") {
      const points = losses.flatMap((loss, i) =>
        (loss[key] === undefined ? [] : [`${i},${100 - (100 * (loss[key] - low)) / (high - low)}`]));
      drawing.querySelector(`.${key}`).setAttribute("points", points.join(" "));
    }
  };
  const key = row(el("span", { className: "key" }, "loss of D"), el("span", { className: "key g" }, "loss of G"));
  return { element: el("div", {}, drawing, key), show };
}

// The reader's own points: drawn with a pointer, or with arrow keys and the space bar.
function drawnByHand(canvas, state, changed) {
  const add = (x, y) => {
    state.own.push([x, y]);
    changed();
  };
  let down = false;
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    add((2 * x - 1) * REACH, (1 - 2 * y) * REACH);
  };
  canvas.onpointerdown = (event) => {
    down = true;
    canvas.setPointerCapture(event.pointerId);
    where(event);
  };
  canvas.onpointermove = (event) => down && where(event);
  canvas.onpointerup = canvas.onpointercancel = () => (down = false);
  const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
  canvas.onkeydown = (event) => {
    const move = moves[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    const cursor = (state.cursor ??= [0, 0]);
    if (!move) return add(...cursor);
    state.cursor = cursor.map((x, i) => Math.max(-REACH, Math.min(REACH, x + move[i])));
    changed(false);
  };
  canvas.onblur = () => {
    state.cursor = null;
    changed(false);
  };
}

// Sliders and menus for the settings; the returned function shows what the settings have become.
function gameSettings(settings, presets, start, changed) {
  const choice = (label, options, onchange) => {
    const select = el("select", { "aria-label": label, onchange: () => onchange(select.value) },
      ...options.map((option) => el("option", { value: option }, option)));
    return select;
  };
  const preset = choice("preset", Object.keys(presets), start);
  const shape = choice("distribution", [...Object.keys(SHAPES), "your own"], (value) => changed({ shape: value }));
  const loss = choice("loss of G", ["non-saturating", "saturating"], (value) =>
    changed({ saturating: value === "saturating" }));
  const rate = (text, key) => slider(text, { min: -4, max: -1, step: 0.1, value: Math.log10(settings[key]) },
    (exponent) => changed({ [key]: 10 ** exponent }), (exponent) => (10 ** exponent).toPrecision(2));
  const [d, g] = [rate("D's rate, 10 to the", "rateD"), rate("G's rate, 10 to the", "rateG")];
  const beta1 = slider("beta1", { min: 0, max: 0.9, step: 0.1, value: settings.beta1 }, (value) => changed({ beta1: value }));
  const show = () => {
    shape.value = settings.shape;
    loss.value = settings.saturating ? "saturating" : "non-saturating";
    d.update(Math.log10(settings.rateD));
    g.update(Math.log10(settings.rateG));
    beta1.update(settings.beta1);
  };
  return { elements: [row(preset, shape, loss), row(d.element, g.element, beta1.element)], show };
}

views.game = async (model, root) => {
  const presets = model.get("data").presets, settings = { ...Object.values(presets)[0] };
  const state = { own: [], cursor: null, settings }, random = seeded(7);
  let game, losses, playing = false, onScreen = true;
  const canvas = el("canvas", { width: PLANE, height: PLANE, role: "img", tabIndex: 0, "aria-label":
    "the plane: draw points of your own with the pointer, or with the arrow keys and the space bar" });
  canvas.style.touchAction = "none";
  const chart = gameChart(), words = el("output");
  const show = () => {
    if (settings.shape === "your own" && !state.own.length) state.own.push([0, 0]);
    drawGame(canvas, game, { ...state, real: realPoints(settings.shape, 200, seeded(11), state.own) });
    chart.show(losses);
    const { d, g } = losses[losses.length - 1] ?? {}, said = (loss) => loss?.toFixed(2) ?? "-";
    words.value = `${game.steps.d} steps of D, ${game.steps.g} of G; losses: D ${said(d)}, G ${said(g)}; `
      + `rates ${settings.rateD.toPrecision(2)} and ${settings.rateG.toPrecision(2)}, beta1 ${settings.beta1}`;
    controls.show();
    root.dataset.drawn = Number(root.dataset.drawn ?? 0) + 1;
  };
  const step = (which) => {
    const began = performance.now();
    losses.push(playStep(game, settings, which, state.own));
    if (losses.length > 300) losses.shift();
    show();
    root.dataset.ms = (performance.now() - began).toFixed(1);
  };
  const reset = () => {
    game = planeGame(settings.seed);
    losses = [];
    state.z = Float64Array.from({ length: 2 * SHOWN }, () => 2 * random() - 1);
    show();
  };
  const run = () => {
    playing = !playing;
    runner.textContent = playing ? "Pause" : "Run";
    const frame = () => {
      if (!playing || !root.isConnected) return;
      if (onScreen) step("dg");
      requestAnimationFrame(frame);
    };
    if (playing) requestAnimationFrame(frame);
  };
  const controls = gameSettings(settings, presets, (name) => {
    Object.assign(settings, presets[name]);
    reset();
  }, (values) => {
    Object.assign(settings, values);
    show();
  });
  drawnByHand(canvas, state, (added = true) => {
    if (added) settings.shape = "your own";
    show();
  });
  const runner = button("Run", run), erase = () => {
    state.own = [];
    show();
  };
  new IntersectionObserver((entries) => (onScreen = entries[entries.length - 1].isIntersecting)).observe(canvas);
  root.append(
    el("div", { className: "parts" }, part(canvas), part(chart.element, words, ...controls.elements)),
    row(runner, button("Step D", () => step("d")), button("Step G", () => step("g")), button("Reset", reset),
      button("Erase my points", erase)));
  reset();
};
