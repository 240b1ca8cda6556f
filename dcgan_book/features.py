"""What the discriminator's units see (paper, section 6.2), and its features as a classifier's input (section 5).

A unit is one feature map of a stage. `top_patches` finds where a pool of images drives it most, `saliency` which
pixels did it: the plain gradient, or guided backpropagation (Springenberg and others 2014); `grad_cam` (Selvaraju
and others 2017) answers at a stage's resolution. Guided images look sharp whatever the weights are (Adebayo and
others 2018), so the controls stand here too: `randomised`, `edges`, and a number, `lift`. Networks are
in eval mode. Images go in as float (n, 3, h, w) in [-1, 1] or uint8 (n, h, w, 3), of the network's size; what comes out
is on the CPU.
"""

import copy
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn
from tqdm.auto import tqdm

from dcgan_book.hooks import hooked, retain, unwrapped
from dcgan_book.latents import stream, to_batch
from dcgan_book.measure.intervals import Estimate
from dcgan_book.models import initialise, side_of
from dcgan_book.worlds.rooms import OBJECTS

RULES = ("plain", "strict", "leaky")
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in a grey (ITU-R BT.601)
GRID = 4  # cells across to which the paper pools every layer (section 5)
LEAST = 0.1  # share of a location's square from which on an object is there
SELECTIVE = 2 / 3  # share of comparisons that a unit which selects an object gets right


def dissected(found):
    """The discriminator of a `Pretrained` in the mode and with the statistics in which its units are asked.

    That is eval mode, with the running BatchNorm statistics that the training left, of real and generated batches.
    """
    return found.discriminator.eval()


