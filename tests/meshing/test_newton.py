"""Monge-Ampère by Newton's method beside relaxation, plain and mixed: one mesh, published figures of hard monitors."""

import itertools

import numpy as np
import pytest
from test_movers import error, line, square, wanted

from sciml.errors import InputError
from sciml.meshing import Equidistribution, MongeAmpere, NewtonMongeAmpere
from sciml.meshing._simplices import rule, stiffness
from sciml.meshing._sliding import Sliding
from sciml.meshing._transport import Transport
from sciml.meshing.mover import Domain

TURN = np.array([[0.8, -0.6], [0.6, 0.8]])


class Ring:
    """1 + height / cosh²(sharpness (|x − c|² − square of the radius))."""

    def __init__(self, height: float, square_of_radius: float, sharpness: float = 200.0):
        self.height, self.square_of_radius, self.sharpness = height, square_of_radius, sharpness

    def __call__(self, x: np.ndarray) -> np.ndarray:
        at = self.sharpness * (((x - 0.5) ** 2).sum(1) - self.square_of_radius)
        return 1 + self.height / np.cosh(np.clip(at, -300, 300)) ** 2


def smooth(x: np.ndarray) -> np.ndarray:
    return 1 + 4 * np.exp(-20 * ((x - [0.4, 0.6]) ** 2).sum(1))


