"""The data-free mover: its potential network, its loss, and the mover itself."""

import itertools

import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.meshing import DMM, Sample
from sciml.meshing._simplices import contents, outer_sides
from sciml.meshing.samples import bumps, polygons, rows
from sciml.operators.layers.potential_map import PotentialMap
from sciml.operators.layers.transport import interpolate, transport_loss
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Running, Steps


def network(dimensions: int = 2, seed: int = 0, channels: int = 1, **settings) -> PotentialMap:
    torch.manual_seed(seed)
    return PotentialMap(channels, dimensions, **{"width": 8, "modes": 6, "layers": 2} | settings).double()


def cloud(dimensions: int, count: int, seed: int = 0, channels: int = 1) -> tuple[torch.Tensor, ...]:
    """Points, a field and weights whose sum is 1, as a batch of two."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(2, count, dimensions, generator=rng, dtype=torch.float64)
    w = torch.rand(2, count, generator=rng, dtype=torch.float64)
    f = torch.randn(2, count, channels, generator=rng, dtype=torch.float64)
    return x, f, w / w.sum(1, keepdim=True)


def lattice(n: int, dimensions: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """(n + 1)^D points of the unit box and weights of the trapezoidal rule, as a batch of one."""
    x, w = torch.linspace(0, 1, n + 1, dtype=torch.float64), torch.full((n + 1,), 1 / n, dtype=torch.float64)
    w[[0, -1]] /= 2
    points = torch.stack(torch.meshgrid(*[x] * dimensions, indexing="ij"), -1).reshape(1, -1, dimensions)
    weights = torch.stack(torch.meshgrid(*[w] * dimensions, indexing="ij"), -1).prod(-1).reshape(1, -1)
    return points, weights


def bump(x: torch.Tensor, centre=(0.3, 0.7), width: float = 0.15) -> torch.Tensor:
    return 1 + 5 * torch.exp(-((x - torch.tensor(centre, dtype=x.dtype)) ** 2).sum(-1) / width**2)


def test_without_a_field_or_a_source_nothing_moves():
    net = network()
    x, f, w = cloud(2, 30)
    torch.testing.assert_close(net(x, 0 * f, w), x, rtol=0, atol=0)
    assert (net(x, f, w) - x).abs().max() > 1e-4
    torch.nn.init.zeros_(net.source.weight)
    torch.testing.assert_close(net(x, f, w), x, rtol=0, atol=0)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_derivatives_are_those_of_the_potential(dimensions):
    net = network(dimensions)
    x, f, w = cloud(dimensions, 12)
    potential = net.potential(x, f, w).detach()
    at = torch.rand(2, 5, dimensions, dtype=torch.float64).requires_grad_()
    zero = net.derivative(potential, at, [0] * dimensions)
    slope = torch.autograd.grad(zero.sum(), at, create_graph=True)[0]
    torch.testing.assert_close(net.gradient(potential, at), slope)
    bend = torch.stack([torch.autograd.grad(slope[..., d].sum(), at, retain_graph=True)[0]
                        for d in range(dimensions)], -2)  # fmt: skip
    torch.testing.assert_close(net.hessian(potential, at), bend)
    torch.testing.assert_close(net(x, f, w, at), at + slope)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_sides_of_the_box_stay_on_it_with_any_weights(dimensions):
    net = network(dimensions, seed=3)
    torch.nn.init.normal_(net.source.weight, std=10)
    x, f, w = cloud(dimensions, 12)
    for d, side in itertools.product(range(dimensions), (0.0, 1.0)):
        at = torch.rand(2, 7, dimensions, dtype=torch.float64)
        at[..., d] = side
        moved = net(x, f, w, at)
        assert (moved[..., d] - side).abs().max() < 1e-13
        if dimensions > 1:
            assert (moved - at).abs().max() > 1e-3  # they slide
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=dimensions)), dtype=torch.float64)
    corners = corners.expand(2, -1, -1)
    torch.testing.assert_close(net(x, f, w, corners), corners, rtol=0, atol=1e-13)


def test_the_divergence_of_the_step_is_the_source():
    """∇²φ = s, whose mean over the box is taken away."""
    net = network()
    x, f, w = cloud(2, 40)
    potential, (at, weights) = net.potential(x, f, w), lattice(40)
    trace = net.hessian(potential, at.expand(2, -1, -1)).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert (trace * weights).sum(1).abs().max() < 1e-12
    assert trace.abs().max() > 1e-3


def test_numbering_and_padding_change_nothing():
    net = network(channels=2)
    x, f, w = cloud(2, 25, channels=2)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    at = torch.rand(2, 9, 2, dtype=torch.float64)
    expected = net(x, f, w, at)
    torch.testing.assert_close(net(x[:, order], f[:, order], w[:, order], at), expected)
    torch.testing.assert_close(net(x[:, order], f[:, order], w[:, order]), net(x, f, w)[:, order])
    more = (
        torch.cat([x, torch.rand(2, 4, 2)], 1),
        torch.cat([f, torch.ones(2, 4, 2)], 1),
        torch.cat([w, 0 * w[:, :4]], 1),
    )
    torch.testing.assert_close(net(*more, at), expected)
    torch.testing.assert_close(net(x, f, None, at), net(x, f, torch.full_like(w, 1 / 25), at))


def test_what_is_made_of_a_field_converges_as_its_points_get_denser():
    net, at = network(), torch.rand(1, 50, 2, dtype=torch.float64)
    found = []
    for n in (12, 24, 48, 96):
        x, w = lattice(n)
        found.append(net(x, torch.log(bump(x))[..., None], w, at).detach())
    off = [(a - found[-1]).abs().max() for a in found[:-1]]
    assert off[1] < 3e-3 * (found[-1] - at).abs().max()
    assert off[0] > 3.5 * off[1], off
    torch.manual_seed(0)  # points anywhere: as Monte Carlo does
    x = torch.rand(1, 40000, 2, dtype=torch.float64)
    scattered = net(x, torch.log(bump(x))[..., None], None, at)
    assert (scattered - found[-1]).abs().max() < 0.1 * (found[-1] - at).abs().max()


def test_swapped_and_mirrored_axes_swap_and_mirror_the_map():
    net = network(seed=5, layers=3)
    x, f, w = cloud(2, 30)
    expected = net(x, f, w)
    torch.testing.assert_close(net(x.flip(-1), f, w).flip(-1), expected)
    mirror = torch.tensor([1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close((net((mirror - x).abs(), f, w) - mirror).abs(), expected)
    assert (net(x.flip(-1), f, w) - expected).abs().max() > 1e-3
    solid = network(3, seed=6)
    x, f, w = cloud(3, 30)
    torch.testing.assert_close(solid(x[..., [2, 0, 1]], f, w)[..., [1, 2, 0]], solid(x, f, w))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_interpolation_is_exact_for_multilinear_functions(dimensions):
    sides = (5, 4, 7)[:dimensions]
    axes = [torch.linspace(0, 1, n, dtype=torch.float64) for n in sides]
    nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    def function(x):
        return 1 + (torch.arange(1, dimensions + 1) * x).sum(-1) + 3 * x.prod(-1)

    at = torch.rand(1, 50, dimensions, dtype=torch.float64, requires_grad=True)
    found = interpolate(function(nodes)[None], at)
    torch.testing.assert_close(found, function(at))
    one, other = (torch.autograd.grad(value.sum(), at)[0] for value in (found, function(at)))
    torch.testing.assert_close(one, other)
    out = interpolate(function(nodes)[None], 3 * torch.ones(1, 1, dimensions, dtype=torch.float64))
    torch.testing.assert_close(out, function(torch.ones(1, 1, dimensions, dtype=torch.float64)))


def test_the_loss_vanishes_where_the_density_is_met_and_sees_folds():
    """x = ξ + a sin(2πξ)/(2π): m = 1/x'(ξ) at x; φ = −a cos(2πξ)/(2π)², its only coefficient that of k = 2."""
    net, a = network(1), 0.5
    potential = torch.zeros(1, 6, dtype=torch.float64)
    potential[0, 2] = -a / (2 * np.pi) ** 2
    xi = np.linspace(0, 1, 20001)
    x, density = xi + a * np.sin(2 * np.pi * xi) / (2 * np.pi), 1 / (1 + a * np.cos(2 * np.pi * xi))
    monitor = torch.tensor(np.interp(np.linspace(0, 1, 5001), x, density))[None]
    at = torch.rand(1, 200, 1, dtype=torch.float64)
    mean = torch.ones(1, dtype=torch.float64)
    assert transport_loss(net, potential, monitor, mean, at) < 1e-8
    assert transport_loss(net, 0.9 * potential, monitor, mean, at) > 1e-4
    # both eigenvalues negative: the determinant is positive, the map turns over all the same
    plane, both = network(2), torch.zeros(1, 6, 6, dtype=torch.float64)
    both[0, 1, 0] = both[0, 0, 1] = 2.5 / np.pi**2
    corner = torch.full((1, 1, 2), 0.01, dtype=torch.float64)
    assert torch.linalg.det(torch.eye(2) + plane.hessian(both, corner)) > 0
    even = torch.ones(1, 3, 3, dtype=torch.float64)
    free, bound = (transport_loss(plane, both, even, mean, corner, convexity=c) for c in (0.0, 10.0))
    assert bound > free + 10


