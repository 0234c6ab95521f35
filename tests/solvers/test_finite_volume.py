"""The finite-volume solver against exact solutions in one, two and three dimensions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml import Balance, Box, Dirichlet, FieldSpec, Grid, Neumann, ParameterSpec, PDEProblem, Scales, Series
from sciml.derivatives import numpy as provider
from sciml.errors import InputError, SolverError
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, Poisson
from sciml.solvers import FiniteVolume
from sciml.solvers._sparse_jacobian import Pattern

pytestmark = pytest.mark.compiled_quickly


class Scalar(PDEProblem):
    """What the small problems of these tests share."""

    name = "test_scalar"
    title = "test"
    dimensions = 1
    fields = (FieldSpec("q", "1"),)
    parameters = (ParameterSpec("diffusivity", "1", 0.05),)
    steady = True

    def geometry(self, case):
        return Box((0.0,) * self.dimensions, (1.0,) * self.dimensions)

    def scales(self, case):
        return Scales(1.0, 1.0, {"q": 1.0})

    def boundary_conditions(self, case):
        return {b: {"q": Dirichlet(0.0)} for b in self.geometry(case).boundaries}


class Nonlinear(Scalar):
    """∂x(−(1 + q²) ∂x q) = 0, q = 0 and 1 at the ends: q + q³/3 = 4x/3."""

    name = "test_nonlinear"

    def equations(self, q, d, theta, x):
        return {"q": Balance(flux=-1.0 * (1.0 + q.q**2) * d.grad(q.q))}

    def boundary_conditions(self, case):
        return {
            "x_min": {"q": Dirichlet(0.0)},
            "x_max": {"q": Dirichlet(1.0)},
        }

    def exact(self, case, times, coords):
        q = np.asarray(coords[0])
        for _ in range(60):
            q = q - (q + q**3 / 3 - 4 * np.asarray(coords[0]) / 3) / (1 + q**2)
        return {"q": q}


class Cube(Scalar):
    """−∇·∇q = 3π² sin πx sin πy cos πz on a cube; z walls are insulated."""

    name = "test_cube"
    dimensions = 3

    def equations(self, q, d, theta, x):
        source = 3 * math.pi**2 * d.sin(math.pi * x[0]) * d.sin(math.pi * x[1]) * d.cos(math.pi * x[2])
        return {"q": Balance(flux=-1.0 * d.grad(q.q), source=source)}

    def boundary_conditions(self, case):
        found = super().boundary_conditions(case)
        return found | {b: {"q": Neumann(0.0)} for b in ("z_min", "z_max")}

    def exact(self, case, times, coords):
        x, y, z = coords
        return {"q": np.sin(np.pi * x) * np.sin(np.pi * y)[:, None] * np.cos(np.pi * z)[:, None, None]}


class Slope(Scalar):
    """−q'' = −eˣ, q = 1 on the left, q' = e on the right: q = eˣ."""

    name = "test_slope"

    def equations(self, q, d, theta, x):
        return {"q": Balance(flux=-1.0 * d.grad(q.q), source=-1.0 * d.exp(x[0]))}

    def boundary_conditions(self, case):
        return {
            "x_min": {"q": Dirichlet(1.0)}, "x_max": {"q": Neumann(math.e)},
        }  # fmt: skip

    def exact(self, case, times, coords):
        return {"q": np.exp(coords[0])}


class Channel(Scalar):
    """∂t q + ∂x q − κ∇²q = 0, periodic along x, q = 0 on the y walls."""

    name = "test_channel"
    dimensions = 2
    steady = False

    def geometry(self, case):
        return Box((0.0, 0.0), (1.0, 1.0), (True, False))

    def equations(self, q, d, theta, x):
        flux = d.vector(q.q, 0.0) - theta.diffusivity * d.grad(q.q)
        return {"q": Balance(storage=2.0 * q.q, flux=2.0 * flux)}

    def exact(self, case, times, coords):
        t = np.asarray(times)[:, None, None]
        decay = np.exp(-case.diffusivity * 5 * np.pi**2 * t)
        return {"q": decay * np.sin(2 * np.pi * (coords[0] - t)) * np.sin(np.pi * coords[1])[:, None]}


