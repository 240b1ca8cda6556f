"""Walks start and end where they say, arcs keep their norm, and the Jacobian is the derivative."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from dcgan_book import walking
from dcgan_book.latents import draw_z, recalibrate, stream
from dcgan_book.models import Generator, initialise


def latents(n, prior="uniform", seed=0):
    return draw_z(n, 100, prior, torch.Generator().manual_seed(seed))


def norms(z):
    return z.norm(dim=-1)


def textbook_slerp(start, end, t):
    """As Shoemake wrote it, for latents of one norm that are neither parallel nor opposite."""
    a, b = start.double().numpy(), end.double().numpy()
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


@pytest.mark.parametrize("walk", [walking.line, walking.arc])
@pytest.mark.parametrize("prior", ["uniform", "normal"])
@pytest.mark.parametrize("steps", [2, 3, 10, 101])
def test_a_walk_has_the_bits_of_its_ends_and_runs_the_same_backwards(walk, prior, steps):
    start, end = latents(20, prior).split(10)
    points = walk(start, end, steps)
    assert points.shape == (10, steps, 100)
    assert torch.equal(points[:, 0], start) and torch.equal(points[:, -1], end)
    assert torch.allclose(points, walk(end, start, steps).flip(1), atol=1e-6)
    assert torch.equal(points[3], walk(start[3], end[3], steps)), (
        "one walk at a time gives the same"
    )


def test_a_line_is_straight_and_even():
    points = walking.line(*latents(2), 11)
    steps = points.diff(dim=0)
    assert torch.allclose(steps, steps[:1].expand_as(steps), atol=1e-6)
    assert torch.allclose(points[5], (points[0] + points[-1]) / 2)


def test_an_arc_is_the_textbooks_slerp_between_latents_of_one_norm():
    start, end = normalize(latents(2), dim=1) * 5.77
    points = walking.arc(start, end, 8)
    expected = np.stack([textbook_slerp(start, end, i / 7) for i in range(8)])
    assert torch.allclose(points, torch.from_numpy(expected).float(), atol=1e-6)


def test_an_arc_turns_evenly_while_its_norm_grows_evenly():
    points = walking.arc(latents(1)[0], 3 * latents(1, seed=1)[0], 21).double()
    assert torch.allclose(
        norms(points).diff(), (norms(points[-1]) - norms(points[0])) / 20, atol=1e-5
    )
    cosine = (normalize(points[1:], dim=1) * normalize(points[:-1], dim=1)).sum(1)
    assert cosine.max() - cosine.min() < 1e-6 and cosine.max() < 0.9999


@pytest.mark.parametrize("nearness", [1e-1, 1e-4, 1e-7, 1e-12, 0])
@pytest.mark.parametrize("sign", [1, -1])
def test_arcs_between_nearly_parallel_and_nearly_opposite_latents(sign, nearness):
    start, other = latents(2, "normal").double()
    end = sign * start + nearness * other
    points = walking.arc(start, end, 21)
    assert points.isfinite().all()
    lengths = norms(points)
    assert torch.allclose(
        lengths, torch.lerp(lengths[0], lengths[-1], torch.linspace(0, 1, 21).double())
    )
    angles = (normalize(points[1:], dim=1) - normalize(points[:-1], dim=1)).norm(dim=1)
    turned = 0 if sign == 1 else torch.pi / 20
    assert (angles - turned).abs().max() < 0.02 + nearness, "no step jumps"
    assert angles.max() - angles.min() < 1e-6
    single = walking.arc(start.float(), end.float(), 21)
    assert torch.allclose(norms(single).double(), lengths, atol=1e-5)


def test_an_arc_between_opposite_axes_between_equals_and_from_nothing():
    axis = torch.tensor([0.0, 2, 0])  # here rounding leaves no direction to turn in
    points = walking.arc(axis, -axis, 5)
    assert torch.allclose(norms(points), torch.tensor(2.0)) and torch.equal(
        points, walking.arc(axis, -axis, 5)
    )
    assert torch.allclose(points @ axis, 4 * torch.linspace(0, torch.pi, 5).cos(), atol=1e-6)
    assert torch.equal(walking.arc(torch.ones(3), torch.ones(3), 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match="norm 0"):
        walking.arc(torch.zeros(3), torch.ones(3), 3)


@pytest.mark.parametrize("between", [walking.line, walking.arc])
def test_a_chain_passes_through_its_points(between):
    """The paper's figure: nine points, ten steps each."""
    points = latents(9)
    walk = walking.chain(points, 10, between)
    assert walk.shape == (81, 100)
    assert torch.equal(walk[::10], points)
    assert torch.equal(walk[20:31], between(points[2], points[3], 11))
    several = walking.chain(torch.stack([points, points.flip(0)]), 10, between)
    assert torch.equal(several[0], walk) and torch.equal(
        several[1], walking.chain(points.flip(0), 10, between)
    )