def test_every_weight_learns_and_the_map_survives_export_of_its_state():
    net = network(channels=2)
    x, f, w = cloud(2, 40, channels=2)
    monitor = 1 + torch.rand(2, 9, 9, dtype=torch.float64)
    loss = transport_loss(net, net.potential(x, f, w), monitor, monitor.mean((1, 2)), torch.rand(2, 50, 2).double())
    loss.backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    single = network(channels=2).float()
    assert single(x.float(), f.float(), w.float()).dtype == torch.float32
    torch.testing.assert_close(single(x.float(), f.float(), w.float()).double(), net(x, f, w), rtol=0, atol=1e-5)


def test_settings_of_the_network_that_cannot_be_are_said():
    for make, words in (
        (lambda: PotentialMap(0), "in_channels"),
        (lambda: PotentialMap(1, 4), "dimensions: expected 1 to 3, got 4"),
        (lambda: PotentialMap(1, modes=2.5), "modes"),
        (lambda: PotentialMap(1, width=-1), "width"),
    ):
        with pytest.raises(InputError, match=words):
            make()


SMALL = {"width": 8, "modes": 8, "layers": 2}
QUIET = Running(progress=False)


def peak(x: np.ndarray) -> np.ndarray:
    return bump(torch.tensor(x.copy())).numpy()


