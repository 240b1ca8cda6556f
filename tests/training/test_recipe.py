"""The step is the plain one, and each remedy does what it says and nothing when off."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import TINY, pair, same, train, weights
from torch import nn

from dcgan_book import training
from dcgan_book.latents import draw_z, recalibrate, stream, to_batch
from dcgan_book.models import initialise
from dcgan_book.training import loop, machine, recipe
from dcgan_book.training.recipe import TrainConfig, TrainingError


def test_a_step_is_that_of_the_plain_loop():
    """Against `pytorch/examples/dcgan`, in double precision, over three steps."""
    ours = [network.double() for network in pair()]
    plain = copy.deepcopy(ours)
    adams = [training.adam(network, 2e-4) for network in ours]
    plain_adams = [
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in plain
    ]
    before = weights(ours[0])
    random = torch.Generator().manual_seed(1)
    for _ in range(3):
        real = torch.rand(6, 3, 64, 64, generator=random).double() * 2 - 1
        z = draw_z(6, 8, generator=random).double()
        losses = training.gan_step(*ours, *adams, real, z)

        (generator, discriminator), (adam_g, adam_d) = plain, plain_adams
        discriminator.zero_grad()
        d_real = discriminator(real).sigmoid()
        fake = generator(z)
        d_fake = discriminator(fake.detach()).sigmoid()
        d_loss = F.binary_cross_entropy(d_real, torch.ones_like(d_real))
        d_loss = d_loss + F.binary_cross_entropy(d_fake, torch.zeros_like(d_fake))
        d_loss.backward()
        adam_d.step()
        generator.zero_grad()
        belief = discriminator(fake).sigmoid()
        g_loss = F.binary_cross_entropy(belief, torch.ones_like(belief))
        g_loss.backward()
        adam_g.step()

        expected = {
            "d_loss": d_loss,
            "g_loss": g_loss,
            "d_real": d_real.mean(),
            "d_fake": d_fake.mean(),
        }
        for name, value in expected.items():
            torch.testing.assert_close(losses[name].double(), value.detach(), rtol=1e-4, atol=1e-6)
    for network, reference in zip(ours, plain, strict=True):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, reference.state_dict()[name], rtol=1e-4, atol=2e-6)
    moved = max((a - b).abs().max() for a, b in zip(weights(ours[0]), before, strict=True))
    assert moved > 1e-4  # fifty times the tolerance


def test_each_network_learns_from_its_own_loss_alone():
    generator, discriminator = pair()
    optimisers = [
        torch.optim.SGD(network.parameters(), lr=0) for network in (generator, discriminator)
    ]
    real, z = torch.rand(6, 3, 64, 64) * 2 - 1, draw_z(6, 8)
    training.gan_step(generator, discriminator, *optimisers, real, z)
    found = [
        [weight.grad for weight in network.parameters()] for network in (generator, discriminator)
    ]
    assert all(weight.requires_grad for weight in discriminator.parameters())

    fake = generator(z)
    g_loss = training.cross_entropy(discriminator(fake), 1)
    d_loss = training.cross_entropy(discriminator(real), 1) + training.cross_entropy(
        discriminator(fake.detach()), 0
    )
    for gradients, loss, network in zip(
        found, (g_loss, d_loss), (generator, discriminator), strict=True
    ):
        torch.testing.assert_close(
            tuple(gradients), torch.autograd.grad(loss, list(network.parameters()))
        )


def test_smoothing_is_one_sided_and_see_stands_before_d():
    generator, discriminator = pair()
    optimisers = [
        torch.optim.SGD(network.parameters(), lr=0) for network in (generator, discriminator)
    ]
    real, z = torch.rand(6, 3, 64, 64) * 2 - 1, draw_z(6, 8)
    seen, shown = [], []
    discriminator.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))

    def see(images):
        seen.append(images.detach())
        return images / 2

    losses = training.gan_step(generator, discriminator, *optimisers, real, z, 0.1, see)
    fake = generator(z).detach()
    for images, expected in zip(seen, (real, fake, fake), strict=True):
        torch.testing.assert_close(images, expected)
    for images, expected in zip(shown, seen, strict=True):
        assert torch.equal(images, expected / 2)
    on_real, on_fake = (discriminator(part).detach().sigmoid() for part in (real / 2, fake / 2))
    d_loss = -(0.9 * on_real.log() + 0.1 * (1 - on_real).log()).mean() - (1 - on_fake).log().mean()
    torch.testing.assert_close(losses["d_loss"], d_loss)
    torch.testing.assert_close(losses["g_loss"], -on_fake.log().mean())


@pytest.mark.parametrize("count, batch", [(10, 4), (12, 4), (7, 3), (3, 8), (1, 4)])
def test_every_image_comes_once_an_epoch(count, batch):
    steps = 3 * count  # 3 * batch epochs
    stream = np.concatenate(
        [training.batch_indices(count, batch, step, 5) for step in range(steps)]
    )
    assert len(stream) == steps * batch
    epochs = stream.reshape(-1, count)
    assert (np.sort(epochs) == np.arange(count)).all()
    if count > 3:
        assert len(np.unique(epochs, axis=0)) > 1, "every epoch has the same order"
        assert (training.batch_indices(count, batch, 0, 6) != stream[:batch]).any(), (
            "the seed changes nothing"
        )


def test_bare_it_is_the_papers_recipe():
    config = TrainConfig()
    assert (config.batch, config.prior, config.z_dim, config.lr_d, config.lr_g) == (
        128,
        "uniform",
        100,
        2e-4,
        2e-4,
    )
    assert config.beta1 == 0.5
    remedies = (
        config.instance_noise,
        config.label_smoothing,
        config.r1,
        config.relativistic,
        config.ema,
    )
    assert not any(remedies) and config.decay_from == 1 and config.limit is None
    optimiser = training.adam(nn.Linear(2, 2), config.lr_d, config.beta1).param_groups[0]
    assert (
        optimiser["lr"] == 2e-4
        and optimiser["betas"] == (0.5, 0.999)
        and optimiser["weight_decay"] == 0
    )


def test_choices_are_checked_without_the_command_line_too():
    for name, value in {"prior": "cauchy", "kernel_size": 3, "precision": "fp8"}.items():
        with pytest.raises(TrainingError, match=f"{name} is {value!r}"):
            TrainConfig(**{name: value})


class Spy:
    """A step that keeps its arguments, and its networks' weights before and after."""

    def __init__(self):
        self.calls = []

    def __call__(self, generator, discriminator, *rest):
        before = weights(generator), weights(discriminator)
        losses = recipe.gan_step(generator, discriminator, *rest)
        self.calls.append((rest[2:], before, (weights(generator), weights(discriminator))))
        return losses