class Explosion(Scalar):
    """∂t q = q², q = 1 at first and insulated ends: q = 1/(1 − t)."""

    name = "test_explosion"
    steady = False

    def equations(self, q, d, theta, x):
        return {"q": Balance(storage=q.q, flux=-theta.diffusivity * d.grad(q.q), source=q.q**2)}

    def boundary_conditions(self, case):
        return {b: {"q": Neumann(0.0)} for b in ("x_min", "x_max")}

    def initial_state(self, case, grid):
        return {"q": np.ones(grid.shape)}


class Open(Scalar):
    """No boundary value and no equation fixes the level."""

    name = "test_open"

    def equations(self, q, d, theta, x):
        return {"q": Balance(flux=-1.0 * d.grad(q.q), source=d.cos(math.pi * x[0]))}

    def boundary_conditions(self, case):
        return {b: {"q": Neumann(0.0)} for b in ("x_min", "x_max")}


def error(case, n, times=None, **settings):
    """Largest error of the field over all cells and times."""
    found = FiniteVolume(n, **settings).solve(case, times)
    coords = tuple(found[a].values for a in "xyz"[: case.problem.dimensions])
    exact = case.exact(times, coords)
    return max(np.abs(found[k].values - v).max() for k, v in exact.items())


@pytest.mark.parametrize(
    ("case", "times", "sizes", "settings"),
    [
        (Poisson().case(wavenumber=2), None, (64, 128), {}),
        (Poisson().case(), None, (32, 64), {"stretching": 1.5}),
        (HeatEquation().case(diffusivity=0.5), [0.0, 0.4, 1.3], (64, 128), {}),
        (HeatEquation().case(diffusivity=0.5, length=2.0, frequency=0.2), [1.0], (64, 128), {"stretching": 1.0}),
        (Burgers().case(viscosity=0.02), [0.1, 0.4, 1.0], (128, 256), {}),
        (Nonlinear().case(), None, (128, 256), {}),
        (Cube().case(), None, (16, 24), {}),
        (Slope().case(), None, (32, 64), {}),
        (Channel().case(), [0.1, 0.3], (16, 32), {}),
    ],
    ids=lambda v: v.problem.name if isinstance(v, sciml.Case) else "",
)
def test_second_order_against_exact_solutions(case, times, sizes, settings):
    errors = [error(case, n, times, **settings) for n in sizes]
    assert math.log(errors[-2] / errors[-1]) / math.log(sizes[-1] / sizes[-2]) > 1.9
    assert errors[-1] < 0.05


def test_gradients_are_second_order_up_to_the_walls():
    """Face gradients of the solution, boundary faces included."""
    errors = []
    case = Poisson().case()
    for n in (32, 64):
        found = FiniteVolume(n).solve(case)
        grid = Grid.uniform(case.geometry, n)
        given = {"inputs": {"source": case.input_on("source", grid)}, "boundary": case.boundary_conditions}
        flux = provider.fluxes(case.problem.balances()["potential"], grid, {"p": found["p"].values}, **given)[0][0]
        exact = -math.pi * np.cos(math.pi * grid.faces[0])[None, :] * np.sin(math.pi * grid.centres[1])[:, None]
        errors.append(np.abs(flux - exact).max())
    assert math.log2(errors[0] / errors[1]) > 1.9


def test_second_order_in_time():
    """Against a solution of the same cells with very small steps; the boundary value moves."""
    case = HeatEquation().case(diffusivity=0.2)
    fine = FiniteVolume(32, time_step=5e-4).solve(case, [0.6])["T"].values
    coarse = [
        np.abs(FiniteVolume(32, time_step=h).solve(case, [0.6])["T"].values - fine).max() for h in (0.0125, 0.00625)
    ]
    assert math.log2(coarse[0] / coarse[1]) > 1.9


