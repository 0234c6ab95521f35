"""Linear elements for a known solution: a peer's errors, orders, what is exact, and what is refused."""

import itertools

import numpy as np
import pytest
from test_movers import CENTRE, WIDTH, bump, error, line, square

from sciml.errors import InputError
from sciml.meshing import MongeAmpere
from sciml.meshing.fields import Gaussians
from sciml.meshing.linear_elements import LinearElements

PEAK = Gaussians(np.full((1, 2), 0.5), np.ones(1), np.eye(2)[None])


class Bump:
    """exp(−|x − centre|²/width²)."""

    def __init__(self, centre=CENTRE, width=WIDTH):
        self.centre, self.width = np.asarray(centre), width

    def __call__(self, x):
        return np.exp(-((x - self.centre) ** 2).sum(1) / self.width**2)

    def gradient(self, x):
        return -2 / self.width**2 * (x - self.centre) * self(x)[:, None]

    def hessian(self, x):
        d = (x - self.centre) / self.width**2
        return self(x)[:, None, None] * (4 * d[:, :, None] * d[:, None] - 2 / self.width**2 * np.eye(x.shape[1]))


class Sine(Bump):
    """sin(3x), on a line."""

    def __call__(self, x):
        return np.sin(3 * x[:, 0])

    def gradient(self, x):
        return 3 * np.cos(3 * x)

    def hessian(self, x):
        return -9 * np.sin(3 * x)[:, :, None]


class Plane(Bump):
    def __call__(self, x):
        return x @ np.arange(1, x.shape[1] + 1) + 3

    def gradient(self, x):
        return np.tile(np.arange(1.0, x.shape[1] + 1), (len(x), 1))

    def hessian(self, x):
        return np.zeros((len(x), x.shape[1], x.shape[1]))


def test_errors_are_those_of_a_peer_on_even_and_moved_meshes():
    """.0102338 was published for 20 × 20 squares (demonstrations of the package `movement` for Firedrake)."""
    elements = LinearElements(Bump())
    points, cells = square(20)
    assert elements.error(points, cells).l2 == pytest.approx(0.0102338, rel=1e-5)
    moved, _ = MongeAmpere().move(points, cells, monitor=lambda x: 1 + bump(x))
    order = np.random.default_rng(0).permutation(len(points))
    for p, c in ((points, cells), (moved, cells), (moved[order], np.argsort(order)[cells]), square(7, 1)):
        assert elements.error(p, c).l2 == pytest.approx(error(p, c), rel=1e-10)


@pytest.mark.parametrize("reaction", [0, 1, 30.0])
def test_errors_fall_with_the_order_of_the_theory(reaction):
    for field, meshes in ((Bump(width=0.3), map(square, (12, 24, 48))), (Sine(), map(line, (10, 20, 40)))):
        elements = LinearElements(field, reaction)
        found = [(elements.error(*m), elements.interpolation_error(*m)) for m in meshes]
        for (a, inter_a), (b, inter_b) in itertools.pairwise(found):
            for l2, h1 in ((a.l2 / b.l2, a.h1 / b.h1), (inter_a.l2 / inter_b.l2, inter_a.h1 / inter_b.h1)):
                assert np.log2(l2) == pytest.approx(2, abs=0.1)
                assert np.log2(h1) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("mesh", [square(6), line(9), square(1)])
def test_linear_solutions_are_exact(mesh):
    points, cells = mesh
    for reaction in (0, 2):
        elements = LinearElements(Plane(), reaction)
        np.testing.assert_allclose(elements.solve(points, cells), Plane()(points), atol=1e-12)
        assert elements.error(points, cells).l2 < 1e-12
        assert elements.error(points, cells).h1 < 1e-11


def test_poissons_solution_on_a_line_is_exact_at_the_nodes():
    points, cells = line(8)
    np.testing.assert_allclose(LinearElements(Sine(), 0).solve(points, cells), Sine()(points), atol=1e-8)
    assert np.abs(LinearElements(Sine(), 50).solve(points, cells) - Sine()(points)).max() > 1e-4


def test_no_smaller_energy_than_that_of_the_solution():
    """u_h is best in ∫ c e² + |∇e|² of all with the same boundary values, when quadrature is fine enough."""
    points, cells = square(24)
    field = Bump(width=0.5)
    elements = LinearElements(field, 3.0)
    found = elements.solve(points, cells)

    def energy(values):
        e = elements.errors(points, cells, values)
        return 3 * e.l2**2 + e.h1**2

    inner = (points > 1e-9).all(1) & (points < 1 - 1e-9).all(1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert energy(found + 1e-3 * inner * rng.standard_normal(len(points))) > energy(found)
    assert energy(field(points)) > energy(found)


def test_what_cannot_be_solved_is_said():
    points, cells = square(3)
    for make, words in (
        (lambda: LinearElements(bump), r"expected a function with the method gradient\(points\)"),
        (lambda: LinearElements(Bump(), -1), "reaction: got -1, expected a number from 0 on"),
        (lambda: LinearElements(Bump(), np.nan), "reaction: got nan"),
        (lambda: LinearElements(Bump()).solve(points, cells[:, ::-1]), "is inverted or flat"),
        (
            lambda: LinearElements(Bump()).error(*line(4)),
            r"field: expected second derivatives \(16, 1, 1\) at points in 1-D",
        ),
        (lambda: LinearElements(PEAK).error(*line(4)), "field: cannot give second derivatives at points in 1-D"),
        (lambda: LinearElements(PEAK).interpolation_error(*line(4)), "field: cannot give values at points in 1-D"),
        (lambda: LinearElements(Bump()).errors(points, cells, np.ones(3)), "values: expected one for each of 16 nodes"),
    ):
        with pytest.raises(InputError, match=words):
            make()
