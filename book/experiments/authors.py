"""What the page "On the authors' own network" counts: `python book/experiments/authors.py`, some minutes on a core.

The weights do not come with the book; `pretrained.load("authors-svhn")` says how to get them. Traits are read from the
pixels (`dcgan_book.authors`); how well, 96 images labelled by eye say.
"""

from pathlib import Path

import shared
import torch

from dcgan_book import arithmetic, authors, features, measure, pretrained, walking
from dcgan_book.authors import contrast, polarity, readings, warmth
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import stream

HERE = Path(__file__).parent
# light digit (L), dark digit (D) or unclear (?), by eye, before anything was read: the first images of two
# seeds. The reading was chosen among some sixty on those of seed 0, and then tried on those of seed 1.
BY_EYE = {
    0: "?LDLLLD???LDDD?LL?LLD?L??LD?D???DDL?DDDDDDD?D?D?"
    "DLLDDD?DLD?D???LL?L?L??DDDLLLDDL?DL?L???LDD?D?DD",
    1: "?D?DD?LDDD?DDLDLDL??DLDLLDDD?D??D??D?D???DD?DDDLD??D?D???LL?DDDD?LL???DD",
}
# the same of the forty images of `shuffled`, labelled without knowing which units were off
ABLATED_BY_EYE = "LLL?L?LLL?LLLL??LLDLLLL?LLLLLLLLL?LL?LLL"
# whether the images of `shuffled_sums` show one number that can be read, labelled without knowing which are which
SUMS_BY_EYE = "YNYYYYYYNYNNYNNYNYYNYNNYNYNNNYNN"
STAGES = {"8x8": 32, "16x16": 16}  # units removed at once: a quarter
DRAWS = 40  # of random units
SETS = 150  # of exemplars
STEPS = 33  # of a walk
NORMS = (0, 2.5, 5, 7.07, 10, 14, 20)


def generated(pair, z, batch=128):
    with torch.no_grad():
        return torch.cat([pair.generator(part) for part in z.split(batch)])


def share(hits):
    hits = torch.as_tensor(hits)
    return measure.wilson(int(hits.sum()), len(hits))


def by_eye(pair):
    """How often the reading says what an eye says, where both say anything."""
    found = {}
    for seed, letters in BY_EYE.items():
        z = pair.draw_z(len(letters), torch.Generator().manual_seed(seed))
        read = polarity(generated(pair, z))
        eye = torch.tensor([{"L": 1, "D": -1, "?": 0}[letter] for letter in letters])
        both = (eye != 0) & (read != 0)
        found["chosen on" if seed == 0 else "tried on"] = {
            "images": len(letters),
            "clear to the eye": int((eye != 0).sum()),
            "read too": int(both.sum()),
            "same": share((eye == read)[both]),
        }
    return found


def norms(pair, z):
    """Contrast and D's logit for the same directions at several lengths."""
    found = {}
    for length in NORMS:
        images = generated(pair, z / z.norm(dim=1, keepdim=True) * length)
        with torch.no_grad():
            logits = pair.discriminator(images)
        found[str(length)] = {"contrast": measure.bootstrap(contrast(images)),
                              "logit": measure.bootstrap(logits)}  # fmt: skip
    found["|z|"] = measure.bootstrap(z.norm(dim=1))
    found["|middle of two|"] = measure.bootstrap(((z[::2] + z[1::2]) / 2).norm(dim=1))
    return found


def largest_step(images):
    """The largest step's share of a walk's length in pixels, (walks,): 1 / steps if all are equal, 1 for a jump."""
    steps = (images[:, 1:] - images[:, :-1]).flatten(2).norm(dim=2)
    return steps.amax(1) / steps.sum(1).clamp(min=1e-9)


def walks(pair, ends, stored, stored_images):
    """Lines and arcs between pairs of latents, beside a cross-fade and a memory that gives the nearest stored image."""
    first, last = ends[::2], ends[1::2]
    found, middle = {}, STEPS // 2
    images = {}
    for name, way in (("line", walking.line), ("arc", walking.arc)):
        path = way(first, last, STEPS)
        images[name] = generated(pair, path.flatten(0, 1)).unflatten(0, path.shape[:2])
    line = walking.line(first, last, STEPS)
    images["memory"] = stored_images[torch.cdist(line, stored[None]).argmin(-1)]
    images["cross-fade"] = walking.crossfade(images["line"][:, 0], images["line"][:, -1], STEPS)
    at_ends = (contrast(images["line"][:, 0]) + contrast(images["line"][:, -1])) / 2
    signs = polarity(images["line"][:, 0]) * polarity(images["line"][:, -1])
    for name, each in images.items():
        inside = contrast(each.flatten(0, 1)).unflatten(0, each.shape[:2])
        lowest = inside.amin(1) / at_ends
        found[name] = {
            "largest step": measure.bootstrap(largest_step(each)),
            "middle's contrast": measure.bootstrap(inside[:, middle] / at_ends),
            "lowest contrast, ends alike": measure.bootstrap(lowest[signs > 0]),
            "lowest contrast, ends opposite": measure.bootstrap(lowest[signs < 0]),
        }
    found["pairs"] = {"alike": int((signs > 0).sum()), "opposite": int((signs < 0).sum())}
    found["example"] = int((signs < 0).nonzero()[0])
    return found