def test_a_jump_in_the_boundary_value_does_not_ring():
    """T = 1 on the left from the first instant; long steps must neither over- nor undershoot, and end at erfc."""
    case = HeatEquation().case(
        diffusivity=1.0,
        temperature_left=Series([0.0], [1.0]),
        temperature_right=Series([0.0], [0.0]),
        initial_temperature=np.zeros(16),
    )
    found = FiniteVolume(64, time_step=0.01).solve(case, [0.02, 0.04, 0.1])
    assert found["T"].values.min() > -0.05 and found["T"].values.max() < 1.0
    late = FiniteVolume(64, time_step=0.01).solve(case, [3.0])
    np.testing.assert_allclose(late["T"].values[0], 1 - late["x"].values, rtol=0, atol=1e-9)
    sharp = FiniteVolume(128, time_step=2e-5).solve(case, [0.01])
    x = sharp["x"].values
    exact = np.array([math.erfc(v / (2 * math.sqrt(0.01))) for v in x])
    np.testing.assert_allclose(sharp["T"].values[0], exact, rtol=0, atol=2e-4)


def test_layered_darcy_is_exact_across_jumps():
    layers = np.array([1.0, 100.0, 100.0, 0.01, 3.0, 3.0])
    case = Darcy(walls="closed").case(
        permeability=np.tile(layers, (6, 1)), source=0.0, pressure_left=2.0, pressure_right=1.0
    )
    for n in (6, 12, 48):  # the field is held by cells at other resolutions too
        assert error(case, n) < 1e-12


def test_flow_through_a_random_medium_is_conserved():
    """Closed walls, no source: the same flux crosses every column of faces, to rounding of the largest flux."""
    rng = np.random.default_rng(4)
    a = np.exp(1.5 * rng.standard_normal((20, 20)))
    case = Darcy(walls="closed").case(permeability=a, source=0.0, pressure_left=1.0, pressure_right=0.0)
    found = FiniteVolume(20).solve(case)
    grid = Grid.uniform(case.geometry, 20)
    given = {"parameters": case.parameters, "inputs": {"permeability": a}, "boundary": case.boundary_conditions}
    flux = provider.fluxes(case.problem.balances()["mass"], grid, {"p": found["p"].values}, **given)[0][0]
    through = flux.sum(axis=0)
    np.testing.assert_allclose(through, through[0], rtol=0, atol=1e-12 * np.abs(flux).sum(axis=0).max())


def test_burgers_keeps_its_momentum_to_rounding():
    case = Burgers().case(viscosity=0.01, initial_velocity=0.7 + np.sin(2 * np.pi * (np.arange(64) + 0.5) / 64))
    found = FiniteVolume(64).solve(case, [0.0, 0.3, 1.0])
    np.testing.assert_allclose(found["u"].values.mean(axis=1), 0.7, rtol=0, atol=1e-13)


def test_inputs_of_another_resolution_are_used():
    case = Poisson().case(source=np.full((4, 4), 3.0))
    same = Poisson().case(source=np.full((32, 32), 3.0))
    solver = FiniteVolume(32)
    np.testing.assert_array_equal(solver.solve(case)["p"].values, solver.solve(same)["p"].values)
    assert solver.solve(case)["input_source"].shape == (4, 4)


@pytest.mark.parametrize(
    ("case", "times"),
    [
        (Poisson().case(), None),
        (Darcy().case(permeability=np.exp(np.random.default_rng(0).standard_normal((16, 16)))), None),
        (HeatEquation().case(diffusivity=0.1), [0.3, 0.6]),
        (Burgers().case(viscosity=0.02), [0.2, 0.5]),
    ],
    ids=lambda v: v.problem.name if isinstance(v, sciml.Case) else "",
)
def test_audit_finds_every_cell_in_balance(case, times):
    found = FiniteVolume(16).solve(case, times)
    audit = sciml.audit(found)
    rows = [r for r in audit.rows if r.check == "balance"]
    assert rows and not audit.notes
    assert all(r.relative < 1e-10 and r.rms <= r.floor for r in rows)


