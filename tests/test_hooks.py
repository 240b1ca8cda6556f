"""Retaining reads what a stage computes, ablating sets what it says and nothing else, and both leave no trace."""

import copy

import pytest
import torch
from torch import nn

from dcgan_book.hooks import ablate, activations_of, batch_statistics, retain, unwrapped
from dcgan_book.latents import draw_z, recalibrate, stream
from dcgan_book.models import Discriminator, Generator, initialise

STAGES = ["4x4", "8x8", "16x16", "32x32"]


@pytest.fixture(scope="module")
def generator():
    generator = initialise(Generator(width=4, z_dim=10), stream(0, "weights"))
    return recalibrate(generator, count=256).requires_grad_(False)


@pytest.fixture(scope="module")
def discriminator():
    return initialise(Discriminator(width=4), stream(1, "weights")).eval()


@pytest.fixture(scope="module")
def z():
    return draw_z(6, 10, generator=stream(0, "z"))


def by_hand(network, inputs):
    """What every layer of every stage gives, as lists by stage."""
    x, found = inputs, {}
    for stage, layers in network.stages.items():
        found[stage] = []
        for layer in layers:
            x = layer(x)
            found[stage].append(x)
    return found


def hooks_left(network):
    return sum(
        len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in network.modules()
    )


def test_retain_reads_each_stage_before_and_after_its_activation(generator, discriminator, z):
    images = generator(z)
    for network, inputs, first in (
        (generator, z, z[:, :, None, None]),
        (discriminator, images, images),
    ):
        expected = by_hand(network, first)
        stages = [stage for stage, layers in network.stages.items() if len(layers) > 1]
        with (
            retain(network, *stages) as after,
            retain(network, *stages, before_relu=True) as before,
        ):
            network(inputs)
        assert list(after) == list(before) == stages
        for stage in stages:
            assert torch.equal(after[stage], expected[stage][-1])
            assert torch.equal(before[stage], expected[stage][-2])
    assert before["8x8"].min() < after["8x8"].min() < 0, (
        "a leaky rectifier shrinks what is below zero"
    )


def test_gradients_flow_to_what_is_retained(discriminator, generator, z):
    with retain(discriminator, "4x4") as kept:
        logits = discriminator(generator(z))
    (gradient,) = torch.autograd.grad(logits.sum(), kept["4x4"])
    last = discriminator.stages["1x1"][0].weight[0]
    assert torch.allclose(gradient, last.expand_as(gradient))


def test_many_inputs_go_in_batches(generator, z):
    with retain(generator, "8x8", before_relu=True) as kept:
        generator(z)
    found = activations_of(generator, "8x8", z, before_relu=True, batch=4)
    assert torch.allclose(found, kept["8x8"], atol=1e-6) and found.shape == (6, 16, 8, 8)


@pytest.mark.parametrize("before_relu", [False, True])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("value", [0, 1.5, "mean", "each"])
def test_ablating_sets_the_units_and_no_other(generator, z, stage, before_relu, value):
    units = [3, 0]
    clean = activations_of(generator, stage, z, before_relu)
    expected = clean.clone()
    if value == "mean":
        expected[:, units] = (
            clean[:, units].mean((0, 2, 3))[:, None, None].expand_as(expected[:, units])
        )
    else:
        value = torch.tensor([0.5, -2.0]) if value == "each" else value
        expected[:, units] = (
            torch.as_tensor(value).float().expand(2)[:, None, None].expand_as(expected[:, units])
        )
    with ablate(generator, stage, units, value, before_relu=before_relu):
        assert torch.equal(activations_of(generator, stage, z, before_relu), expected)
        if before_relu:
            assert torch.equal(activations_of(generator, stage, z), expected.relu())
        edited = generator(z)
    x = expected.relu() if before_relu else expected
    for later in list(generator.stages)[STAGES.index(stage) + 1 :]:
        x = generator.stages[later](x)
    assert torch.equal(edited, x), "the rest of the network is given the edited maps"


def test_zero_is_the_same_before_and_after_relu(generator, z):
    with ablate(generator, "16x16", [1, 2]):
        after = generator(z)
    with ablate(generator, "16x16", [1, 2], before_relu=True):
        assert torch.equal(generator(z), after)
    assert not torch.equal(generator(z), after)


def test_a_region_leaves_the_rest_alone(generator, z):
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 5] = True
    clean = activations_of(generator, "8x8", z)
    with ablate(generator, "8x8", [7], 3, region=mask):
        edited = activations_of(generator, "8x8", z)
    assert (edited[:, 7, mask] == 3).all()
    edited[:, 7, mask] = clean[:, 7, mask]
    assert torch.equal(edited, clean)
    each = torch.zeros(6, 8, 8, dtype=torch.bool)
    each[4] = mask
    with ablate(generator, "8x8", [7], 3, region=each):
        images = generator(z)
    changed = (images != generator(z)).flatten(1).any(1)
    assert changed.tolist() == [False, False, False, False, True, False]


