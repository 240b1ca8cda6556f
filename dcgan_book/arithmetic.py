"""Arithmetic with latents: concepts as means of exemplars, A - B + C, neighbours, norms, directions.

For chapter 5 (paper, section 6.3.2). Latents lie along the last dimension, exemplars of a concept along the one
before, and leading dimensions are so many sums at once; (..., z_dim, 1, 1), as in PyTorch's tutorial, will do too.
Latents to choose exemplars from come from `draw_z`,
what is in their images an instrument says (`fits`), and whether a sum came out (`outcome`). `walking.along` takes
steps along a direction.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from dcgan_book.latents import as_latents

# of a neighbour, each number of z up or down, for the uniform prior (paper, section 6.3.2)
NOISE = 0.25
SPREADS = {"uniform": 1 / math.sqrt(3), "normal": 1.0}  # standard deviation of a number of z
NORMS = ("free", "matched", "projected")
PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # that ridge regression chooses from
# what a sum of faces should leave as it was in C
KEPT = ("presentation", "glasses", "beard", "yaw", "smile")
# degrees, and of the smile's range: a change that counts as none
TOLERANCE = {"yaw": 15.0, "smile": 0.25}


def concept(exemplars):
    """What exemplars have in common: their mean. (..., n, z_dim) to (..., z_dim).

    >>> concept(torch.tensor([[1.0, 0.0], [3.0, 2.0]])).tolist()
    [2.0, 1.0]
    """
    return as_latents(exemplars).mean(-2)


def combine(a, b, c, norm="free", prior="uniform"):
    """mean(A) - mean(B) + mean(C), for example smiling woman - neutral woman + neutral man.

    Arguments: `a`, `b`, `c`, exemplars (..., n, z_dim), n of their own for each; `norm` and `prior`, see `with_norm`.
    Returns (..., z_dim).
    """
    return with_norm(concept(a) - concept(b) + concept(c), norm, prior)


def with_norm(z, how="free", prior="uniform"):
    """A latent with its norm handled: the mean of n exemplars is shorter than they are, a sum of means longer.

    Arguments: `z`, (..., z_dim); `how`, "free" (left as it is), "matched" (scaled to the prior's usual norm,
    `usual_norm`) or "projected" (moved to the nearest latent that the prior draws: into the cube for the uniform
    prior, for the normal one the same as matched); `prior`, "uniform" or "normal".
    Raises ValueError for another `how` or `prior`.
    """
    if how not in NORMS:
        raise ValueError(f"norm {how!r}: it is one of {', '.join(NORMS)}")
    z = as_latents(z)
    usual = usual_norm(prior, z.shape[-1])
    if how == "projected" and prior == "uniform":
        return z.clamp(-1, 1)
    return z if how == "free" else F.normalize(z, dim=-1) * usual


def usual_norm(prior="uniform", z_dim=100):
    """The root mean square norm of a prior's latents: 5.77 and 10 for 100 numbers."""
    return _spread(prior) * math.sqrt(z_dim)


