"""The recipe of section 6.3.1 under every reading of the paper's words, crossed, on every training of the rooms.

`python book/experiments/multiverse.py` writes multiverse.json and goes on where it stopped; `--cells 150` stops there.
Cells come in a shuffled order, so what is there is a fair sample of all. Units are chosen on the samples that were
boxed and judged on other rooms, in bfloat16; beside every cell as many random units are judged on the same rooms.
The regression always reads running statistics, as the boxes lie on those samples; what it reads before the ReLU is
dropped as after it, as zero stays zero.
"""

import argparse
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from shared import refuse_own_weights, rounded, store
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dcgan_book import forgetting, measure, pretrained
from dcgan_book.forgetting import effects, multiverse
from dcgan_book.hooks import activations_of, batch_statistics
from dcgan_book.latents import draw_z, stream
from dcgan_book.teaching import experiments
from dcgan_book.worlds.rooms import LABELS, SURFACES

HERE = Path(__file__).parent
OUT = HERE / "multiverse.json"
ROOMS, GROUPS, EVERY = (
    64,
    4,
    25,
)  # rooms that judge a cell, such groups in turn, cells between writes
STRENGTHS = [each for each in multiverse.CHOICES["penalty"] if each != "by AUC"]
WALL = ("picture", "mirror", "tv", "door", "curtain")  # what may hang or stand where a window was
COLUMNS = (
    *("training", *multiverse.CHOICES, "rooms", "off", "left", "low", "high", "random"),
    *("outside", "outside random", "lost", "lost random", "turned", "turned random"),
    *("turned any", "turned any random", "scene", "scene random", "scene other"),
)

instrument = cache(measure.load)


@cache
def generator(name):
    """A training's, whose images come in fp32 whatever it computes in."""
    found = pretrained.load(name).generator
    found.register_forward_hook(lambda _network, _inputs, images: images.float())
    return found


@cache
def boxed(name, kind):
    """Masks (n, 64, 64) of the windows on the samples of a training that are boxed, and the rows of these samples."""
    seeds, boxes = forgetting.load_boxes(HERE / "window-boxes.json")
    z, rows = forgetting.latents(seeds), list(range(len(seeds)))
    with torch.no_grad():
        seen = instrument().read(generator(name)(z).float()).mask("window")
    if name != "rooms":  # only these samples were boxed by hand
        boxes = forgetting.component_boxes(seen, seeds)
    chance = stream(0, f"boxes {kind} {name}")
    if kind == "masks":
        return seen, rows
    if kind == "jittered":
        boxes = [jittered(box, chance) for box in boxes]
    if kind == "52":  # samples with all of their boxes, until there are 52
        order, used, count = torch.randperm(len(seeds), generator=chance).tolist(), [], 0
        while count < 52 and order:
            used.append(order.pop())
            count += sum(box.seed == seeds[used[-1]] for box in boxes)
        rows = sorted(used)
    return forgetting.box_masks(boxes, seeds), rows


def jittered(box, chance, by=4):
    """A box whose edges are moved by some pixels (standard deviation `by`)."""
    edges = torch.tensor([box.left, box.top, box.right, box.bottom])
    left, top, right, bottom = (
        (edges + by * torch.randn(4, generator=chance)).round().int().tolist()
    )
    left, top = (min(max(edge, 0), 60) for edge in (left, top))
    right, bottom = min(max(right, left + 4), 64), min(max(bottom, top + 4), 64)
    return replace(box, left=left, top=top, right=right, bottom=bottom)


@cache
def maps(name, layer, before_relu):
    seeds = forgetting.load_boxes(HERE / "window-boxes.json")[0]
    z = forgetting.latents(seeds)
    return activations_of(generator(name), layer, z, before_relu=before_relu).float()


@cache
def examples(name, layer, negatives, per_positive, reads, boxes):
    masks, rows = boxed(name, boxes)
    chance = stream(0, f"negatives {name} {layer} {negatives} {per_positive} {reads} {boxes}")
    return forgetting.examples(
        maps(name, layer, reads == "before ReLU")[rows],
        forgetting.coverage(masks[rows], layer),
        "random" if negatives == "anywhere" else "outside",
        per_positive=per_positive,
        generator=chance,
    )


@cache
def weights(scale, strength, *which):
    """The weights of a fit; no test score, which is what takes the time."""
    some = examples(*which)
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=500, tol=1e-3)
    steps = [StandardScaler()] if scale == "standardised" else []
    pipeline = make_pipeline(*steps, regression)
    pipeline.fit(some.activations.numpy(), some.positive.numpy())
    return torch.from_numpy(pipeline[-1].coef_[0])


@cache
def best(scale, *which):
    """The penalty whose AUC on samples left out is largest."""
    some = examples(*which)
    fits = {c: forgetting.fit(some, c, scale == "standardised", folds=3) for c in STRENGTHS}
    return max(fits, key=lambda strength: fits[strength].auc)


