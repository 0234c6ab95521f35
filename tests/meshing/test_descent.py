"""Descent of the finite-element error: its gradient, that it falls and falls far, and what is known on a line."""

import itertools

import numpy as np
import pytest
from test_linear_elements import Bump, Plane, Sine
from test_movers import bend, line, square, wanted

from sciml.errors import InputError
from sciml.meshing import Equidistribution, MongeAmpere
from sciml.meshing._simplices import contents
from sciml.meshing._sliding import Sliding
from sciml.meshing.descent import FLOOR, ErrorDescent, Goal, square_error
from sciml.meshing.linear_elements import LinearElements
from sciml.meshing.mover import Domain


def domain_of(points, cells, monitor=None) -> Domain:
    return Domain(points, cells, Sliding.of(points, cells, None), monitor or (lambda x: np.ones(len(x))))


@pytest.mark.parametrize("reaction", [0, 1, 40])
@pytest.mark.parametrize("mesh", [square(6), line(9)])
def test_gradients_are_those_of_central_differences(mesh, reaction):
    points, cells = mesh
    rng = np.random.default_rng(0)
    elements = LinearElements(Bump(np.array([0.51, 0.65])[: points.shape[1]], 0.3), reaction)
    x = points + 0.02 * rng.standard_normal(points.shape)  # the boundary too, whose given values change with it
    goal = Goal(elements, domain_of(points, cells), 0.7)
    for _ in range(3):
        way, h = rng.standard_normal(points.shape), 2e-5
        error = [square_error(elements, x + k * h * way, cells)[0] for k in (-2, -1, 1, 2)]
        slope = (error[0] - 8 * error[1] + 8 * error[2] - error[3]) / (12 * h)
        assert (square_error(elements, x, cells)[1] * way).sum() == pytest.approx(slope, rel=1e-7, abs=1e-12)
        some = rng.standard_normal(goal.free.shape[1])
        step = (goal.free @ some).reshape(x.shape)
        value = [goal(x + k * h * step)[0] for k in (-2, -1, 1, 2)]
        slope = (value[0] - 8 * value[1] + 8 * value[2] - value[3]) / (12 * h)
        assert goal(x)[2] @ some == pytest.approx(slope, rel=1e-6)


def test_its_error_is_that_of_the_elements():
    """∫ c u v + ∇u·∇v for ∫ f v: the same but for quadrature."""
    for (points, cells), field in ((square(12), Bump(width=0.3)), (line(12), Sine())):
        elements = LinearElements(field)
        found = np.sqrt(square_error(elements, points, cells)[0])
        assert found == pytest.approx(elements.error(points, cells).l2, rel=1e-6)


def test_errors_fall_in_every_step_and_far_below_what_equidistribution_reaches():
    """.0102338 on 20 × 20 squares and .00596 after Monge and Ampère are published."""
    points, cells = square(20)
    elements, transport = LinearElements(Bump()), MongeAmpere()
    moved, _ = transport.move(points, cells, monitor=wanted)
    after = elements.error(moved, cells).l2
    assert after == pytest.approx(0.00596, rel=3e-3)
    mover = ErrorDescent(elements, max_iterations=60)
    found, history, _ = mover.descend(domain_of(points, cells), points)
    assert all(b <= a for a, b in itertools.pairwise(history))
    assert len(history) > 50
    assert (contents(found, cells) >= FLOOR * contents(points, cells)).all()
    assert elements.error(found, cells).l2 == pytest.approx(np.sqrt(history[-1]), rel=2e-3)
    assert elements.error(found, cells).l2 < 0.65 * after
    best, info = ErrorDescent(elements, transport, max_iterations=60).move(points, cells, monitor=wanted)
    assert elements.error(best, cells).l2 < 0.5 * after
    assert (info.safeguard, info.inverted) == (1.0, 0)
    for axis in range(2):  # the square is left as it was
        for side in (0.0, 1.0):
            np.testing.assert_allclose(best[points[:, axis] == side, axis], side, atol=1e-14)


