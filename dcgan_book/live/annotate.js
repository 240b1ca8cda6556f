// The annotation widget: samples one after the other, with boxes to draw, move, resize, name and delete.
// An anywidget; `dcgan_book/annotate.py` has its state, keeps the file, and sends the samples when asked.

const SIDE = 64, LEAST = 2; // pixels of a sample and of the smallest box, each way
const REACH = 12; // pixels on the screen from a handle at which a finger still has it
const WHOLE = [0, 0], LAST = [1, 1]; // grips: which edges of a box go along, 1 right or lower, -1 left or upper
const GRIPS = [[1, 0], LAST, [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]]; // those with a handle
const KEYS = `N next sample, B back, A add a box, S select the next box, arrows move it by a pixel, Shift and arrows its
  right or lower edge, 1 to 9 give it a label, Delete deletes it, U undoes, Esc selects none.`;

function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    key in element ? (element[key] = value) : element.setAttribute(key, value);
  }
  element.dataset.lmSuppressShortcuts = "true"; // Notebook 7 would act on a key before the widget hears of it
  element.append(...children);
  return element;
}

function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// A box [left, top, right, bottom], whole numbers within the sample, from any two corners of it.
const box = (x0, y0, x1, y1) => {
  const ordered = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  return ordered.map((edge) => clamp(Math.round(edge), 0, SIDE));
};
const large = ([left, top, right, bottom]) => right - left >= LEAST && bottom - top >= LEAST;
// A box whose edges have followed the pointer as far as they can.
function changed([left, top, right, bottom], [across, down], dx, dy) {
  const along = (low, high, which, by) => {
    if (!across && !down) return [low, high].map((edge) => edge + clamp(Math.round(by), -low, SIDE - high));
    return [which < 0 ? clamp(Math.round(low + by), 0, high - LEAST) : low,
      which > 0 ? clamp(Math.round(high + by), low + LEAST, SIDE) : high];
  };
  const [[l, r], [t, b]] = [along(left, right, across, dx), along(top, bottom, down, dy)];
  return [l, t, r, b];
}

const handle = ([left, top, right, bottom], [x, y]) =>
  [((1 - x) * left + (1 + x) * right) / 2, ((1 - y) * top + (1 + y) * bottom) / 2];