@cache
def judged(name, layer, statistics, group):
    """The rooms that judge: a layer's activations for rooms with a window, and what is read off them before."""
    network = generator(name)
    z = draw_z(400, generator=stream(group, "multiverse judge"))
    with torch.no_grad():
        z = z[instrument().read(network(z).float()).presence["window"]][:ROOMS]
    with statistics_of(network, statistics):
        activations = activations_of(network, layer, z, batch=ROOMS)
    images, reading = shown(name, layer, statistics, activations)
    return activations, images, reading


def statistics_of(network, statistics):
    return batch_statistics(network) if statistics == "of the batch" else torch.no_grad()


@torch.no_grad()
def shown(name, layer, statistics, x):
    network = generator(name)
    stages = list(network.stages)
    with statistics_of(network, statistics):
        for stage in stages[stages.index(layer) + 1 :]:
            x = network.stages[stage](x)
    images = x.float()
    return images, instrument().read(images)


def outcome(name, layer, statistics, group, units):
    """What is left, and lost, without some units: numbers of one edit on the rooms of a group."""
    x, images, before = judged(name, layer, statistics, group)
    edited = x.clone()
    edited[:, units] = 0
    after_images, after = shown(name, layer, statistics, edited)
    had = before.presence["window"]
    kept = had & after.presence["window"]
    was = before.labels == LABELS.index("window")
    outside = effects.changes(images, after_images, was)[1].mean()
    others = [k for k in before.presence if k != "window"]
    there = sum(int(before.presence[k].sum()) for k in others)
    stayed = sum(int((before.presence[k] & after.presence[k]).sum()) for k in others)
    there_now = {k: ((after.labels == LABELS.index(k)) & was).sum((1, 2)) for k in WALL}
    enough = was.sum((1, 2)) / 5  # a fifth of the window's place shows it
    stands = {k: (there_now[k] >= enough) & after.presence[k] for k in WALL}
    gone = had & ~kept
    scene = torch.isin(before.labels, SCENE)
    alike = ((before.labels == after.labels) & scene).sum() / scene.sum()
    other = before.labels.roll(1, 0)
    return {
        "had": int(had.sum()), "left": kept[had].float().mean().item(), "kept": int(kept.sum()),
        "outside": outside.item(), "lost": 1 - stayed / max(there, 1),
        "turned": share(stands["door"] | stands["mirror"], gone),
        "turned any": share(torch.stack(list(stands.values())).any(0), gone),
        "scene": alike.item(), "other": (((before.labels == other) & scene).sum() / scene.sum()).item(),
    }  # fmt: skip


SCENE = torch.tensor([LABELS.index(name) for name in (*SURFACES, "bed")])


def share(there, of):
    """Which share of some rooms it is; None of none."""
    return (there & of).sum().item() / of.sum().item() if of.any() else None


def row_of(number, cell):
    """One cell's row: its units chosen and dropped, and as many random ones."""
    name, layer, statistics = cell["training"], cell["layer"], cell["statistics"]
    which = (name, layer, cell["negatives"], cell["per positive"], cell["reads"], cell["boxes"])
    strength = cell["penalty"]
    if strength == "by AUC":
        strength = best(cell["scale"], *which)
    found = weights(cell["scale"], strength, *which)
    units = (found > 0).nonzero()[:, 0]
    lot = torch.randperm(len(found), generator=stream(number, "as many"))[: len(units)]
    group = number % GROUPS
    here, there = (outcome(name, layer, statistics, group, some) for some in (units, lot))
    low, high = measure.wilson(here["kept"], here["had"])[1:]
    numbers = [here["had"], len(units), here["left"], low, high, there["left"]]
    for key in ("outside", "lost", "turned", "turned any", "scene"):
        numbers += [here[key], there[key]]
    return [*cell.values(), *rounded([*numbers, here["other"]], 3)]


def read(names):
    """The rows that are there, if they are of today's weights, boxes and trainings."""
    try:
        found = experiments.load(OUT)
    except (FileNotFoundError, experiments.StaleError):
        return []
    same = found["columns"] == list(COLUMNS) and found["trainings"] == list(names)
    return found["rows"] if same else []


def write(rows, names, planned):
    units = {k: generator(names[0]).stages[k][0].out_channels for k in multiverse.CHOICES["layer"]}
    found = {"trainings": list(names), "units": units, "planned": planned, "columns": list(COLUMNS), "rows": rows}  # fmt: skip
    marks = (*(f"{name}/generator" for name in names), "instruments/instrument")
    store(OUT, found, __file__, *marks, separators=(",", ":"))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, help="stop when there are so many")
    wanted = parser.parse_args(arguments).cells
    refuse_own_weights()
    torch.set_num_threads(1)
    names = pretrained.trainings("rooms")
    plan = multiverse.cells(names)
    rows, start, done = read(names), time.time(), 0
    with torch.autocast("cpu", torch.bfloat16):
        for number, cell in list(enumerate(plan))[len(rows) : wanted]:
            rows.append(row_of(number, cell))
            done += 1
            if len(rows) % EVERY == 0 or len(rows) in (wanted, len(plan)):
                write(rows, names, len(plan))
                print(f"{len(rows)} of {len(plan)}, {(time.time() - start) / done:.2f} s a cell", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
