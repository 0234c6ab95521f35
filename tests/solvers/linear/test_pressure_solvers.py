"""Any linear solver in the pressure equation of a flow, and the equations that a flow asks it."""

import numpy as np
import pytest
import scipy.sparse.linalg
from scipy.sparse import csc_array

from sciml.errors import InputError, SolverError
from sciml.problems import CylinderFlow, DamFlow
from sciml.solvers import FiniteVolume, IncompressibleFlow, TwoPhaseFlow
from sciml.solvers.linear import (
    ConjugateGradient,
    GridSystem,
    IncompleteCholesky,
    Info,
    MultigridCG,
    Predicted,
    Previous,
    Zero,
    record,
    replay,
    system,
)
from sciml.solvers.linear._hosted import HostedSolver

CYLINDER, DAM = CylinderFlow().case(viscosity=5e-3), DamFlow().case()
SHORT, SOON = [0.0005, 0.001], [0.002, 0.004]


class Factors(HostedSolver):
    """SuperLU, one unknown less where the constants are not seen."""

    name = "factors"

    def set_up(self, concrete):
        first = int(concrete.null is not None)
        solve = scipy.sparse.linalg.splu(csc_array(concrete.matrix)[first:][:, first:]).solve

        def answer(b, guess):
            x = concrete.project(np.r_[np.zeros(first), solve(concrete.project(b)[first:])])
            return x, Info(0, float(np.linalg.norm(b - concrete.matrix @ x) / max(np.linalg.norm(b), 1e-300)), True)

        return answer, None

    def __eq__(self, other):
        return isinstance(other, Factors)

    def __hash__(self):
        return hash(self.name)


class Broken(HostedSolver):
    name = "broken"

    def set_up(self, concrete):
        raise ValueError("no factors for\nthis")

    def __eq__(self, other):
        return isinstance(other, Broken)

    def __hash__(self):
        return hash(self.name)


def off(found, expected, names=("u", "v", "p")) -> float:
    return max(
        float(np.abs(found[n].values - expected[n].values).max() / np.abs(expected[n].values).max()) for n in names
    )


@pytest.fixture(scope="module")
def cylinder():
    return IncompressibleFlow((24, 44), dtype="float64").solve(CYLINDER, SHORT)


@pytest.fixture(scope="module")
def dam():
    return TwoPhaseFlow((8, 30), dtype="float64").solve(DAM, SOON)


def test_around_a_cylinder(cylinder):
    for solver in (Factors(), ConjugateGradient(IncompleteCholesky(), tolerance=1e-11)):
        found = IncompressibleFlow((24, 44), dtype="float64", pressure_solver=solver).solve(CYLINDER, SHORT)
        assert off(found, cylinder) < 1e-7
        np.testing.assert_allclose(found.force_x.values, cylinder.force_x.values, rtol=1e-6)


def test_batches_of_cases_in_single_precision(cylinder):
    cases = [CYLINDER, CylinderFlow().case(viscosity=8e-3), CylinderFlow().case(viscosity=6e-3)]
    solver = IncompressibleFlow((24, 44), pressure_solver=Factors(), tendencies=False)
    found = dict(solver.stream(cases, SHORT))
    assert all(d.attrs["status"] == "ok" for d in found.values())
    assert off(found[0], cylinder, "uv") < 1e-4
    assert off(found[0], found[1], "uv") > 1e-3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_of_a_dam(dam, dtype):
    found = TwoPhaseFlow((8, 30), dtype=dtype, pressure_solver=Factors()).solve(DAM, SOON)
    assert off(found, dam, ("u", "v", "p", "alpha")) < {"float64": 1e-5, "float32": 1e-2}[dtype]


@pytest.mark.parametrize(("make", "case"), [(lambda s: IncompressibleFlow((24, 44), pressure_solver=s), CYLINDER),
                                            (lambda s: TwoPhaseFlow((8, 30), pressure_solver=s), DAM)])  # fmt: skip
def test_what_fails_within_says_so_in_one_line(make, case):
    with pytest.raises(SolverError) as caught:
        make(Broken()).solve(case, SHORT)
    assert str(caught.value) == f"{make(None).name}: pressure_solver: broken: no factors for this"
    (told,) = [found.attrs["status"] for _, found in make(Broken()).stream([case], SHORT)]
    assert told == str(caught.value)


