// Chapter 5: three trays to fill with samples, A - B + C with its eight neighbours, and steps along directions.
views.arithmetic = async (model, root) => {
  const { pool, labels, noise, usual, norms, directions, kept, tolerance, random } = model.get("data");
  const samples = pool.map((_, i) => picture(labels[i])), words = readOut(), inPixels = picture("the same sum of pixels");
  const nine = [...noise, 0].map((_, i) => picture(i === 4 ? "A - B + C" : "a neighbour of A - B + C"));
  const [drawPool, redraw] = await Promise.all([
    painting(model, { dataset: {} }, () => pool, samples), painting(model, root, () => model.get("z"), nine)]);

  // The trays, the norm and the amounts give z, in one go, as `arithmetic.combine` and `arithmetic.neighbours` do.
  let open = 0; // the tray that a click fills
  const mean = (tray, i) => tray.reduce((sum, k) => sum + pool[k][i], 0) / (tray.length || 1);
  const move = () => {
    const [a, b, c] = model.get("trays"), amounts = model.get("amounts");
    let sum = pool[0].map((_, i) => mean(a, i) - mean(b, i) + mean(c, i));
    if (model.get("norm") === "matched") sum = sum.map((value) => (value * usual) / (norm(sum) || 1));
    if (model.get("norm") === "projected") sum = sum.map((value) => Math.max(-1, Math.min(1, value)));
    const result = sum.map((value, i) => directions.reduce((all, { step }, k) => all + amounts[k] * step[i], value));
    const near = noise.map((step) => step.map((value, i) => result[i] + value));
    model.set("z", [...near.slice(0, 4), result, ...near.slice(4)]);
  };
  const update = driven(model, ["trays", "norm", "amounts"], move);
  const toggle = (tray, k) => update({ trays: model.get("trays").map((held, t) =>
    t !== tray ? held : held.includes(k) ? held.filter((other) => other !== k) : [...held, k]) });

  const names = ["A", "B", "C"], signs = ["", "− ", "+ "];
  const tabs = names.map((name, t) => button(`fill ${name}`, () => {
    open = t;
    showTrays();
  }));
  const trays = names.map((name) => el("div", { className: "wall tray", role: "group", "aria-label": `tray ${name}` }));
  const copy = (from, label) => {
    const canvas = Object.assign(picture(label), { width: from.width, height: from.height });
    canvas.getContext("2d").drawImage(from, 0, 0);
    return canvas;
  };
  const tile = (canvas, label, onclick) => {
    const stone = button("", onclick);
    stone.append(canvas);
    stone.setAttribute("aria-label", label);
    return stone;
  };
  const showTrays = () => {
    tabs.forEach((tab, t) => tab.setAttribute("aria-pressed", t === open));
    model.get("trays").forEach((held, t) => trays[t].replaceChildren(...held.map((k) =>
      tile(copy(samples[k], labels[k]), `take ${labels[k]} out of ${names[t]}`, () => toggle(t, k)))));
    stones.forEach((stone, k) => stone.setAttribute("aria-pressed", model.get("trays")[open].includes(k)));
  };
  const stones = samples.map((canvas, k) => tile(canvas, `sample ${k + 1}, ${labels[k]}`, () => toggle(open, k)));

  // The control: means of colours, clipped as a screen does.
  const addPixels = () => {
    const { width, height } = samples[0], image = new ImageData(width, height);
    const total = new Float32Array(4 * width * height);
    model.get("trays").forEach((held, t) => held.forEach((k) => {
      const { data } = samples[k].getContext("2d").getImageData(0, 0, width, height);
      for (let i = 0; i < total.length; i++) total[i] += ((t === 1 ? -1 : 1) * (data[i] - 127.5)) / held.length;
    }));
    image.data.set(total.map((value, i) => (i % 4 === 3 ? 255 : value + 127.5)));
    put(inPixels, image);
  };

  // What became of the sum, and of C plus a random vector as long as A - B, as `arithmetic.outcome` has it. The target is
  // what most of A have and most of B have not, or the other way round.
  const measured = Boolean(model.get("instrument")), control = picture("C and a random vector as long as A - B");
  const verdict = el("table", {}), YES = { presentation: "man", glasses: true, beard: true, smile: true };
  const trait = (seen, name) => ({ glasses: seen.glasses > 0.5, beard: seen.beard > 0.5, smile: seen.smile >= 0.5 })[name] ?? seen[name];
  const stays = (seen, before, name) => tolerance[name] ? Math.abs(seen[name] - before[name]) <= tolerance[name] :
    trait(seen, name) === trait(before, name);
  const judge = latest(async () => {
    const held = model.get("trays"), nine = model.get("z");
    if (held.some((tray) => !tray.length)) return verdict.replaceChildren();
    const draw = await reader(model), means = held.map((tray) => pool[0].map((_, i) => mean(tray, i)));
    const of = [];
    for (const tray of held.slice(0, 2)) of.push((await draw(tray.map((k) => pool[k]), [], true)).seen);
    const most = (all, name) => 2 * all.filter((seen) => trait(seen, name) === YES[name]).length > all.length;
    const target = Object.keys(YES).filter((name) => most(of[0], name) !== most(of[1], name));
    const asked = Object.fromEntries(target.map((name) => [name, most(of[0], name)]));
    const far = norm(means[0].map((value, i) => value - means[1][i]));
    const centre = means[2].map((value, i) => value + far * random[i]);
    const others = [...noise.slice(0, 4), null, ...noise.slice(4)].map((step) => centre.map((value, i) => value + (step?.[i] ?? 0)));
    const [before] = (await draw([means[2]], [], true)).seen, beside = await draw(others, [], true);
    put(control, beside.images[4]);
    const count = (all) => [
      all.filter((seen) => target.every((name) => (trait(seen, name) === YES[name]) === asked[name])),
      all.filter((seen) => kept.every((name) => target.includes(name) || stays(seen, before, name))),
      all.filter((seen) => seen.face > 0.5)].map((found) => found.length);
    const say = (name) => name === "presentation" ? (asked[name] ? "man" : "woman") : asked[name] ? name : `no ${name}`;
    const line = (tag, cells) => el("tr", {}, ...cells.map((text, i) => el(i ? tag : "th", {}, String(text))));
    verdict.replaceChildren(
      line("th", ["of nine images", `${target.map(say).join(", ") || "nothing asked"} arrived`, "all else stayed", "still a face"]),
      line("td", ["A − B + C", ...count((await draw(nine, [], true)).seen)]),
      line("td", ["C + a random vector as long", ...count(beside.seen)]));
    root.dataset.judged = Number(root.dataset.judged ?? 0) + 1;
  });

  const length = el("select", { "aria-label": "norm", onchange: () => update({ norm: length.value }) },
    ...norms.map((name) => el("option", { value: name }, `norm ${name}`)));
  const sliders = directions.map(({ name }, k) => slider(name, { min: -1, max: 1, step: 0.05, value: 0 }, (value) =>
    update({ amounts: model.get("amounts").map((old, i) => (i === k ? value : old)) }),
    (value) => `${name} ${value}`));
  const empty = button("Empty trays", () => update({ trays: [[], [], []] }));

  const show = () => {
    const sizes = model.get("trays").map((held, t) => `${signs[t]}${names[t]} (${held.length})`).join(" ");
    const now = norm(model.get("z")[4]).toFixed(2);
    words.value = `${sizes}: length of z ${now}, usually ${usual.toFixed(2)}`;
    length.value = model.get("norm");
    sliders.forEach(({ update: set }, k) => set(model.get("amounts")[k]));
    showTrays();
    addPixels();
    if (measured) judge();
    return redraw();
  };
  model.on("change:z", show);
  model.on("change:units", redraw);
  await drawPool();
  await show();
  root.append(
    el("div", { className: "parts" },
      part(el("div", { className: "wall" }, ...nine), words, ...(measured ? [verdict] : [])),
      part(...names.map((name, t) => row(tabs[t], trays[t])), row(inPixels, el("span", {}, "the same sum of pixels"),
          ...(measured ? [control, el("span", {}, "C and a random vector")] : [])),
        row(length, empty, saver("sum", 3, nine)), ...sliders.map(({ element }) => row(element)))),
    el("p", {}, "Samples: a click puts one into the tray that is being filled, or takes it out."),
    el("div", { className: "wall stones" }, ...stones));
  return [
    () => ({ trays: model.get("trays").map((held) => held.join(".")).join(","), norm: model.get("norm"),
      move: model.get("amounts").join(",") }),
    ({ trays: held, norm: how = model.get("norm"), move: amounts }) => update({
      trays: held === undefined ? model.get("trays") : held.split(",").map((tray) => tray.split(".").filter(Boolean).map(Number)),
      norm: how, amounts: amounts ? amounts.split(",").map(Number) : model.get("amounts") }),
  ];
};

