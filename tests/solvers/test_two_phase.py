"""Two fluids: the volume fraction, rest, growth, entrance, conservation, gradients, restarts and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import _flows_two_fluids as flows
from benchmarks._flows_two_fluids import run, shares
from sciml.boundary import Dirichlet, Outflow
from sciml.errors import InputError
from sciml.geometry import Box, Disc
from sciml.problems import DamFlow, LidDrivenCavity, TubeFlow
from sciml.solvers import TwoPhaseFlow, _staggered, _two_phase_setup, _two_phase_stepper, _volume_fraction
from sciml.solvers.linear import Direct, End, MultigridCG
from sciml.solvers.references import reference

pytestmark = pytest.mark.compiled_quickly


def test_a_disc_comes_back_from_a_vortex():
    """Rider and Kothe's test (J. Comput. Phys. 141, 112 (1998)): second order, bounded, and nothing is lost."""
    errors = []
    for n in (32, 64):
        found = flows.vortex(n)
        assert found["overshoot"] <= 1e-14 and found["volume_error"] < 1e-13
        errors.append(found["area_error"])
    assert errors[1] < 1e-3 and math.log2(errors[0] / errors[1]) > 1.8  # 3.0e-3, 6.7e-4


def test_lines_are_exact():
    """Of a straight interface slopes are found from α, and what is swept is the area of the strip."""
    n, slope = 16, 0.4
    alpha = shares(lambda x, y: y < 0.31 + slope * x, (n, n), (1.0, 1.0), 64)
    with jax.enable_x64(True):
        mx, my = _volume_fraction.normals(jnp.asarray(alpha))
    cut = (alpha[1:-1, 1:-1] > 0.05) & (alpha[1:-1, 1:-1] < 0.95)
    found = np.asarray(mx)[cut] / np.asarray(my)[cut]
    np.testing.assert_allclose(np.median(found), -slope, atol=0.01)
    assert (np.abs(found + slope) < 0.1).all()
    # the area under a x + b y ≤ c against counting
    random = np.random.default_rng(0)
    x = (np.arange(400) + 0.5) / 400
    for _ in range(20):
        a, b = random.random(2)
        c = random.random() * (a + b)
        counted = ((a * x[None] + b * x[:, None]) <= c).mean()
        assert abs(float(_volume_fraction.share(jnp.float32(a), jnp.float32(b), jnp.float32(c))) - counted) < 5e-3


def test_a_tank_at_rest_stays_at_rest():
    """A density ratio of 833, the surface within cells: the pressure is hydrostatic and nothing moves."""
    alpha = shares(lambda x, y: y < 0.301 + 0 * x, (32, 48), (1.0, 0.75), 32)
    found = run(alpha, (1.0, 0.75), [0.0, 1.0])
    assert found["substeps"][1] > 20
    assert max(np.abs(found[k]).max() for k in "uv") < 1e-8  # m/s
    assert np.abs(found["alpha"][-1] - alpha).max() < 1e-8
    slope = np.diff(found["p"][-1], axis=0) / (0.75 / 32)
    below = alpha[1:] > 1 - 1e-12
    np.testing.assert_allclose(slope[below], -9.81 * (1000 - 1.2), rtol=1e-6)
    assert np.abs(slope[alpha[:-1] == 0]).max() < 1e-3