def test_off_a_remedy_does_nothing(images):
    spy = Spy()
    trained = train(replace(TINY, steps=2), images, step=spy)
    (real, z, smoothing, see, r1, relativistic), _, _ = spy.calls[0]
    assert (
        (smoothing, r1, relativistic) == (0, 0, False) and see(real) is real and trained.ema is None
    )
    assert z.shape == (4, 8) and z.abs().max() <= 1
    first = np.sort(training.batch_indices(24, 4, 0, 0))
    assert torch.equal(real, to_batch(images[first]))


def test_instance_noise_changes_only_what_d_sees(images):
    spy = Spy()
    for noise in (0.0, 0.5):
        train(replace(TINY, steps=1, instance_noise=noise), images, step=spy)
    ((real, z, *_), before, _), ((noisy_real, noisy_z, _, see, *_), noisy_before, _) = spy.calls
    assert torch.equal(real, noisy_real) and torch.equal(z, noisy_z) and same(before, noisy_before)
    noise, other = (see(real) - real for _ in range(2))
    for drawn in (noise, other):
        assert abs(drawn.mean()) < 0.02 and abs(drawn.std() - 0.5) < 0.02
    assert abs((noise * other).mean()) < 0.02, "the same noise twice"


def test_instance_noise_falls_to_nothing_where_asked(images):
    spy = Spy()
    train(replace(TINY, steps=6, instance_noise=0.4, noise_steps=4), images, step=spy)
    spread = [(see(real) - real).std().item() for (real, _, _, see, *_), _, _ in spy.calls]
    assert spread == pytest.approx([0.4, 0.3, 0.2, 0.1, 0, 0], rel=0.02)


def test_one_sided_labels_and_two_learning_rates(images):
    """Adam's first step moves every weight by its learning rate."""
    spy = Spy()
    train(replace(TINY, steps=1, lr_d=1e-3, lr_g=1e-5, label_smoothing=0.2), images, step=spy)
    (_, _, smoothing, *_), before, after = spy.calls[0]
    assert smoothing == 0.2
    for old, new, rate in zip(before, after, (1e-5, 1e-3), strict=True):
        moved = torch.cat([(a - b).abs().flatten() for a, b in zip(old, new, strict=True)])
        torch.testing.assert_close(moved.median(), torch.tensor(rate), rtol=0.02, atol=0)