def test_what_it_wins_is_no_error_of_quadrature():
    """On the moved mesh, ∫ (u_h − u)² over parts of cells is the same."""
    points, cells = square(12)
    elements = LinearElements(Bump(width=0.15))
    moved, _ = ErrorDescent(elements, max_iterations=80).move(points, cells, monitor=wanted)
    u = elements.solve(moved, cells)
    fine_cells, fine, values = cells, moved, u
    for _ in range(2):
        pairs = np.sort(np.concatenate([fine_cells[:, [i, (i + 1) % 3]] for i in range(3)]), 1)
        edges, number = np.unique(pairs, axis=0, return_inverse=True)
        ab, bc, ca = number.ravel().reshape(3, -1) + len(fine)
        a, b, c = fine_cells.T
        fine_cells = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        fine, values = (np.concatenate([v, v[edges].mean(1)]) for v in (fine, values))
    assert elements.errors(fine, fine_cells, values).l2 == pytest.approx(elements.error(moved, cells).l2, rel=1e-2)
    assert elements.error(moved, cells).l2 < 0.5 * elements.error(points, cells).l2


def test_on_a_line_it_finds_the_best_density_as_the_mesh_gets_finer():
    """Of Poisson's equation, exact at the nodes: n² √∫ e² falls to (∫ |u''|^(2/5))^(5/2)/√120."""
    x = np.linspace(0, 1, 100_001)
    best = np.trapezoid(np.abs(9 * np.sin(3 * x)) ** 0.4, x) ** 2.5 / np.sqrt(120)
    elements, off, apart = LinearElements(Sine(), 0), [], []
    for n in (10, 20, 40):
        points, cells = line(n)
        mover = ErrorDescent(elements, tolerance=1e-6)
        moved, info = mover.move(points, cells, monitor=np.ones(n + 1))
        even, _ = Equidistribution(200).move(
            points, cells, monitor=lambda x: np.maximum(np.abs(np.sin(3 * x[:, 0])) ** 0.4, 1e-6)
        )
        assert info.converged
        off.append(elements.error(moved, cells).l2 * n**2 / best - 1)
        apart.append(np.abs(moved - even).max())
        assert elements.error(moved, cells).l2 < elements.error(even, cells).l2 < 0.9 * elements.error(points, cells).l2
    assert all(0 < b < 0.55 * a for a, b in itertools.pairwise(off)), off
    assert off[-1] < 0.01
    assert all(b < 0.7 * a for a, b in itertools.pairwise(apart)), apart


def test_meshes_that_are_turned_or_renumbered_move_alike():
    points, cells = square(8)
    field, turn = Bump(width=0.3), np.array([[0.8, -0.6], [0.6, 0.8]])
    ones = np.ones(len(points))
    expected, _ = ErrorDescent(LinearElements(field), max_iterations=5).move(points, cells, monitor=ones)
    turned = LinearElements(Bump(turn @ field.centre, field.width))
    moved, _ = ErrorDescent(turned, max_iterations=5).move(points @ turn.T, cells, monitor=ones)
    order = np.random.default_rng(0).permutation(len(points))
    shuffled, _ = ErrorDescent(LinearElements(field), max_iterations=5).move(
        points[order], np.argsort(order)[cells], monitor=ones
    )
    np.testing.assert_allclose(shuffled, expected[order], atol=1e-9)
    np.testing.assert_allclose(moved @ turn, expected, atol=1e-9)


def test_what_is_held_stays_and_bad_starts_are_left():
    points, cells = square(8)
    elements = LinearElements(Bump(width=0.3))
    held = np.flatnonzero((points == 0.5).all(1))
    moved, _ = ErrorDescent(elements, max_iterations=20).move(points, cells, held, monitor=np.ones(len(points)))
    np.testing.assert_array_equal(moved[held], points[held])
    away = ErrorDescent(elements, MongeAmpere(), max_iterations=1)
    poor = domain_of(points, cells, lambda x: 1 / (0.02 + bend(x) / bend(points).max()))
    np.testing.assert_array_equal(away._beginning(poor), points)
    flat, info = ErrorDescent(LinearElements(Plane())).move(points, cells, monitor=np.ones(len(points)))
    np.testing.assert_array_equal(flat, points)  # nothing to win
    assert (info.iterations, info.converged) == (0, True)


def test_what_cannot_be_descended_is_said():
    elements = LinearElements(Bump())
    for make, words in (
        (lambda: ErrorDescent(Bump()), r"elements is .*, expected LinearElements\(field\)"),
        (lambda: ErrorDescent(elements, "springs"), "start is 'springs', expected a mover or None"),
        (lambda: ErrorDescent(elements, max_iterations=0), "max_iterations is 0"),
        (lambda: ErrorDescent(elements, tolerance=-1), "tolerance is -1"),
    ):
        with pytest.raises(InputError, match=words):
            make()