def test_the_discriminator_can_be_edited_too(generator, discriminator, z):
    images = generator(z)
    with ablate(discriminator, "8x8", range(16)), retain(discriminator, "8x8") as kept:
        discriminator(images)
    assert kept["8x8"].abs().max() == 0


def test_edits_nest_and_none_leaves_a_trace(generator, z):
    state = copy.deepcopy(generator.state_dict())
    images = generator(z)
    with ablate(generator, "8x8", [0]):
        one = generator(z)
        with ablate(generator, "8x8", [1]), ablate(generator, "32x32", [0]):
            assert not torch.equal(generator(z), one)
        assert torch.equal(generator(z), one)
    with (
        pytest.raises(KeyError),
        ablate(generator, "8x8", [0]),
        retain(generator, "4x4"),
        batch_statistics(generator),
    ):
        generator(z)
        raise KeyError("an error inside")
    assert hooks_left(generator) == 0
    assert torch.equal(generator(z), images)
    assert all(torch.equal(value, state[name]) for name, value in generator.state_dict().items())
    with ablate(generator, "8x8", []):
        assert torch.equal(generator(z), images), "no units, no edit"


def test_what_was_retained_around_an_edit_stays_as_it_was(generator, z):
    clean = activations_of(generator, "8x8", z)
    with retain(generator, "8x8") as kept, ablate(generator, "8x8", [0, 1]):
        generator(z)
    assert torch.equal(kept["8x8"], clean), "an edit in place would have overwritten it"


def test_a_dead_unit_is_replaced_and_not_multiplied(generator, z):
    with ablate(generator, "8x8", [2], float("nan")):
        with ablate(generator, "8x8", [2], 0):
            assert generator(z).isfinite().all()
        assert generator(z).isnan().any()