def test_the_moving_average_is_its_formula(images):
    history = []

    def keep(progress):
        history.append(weights(progress.generator))

    trained = train(replace(TINY, steps=12, ema=0.5, lr_g=1e-2), images, on_step=keep)
    average = [
        weight.double()
        for weight in weights(initialise(loop.networks_of(TINY)[0], stream(0, "weights")))
    ]
    for step, live in enumerate(history, 1):
        decay = min(0.5, step / (step + 9))
        average = [decay * old + (1 - decay) * new for old, new in zip(average, live, strict=True)]
    for found, expected, live in zip(weights(trained.ema), average, history[-1], strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
        assert not torch.equal(found, live)
    assert all(weight.is_leaf and not weight.requires_grad for weight in trained.ema.parameters())

    twin = recalibrate(copy.deepcopy(trained.ema), count=128)
    z = draw_z(64, 8, generator=stream(0, "fixed z"))
    torch.testing.assert_close(trained.samples, twin(z).detach())


def test_a_watching_average_changes_nothing_in_the_run(images):
    plain, watched = (train(replace(TINY, ema=ema), images) for ema in (0.0, 0.9))
    assert same(plain.generator.state_dict(), watched.generator.state_dict())


# ------------------------------------------------------------------------- R1, pairs, falling rates


class Quadratic(nn.Module):
    """A discriminator whose logit is w x + a x^2 / 2, summed over the pixels: its gradient is w + a x."""

    def __init__(self, random):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 4, 4, generator=random).double())
        self.a = nn.Parameter(torch.randn(3, 4, 4, generator=random).double())

    def forward(self, images):
        return (self.w * images + self.a * images**2 / 2).flatten(1).sum(1)


def test_the_penalty_is_half_the_squared_gradient_at_real_images():
    """By hand: mean over the images of |w + a x|^2 / 2, and its gradients (w + a x) and (w + a x) x."""
    random = torch.Generator().manual_seed(0)
    network, images = Quadratic(random).float(), torch.randn(5, 3, 4, 4, generator=random)
    penalty = recipe.gradient_penalty(network, images)
    slope = (network.w + network.a * images).detach()
    torch.testing.assert_close(penalty.detach(), slope.square().sum((1, 2, 3)).mean() / 2)
    penalty.backward()
    torch.testing.assert_close(network.w.grad, slope.mean(0))
    torch.testing.assert_close(network.a.grad, (slope * images).mean(0))
    assert not images.requires_grad


def test_the_penalty_agrees_with_finite_differences_on_a_discriminator():
    """Along single pixels, in eval mode and double precision, where an image's logit is its own."""
    _, discriminator = pair()
    discriminator.double().eval()
    real = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double() * 2 - 1

    class InDouble(nn.Module):  # the penalty computes in float, which is too coarse for differences
        def forward(self, images):
            return discriminator(images.double())

    penalty = recipe.gradient_penalty(InDouble(), real).item()
    grown = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(grown).sum(), grown)
    for place in ((0, 0, 5, 9), (1, 2, 40, 33)):
        apart = torch.zeros_like(real)
        apart[place] = 1e-5
        with torch.no_grad():
            slope = (discriminator(real + apart) - discriminator(real - apart)).sum() / 2e-5
        assert slope.item() == pytest.approx(gradient[place].item(), rel=1e-4, abs=1e-9)
    assert penalty == pytest.approx(gradient.square().sum((1, 2, 3)).mean().item() / 2, rel=1e-4)


