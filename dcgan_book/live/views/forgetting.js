// Chapter 4: rooms before and after units are switched off, by rank or one by one, and windows painted where one likes.
views.forgetting = async (model, root) => {
  const { prior, rankings, twin, insertion } = model.get("data"), rooms = model.get("z"), size = rooms[0].length;
  const SINGLES = 16, DOSES = 16; // of single units, and of points of a curve
  const count = model.get("z").length, numbers = [...Array(count).keys()];
  const before = numbers.map((i) => picture(`room ${i + 1}, all units on`));
  const after = numbers.map((i) => picture(`room ${i + 1}, units off`));
  const room = picture("room 1, units off, with the windows painted on it");
  const random = numbers.map((i) => picture(`room ${i + 1}, as many random units off`));
  const words = readOut(), painted = readOut(), judged = el("p", {});

  // The state: units of one stage that are off, and those that are on in the cells of `region`, 0 or 1 each.
  const offs = () => model.get("units").find((edit) => !edit.region) ?? { stage: "", units: [] };
  const region = () => [...(model.get("units").find((edit) => edit.region)?.region ?? Array(insertion.side ** 2).fill(0))];
  const set = (stage, units, cells) => {
    const { units: on, value, stage: at } = insertion;
    change(model, { units: [...(units.length ? [{ stage, units, value: 0 }] : []),
      ...(cells.includes(1) ? [{ stage: at, units: on, value, region: cells }] : [])] });
  };
  const ranking = () => rankings[which.value];
  const drop = (units) => set(ranking().stage, units, region());

  const choose = () => {
    const { stage, units } = ranking(), was = offs().units.length;
    off.element.querySelector("input").max = units.length;
    singles.replaceChildren(...toggles(units));
    set(stage, units.slice(0, was), region());
    show();
    light();
    if (measured) curve();
  };
  const which = el("select", { "aria-label": "ranking of the units", onchange: choose },
    ...rankings.map(({ name, stage }, value) => el("option", { value }, `${name}, ${stage}`)));
  const off = slider("units off", { min: 0, max: rankings[0].units.length, step: 1, value: 0 },
    (k) => drop(ranking().units.slice(0, k)), (k) => `${k} of ${ranking().units.length} units off`);
  const toggle = (unit) => {
    const { stage, units } = offs(), now = stage === ranking().stage ? units : [];
    drop(now.includes(unit) ? now.filter((other) => other !== unit) : [...now, unit]);
  };
  const toggles = (units) => units.slice(0, SINGLES).map((unit) => {
    const single = button("", () => toggle(unit));
    single.append(el("canvas", { width: 64, height: 64, ariaHidden: "true" }), el("span", {}, unit));
    return single;
  });
  const singles = el("div", { className: "maps" }, ...toggles(rankings[0].units));

  // A single unit is shown as room 1, lit where the unit fires.
  const light = latest(async () => {
    const draw = await painter(model), z = model.get("z").slice(0, 1), { stage, units } = ranking(), buttons = singles.children;
    const { images: [{ data, width }] } = await draw(z, []), maps = await draw.maps(z, stage, units.slice(0, SINGLES));
    maps.forEach((map, i) => {
      const side = Math.sqrt(map.length), most = Math.max(...map) || 1, cell = (at) => Math.floor((at * side) / width);
      const lit = new ImageData(Uint8ClampedArray.from(data, (value, k) => {
        const y = Math.floor(k / 4 / width), x = (k >> 2) % width;
        return k % 4 === 3 ? 255 : value * (0.25 + (0.75 * map[cell(y) * side + cell(x)]) / most);
      }), width);
      put(buttons[i].firstElementChild, lit);
    });
    root.dataset.lit = Number(root.dataset.lit ?? 0) + 1;
  });

  // Painting: with a pointer, or with arrow keys and the space bar.
  const cells = el("canvas", { width: insertion.side, height: insertion.side, role: "img", "aria-label": "painted cells" });
  let at = 0, brush = null;
  const paint = (cell, value) => {
    const now = region();
    if (now[cell] === value) return;
    now[cell] = value;
    set(offs().stage || ranking().stage, offs().units, now);
  };
  const under = (event) => {
    const { left, top, width, height } = cells.getBoundingClientRect();
    const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height].map((share) =>
      Math.min(insertion.side - 1, Math.max(0, Math.floor(share * insertion.side))));
    return y * insertion.side + x;
  };
  const keys = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -insertion.side, ArrowDown: insertion.side };
  const board = el("div", { className: "board", tabIndex: 0, role: "application",
    "aria-label": "paint a window: drag over the room, or move with the arrow keys and press the space bar",
    onpointerdown: (event) => {
      event.preventDefault();
      board.focus({ preventScroll: true });
      board.setPointerCapture(event.pointerId);
      at = under(event);
      brush = 1 - region()[at];
      paint(at, brush);
    },
    onpointermove: (event) => brush !== null && paint((at = under(event)), brush),
    onpointerup: () => (brush = null),
    onpointercancel: () => (brush = null),
    onkeydown: (event) => {
      const step = keys[event.key], next = at + step;
      if (step === undefined && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation(); // a notebook has uses of its own for keys
      if (step === undefined) paint(at, 1 - region()[at]);
      else if (next >= 0 && next < region().length && (Math.abs(step) > 1 || Math.floor(next / insertion.side) ===
        Math.floor(at / insertion.side))) at = next;
      show();
    } }, room, cells);

  const show = () => {
    const { stage, units } = offs(), now = region(), total = now.filter(Boolean).length;
    off.update(units.length);
    chart.mark(units.length / ranking().units.length);
    words.value = units.length ? `${units.length} of ${ranking().units.length} units off at ${stage}` : "all units on";
    painted.value = `window units on in ${total} of ${now.length} cells; at row ${Math.floor(at / insertion.side) + 1}, ` +
      `column ${(at % insertion.side) + 1}`;
    for (const each of singles.children) each.setAttribute("aria-pressed", units.includes(Number(each.textContent)));
    const context = cells.getContext("2d");
    context.clearRect(0, 0, insertion.side, insertion.side);
    now.forEach((on, cell) => {
      context.fillStyle = cell === at ? "#d55e00" : on ? "#56b4e9" : "transparent";
      context.fillRect(cell % insertion.side, Math.floor(cell / insertion.side), 1, 1);
    });
  };
  const putAll = (canvases, { images }) => images.forEach((image, i) => put(canvases[i], image));
  const redraw = latest(async () => {
    const draw = await painter(model), z = model.get("z"), edits = model.get("units");
    putAll(before, await draw(z, []));
    putAll(after, await draw(z, edits.filter((edit) => !edit.region)));
    putAll([room], await draw(z.slice(0, 1), edits));
    root.dataset.drawn = Number(root.dataset.drawn ?? 0) + 1;
  });

  // The instrument reads the rooms that are shown: how many windows are left without these units, and without as many
  // random ones. A room counts if it has a window while all units are on.
  const measured = Boolean(model.get("instrument"));
  const without = (stage, units) => (units.length ? [{ stage, units, value: 0 }] : []);
  const windows = async (draw, z, edits) => (await draw(z, edits, true)).seen.map(({ window }) => window > 0.5);
  const judge = latest(async () => {
    const draw = await reader(model), z = model.get("z"), { stage, units } = offs();
    const had = await windows(draw, z, []), kept = await windows(draw, z, without(stage, units));
    const other = await draw(z, without(stage, (twin[stage] ?? []).slice(0, units.length)), true);
    putAll(random, other);
    const left = (has) => has.filter((yes, i) => yes && had[i]).length;
    judged.textContent = `windows left: ${left(kept)} of ${left(had)} · without as many random units: ` +
      `${left(other.seen.map(({ window }) => window > 0.5))} of ${left(had)}`;
    root.dataset.judged = Number(root.dataset.judged ?? 0) + 1;
  });
  const chart = curves("windows left in these rooms against units off, by this ranking and at random",
    ["windows left, units off by this ranking", "as many random units off"], "no unit off", "all off");
  const curve = latest(async () => {
    const draw = await reader(model), z = model.get("z"), { stage, units } = ranking();
    const had = await windows(draw, z, []), lines = [[], []], now = () => model.get("z") === z && ranking().units === units;
    const total = had.filter(Boolean).length;
    for (let step = 0; total && step <= DOSES && now(); step++) { // in turns with what the reader moves
      for (const [i, order] of [units, twin[stage]].entries()) {
        const left = await windows(draw, z, without(stage, order.slice(0, Math.round((step * units.length) / DOSES))));
        lines[i].push([step / DOSES, left.filter((yes, k) => yes && had[k]).length / total]);
      }
      chart.plot(lines);
    }
    root.dataset.curve = lines[0].length;
  });
  let seed = 0;
  const enter = (number) => {
    seed = number;
    change(model, { z: seed ? numbers.map((i) => latentOf(seed + 1000003 * i, size, prior)) : rooms });
  };
  const fresh = button("New rooms", () => enter(newSeed()));
  const whole = button("All units on", () => drop([]));
  const clean = button("No windows painted", () => set(ranking().stage, offs().units, region().fill(0)));
  const first = rankings.findIndex(({ stage, units }) => // the ranking of which the units that are off come first
    stage === offs().stage && offs().units.every((unit) => units.slice(0, offs().units.length).includes(unit)));
  which.value = Math.max(first, 0);
  off.element.querySelector("input").max = ranking().units.length;
  singles.replaceChildren(...toggles(ranking().units));
  model.on("change:units", () => (show(), redraw(), measured && judge()));
  model.on("change:z", () => (redraw(), light(), measured && (judge(), curve())));
  show();
  await redraw();
  light();
  if (measured) judge(), curve();
  const tiles = (canvases) => el("div", { className: "rooms" }, ...canvases);
  root.append(row(which, off.element), words, "all units on", tiles(before), "units off", tiles(after),
    ...(measured ? ["as many random units off", tiles(random), judged, chart.element] : []),
    row(fresh, whole, saver("rooms", count, [...before, ...after, ...(measured ? random : [])])),
    "the first units of the ranking, each as room 1 lit where the unit fires; a click switches it off", singles,
    el("div", { className: "parts" }, part(board), part("Drag over room 1 to switch window units on there.", painted,
      row(clean))));
  const isFirst = (units) => units.every((unit) => ranking().units.slice(0, units.length).includes(unit));
  return [
    () => {
      const { units } = offs(), cells = region().flatMap((on, cell) => (on ? [cell] : []));
      return { by: which.value, off: isFirst(units) ? units.length : `=${units.join(",")}`, rooms: seed, paint: cells.join(",") };
    },
    ({ by = which.value, off: wanted = "0", rooms: number = seed, paint: cells = "" }) => {
      which.value = by;
      choose();
      if (Number(number) !== seed) enter(Number(number));
      const list = (text) => text.split(",").filter(Boolean).map(Number), on = list(cells);
      set(ranking().stage, wanted[0] === "=" ? list(wanted.slice(1)) : ranking().units.slice(0, Number(wanted)),
        region().map((_, cell) => Number(on.includes(cell))));
    },
  ];
};
