// The generator of the book, in the reader's browser, and the figures that let a reader play with it.
//
// Two hosts: a page of the built book, where a figure is an HTML element and nothing runs but this file, and
// Jupyter, where it is an anywidget whose state the kernel reads and sets. `dcgan_book/live/figures.py` writes both.
// In order: the engine (weights in, pixels out), its worker, what figures share, the two hosts. The figures themselves
// stand in `views/`.

// ---------------------------------------------------------------------------------------------------- the engine

// A transposed convolution of stride 2 is four plain ones, one for each parity of the output's row and column: each
// output pixel is of 2x2 input pixels (2x2 to 3x3 for kernels of 5). Images lie in memory row by row, the numbers of
// one pixel side by side, with a border of zeros; so the input pixels under a window are a few runs of memory, and
// four output pixels times eight channels are a small matrix product, which the function `kernel` computes.
// The function refers to nothing outside itself, because a worker is made from its text.
export function engine() {
  const LANES = 8, PIXELS = 4, NUMBER = 4; // of a product; bytes of a float
  let floats, kernel, stages, zDim;

  // The kernel in WebAssembly, which no JavaScript reaches (four multiplications at a time): name to the base64 of what
  // `assemble.py` makes of engine.wat, the fastest first. Python puts them here.
  const binaries = { /* binaries */ };
  const decode = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

  // The same product where WebAssembly has no vectors. All addresses and steps are in bytes, as there.
  const plain = (floats) => (w, bias, x, xStep, rows, skip, run, out, outStep, floor) => {
    for (let pixel = 0; pixel < PIXELS; pixel++) {
      let b = bias / NUMBER, [s0, s1, s2, s3, s4, s5, s6, s7] = floats.subarray(b, b + LANES);
      let i = (x + pixel * xStep) / NUMBER, j = w / NUMBER;
      for (let row = 0; row < rows; row++, i += skip / NUMBER) {
        for (const end = i + run / NUMBER; i < end; i++, j += LANES) {
          const value = floats[i];
          if (value === 0) continue; // half of what a rectifier gives
          s0 += value * floats[j], s1 += value * floats[j + 1], s2 += value * floats[j + 2];
          s3 += value * floats[j + 3], s4 += value * floats[j + 4], s5 += value * floats[j + 5];
          s6 += value * floats[j + 6], s7 += value * floats[j + 7];
        }
      }
      floats.set([s0, s1, s2, s3, s4, s5, s6, s7].map((s) => Math.max(s, floor)), (out + pixel * outStep) / NUMBER);
    }
  };

  // So many bytes as floats, all 0, and a kernel that works on them, with its name.
  function allocate(bytes, simd = true) {
    const names = simd && typeof WebAssembly === "object" ? Object.keys(binaries) : [];
    const name = names.find((name) => WebAssembly.validate(decode(binaries[name])));
    if (!name) {
      const floats = new Float32Array(bytes / NUMBER);
      return { floats, kernel: plain(floats), name: "plain" };
    }
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) });
    const module = new WebAssembly.Module(decode(binaries[name]));
    const { kernel } = new WebAssembly.Instance(module, { engine: { memory } }).exports;
    return { floats: new Float32Array(memory.buffer), kernel, name };
  }

  // Takes the header and the unpacked bytes of `live.pack`. In memory: weights, then the images between stages.
  function load(header, bytes, simd = true) {
    zDim = header.z_dim;
    let end = 0;
    const reserve = (count) => (end += count * NUMBER) - count * NUMBER;
    const image = (side, depth) => ({ side, depth, address: reserve((side + 2) ** 2 * depth) });
    stages = header.stages.map((stage) => ({ ...stage, weights: reserve(stage.count), bias: reserve(stage.outputs) }));
    let input = image(1, stages[0].inputs);
    for (const stage of stages) {
      stage.input = input;
      stage.output = input = image(stage.input.side * stage.step, stage.outputs);
    }
    const allocated = allocate(end, simd);
    ({ floats, kernel } = allocated);
    const vectors = new Float32Array(bytes, 0, header.floats);
    let vector = 0, offset = vectors.byteLength;
    for (const { inputs, outputs, weights, bias, count, bits, windows } of stages) {
      const scale = vectors.subarray(vector, vector + outputs);
      floats.set(vectors.subarray(vector + outputs, (vector += 2 * outputs)), bias / NUMBER);
      const rounded = new (bits === 8 ? Int8Array : Int16Array)(bytes, offset, count);
      offset += rounded.byteLength;
      const to = weights / NUMBER;
      let i = 0;
      for (const [, rows] of windows) {
        for (const [, columns] of windows) {
          for (let channel = 0; channel < outputs; channel += LANES) {
            for (const end = i + rows * columns * inputs * LANES; i < end; i++) {
              floats[to + i] = rounded[i] * scale[channel + (i % LANES)];
            }
          }
        }
      }
    }
    return allocated.name;
  }

  function convolve({ weights, bias, input, output, windows, step }, floor) {
    const { side, depth } = input, pitch = side + 2, wide = output.side + 2;
    const pixel = depth * NUMBER, outPixel = output.depth * NUMBER;
    const still = side < PIXELS; // the first stage's input is one pixel: four times the same product
    let w = weights;
    for (let a = 0; a < step; a++) {
      for (let b = 0; b < step; b++) {
        const [top, rows] = windows[a], [left, columns] = windows[b];
        const run = columns * pixel;
        for (let channel = 0; channel < output.depth; channel += LANES, w += rows * run * LANES) {
          for (let y = 0; y < side; y++) {
            for (let x = 0; x < side; x += PIXELS) {
              const from = input.address + ((y + 1 + top) * pitch + x + 1 + left) * pixel;
              const to = output.address + ((y * step + a + 1) * wide + x * step + b + 1) * outPixel + channel * NUMBER;
              kernel(w, bias + channel * NUMBER, from, still ? 0 : pixel, rows, pitch * pixel - run, run,
                to, still ? 0 : step * outPixel, floor);
            }
          }
        }
      }
    }
  }

  // Calls `visit` with the place of each pixel of an image, row by row.
  function each({ address, side, depth }, visit) {
    for (let cell = 0; cell < side ** 2; cell++) {
      visit(address / NUMBER + ((Math.floor(cell / side) + 1) * (side + 2) + (cell % side) + 1) * depth, cell);
    }
  }

  // One image: numbers in [-1, 1], (side, side, channels). `edits` are what `live.edit` returns: units of a stage are
  // set to a value, or to one each, everywhere, or where `region`, side * side numbers, is not 0.
  function draw(z, edits = []) {
    if (z.length !== zDim) throw new Error(`z has ${z.length} numbers, this generator takes ${zDim}`);
    each(stages[0].input, (start) => floats.set(z, start));
    const last = stages[stages.length - 1], { channels } = last;
    for (const stage of stages) {
      convolve(stage, stage === last ? -Infinity : 0);
      if (stage === last) {
        each(stage.output, (start) => {
          for (let c = start; c < start + channels; c++) floats[c] = Math.tanh(floats[c]);
        });
      }
      for (const { units, value, region } of edits.filter((edit) => edit.stage === stage.name)) {
        each(stage.output, (start, cell) => {
          if (!region || region[cell]) units.forEach((unit, n) => (floats[start + unit] = value[n] ?? value));
        });
      }
    }
    const pixels = new Float32Array(last.output.side ** 2 * channels);
    each(last.output, (start, cell) => pixels.set(floats.subarray(start, start + channels), cell * channels));
    return pixels;
  }

  // Feature maps of one image: for each unit of a stage its map, side * side numbers.
  function mapsOf(z, { stage, units }) {
    draw(z);
    const { output } = stages.find(({ name }) => name === stage), maps = units.map(() => new Float32Array(output.side ** 2));
    each(output, (start, cell) => units.forEach((unit, i) => (maps[i][cell] = floats[start + unit])));
    return maps;
  }

  // The same as a screen takes it: red, green, blue and opacity, bytes.
  function paint(pixels) {
    const { channels } = stages[stages.length - 1];
    const bytes = new Uint8ClampedArray((pixels.length / channels) * 4).fill(255);
    for (let i = 0; i < bytes.length / 4; i++) {
      for (let c = 0; c < 3; c++) bytes[4 * i + c] = (pixels[i * channels + Math.min(c, channels - 1)] + 1) * 127.5;
    }
    return bytes;
  }

  // The bytes for `load` from those that `live.pack` has compressed, or from their base64.
  function unpack(data) {
    const bytes = typeof data === "string" ? decode(data) : data;
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  }

  // What the worker does with a message; `port` is the worker's global object, `reader` what instrument.js gives. Asked
  // to `read`, it also says what is seen in each image; for `fades`, shares of the second of two latents, in the mixed
  // pixels of their two images.
  function serve(port, reader) {
    const see = (pixels) => {
      const { probability, factors } = reader.read(pixels);
      return { ...probability, ...factors };
    };
    const answer = async ({ header, instrument, data, latents, edits, read, fades, maps }) => {
      if (header) return load(header, await unpack(data));
      if (instrument) return reader.load(instrument, await unpack(data));
      if (maps) return mapsOf(latents[0], maps);
      const began = performance.now(), drawn = latents.map((z) => draw(z, edits));
      if (fades) return fades.map((t) => see(drawn[0].map((value, i) => (1 - t) * value + t * drawn[1][i])));
      const seen = read && drawn.map(see);
      return { images: drawn.map(paint), seen, ms: performance.now() - began };
    };
    port.onmessage = async ({ data: { id, ...message } }) => {
      try {
        const result = await answer(message);
        port.postMessage({ id, result }, (result?.images ?? []).map((image) => image.buffer));
      } catch (error) {
        port.postMessage({ id, error: String(error.message ?? error) });
      }
    };
  }

  return { unpack, load, draw, serve, allocate };
}

