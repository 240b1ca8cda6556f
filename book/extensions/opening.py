"""The book's first page: `{opening}` is the live room, `{chapter-tiles}` five pictures that lead to the chapters.

Both are made from the weights that ship, when the book is built.
"""

import html
from pathlib import Path

import torch
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dcgan_book import arithmetic, features, figures, live, measure, pretrained, walking
from dcgan_book.hooks import ablate, activations_of
from dcgan_book.latents import draw_z, stream, to_batch
from dcgan_book.live.figures import picture_uri
from dcgan_book.teaching import experiments
from dcgan_book.worlds import rooms as world

BOOK = Path(__file__).parents[1]
OFF = 80  # units of 256 that the button switches off
WALK = 7  # rooms on it
STYLE = """<style>
.chapter-tiles { display: grid; grid-template-columns: repeat(5, 1fr); gap: 0.8rem; margin: 1.6rem 0 2.4rem; padding: 0 }
.chapter-tiles a { display: block; text-decoration: none; color: inherit; font-size: 0.85rem; line-height: 1.35 }
.chapter-tiles img { width: 100%; border-radius: 6px; display: block; margin-bottom: 0.4rem }
.chapter-tiles b { display: block; font-size: 1rem; color: var(--pst-color-link) }
.chapter-tiles a:is(:hover, :focus-visible) b { text-decoration: underline }
@media (max-width: 760px) { .chapter-tiles { grid-template-columns: 1fr 1fr } }
</style>"""
TILES = {
    "01-training": ("Train it", "Four moments of one training.", "one latent at four moments of a training, from noise to a room"),
    "02-walking": ("Walk in it", "Four points on one line between two rooms.", "four rooms on a line between two latents"),
    "03-features": ("What D sees", "What a unit responds to, trained and random.",
                    "two rooms; below them, what moves a unit of the trained discriminator and one of random weights"),
    "04-forgetting": ("Forget windows", f"Below, {OFF} units are off.", "two rooms with windows, and below them the same rooms with units off"),
    "05-arithmetic": ("Add faces", "Smiling woman − woman + man = ?", "means of smiling women, of women, of men, and the sum"),
}  # fmt: skip


def ranking():
    """The units of 8x8 by their direct effect on windows, the first ranking of chapter 4's live figure."""
    effect = experiments.load(BOOK / "experiments" / "forgetting.json")["direct_8x8"]
    return torch.tensor(effect).argsort(descending=True)


def windowed(trained, instrument, count):
    """The first latents whose rooms have a window that the instrument is sure of: (count, z_dim)."""
    z = draw_z(40, trained.generator.z_dim, trained.card["prior"], generator=stream(0, "opening"))
    with torch.no_grad():
        sure = instrument.read(trained.generator(z)).probability["window"]
    return z[sure.argsort(descending=True, stable=True)[:count]]


def trained_tile(trained):
    times = [round(share * (len(trained.film) - 1)) for share in (0.1, 0.2, 0.4, 1.0)]
    return to_batch(trained.film[times, 0])


def walked(trained, z):
    with torch.no_grad():
        return trained.generator(walking.line(z[0], z[2], 4))


def seen(discriminator):
    """A drawn room twice, and what moves the strongest unit there of this discriminator and of a random one."""
    photos = to_batch(world.dataset(6, seed=3_400_026, progress=False).images)
    guided, photo = [], photos[:1]
    for network in (discriminator, features.randomised(discriminator, seed=0, images=photos)):
        unit = int(activations_of(network, "4x4", photo).amax((2, 3)).argmax())
        guided.append(figures.signed(features.saliency(network, photo, "4x4", unit)))
    return torch.cat([photo, photo, *guided])


def forgotten(trained, z):
    with torch.no_grad():
        before = trained.generator(z[:2])
        with ablate(trained.generator, "8x8", ranking()[:OFF].tolist()):
            return torch.cat([before, trained.generator(z[:2])])


def added(trained, instrument):
    """Means of ten smiling women, ten other women and ten other men, and their sum."""
    prior = trained.card["prior"]
    pool = draw_z(400, trained.generator.z_dim, prior, generator=stream(0, "faces"))
    with torch.no_grad():
        factors = instrument.factors(trained.generator(pool))
    smile, woman = factors["smile"], torch.from_numpy(factors["presentation"] == "woman")
    order = smile.argsort(descending=True)
    trays = [
        order[woman[order]][:10],
        order[woman[order]].flip(0)[:10],
        order[~woman[order]].flip(0)[:10],
    ]
    means = [pool[tray].mean(0) for tray in trays]
    total = arithmetic.combine(*(pool[tray] for tray in trays), prior=prior)
    with torch.no_grad():
        return trained.generator(torch.stack([*means, total]))


class Opening(SphinxDirective):
    def run(self):
        trained, instrument = pretrained.load("rooms"), measure.load()
        z = windowed(trained, instrument, WALK)
        figure = live.opening(trained, z, ranking()[:OFF], instrument)
        return [nodes.raw("", figure.html(), format="html")]


class Tiles(SphinxDirective):
    def run(self):
        rooms, faces, instrument = (
            pretrained.load("rooms"),
            pretrained.load("faces"),
            measure.load(),
        )
        z = windowed(rooms, instrument, 3)
        shown = [trained_tile(rooms), walked(rooms, z), seen(rooms.discriminator), forgotten(rooms, z),
                 added(faces, measure.load("faces"))]  # fmt: skip
        made = []
        for (page, (title, words, label)), images in zip(TILES.items(), shown, strict=True):
            source = picture_uri(figures.sheet(images, 2), quality=85)
            made.append(
                f'<a href="{page}.html"><img src="{source}" width="128" height="128" alt="{html.escape(label)}">'
                f"<b>{title}</b>{html.escape(words)}</a>"
            )
        body = f'{STYLE}<div class="chapter-tiles">{"".join(made)}</div>'
        return [nodes.raw("", body, format="html")]


def setup(app):
    app.add_directive("opening", Opening)
    app.add_directive("chapter-tiles", Tiles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