def test_fragments_of_the_heavy_fluid_are_not_shot_away():
    """Where drops far smaller than cells come and go, what little is left in a control volume keeps to the velocities
    around: a drop of 0.2 % of a cell doubled its speed every other step, whatever the step, until all was lost."""
    n, worst, random = 24, 0.0, np.random.default_rng(0)
    layout, walls = _staggered.Layout(n, n, ((End.WALL, End.WALL),) * 2), ("density", "air_density", "viscosity")
    values = dict(zip(walls, (1000.0, 1.2, 1e-3), strict=True)) | {"air_viscosity": 1e-5, "gravity": 0.0}
    with jax.enable_x64(True):
        parameters = {k: jnp.asarray(v) for k, v in values.items()} | {"width": jnp.ones(()), "height": jnp.ones(())}
        two = _two_phase_setup.fluids(layout, parameters, {}, MultigridCG())

        @jax.jit
        def after(alpha, u, v, sx, sy):
            still = two.walls(jnp.zeros(()))
            return _two_phase_stepper.carried(two, alpha, u, v, still, sx, sy, jnp.asarray(True)).velocity

        for _ in range(20):
            psi = np.zeros((n + 1, n + 1))
            psi[1:-1, 1:-1] = random.standard_normal((n - 1, n - 1))
            u, v = np.diff(psi, axis=0), -np.diff(psi, axis=1)
            swept = (np.maximum(abs(u[:, 1:]), abs(u[:, :-1])) + np.maximum(abs(v[1:]), abs(v[:-1]))).max()
            alpha = random.random((n, n)) * (random.random((n, n)) < 0.2) * 10.0 ** -random.integers(0, 5, (n, n))
            found = after(alpha, u[:, 1:-1], v[1:-1], 0.4 * u / swept, 0.4 * v / swept)
            worst = max(worst, max(np.abs(a).max() for a in found) / max(np.abs(u).max(), np.abs(v).max()))
    assert worst <= 1 + 1e-12  # 28 with slopes up to the ends, and along both axes at once


def test_one_fluid_alone_is_of_second_order():
    errors = [flows.vortices(n)["u_off_by"] for n in (16, 32)]
    assert errors[1] < 0.017 and math.log2(errors[0] / errors[1]) > 1.7


def test_beside_a_body_there_is_no_other_fluid():
    """Cells within a body hold no air: water beside it rubs against it as against a wall, and is one fluid there."""
    case, solver = DamFlow().case(width=0.8), TwoPhaseFlow((16, 32))
    parameters, inputs = jax.tree.map(jnp.asarray, solver.arrays(case, np.zeros(1)))
    layout = _staggered.Layout(32, 16, solver.ends(case))
    two = _two_phase_setup.fluids(layout, parameters, inputs, MultigridCG())
    solid = np.asarray(two.solid())
    assert solid.sum() == 4 * 2  # 0.1 m × 0.05 m of cells of 0.025 m
    water = jnp.asarray(1 - solid)
    stress = _two_phase_stepper.viscous(two, water)
    for corner in stress.corner:
        values = np.asarray(corner)
        np.testing.assert_allclose(values[values > 0], case.viscosity, rtol=1e-6)
    for k, share in enumerate(_two_phase_stepper._apart(two, water)):
        free = _staggered.unknowns(layout, two.free(0), two.free(1))[k]
        np.testing.assert_array_equal(share, free)


def test_heavy_over_light_grows_as_theory_says():
    """Rayleigh-Taylor: amplitude a₀ cosh σt with σ² = A g k tanh(kH/2), lessened by viscosity (Chandrasekhar 1961)."""
    errors = [flows.growth(n)["off_by"] for n in (32, 64)]
    assert errors[1] < 0.025 and errors[1] < 0.65 * errors[0]  # 4.9 %, 2.1 %


def test_the_tube_fills_and_its_flow_develops():
    coarse, fine = (flows.tube(n) for n in (8, 16))
    for found in (coarse, fine):
        assert found["water_off_by"] < 1e-6 and found["overshoot"] < 1e-6
        assert found["pressure_gradient_off_by"] < 0.01
    assert fine["profile_off_by"] < 2e-3 and math.log2(coarse["profile_off_by"] / fine["profile_off_by"]) > 1.5
    assert fine["entrance_diameters"] == pytest.approx(fine["entrance_published"], rel=0.05)  # 1.162, published 1.178


@pytest.fixture(scope="module")
def dam():
    case = DamFlow().case(velocity=1.0, barrier_height=0.12, barrier_width=0.06)
    solver = TwoPhaseFlow((40, 150))
    return case, solver, solver.solve(case, [0.0, 0.1, 0.4, 1.0])


