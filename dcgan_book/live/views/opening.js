// The book's first screen: a room to walk on from, and a button that takes the windows out of it.
views.opening = async (model, root, image) => {
  const { prior, stage, units, twin, width } = model.get("data"), size = model.get("z")[0].length, first = model.get("ends");
  const big = picture("a generated room; drag sideways to walk on"), control = picture("the same room, as many random units off");
  let seed = 0, eyes = false;

  const point = () => {
    const ends = model.get("ends"), place = model.get("t") * ends.length, leg = Math.floor(place) % ends.length;
    return between(ends[leg], ends[(leg + 1) % ends.length], place - Math.floor(place), "line");
  };
  const go = (t) => {
    model.set("t", t - Math.floor(t));
    model.set("z", [point()]);
  };
  const off = () => model.get("units").length > 0;
  const forget = (now) => change(model, { units: now ? [{ stage, units, value: 0 }] : [] });
  const enter = (number) => { // the walk of a seed; 0 is the one that the book begins with
    seed = number;
    model.set("ends", seed ? first.map((_, i) => latentOf(seed + 1000003 * i, size, prior)) : first);
    go(model.get("t"));
  };

  // A drag across the picture walks on by one room.
  let from = null;
  Object.assign(big, {
    onpointerdown: (event) => {
      big.setPointerCapture(event.pointerId);
      from = { x: event.clientX, t: model.get("t") };
    },
    onpointermove: (event) => from &&
      go(from.t - (event.clientX - from.x) / big.clientWidth / model.get("ends").length),
    onpointerup: () => (from = null),
    onpointercancel: () => (from = null),
  });

  const walk = slider("walk on", { min: 0, max: 1, step: 0.002, value: model.get("t") }, go,
    (t) => `${Math.round(100 * t)} % of the way round`);
  const forgetting = button("", () => forget(!off()));
  forgetting.className = "first";
  const fresh = button("New room", () => enter(newSeed()));
  const gauge = (text) => {
    const bar = el("i"), number = el("b");
    const element = el("div", { className: "gauge" }, el("span", {}, text), number, el("span", { className: "bar" }, bar));
    const show = (value) => {
      bar.style.width = value === undefined ? 0 : `${100 * value}%`;
      number.textContent = value === undefined ? "…" : value.toFixed(2);
    };
    show();
    return { element, show };
  };
  const gauges = [gauge("a window is seen with probability"), gauge(`with ${units.length} random units off`)];
  gauges[1].element.classList.add("control");
  const beside = el("div", { className: "beside" }, control, el("span", {}, `${units.length} of the ${width} ` +
    `units at ${stage} are off. Here the same room without ${units.length} units drawn at random.`));
  const show = () => {
    walk.update(model.get("t"));
    forgetting.textContent = off() ? "Bring windows back" : "Forget windows";
    for (const element of [beside, gauges[1].element]) element.classList.toggle("spare", !off());
  };
  const redraw = latest(async () => {
    const draw = await (eyes ? reader : painter)(model), z = model.get("z");
    const [shown, other] = [await draw(z, model.get("units"), eyes),
      off() && (await draw(z, [{ stage, units: twin, value: 0 }], eyes))];
    put(big, shown.images[0]);
    if (other) put(control, other.images[0]);
    if (eyes) [shown, other].forEach((each, i) => each && gauges[i].show(each.seen[0].window));
    if (eyes) root.dataset.read = 1;
    root.dataset.drawn = Number(root.dataset.drawn ?? 0) + 1;
  });
  const controls = [walk.element.querySelector("input"), forgetting, fresh];
  const enable = (now) => controls.forEach((each) => (each.disabled = !now));
  const sentence = el("p", {}, "This room does not exist. A network drew it when the book was made. It is on its way to " +
    "your page; then you can walk through what it knows.");

  // Until the network is there, the picture made with the book stands in its place.
  const print = el("img", { src: image.src, alt: image.alt });
  const frame = el("div", { className: "frame" }, print);
  show();
  enable(false);
  image.hidden = true;
  root.append(el("div", { className: "opening" }, frame, el("div", {}, sentence, row(walk.element), row(forgetting, fresh),
    ...gauges.map(({ element }) => element), beside)));
  await redraw();
  frame.replaceChildren(big);
  sentence.replaceChildren("This room does not exist. A network draws it, here in your page. ",
    el("strong", {}, "Drag, and walk through what it knows."));
  enable(true);
  model.on("change:z", () => (show(), redraw()));
  model.on("change:units", () => (show(), redraw()));
  reader(model).then(() => redraw((eyes = true))).catch((error) => console.warn(error));
  return [() => ({ room: seed, at: model.get("t").toFixed(3), forget: Number(off()) }),
    ({ room, at, forget: now }) => {
      if (room !== undefined) enter(Number(room));
      if (at !== undefined) go(Number(at));
      if (now !== undefined) forget(now === "1");
    }];
};
