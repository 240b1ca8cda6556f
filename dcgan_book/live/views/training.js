// Chapter 1: the same latents over the steps of a training run, beside its losses.
views.film = async (model, root, image) => {
  const { steps, log } = model.get("data");
  await image.decode();
  const side = image.naturalHeight / steps.length, tiles = image.naturalWidth / side;
  const across = Math.ceil(tiles / Math.ceil(tiles / 4)); // at most four side by side
  const canvas = el("canvas", { width: across * side, height: Math.ceil(tiles / across) * side, role: "img" });
  const chart = lossChart(log), words = readOut();
  const show = () => {
    const at = model.get("at"), step = steps[at], context = canvas.getContext("2d");
    for (let i = 0; i < tiles; i++) {
      const [x, y] = [(i % across) * side, Math.floor(i / across) * side];
      context.drawImage(image, i * side, at * side, side, side, x, y, side, side);
    }
    const { d_loss, g_loss } = chart.mark(step);
    words.value = `step ${step.toLocaleString("en")}: loss of D ${d_loss.toFixed(2)}, of G ${g_loss.toFixed(2)}`;
    canvas.setAttribute("aria-label", `${tiles} samples at step ${step}, from the same latents at every step`);
    control.update(at);
    root.dataset.drawn = at;
  };
  const last = steps.length - 1;
  const control = slider("step", { min: 0, max: last, step: 1, value: model.get("at") }, (at) => {
    player.stop();
    change(model, { at });
  }, (at) => `step ${steps[at]}`);
  const player = play(root, 8, (t) => model.set("at", Math.round(t * last)), () => model.get("at") / last,
    () => model.save_changes());
  model.on("change:at", show);
  root.append(
    el("div", { className: "parts" }, part(canvas), part(chart.element)), row(player, control.element, saver("training", 1, [canvas])), words);
  show();
  return [() => ({ at: model.get("at") }), ({ at }) => model.set("at", Number(at))];
};

// Both losses over the steps as a drawing; `mark` sets its cursor to a step and returns the record nearest to it.
function lossChart(log) {
  const last = log[log.length - 1].step;
  const sorted = log.flatMap((record) => [record.d_loss, record.g_loss]).sort((a, b) => a - b);
  const top = sorted[Math.floor(0.99 * (sorted.length - 1))] * 1.1; // single spikes are cut off
  const across = (step) => (100 * step) / last;
  const points = (key) => log.map((record) => `${across(record.step)},${100 - 100 * Math.min(1, record[key] / top)}`);
  const drawing = el("div", { role: "img", "aria-label": "losses over the steps" });
  drawing.innerHTML = `<svg viewBox="0 0 100 100" preserveAspectRatio="none"><path class="now" d=""/>
    <polyline class="d" points="${points("d_loss")}"/><polyline class="g" points="${points("g_loss")}"/></svg>`;
  const mark = (step) => {
    drawing.querySelector(".now").setAttribute("d", `M${across(step)} 0V100`);
    return log.reduce((best, record) => (Math.abs(record.step - step) < Math.abs(best.step - step) ? record : best));
  };
  const key = row(el("span", { className: "key" }, "loss of D"), el("span", { className: "key g" }, "loss of G"),
    el("span", {}, `0 to ${top.toFixed(1)}, steps 0 to ${last.toLocaleString("en")}`));
  return { element: el("div", {}, drawing, key), mark };
}