def test_a_closed_chain_runs_on_without_a_doubled_frame():
    points = latents(4, "normal")
    walk = walking.chain(points, 6, walking.arc, closed=True)
    assert walk.shape == (24, 100)
    assert torch.equal(walk[::6], points)
    assert torch.equal(walk[18:], walking.arc(points[3], points[0], 7)[:-1])
    steps = norms(torch.cat([walk, walk[:1]]).diff(dim=0))
    assert steps.min() > 0.1
    assert norms(walk).min() >= norms(points).min() - 1e-5


def test_a_sweep_moves_one_coordinate():
    z = latents(3)
    points = walking.sweep(z, 7, torch.linspace(-1, 1, 5))
    assert points.shape == (3, 5, 100)
    assert torch.equal(points[..., 7], torch.linspace(-1, 1, 5).expand(3, 5))
    others = torch.arange(100) != 7
    assert torch.equal(points[..., others], z[:, None, others].expand(3, 5, 99))
    assert torch.equal(z, latents(3)), "the latent given is left alone"


def test_steps_along_a_direction():
    z, direction = latents(2)
    points = walking.along(z, direction, [-1, 0, 0.5])
    assert torch.equal(points[1], z)
    assert torch.equal(points[0], z - direction) and torch.equal(points[2], z + 0.5 * direction)


def test_a_crossfade_mixes_pixels():
    first, last = torch.rand(2, 2, 3, 8, 8) * 2 - 1
    images = walking.crossfade(first, last, 5)
    assert images.shape == (2, 5, 3, 8, 8)
    assert torch.equal(images[:, 0], first) and torch.equal(images[:, -1], last)
    assert torch.allclose(images[:, 2], (first + last) / 2)


@pytest.mark.parametrize("walk", [walking.line, walking.arc, walking.crossfade])
def test_a_walk_without_two_ends_is_refused(walk):
    with pytest.raises(ValueError, match="1 steps has no two ends"):
        walk(torch.ones(3, 4, 4), torch.ones(3, 4, 4), 1)
    with pytest.raises(ValueError, match="1 points leads nowhere"):
        walking.chain(torch.ones(1, 4), 5)


@pytest.mark.parametrize(
    "prior, single, of_three, middle, sum_of_means, sum_of_singles",
    [("uniform", 5.77, 3.33, 4.08, 5.76, 9.98), ("normal", 9.97, 5.76, 7.05, 9.98, 17.25)],
)
def test_norms_worth_knowing(prior, single, of_three, middle, sum_of_means, sum_of_singles):
    """Lines leave the prior half way, arcs do not; and averaging shrinks what arithmetic stretches."""
    a, b, c = draw_z(30_000, prior=prior, generator=torch.Generator().manual_seed(5)).view(
        3, 10_000, 100
    )

    def typical(z):
        return norms(z).mean().item()

    def means(z):
        return z[:9999].view(-1, 3, 100).mean(1)

    assert typical(a) == pytest.approx(single, abs=0.02)
    assert typical(means(a)) == pytest.approx(of_three, abs=0.02)
    assert typical(walking.line(a, b, 3)[:, 1]) == pytest.approx(middle, abs=0.02)
    assert typical(walking.arc(a, b, 3)[:, 1]) == pytest.approx(single, abs=0.02)
    assert typical(means(a) - means(b) + means(c)) == pytest.approx(sum_of_means, abs=0.04)
    assert typical(a - b + c) == pytest.approx(sum_of_singles, abs=0.04)


@pytest.fixture(scope="module")
def generator():
    """A small one that is far from linear, in double precision."""
    generator = recalibrate(
        initialise(Generator(width=4, z_dim=10), stream(0, "weights")), count=256
    ).double()
    with torch.no_grad():
        generator.stages["64x64"][0].weight.mul_(20)
    return generator


@pytest.mark.parametrize("chunk", [3, 10, 25])
def test_the_jacobian_is_the_derivative(generator, chunk):
    z = latents(1)[0, :10].double()
    matrix = walking.jacobian(generator, z, chunk)
    assert matrix.shape == (3, 64, 64, 10) and not matrix.requires_grad
    small = 1e-6 * torch.eye(10).double()
    with torch.no_grad():
        differences = ((generator(z + small) - generator(z - small)) / 2e-6).movedim(0, -1)
    assert torch.allclose(matrix, differences, atol=1e-7)
    assert differences.abs().max() > 0.1