def outcomes(before, after):
    """What an ablation did to digits that were read before it."""
    was, now = polarity(before), polarity(after)
    kept = contrast(after) >= contrast(before) / 2
    return {
        "light to dark": ((now == -1) & kept)[was == 1],
        "dark to light": ((now == 1) & kept)[was == -1],
        "bleached": ~kept[was != 0],
    }


def units(pair, stage, count, chosen_on, tested_on):
    """Units picked by what removing each alone does to some images, removed together from others, beside random ones."""
    before = generated(pair, chosen_on)
    number = pair.generator.stages[stage][0].out_channels
    shifts, losses = torch.zeros(number), torch.zeros(number)
    for unit in range(number):
        with ablate(pair.generator, stage, [unit]):
            after = generated(pair, chosen_on)
        shifts[unit] = (readings(after) - readings(before)).mean()
        losses[unit] = (contrast(before) - contrast(after)).mean()
    groups = {
        "light": shifts.argsort()[:count],
        "dark": shifts.argsort(descending=True)[:count],
        "contrast": losses.argsort(descending=True)[:count],
    }
    before = generated(pair, tested_on)
    found = {"units": {name: group.tolist() for name, group in groups.items()}, "of": number}
    for name, group in groups.items():
        with ablate(pair.generator, stage, group):
            after = generated(pair, tested_on)
        found[name] = {kind: share(hits) for kind, hits in outcomes(before, after).items()}
    rates = {kind: [] for kind in found["light"]}
    random = stream(0, f"random units {stage}")
    part = tested_on[:100]
    for _ in range(DRAWS):
        with ablate(pair.generator, stage, torch.randperm(number, generator=random)[:count]):
            after = generated(pair, part)
        for kind, hits in outcomes(before[:100], after).items():
            rates[kind].append(hits.float().mean().item())
    found["random"] = {
        kind: [
            sum(each) / DRAWS,
            *torch.tensor(each).quantile(torch.tensor([0.025, 0.975])).tolist(),
        ]
        for kind, each in rates.items()
    }
    return found


def shuffled(pair, z, light):
    """Twenty light digits without the light units, and without as many random ones, mixed, for an eye that must not know.

    Returns the images and, for each, whether the light units are off.
    """
    before = generated(pair, z)
    chosen = z[(polarity(before) == 1).nonzero()[:20, 0]]
    random = torch.randperm(64, generator=stream(0, "random units for the eye"))[: len(light)]
    images = []
    for units in (light, random):
        with ablate(pair.generator, "16x16", units):
            images.append(generated(pair, chosen))
    order = torch.randperm(40, generator=stream(0, "order for the eye"))
    return torch.cat(images)[order], (torch.arange(40) < 20)[order]


def kinds(images):
    """Which samples are light on cold ground, dark on cold and dark on warm ground."""
    signs, warm = polarity(images), warmth(images)
    low, high = warm.quantile(torch.tensor([0.25, 0.75]))
    return (signs == 1) & (warm < low), (signs == -1) & (warm < low), (signs == -1) & (warm > high)


def shuffled_sums(pair, pool, images):
    """Sixteen sums of latents and the same of pixels, mixed; and for each image whether it is of latents."""
    random = stream(0, "exemplars for the eye")
    chosen = [arithmetic.pick(group, 3, 16, random) for group in kinds(images)]
    latents = generated(pair, arithmetic.combine(*(pool[some] for some in chosen)))
    both = torch.cat([latents, arithmetic.pixels(*(images[some] for some in chosen))])
    order = torch.randperm(32, generator=stream(0, "order of sums for the eye"))
    return both[order], (torch.arange(32) < 16)[order]


def sums_by_eye(of_latents):
    """How many of the sums of `shuffled_sums` an eye could read, of latents and of pixels."""
    legible = torch.tensor([letter == "Y" for letter in SUMS_BY_EYE])
    return {"sum": share(legible[of_latents]), "pixels": share(legible[~of_latents])}


def ablated_by_eye(images, without_light):
    """What an eye says of the digits of `shuffled`, and what the reading does, counted for each choice of units."""
    read = polarity(images)
    found = {}
    for name, on in (("light units", without_light), ("random units", ~without_light)):
        eye = [letter for letter, here in zip(ABLATED_BY_EYE, on.tolist(), strict=True) if here]
        found[name] = {
            "images": len(eye),
            "eye": {name: eye.count(letter) for name, letter in (("light", "L"), ("dark", "D"), ("unclear", "?"))},
            "reading": {name: int((read[on] == sign).sum()) for name, sign in
                        (("light", 1), ("dark", -1), ("unclear", 0))},
        }  # fmt: skip
    return found


