// The instruments of `dcgan_book/measure`: what is in an image, read by the network of `network.py`.
//
// Images lie in memory as in engine.js, and its kernel computes the convolutions. `allocate(bytes)` gives
// { floats, kernel }: that many bytes as floats, all 0, and a kernel that works on them.
// The function refers to nothing outside itself, because a worker is made from its text.
export function instrument(allocate) {
  const LANES = 8, PIXELS = 4, NUMBER = 4; // as in engine.js
  const PIXELS_LAYER = 10, GRID_LAYER = 11, PLACES_LAYER = 12; // the last convolutions, which have no rectifier
  const SKIPS = [5, 3, 1]; // the last convolutions of the encoder at 8x8, 16x16, 32x32
  const CHAINED = { 1: 0, 3: 2, 5: 4, 10: 9, 11: 6, 12: 3 }; // a layer whose input is just what another has put out
  let header, floats, kernel, layers, dense;

  // Takes the header and the unpacked bytes of `pack_instrument`.
  function load(head, bytes) {
    header = head;
    let end = 0;
    const reserve = (count) => (end += count * NUMBER) - count * NUMBER;
    const image = (side, depth) => ({ side, depth, address: reserve((side + 2) ** 2 * depth) });
    layers = [];
    for (const [i, layer] of header.layers.entries()) {
      const { side, inputs, outputs, size } = layer, count = size * size * inputs * outputs;
      const input = i in CHAINED ? layers[CHAINED[i]].output : image(side, inputs);
      layers.push({ ...layer, count, input, output: image(side, outputs), weights: reserve(count), bias: reserve(outputs) });
    }
    ({ floats, kernel } = allocate(end));
    const vectors = new Float32Array(bytes, 0, header.floats);
    let vector = 0, offset = vectors.byteLength;
    const take = (count) => vectors.subarray(vector, (vector += count));
    const integers = (count) => new Int16Array(bytes, (offset += 2 * count) - 2 * count, count);
    for (const { inputs, outputs, size, count, weights, bias } of layers) {
      const scale = take(outputs), block = size * size * inputs * LANES, to = weights / NUMBER;
      floats.set(take(outputs), bias / NUMBER);
      integers(count).forEach((value, i) =>
        (floats[to + i] = value * scale[Math.floor(i / block) * LANES + (i % LANES)]));
    }
    dense = header.dense.map(({ inputs, outputs }) => {
      const scale = take(outputs), bias = take(outputs), rounded = integers(inputs * outputs);
      return { inputs, bias, weights: Float32Array.from(rounded, (value, i) => value * scale[Math.floor(i / inputs)]) };
    });
  }

  // Where the numbers of a pixel begin.
  const cell = ({ address, side, depth }, y, x) => address / NUMBER + ((y + 1) * (side + 2) + x + 1) * depth;

  function eachCell({ side }, visit) {
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) visit(y, x);
  }

  function convolve(i) {
    const { input, output, size, weights, bias } = layers[i], { side, depth } = input;
    const reach = (size - 1) / 2, pixel = depth * NUMBER, run = size * pixel, skip = (side + 2) * pixel - run;
    const floor = i < PIXELS_LAYER ? 0 : -Infinity;
    let w = weights;
    for (let channel = 0; channel < output.depth; channel += LANES, w += size * run * LANES) {
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x += PIXELS) {
          kernel(w, bias + channel * NUMBER, cell(input, y - reach, x - reach) * NUMBER, pixel, size, skip, run,
            (cell(output, y, x) + channel) * NUMBER, output.depth * NUMBER, floor);
        }
      }
    }
    return output;
  }

  function pool(from, to) {
    eachCell(to, (y, x) => {
      const corners = [0, 1, 2, 3].map((k) => cell(from, 2 * y + (k >> 1), 2 * x + (k & 1))), start = cell(to, y, x);
      for (let c = 0; c < to.depth; c++) {
        floats[start + c] = Math.max(floats[corners[0] + c], floats[corners[1] + c], floats[corners[2] + c],
          floats[corners[3] + c]);
      }
    });
  }

  // A coarse map, each pixel four times, and after its channels those of a finer one.
  function join(coarse, fine, to) {
    eachCell(to, (y, x) => {
      const start = cell(to, y, x), from = cell(coarse, y >> 1, x >> 1), beside = cell(fine, y, x);
      floats.copyWithin(start, from, from + coarse.depth);
      floats.copyWithin(start + coarse.depth, beside, beside + fine.depth);
    });
  }

  function means(map) {
    const sums = new Float32Array(map.depth);
    eachCell(map, (y, x) => {
      const start = cell(map, y, x);
      for (let c = 0; c < map.depth; c++) sums[c] += floats[start + c];
    });
    return sums.map((sum) => sum / map.side ** 2);
  }

  function multiply({ inputs, bias, weights }, numbers) {
    return bias.map((start, row) => {
      let sum = start;
      for (let i = 0; i < inputs; i++) sum += weights[row * inputs + i] * numbers[i];
      return sum;
    });
  }

  // Which label each pixel has, as indices: Uint8Array(64 * 64).
  function segment() {
    const logits = convolve(PIXELS_LAYER), side = 2 * logits.side, labels = new Uint8Array(side ** 2);
    eachCell({ side }, (y, x) => {
      const start = cell(logits, y >> 1, x >> 1) + 2 * (y & 1) + (x & 1);
      let best = 0;
      for (let label = 1; label < header.labels; label++) {
        if (floats[start + 4 * label] > floats[start + 4 * best]) best = label;
      }
      labels[y * side + x] = best;
    });
    return labels;
  }

  // What the attention maps pick at 16x16, one after the other.
  function attend() {
    const places = convolve(PLACES_LAYER), { output: map } = layers[CHAINED[PLACES_LAYER]];
    const picked = new Float32Array(header.attention * map.depth);
    for (let k = 0; k < header.attention; k++) {
      let largest = -Infinity, total = 0;
      eachCell(places, (y, x) => (largest = Math.max(largest, floats[cell(places, y, x) + k])));
      const share = (y, x) => Math.exp(floats[cell(places, y, x) + k] - largest);
      eachCell(places, (y, x) => (total += share(y, x)));
      eachCell(places, (y, x) => {
        const weight = share(y, x) / total, start = cell(map, y, x);
        for (let c = 0; c < map.depth; c++) picked[k * map.depth + c] += weight * floats[start + c];
      });
    }
    return picked;
  }

  // The outputs of the network for the image as a whole.
  function describe() {
    const grid = convolve(GRID_LAYER), numbers = new Float32Array(header.dense[0].inputs), cells = grid.side ** 2;
    eachCell(grid, (y, x) => {
      for (let c = 0; c < grid.depth; c++) numbers[c * cells + y * grid.side + x] = floats[cell(grid, y, x) + c];
    });
    let at = grid.depth * cells;
    for (const i of [...SKIPS].reverse()) {
      numbers.set(means(layers[i].output), at);
      at += layers[i].output.depth;
    }
    if (header.attention) numbers.set(attend(), at);
    const features = multiply(dense[0], numbers).map((value) => Math.max(value, 0));
    return multiply(dense[1], features);
  }

  function factorsOf(outputs) {
    return Object.fromEntries(header.factors.map(({ name, at, range, options }) => {
      if (options) {
        const scores = options.map((_, i) => outputs[at + i]);
        return [name, options[scores.indexOf(Math.max(...scores))]];
      }
      const [low, high] = range;
      return [name, Math.min(high, Math.max(low, low + ((high - low) * (outputs[at] + 1)) / 2))];
    }));
  }

  // One image as engine.js draws it, (64, 64, 3) in [-1, 1], to { labels, probability, factors }: indices of labels,
  // name to how likely the thing is there, and name to scalar or choice, as `Reading` has them.
  function read(pixels) {
    const first = layers[0].input, wide = 2 * first.side;
    eachCell(first, (y, x) => {
      const start = cell(first, y, x);
      for (let c = 0; c < 12; c++) { // color, then row and column of the four pixels
        floats[start + c] = pixels[((2 * y + ((c >> 1) & 1)) * wide + 2 * x + (c & 1)) * 3 + (c >> 2)];
      }
    });
    for (let i = 0; i < 7; i++) {
      if (i > 0 && i % 2 === 0) pool(layers[i - 1].output, layers[i].input);
      convolve(i);
    }
    SKIPS.forEach((skip, i) => {
      join(layers[6 + i].output, layers[skip].output, layers[7 + i].input);
      convolve(7 + i);
    });
    const labels = segment(), outputs = describe(), counts = new Float32Array(header.labels);
    for (const label of labels) counts[label]++;
    const probability = {};
    header.things.forEach((name, i) => {
      const count = counts[header.surfaces + i], head = 1 / (1 + Math.exp(-outputs[i]));
      const shown = count === undefined ? head : count / (count + header.visible - 0.5); // of the image as a whole
      const values = { head, segmenter: shown, both: Math.min(head, shown) };
      probability[name] = values[header.presence];
    });
    return { labels, probability, factors: factorsOf(outputs) };
  }

  return { load, read };
}