def test_simulate_equals_solve_and_has_gradients():
    rng = np.random.default_rng(0)
    a, change, weight = np.exp(rng.standard_normal((8, 8))), rng.standard_normal((8, 8)), rng.standard_normal((8, 8))
    case, solver = Darcy().case(permeability=a), FiniteVolume(8)

    def loss(a, source):
        return jnp.sum(weight * solver.simulate({"source": source}, {"permeability": a}, None, case)["p"])

    loss = jax.jit(loss)
    with jax.enable_x64(True):
        same = solver.simulate({}, {}, None, case)["p"]
        np.testing.assert_allclose(np.asarray(same), solver.solve(case)["p"].values, rtol=0, atol=1e-13)
        by_field, by_source = jax.grad(loss, argnums=(0, 1))(jnp.asarray(a), 1.0)
        h = 1e-5
        slope = (loss(a + h * change, 1 + h) - loss(a - h * change, 1 - h)) / (2 * h)
        assert float(jnp.sum(by_field * change) + by_source) == pytest.approx(float(slope), rel=1e-6)
        several = jax.vmap(lambda k: loss(k * jnp.asarray(a), 1.0))(jnp.array([1.0, 2.0]))
        assert float(several[1]) == pytest.approx(float(several[0]) / 2, rel=1e-10)


def test_simulate_in_time_equals_solve_and_has_gradients():
    case, solver, times = Burgers().case(viscosity=0.03), FiniteVolume(24), [0.0, 0.1, 0.35]
    forward = FiniteVolume(24, derivative="forward")
    start = np.sin(2 * np.pi * solver.grid(case).centres[0])
    change = np.random.default_rng(1).standard_normal(24)

    def loss(viscosity, start, solver=solver):
        u = solver.simulate({"viscosity": viscosity}, {"initial": start}, times, case)["u"]
        return jnp.sum(jnp.sin(3 * u) * jnp.arange(24))

    loss = jax.jit(loss, static_argnames="solver")
    with jax.enable_x64(True):
        same = solver.simulate({}, {}, times, case)["u"]
        np.testing.assert_allclose(np.asarray(same), solver.solve(case, times)["u"].values, rtol=0, atol=1e-12)
        by_viscosity, by_start = jax.grad(loss, argnums=(0, 1))(0.03, jnp.asarray(start))
        h = 1e-5
        slope = (loss(0.03 + h, start + h * change) - loss(0.03 - h, start - h * change)) / (2 * h)
        along = float(by_viscosity + jnp.sum(by_start * change))
        assert along == pytest.approx(float(slope), rel=1e-6)
        value, tangent = jax.jvp(
            lambda k, q: loss(k, q, forward), (0.03, jnp.asarray(start)), (1.0, jnp.asarray(change))
        )
        assert float(value) == pytest.approx(float(loss(0.03, start)), rel=1e-12)
        assert float(tangent) == pytest.approx(along, rel=1e-9)


def test_times_are_hit_and_substeps_are_bounded():
    case = Burgers().case()
    solver = FiniteVolume(32, time_step=0.01)
    times = [0.0, 0.004, 0.1, 0.5]
    found = solver.solve(case, times)
    np.testing.assert_array_equal(found["time"].values, times)
    counts = solver.substeps(case, np.array(times))
    assert counts[0] == 0 and counts[1] == 1
    assert all(n >= gap / 0.01 * (1 - 1e-9) for n, gap in zip(counts, np.diff(times, prepend=0.0), strict=True))
    np.testing.assert_array_equal(found["u"].values[0], case.problem.initial_state(case, solver.grid(case))["u"])