def test_batch_statistics_are_those_of_training_mode(generator, z):
    trained = copy.deepcopy(generator).train()
    state = copy.deepcopy(generator.state_dict())
    with batch_statistics(generator):
        images = generator(z)
        assert torch.equal(images, trained(z))
        assert not torch.allclose(generator(z[:3]), images[:3], atol=1e-4), "they hang on the batch"
    assert all(torch.equal(value, state[name]) for name, value in generator.state_dict().items())
    assert not any(layer.training for layer in generator.modules())
    assert all(
        layer.track_running_stats
        for layer in generator.modules()
        if isinstance(layer, nn.BatchNorm2d)
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("12x12", [0]), "no stage '12x12'; this network has 4x4, 8x8, 16x16, 32x32, 64x64"),
        (("8x8", [0, 16]), "units are 0 to 16; stage 8x8 has 0 to 15"),
        (("8x8", [-1]), "units are -1 to -1"),
        (("8x8", [0], "median"), 'one for each unit, or "mean"'),
        (("8x8", [0, 1], torch.zeros(3)), "one for each of 2 units"),
        (("8x8", [0], 0, torch.ones(8, 8)), "torch.float32"),
        (("8x8", [0], 0, torch.ones(4, 4, dtype=torch.bool)), r"bool \(8, 8\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(generator, arguments, message):
    with pytest.raises(ValueError, match=message) as refusal, ablate(generator, *arguments):
        pass
    assert "\n" not in str(refusal.value) and hooks_left(generator) == 0


def test_nothing_is_before_an_activation_that_is_not_there(discriminator):
    with (
        pytest.raises(ValueError, match="1x1 has no activation"),
        retain(discriminator, "1x1", before_relu=True),
    ):
        pass


# Networks in wrappers, copies, and hooks that are not there


def compiled(network):
    return torch.compile(network, backend="eager")


def compiled_before(network):
    """Compiled and run, so that code without hooks is at hand."""
    network = compiled(network)
    network(draw_z(6, 10))
    return network


def compiled_in_place(network):
    network = copy.deepcopy(network)
    network.compile(backend="eager")
    network(draw_z(6, 10))
    return network


WRAPPERS = {
    "compiled": compiled, "run": compiled_before, "in place": compiled_in_place, "parallel": nn.DataParallel,
    "averaged": torch.optim.swa_utils.AveragedModel, "both": lambda network: compiled(nn.DataParallel(network)),
}  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapped_network_is_read_and_edited_as_it_is_bare(generator, z, wrap):
    wrapped = wrap(generator).eval()
    plain = wrapped(z)
    with ablate(wrapped, "8x8", [0, 3]), retain(wrapped, "8x8", "16x16") as kept:
        images = wrapped(z)
    with ablate(generator, "8x8", [0, 3]), retain(generator, "8x8", "16x16") as expected:
        assert torch.equal(images, generator(z)) and not torch.equal(images, plain)
    assert all(torch.equal(kept[stage], expected[stage]) for stage in ("8x8", "16x16"))
    assert torch.equal(activations_of(wrapped, "4x4", z), activations_of(generator, "4x4", z))
    assert torch.equal(wrapped(z), plain) and hooks_left(wrapped) == 0


def test_compiled_code_is_left_aside_also_where_the_bare_network_was_given(generator, z):
    fast = compiled_before(generator)
    with ablate(generator, "8x8", range(16)):
        edited = fast(z)
    assert not torch.equal(edited, fast(z))


@pytest.mark.filterwarnings("ignore")  # PyTorch advises against tracing
@pytest.mark.parametrize(
    "other",
    [
        copy.deepcopy,
        lambda network: torch.jit.trace(network, torch.zeros(6, 10)),
        lambda network: torch.jit.freeze(torch.jit.trace(network, torch.zeros(6, 10))),
        lambda network: lambda z: None,
    ],
    ids=["another one", "traced", "frozen", "no call"],
)
def test_a_hook_that_no_pass_came_through_is_an_error(generator, z, other):
    called = other(generator)
    for block in (ablate(generator, "8x8", [0]), retain(generator, "4x4", "8x8")):
        with pytest.raises(
            RuntimeError, match="no pass of this network came through stage"
        ) as fault:
            with block:
                called(z)
        assert "\n" not in str(fault.value) and hooks_left(generator) == 0


def test_an_error_inside_is_not_hidden_by_a_hook_that_did_not_fire(generator):
    with pytest.raises(KeyError, match="inside"), ablate(generator, "8x8", [0]):
        raise KeyError("inside")


@pytest.mark.filterwarnings("ignore")  # PyTorch advises against tracing
@pytest.mark.parametrize(
    "wrap, message",
    [
        (lambda network: torch.jit.trace(network, torch.zeros(6, 10)), "hooks don't reach into a TopLevelTracedModule"),
        (lambda network: nn.DataParallel(torch.jit.trace(network, torch.zeros(6, 10))), "hooks don't reach into"),
        (lambda network: torch.fx.symbolic_trace(nn.Sequential(*network.stages.values())), "hooks don't reach into a"),
        (lambda network: nn.Sequential(network), "a Sequential without .stages is no network"),
        (lambda network: nn.Linear(2, 3), "a Linear without .stages is no network"),
    ],
)  # fmt: skip
def test_what_hooks_do_not_reach_into_is_refused(generator, wrap, message):
    for block in (ablate(wrap(generator), "8x8", [0]), retain(wrap(generator), "8x8")):
        with pytest.raises(ValueError, match=message) as refusal, block:
            pass
        assert "\n" not in str(refusal.value)


def test_a_network_spread_over_devices_is_refused(generator):
    spread = nn.DataParallel(generator)
    spread.device_ids = [0, 1]  # as with two GPUs, where each would have a part of the batch
    with pytest.raises(ValueError, match="spread over 2 devices: give its .module"):
        unwrapped(spread)


def test_copies_made_inside_are_clean_inside_and_afterwards(generator, z):
    images = generator(z)
    with ablate(generator, "8x8", range(16)), retain(generator, "16x16") as kept:
        edited = generator(z)
        before = kept["16x16"]
        copies = [
            copy.deepcopy(generator),
            copy.deepcopy(copy.deepcopy(generator)),
            torch.optim.swa_utils.AveragedModel(generator).module,
            copy.deepcopy(nn.ModuleList([generator, generator]))[1],
        ]
        for each in copies:
            assert torch.equal(each(z), images)
        assert kept["16x16"] is before, "what a copy computes is not the network's"
        assert torch.equal(generator(z), edited)
    for each in copies[:1] + copies[2:]:
        assert hooks_left(each) == 0
    assert all(torch.equal(each(z), images) for each in copies) and hooks_left(generator) == 0


def test_a_users_own_hooks_go_with_a_copy(generator, z):
    with ablate(generator, "8x8", [0]):
        handle = generator.stages["8x8"].register_forward_hook(lambda *_: None)
        twin = copy.deepcopy(generator)
        generator(z)
        handle.remove()
    assert hooks_left(twin) == 1


def test_latents_of_the_tutorials_shape_are_read_too(generator, z):
    expected = activations_of(generator, "8x8", z)
    assert torch.equal(activations_of(generator, "8x8", z[:, :, None, None], batch=4), expected)


@pytest.mark.filterwarnings("ignore")  # PyTorch advises against tracing
def test_batch_statistics_are_for_networks_with_batchnorm(generator, z):
    traced = torch.jit.trace(generator, z)
    for model in (traced, nn.Sequential(nn.Conv2d(3, 3, 1)), nn.Linear(2, 2)):
        with pytest.raises(ValueError, match="has no BatchNorm"), batch_statistics(model):
            pass
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(generator))
    with batch_statistics(synchronised):
        norms = [layer for layer in synchronised.modules() if isinstance(layer, nn.SyncBatchNorm)]
        assert len(norms) == 4 and all(layer.training for layer in norms)


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel])
def test_batch_statistics_of_a_wrapped_network(generator, z, wrap):
    wrapped = wrap(generator).eval()
    images = wrapped(z)
    with batch_statistics(generator):
        expected = generator(z)
    with batch_statistics(wrapped):
        assert torch.equal(wrapped(z), expected)
    assert torch.equal(wrapped(z), images) and not torch.equal(images, expected)
