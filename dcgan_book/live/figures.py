"""Live figures of the rendered book: the generator itself runs in the reader's browser (`engine.js`).

`film`, `game`, `walk`, `units`, `forgetting`, `arithmetic` and `picker` make figures. In Jupyter one is a widget,
whose state Python reads and sets; on a page of the book it is an HTML element with the same state, and needs no kernel.
Both get the generator's weights folded and rounded (`pack`): from the kernel, or from a script that is written when the
book is built.
"""

import base64
import html
import io
import json
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image

from dcgan_book import figures, walking
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import as_latents, draw_z, to_batch
from dcgan_book.live.instrument import pack_instrument
from dcgan_book.live.weights import pack, weights_name
from dcgan_book.worlds import rooms

LOG_POINTS = 250  # of a loss curve, at most
DIGITS = 4  # decimals of a latent in a figure
HERE = Path(__file__).parent
# Of the game in two dimensions; the names say what the settings end in
GAME_PRESETS = {
    name: {"shape": "ring", "rateD": rate_d, "rateG": rate_g, "beta1": beta1, "saturating": False, "seed": 1}
    for name, rate_d, rate_g, beta1 in (
        ("converges", 0.01, 0.002, 0.5),
        ("collapses", 0.002, 0.02, 0.5),
        ("oscillates", 0.002, 0.002, 0.9),
    )
}  # fmt: skip
# The kernel of the engine as `assemble` writes it, the fastest first
BINARIES = {"fused": "engine-fused.wasm", "simd": "engine.wasm"}


def script():
    """One module of engine.js, its WebAssembly, instrument.js, and the figures, which are the files of `views`."""
    files = [HERE / "engine.js", *sorted(HERE.glob("views/*.js"))]
    source, *views = (path.read_text(encoding="utf-8") for path in files)
    for name, file in BINARIES.items():
        code = base64.b64encode((HERE / file).read_bytes()).decode()
        source = source.replace("/* binaries */", f'{name}: "{code}", /* binaries */')
    source = source.replace(" /* binaries */", "").replace("/* views */", "\n".join(views))
    return source.replace("/* instrument */", (HERE / "instrument.js").read_text(encoding="utf-8"))


class LiveFigure(anywidget.AnyWidget):
    """A figure that the reader can play with; the functions below make one.

    State that both sides set: `z`, the latents shown, a list of lists; `units`, a list of what `edit` returns;
    in a walk `ends`, `t`, `path` ("line" or "arc") and `nudges` (one for each direction, then for each
    coordinate); in a film `at`, the index of the step shown; in an arithmetic `trays` (three lists of indices of
    samples), `norm` (one of `arithmetic.NORMS`) and `amounts` (one for each direction); in a picker `chosen`, concept
    to seeds; among units `at`, the room's index, and `unit`, that of the unit in the list given.
    """

    _esm = script()
    _css = HERE / "live.css"
    view = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    weights = traitlets.Unicode().tag(sync=True)
    instrument = traitlets.Unicode().tag(sync=True)
    megabytes = traitlets.Float().tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    z = traitlets.List().tag(sync=True)
    units = traitlets.List().tag(sync=True)
    ends = traitlets.List().tag(sync=True)
    t = traitlets.Float(0.0).tag(sync=True)
    path = traitlets.Enum(("line", "arc"), "line").tag(sync=True)
    nudges = traitlets.List().tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    trays = traitlets.List().tag(sync=True)
    norm = traitlets.Enum(("free", "matched", "projected"), "free").tag(sync=True)
    amounts = traitlets.List().tag(sync=True)
    chosen = traitlets.Dict().tag(sync=True)
    unit = traitlets.Int(0).tag(sync=True)

    @traitlets.default("trays")
    def _empty_trays(self):
        return [[], [], []]  # new ones, as a default value would be shared by all figures

    def __init__(self, generator=None, name=None, instrument=None, light=False, **state):
        packed = {}
        if generator is not None:
            header, weights = pack(generator, light)
            state["weights"] = weights_name(
                header, weights, name and (f"{name}-light" if light else name)
            )
            state["megabytes"] = round(len(weights) * 4 / 3 / 1e6, 1)  # as base64
            packed[state["weights"]] = header, weights
        if instrument is not None:
            header, weights = pack_instrument(instrument)
            state["instrument"] = weights_name(header, weights, instrument.card.get("name"))
            packed[state["instrument"]] = header, weights
        super().__init__(**state)

        def answer(_widget, name, _buffers):
            if name in packed:
                header, data = packed[name]
                self.send({"header": header, "of": name}, [data])

        self.on_msg(answer)

    def html(self):
        """The figure on a page: its static picture and its state, which engine.js brings to life."""
        names = ("view", "label", "weights", "instrument", "megabytes", "data", "z", "units", "ends", "t", "path", "nudges", "at",
                 "trays", "norm", "amounts", "chosen", "unit")  # fmt: skip
        state = html.escape(
            json.dumps({name: getattr(self, name) for name in names}, separators=(",", ":"))
        )
        return (
            f'<figure class="dcgan-live" data-figure="{state}">'
            f'<img src="{self.picture}" alt="{html.escape(self.label)}"></figure>'
        )

    def _repr_mimebundle_(self, **options):
        formats, metadata = super()._repr_mimebundle_(**options)
        return formats | {"text/html": self.html()}, metadata