/* instrument */

// --------------------------------------------------------------------------------------------------- its worker

// Shared by all figures of a page, also where each has loaded its own copy of this module, as in Jupyter.
const shared = (globalThis.dcganLive ??= {});
shared.weights ??= {}; // name to { header, data }, filled by the scripts of `live.weights_script`
shared.painters ??= {}; // name to the promise of a painter

const WORKER = `const { allocate, serve } = (${engine})(); serve(self, (${instrument})(allocate));`;

// Draws in a worker, so that the page stays free. `data` is base64, or bytes.
// A worker that fails is gone for good: what waits for it is refused, and `ended` is called.
async function startPainter({ header, data }, ended) {
  const url = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
  const worker = new Worker(url), waiting = new Map();
  let count = 0, stopped = null;
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    error === undefined ? resolve(result) : reject(new Error(error));
  };
  worker.onerror = () => {
    stopped = new Error("its worker stopped");
    worker.terminate();
    waiting.forEach(({ reject }) => reject(stopped));
    ended();
  };
  const ask = (message) => new Promise((resolve, reject) => {
    if (stopped) return reject(stopped);
    waiting.set(++count, { resolve, reject });
    worker.postMessage({ id: count, ...message });
  });
  await ask({ header, data });
  URL.revokeObjectURL(url);
  // Latents to { images, seen, ms }: an array of ImageData, if asked to `read` what is seen in each, name to probability,
  // scalar or choice, and how long all took together.
  const image = (bytes) => new ImageData(bytes, Math.sqrt(bytes.length / 4));
  const draw = async (latents, edits, read = false) => {
    const { images, seen, ms } = await ask({ latents, edits, read });
    return { images: images.map(image), seen, ms };
  };
  draw.fade = (latents, edits, fades) => ask({ latents, edits, fades });
  draw.maps = (latents, stage, units) => ask({ latents, maps: { stage, units } });
  draw.learn = ({ header, data }) => ask({ instrument: header, data });
  return draw;
}