@pytest.fixture(scope="module")
def taught() -> DMM:
    """On one field, whose bump lies off the diagonal."""
    recipe = Recipe(length=Steps(250), batch=1, optimiser=AdamW(lr=5e-3))
    return DMM(**SMALL).fit([Sample(*rows(16), peak)], recipe, running=QUIET)


def crowd(points: np.ndarray, centre: tuple[float, float]) -> int:
    return int((np.linalg.norm(points - centre, axis=1) < 0.15).sum())


def test_a_short_lesson_moves_nodes_where_the_field_is(taught):
    points, cells = rows(16)
    moved, info = taught.move(points, cells, monitor=peak)
    assert info.equidistribution < 0.3 * info.equidistribution_before
    assert (info.inverted, info.safeguard) == (0, 1.0)
    assert crowd(moved, (0.3, 0.7)) > 1.7 * crowd(points, (0.3, 0.7))
    assert crowd(moved, (0.7, 0.3)) < crowd(points, (0.7, 0.3))
    # the same bump elsewhere, as seen in a mirror: no second lesson is needed
    for flip in (lambda x: x[:, ::-1], lambda x: np.array([1.0, 0.0]) - x * [1, -1], lambda x: 1 - x):
        other, again = taught.move(points, cells, monitor=lambda x, f=flip: peak(f(x)))
        assert again.equidistribution < 0.3 * again.equidistribution_before
        assert crowd(flip(other), (0.3, 0.7)) == pytest.approx(crowd(moved, (0.3, 0.7)), abs=3)
    assert taught.training["steps"] == 250