def test_water_over_the_barrier(dam):
    _, _, found = dam
    assert found.attrs["status"] == "ok"
    area = 0.01**2
    alpha = found.alpha.astype("f8")
    np.testing.assert_allclose(alpha.sum(("x", "y")).values * area, [0.01, 0.02, 0.05, 0.11], rtol=1e-6)
    assert alpha.values.min() >= -1e-6 and alpha.values.max() <= 1 + 1e-6
    barrier = found.mask.values == 0
    assert barrier.sum() == 12 * 6 and barrier[:12, 50:56].all()
    for name in ("u", "v", "alpha"):
        assert np.abs(found[name].values[:, barrier]).max() == 0
    assert np.abs(found.u_face.values[:, :12, 50:57]).max() == 0
    # what comes in does so below 0.1 m; water has passed the barrier at last and not before
    np.testing.assert_array_equal(found.u_face.values[1:, :10, 0], 1.0)
    assert np.abs(alpha.values[1, :, 56:]).max() < 1e-6 and alpha.values[-1, :, 60:].sum() * area > 1e-4
    u, v = found.u_face.values.astype("f8"), found.v_face.values.astype("f8")
    divergence = (np.diff(u, axis=2) / 0.01 + np.diff(v, axis=1) / 0.01)[1:]
    assert np.abs(divergence).max() < 2e-3 * np.abs(u).max() / 0.01


def test_a_restart_goes_on_from_a_frame(dam):
    case, solver, found = dam
    again = solver.resume(case, found.isel(time=[1]), [0.4])
    other = solver.resume(case, found[["u", "v", "alpha"]].isel(time=[1]), [0.4])  # without velocities of faces
    for each in (again, other):
        assert np.abs(each.alpha.values[0] - found.alpha.values[2]).mean() < 3e-3
        assert each.alpha.values.sum() == pytest.approx(found.alpha.values[2].sum(), rel=1e-5)


def test_gradients_are_those_of_differences():
    """A smooth α: by density, viscosity, weight, speed and the start of α, against central differences."""
    n = 12
    x = (np.arange(n) + 0.5) / n
    wave = 0.1 * np.cos(2 * np.pi * x)[None]
    alpha = 0.5 - 0.5 * np.tanh((x[:, None] - 0.5 - wave) / 0.12)
    weights = np.cos(3 * x)[None] * np.sin(2 * x + 1)[:, None]
    f = np.linspace(0, 1, n + 1)
    psi = 0.1 * np.sin(np.pi * f)[None] ** 2 * np.sin(np.pi * f)[:, None] ** 2
    u, v = np.diff(psi, axis=0) * n, -np.diff(psi, axis=1) * n
    solver = TwoPhaseFlow(n, dtype="float64", pressure_solver=MultigridCG(tolerance=1e-12))

    def loss(theta):
        parameters = {
            "density": 3.0 * theta[0], "viscosity": 0.03 * theta[1], "gravity": theta[2], "air_density": 1.0,
            "air_viscosity": 0.01, "width": 1.0, "height": 1.0,
        }  # fmt: skip
        inputs = {
            "alpha": alpha + 0.01 * (theta[4] - 1) * weights, "u_face": u * theta[3], "v_face": v * theta[3]
        }  # fmt: skip
        found = solver.simulate(parameters, inputs, np.array([0.3]))
        return jnp.mean(weights * (found["alpha"] + 10 * found["u"] ** 2 + found["v"]))

    with jax.enable_x64(True):
        theta = jnp.ones(5)
        both = jax.jit(jax.value_and_grad(loss))
        gradient = np.asarray(both(theta)[1])
        eps = 1e-3
        steps = np.eye(5) * eps
        by_differences = np.array([(both(theta + e)[0] - both(theta - e)[0]) / (2 * eps) for e in steps])
    assert np.isfinite(gradient).all() and np.abs(gradient).min() > 0
    cosine = gradient @ by_differences / np.linalg.norm(gradient) / np.linalg.norm(by_differences)
    assert cosine > 0.999