def test_many_cases_each_with_its_status():
    solver = FiniteVolume(16)
    data = solver.solve_many([Darcy().case(), Darcy().case(source=2.0)], progress=False)
    np.testing.assert_array_equal(data["status"].values, [0, 0])
    first, second = (sciml.data.case(data, i)[1]["p"].values for i in (0, 1))
    np.testing.assert_allclose(second, 2 * first, rtol=1e-12)

    overflow = Burgers().case(initial_velocity=np.full(16, 1e200), velocity=1e200, label="too large")
    data = solver.solve_many([Burgers().case(), overflow], [[0.0, 0.1], [0.0, 1e-200]], progress=False)
    np.testing.assert_array_equal(data["status"].values, [0, 1])
    np.testing.assert_array_equal(data["row_size"].values, [2, 1])
    assert "too large" in str(data["status_message"].values[1])


def test_a_march_ends_where_newton_fails():
    """q = 1/(1 − t) has no value from t = 1 on; what came before is kept, what follows is not made up."""
    (found,) = FiniteVolume(8, time_step=0.01).run([Explosion().case()], [np.array([0.5, 0.8, 1.5, 2.0])])
    for name in ("q", "q_tendency"):
        assert np.isfinite(found[name][:2]).all() and np.isnan(found[name][2:]).all()
    np.testing.assert_allclose(found["q"][:2, 0], [2.0, 5.0], rtol=1e-3)
    np.testing.assert_allclose(found["q_tendency"][:2], found["q"][:2] ** 2, rtol=1e-9)
    place = float(found["status"].rsplit("at t = ", 1)[1])
    assert "Newton's iteration did not converge" in found["status"] and place == pytest.approx(1.0, abs=0.02)


def test_an_open_level_is_reported():
    with pytest.raises(SolverError, match="level of the solution is open"):
        FiniteVolume(16).solve(Open().case())


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("shape", "reach"), [((7,), 1), ((3,), 1), ((9, 5), 1), ((8, 11), 2), ((4, 3, 5), 1)])
def test_coloured_derivatives_give_the_whole_matrix(shape, reach, periodic):
    """For a random matrix with the assumed neighbours, few directional derivatives recover every entry."""
    size = int(np.prod(shape))
    index = np.indices(shape).reshape(len(shape), -1)
    near = np.ones((size, size), dtype=bool)
    for i, n in zip(index, shape, strict=True):
        gap = np.abs(i[:, None] - i[None, :])
        near &= (np.minimum(gap, n - gap) if periodic else gap) <= reach
    matrix = np.where(near, np.random.default_rng(0).standard_normal((size, size)), 0.0)
    pattern = Pattern(shape, (periodic,) * len(shape), reach)
    directions = pattern.directions.reshape(len(pattern.directions), -1)
    found = pattern.matrix((directions @ matrix.T).reshape(-1, *shape))
    np.testing.assert_array_equal(found.toarray(), matrix)
    assert len(directions) <= (4 * reach + 1) ** len(shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 2}, "resolution"),
        ({"resolution": (8, 2)}, "resolution"),
        ({"resolution": "fine"}, "resolution"),
        ({"resolution": True}, "resolution"),
        ({"stretching": -1.0}, "stretching"),
        ({"courant": 0.0}, "courant"),
        ({"time_step": -0.1}, "time_step"),
        ({"time_step": math.inf}, "time_step"),
        ({"derivative": "both"}, "derivative"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        FiniteVolume(**arguments)


def test_bad_requests_are_named():
    with pytest.raises(InputError, match="cannot solve the problem 'lid_driven_cavity'"):
        FiniteVolume(16).solve(LidDrivenCavity().case(), [1.0])
    with pytest.raises(InputError, match="steady"):
        FiniteVolume(16).solve(Poisson().case(), [1.0])
    with pytest.raises(InputError, match="changes in time"):
        FiniteVolume(16).solve(Burgers().case())
    with pytest.raises(InputError, match="1 counts"):
        FiniteVolume((16, 16)).solve(Burgers().case(), [1.0])
    found = FiniteVolume(16).solve(Poisson().case(), points=[[0.5, 0.5]])
    assert found["p"].dims == ("node",) and found["p"].item() == pytest.approx(1.0, rel=0.02)
    assert "FiniteVolume" in FiniteVolume(16)._repr_html_()
    assert sciml.registry.solvers.get("finite_volume") is FiniteVolume