def uneven(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A square, turned, its inner nodes anywhere near."""
    points, cells = square(n)
    inner = ((points > 0) & (points < 1)).all(1)
    points[inner] += 0.25 / n * np.random.default_rng(0).uniform(-1, 1, (inner.sum(), 2))
    return points @ TURN.T, cells


def transport(points: np.ndarray, cells: np.ndarray, monitor, factor: str = "lu") -> tuple[Domain, Transport]:
    domain = Domain(points, cells, Sliding.of(points, cells, None), monitor)
    return domain, Transport(domain, factor)


def test_newton_and_relaxation_find_one_mesh_and_the_published_figures():
    points, cells = square(20)
    slow, info = MongeAmpere(1e-8).move(points, cells, monitor=wanted)
    fast, newton = NewtonMongeAmpere(1e-8).move(points, cells, monitor=wanted)
    mixed, anderson = MongeAmpere(1e-8, memory=5).move(points, cells, monitor=wanted)
    assert newton.converged
    assert anderson.converged
    np.testing.assert_allclose(fast, slow, atol=1e-6)
    np.testing.assert_allclose(mixed, slow, atol=1e-6)
    assert error(fast, cells) == pytest.approx(0.0059558, rel=1e-4)
    assert newton.volume_ratio == pytest.approx(1.152, abs=5e-4)
    assert newton.equidistribution == pytest.approx(0.02568, abs=5e-6)
    assert newton.iterations < 15
    assert 2 * anderson.iterations < info.iterations


@pytest.mark.parametrize("diagonal", [0, 1])
@pytest.mark.parametrize(
    ("of", "before", "after"), [(0.16, (12.91, 1.21), (9.19, 0.349)), (0.15, (11.49, 0.971), (8.84, 0.348))]
)
def test_published_figures_of_a_high_ring(of, before, after, diagonal):
    """Height 20 on 20 × 20 squares: ratio of the largest to the smallest ∫ m over a cell and deviation over the mean,
    before and after (demonstrations of the package `movement`, ring of the radius 0.4 and, earlier, of 0.15^½)."""
    points, cells = square(20, diagonal)
    ring = Ring(20.0, of)
    portions = ring(points)[cells].mean(1)
    assert portions.max() / portions.min() == pytest.approx(before[0], abs=5e-3)
    moved, info = NewtonMongeAmpere(1e-8).move(points, cells, monitor=ring)
    assert info.converged
    assert (info.inverted, info.safeguard) == (0, 1.0)
    assert info.equidistribution_before == pytest.approx(before[1], abs=5e-3)
    assert info.volume_ratio == pytest.approx(after[0], abs=0.01)
    assert info.equidistribution == pytest.approx(after[1], abs=5e-4)
    assert info.iterations < 40
    other, shortened = MongeAmpere(1e-8).move(points, cells, monitor=ring)  # whose step has to be halved
    assert shortened.converged
    np.testing.assert_allclose(other, moved, atol=1e-6)


def test_relaxation_with_the_step_kept_oscillates_on_the_high_ring():
    points, cells = square(20)
    domain, work = transport(points, cells, Ring(20.0, 0.16))
    phi, sizes = np.zeros(len(points)), []
    for _ in range(400):
        gradient, hessian = work.derivatives(phi)
        right, size = work.excess(domain.monitor(points + gradient), hessian)
        sizes.append(np.linalg.norm(right) / size)
        phi = phi + 0.1 * domain.unit * work.poisson(right)  # of m as it is given, as published
    assert min(sizes[-100:]) > 1e-2


@pytest.mark.parametrize(("ring", "n"), [(Ring(50.0, 0.15), 30), (Ring(20.0, 0.16, 800.0), 40)], ids=["high", "thin"])
def test_harder_rings(ring, n):
    points, cells = square(n)
    _, info = NewtonMongeAmpere(1e-6).move(points, cells, monitor=ring)
    assert info.converged
    assert (info.inverted, info.safeguard) == (0, 1.0)
    assert info.equidistribution < 0.3 * info.equidistribution_before
    _, slow = MongeAmpere(1e-6, max_iterations=100).move(points, cells, monitor=ring)
    assert not slow.converged


@pytest.mark.parametrize("mesh", [uneven(9), line(20)], ids=["triangles", "intervals"])
def test_the_linear_part_is_the_derivative(mesh):
    points, cells = mesh
    back = TURN if points.shape[1] == 2 else np.eye(1)

    def monitor(x):
        return 1 + 4 * np.exp(-5 * ((x @ back - 0.4) ** 2).sum(1))

    domain, work = transport(points, cells, monitor)
    rng = np.random.default_rng(1)
    phi, change = (work.poisson(s * rng.standard_normal(len(points))) for s in (1e-4, 1e-4))

    def right(at):
        gradient, hessian = work.derivatives(at)
        return work.excess(domain.monitor(points + gradient), hessian)[0]

    gradient, hessian = work.derivatives(phi)
    x, e = points + gradient, 1e-6
    slope = np.stack([(monitor(x + e * a) - monitor(x - e * a)) / (2 * e) for a in np.eye(x.shape[1])], 1)
    found = work.linearised(monitor(x) / domain.unit, slope / domain.unit, hessian)(change)
    expected = (right(phi + 1e-3 * change) - right(phi - 1e-3 * change)) / 2e-3
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())
    assert found.sum() == pytest.approx(0, abs=1e-12 * np.abs(found).sum())


def test_the_preconditioner_is_the_linear_part_where_nothing_has_moved():
    """m is 1 there, and the recovered Hessian is not compact: smooth changes alone."""
    points, cells = square(24)
    domain, work = transport(points, cells, np.full(625, 2.0))
    phi = np.cos(np.pi * points[:, 0]) * np.cos(2 * np.pi * points[:, 1])
    phi -= phi[0]
    none = np.zeros((3, 625))
    rise = work.linearised(domain.monitor(points), np.zeros((625, 2)), none)(phi)
    back = work.elliptic(domain.monitor(points), none, 0.0)(-rise)
    assert np.abs(back - phi).max() < 0.05 * np.abs(phi).max()
    exact = work.elliptic(domain.monitor(points), none, 3.0)(4 * (stiffness(points, cells) @ phi))
    np.testing.assert_allclose(exact, phi, atol=1e-10)


def test_derivatives_of_a_quadratic():
    """φ = a x² + b x y + c y² has the Hessian (2a, b, 2c) but near the boundary, and 1 + H stands in the excess."""
    points, cells = square(24)
    _, work = transport(points, cells, np.ones(len(points)))
    phi = 0.1 * points[:, 0] ** 2 + 0.05 * points[:, 0] * points[:, 1] - 0.2 * points[:, 1] ** 2
    gradient, hessian = work.derivatives(phi)
    inner = (np.abs(points - 0.5) < 0.1).all(1)
    np.testing.assert_allclose(hessian[:, inner] - np.array([[0.2], [0.05], [-0.4]]), 0, atol=1e-4)
    exact = np.stack([0.2 * points[:, 0] + 0.05 * points[:, 1], 0.05 * points[:, 0] - 0.4 * points[:, 1]], 1)
    np.testing.assert_allclose(gradient[inner], exact[inner], atol=1e-4)


def test_a_shorter_rule_is_exact_to_degree_four():
    places, weights = rule(2, 4)
    for i in range(5):
        for j in range(5 - i):
            exact = 2 * np.prod([1.0, *range(1, i + 1)]) * np.prod([1.0, *range(1, j + 1)])
            exact /= np.prod([1.0, *range(1, i + j + 3)])
            assert weights @ (places[:, 1] ** i * places[:, 2] ** j) == pytest.approx(exact, rel=1e-12)
    places, weights = rule(1, 4)
    assert weights @ places[:, 0] ** 4 == pytest.approx(0.2, rel=1e-12)


def test_on_a_line_newton_agrees_as_the_mesh_gets_finer():
    def m(x):
        return 1 + 2 * np.exp(-50 * (x[:, 0] - 0.4) ** 2)

    off = []
    for n in (20, 40, 80):
        exact, _ = Equidistribution().move(*line(n), monitor=m)
        moved, info = NewtonMongeAmpere(1e-10).move(*line(n), monitor=m)
        assert info.converged
        off.append(np.abs(exact - moved).max())
    assert all(np.log2(a / b) > 1.7 for a, b in itertools.pairwise(off)), off


def test_turned_and_renumbered_meshes_move_alike():
    points, cells = square(10)
    expected, _ = NewtonMongeAmpere(1e-10).move(points, cells, monitor=smooth)
    moved, _ = NewtonMongeAmpere(1e-10).move(points @ TURN.T, cells, monitor=lambda x: smooth(x @ TURN))
    np.testing.assert_allclose(moved @ TURN, expected, atol=1e-8)
    order = np.random.default_rng(0).permutation(len(points))
    moved, _ = NewtonMongeAmpere(1e-10).move(points[order], np.argsort(order)[cells], monitor=smooth)
    np.testing.assert_allclose(moved, expected[order], atol=1e-8)


@pytest.mark.parametrize("mover", [NewtonMongeAmpere(), MongeAmpere(memory=5)], ids=lambda m: m.name)
def test_an_even_monitor_moves_nothing(mover):
    points, cells = square(8)
    moved, info = mover.move(points, cells, monitor=np.full(len(points), 3.7))
    np.testing.assert_allclose(moved, points, atol=1e-14)
    assert (info.iterations, info.converged) == (0, True)


def test_values_at_nodes_serve_newton_too():
    points, cells = square(20)
    m = smooth(points)
    moved, info = NewtonMongeAmpere(1e-8).move(points, cells, monitor=m)
    other, _ = MongeAmpere(1e-8).move(points, cells, monitor=m)
    assert info.converged
    np.testing.assert_allclose(moved, other, atol=1e-6)


@pytest.mark.parametrize("mover", [MongeAmpere, NewtonMongeAmpere])
def test_factors_of_cholesky_give_the_same_mesh(mover):
    pytest.importorskip("cholespy")
    points, cells = uneven(12)
    expected, _ = mover(1e-8).move(points, cells, monitor=lambda x: smooth(x @ TURN))
    moved, info = mover(1e-8, factor="cholesky").move(points, cells, monitor=lambda x: smooth(x @ TURN))
    assert info.converged
    np.testing.assert_allclose(moved, expected, atol=1e-10)


def test_what_cannot_be_is_said():
    for make, words in (
        (lambda: NewtonMongeAmpere(tolerance=-1), "newton_monge_ampere: tolerance is -1, expected a positive number"),
        (lambda: NewtonMongeAmpere(max_iterations=0), "max_iterations is 0, expected a whole number from 1 on"),
        (lambda: NewtonMongeAmpere(factor="qr"), "factor is 'qr', expected one of lu, cholesky"),
        (lambda: MongeAmpere(memory=-1), "memory is -1, expected a whole number from 0 on"),
        (lambda: MongeAmpere(factor="qr"), "factor is 'qr'"),
    ):
        with pytest.raises(InputError, match=words):
            make()