def test_it_is_the_reference_of_tube_and_dam():
    for problem in (TubeFlow(), DamFlow()):
        assert isinstance(reference(problem, (64, 64)), TwoPhaseFlow)
    assert not TwoPhaseFlow(16).supports(LidDrivenCavity())


class Odd(TubeFlow):
    """The tube with other conditions."""

    def __init__(self, change):
        self.change = change

    def boundary_conditions(self, case):
        return self.change(super().boundary_conditions(case))


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c | {"x_min": c["x_min"] | {"alpha": Dirichlet(1.5)}}, r"alpha on x_min: expected one number in"),
    (lambda c: c | {"x_max": {"u": Outflow(), "v": Outflow(), "p": Dirichlet(3.0)}}, "is open: expected Dirichlet"),
    (lambda c: c | {"x_max": {"u": Outflow()}}, "x_max: expected the velocity"),
    (lambda c: c | {"x_max": c["y_max"]}, "fluid comes in and nothing is open; expected an Outflow"),
    (lambda c: c | {"left": c["x_min"]}, "no boundary is called that"),
])  # fmt: skip
def test_wrong_conditions_get_one_line(change, message):
    problem = Odd(change)
    with pytest.raises(InputError, match=message) as told:
        TwoPhaseFlow(8).solve(problem.case(), [0.1])
    assert "\n" not in str(told.value)


class Overfull(TubeFlow):
    def initial_state(self, case, grid):
        return super().initial_state(case, grid) | {"alpha": np.full(grid.shape, 1.2)}


def test_wrong_values_get_one_line():
    with pytest.raises(InputError, match=r"alpha: expected a volume fraction in \[0, 1\], got 1.2"):
        TwoPhaseFlow(8).solve(Overfull().case(), [0.1])
    with pytest.raises(InputError, match=r"cfl is 0.9, expected a number in \(0, 0.5\]"):
        TwoPhaseFlow(8, cfl=0.9)
    with pytest.raises(InputError, match="pressure_solver is a str"):
        TwoPhaseFlow(8, pressure_solver="fast")
    with pytest.raises(InputError, match="pressure_solver: direct does not solve systems whose"):
        TwoPhaseFlow(8, pressure_solver=Direct()).solve(TubeFlow().case(), [0.1])
    with pytest.raises(InputError, match="a body cuts cells"):
        TwoPhaseFlow((16, 64)).solve(DamFlow().case(), [0.1])
    with pytest.raises(InputError, match="width beyond the barrier"):
        DamFlow().case(width=0.52)


def test_sections_of_sides():
    box = Box((0, 0), (2, 1), sections={"x_min": {"low": (0, 0.25), "high": (0.25, 1)}})
    assert set(box.boundaries) == {"low", "high", "x_max", "y_min", "y_max"}
    low = box.boundaries["low"]
    assert low.size == pytest.approx(0.25)
    np.testing.assert_allclose(low.distance(np.array([[0.0, 0.1], [0.0, 0.5], [1.0, 0.25]])), [0, 0.25, 1])
    np.testing.assert_allclose(low.normal(np.zeros((3, 2))), [[-1, 0]] * 3)
    assert hash(box) == hash(Box((0, 0), (2, 1), sections={"x_min": {"high": (0.25, 1), "low": (0, 0.25)}}))
    assert "high" in box.without(Disc((1.0, 0.5), 0.1), "disc").boundaries
    for sections, message in (
        ({"x_min": {"low": (0, 0.25)}}, "expected all from 0 to 1 once, got low 0 to 0.25"),
        ({"z_min": {"low": (0, 1)}}, "expected x_min, x_max, y_min or y_max"),
        ({"x_min": {"y_max": (0, 1)}}, "names that differ"),
    ):
        with pytest.raises(InputError, match=message):
            Box((0, 0), (2, 1), sections=sections)
