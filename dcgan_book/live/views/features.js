// Chapter 3: a room and a unit of the discriminator; what the unit sees there, beside the truth and random weights.
// Everything was computed when the page was made; it lies in one picture, a row of tiles for each kind of answer.
views.units = async (model, root) => {
  const { units, objects, fields, lifts } = model.get("data"), side = 64;
  const load = async (src) => {
    const sheet = Object.assign(new Image(), { src });
    await sheet.decode();
    return sheet;
  };
  const [sheet, truth] = await Promise.all(["sheet", "labels"].map((name) => load(model.get("data")[name])));
  const count = sheet.naturalWidth / side;
  const words = readOut(), names = ["room", "mask", "guided", "Grad-CAM", "guided, random weights"];
  const canvases = names.map(picture);
  const tile = (canvas, column, line, from = sheet) => {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(from, column * side, line * side, side, side, 0, 0, side, side);
    return context;
  };
  const pixelsOf = (column, line, from) => tile(picture(""), column, line, from).getImageData(0, 0, side, side);
  const labels = [...Array(count).keys()].map((i) => pixelsOf(i, 0, truth).data);

  const option = (text, value) => el("option", { value }, text);
  const group = (label) => el("optgroup", { label }, ...units.flatMap((unit, i) =>
    (unit.group === label ? [option(`unit ${unit.unit}`, i)] : [])));
  const which = el("select", { "aria-label": "unit", onchange: () => choose(Number(which.value)) },
    ...[...new Set(units.map((unit) => unit.group))].map(group));
  const object = el("select", { "aria-label": "object of the mask", onchange: () => show() },
    ...objects.map((name) => option(name, name)));
  const choose = (unit) => change(model, { unit });
  const next = button("Next unit", () => choose((model.get("unit") + 1) % units.length));
  const random = button("Random", () => change(model, {
    unit: Math.floor(Math.random() * units.length), at: Math.floor(Math.random() * count) }));
  const stones = labels.map((_, at) => {
    const stone = button("", () => change(model, { at })), small = picture(`room ${at + 1}`);
    tile(small, at, 0);
    stone.append(small);
    stone.setAttribute("aria-label", `room ${at + 1}`);
    return stone;
  });

  const show = () => {
    const at = model.get("at"), now = model.get("unit"), unit = units[now], name = object.value;
    const [room, mask, ...answers] = canvases;
    const [top, left, size] = fields[at][now], context = tile(room, at, 0);
    context.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1);
    const dimmed = pixelsOf(at, 0), index = model.get("data").index[name];
    for (let i = 0; i < side * side; i++) {
      if (labels[at][4 * i] !== index) for (let c = 0; c < 3; c++) dimmed.data[4 * i + c] *= 0.25;
    }
    mask.getContext("2d").putImageData(dimmed, 0, 0);
    answers.forEach((canvas, i) => tile(canvas, at, 1 + 3 * now + i));
    const [trained, untrained, edges] = lifts.map((kind) => kind[at][now][objects.indexOf(name)]);
    const say = (lift) => lift ?? "none (it sees no such thing)";
    words.value = `Room ${at + 1}, unit ${unit.unit} (${unit.group}). Lift on the ${name}: `
      + `${say(trained)} for the unit, ${say(untrained)} for random weights, ${say(edges)} for edges.`;
    names.forEach((text, i) => canvases[i].setAttribute("aria-label", i === 1 ? `true mask of the ${name}` : text));
    which.value = now;
    stones.forEach((stone, i) => stone.setAttribute("aria-current", i === at));
    root.dataset.drawn = Number(root.dataset.drawn ?? 0) + 1;
  };
  const follow = () => {
    object.value = units[model.get("unit")].object ?? object.value;
    show();
  };
  model.on("change:unit", follow);
  model.on("change:at", show);
  follow();
  root.append(
    el("div", { className: "wall stones" }, ...stones), row(which, next, random, el("label", {}, el("span", {}, "mask of"), object)),
    el("div", { className: "tiles sights" }, ...canvases.map((canvas, i) => el("div", {}, canvas, names[i]))), words,
    row(saver("unit", canvases.length, canvases)));
  return [() => ({ room: model.get("at"), unit: model.get("unit") }),
    ({ room = model.get("at"), unit = model.get("unit") }) => change(model, { at: Number(room), unit: Number(unit) })];
};