def test_swapped_mirrored_and_renumbered_meshes_move_alike(taught):
    points, cells = rows(10)
    expected, _ = taught.move(points, cells, monitor=peak)
    moved, _ = taught.move(points[:, ::-1], cells[:, ::-1], monitor=lambda x: peak(x[:, ::-1]))
    np.testing.assert_allclose(moved[:, ::-1], expected, atol=1e-5)
    moved, _ = taught.move(points * [-1, 1], cells[:, ::-1], monitor=lambda x: peak(x * [-1, 1]))
    np.testing.assert_allclose(moved * [-1, 1], expected, atol=1e-5)
    moved, _ = taught.move(3 * points + [7, -2], cells, monitor=lambda x: 5 * peak((x - [7, -2]) / 3))
    np.testing.assert_allclose((moved - [7, -2]) / 3, expected, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(points))
    moved, _ = taught.move(points[order], np.argsort(order)[cells], monitor=peak)
    np.testing.assert_allclose(moved, expected[order], atol=1e-5)


def test_meshes_that_differ_move_alike_where_the_field_is_the_same(taught):
    """No grid is built in: 10 × 10 to 64 × 64 squares are moved by one map."""
    fine, _ = taught.move(*rows(64), monitor=peak)
    off = []
    for n in (8, 16, 32):
        coarse, _ = taught.move(*rows(n), monitor=peak)
        every = fine.reshape(65, 65, 2)[:: 64 // n, :: 64 // n].reshape(-1, 2)
        off.append(np.abs(coarse - every).max())
    assert off[2] < 2e-3 < off[0], off
    assert off[1] / off[2] > 3, off


def test_on_a_rectangle_nodes_stay_on_their_sides_and_slide(taught):
    points, cells = rows(12)
    moved, info = taught.move(points * [2, 0.5] + [1, 1], cells, monitor=lambda x: peak((x - [1, 1]) / [2, 0.5]))
    back = (moved - [1, 1]) / [2, 0.5]
    for axis, side in itertools.product((0, 1), (0.0, 1.0)):
        on = points[:, axis] == side
        np.testing.assert_allclose(back[on, axis], side, atol=1e-12)
        assert np.abs(back[on, 1 - axis] - points[on, 1 - axis]).max() > 1e-3
    assert info.safeguard == 1
    still, _ = taught.move(points, cells, monitor=np.full(len(points), 3.7))
    np.testing.assert_allclose(still, points, atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_no_weights_can_turn_a_cell_over(dimensions):
    rng = np.random.default_rng(0)
    line = np.linspace(0, 1, 12)[:, None], np.stack([np.arange(11), np.arange(1, 12)], 1)
    meshes = [line] if dimensions == 1 else [rows(7), *polygons(rng, 2, 8, 10)]
    held_back = 0
    for seed, (points, cells) in itertools.product(range(3), meshes):
        mover = DMM(dimensions, seed=seed, **SMALL)
        torch.manual_seed(seed)
        for weight in mover.network.parameters():
            torch.nn.init.normal_(weight, std=3)
        m = np.exp(rng.standard_normal(len(points)))
        moved, info = mover.move(points, cells, monitor=m)
        assert (contents(moved, cells) > 0).all()
        assert contents(moved, cells).sum() == pytest.approx(contents(points, cells).sum(), rel=1e-9)
        held_back += info.inverted > 0
    assert held_back > 0


def test_a_polygon_is_learned_with_its_boundary():
    """Nodes are led along slanted sides, so that little is cut off."""
    rng = np.random.default_rng(5)
    mesh = polygons(rng, 1, 12, 13, convex=True)[0]
    (sample,) = bumps([mesh], rng, thinnest=0.2)
    mover = DMM(**SMALL)
    (lesson,) = mover._lessons([sample])
    ends = torch.tensor(mesh[0][outer_sides(mesh[1])])
    assert lesson.sides.shape == ends.shape
    assert not len(mover._lessons([Sample(*rows(4), peak)])[0].sides)
    inside = lesson.sides.mean(1) - 0.02 * lesson.normals  # normals lead out
    middle = lesson.corners.mean((0, 1))
    assert (
        ((lesson.sides.mean(1) - middle) * lesson.normals).sum(1).gt(((inside - middle) * lesson.normals).sum(1)).all()
    )

    def across() -> float:
        at = lesson.sides.mean(1)[None]
        with torch.no_grad():
            step = mover.network.gradient(mover.network.potential(*(part[None] for part in lesson.given)), at)
        return float((step[0] * lesson.normals).sum(1).abs().max())

    mover.fit([sample], Recipe(length=Steps(250), batch=1, optimiser=AdamW(lr=5e-3)), running=QUIET)
    moved, info = mover.move(*mesh, monitor=sample.monitor)
    assert info.equidistribution < 0.6 * info.equidistribution_before
    assert across() < 0.45 * np.abs(moved - mesh[0]).max()


def test_a_few_iterations_for_one_mesh_make_an_untaught_mover_fit_it():
    points, cells = rows(16)
    plain, fitted = DMM(**SMALL), DMM(**SMALL, refine=20)
    _, before = plain.move(points, cells, monitor=peak)
    _, after = fitted.move(points, cells, monitor=peak)
    assert np.isnan(before.residual)
    assert before.iterations == 0
    assert 0 < after.iterations <= 20
    assert after.equidistribution < 0.2 * before.equidistribution
    assert after.residual < 0.2
    line = np.linspace(0, 1, 41)[:, None], np.stack([np.arange(40), np.arange(1, 41)], 1)
    _, info = DMM(1, width=8, modes=16, layers=2, refine=40).move(*line, monitor=lambda x: peak(np.tile(x, 2)))
    assert info.equidistribution < 0.05 * info.equidistribution_before


def test_saved_movers_move_to_the_last_bit_alike(taught, tmp_path):
    points, cells = rows(9)
    taught.save(tmp_path / "one")
    again = DMM.load(tmp_path / "one")
    np.testing.assert_array_equal(
        again.move(points, cells, monitor=peak)[0], taught.move(points, cells, monitor=peak)[0]
    )
    assert (again.config(), again.training) == (taught.config(), taught.training)
    double = DMM.load(tmp_path / "one")
    double.network.double()
    near = double.move(points, cells, monitor=peak)[0]
    np.testing.assert_allclose(near, taught.move(points, cells, monitor=peak)[0], atol=1e-5)
    double.save(tmp_path / "two")
    np.testing.assert_array_equal(DMM.load(tmp_path / "two").move(points, cells, monitor=peak)[0], near)


def test_an_interrupted_lesson_ends_with_the_same_weights(tmp_path):
    samples = bumps([rows(6), rows(8)], np.random.default_rng(0), each=2)
    recipe = Recipe(length=Steps(8), batch=2)

    class Stop:
        def on_step(self, trainer, record):
            if record["step"] == 5:
                raise KeyboardInterrupt

        def __getattr__(self, name):
            return lambda *args: None

    whole = DMM(**SMALL).fit(samples, recipe, running=QUIET)
    running = Running(out=tmp_path, resume=True, checkpoint_every=2, progress=False)
    with pytest.raises(KeyboardInterrupt):
        DMM(**SMALL).fit(samples, recipe, running=running.replace(callbacks=(Stop(),)))
    late = DMM(**SMALL).fit(samples, recipe, running=running)
    for (name, one), other in zip(whole.network.named_parameters(), late.network.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_lessons_together_count_as_each_alone(monkeypatch):
    samples = bumps([rows(5), rows(9)], np.random.default_rng(0))
    mover = DMM(**SMALL)
    lessons = mover._lessons(samples)
    drawn = {id(one): one.drawn() for one in lessons}  # the same points for both ways
    monkeypatch.setattr(type(lessons[0]), "drawn", lambda self: drawn[id(self)])
    alone = torch.stack([mover.loss(mover.network, one, 0.0) for one in lessons]).mean()
    torch.testing.assert_close(mover.mean_loss(mover.network, lessons, 0.0), alone)


def test_settings_of_the_mover_that_cannot_be_are_said():
    for make, words in (
        (lambda: DMM(3), "dmm: dimensions is 3, expected 1 or 2"),
        (lambda: DMM(modes=0), "dmm: modes is 0, expected a whole number from 1 on"),
        (lambda: DMM(refine=-1), "dmm: refine is -1, expected a whole number from 0 on"),
        (lambda: DMM(1).move(*rows(3), monitor=peak), r"dmm: points: expected \(N, 1\), got \(16, 2\)"),
        (lambda: DMM().fit([]), "dmm: samples: expected at least one"),
    ):
        with pytest.raises(InputError, match=words):
            make()