def test_the_pressure_of_an_instant(cylinder):
    solver = IncompressibleFlow((24, 44), dtype="float64")
    found = system(CYLINDER, scheme=solver, state=cylinder)
    assert isinstance(found.system, GridSystem) and found.system.null_space() is None
    x = scipy.sparse.linalg.spsolve(csc_array(regular(found)), found.rhs.ravel()).reshape(found.system.shape)
    after = found.solution(x)
    assert float(after.time[0]) == SHORT[-1]
    last = cylinder.isel(time=[-1])
    assert off(after, last) < 1e-8 and off(after, last, ("u_tendency", "v_tendency")) < 1e-7
    np.testing.assert_allclose(after.force_x.values, last.force_x.values, rtol=1e-7)


def test_the_pressure_of_the_next_step_of_two_fluids():
    solver = TwoPhaseFlow((8, 30), dtype="float64", pressure_solver=MultigridCG(1e-12))
    found = system(DAM, scheme=solver)
    x = scipy.sparse.linalg.spsolve(csc_array(regular(found)), found.rhs.ravel()).reshape(found.system.shape)
    after = found.solution(x)
    expected = solver.solve(DAM, [float(after.time[0])])
    assert int(expected.attrs["substeps"]) == 1
    assert off(after, expected, ("u", "v", "p", "alpha")) < 1e-7
    assert {g.boundary for g in found.given} >= {"inlet", "barrier", "x_max"}
    inlet = next(g for g in found.given if g.boundary == "inlet" and g.field == "u")
    assert inlet.condition == "Dirichlet" and np.all(inlet.values == 1.0)
    wrong = found.solution(0 * x)
    assert off(wrong, expected) > 1e-3


def regular(found):
    """The matrix with ones where nothing is asked."""
    matrix = found.system.matrix().tolil()
    for k in np.flatnonzero(~np.asarray(found.system.live(np)).ravel()):
        matrix[k, k] = 1
    return matrix


def test_recorded_pressure_systems_are_those_of_the_march(dam):
    solver = TwoPhaseFlow((8, 30), dtype="float64")
    kept = record(solver, DAM, SOON)
    steps = int(dam.attrs["substeps"])
    assert len(kept) == steps + 2  # and two at the start
    assert all(rhs.shape == (8, 30) and rhs.dtype == np.float64 for _, rhs in kept)
    # 1/ρ between water and air
    assert np.max(kept[-1][0].coefficients[0]) == pytest.approx(1 / DAM.air_density, rel=1e-6)
    # the last pressure of the march solves the last of them
    p, (last, rhs) = dam.p.values[-1], kept[-1]
    rest = np.asarray(last.matrix() @ p.ravel()) - np.asarray(rhs).ravel()
    assert np.linalg.norm(rest) < 1e-7 * np.linalg.norm(rhs)
    zero, previous = (replay(kept, MultigridCG(1e-8), s) for s in (Zero(), Previous()))
    assert np.all(zero.residual <= 1e-8) and previous.iterations.sum() <= zero.iterations.sum()
    # a solver that knows the pressure leaves nothing to do
    knows = Predicted(solver, DAM, SOON, first=len(kept) - len(SOON))
    assert replay(kept, MultigridCG(1e-6), knows).iterations[-1] == 0
    # from the true state before, it knows it but for what a restart forgets
    one = Predicted(solver, DAM, SOON[-1:], dam)
    assert np.abs(one.values[0] - p).max() < 0.1 * np.abs(p).max()


def test_recorded_stages_of_one_fluid(cylinder):
    kept = record(IncompressibleFlow((24, 44), dtype="float64"), CYLINDER, SHORT)
    # four stages of a step or more; of each frame one to settle and one for its pressure, and one at the start
    assert len(kept) >= 4 * int(cylinder.attrs["substeps"]) + 5
    p, (last, rhs) = cylinder.p.values[-1] / CYLINDER.density, kept[-1]
    live = np.asarray(last.live(np))
    rest = np.asarray(last.matrix() @ np.where(live, p, 0).ravel()).reshape(p.shape) - np.where(live, rhs, 0)
    assert np.linalg.norm(rest) < 1e-8 * np.linalg.norm(rhs)
    assert all(s.spacing == kept[0][0].spacing for s, _ in kept)


def test_solvers_without_a_pressure_have_nothing_to_record():
    with pytest.raises(InputError, match="finite_volume: solves no pressure equation"):
        record(FiniteVolume(8), DAM, SOON)
