"""Reading and editing what a network's stages compute, for a while: hooks as context managers.

For chapters 3 and 4 (paper, sections 6.2 and 6.3.1). Stages are named by their resolution, as in `models.py`.
"After" the ReLU is what a stage gives to the next, "before" it what its activation function is given; the last
layers' tanh and the discriminator's leaky rectifiers count as ReLU here. When the `with` block ends, however it
ends, the network computes the bits it computed before.

A network may be compiled, or wrapped as `DataParallel` and others do: inside a block compiled networks run without
their compiler, whose code knows no hooks. What would see no hook all the same is refused, and a block in which no pass
came through its hooks ends in a RuntimeError. A copy of the network that is made inside a block has none of them.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Hook:
    """A forward hook of one layer, which copies of the layer made meanwhile don't have."""

    def __init__(self, layer: nn.Module, act: Callable[[torch.Tensor], torch.Tensor | None]):
        self.act, self.layer, self.fired = act, layer, False
        self.copies: list[nn.Module] = []
        self.handle = layer.register_forward_hook(self)

    def __call__(
        self, _layer: nn.Module, _inputs: Any, output: torch.Tensor
    ) -> torch.Tensor | None:
        self.fired = True
        return self.act(output)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable:
        if id(self.layer) in memo:
            self.copies.append(memo[id(self.layer)])
        return _nothing

    def remove(self) -> None:
        self.handle.remove()
        for copy in self.copies:
            for key in [key for key, hook in copy._forward_hooks.items() if hook is _nothing]:
                del copy._forward_hooks[key]


def _nothing(*_: Any) -> None:
    """What a copy has in place of a hook, until the block ends."""


