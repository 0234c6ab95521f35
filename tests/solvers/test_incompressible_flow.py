"""The incompressible solver as a solver: cases in, labelled solutions out, derivatives, failures, batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.boundary import Dirichlet, InTime, Series
from sciml.errors import InputError, SolverError
from sciml.problems import Burgers, LidDrivenCavity, TaylorGreen
from sciml.solvers import IncompressibleFlow
from sciml.solvers.linear import Direct, MultigridCG

pytestmark = pytest.mark.compiled_quickly


def divergence(solution) -> np.ndarray:
    dx, dy = np.diff(solution.x_face.values)[0], np.diff(solution.y_face.values)[0]
    return np.diff(solution.u_face.values, axis=2) / dx + np.diff(solution.v_face.values, axis=1) / dy


def random_streamfunction(shape=(17, 17), seed=0) -> np.ndarray:
    y, x = (np.linspace(0, np.pi, n) for n in shape)
    k = np.arange(4)
    amplitudes = np.random.default_rng(seed).standard_normal((4, 4))
    return 0.05 * (np.sin(y)[:, None] * np.sin(x)) ** 2 * (np.cos(np.outer(y, k)) @ amplitudes @ np.cos(np.outer(k, x)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_solution_of_a_cavity(dtype):
    case = LidDrivenCavity().case(lid_velocity=10.0, viscosity=1e-4, width=0.01, height=0.02)
    times = [0.0, 1e-4, 1.3e-3, 1.31e-3]
    solution = IncompressibleFlow((24, 16), dtype=dtype).solve(case, times=times)
    assert np.array_equal(solution.time.values, times)
    assert (
        solution.u.shape == (4, 24, 16)
        and solution.u_face.shape == (4, 24, 17)
        and solution.v_face.shape == (4, 25, 16)
    )
    assert all(solution[k].dtype == dtype for k in ("u", "v", "p", "u_tendency"))
    assert np.abs(solution.p.values.mean(axis=(1, 2))).max() < 1e-5 * np.abs(solution.p.values).max()
    scale = 10.0 / (0.01 / 16)
    assert np.abs(divergence(solution)).max() < (3e-5 if dtype == "float32" else 1e-12) * scale
    walls = (solution.u_face.values[:, :, [0, -1]], solution.v_face.values[:, [0, -1]])
    assert all(np.all(w == 0) for w in walls)
    assert np.all(solution.u.values[0] == 0) and solution.u.values[-1, -1].max() > 3.0
    assert solution.attrs["status"] == "ok" and solution.attrs["substeps"] > 10


def test_tendency_is_the_slope_in_time():
    case = LidDrivenCavity().case(viscosity=0.02, initial_streamfunction=random_streamfunction())
    h = 1e-4
    s = IncompressibleFlow(16, dtype="float64").solve(case, times=[0.5 - h, 0.5, 0.5 + h])
    slope = (s.u.values[2] - s.u.values[0]) / (2 * h)
    assert np.abs(slope - s.u_tendency.values[1]).max() < 1e-5 * np.abs(slope).max()


def test_initial_fields_are_resampled_and_start_the_flow():
    psi = random_streamfunction((33, 33))
    fine = IncompressibleFlow(32, dtype="float64").solve(
        LidDrivenCavity().case(lid_velocity=0.0, initial_streamfunction=psi), times=[0.0]
    )
    assert np.allclose(fine.u_face.values[0][:, 1:-1], (np.diff(psi, axis=0) * 32)[:, 1:-1], atol=1e-12)
    coarse = IncompressibleFlow(16, dtype="float64").solve(
        LidDrivenCavity().case(lid_velocity=0.0, initial_streamfunction=psi), times=[0.0]
    )
    assert np.abs(divergence(coarse)).max() < 1e-11
    blocks = fine.u.values[0].reshape(16, 2, 16, 2).mean(axis=(1, 3))
    assert np.abs(coarse.u.values[0] - blocks).max() < 0.03 * np.abs(blocks).max()


def test_lid_follows_its_series():
    solver = IncompressibleFlow(16, dtype="float64")
    constant = solver.solve(LidDrivenCavity().case(lid_velocity=2.0), times=[0.3])
    held = solver.solve(LidDrivenCavity().case(lid_motion=Series([0.0, 9.0], [2.0, 2.0])), times=[0.3])
    assert np.allclose(constant.u.values, held.u.values, atol=1e-12)
    turned = solver.solve(LidDrivenCavity().case(lid_motion=Series([0.0, 1.0], [2.0, -2.0])), times=[0.3, 1.0])
    assert turned.u.values[0, -1].min() > 0 and turned.u.values[1, -1].max() < 0


def test_flows_are_symmetric_under_rotation():
    """A cavity whose left wall slides is the cavity whose lid slides, turned by 90 degrees."""

    class Turned(LidDrivenCavity):
        def boundary_conditions(self, case):
            found = super().boundary_conditions(case)
            found["x_min"], found["y_max"] = {"u": found["y_max"]["v"], "v": found["y_max"]["u"]}, found["x_min"]
            return found

    solver = IncompressibleFlow((12, 16), dtype="float64")
    lid = solver.solve(LidDrivenCavity().case(width=2.0), times=[0.5])
    side = IncompressibleFlow((16, 12), dtype="float64").solve(Turned().case(height=2.0), times=[0.5])
    # (x, y) -> (H − y, x) takes the lid to the left wall; u -> v, v -> −u
    assert np.allclose(side.v.values[0], lid.u.values[0].T[:, ::-1], atol=1e-12)
    assert np.allclose(side.u.values[0], -lid.v.values[0].T[:, ::-1], atol=1e-12)


def test_wall_values_along_the_wall_and_as_functions_of_time():
    class Sliding(LidDrivenCavity):
        lid: object = 0.0

        def boundary_conditions(self, case):
            found = super().boundary_conditions(case)
            return found | {"y_max": {"u": Dirichlet(self.lid), "v": Dirichlet(0.0)}}

    solver = IncompressibleFlow(16, dtype="float64")
    plain = solver.solve(LidDrivenCavity().case(), times=[0.25]).u.values
    for lid in (np.ones(16), np.ones(17), InTime(lambda t: 1.0), lambda points, t: 1.0):
        problem = Sliding()
        problem.lid = lid
        assert np.allclose(solver.solve(problem.case(), times=[0.25]).u.values, plain, atol=1e-12)


def test_what_is_supported_follows_from_the_problem():
    class Heavy(LidDrivenCavity):
        def equations(self, q, d, theta, x):
            found = super().equations(q, d, theta, x)
            found["momentum"] = type(found["momentum"])(
                storage=found["momentum"].storage, flux=2 * found["momentum"].flux, unit=found["momentum"].unit
            )
            return found

    class Leaky(LidDrivenCavity):
        def boundary_conditions(self, case):
            found = super().boundary_conditions(case)
            return found | {"x_min": {"u": Dirichlet(0.1), "v": Dirichlet(0.0)}}

    solver = IncompressibleFlow(16)
    assert solver.supports(LidDrivenCavity()) and solver.supports(TaylorGreen())
    assert not solver.supports(Burgers()) and not solver.supports(Heavy())
    with pytest.raises(InputError, match="no open end; expected an Outflow"):
        solver.solve(Leaky().case(), times=[0.1])
    with pytest.raises(InputError, match="cannot solve"):
        solver.solve(Burgers().case(), times=[0.1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"resolution": 2}, "resolution is 2"),
        ({"resolution": (16,)}, "resolution"),
        ({"cfl": 3.0}, r"cfl is 3.0, expected a number in \(0, 2\]"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"pressure_solver": 1}, "pressure_solver is a int, expected one of"),
        ({"max_substeps": 0}, "max_substeps is 0"),
        ({"derivative": "both"}, "derivative is 'both'"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        IncompressibleFlow(**arguments)


@pytest.mark.compiled_quickly(False)  # conjugate gradients to rounding: what is left after them is the compiler's
def test_another_pressure_solver_gives_the_same_flow():
    calls = []

    class Theirs(Direct):
        """Conjugate gradients on the same equation, by JAX."""

        name = "theirs"

        def solve(self, system, rhs, guess=None, factor=()):
            calls.append(system.ends)
            lost = rhs.mean() - rhs
            # what is nothing but rounding has no solution
            phi = jax.scipy.sparse.linalg.cg(lambda p: -system.apply(p), lost, tol=1e-12, atol=1e-10, maxiter=200)[0]
            return phi, super().solve(system, rhs)[1]

        def __eq__(self, other):
            return isinstance(other, Theirs)

        __hash__ = Direct.__hash__

    case = LidDrivenCavity().case()
    ours = IncompressibleFlow(12, dtype="float64").solve(case, times=[0.2])
    for other in (Theirs(), MultigridCG(1e-12)):
        theirs = IncompressibleFlow(12, dtype="float64", pressure_solver=other).solve(case, times=[0.2])
        assert np.allclose(ours.u.values, theirs.u.values, atol=1e-9)
        assert f'"{other.name}"' in theirs.attrs["settings"]
    assert calls


def test_many_cases_agree_with_single_ones_and_failures_stop_alone():
    cases = [
        LidDrivenCavity().case(viscosity=0.1, label="slow"),
        LidDrivenCavity().case(viscosity=0.001, width=0.5, height=2.0),
        LidDrivenCavity().case(lid_velocity=1e4, viscosity=0.01, label="fast"),
        LidDrivenCavity().case(lid_motion=Series([0.0, 0.3, 1.0], [1.0, 0.0, 1.0])),
        LidDrivenCavity().case(viscosity=0.003, initial_streamfunction=random_streamfunction()),
    ]
    solver = IncompressibleFlow(16, max_substeps=400)
    data = solver.solve_many(cases, times=[0.1, 0.5, 1.0], progress=False)
    assert data.status.values.tolist() == [0, 0, 1, 0, 0]
    message = str(data.status_message.values[2])
    assert "'fast'" in message and "max_substeps = 400" in message and "t = " in message
    assert data.row_size.values.tolist() == [3, 3, 0, 3, 3]
    from sciml.data import case as case_of

    for i in (0, 1, 3, 4):
        _, got = case_of(data, i)
        alone = solver.solve(cases[i], times=[0.1, 0.5, 1.0])
        assert np.abs(got.u.values - alone.u.values).max() < 2e-5
    with pytest.raises(SolverError, match="max_substeps"):
        solver.solve(cases[2], times=[0.1])


def test_a_state_that_is_not_finite_stops_with_time_and_hint():
    class Broken(Direct):
        def solve(self, system, rhs, guess=None, factor=()):
            phi, info = super().solve(system, rhs)
            return phi * jnp.where(jnp.max(jnp.abs(rhs)) > 1e3, jnp.nan, 1.0), info

        def __eq__(self, other):
            return isinstance(other, Broken)

        __hash__ = Direct.__hash__

    cases = [
        LidDrivenCavity().case(lid_motion=Series([0, 0.5, 0.6], [0.1, 0.1, 30.0])),
        LidDrivenCavity().case(lid_velocity=0.1),
    ]
    solver = IncompressibleFlow(12, pressure_solver=Broken())
    data = solver.solve_many(cases, times=[0.2, 0.4, 1.0], progress=False)
    assert data.status.values.tolist() == [1, 0] and data.row_size.values.tolist() == [2, 3]
    message = str(data.status_message.values[0])
    assert "not finite" in message and "finer resolution" in message
    assert 0.5 < float(message.split("at t = ")[1].split(";")[0]) < 1.0


PARAMETERS = {"density": 1.2, "viscosity": 0.02, "width": 1.0, "height": 1.3}


def loss(solver, parameters, lid, psi, times=(0.1, 0.4)):
    knots = jnp.array([0.0, 0.2, 0.5])
    found = solver.simulate(
        parameters, {"y_max_u": (knots, lid * jnp.array([1.0, 0.7, 1.2])), "streamfunction": psi}, jnp.array(times)
    )
    return jnp.sum(found["u"][-1] ** 2) + jnp.sum(found["p"][0] * found["v"][-1]) + jnp.sum(found["u_tendency"][-1])


def arguments(psi) -> tuple:
    # with a type: numbers without one would be another signature than what is moved off them, and be compiled again
    return {k: jnp.asarray(v, float) for k, v in PARAMETERS.items()}, jnp.ones(3), jnp.asarray(psi)


@pytest.fixture(scope="module")
def value_and_gradient():
    """Of `loss` by parameters, lid and stream function: compiled once for all of them."""
    solver = IncompressibleFlow(8, dtype="float64")
    return jax.jit(jax.value_and_grad(lambda *given: loss(solver, *given), argnums=(0, 1, 2)))


@pytest.mark.parametrize("which", ["viscosity", "density", "width", "lid", "series", "psi"])
def test_gradients_agree_with_differences(which, value_and_gradient):
    with jax.enable_x64(True):
        at = arguments(random_streamfunction((9, 9), seed=4))
        way = jax.tree.map(jnp.zeros_like, at)
        if which in PARAMETERS:
            way[0][which] = jnp.ones(())
        elif which == "psi":
            way = (*way[:2], jnp.asarray(random_streamfunction((9, 9), seed=5)))
        else:
            way = (way[0], jnp.array({"lid": [1.0, 1.0, 1.0], "series": [0.0, 1.0, 0.0]}[which]), way[2])
        h = 1e-5
        ends = [jax.tree.map(lambda a, w, s=s: a + s * h * w, at, way) for s in (1, -1)]
        ahead, back = (value_and_gradient(*end)[0] for end in ends)
        expected = float((ahead - back) / (2 * h))
        slopes = value_and_gradient(*at)[1]
        got = float(sum(jnp.sum(g * w) for g, w in zip(jax.tree.leaves(slopes), jax.tree.leaves(way), strict=True)))
    assert abs(expected) > 1e-3
    assert abs(got - expected) < 1e-5 * abs(expected)


def test_forward_derivatives_and_batches_of_gradients():
    with jax.enable_x64(True):
        psi = jnp.asarray(random_streamfunction((9, 9)))

        def value(solver, nu):
            return loss(solver, PARAMETERS | {"viscosity": nu}, jnp.ones(3), psi)

        forward = IncompressibleFlow(8, dtype="float64", derivative="forward")
        reverse = IncompressibleFlow(8, dtype="float64")
        nus = jnp.array([0.02, 0.3])  # of different numbers of stages and steps
        one_by_one = [float(jax.jvp(lambda n: value(forward, n), (nu,), (1.0,))[1]) for nu in nus]
        together = jax.jit(jax.vmap(jax.grad(lambda n: value(reverse, n))))(nus)
    assert np.allclose(one_by_one, together, rtol=1e-9)


def test_simulate_is_what_solve_labels():
    case = LidDrivenCavity().case(viscosity=0.1)
    solver = IncompressibleFlow(16, dtype="float64")
    solution = solver.solve(case, times=[0.2, 0.7])
    with jax.enable_x64(True):
        parameters, inputs = solver.arrays(case)
        found = jax.jit(solver.simulate)(parameters, inputs, jnp.array([0.2, 0.7]))
    # batches may take other steps than single cases, and agree to second order in the step
    assert np.abs(np.asarray(found["u"]) - solution.u.values).max() < 2e-3
    assert np.abs(np.asarray(found["p"]) - solution.p.values).max() < 2e-2 * np.abs(solution.p.values).max()