def opening(trained, latents, units, instrument, stage="8x8", seed=0):
    """A large room that walks on when dragged, and forgets its windows at a button (the book's first page).

    Arguments: `trained`, a `Pretrained`; `latents`, (n, z_dim), the rooms of the walk, which ends where it begins;
    `units`, those of `stage` that the button switches off; `instrument`, a `measure.Instrument`, which says in the
    page how likely a window is, there and with as many random units off; `seed` draws those.
    """
    network = trained.generator
    latents = _beside(network, latents)
    with torch.no_grad():
        shown = network(latents[:1])
    width = activations_of(network, stage, latents[:1]).shape[1]
    twin = torch.randperm(width, generator=torch.Generator().manual_seed(seed))[: len(units)]
    return LiveFigure(
        network, trained.card.get("name"), instrument, light=True, view="opening",
        picture=picture_uri(figures.sheet(shown, 1), "png"), ends=_numbers(latents), z=_numbers(latents[:1]),
        data={"prior": trained.card["prior"], "stage": stage, "units": [int(unit) for unit in units],
              "twin": twin.tolist(), "width": width},
        label="A bedroom that a network has drawn, as the book's build has drawn it",
    )  # fmt: skip


def film(trained):
    """The film of `trained`, a `Pretrained`, beside its losses: a slider over the steps (chapter 1).

    Raises PretrainedError for weights without film or log.
    """
    trained.require("film", "log")
    times, tiles, height, width, _ = trained.film.shape
    sheet = trained.film.swapaxes(1, 2).reshape(times * height, tiles * width, 3)
    steps = trained.card["film"]["steps"]
    bins = np.array_split(np.arange(len(trained.log)), min(LOG_POINTS, len(trained.log)))
    log = [
        {
            key: round(float(np.median([trained.log[i][key] for i in some])), 3)
            for key in ("step", "d_loss", "g_loss")
        }
        for some in bins
    ]
    return LiveFigure(
        view="film", picture=picture_uri(sheet), at=times - 1, data={"steps": steps, "log": log},
        label=f"{tiles} samples from the same latents at {times} times from step {steps[0]} to step {steps[-1]}",
    )  # fmt: skip


def game():
    """The game of two tiny networks of points in the plane, which the page itself trains (chapter 1).

    Each of `GAME_PRESETS` starts it anew; what each ends in was measured.
    """
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 200)
    places = (160 + 80 * np.stack([np.sin(angles), np.cos(angles)])).astype(int)
    picture = np.full((320, 320, 3), 247, np.uint8)
    for down, right in places.T:
        picture[down - 2 : down + 2, right - 2 : right + 2] = (0, 63, 102)
    return LiveFigure(
        view="game", picture=picture_uri(picture), data={"presets": GAME_PRESETS},
        label="Points of a distribution on a ring, which a generator of points is to learn",
    )  # fmt: skip


def walk(trained, generator=None, directions=5, rooms=9, instrument=None):
    """Two rooms and the way between them, nudges of z, and a wall of `rooms` to walk through (chapter 2).

    Arguments: `trained`, a `Pretrained`; `generator`, the torch.Generator to draw latents from; `directions`, how
    many of `walking.top_directions` at the first room can be nudged; `instrument`, a `measure.Instrument` that reads in
    the page how likely a window is along the walk, and along the cross-fade.
    """
    network, prior = trained.generator, trained.card["prior"]
    latents = _beside(network, draw_z(2 + rooms, network.z_dim, prior, generator))
    ways = (
        walking.top_directions(network, latents[0], directions).directions
        if directions
        else latents[:0]
    )
    with torch.no_grad():
        strip = network(walking.line(latents[0], latents[1], 9))
    ends, wall = _numbers(latents[:2]), _numbers(latents[2:])
    return LiveFigure(
        network, trained.card.get("name"), instrument, view="walk", picture=picture_uri(figures.sheet(strip, 9)),
        data={"prior": prior, "directions": _numbers(ways), "wall": wall},
        ends=ends, z=ends[:1], nudges=[0.0] * (directions + network.z_dim),
        label="Nine images on a straight line between two latents",
    )  # fmt: skip


