"""Where the iterations of pressure solves begin, within marches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.errors import InputError
from sciml.problems import CylinderFlow, DamFlow, LidDrivenCavity
from sciml.solvers import IncompressibleFlow, TwoPhaseFlow
from sciml.solvers.linear import (
    ConjugateGradient,
    Counting,
    Direct,
    End,
    Extrapolated,
    MultigridCG,
    Predicted,
    Previous,
    Projected,
    ReducedBasis,
    SparseDirect,
    Zero,
)
from sciml.solvers.linear.families import LogNormal
from sciml.solvers.linear.guesses import galerkin

pytestmark = pytest.mark.compiled_quickly

WALLS, OUT = (End.WALL, End.WALL), (End.WALL, End.OPEN)
CYLINDER, DAM = CylinderFlow().case(viscosity=5e-3), DamFlow().case()
SHORT, SOON = [0.01, 0.02], [0.15, 0.3]
SHAPE, POOL = (12, 24), (8, 30)


def off(found, expected, names=("u", "v", "p")) -> float:
    return max(
        float(np.abs(found[n].values - expected[n].values).max() / np.abs(expected[n].values).max()) for n in names
    )


def waves(system, count):
    """Solutions that lie in a space of three dimensions."""
    a, b, c = np.random.default_rng(0).standard_normal((3, *system.shape))
    times = 0.1 * np.arange(count)
    return [np.asarray(system.centred(jnp.asarray(np.cos(t) * a + np.sin(1.3 * t) * b + t**2 * c))) for t in times]


def left(system, rhs, guess) -> float:
    rest = np.asarray(rhs - system.apply(jnp.asarray(guess, rhs.dtype)))
    return float(np.linalg.norm(rest) / np.linalg.norm(rhs))


@pytest.mark.parametrize(("ends", "same"), [((WALLS, WALLS), True), ((OUT, WALLS), False)])
def test_the_projection_of_a_march_is_that_on_its_last_solutions(ends, same):
    with jax.enable_x64(True):
        system = LogNormal(1.0, ends=ends).draw(3, (9, 11))
        start, kept = Projected(2), []
        past = start.empty(system, np.dtype(np.float64), same)
        begin = jax.jit(lambda past, rhs: start.begin(past, system, rhs, same))
        keep = jax.jit(lambda past, x, new: start.kept(past, system, x, new))
        for k, x in enumerate(waves(system, 8)):
            rhs = system.apply(jnp.asarray(x))
            if kept:
                expected = galerkin(kept[-2:], system, np.asarray(rhs))
                assert left(system, rhs, begin(past, rhs)) == pytest.approx(left(system, rhs, expected), rel=1e-6)
            else:
                assert not np.any(begin(past, rhs))
            new = k != 4  # a guess that was good enough is not kept
            past = keep(past, x, new)
            kept += [x] if new else []


def test_single_precision_tells_solutions_apart_that_hardly_differ():
    system = jax.tree.map(jnp.asarray, LogNormal(0.5, ends=(OUT, WALLS)).draw(1, (9, 11)))
    a, b, c = np.random.default_rng(1).standard_normal((3, 9, 11)).astype(np.float32)
    start = Projected(4)
    past = start.empty(system, np.dtype(np.float32), True)
    keep = jax.jit(lambda past, x: start.kept(past, system, x, jnp.asarray(True)))
    for k in range(9):
        past = keep(past, a + 1e-3 * np.float32(np.cos(k)) * b + 1e-3 * np.float32(np.sin(0.7 * k)) * c)
    rhs = system.apply(jnp.asarray(a + 1e-3 * b - 1e-3 * c))
    assert left(system, rhs, start.begin(past, system, rhs, True)) < 2e-6


def counted(make, cases, times):
    """The answers of a flow solver, and the iterations of all its solves."""
    counts: list[int] = []
    found = dict(make.with_pressure_solver(lambda inner: Counting(inner, counts)).stream(cases, times))
    jax.effects_barrier()
    return [found[k] for k in range(len(cases))], np.array(counts)


def past_a_cylinder(start):
    return IncompressibleFlow(SHAPE, dtype="float64", pressure_solver=MultigridCG(1e-8), pressure_start=start)


@pytest.fixture(scope="module")
def from_zero():
    """The answer of the default, and the iterations of its solves."""
    (found,), counts = counted(past_a_cylinder(None), [CYLINDER], SHORT)
    return found, counts


def test_zero_is_the_default_of_one_fluid_and_the_last_pressure_that_of_two():
    assert past_a_cylinder(None) == past_a_cylinder(Zero()) and past_a_cylinder(None).pressure_start == Zero()
    assert TwoPhaseFlow(POOL) == TwoPhaseFlow(POOL, pressure_start=Previous())
    assert TwoPhaseFlow(POOL) != TwoPhaseFlow(POOL, pressure_start=Zero())


def test_iterations_fall_answers_stay_and_cases_of_a_batch_have_pasts_of_their_own(from_zero):
    expected, zero = from_zero
    found, counts = counted(past_a_cylinder(Projected(4)), [CYLINDER, CylinderFlow().case(viscosity=8e-3)], SHORT)
    assert off(found[0], expected) < 1e-6 and np.allclose(found[0].force_x, expected.force_x, rtol=1e-5)
    assert off(found[1], expected) > 1e-2
    assert np.median(counts) <= np.median(zero) - 3  # of 10 from zero; the usual solve saves 4


def test_a_basis_from_another_case_helps_from_the_first_solve_on(from_zero):
    expected, zero = from_zero
    other = CylinderFlow().case(viscosity=6e-3)
    basis = ReducedBasis.learned(IncompressibleFlow(SHAPE, dtype="float64"), [other], SHORT, count=6, most=20)
    assert basis.modes.shape == (6, *SHAPE)
    (found,), counts = counted(past_a_cylinder(Projected(4, basis)), [CYLINDER], SHORT)
    assert off(found, expected) < 1e-6 and len(counts) == len(zero)
    assert counts[1:5].mean() < 0.8 * zero[1:5].mean()


@pytest.mark.parametrize("same", [True, False])
def test_a_basis_is_projected_on(same):
    with jax.enable_x64(True):
        system = LogNormal(1.0, ends=(OUT, WALLS)).draw(5, (9, 11))
        start = ReducedBasis(np.stack(waves(system, 3)))
        past = start.empty(system, np.dtype(np.float64), same)
        rhs = jnp.asarray(np.random.default_rng(4).standard_normal((9, 11)))
        found, best = start.begin(past, system, rhs, same), start.guess([], system, np.asarray(rhs), 0)
        np.testing.assert_allclose(found, best, atol=1e-6 * np.abs(best).max())


def test_derivatives_are_not_of_the_start():
    flow = IncompressibleFlow(
        8, dtype="float64", pressure_solver=ConjugateGradient(tolerance=1e-12), pressure_start=Projected(3)
    )
    with jax.enable_x64(True):
        parameters, inputs = flow.arrays(LidDrivenCavity().case(viscosity=0.02))

        @jax.jit
        @jax.value_and_grad
        def energy(speed):
            lid = inputs["y_max_u"][0], inputs["y_max_u"][1] * speed
            found = flow.simulate(parameters, inputs | {"y_max_u": lid}, [0.3])
            return jnp.sum(found["u"] ** 2 + found["v"] ** 2 + found["p"] ** 2)

        slope = float(energy(1.0)[1])
        differences = [float(energy(1.0 + e)[0] - energy(1.0 - e)[0]) / (2 * e) for e in (2e-4, 1e-4)]
    assert slope == pytest.approx((4 * differences[1] - differences[0]) / 3, rel=1e-6) and abs(slope) > 0.1


def test_of_two_fluids():
    (found,), none = counted(TwoPhaseFlow(POOL, pressure_start=Zero()), [DAM], SOON)
    (again,), some = counted(TwoPhaseFlow(POOL, pressure_start=Projected(3)), [DAM], SOON)
    assert off(again, found, ("u", "v", "p", "alpha")) < 1e-4
    assert len(some) == len(none) and some[5:].mean() < 0.9 * none[5:].mean()


def test_what_is_refused():
    for solver in (Direct(), SparseDirect()):
        with pytest.raises(InputError, match=f"pressure_start: {solver.name} does not iterate, expected no start"):
            IncompressibleFlow(8, pressure_solver=solver, pressure_start=Projected(4))
        assert IncompressibleFlow(8, pressure_solver=solver).pressure_start == Zero()
    with pytest.raises(InputError, match="pressure_start is predicted, expected one that"):
        IncompressibleFlow(8, pressure_solver=MultigridCG(), pressure_start=object.__new__(Predicted))
    with pytest.raises(InputError, match="two_phase_flow: pressure_start is 'previous', expected one that"):
        TwoPhaseFlow(8, pressure_start="previous")
    with pytest.raises(InputError, match=r"its modes are of \(4, 5\) cells, expected \(8, 8\)"):
        TwoPhaseFlow(8, pressure_start=Projected(2, ReducedBasis(np.ones((1, 4, 5)))))
    with pytest.raises(InputError, match="beside is predicted, which no march can ask"):
        TwoPhaseFlow(8, pressure_start=Projected(2, object.__new__(Predicted)))
    with pytest.raises(InputError, match="expected k finite modes"):
        ReducedBasis(np.ones(3))
    with pytest.raises(InputError, match="expected modes"):
        ReducedBasis("x")
    with pytest.raises(InputError, match="not zero everywhere"):
        ReducedBasis(np.zeros((1, 8, 8)))
    with pytest.raises(InputError, match="expected a start such as Previous"):
        Projected(4, "previous")
    with pytest.raises(InputError, match="expected a list of cases, got"):
        ReducedBasis.learned(TwoPhaseFlow(8), DAM, SOON)
    with pytest.raises(InputError, match="one with a pressure equation"):
        ReducedBasis.learned("x", [DAM], SOON)
    with pytest.raises(InputError, match="count is 0"):
        ReducedBasis.learned(TwoPhaseFlow(8), [DAM], SOON, count=0)
    with pytest.raises(InputError, match="expected cases whose pressure is not zero"):
        ReducedBasis.learned(TwoPhaseFlow(8), [], SOON)


def test_starts_are_told_apart():
    one, other = ReducedBasis(np.ones((1, 4, 5))), ReducedBasis(1 + np.eye(4, 5)[None])
    starts = [
        Zero(),
        Previous(),
        Extrapolated(1),
        Extrapolated(2),
        Projected(4),
        Projected(5),
        Projected(4, one),
        one,
        other,
    ]
    assert len(set(starts)) == len(starts)
    assert Projected(4, ReducedBasis(np.ones((1, 4, 5)))) == Projected(4, one)
    assert ReducedBasis(1e30 * np.ones((1, 4, 5))) == one  # what modes span is the same
    assert Extrapolated(2) == Extrapolated(2) != Extrapolated(1)