// The painter of a figure's weights, which the figures of a page share. One that cannot start, or whose worker has
// stopped, is forgotten, so that whoever asks next gets a new one.
function painter(model) {
  const name = model.get("weights");
  if (!shared.painters[name]) {
    const forget = () => shared.painters[name] === started && delete shared.painters[name];
    const started = model.weights(name).then((weights) => startPainter(weights, forget));
    shared.painters[name] = started;
    started.catch(forget);
  }
  return shared.painters[name];
}

// A painter that can also read, with the figure's instrument, which is loaded when it is first asked for.
async function reader(model) {
  const draw = await painter(model);
  draw.learned ??= model.weights(model.get("instrument")).then(draw.learn);
  await draw.learned;
  return draw;
}

// -------------------------------------------------------------------------------------------- what figures share

// An element with properties and children.
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    key in element && !key.includes("-") ? (element[key] = value) : element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const picture = (label) => el("canvas", { width: 64, height: 64, role: "img", "aria-label": label });

// Shows ImageData on a canvas, which takes on its size.
function put(canvas, image) {
  const { width, height } = image;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const readOut = () => el("output", { "aria-live": "polite" });
const row = (...children) => el("div", { className: "controls" }, ...children);
const part = (...children) => el("div", { className: "part" }, ...children);
const button = (text, onclick) => el("button", { type: "button", onclick }, text);

// A labelled slider with its value; `say` gives the words for a value, which screen readers announce. Where values go
// both ways from 0, a mark shows where that is.
function slider(text, { min, max, step, value }, onInput, say = String) {
  const input = el("input", { type: "range", min, max, step, oninput: () => onInput(update(input.value)) });
  const shown = el("span", { className: "value", ariaHidden: "true" });
  const update = (now) => {
    input.value = now;
    shown.textContent = step < 1 ? Number(input.value).toFixed(2) : input.value;
    input.setAttribute("aria-valuetext", say(Number(input.value)));
    return Number(input.value);
  };
  update(value);
  if (min < 0) input.classList.add("both-ways");
  return { element: el("label", {}, el("span", {}, text), input, shown), update };
}

// Sets state, and unless it is only passing, lets the kernel know.
function change(model, values, save = true) {
  for (const [key, value] of Object.entries(values)) model.set(key, value);
  if (save) model.save_changes();
}

// For figures whose other state gives z: calls `move`, which sets z, once for each change of the keys, whether the
// kernel's or the reader's. Returns the function by which the reader's controls set state.
function driven(model, keys, move) {
  let busy = false;
  const update = (values, save = true) => {
    busy = true;
    change(model, values, false);
    busy = false;
    move();
    if (save) model.save_changes();
  };
  for (const key of keys) model.on(`change:${key}`, () => busy || update({})); // the kernel's, which then hears of z
  return update;
}

// Calls `task` at once, or after the call in progress, however often it was asked for meanwhile.
function latest(task) {
  let running = null, again = false;
  const work = async () => {
    for (; again; await task()) again = false;
  };
  return () => {
    again = true;
    return (running ??= work().finally(() => (running = null)));
  };
}

const scrolledTo = (element) => new Promise((resolve) => new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  resolve();
}, { rootMargin: "100% 0px" }).observe(element)); // one screen ahead
const norm = (z) => Math.hypot(...z);
const mix = (a, b, t) => a.map((value, i) => (1 - t) * value + t * b[i]);