@contextmanager
def guided(model, rule="strict"):
    """Rectifiers hand back only gradients above zero, in passes begun inside the `with` block.

    The method was made for plain rectifiers, and a leaky one leaves two readings. "strict" is the original: a
    gradient passes where it and the rectifier's input are above zero. "leaky" keeps the rectifier's own slope: a
    gradient above zero passes, times 0.2 where the input is below. "plain" changes nothing. No output changes, and
    no hook is left. Raises ValueError for another rule, or a model without `nn.ReLU` or `nn.LeakyReLU` in it.

    >>> model, x = nn.Sequential(nn.LeakyReLU(0.2)), torch.tensor([-1.0, 1.0, 1.0], requires_grad=True)
    >>> with guided(model, "leaky"):
    ...     y = model(x)
    >>> y.backward(torch.tensor([1.0, 1.0, -1.0]))
    >>> x.grad
    tensor([0.2000, 1.0000, 0.0000])
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; it is one of {', '.join(RULES)}")
    rectifiers = [layer for layer in model.modules() if isinstance(layer, nn.ReLU | nn.LeakyReLU)]
    if rule == "plain":
        yield
        return
    if not rectifiers:
        raise ValueError(
            "this model has no nn.ReLU or nn.LeakyReLU layer, so nothing in it can be guided"
        )

    def guide(output):
        if output.requires_grad:
            above = output > 0 if rule == "strict" else None  # an output has its input's sign
            output.register_hook(
                lambda gradient: gradient.relu() if above is None else gradient.relu() * above
            )

    with hooked(rectifiers, guide, "its rectifiers"):
        yield


def peaks(maps):
    """Where feature maps (..., h, w) are largest: the values (...), and rows and columns as one tensor (..., 2)."""
    values, index = maps.flatten(-2).max(-1)
    width = maps.shape[-1]
    return values, torch.stack([index // width, index % width], -1)


@torch.inference_mode(False)
def saliency(model, images, stage, unit, rule="strict", at="peak", sign=1, batch=64):
    """The gradient of a unit's response with respect to each image, (n, 3, h, w) (paper, section 6.2).

    Arguments: `unit`, an index, or one for each image, (n,); `rule`, one of `RULES`, see `guided`; `at`, "peak" for
    the location of each image's largest response, "map" for the sum over the map, or rows and columns, (n, 2);
    `sign`, -1 for what lowers the response. D's logit is unit 0 of stage "1x1". Under "strict" a response below
    zero has no saliency. Raises ValueError for a model in training mode, or units and places that it does not have.
    """
    found = []
    with guided(model, rule), retain(model, stage) as kept:
        for pixels, score in _passes(model, images, stage, unit, at, sign, batch, kept):
            found.append(torch.autograd.grad(score, pixels)[0].cpu())
    return torch.cat(found)


@torch.inference_mode(False)
def grad_cam(model, images, layer="4x4", stage="1x1", unit=0, at="peak", sign=1, batch=64):
    """Grad-CAM of a unit, by default of D's logit: which cells of a layer speak for it, (n, h, w), from 0 up.

    The layer's maps are added, each weighted by its mean gradient over the map, and cut off below zero (Selvaraju
    and others 2017). `layer` is the stage whose maps are added; the rest as in `saliency`. See `enlarge`.
    Raises ValueError if the layer comes after the unit's stage.
    """
    names = list(unwrapped(model).stages)
    if layer in names and stage in names and names.index(layer) > names.index(stage):
        raise ValueError(
            f"layer {layer} comes after stage {stage}, whose units do not depend on it"
        )
    found = []
    with retain(model, layer, stage) as kept:
        for _, score in _passes(model, images, stage, unit, at, sign, batch, kept):
            weights = torch.autograd.grad(score, kept[layer])[0].mean((2, 3), keepdim=True)
            found.append((weights * kept[layer]).sum(1).relu().detach().cpu())
    return torch.cat(found)


# ------------------------------------------------------------------------------------------- receptive fields


@dataclass(frozen=True)
class Field:
    """The receptive fields of a stage, in pixels: location i sees `size` of them from `start + jump * i` on.

    At the borders a field reaches beyond the image, `side` pixels wide, where the network sees zeros.
    """

    size: int
    jump: int
    start: int
    side: int = field(default=64, repr=False)

    def masks(self, locations, side=None):
        """The part of each field that lies in the image: rows and columns (n, 2) to bool (n, side, side).

        `side` is by default that of the network's images.
        """
        side = side or self.side
        first = (self.start + self.jump * locations)[..., None]
        within = (torch.arange(side) >= first) & (torch.arange(side) < first + self.size)
        return within[:, 0, :, None] & within[:, 1, None, :]

    def crop(self, images, locations, fill=0):
        """What each location sees: images (n, c, h, w), locations (n, 2) to (n, c, size, size), `fill` outside."""
        padded = F.pad(images, [self.size] * 4, value=fill)
        crops = []
        for image, corner in zip(
            padded, self.start + self.jump * locations + self.size, strict=True
        ):
            top, left = corner.tolist()
            crops.append(image[:, top : top + self.size, left : left + self.size])
        return torch.stack(crops)


def receptive_field(model, stage):
    """The `Field` of a stage, from the kernels, strides and paddings of the convolutions up to it.

    Raises ValueError for a stage that is not there, or layers other than convolutions that mix locations.

    >>> from dcgan_book.models import Discriminator
    >>> receptive_field(Discriminator(width=4), "4x4")
    Field(size=46, jump=16, start=-15)
    """
    model = unwrapped(model)
    if stage not in model.stages:
        raise ValueError(f"there is no stage {stage!r}; this network has {', '.join(model.stages)}")
    size, jump, start = 1, 1, 0
    for name, layers in model.stages.items():
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                start -= jump * layer.padding[0]
                size += jump * layer.dilation[0] * (layer.kernel_size[0] - 1)
                jump *= layer.stride[0]
            elif hasattr(layer, "kernel_size"):
                raise ValueError(
                    f"receptive fields are worked out for nn.Conv2d, not for {type(layer).__name__}"
                )
        if name == stage:
            return Field(size, jump, start, getattr(model, "size", 64))


def enlarge(maps, field, side=None):
    """A stage's maps (n, h, w) at the image's resolution, (n, side, side): linear between the fields' middles.

    `side` is by default that of the network's images. Resizing as usual takes a cell's own square for its place, which with kernels of 5 is half a cell off.
    """
    n, height, width = maps.shape
    side = side or field.side
    place = (torch.arange(side) + 0.5 - field.start - field.size / 2) / field.jump
    rows, columns = torch.meshgrid(
        2 * place / max(height - 1, 1) - 1, 2 * place / max(width - 1, 1) - 1, indexing="ij"
    )
    grid = torch.stack([columns, rows], -1).expand(n, -1, -1, -1)
    return F.grid_sample(maps[:, None].float(), grid, padding_mode="border", align_corners=True)[
        :, 0
    ]


@dataclass(frozen=True)
class TopPatches:
    """For each unit the `k` strongest responses of a pool, the strongest first.

    `images`, indices into the pool, and `responses` are (units, k); `locations`, rows and columns, (units, k, 2).
    """

    images: torch.Tensor
    locations: torch.Tensor
    responses: torch.Tensor


@torch.no_grad()
def top_patches(model, pool, stage, k=9, batch=128, progress=True):
    """The images and places that drive each unit of a stage most, each image at most once; see `TopPatches`.

    `pool` is read batch by batch (it may be memory-mapped), and only the best so far are kept. Of equal
    responses the first image's counts. Raises ValueError if the pool has fewer than `k` images.
    """
    if not 1 <= k <= len(pool):
        raise ValueError(f"k is {k}; with a pool of {len(pool)} images it is 1 to {len(pool)}")
    _check_eval(model)
    best = None
    with (
        retain(model, stage) as kept,
        tqdm(total=len(pool), unit="image", disable=not progress) as bar,
    ):
        for start, part in _batches(model, pool, batch):
            model(part)
            responses, locations = (found.cpu().transpose(0, 1) for found in peaks(kept[stage]))
            images = torch.arange(start, start + len(part)).expand(len(responses), -1)
            new = responses, images, locations
            if best is not None:
                responses, images, locations = (
                    torch.cat(pair, 1) for pair in zip(best, new, strict=True)
                )
            responses, order = (
                part[:, :k] for part in responses.sort(dim=1, descending=True, stable=True)
            )
            best = (
                responses,
                images.gather(1, order),
                locations.gather(1, order[..., None].expand(-1, -1, 2)),
            )
            bar.update(len(part))
    responses, images, locations = best
    return TopPatches(images, locations, responses)


# ---------------------------------------------------------------------------------------------- the controls


def randomised(model, stages=None, seed=0, images=None, batch=128):
    """A copy in eval mode whose `stages`, by default all, have new random weights (see `initialise`).

    Every stage has a random stream of its own: random alone or with others, it gets the same weights. With
    `images` the statistics of the new BatchNorm layers are taken over them; without, they stay 0 and 1, and units
    on top of trained stages may answer above zero everywhere or nowhere. Raises ValueError for a stage that is not
    there.
    """
    device = next(model.parameters()).device
    network = copy.deepcopy(unwrapped(model)).cpu().eval()  # the random streams are the CPU's
    stages = list(network.stages) if stages is None else stages
    for stage in stages:
        if stage not in network.stages:
            raise ValueError(
                f"there is no stage {stage!r}; this network has {', '.join(network.stages)}"
            )
        initialise(network.stages[stage], stream(seed, f"random {stage}"))
    network.to(device)
    norms = [
        layer
        for stage in stages
        for layer in network.stages[stage]
        if isinstance(layer, nn.BatchNorm2d)
    ]
    if images is not None:
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().momentum = None  # a plain mean over the batches
        with torch.no_grad():
            for _, part in _batches(network, images, batch):
                network(part)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval().momentum = momentum
    return network


def edges(images):
    """An edge detector, which knows nothing of objects: the Sobel magnitude of the grey images, (n, h, w).

    Arguments: `images`, (n, 3, h, w). Borders are repeated outwards.
    """
    grey = (images * torch.tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([kernel, kernel.T])[:, None]
    return F.conv2d(F.pad(grey, [1] * 4, mode="replicate"), kernels).norm(dim=1)


def lift(maps, masks, fields=None, power=2):
    """How much more of a map's energy lies on an object than of its area: (n,), 1 if it does not prefer it.

    The share of the energy inside the object's true mask, over the mask's share of the receptive field.
    Arguments: `maps`, (n, 3, h, w) or (n, h, w), any signs; `masks`, bool (n, h, w); `fields`, bool (n, h, w), what
    the unit can see (`Field.masks`), by default all; energy is |value| to the `power`, summed over colours.
    NaN where a field holds nothing of the object, or a map nothing at all.
    """
    energy = maps.double().abs() ** power
    if energy.ndim == 4:
        energy = energy.sum(1)
    masks = torch.as_tensor(masks)
    fields = torch.ones_like(masks) if fields is None else fields
    energy = energy * fields
    inside = (energy * masks).sum((1, 2)) / energy.sum((1, 2))
    area = (masks & fields).sum((1, 2)).double() / fields.sum((1, 2))
    return inside / area


def covered(masks, stage="4x4"):
    """The share of each location's own square of the image that an object covers: bool (n, side, side) to (n, h, w).

    Raises ValueError for what names no stage.
    """
    masks = torch.as_tensor(masks)
    side = masks.shape[-1]
    return F.avg_pool2d(masks[:, None].float(), side // side_of(stage, side))[:, 0]


def shown(data, name):
    """Where rooms show an object: its share of each place, (n, 4, 4), and the places that show another, bool (n, 4, 4).

    Arguments: `data`, a `rooms.Rooms`; `name`, one of `rooms.OBJECTS`.
    """
    shares = {each: covered(data.mask(each)) for each in OBJECTS}
    mine = shares.pop(name)
    return mine, torch.stack(list(shares.values())).amax(0) >= LEAST


def selectivity(maps, shares, against=None, least=LEAST):
    """How surely each unit's response tells where an object is: (units,), from 0 to 1, 0.5 for none of it.

    The share of pairs of images in which the one with the object at a place has the larger response there (the area
    under the ROC curve). Both are of the same place, so that no unit gains by knowing where objects usually are.
    Arguments: `maps`, (n, units, h, w); `shares`, (n, h, w), from `covered`; the object is there from a share of
    `least` on, and is not where it is 0; what lies between is left out; `against`, bool (n, h, w), which places
    without the object count, by default all: among those with other objects, a detector of anything gains nothing.
    Several objects at once, shares and against (objects, n, h, w), give (objects, units). NaN if no place has both.
    """
    with_it = shares >= least
    without = (shares == 0) if against is None else (shares == 0) & against
    if shares.ndim == 3:
        with_it, without = with_it[None], without[None]
    right, pairs = np.zeros((len(with_it), maps.shape[1])), np.zeros((len(with_it), 1))
    for place in np.ndindex(*maps.shape[2:]):
        responses = maps[:, :, *place].float().T.numpy()
        there, absent = with_it[..., *place].numpy(), without[..., *place].numpy()
        pairs += (there.sum(1) * absent.sum(1))[:, None]
        order = np.argsort(responses, axis=1, kind="stable")
        orders = [order]
        if (np.diff(np.take_along_axis(responses, order, 1), axis=1) == 0).any():
            # equal responses also in the other order, so that such a pair counts half
            orders.append(len(maps) - 1 - np.argsort(responses[:, ::-1], axis=1, kind="stable"))
        for order in orders:
            for i in range(len(there)):
                smaller = absent[i][order].cumsum(1, dtype=np.int32)
                right[i] += (smaller * there[i][order]).sum(1) / len(orders)
    found = torch.from_numpy(
        np.divide(right, pairs, out=np.full_like(right, np.nan), where=pairs > 0)
    )
    return found[0] if shares.ndim == 3 else found


def over_networks(values, draws, resamples=2000):
    """The mean over networks, with the 95 % interval of what chance decides: which networks, and which rooms.

    Arguments: `values`, (networks,), on all rooms; `draws`, (networks, d), on resampled rooms, the same for all
    networks. Resampled rooms shift a share above a threshold, so each network's draws are centred on its value.
    Returns an Estimate.
    """
    values, draws = (torch.as_tensor(each).double() for each in (values, draws))
    draws, random = draws - draws.mean(1, keepdim=True) + values[:, None], stream(0, "networks")
    networks = torch.randint(len(values), (resamples, len(values)), generator=random)
    means = draws[networks, torch.randint(draws.shape[1], (resamples, 1), generator=random)].mean(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    value = values.mean().item()
    return Estimate(value, min(low, value), max(high, value))


# ------------------------------------------------------------------------------------- a classifier's input


@torch.no_grad()
def pooled_features(model, images, stages=None, batch=128):
    """Every stage max-pooled to 4x4 and flattened, side by side: (n, numbers) (paper, section 5).

    `stages` are by default all with 4x4 locations or more; the discriminator of width 64 then gives 15,360 numbers.
    """
    _check_eval(model)
    if stages is None:
        stages = [stage for stage in unwrapped(model).stages if int(stage.split("x")[0]) >= GRID]
    found = []
    with retain(model, *stages) as kept:
        for _, part in _batches(model, images, batch):
            model(part)
            pooled = [F.adaptive_max_pool2d(kept[stage], GRID).flatten(1) for stage in stages]
            found.append(torch.cat(pooled, 1).cpu())
    return torch.cat(found)


def l2_svm(features, labels, strength=1e-4, seed=0, scale=True):
    """A linear L2-SVM (squared hinge loss, L2 penalty; paper, section 5), fitted by scikit-learn.

    Arguments: `features`, (n, numbers), which are first scaled to mean 0 and deviation 1 unless `scale` is False;
    `labels`, (n,); `strength`, the inverse of the penalty (scikit-learn's C). Returns the pipeline: `predict`, ...
    """
    svm = LinearSVC(
        C=strength, class_weight="balanced", dual="auto", random_state=seed, max_iter=5000
    )
    return make_pipeline(*([StandardScaler()] if scale else []), svm).fit(features, labels)


def compact(features, count):
    """Scaled `features` (n, numbers) turned into the space that the first `count` of them span: (n, at most count).

    A linear L2-SVM fitted to those first ones says the same of both, for 1,000 images in a fraction of the time.
    """
    known = features[:count].double()
    deviation = known.std(0, correction=0)
    scaled = (features.double() - known.mean(0)) / torch.where(deviation > 0, deviation, 1.0)
    squares, turned = torch.linalg.eigh(scaled[:count] @ scaled[:count].T)
    real = squares > squares.max() * 1e-10
    return scaled @ (scaled[:count].T @ turned[:, real] / squares[real].sqrt())


# -------------------------------------------------------------------------------------------------- helpers


def _check_eval(model):
    if unwrapped(model).training:
        raise ValueError(
            "in training mode a response depends on the whole batch; call .eval() first"
        )


def _batches(model, images, batch):
    """Where each batch begins, and its images on the model's device."""
    device = next(model.parameters()).device
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        yield start, (part if isinstance(part, torch.Tensor) else to_batch(part)).to(device)


def _passes(model, images, stage, unit, at, sign, batch, kept):
    """For each batch its pixels, in the graph, and `sign` times the sum of the responses asked for, from `kept`."""
    _check_eval(model)
    if isinstance(at, str) and at not in ("peak", "map"):
        raise ValueError(f'at is {at!r}; it is "peak", "map", or rows and columns, (n, 2)')
    units = torch.as_tensor(unit).expand(len(images))
    for start, part in _batches(model, images, batch):
        # a copy, as what was made under `inference_mode` takes no gradients
        pixels, rows = part.detach().clone().requires_grad_(), torch.arange(len(part))
        with torch.enable_grad():
            model(pixels)
            maps = kept[stage]
            index = units[start : start + len(part), None]
            if isinstance(at, torch.Tensor):
                index = torch.cat([index, at[start : start + len(part)]], 1)
            sizes = torch.tensor(maps.shape[1:])
            if (index < 0).any() or (index >= sizes[: index.shape[1]]).any():
                count, height, width = sizes.tolist()
                raise ValueError(
                    f"a unit or place is not in stage {stage}, which has {count} maps of {height}x{width}"
                )
            if isinstance(at, str) and at == "peak":
                places = peaks(maps.detach()[rows, index[:, 0]])[1].cpu()
                index = torch.cat([index, places], 1)
            score = sign * maps[rows, *index.T].sum()
        yield pixels, score