def arithmetic(trained, pool, labels, trays, directions=None, generator=None, instrument=None):
    """A - B + C with its eight neighbours, from three trays that the reader fills from a pool of samples (chapter 5).

    Arguments: `trained`, a `Pretrained`; `pool`, latents (n, z_dim); `labels`, n texts, what each sample is; `trays`,
    three lists of indices into the pool to start with; `directions`, name to a step in z (z_dim,), along which
    sliders move the sum by up to once either way; `generator`, the torch.Generator to draw the neighbours' noise from;
    `instrument`, a `measure.Instrument` for faces that says in the page what arrived, what stayed, and what is still a
    face, also of C plus a random vector.
    """
    # here, as chapters 1 and 2 need no scikit-learn, which is 80 MB of a kernel
    from dcgan_book.arithmetic import (
        KEPT,
        NORMS,
        TOLERANCE,
        combine,
        neighbours,
        random_like,
        usual_norm,
    )

    prior, pool = trained.card["prior"], _beside(trained.generator, pool).round(decimals=DIGITS)
    first = [int((pool == z).all(1).nonzero()[0]) for z in pool]  # no sample twice
    kept = sorted(set(first))
    trays = [[kept.index(first[i]) for i in tray] for tray in trays]
    pool, labels = pool[kept], [list(labels)[i] for i in kept]
    centre = combine(*(pool[list(tray)] for tray in trays), prior=prior)
    nine = neighbours(centre, prior, generator)
    noise = torch.cat([nine[:4], nine[5:]]) - centre
    with torch.no_grad():
        shown = trained.generator(nine)
    way = random_like(torch.ones(1, pool.shape[1]), torch.Generator().manual_seed(0))
    steps = [
        {"name": name, "step": _numbers(step[None])[0]} for name, step in (directions or {}).items()
    ]
    return LiveFigure(
        trained.generator, trained.card.get("name"), instrument, view="arithmetic", picture=picture_uri(figures.sheet(shown, 3)),
        data={"pool": _numbers(pool), "labels": labels, "noise": _numbers(noise), "directions": steps,
              "usual": usual_norm(prior, pool.shape[1]), "norms": NORMS[: 3 if prior == "uniform" else 2],
              "kept": KEPT, "tolerance": TOLERANCE, "random": (way[0] / way.norm()).tolist()},
        trays=[list(tray) for tray in trays], amounts=[0.0] * len(steps), z=_numbers(nine),
        label="A sum of latents, A - B + C, among eight neighbours",
    )  # fmt: skip


def picker(trained, seeds, latents, concepts, page=27):
    """Samples to choose exemplars of concepts from, `page` at a time; `chosen` is concept to seeds (chapter 5).

    Arguments: `trained`, a `Pretrained`; `seeds`, n ints, what the samples are called; `latents`, theirs, (n, z_dim);
    `concepts`, texts.
    """
    with torch.no_grad():
        shown = trained.generator(_beside(trained.generator, latents[:page]))
    return LiveFigure(
        trained.generator, trained.card.get("name"), view="picker", picture=picture_uri(figures.sheet(shown, 9)),
        data={"seeds": [int(seed) for seed in seeds], "latents": _numbers(latents), "concepts": list(concepts),
              "page": page},
        label=f"{len(shown)} samples to choose exemplars from",
    )  # fmt: skip