// Chapter 5: samples to choose exemplars of concepts from; what is chosen can be copied.
views.picker = async (model, root) => {
  const { seeds, latents, concepts, page } = model.get("data"), words = readOut();
  let first = 0;
  const tiles = [...Array(page).keys()].map((i) => picture(`sample ${i + 1}`));
  const redraw = await painting(model, root, () => latents.slice(first, first + page), tiles);
  const concept = el("select", { "aria-label": "concept", onchange: () => show() },
    ...concepts.map((name) => el("option", { value: name }, name)));
  const stones = tiles.map((canvas, i) => {
    const stone = button("", () => {
      const seed = seeds[first + i], chosen = model.get("chosen"), held = chosen[concept.value] ?? [];
      const now = held.includes(seed) ? held.filter((other) => other !== seed) : [...held, seed];
      change(model, { chosen: { ...chosen, [concept.value]: now } });
    });
    stone.append(canvas);
    return stone;
  });
  const show = () => {
    const held = model.get("chosen")[concept.value] ?? [];
    stones.forEach((stone, i) => {
      stone.hidden = first + i >= seeds.length;
      stone.setAttribute("aria-label", `sample with seed ${seeds[first + i]}`);
      stone.setAttribute("aria-pressed", held.includes(seeds[first + i]));
    });
    words.value = `${concept.value}: ${held.join(", ") || "none chosen"}`;
  };
  const turn = (pages) => button(pages < 0 ? "Back" : "More samples", () => {
    const count = Math.ceil(seeds.length / page) * page;
    first = (first + pages * page + count) % count;
    show();
    redraw();
  });
  model.on("change:chosen", show);
  show();
  await redraw();
  root.append(row(concept, turn(-1), turn(1)), el("div", { className: "wall stones" }, ...stones), words);
};