// The point at `t` of the way between two latents, as `walking.line` and `walking.arc` have it.
export function between(a, b, t, path) {
  if (t === 0 || t === 1 || path !== "arc") return t === 0 ? a : t === 1 ? b : mix(a, b, t);
  const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0) / (norm(a) * norm(b));
  const angle = Math.acos(Math.min(1, cosine));
  if (!(Math.sin(angle) > 1e-6)) return mix(a, b, t); // parallel: the line
  const length = (1 - t) * norm(a) + t * norm(b);
  const [p, q] = [Math.sin((1 - t) * angle) / norm(a), Math.sin(t * angle) / norm(b)];
  return a.map((value, i) => ((p * value + q * b[i]) * length) / Math.sin(angle));
}

// The latent of a seed, a whole number; the generator of random numbers is mulberry32.
function latentOf(seed, size, prior) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Array.from({ length: size }, () => (prior === "normal" ? normal() : 2 * random() - 1));
}
const newSeed = () => 1 + Math.floor(99999 * Math.random());

// A button that saves what canvases show as one picture, so many columns of them; small ones are enlarged.
function saver(name, columns, canvases) {
  return button("Save image", () => {
    const [across, down] = [canvases[0].width, canvases[0].height].map((side) => side * (canvases[0].width > 128 ? 1 : 4));
    const rows = Math.ceil(canvases.length / columns);
    const sheet = el("canvas", { width: columns * across, height: rows * down }), context = sheet.getContext("2d");
    context.imageSmoothingEnabled = false;
    canvases.forEach((canvas, i) =>
      context.drawImage(canvas, (i % columns) * across, Math.floor(i / columns) * down, across, down));
    el("a", { href: sheet.toDataURL(), download: `${name}.png` }).click();
  });
}