def test_top_directions_are_those_of_a_known_map():
    random = stream(0, "known map")
    left, _ = torch.linalg.qr(torch.randn(48, 5, generator=random))
    right, _ = torch.linalg.qr(torch.randn(5, 5, generator=random))
    matrix = left * torch.tensor([9.0, 5, 3, 2, 1]) @ right.T
    found = walking.top_directions(
        lambda z: (z @ matrix.T).unflatten(1, (3, 4, 4)), torch.zeros(5), k=3
    )
    assert torch.allclose(found.gains, torch.tensor([9.0, 5, 3]), atol=1e-4)
    overlap = (found.directions @ right[:, :3]).abs()
    assert torch.allclose(overlap, torch.eye(3), atol=1e-5)
    assert found.changes.shape == (3, 3, 4, 4)
    change = found.directions @ matrix.T
    assert torch.allclose(change, found.gains[:, None] * found.changes.flatten(1), atol=1e-4), (
        "signs go together"
    )


def test_no_direction_changes_the_image_more_than_the_first(generator):
    z = latents(1)[0, :10].double()
    found = walking.top_directions(generator, z, k=10)
    others = normalize(torch.randn(50, 10, generator=stream(1, "directions")).double(), dim=1)
    small = 1e-5 * torch.cat([found.directions, others])
    with torch.no_grad():
        change = (generator(z + small) - generator(z - small)).flatten(1).norm(dim=1) / 2e-5
    assert torch.allclose(change[:10], found.gains, rtol=1e-4)
    assert change.argmax() == 0 and change.argmin() == 9
    assert (found.directions.gather(1, found.directions.abs().argmax(1, keepdim=True)) > 0).all()
    with torch.no_grad():  # where notebooks are fond of working
        again = walking.top_directions(generator, z, k=2, chunk=4)
    assert torch.allclose(again.directions, found.directions[:2])


def test_a_generator_in_training_mode_has_no_jacobian_of_its_own(generator):
    with pytest.raises(ValueError, match="eval"):
        walking.jacobian(generator.train(), torch.zeros(10).double())
    generator.eval()


@pytest.mark.parametrize("walk", [
    lambda a, b: walking.line(a, b, 5),
    lambda a, b: walking.arc(a, b, 5),
    lambda a, b: walking.sweep(a, 2, [0.0, 1.0]),
    lambda a, b: walking.along(a, b, [-1.0, 1.0]),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_latents_of_the_tutorials_shape_walk_the_same_ways(walk, shape):
    a, b = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    found = walk(a[..., None, None], b[..., None, None])
    assert torch.equal(found, walk(a, b)) and found.shape[-1] == 7


@pytest.mark.parametrize("shape", [(6,), (6, 1, 1), (1, 6), (1, 6, 1, 1)])
@pytest.mark.parametrize("inference", [False, True])
def test_directions_are_those_of_one_latent_however_it_is_given(shape, inference):
    generator = initialise(Generator(width=2, z_dim=6), torch.Generator().manual_seed(0)).eval()
    with torch.inference_mode(inference):
        z = torch.linspace(-1, 1, 6).view(shape)
        found = walking.top_directions(generator, z, k=2)
    expected = walking.top_directions(generator, torch.linspace(-1, 1, 6), k=2)
    assert torch.equal(found.directions, expected.directions)
    with pytest.raises(ValueError, match=r"z is \(2, 6\); a Jacobian is of one latent"):
        walking.jacobian(generator, torch.zeros(2, 6, 1, 1))


def test_inversion_finds_the_latents_of_the_generators_own_images(generator):
    z = draw_z(4, generator.z_dim, generator=stream(0, "inverted")).double()
    images = generator(z)
    start = z + 0.2 * torch.randn(z.shape, generator=stream(1, "inverted"))
    before = (generator(start) - images).square().mean((1, 2, 3)).sqrt()
    found = walking.invert(generator, images, start, steps=60)
    assert (found.error < before / 2).all() and found.z.abs().max() <= 1
    assert found.error.tolist() == pytest.approx(
        (generator(found.z) - images).square().mean((1, 2, 3)).sqrt().tolist(), abs=1e-5
    )
    assert not found.z.requires_grad and not start.requires_grad


def test_more_steps_of_inversion_never_do_worse_and_none_are_the_start(generator):
    images, start = torch.rand(3, 3, 64, 64).double() * 2 - 1, draw_z(3, generator.z_dim).double()
    errors = [
        walking.invert(generator, images, start, steps, rate=0.5).error for steps in (0, 5, 20)
    ]
    assert (errors[0] >= errors[1]).all() and (errors[1] >= errors[2]).all()
    assert torch.equal(walking.invert(generator, images, start, 0).z, start)
    assert walking.invert(generator, images, 3 * start, 0).z.abs().max() <= 1
    assert torch.equal(walking.invert(generator, images, 3 * start, 0, bound=None).z, 3 * start)


def test_an_encoder_has_a_number_for_each_of_z():
    assert walking.encoder(7, width=4)(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
