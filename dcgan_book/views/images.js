// Chapters 4 and 5: several images at once, and a slider that switches off a stage's units in the order given.
views.images = async (model, root) => {
  const { ranked, labels } = model.get("data");
  const tiles = model.get("z").map((_, i) => picture(labels[i] ?? `image ${i + 1}`));
  const redraw = await painting(model, root, () => model.get("z"), tiles), words = readOut(), controls = [];
  if (ranked.units?.length) {
    const { stage, units } = ranked;
    const name = (count) => `${count} of ${units.length} units off at ${stage}`;
    const off = slider("units off", { min: 0, max: units.length, step: 1, value: 0 }, (count) =>
      change(model, { units: count ? [{ stage, units: units.slice(0, count), value: 0 }] : [] }), name);
    const follow = () => {
      const now = model.get("units").find((change) => change.stage === stage)?.units.length ?? 0;
      off.update(now);
      words.value = name(now);
    };
    model.on("change:units", follow);
    follow();
    controls.push(row(off.element), words);
  }
  model.on("change:z", redraw);
  model.on("change:units", redraw);
  await redraw();
  root.append(el("div", { className: "tiles" }, ...tiles), ...controls);
};