def sums(pair, pool, images):
    """Light cold - dark cold + dark warm: light, warm and still a digit? Beside every control."""
    signs, warm = polarity(images), warmth(images)
    groups = kinds(images)
    floor = contrast(images).median() / 2
    random = stream(0, "exemplars")

    def wanted(shown):
        parts = {
            "light": polarity(shown) == 1,
            "warm": warmth(shown) > warm.median(),
            "digit": contrast(shown) >= floor,
        }
        return {"all": torch.stack(list(parts.values())).all(0), **parts}

    def counted(shown):
        return {name: share(hits) for name, hits in wanted(shown).items()}

    found = {"in the pool": counted(images), "exemplars": [int(group.sum()) for group in groups]}
    for n in (1, 3):
        a, b, c = (pool[arithmetic.pick(group, n, SETS, random)] for group in groups)
        step = arithmetic.concept(a) - arithmetic.concept(b)
        away = arithmetic.concept(c) + arithmetic.random_like(step, random)
        total = arithmetic.combine(a, b, c)
        shown = [
            generated(pair, each.flatten(0, 1)).unflatten(0, each.shape[:2]) for each in (a, b, c)
        ]
        found[str(n)] = {
            "sum": counted(generated(pair, total)),
            "sum, at the prior's norm": counted(
                generated(pair, arithmetic.with_norm(total, "matched", "normal"))
            ),
            "C alone": counted(generated(pair, arithmetic.concept(c))),
            "C + a random vector": counted(generated(pair, away)),
            "pixels": counted(arithmetic.pixels(*shown)),
        }
    light, dark = (pool[arithmetic.pick(signs == sign, 4, SETS, random)] for sign in (1, -1))
    step = arithmetic.concept(light) - arithmetic.concept(dark)
    start = pool[arithmetic.pick(signs == -1, 1, SETS, random)[:, 0]]
    other = arithmetic.random_like(step, random)
    found["turn"] = {
        name: counted(generated(pair, start + vector))
        for name, vector in (
            ("vector of four a side", step),
            ("random vector", other),
            ("nothing", 0 * step),
        )
    }
    return found


def discriminator(pair, images):
    """Guided images of D's last units, trained and random: on the digit's pixels? And does a unit know light from dark?"""
    networks = {"trained": pair.discriminator,
                "random": features.randomised(pair.discriminator, images=images)}  # fmt: skip
    signs = polarity(images)
    read, masks = signs != 0, authors.ink(images)
    field = features.receptive_field(pair.discriminator, "4x4")
    chosen = torch.randperm(256, generator=stream(0, "units of D"))[:64]
    found = {}
    for name, network in networks.items():
        answers, places = features.peaks(activations_of(network, "4x4", images))
        ranks = answers[read].argsort(0).argsort(0).double() + 1
        light = signs[read] == 1
        n, m = int(light.sum()), int((~light).sum())
        areas = (ranks[light].sum(0) - n * (n + 1) / 2) / (n * m)
        rows = {"guided": [], "plain": [], "edges": []}
        for unit in chosen.tolist():
            best = torch.where(read, answers[:, unit], -torch.inf).topk(4).indices
            where = field.masks(places[best, unit])
            maps = {
                "guided": features.saliency(network, images[best], "4x4", unit),
                "plain": features.saliency(network, images[best], "4x4", unit, rule="plain"),
                "edges": features.edges(images[best]),
            }
            for kind, each in maps.items():
                rows[kind].append(features.lift(each, masks[best], where).nanmean().item())
        lifts = {kind: torch.tensor(row) for kind, row in rows.items()}
        found[name] = {kind: measure.bootstrap(row[row.isfinite()]) for kind, row in lifts.items()}
        found[name]["units that tell light from dark"] = share((areas - 0.5).abs() > 0.3)
    found["images"] = {"all": len(images), "read": int(read.sum())}
    return found


def main():
    pair = pretrained.load("authors-svhn")
    z = {name: pair.draw_z(count, stream(0, f"authors: {name}")) for name, count in
         {"pool": 1500, "ends": 160, "chosen": 48, "tested": 240, "norms": 200}.items()}  # fmt: skip
    images = generated(pair, z["pool"])
    found = {
        "read": share(polarity(images) != 0),
        "light": share(polarity(images)[polarity(images) != 0] == 1),
    }
    experiments = {
        "by eye": lambda: by_eye(pair),
        "norms": lambda: norms(pair, z["norms"]),
        "walks": lambda: walks(pair, z["ends"], z["pool"], images),
        "sums": lambda: sums(pair, z["pool"], images),
        "discriminator": lambda: discriminator(pair, images[:600]),
        "units": lambda: {
            stage: units(pair, stage, count, z["chosen"], z["tested"])
            for stage, count in STAGES.items()
        },
    }
    experiments["sums by eye"] = lambda: sums_by_eye(shuffled_sums(pair, z["pool"], images)[1])
    experiments["ablated by eye"] = lambda: ablated_by_eye(
        *shuffled(pair, z["tested"], found["units"]["16x16"]["units"]["light"])
    )
    for name, experiment in experiments.items():
        found[name] = experiment()
        print(name, found[name], flush=True)
        shared.store(HERE / "authors.json", shared.rounded(found), __file__, authors.NAME, indent=1)


if __name__ == "__main__":
    main()