// A drawing of curves in a square of 1 by 1: `plot` takes points [x, y] for each name, `mark` sets the cursor to an x.
function curves(label, names, from, to) {
  const drawing = el("div", { role: "img", "aria-label": label });
  const lines = names.map((_, i) => `<polyline class="${"dg"[i]}"/>`).join("");
  drawing.innerHTML = `<svg viewBox="0 0 100 100" preserveAspectRatio="none"><path class="axis" d="M0 0H100M0 50H100M0 100H100"/>
    ${lines}<path class="now" d=""/></svg>`;
  const [lineOf, now] = [drawing.querySelectorAll("polyline"), drawing.querySelector(".now")];
  const plot = (series) => series.forEach((points, i) =>
    lineOf[i].setAttribute("points", points.map(([x, y]) => `${100 * x},${100 - 100 * y}`).join(" ")));
  const key = names.map((name, i) => el("span", { className: i ? "key g" : "key" }, name));
  const element = el("div", { className: "curves" }, row(...key),
    el("div", { className: "plot" }, el("div", { className: "scale" }, el("span", {}, "100 %"), el("span", {}, "50"),
      el("span", {}, "0")), drawing), el("div", { className: "scale across" }, el("span", {}, from), el("span", {}, to)));
  return { element, plot, mark: (x) => now.setAttribute("d", `M${100 * x} 0V100`) };
}

// Keeps canvases in step with latents of the model: draws `read()`'s latents whenever the returned function is called.
async function painting(model, root, read, canvases) {
  await painter(model);
  return latest(async () => {
    const draw = await painter(model); // asked for each time, as its worker may have stopped
    const { images, ms } = await draw(read(), model.get("units"));
    images.forEach((image, i) => put(canvases[i], image));
    Object.assign(root.dataset, { ms: ms.toFixed(1), drawn: Number(root.dataset.drawn ?? 0) + 1 });
  });
}

