"""Finite elements on meshes and with inputs of other kinds: cells that are cut, and what does not fit to a domain."""

import numpy as np
import pytest

from benchmarks._manufactured import Manufactured, errors, orders
from sciml import Box, Neumann
from sciml.errors import InputError
from sciml.problems import HeatEquation, HeatPlate, Poisson
from sciml.solvers import FiniteElements
from sciml.support import Mesh


@pytest.mark.parametrize("kind", ["hexahedron", "prism"])
def test_solids_of_other_kinds(kind):
    """Cut into tetrahedra that fit together, they are as good as those."""
    shape = Box((0.0,) * 3, (1.0,) * 3)
    problem = Manufactured(
        lambda d, x: (d.sin(x[0] + x[1]) * x[2],), lambda q, d, x: -1.0 * (1.0 + x[0]) * d.grad(q[0]),
        shape, {"z_max": Neumann},
    )  # fmt: skip
    found = []
    for n in (3, 6):
        number = np.arange((n + 1) ** 3).reshape((n + 1,) * 3)  # by z, y, x
        low, high = slice(None, -1), slice(1, None)
        square = [(low, low), (low, high), (high, high), (high, low)]
        hexes = np.stack([number[z, y, x].ravel() for z in (low, high) for y, x in square], 1)
        position = np.stack(np.unravel_index(number.ravel(), number.shape)[::-1], 1) / n
        prisms = np.concatenate([hexes[:, [0, 1, 3, 4, 5, 7]], hexes[:, [1, 2, 3, 5, 6, 7]]])
        mesh = Mesh(position, {kind: hexes if kind == "hexahedron" else prisms})
        found.append(errors(FiniteElements(), problem.case().on(mesh))[0])
    assert orders(found) > 1.8


def test_meshes_that_end_elsewhere_than_the_domain():
    half = Mesh(
        np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]), {"triangle": np.array([[0, 1, 2], [0, 2, 3]])}
    )
    with pytest.raises(InputError, match=r"outer node 2 at \(0.5, 0.5\) does not lie on the boundary"):
        FiniteElements().solve(Poisson().case().on(half))
    short = Mesh(np.linspace(0.0, 0.9, 10)[:, None], {"line": np.stack([np.arange(9), np.arange(1, 10)], 1)})
    with pytest.raises(InputError, match=r"ends at \(0.9\)"):
        FiniteElements().solve(HeatEquation().case(length=1.0).on(short), [0.1])


def test_a_resolution_that_is_too_coarse_for_a_hole():
    case = HeatPlate().case(holes=np.array([[0.5, 0.3, 0.001, 0.0, 0.0]]))
    with pytest.raises(InputError, match=r"a curve near .* size is the longest extent over the resolution, 10"):
        FiniteElements(10).solve(case)


def test_inputs_at_points_that_do_not_fit():
    for given, message in (
        ({}, "source: expected source_points beside it"),
        ({"source_points": np.ones((4, 3))}, r"source_points: expected \(4, 2\) coordinates, got \(4, 3\)"),
        ({"source_points": np.ones((5, 2))}, r"source_points: expected \(4, 2\) coordinates, got \(5, 2\)"),
    ):
        with pytest.raises(InputError, match=message):
            FiniteElements(4).solve(HeatPlate().case(source=np.ones(4), **given))