function render({ model, el: root }) {
  const seeds = model.get("seeds"), labels = model.get("labels");
  const history = []; // of [rows, at], for undo
  let selected = -1; // index into rows
  let drag = null; // what the pointer holds: { pointer, start, before, grip, draft }
  let sheet = null, label = labels[0];

  const canvas = el("canvas", { width: SIDE, height: SIDE });
  const overlay = shape("svg", { viewBox: `0 0 ${SIDE} ${SIDE}` });
  const stage = el("div", { className: "stage", tabIndex: 0, role: "application" }, canvas, overlay);
  const words = el("output", { ariaLive: "polite" }), trouble = el("div", { role: "alert", className: "trouble" });
  const progress = el("progress", { max: seeds.length, ariaLabel: "samples looked at" });
  const button = (text, onclick, key) => el("button", { type: "button", onclick, "aria-keyshortcuts": key }, text);
  const back = button("Back", () => step(-1), "B"), next = button("Next", () => step(1), "N");
  const undoing = button("Undo", undo, "U"), deleting = button("Delete", () => remove(), "Delete");
  const naming = el("select", { ariaLabel: "label of the box", onchange: () => name(naming.value) },
    ...labels.map((text) => el("option", { value: text }, text)));
  const list = el("div", { className: "controls", role: "group", ariaLabel: "boxes of this sample" });
  const help = el("details", {}, el("summary", {}, "Keys"), KEYS);

  const seed = () => seeds[model.get("at")];
  const here = () => model.get("rows").map((row, i) => [row, i]).filter(([row]) => row[0] === seed());
  const edges = (row) => row.slice(1, 5);
  const describe = ([, left, top, right, bottom, text]) =>
    `${text} from ${left}, ${top} to ${right}, ${bottom} (${right - left} by ${bottom - top})`;

  // ------------------------------------------------------------------------------------------ what changes the state
  function look() { // the sample on show counts as looked at
    if (!model.get("visited").includes(seed())) model.set("visited", [...model.get("visited"), seed()]);
  }

  function commit(rows, choose = selected) {
    history.push([model.get("rows"), model.get("at")]);
    look();
    selected = choose;
    model.set("rows", rows);
    model.save_changes();
    show();
  }

  // The selected box gets other edges, or another label.
  const replace = (corners, text) => commit(model.get("rows").map((row, i) =>
    (i === selected ? [row[0], ...(corners ?? edges(row)), text ?? row[5]] : row)));
  const add = (corners) => commit([...model.get("rows"), [seed(), ...corners, label]], model.get("rows").length);
  const remove = () => selected >= 0 && commit(model.get("rows").filter((_, i) => i !== selected), -1);

  function name(text) {
    label = text;
    selected >= 0 && model.get("rows")[selected][5] !== text ? replace(null, text) : show();
  }

  function go(at, rows = model.get("rows")) {
    selected = -1;
    model.set("rows", rows);
    model.set("at", clamp(at, 0, seeds.length - 1));
    model.save_changes();
    show();
  }

  function step(by) {
    look();
    go(model.get("at") + by);
  }

  function undo() {
    if (!history.length) return;
    const [rows, at] = history.pop();
    go(at, rows);
  }

  function select(i) {
    selected = i;
    if (i >= 0) label = model.get("rows")[i][5];
    show();
  }

  // ----------------------------------------------------------------------------------------------------- the pointer
  // Where the pointer is, in pixels of the sample, and how many of them a finger covers.
  function place(event) {
    const { left, top, width, height } = stage.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * SIDE, y = ((event.clientY - top) / height) * SIDE;
    return { x: clamp(x, 0, SIDE), y: clamp(y, 0, SIDE), reach: (REACH / width) * SIDE };
  }

  stage.onpointerdown = (event) => {
    if (drag || event.button) return;
    event.preventDefault(); // of a click that selects text
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    const start = place(event), rows = model.get("rows"), near = rows[selected] && edges(rows[selected]);
    const distance = ([x, y]) => Math.hypot(x - start.x, y - start.y);
    const held = near && GRIPS.map((grip) => [distance(handle(near, grip)), grip]).sort((a, b) => a[0] - b[0])[0];
    const area = ([, left, top, right, bottom]) => (right - left) * (bottom - top);
    const under = here().sort((a, b) => area(a[0]) - area(b[0])).filter(([[, left, top, right, bottom]]) =>
      left <= start.x && start.x <= right && top <= start.y && start.y <= bottom);
    if (held && held[0] <= start.reach) {
      drag = { grip: held[1] };
    } else {
      select((under.find(([, i]) => i === selected) ?? under[0] ?? [null, -1])[1]);
      drag = { grip: selected < 0 ? null : WHOLE }; // without one it is a new box
    }
    Object.assign(drag, { pointer: event.pointerId, start, before: selected < 0 ? null : edges(rows[selected]) });
  };

  stage.onpointermove = (event) => {
    if (drag?.pointer !== event.pointerId) return;
    const { x, y } = place(event), { start, before, grip } = drag;
    drag.draft = grip ? changed(before, grip, x - start.x, y - start.y) : box(start.x, start.y, x, y);
    draw();
  };

  stage.onpointerup = (event) => {
    if (drag?.pointer !== event.pointerId) return;
    const { grip, before, draft } = drag;
    drag = null;
    if (draft && (grip ? String(draft) !== String(before) : large(draft))) (grip ? replace : add)(draft);
    else show();
  };

  stage.onpointercancel = () => show((drag = null));

  // ---------------------------------------------------------------------------------------------------- the keyboard
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function nudge(step, grip) {
    const before = edges(model.get("rows")[selected]), after = changed(before, grip, ...step);
    if (String(after) !== String(before)) replace(after);
  }

  root.onkeydown = (event) => {
    event.stopPropagation(); // the notebook has shortcuts of its own
    if (event.target === naming || event.altKey || drag) return;
    const arrow = ARROWS[event.key], key = event.key.toLowerCase(), number = labels[Number(event.key) - 1];
    const all = here().map(([, i]) => i), following = all[(all.indexOf(selected) + 1) % all.length] ?? -1;
    const acts = { n: () => step(1), b: () => step(-1), u: undo, s: () => select(following), escape: () => select(-1),
      delete: remove, backspace: remove, a: () => add([24, 24, 40, 40]) };
    if (event.ctrlKey || event.metaKey ? key !== "z" : !(arrow && selected >= 0) && !acts[key] && !number) return;
    event.preventDefault();
    if (key === "z") undo();
    else if (arrow) nudge(arrow, event.shiftKey ? LAST : WHOLE);
    else if (number) name(number);
    else acts[key]();
  };

  // --------------------------------------------------------------------------------------------------------- showing
  function draw() {
    const boxes = here().map(([row, i]) => [i === selected && drag?.draft ? drag.draft : edges(row), i === selected]);
    if (drag?.draft && !drag.grip) boxes.push([drag.draft, true]);
    overlay.replaceChildren(...boxes.flatMap(([[x, y, right, bottom], chosen]) => {
      const at = { x, y, width: right - x, height: bottom - y };
      return [shape("rect", { ...at, class: "under" }), shape("rect", { ...at, class: chosen ? "chosen" : "" }),
        ...(chosen ? GRIPS.map((grip) => handle([x, y, right, bottom], grip)) : [])
          .map(([cx, cy]) => shape("circle", { cx, cy, r: 1 }))];
    }));
  }

  function show() {
    const at = model.get("at"), all = here(), row = model.get("rows")[selected];
    if (row?.[0] !== seed()) selected = -1;
    const chosen = selected >= 0 ? `; selected: ${describe(row)}` : "";
    const done = model.get("visited").length === seeds.length ? "; all samples are looked at" : "";
    const count = `${all.length} ${all.length === 1 ? "box" : "boxes"}`;
    words.value = `sample ${at + 1} of ${seeds.length}, ${count}${chosen}${done}`;
    stage.setAttribute("aria-label", `${words.value}. Drag to draw a box, or press A; the keys are listed below`);
    progress.value = model.get("visited").length;
    trouble.textContent = model.get("trouble");
    [back.disabled, undoing.disabled, deleting.disabled] = [at === 0, !history.length, selected < 0];
    if (root.getRootNode().activeElement?.disabled) stage.focus(); // or the keys would go to the notebook
    naming.value = label;
    list.replaceChildren(...all.map(([each, i]) => {
      const choose = button(describe(each), () => {
        select(i);
        stage.focus(); // this button is about to be another one
      }, "S");
      choose.setAttribute("aria-pressed", i === selected);
      return choose;
    }));
    if (sheet) {
      const context = canvas.getContext("2d"), x = at % sheet.columns, y = Math.floor(at / sheet.columns);
      context.drawImage(sheet.image, x * SIDE, y * SIDE, SIDE, SIDE, 0, 0, SIDE, SIDE);
    }
    draw();
  }

  model.on("msg:custom", async ({ columns }, [data]) => {
    if (!columns) return;
    sheet = { columns, image: await createImageBitmap(new Blob([data], { type: "image/png" })) };
    show();
    root.dataset.state = "alive";
  });
  for (const key of ["rows", "visited", "at", "trouble"]) model.on(`change:${key}`, () => drag || show());
  root.classList.add("dcgan-annotate");
  Object.assign(root, { role: "group", ariaLabel: "boxes on samples" });
  const controls = el("div", { className: "controls" }, back, next, undoing, deleting, naming, progress);
  root.append(stage, words, trouble, controls, list, help);
  show();
  model.send("images");
}

export default { render };