// A button that lets `go` run from 0 to 1 in some seconds, again and again; with reduced motion, in ten still steps.
function play(root, seconds, go, where, stopped) {
  let playing = false, onScreen = true;
  new IntersectionObserver((entries) => (onScreen = entries[entries.length - 1].isIntersecting)).observe(root);
  const toggle = () => {
    playing = !playing;
    control.textContent = playing ? "Pause" : "Play";
    if (!playing) return stopped();
    const from = where() < 1 ? where() : 0, began = performance.now();
    const frame = (now) => {
      if (!playing || !root.isConnected) return;
      const passed = from + Math.max(0, now - began) / 1000 / seconds;
      const t = passed - Math.floor(passed);
      if (onScreen) go(matchMedia("(prefers-reduced-motion: reduce)").matches ? Math.floor(10 * t) / 10 : t);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  };
  const control = button("Play", toggle);
  control.stop = () => playing && toggle();
  return control;
}

// The figures: each builds its parts in `root` from the state in `model`, and returns when it shows its first picture.
// They stand in `views/`, a file for each chapter, which Python puts here.
const views = {};
/* views */

// ------------------------------------------------------------------------------------------------- the two hosts

// A figure's state in the page's address, as in `#walk=t:0.4;path:arc`, so that a link in the text or a colleague's mail
// sets it. `ways` is what a view returns: how to read its state as a flat object, and how to set it from one, of strings.
function addressed(root, name, [read, write]) {
  const own = `#${name}=`;
  const obey = () => {
    const hash = decodeURIComponent(location.hash);
    if (!hash.startsWith(own)) return;
    write(Object.fromEntries(hash.slice(own.length).split(";").map((pair) => pair.split(":"))));
  };
  const tell = () => {
    const state = Object.entries(read()).map((pair) => pair.join(":")).join(";");
    history.replaceState(null, "", own + state);
  };
  root.addEventListener("change", tell); // a slider that was let go
  root.addEventListener("click", (event) => event.target.closest("button") && tell());
  addEventListener("hashchange", obey);
  obey();
}

// Builds a figure in `root`, under its static picture, and puts it in the picture's place once it is alive.
async function mount(root, model, image) {
  const status = el("div", { role: "status" }), body = el("div");
  Object.assign(root, { role: "group", ariaLabel: model.get("label") }).append(body, status);
  await scrolledTo(root);
  if (model.asks?.()) {
    const load = (resolve) => button(`Load it, ${model.get("megabytes")} MB`, resolve);
    await new Promise((resolve) => status.append("This is a picture. Its network is another than that above. ", load(resolve)));
    status.replaceChildren();
  }
  try {
    if (model.get("weights")) status.append(`loading the generator, ${model.get("megabytes")} MB `, el("progress"));
    const ways = await views[model.get("view")](model, body, image);
    image.hidden = true;
    status.replaceChildren();
    root.dataset.state = "alive";
    if (ways && model.name) addressed(root, model.name, ways);
  } catch (error) {
    body.replaceChildren();
    image.hidden = false;
    status.textContent = `This figure cannot run here (${error.message}). The picture shows what it starts with.`;
    root.dataset.state = "still";
  }
}

// A figure's state on a page, with the methods of an anywidget model that the figures use.
function pageModel(state, home) {
  const listeners = {};
  return {
    get: (key) => state[key],
    set(key, value) {
      if (state[key] === value) return;
      state[key] = value;
      for (const listener of listeners[`change:${key}`] ?? []) listener();
    },
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    save_changes() {},
    weights: (name) => new Promise((resolve, reject) => {
      const missing = new Error("its weights are missing");
      const end = () => (shared.weights[name] ? resolve(shared.weights[name]) : reject(missing));
      const src = new URL(`live-${name}.js`, home).href;
      document.head.append(el("script", { src, onload: end, onerror: end }));
    }),
  };
}

// Brings all figures of a page to life; `home` is the address of this script, next to which the weights are.
export function animate(home) {
  const counts = {}, figures = {};
  let usual = ""; // the weights that come by themselves: a page's second network is loaded when it is asked for
  for (const root of document.querySelectorAll(".dcgan-live[data-figure]")) {
    root.model = pageModel(JSON.parse(root.dataset.figure), home); // for the curious, and for tests
    const view = root.model.get("view"), count = (counts[view] = (counts[view] ?? 0) + 1);
    root.model.name = count > 1 ? view + count : view; // in the address
    figures[root.model.name] = root;
    const weights = root.model.get("weights");
    usual ||= weights;
    root.model.asks = () => weights && weights !== usual && !shared.painters[weights];
    mount(root, root.model, root.querySelector("img"));
  }
  const seek = () => figures[location.hash.slice(1).split("=")[0]]?.scrollIntoView({ block: "center" });
  addEventListener("hashchange", seek);
  seek();
}

// The anywidget: the kernel has the state, and gives the weights when asked.
function render({ model, el: root }) {
  const weights = (name) => new Promise((resolve) => {
    model.on("msg:custom", ({ header, of }, [data]) => {
      if (of === name) resolve({ header, data });
    });
    model.send(name);
  });
  root.classList.add("dcgan-live");
  const image = el("img", { src: model.get("picture"), alt: model.get("label") });
  root.append(image);
  mount(root, { ...model, weights }, image);
}

export default { render };
