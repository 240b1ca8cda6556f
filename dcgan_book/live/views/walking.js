// Chapter 2: two rooms and the way between them, nudges, and a wall of points to walk through.
views.walk = async (model, root) => {
  const { prior, directions, wall } = model.get("data"), size = model.get("ends")[0].length, POINTS = 21;
  const big = picture("the room at this point of the walk"), small = [picture("room A"), picture("room B")];
  const tiles = wall.map((_, i) => picture(`room ${i + 1} of the wall`)), words = readOut();
  const [redraw, redrawEnds, drawWall] = await Promise.all([
    painting(model, root, () => model.get("z"), [big]),
    painting(model, { dataset: {} }, () => model.get("ends"), small),
    painting(model, { dataset: {} }, () => wall, tiles),
  ]);

  // The controls' state gives z, in one go; whatever z is, also one that the kernel has set, is shown.
  let leg = -1; // the leg of the walk through the wall, if it is on it
  const pointAt = (t) => {
    const [nudges, count] = [model.get("nudges"), directions.length];
    const along = (i) => directions.reduce((sum, direction, k) => sum + nudges[k] * direction[i], nudges[count + i]);
    return between(...model.get("ends"), t, model.get("path")).map((value, i) => value + along(i));
  };
  const move = () => model.set("z", [pointAt(model.get("t"))]);
  const update = driven(model, ["ends", "t", "path", "nudges"], move);
  const byHand = (values) => {
    player?.stop();
    if (values.ends) leg = -1;
    update(values);
  };

  const way = slider("A to B", { min: 0, max: 1, step: 0.01, value: model.get("t") }, (t) => byHand({ t }),
    (t) => `${Math.round(100 * t)} % of the way from A to B`);
  const choice = (label, onchange, ...options) => el("select", { "aria-label": label, onchange }, ...options);
  const path = choice("path between the rooms", () => update({ path: path.value }),
    el("option", { value: "line" }, "on a line"), el("option", { value: "arc" }, "on an arc"));
  // What each end is called in the address: "" the one at the start, "w3" the fourth of the wall, or a seed.
  const first = model.get("ends"), called = ["", ""];
  const latentCalled = (name, end) => name === "" ? first[end] :
    name[0] === "w" ? wall[Number(name.slice(1))] : latentOf(Number(name), size, prior);
  const reroll = (end) => button(`New room ${"AB"[end]}`, () => {
    called[end] = String(newSeed());
    byHand({ ends: model.get("ends").map((z, i) => (i === end ? latentCalled(called[end], end) : z)) });
  });

  const numbered = (count, name) => [...Array(count).keys()].map((i) => `${name} ${i + 1}`);
  const names = [...numbered(directions.length, "direction"), ...numbered(size, "coordinate")];
  const nudges = names.map(() => 0);
  const showNudge = () => amount.update(model.get("nudges")[which.value]);
  const which = choice("what to nudge", showNudge, ...names.map((name, value) => el("option", { value }, name)));
  const amount = slider("nudge", { min: -3, max: 3, step: 0.05, value: 0 }, (value) =>
    update({ nudges: model.get("nudges").map((old, i) => (i === Number(which.value) ? value : old)) }),
    (value) => `${names[which.value]} moved by ${value}`);
  const reset = button("Undo nudges", () => update({ nudges }));

  // Play walks from room to room of the wall, and round again.
  const goTo = (place) => {
    const now = Math.min(wall.length - 1, Math.floor(place * wall.length));
    const ends = now === leg ? {} : { ends: [wall[now], wall[(now + 1) % wall.length]] };
    leg = now;
    called.splice(0, 2, `w${now}`, `w${(now + 1) % wall.length}`);
    update({ ...ends, t: place * wall.length - now }, false);
    stones.forEach((stone, i) => stone.setAttribute("aria-current", i === now));
  };
  const where = () => (leg < 0 ? 0 : (leg + model.get("t")) / wall.length);
  const player = wall.length > 1 ? play(root, 3 * wall.length, goTo, where, () => model.save_changes()) : null;
  const stones = tiles.map((tile, i) => {
    const stone = button("", () => {
      called.splice(0, 2, "", `w${i}`);
      byHand({ ends: [model.get("z")[0], wall[i]], nudges, t: 1 });
    });
    stone.append(tile);
    stone.setAttribute("aria-label", `walk to room ${i + 1} of the wall`);
    return stone;
  });

  // Along the whole way, and along the cross-fade of its two pictures: how likely a window is.
  const chart = curves("how likely a window is along the walk, and along the cross-fade of its two pictures",
    ["a window along the walk, probability", "in the cross-fade of both pictures"], "A", "B");
  const whole = () => JSON.stringify(["ends", "path", "nudges", "units"].map((key) => model.get(key)));
  let read = "";
  const measure = latest(async () => {
    const now = whole();
    if (now === read) return;
    const draw = await reader(model), ts = [...Array(POINTS).keys()].map((i) => i / (POINTS - 1)), along = [];
    const [zs, units] = [ts.map(pointAt), model.get("units")], windows = (all) => all.map(({ window }, i) => window);
    const faded = windows(await draw.fade([zs[0], zs[POINTS - 1]], units, ts));
    for (let i = 0; i < POINTS && whole() === now; i += 3) { // in turns with what the reader moves
      along.push(...windows((await draw(zs.slice(i, i + 3), units, true)).seen));
      chart.plot([along, faded].map((values) => values.map((value, k) => [ts[k], value])));
    }
    if (whole() === now) root.dataset.read = read = now;
  });

  const show = () => {
    const t = Math.round(100 * model.get("t")), on = model.get("path") === "arc" ? "an arc" : "a line";
    words.value = `${t} % from A to B on ${on}, length of z ${norm(model.get("z")[0]).toFixed(2)}`;
    big.setAttribute("aria-label", `a generated room, ${words.value}`);
    way.update(model.get("t"));
    chart.mark(model.get("t"));
    if (model.get("instrument")) measure();
    path.value = model.get("path");
    showNudge();
    return redraw();
  };
  model.on("change:z", show);
  model.on("change:ends", redrawEnds);
  for (const draw of [show, redrawEnds, drawWall]) model.on("change:units", draw);
  await Promise.all([show(), redrawEnds(), drawWall()]);
  const rooms = el("div", { className: "wall" }, ...small);
  root.append(
    el("div", { className: "parts" }, part(big, words), part(rooms, row(reroll(0), reroll(1)), row(path, way.element),
      row(which, amount.element), row(reset, saver("room", 1, [big])), ...(model.get("instrument") ? [chart.element] : []))),
    ...(player ? [row(player, "a walk through the rooms below, or choose one")] : []),
    el("div", { className: "wall stones" }, ...stones),
  );
  return [
    () => ({ t: model.get("t"), path: model.get("path"), a: called[0], b: called[1],
      nudge: model.get("nudges").flatMap((value, i) => (value ? [`${i}*${value}`] : [])).join(",") }),
    ({ t = model.get("t"), path = model.get("path"), a = called[0], b = called[1], nudge = "" }) => {
      called.splice(0, 2, a, b);
      const moved = Object.fromEntries(nudge.split(",").map((pair) => pair.split("*")));
      byHand({ t: Number(t), path, ends: called.map(latentCalled), nudges: nudges.map((_, i) => Number(moved[i] ?? 0)) });
    },
  ];
};