@contextmanager
def hooked(
    layers: Iterable[nn.Module], act: Callable[[torch.Tensor], torch.Tensor | None], where: str
) -> Iterator[None]:
    """Gives `act` each output of the layers, to read or to replace, while the block runs.

    Arguments: `act`, from a layer's output to another one, or to None, which changes nothing; `where`, what an error
    calls the layers. Raises RuntimeError at the end if no pass came through any of them.
    """
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # or nothing is compiled; to import it takes a second
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        hooks = []
        for layer in layers:
            hooks.append(_Hook(layer, act))
            stack.callback(hooks[-1].remove)
        yield
        if hooks and not any(hook.fired for hook in hooks):
            raise RuntimeError(
                f"no pass of this network came through {where} inside the block, so nothing was read or edited: "
                "call the network that was given, inside the block"
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside wrappers such as `torch.compile`, `DataParallel` or an average of weights; it has `.stages`.

    Raises ValueError for what holds no such network, is spread over devices, or is traced or scripted, where no hook
    could be.
    """
    inner: Any = model
    while inner is not None:
        if isinstance(inner, torch.jit.ScriptModule | torch.fx.GraphModule):
            raise ValueError(
                f"hooks don't reach into a {type(inner).__name__}: give the network that it was made from"
            )
        if isinstance(inner, nn.DataParallel) and len(inner.device_ids) > 1:
            raise ValueError(
                f"the network is spread over {len(inner.device_ids)} devices: give its .module, which is on one"
            )
        wrapped = next(
            (inner._modules[k] for k in ("_orig_mod", "module") if k in inner._modules), None
        )
        if wrapped is None and "stages" in inner._modules:
            return cast(nn.Module, inner)
        inner = wrapped
    raise ValueError(
        f"a {type(model).__name__} without .stages is no network whose stages could be named: see dcgan_book.models"
    )


@contextmanager
def retain(
    model: nn.Module, *stages: str, before_relu: bool = False
) -> Iterator[dict[str, torch.Tensor]]:
    """Keeps what the named stages compute in a dict, which every forward pass fills anew.

    The tensors, (n, units, h, w), hang in the graph, so gradients flow to them unless the pass was made without.
    Inside an `ablate` they are read after its edit, around one before it. Raises ValueError for a stage that the
    network does not have.

    >>> from dcgan_book.models import Generator
    >>> generator = Generator(width=4)
    >>> with retain(generator, "8x8") as activations:
    ...     _ = generator(torch.zeros(2, 100))
    >>> activations["8x8"].shape
    torch.Size([2, 16, 8, 8])
    """
    kept: dict[str, torch.Tensor] = {}
    with ExitStack() as stack:
        for stage, layer in [(stage, _layer(model, stage, before_relu)) for stage in stages]:

            def keep(output, stage=stage):
                kept[stage] = output

            stack.enter_context(hooked([layer], keep, f"stage {stage}"))
        yield kept


@torch.no_grad()
def activations_of(
    model: nn.Module, stage: str, inputs: torch.Tensor, before_relu: bool = False, batch: int = 128
) -> torch.Tensor:
    """What a stage computes for many inputs, `batch` at a time.

    Arguments: `inputs`, latents (n, z_dim) or images (n, channels, size, size). Returns (n, units, h, w), on the CPU.
    Raises ValueError for a stage that the network does not have.
    """
    device = next(model.parameters()).device
    found = []
    with retain(model, stage, before_relu=before_relu) as kept:
        for part in inputs.split(batch):
            model(part.to(device))
            found.append(kept[stage].cpu())
    return torch.cat(found)


@contextmanager
def ablate(
    model: nn.Module,
    stage: str,
    units: torch.Tensor | Sequence[int],
    value: float | str | torch.Tensor | Sequence[float] = 0,
    region: torch.Tensor | None = None,
    before_relu: bool = False,
) -> Iterator[None]:
    """Sets feature maps of a stage to a constant in every forward pass (paper, section 6.3.1: to zero, everywhere).

    Arguments: `units`, indices of the maps; `value`, a number, or one for each of `units`, or "mean", each map's
    own mean over the batch and its locations (for a mean that does not hang on the batch give numbers); `region`,
    a bool mask (h, w), or (n, h, w) with one for each image, outside which nothing is set; `before_relu`, whether
    the value goes through the stage's activation function. A value above zero in a region inserts instead
    (GAN Dissection). Raises ValueError for stages, units, values or regions that do not fit.

    >>> from dcgan_book.models import Generator
    >>> generator = Generator(width=4)
    >>> with ablate(generator, "8x8", [0, 3]), retain(generator, "8x8") as activations:
    ...     _ = generator(torch.zeros(2, 100))
    >>> activations["8x8"][:, [0, 3]].abs().max().item()
    0.0
    """
    layer = _layer(model, stage, before_relu)
    convolution = cast(nn.Conv2d, _stages(model)[stage][0])
    count, side = convolution.out_channels, int(stage.split("x")[0])
    units = torch.as_tensor(units).long().flatten()
    _check_units(units, count, stage)
    if not isinstance(value, str):
        value = torch.as_tensor(value)
    _check_value(value, len(units))
    if region is not None:
        region = torch.as_tensor(region)
        _check_region(region, stage, side)

    def edit(output):
        index = units.to(output.device)
        old = output.index_select(1, index)
        new = old.mean((0, 2, 3)) if isinstance(value, str) else value.to(output).expand(len(units))
        new = new[:, None, None].expand_as(old)
        if region is not None:
            new = torch.where(region.view(-1, 1, side, side).to(output.device), new, old)
        return output.index_copy(1, index, new)

    with hooked([layer], edit, f"stage {stage}"):
        yield


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by each batch's own statistics, as the authors' code does even when sampling.

    After an ablation it then normalises anew, which fixed statistics don't. The running statistics stand still. Raises
    ValueError for a network without BatchNorm, traced ones among them.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    if not norms:
        raise ValueError(
            f"a {type(model).__name__} has no BatchNorm whose statistics could be a batch's own"
        )
    before = [(norm.training, norm.track_running_stats) for norm in norms]
    try:
        for norm in norms:
            norm.training, norm.track_running_stats = True, False
        yield
    finally:
        for norm, (training, tracking) in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = training, tracking


def _check_units(units: torch.Tensor, count: int, stage: str) -> None:
    if len(units) and not 0 <= units.min() <= units.max() < count:
        last = count - 1
        raise ValueError(f"units are {units.min()} to {units.max()}; stage {stage} has 0 to {last}")


def _check_value(value: str | torch.Tensor, count: int) -> None:
    if isinstance(value, str):
        if value != "mean":
            raise ValueError(f'value is {value!r}; it is a number, one for each unit, or "mean"')
    elif value.shape not in ((), (count,)):
        shape = tuple(value.shape)
        raise ValueError(
            f"value has shape {shape}; give one number, or one for each of {count} units"
        )


def _check_region(region: torch.Tensor, stage: str, side: int) -> None:
    mask = region.dtype == torch.bool and region.ndim in (2, 3)
    if not mask or region.shape[-2:] != (side, side):
        raise ValueError(
            f"region is {region.dtype} {tuple(region.shape)}; "
            f"stage {stage} needs bool ({side}, {side}) or (n, {side}, {side})"
        )


def _stages(model: nn.Module) -> Mapping[str, nn.Sequential]:
    # PyTorch's own types know no attribute of a module
    return cast("Mapping[str, nn.Sequential]", unwrapped(model).stages)


def _layer(model: nn.Module, stage: str, before_relu: bool) -> nn.Module:
    """The layer of a stage whose output is what is asked for."""
    stages = _stages(model)
    if stage not in stages:
        raise ValueError(f"there is no stage {stage!r}; this network has {', '.join(stages)}")
    layers = stages[stage]
    if not before_relu:
        return layers
    if len(layers) == 1:
        raise ValueError(f"stage {stage} has no activation function, so nothing is before it")
    return layers[-2]