def forgetting(trained, z, rankings, insertion, instrument=None):
    """Rooms with all units on, and without some; units of a ranking go off in order or singly, windows can be painted.

    Arguments: `trained`, a `Pretrained`; `z`, (n, z_dim), the first rooms; `rankings`, name to a pair of a stage and all
    its units in order, of which the first has a quarter off at the start; `insertion`, a stage, units and their values
    for the cells that the reader paints, as `hooks.ablate` takes them; `instrument`, a `measure.Instrument` that counts
    in the page the windows that are left, also with as many random units off (chapter 4).
    """
    stage, units = next(iter(rankings.values()))
    start = edit(stage, units[: len(units) // 4])
    at, on, values = insertion
    z = _beside(trained.generator, z)
    with torch.no_grad():
        before = trained.generator(z)
        with ablate(trained.generator, stage, start["units"]):
            after = trained.generator(z)
    named = [
        {"name": name, "stage": stage, "units": [int(unit) for unit in units]}
        for name, (stage, units) in rankings.items()
    ]
    random = torch.Generator().manual_seed(0)
    twin = {
        stage: torch.randperm(len(units), generator=random).tolist()
        for stage, units in rankings.values()
    }
    painted = edit(at, on, [round(value, DIGITS) for value in torch.as_tensor(values).tolist()])
    return LiveFigure(
        trained.generator, trained.card.get("name"), instrument, view="forgetting", z=_numbers(z), units=[start],
        picture=picture_uri(figures.sheet(torch.cat([before, after]), len(z))),
        data={"prior": trained.card["prior"], "rankings": named, "twin": twin,
              "insertion": painted | {"side": int(at.split("x")[0])}},
        label=f"{len(z)} rooms with all units on, and below them without {len(start['units'])} units of {stage}",
    )  # fmt: skip


def units(networks, rooms_shown, chosen, stage="4x4", layer="8x8"):
    """What units of a discriminator see in some rooms, beside the true masks and random weights (chapter 3).

    Arguments: `networks`, a trained discriminator and one with random weights; `rooms_shown`, a `rooms.Rooms` of a
    few; `chosen`, a list of (group, object or None, unit), in the order of the list of units; `stage`, the units';
    `layer`, whose maps Grad-CAM adds. Each unit is asked where it responds most, with random weights too. It is all
    computed here, so that the figure needs no network.
    """
    from dcgan_book import features  # here, as in `arithmetic`

    photos, labels = to_batch(rooms_shown.images), torch.from_numpy(rooms_shown.labels.copy())
    objects = [name for name in rooms.OBJECTS if rooms_shown.mask(name).any()]
    masks = [labels == rooms.LABELS.index(name) for name in objects]
    field, edges, n = (
        features.receptive_field(networks[0], stage),
        features.edges(photos),
        len(photos),
    )
    rows, fields, lifts = [photos], [], [[], [], []]
    for _, _, unit in chosen:
        places = [
            features.peaks(activations_of(network, stage, photos)[:, unit])[1]
            for network in networks
        ]
        guided = [
            features.saliency(network, photos, stage, unit, at=at)
            for network, at in zip(networks, places, strict=True)
        ]
        cam = features.grad_cam(networks[0], photos, layer, stage, unit, at=places[0])
        cam = features.enlarge(cam, features.receptive_field(networks[0], layer))
        rows += [figures.signed(guided[0]), figures.spotlit(photos, cam), figures.signed(guided[1])]
        fields.append(
            [[*(field.start + field.jump * place).tolist(), field.size] for place in places[0]]
        )
        for kind, maps, at in zip(lifts, (*guided, edges), (*places, places[0]), strict=True):
            kind.append([features.lift(maps, mask, field.masks(at)).tolist() for mask in masks])
    first, rest = torch.cat(rows[:4]), torch.cat(rows)
    by_room = [
        [
            [[_tenths(kind[u][o][i]) for o in range(len(objects))] for u in range(len(chosen))]
            for i in range(n)
        ]
        for kind in lifts
    ]
    return LiveFigure(
        view="units", picture=picture_uri(figures.sheet(first, n)),
        data={
            "units": [{"unit": unit, "group": group, "object": name} for group, name, unit in chosen],
            "objects": objects,
            "fields": [[fields[u][i] for u in range(len(chosen))] for i in range(n)], "lifts": by_room,
            "sheet": picture_uri(figures.sheet(rest, n), quality=60),
            "masks": picture_uri(np.concatenate([_shade(mask) for mask in masks]), "png"),
        },
        label=f"{n} rooms, and below them the guided image of a unit, its Grad-CAM, and the guided image of random weights",
    )  # fmt: skip


def edit(stage, units, value=0.0, region=None):
    """An entry of a figure's `units`, with the meaning of `hooks.ablate`: units of a stage, set to a value after it.

    Arguments: `units`, indices; `value`, a number, or one for each unit; `region`, a bool mask (h, w), outside which
    nothing is set.
    """
    entry = {
        "stage": stage,
        "units": torch.as_tensor(units).tolist(),
        "value": torch.as_tensor(value).tolist(),
    }
    if region is not None:
        entry["region"] = torch.as_tensor(region).int().flatten().tolist()
    return entry


def page_script():
    """engine.js as a classic script, since a page in a folder may not load modules; it animates the page's figures."""
    source = script().replace("export default { render };", "animate(document.currentScript.src);")
    return "(() => {\n" + source.replace("\nexport ", "\n") + "})();\n"


def _beside(network, latents):
    """The latents on the network's device."""
    return as_latents(latents).to(next(network.parameters()).device)


def _numbers(latents):
    return [[round(value, DIGITS) for value in latent] for latent in as_latents(latents).tolist()]


def _tenths(value):
    return None if np.isnan(value) else round(value, 1)  # JSON knows no NaN


def _shade(mask):
    """What dims rooms where they are not in a mask (n, h, w): grey and opacity of the n side by side, (h, n w, 2)."""
    outside = np.concatenate(list(~mask.numpy()), 1)
    return np.stack([np.zeros_like(outside), outside * np.uint8(191)], 2, dtype=np.uint8)


def picture_uri(array, kind="webp", quality=75):
    """A data URI of uint8 (h, w, 3), small enough to stand in a page; of (h, w, 2) as a PNG, with an opacity."""
    buffer, options = (
        io.BytesIO(),
        {"quality": quality, "method": 6} if kind == "webp" else {"optimize": True},
    )
    Image.fromarray(array).save(buffer, kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
