"""Flow around bodies: exact flows, balances of force and momentum, published coefficients, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import j0, j1, jn_zeros

from sciml import Dirichlet, InputError, Series
from sciml.geometry import Box, Disc
from sciml.problems import CylinderFlow, LidDrivenCavity
from sciml.problems.cylinder_flow import channel_benchmark
from sciml.solvers import IncompressibleFlow
from sciml.solvers.linear import MultigridCG

pytestmark = pytest.mark.compiled_quickly

REST = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
RADIUS, DECAY = 0.43, jn_zeros(1, 1)[0] / 0.43


class Vessel(LidDrivenCavity):
    """A round vessel in the unit square; its fluid turns as J₁(λr), λ the first zero of J₁ over the radius, which
    decays as exp(−ν λ² t) and is an exact solution."""

    def geometry(self, case):
        return Box((0.0, 0.0), (1.0, 1.0)) & Disc((0.51, 0.48), RADIUS)

    def boundary_conditions(self, case):
        return {name: REST for name in ("x_min", "x_max", "y_min", "y_max", *self.geometry(case).boundaries)}

    def streamfunction(self, case, grid):
        r = np.hypot(*np.meshgrid(grid.faces[0] - 0.51, grid.faces[1] - 0.48))
        return j0(DECAY * np.minimum(r, RADIUS))


def test_a_decaying_vortex_in_a_round_vessel_is_met_to_second_order():
    errors = []
    for n in (16, 32, 64):
        case = Vessel().case(viscosity=0.02)
        solver = IncompressibleFlow(n, dtype="float64")
        found = solver.solve(case, times=[0.3])
        x, y = np.meshgrid(found.x_face.values - 0.51, found.y.values - 0.48)
        r = np.hypot(x, y)
        exact = -DECAY * j1(DECAY * r) * y / r * np.exp(-0.02 * DECAY**2 * 0.3)
        whole = r < RADIUS - 1.0 / n
        off = np.abs(found.u_face.values[0] - exact)[whole]
        errors.append((np.sqrt(np.mean(off**2)), off.max()))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert orders[:, 0].min() > 1.7, (errors, orders)
    assert orders[:, 1].min() > 1.7, (errors, orders)


def settled(diameters=10, dtype="float64", **more):
    """Test case 2D-1 at some cells across the cylinder."""
    solver = IncompressibleFlow((round(4.1 * diameters), 22 * diameters), dtype=dtype, **more)
    return solver.solve(channel_benchmark(), times=[5.0])


@pytest.fixture(scope="module")
def steady():
    return settled()


def coefficient(force, case):
    return 2 * force / (case.density * case.inlet_velocity**2 * 2 * case.radius)


def test_drag_and_pressure_of_the_steady_benchmark(steady):
    """Schäfer and Turek: c_D in [5.57, 5.59], Δp in [0.1172, 0.1176]; ten cells across the cylinder."""
    drag = float(coefficient(steady.force_x.values[0], channel_benchmark()))
    assert abs(drag / 5.58 - 1) < 0.006
    row = steady.p.interp(y=0.0).values[0]
    x = steady.x.values
    front, back = (x > -0.07) & (x < -0.05), (x > 0.05) & (x < 0.07)
    ends = [np.polyval(np.polyfit(x[at], row[at], 1), s) for at, s in ((front, -0.05), (back, 0.05))]
    assert abs((ends[0] - ends[1]) / 0.1174 - 1) < 0.06


def test_fluid_is_lost_nowhere_and_none_is_in_the_body(steady):
    case = channel_benchmark()
    _, inputs = IncompressibleFlow((41, 220), dtype="float64").arrays(case)
    body = inputs["body"]
    u, v = steady.u_face.values[0] * body.x, steady.v_face.values[0] * body.y
    lost = np.diff(u, axis=1) / 0.01 + np.diff(v, axis=0) / 0.01
    assert np.abs(lost).max() < 1e-11 * 0.3 / 0.01
    inside = np.hypot(*np.meshgrid(steady.x_face.values, steady.y.values)) < 0.05 - 0.02
    assert inside.any() and np.all(steady.u_face.values[0][inside] == 0)
    assert np.array_equal(steady.mask.values, case.geometry.mask(IncompressibleFlow((41, 220)).grid(case)))


def test_the_force_is_what_the_channel_loses_of_momentum(steady):
    """Steady: drag = ∫ (ρu² + p) at the inlet − the same at the outlet − friction of the walls."""
    case, h = channel_benchmark(), 0.01
    u, p = steady.u_face.values[0], steady.p.values[0]
    first, last = p[:, 0] + (p[:, 0] - p[:, 1]) / 2, 0.0
    ends = np.sum(u[:, 0] ** 2 - u[:, -1] ** 2 + first - last) * h
    # the parabola through the wall and two cells
    shear = [(9 * a - b) / (3 * h) for a, b in ((u[0], u[1]), (u[-1], u[-2]))]
    friction = case.viscosity * h * sum(float(np.sum((s[1:] + s[:-1]) / 2)) for s in shear)
    assert abs(ends - friction - steady.force_x.values[0]) < 0.01 * steady.force_x.values[0]


def test_a_mirrored_case_has_the_mirrored_flow():
    case = CylinderFlow().case(y_min=-0.03, viscosity=2e-3)
    other = CylinderFlow.symmetries[0].case(case)
    solver = IncompressibleFlow((36, 88), dtype="float64")
    one, two = (solver.solve(c, times=[0.05]) for c in (case, other))
    assert np.allclose(one.u.values, two.u.values[:, ::-1], rtol=0, atol=1e-9)
    assert np.allclose(one.v.values, -two.v.values[:, ::-1], rtol=0, atol=1e-9)
    assert np.allclose(one.force_y.values, -two.force_y.values, rtol=0, atol=1e-9)


def test_multigrid_finds_the_same_flow_as_the_direct_solver():
    case, times = CylinderFlow().case(), [0.01]
    direct, other = (
        IncompressibleFlow((24, 44), dtype="float64", pressure_solver=s).solve(case, times)
        for s in (None, MultigridCG(1e-12))
    )
    assert np.allclose(direct.u.values, other.u.values, rtol=0, atol=1e-8)
    assert np.allclose(direct.force_x.values, other.force_x.values, rtol=1e-7)


def test_single_precision_agrees_with_double():
    one, two = (settled(dtype=d, cfl=1.0).force_x.values[0] for d in ("float32", "float64"))
    assert abs(one / two - 1) < 1e-4


def test_bodies_of_different_sizes_run_together_as_they_do_alone():
    cases = [CylinderFlow().case(radius=r, viscosity=2e-3) for r in (0.008, 0.01, 0.011)]
    solver = IncompressibleFlow((36, 66))
    together = solver.run(cases, [np.array([0.01, 0.03])] * 3)
    for case, found in zip(cases, together, strict=True):
        alone = solver.solve(case, times=[0.01, 0.03])
        assert np.abs(found["u"] - alone.u.values).max() < 2e-5
        assert np.allclose(found["force"][:, 0], alone.force_x.values, rtol=2e-4)


def test_an_inflow_that_changes_in_time_comes_in_and_goes_out():
    motion = Series([0.0, 0.02, 0.05], [0.5, 1.0, 0.7])
    case = CylinderFlow().case(inlet_motion=motion, viscosity=5e-3)
    times = np.array([0.005, 0.02, 0.04])
    found = IncompressibleFlow((24, 44), dtype="float64").solve(case, times)
    body = IncompressibleFlow((24, 44)).arrays(case, times)[1]["body"]
    through = (found.u_face.values * body.x).mean(axis=1)
    assert np.abs(through - motion(times)[:, None]).max() < 1e-12


def test_a_random_start_decays_towards_the_flow_without_it():
    random = np.random.default_rng(0)
    psi = 1e-3 * random.standard_normal((9, 9))
    psi[:, 0] = psi[0] = psi[-1] = 0
    solver = IncompressibleFlow((24, 44))
    plain = CylinderFlow().case(viscosity=1e-2)
    stirred = CylinderFlow().case(viscosity=1e-2, initial_streamfunction=psi)
    times = [0.001, 0.3]
    off = np.abs(solver.solve(plain, times).u.values - solver.solve(stirred, times).u.values).max(axis=(1, 2))
    assert off[0] > 0.05 and off[1] < 0.01 * off[0]


def test_a_restart_goes_on_as_without_one():
    case, solver = CylinderFlow().case(), IncompressibleFlow((24, 44), dtype="float64")
    whole = solver.solve(case, times=[0.01, 0.02])
    again = solver.resume(case, whole.isel(time=[0]), [0.02])
    assert np.allclose(again.u_face.values[0], whole.u_face.values[1], rtol=0, atol=1e-12)
    assert np.allclose(again.force_x.values[0], whole.force_x.values[1], rtol=1e-10)


def test_drag_by_inflow_profile_is_what_differences_say():
    solver, case = IncompressibleFlow((18, 33), dtype="float64"), CylinderFlow().case(viscosity=4e-3)
    with jax.enable_x64(True):
        parameters, inputs = solver.arrays(case)
        from sciml.solvers._flow_setup import ends_of

        ends, shape = ends_of(case), jnp.ones(18)

        @jax.jit
        @jax.value_and_grad
        def drag(profile):
            given = inputs | {"x_min_u": (jnp.zeros(1), profile[None])}
            return solver.simulate(parameters, given, jnp.asarray([0.005]), ends)["force"][-1, 0]

        direction = jnp.asarray(np.random.default_rng(0).standard_normal(18))
        slope = float(drag(shape)[1] @ direction)
        differences = [
            float(drag(shape + e * direction)[0] - drag(shape - e * direction)[0]) / (2 * e) for e in (1e-4, 5e-5)
        ]
    best = (4 * differences[1] - differences[0]) / 3
    assert abs(slope / best - 1) < 1e-6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"radius": 0.06}, r"not within the channel: expected x_min < -0.06 and x_max > 0.06, got -0.06 and 0.16"),
        ({"y_max": 0.005}, "expected y_min < -0.01 and y_max > 0.01, got -0.06 and 0.005"),
        ({"x_min": 0.02}, "not within the channel"),
        ({"inlet_velocity": 0.0}, "inlet_velocity is 0"),
    ],
)
def test_a_cylinder_outside_of_the_channel_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        CylinderFlow().case(**values)


def test_what_the_solver_cannot_do_with_a_body_is_said():
    solver = IncompressibleFlow((24, 44))

    class Slipping(CylinderFlow):
        def boundary_conditions(self, case):
            return super().boundary_conditions(case) | {"cylinder": {"u": Dirichlet(1.0), "v": Dirichlet(0.0)}}

    with pytest.raises(InputError, match=r"cylinder: expected Dirichlet\(0\) for u and v, a body at rest"):
        solver.solve(Slipping().case(), times=[0.01])

    class Shut(CylinderFlow):
        def boundary_conditions(self, case):
            return super().boundary_conditions(case) | {"x_max": REST}

    with pytest.raises(InputError, match="has no open end; expected an Outflow"):
        solver.solve(Shut().case(), times=[0.01])
    near = CylinderFlow().case(x_max=0.0101)
    with pytest.raises(InputError, match="a body cuts cells beside x_max, through which fluid goes"):
        solver.solve(near, times=[0.01])
    assert replace(near, label="again").parameters == near.parameters


def test_a_sudden_start_leaves_no_layers_that_long_steps_do_not_damp():
    """Drag soon after the start against that of half and of an eighth of the sub-steps; with steps of one size from the
    start on it was twice as large."""
    case = CylinderFlow().case(viscosity=5e-3)
    drags = []
    for cfl in (2.0, 1.0, 0.25):
        found = IncompressibleFlow((48, 88), cfl=cfl, dtype="float64").solve(case, times=[0.001, 0.004])
        drags.append(found.force_x.values)
    assert np.abs(drags[0] / drags[2] - 1).max() < 0.05
    assert np.abs(drags[1] / drags[2] - 1).max() < 0.03


def test_a_sudden_start_is_one_however_late_it_is():
    solver, case = IncompressibleFlow((18, 33), dtype="float64"), CylinderFlow().case(viscosity=4e-2)
    with jax.enable_x64(True):
        parameters, inputs = solver.arrays(case)
        times, ends = jnp.asarray([2.0**-7, 2.0**-6]), solver.ends(case)
        early, late, settled = (
            {k: np.asarray(v) for k, v in solver.simulate(parameters, inputs | more, asked, ends).items()}
            for more, asked in (({}, times), ({"start": 4.0}, 4.0 + times), ({"settled": 1.0}, times))
        )
    assert np.array_equal(early["substeps"], late["substeps"])
    assert np.abs(early["force"] - late["force"]).max() < 1e-12
    assert settled["substeps"].sum() < early["substeps"].sum()


def test_no_noise_grows_around_a_body():
    """How drag answers to a change of the inflow does not hang on the size of steps: it was forty times too large where
    steps were as long as stiff cut cells allowed, and modes far from them grew until the flow limited them."""
    case = CylinderFlow().case(viscosity=2e-3)
    found = []
    for cfl in (2.0, 1.0):
        solver = IncompressibleFlow((36, 66), dtype="float64", cfl=cfl)
        with jax.enable_x64(True):
            parameters, inputs = solver.arrays(case)

            def drag(speed, solver=solver, parameters=parameters, inputs=inputs):
                profile = speed * (1 + 0.2 * jnp.linspace(-1, 1, 36))
                given = inputs | {"x_min_u": (jnp.zeros(1), profile[None])}
                return solver.simulate(parameters, given, jnp.asarray([0.9]), solver.ends(case))["force"][0, 0]

            low, high = jax.jit(jax.vmap(drag))(jnp.asarray([1.0, 1.0 + 1e-8]))
            found.append(float((high - low) / 1e-8))
    assert abs(found[0] / found[1] - 1) < 0.1, found