def neighbours(z, prior="uniform", generator=None, n=8):
    """A latent among noisy copies of itself: the paper's nine, the latent in the middle.

    To each number is added uniform noise up to 0.25, as in the paper, whose prior is uniform on [-1, 1]; for the
    normal prior it grows with the spread, to 0.43. Arguments: `z`, (..., z_dim); `generator`, the torch.Generator
    to draw noise from; `n`, how many copies, an even number. Returns (..., n + 1, z_dim), entry n // 2 bit for bit `z`.
    """
    z, reach = as_latents(z), NOISE * _spread(prior) / SPREADS["uniform"]
    copies = z[..., None, :].repeat_interleave(n + 1, -2)
    noise = (torch.rand(copies.shape, generator=generator) * 2 - 1) * reach
    noise[..., n // 2, :] = 0
    return copies + noise.to(z)


def pixels(a, b, c):
    """The same arithmetic on images, the control: (..., n, 3, h, w) each, to (..., 3, h, w), clipped to [-1, 1]."""
    return (a.mean(-4) - b.mean(-4) + c.mean(-4)).clamp(-1, 1)


def random_like(vector, generator=None):
    """A random direction with the length of `vector`, (..., z_dim): the control for a direction with a meaning."""
    vector = as_latents(vector)
    noise = torch.randn(vector.shape, generator=generator).to(vector)
    return F.normalize(noise, dim=-1) * vector.norm(dim=-1, keepdim=True)


def pick(fits, n, times, generator=None):
    """Exemplars by lot: `times` sets of `n` indices of the entries that fit, none twice in a set, (times, n).

    Arguments: `fits`, bool (m,); `generator`, a torch.Generator. Raises ValueError if fewer than `n` fit.
    """
    found = torch.as_tensor(fits).nonzero().flatten()
    if len(found) < n:
        raise ValueError(
            f"{len(found)} latents fit and a concept takes {n}: draw more, or ask for less"
        )
    order = torch.rand(times, len(found), generator=generator).argsort(1)
    return found[order[:, :n]]


def fits(reading, **facts):
    """Which images have all of the facts, bool (n,).

    Arguments: `reading`, a `measure.Reading`; `facts`, the name of an object, "face" or a factor to what it should be:
    True or False, a choice, or a pair of lowest and highest. Raises ValueError for a name or a choice that there is not.
    """
    good = torch.ones(len(reading), dtype=torch.bool)
    for name, fact in facts.items():
        value = _value(reading, name)
        if isinstance(fact, str):
            _check_choice(name, fact, value)
        if isinstance(fact, tuple):
            good &= (value >= fact[0]) & (value <= fact[1])
        else:
            good &= torch.as_tensor(value == fact)
    return good


@dataclass(frozen=True)
class Outcome:
    """What became of n sums, three bools (n,): whether the target `arrived`, everything else `stayed`, and the image
    is `whole`, still a face or a room. `success` is all three."""

    arrived: torch.Tensor
    stayed: torch.Tensor
    whole: torch.Tensor

    @property
    def success(self):
        """All three, bool (n,)."""
        return self.arrived & self.stayed & self.whole


def outcome(after, before, target, kept=KEPT, whole="face"):
    """Scores n sums A - B + C, each beside its own C. Returns an `Outcome`.

    Arguments: `after` and `before`, `measure.Reading`s of G(A - B + C) and of G(C); `target`, facts as `fits` takes
    them; `kept`, names of what should be as before, the target aside, within `TOLERANCE`; `whole`, the object without
    which an image is none of its kind. Raises ValueError for a name that there is not.
    """
    stayed = torch.ones(len(after), dtype=torch.bool)
    for name in (name for name in kept if name not in target):
        now, then = _value(after, name), _value(before, name)
        stayed &= (
            (now - then).abs() <= TOLERANCE[name]
            if name in TOLERANCE
            else torch.as_tensor(now == then)
        )
    return Outcome(fits(after, **target), stayed, _value(after, whole))


def turn(left, right):
    """The vector from faces that look left to faces that look right, (..., n, z_dim) each (paper: four and four).

    Half of it, either way from a face that looks ahead, should be such a face. Returns (..., z_dim).
    """
    return concept(right) - concept(left)


@dataclass(frozen=True)
class Regression:
    """A number of an image as a linear function of its latent: z @ weights + offset; made by `regress`.

    `weights` is (z_dim,). `r2` is the share of the variance that it explains of latents it has not seen (ten folds).
    """

    weights: torch.Tensor
    offset: float
    r2: float

    @property
    def direction(self):
        """The shortest step in z for which the number should grow by one, (z_dim,)."""
        return self.weights / self.weights.square().sum()

    def __call__(self, z):
        """The expected numbers of latents (..., z_dim)."""
        z = as_latents(z)
        return z @ self.weights.to(z) + self.offset


def regress(z, values):
    """Ridge regression of `values`, (n,), on latents, (n, z_dim), its penalty by cross-validation. A `Regression`.

    It uses every latent, where a difference of two means uses those at both ends.
    """
    points, targets = (
        as_latents(z).double().cpu().numpy(),
        torch.as_tensor(values).double().cpu().numpy(),
    )
    model = RidgeCV(PENALTIES)
    guesses = cross_val_predict(model, points, targets, cv=10)
    r2 = 1 - ((targets - guesses) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()
    model.fit(points, targets)
    return Regression(torch.from_numpy(model.coef_).float(), float(model.intercept_), float(r2))


def _value(reading, name):
    known = reading.factors | reading.presence
    if name not in known:
        raise ValueError(
            f"there is nothing called {name!r} in an image; there are {', '.join(known)}"
        )
    return known[name]


def _check_choice(name, fact, value):
    """Refuses a choice that nothing has because there is no such choice."""
    if isinstance(value, torch.Tensor):
        raise ValueError(
            f"{name} is {fact!r}; it is no choice of words: give True or False, or lowest and highest"
        )
    if not (value == fact).any():
        from dcgan_book.measure.network import SCHEMAS  # whoever has a reading has loaded it

        options = {option for schema in SCHEMAS.values() for option in schema.choices.get(name, ())}
        if fact not in options:
            raise ValueError(
                f"{name} is {fact!r}; it is one of {', '.join(sorted(options | set(value.tolist())))}"
            )


def _spread(prior):
    if prior not in SPREADS:
        raise ValueError(f"prior {prior!r}: it is one of {', '.join(SPREADS)}")
    return SPREADS[prior]