def test_r1_is_added_to_ds_gradient_and_to_nothing_else():
    random = torch.Generator().manual_seed(1)
    real, z = torch.rand(6, 3, 64, 64, generator=random) * 2 - 1, draw_z(6, 8, generator=random)
    found = {}
    for r1 in (0.0, 3.0):
        networks = pair()
        optimisers = [torch.optim.SGD(network.parameters(), lr=0) for network in networks]
        losses = recipe.gan_step(*networks, *optimisers, real, z, r1=r1)
        found[r1] = (
            [[weight.grad for weight in network.parameters()] for network in networks],
            losses,
        )
    discriminator = pair()[1]
    penalty = torch.autograd.grad(
        recipe.gradient_penalty(discriminator, real),
        list(discriminator.parameters()),
        allow_unused=True,
    )
    (plain, plain_losses), (with_r1, losses) = found.values()
    for before, after, part in zip(plain[1], with_r1[1], penalty, strict=True):
        torch.testing.assert_close(
            after, before if part is None else before + 3 * part, rtol=1e-4, atol=1e-6
        )
    torch.testing.assert_close(with_r1[0], plain[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses, plain_losses, rtol=1e-4, atol=1e-6)
    assert max(part.abs().max() for part in penalty if part is not None) > 1e-4


def test_lazy_r1_comes_every_so_many_steps_and_so_much_stronger(images):
    spy = Spy()
    train(replace(TINY, steps=5, r1=0.5, r1_every=2), images, step=spy)
    assert [given[4] for given, _, _ in spy.calls] == [1.0, 0, 1.0, 0, 1.0]


def test_a_relativistic_d_judges_pairs():
    """D is told how much more real x is than G(z), -log sigmoid(D(x) - D(G(z))); G wants the opposite."""
    generator, discriminator = pair()
    optimisers = [
        torch.optim.SGD(network.parameters(), lr=0) for network in (generator, discriminator)
    ]
    real, z = torch.rand(6, 3, 64, 64) * 2 - 1, draw_z(6, 8)
    losses = recipe.gan_step(generator, discriminator, *optimisers, real, z, relativistic=True)
    found = [
        [weight.grad for weight in network.parameters()] for network in (generator, discriminator)
    ]
    fake = generator(z)
    d_loss = -F.logsigmoid(discriminator(real) - discriminator(fake.detach())).mean()
    g_loss = -F.logsigmoid(discriminator(fake) - discriminator(real)).mean()
    torch.testing.assert_close(losses["d_loss"], d_loss.detach())
    torch.testing.assert_close(losses["g_loss"], g_loss.detach())
    for gradients, loss, network in zip(
        found, (g_loss, d_loss), (generator, discriminator), strict=True
    ):
        torch.testing.assert_close(
            tuple(gradients), torch.autograd.grad(loss, list(network.parameters()))
        )


@pytest.mark.parametrize(
    "decay_from, shares",
    [
        (1.0, [1, 1, 1, 1, 1, 1, 1, 1]),
        (0.5, [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        (0.0, [(8 - k) / 8 for k in range(8)]),
    ],
)
def test_rates_fall_in_a_straight_line_from_a_share_of_the_steps_on(images, decay_from, shares):
    rates = []

    def step(generator, discriminator, optimiser_g, optimiser_d, *rest):
        rates.append([optimiser.param_groups[0]["lr"] for optimiser in (optimiser_g, optimiser_d)])
        return recipe.gan_step(generator, discriminator, optimiser_g, optimiser_d, *rest)

    config = replace(TINY, steps=8, lr_g=1e-3, lr_d=1e-4, decay_from=decay_from)
    train(config, images, step=step)
    assert rates == [pytest.approx([1e-3 * share, 1e-4 * share]) for share in shares]


def test_off_by_default_each_remedy_leaves_the_bits_of_a_plain_loop(images):
    """Two steps written out, without the trainer and without any remedy, have its weights to the bit."""
    config = replace(TINY, steps=2)
    trained = train(config, images)
    first, random = stream(0, "weights"), stream(0, "z")
    networks = [
        initialise(network, first).to(memory_format=torch.channels_last)
        for network in loop.networks_of(config)
    ]
    optimisers = [recipe.adam(network, 2e-4) for network in networks]
    with machine.threads_of(1):
        for step in range(2):
            real = to_batch(images[np.sort(recipe.batch_indices(24, 4, step, 0))])
            recipe.gan_step(*networks, *optimisers, real, draw_z(4, 8, "uniform", random))
    for network, ours in zip(networks, (trained.generator, trained.discriminator), strict=True):
        assert same(network.state_dict(), ours.state_dict())


def test_on_each_new_remedy_changes_the_run(images):
    plain = train(replace(TINY, steps=4), images)
    for change in ({"r1": 1.0}, {"relativistic": True}, {"decay_from": 0.0}):
        changed = train(replace(TINY, steps=4, **change), images)
        assert not same(plain.discriminator.state_dict(), changed.discriminator.state_dict()), (
            change
        )


@pytest.mark.parametrize(
    "change", [{"r1": -1}, {"r1_every": 0}, {"decay_from": 1.1}, {"decay_from": -0.1}]
)
def test_new_remedies_take_no_impossible_values(change):
    (name, value), *_ = change.items()
    with pytest.raises(TrainingError, match=f"{name} is {value}"):
        TrainConfig(**change)
