"""Steady problems by a scheme and a linear solver of one's choice."""

import numpy as np
import pytest

import sciml
from sciml.boundary import Dirichlet
from sciml.errors import InputError, SolverError
from sciml.expressions import Balance
from sciml.geometry import Box
from sciml.problem import FieldSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems import Darcy, ElasticPlate, Poisson
from sciml.solvers import FiniteElements, FiniteVolume, SteadyLinear
from sciml.solvers.linear import (
    GMRES,
    ConjugateGradient,
    Direct,
    IncompleteCholesky,
    MultigridCG,
    SparseDirect,
)


class Cube(PDEProblem):
    """−∇·∇q = 3π² sin πx sin πy sin πz in the unit cube, q = 0 around it."""

    name, title, dimensions, steady = "cube", "A cube", 3, True
    fields = (FieldSpec("q", "1"),)
    parameters = (ParameterSpec("size", "1", 1.0),)

    def geometry(self, case):
        return Box((0, 0, 0), (1, 1, 1))

    def boundary_conditions(self, case):
        return {f"{a}_{e}": {"q": Dirichlet(0.0)} for a in "xyz" for e in ("min", "max")}

    def equations(self, q, d, theta, x):
        wave = d.sin(np.pi * x[0]) * d.sin(np.pi * x[1]) * d.sin(np.pi * x[2])
        return {"heat": Balance(flux=-1.0 * d.grad(q.q), source=3 * np.pi**2 * theta.size * wave, unit="m-2")}

    def scales(self, case):
        return Scales(1.0, 1.0, {"q": 1.0})


def off(found, expected, field) -> float:
    return float(np.abs(found[field].values - expected[field].values).max() / np.abs(expected[field].values).max())


@pytest.mark.parametrize(
    ("scheme", "solver"),
    [
        (FiniteElements(12), ConjugateGradient(IncompleteCholesky(), tolerance=1e-12)),
        (FiniteVolume(12), MultigridCG(1e-12)),
        (FiniteVolume(12), ConjugateGradient(tolerance=1e-12)),
    ],
)
def test_solutions_are_the_schemes_own(scheme, solver):
    case = Poisson().case()
    found, expected = SteadyLinear(scheme, solver).solve(case), scheme.solve(case)
    assert off(found, expected, "p") < 1e-9
    assert set(found.coords) == set(expected.coords) and found.sizes == expected.sizes
    told = found.attrs
    assert told["converged"] == 1 and told["switched"] == -1 and told["iterations"] > 0
    history = np.atleast_1d(told["residual_history"])
    assert history[-1] <= 1e-12 and told["setup_seconds"] > 0 and told["solve_seconds"] > 0
    assert told["solver"] == "steady_linear" and solver.name in told["settings"]
    # and interpolated at points
    at = SteadyLinear(scheme, solver).solve(case, points=[[0.5, 0.5]])
    assert at.p.values == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("scheme", [FiniteElements(5), FiniteVolume(5)], ids=lambda s: s.name)
def test_in_three_dimensions(scheme):
    case = Cube().case()
    found = SteadyLinear(scheme, ConjugateGradient(tolerance=1e-12)).solve(case)
    assert off(found, scheme.solve(case), "q") < 1e-9


def test_systems_that_are_not_symmetric_and_of_two_fields():
    values = np.exp(1.5 * np.random.default_rng(0).standard_normal((10, 10)))
    case, scheme = Darcy().case(permeability=values), FiniteVolume(10)
    for solver in (GMRES(tolerance=1e-12), SparseDirect()):
        assert off(SteadyLinear(scheme, solver).solve(case), scheme.solve(case), "p") < 1e-9
    with pytest.raises(InputError, match=r"multigrid_cg does not solve the system of finite_volume for darcy.*not sym"):
        SteadyLinear(scheme, MultigridCG()).solve(case)
    plate, elements = ElasticPlate().case(), FiniteElements(8)
    found = SteadyLinear(elements, ConjugateGradient(IncompleteCholesky(), tolerance=1e-12)).solve(plate)
    assert max(off(found, elements.solve(plate), n) for n in "uv") < 1e-7


@pytest.mark.parametrize(("make", "solver"), [(FiniteElements, ConjugateGradient(tolerance=1e-11)),
                                              (FiniteVolume, Direct())])  # fmt: skip
def test_the_error_falls_with_the_square_of_the_cells(make, solver):
    errors = []
    for n in (8, 16, 32):
        case = Poisson().case()
        if not solver.supports(sciml.solvers.linear.system(case, scheme=make(n)).system):
            solver = MultigridCG(1e-11)
        found = SteadyLinear(make(n), solver).solve(case)
        exact = np.sin(np.pi * found.x.values) * np.sin(np.pi * found.y.values)
        if found.p.ndim == 2:
            exact = np.sin(np.pi * found.x.values)[None] * np.sin(np.pi * found.y.values)[:, None]
        errors.append(np.sqrt(np.mean((found.p.values - exact) ** 2)))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(orders - 2) < 0.3)


def test_the_default_is_the_reference_and_direct_factors():
    case = Poisson().case()
    found = SteadyLinear(resolution=12).solve(case)
    assert off(found, FiniteVolume(12).solve(case), "p") < 1e-10
    assert found.attrs["iterations"] == 0
    assert sciml.registry.solvers.get("steady_linear") is SteadyLinear


def test_many_cases_and_equal_data_files():
    solver = SteadyLinear(FiniteElements(6), ConjugateGradient(tolerance=1e-10))
    many = solver.solve_many([Poisson().case(amplitude=a) for a in (1.0, 2.0)], progress=False)
    assert many.sizes["case"] == 2 and "setup_seconds" not in many.attrs


def test_what_does_not_converge_or_is_refused():
    case = Poisson().case()
    with pytest.raises(SolverError, match=r"steady_linear: not converged: residual .* after 2 iterations"):
        SteadyLinear(FiniteElements(12), ConjugateGradient(tolerance=1e-12, max_iterations=2)).solve(case)
    with pytest.raises(InputError, match="solver is a str"):
        SteadyLinear(FiniteElements(12), "cg")
    with pytest.raises(InputError, match="scheme is 'fv'"):
        SteadyLinear("fv")
    with pytest.raises(InputError, match="expected none beside a scheme"):
        SteadyLinear(FiniteElements(12), resolution=8)
    assert not SteadyLinear().supports(sciml.problems.Burgers())
    with pytest.raises(InputError, match="cannot solve the problem 'burgers'"):
        SteadyLinear().solve(sciml.problems.Burgers().case(), [1.0])
