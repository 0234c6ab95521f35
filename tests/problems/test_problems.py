"""The equations: exact solutions, boundary and initial values, scales, features, views."""

import math

import numpy as np
import pytest

import sciml
from sciml import Grid, Periodic, Series, registry
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.geometry import SIDES
from sciml.problems import (
    Advection,
    AllenCahn,
    Burgers,
    BurgersFront,
    BurgersRamp,
    CylinderFlow,
    DamFlow,
    Darcy,
    Diffusion,
    DiffusionSorption,
    ElasticPlate,
    HeatEquation,
    HeatPlate,
    IsotropicTurbulence,
    KolmogorovFlow,
    LidDrivenCavity,
    MassTransport,
    Poisson,
    PorousMedium,
    Stefan,
    StepTransport,
    Swirl,
    TaylorGreen,
    TaylorGreen3D,
    TubeFlow,
    TurbulentChannel,
)

ALL = (
    Advection, AllenCahn, Burgers, BurgersFront, BurgersRamp, CylinderFlow, DamFlow, Darcy, Diffusion,
    DiffusionSorption, ElasticPlate, HeatEquation, HeatPlate, IsotropicTurbulence, KolmogorovFlow, LidDrivenCavity,
    MassTransport, Poisson, PorousMedium, Stefan, StepTransport, Swirl, TaylorGreen, TaylorGreen3D, TubeFlow,
    TurbulentChannel,
)  # fmt: skip
WITH_EXACT = {
    "advection": Advection().case(speed=-0.7, amplitude=2.0, length=2.0),
    "burgers": Burgers().case(viscosity=0.03, velocity=0.7, length=2.0),
    "burgers_front": BurgersFront().case(viscosity=0.03, height=0.7),
    "burgers_front, plane": BurgersFront(2).case(viscosity=0.05, angle=0.9),
    "reversing_swirl": Swirl().case(speed=0.4, width=0.2, radius=0.0),
    "diffusion": Diffusion().case(diffusivity=0.3),
    "heat_equation": HeatEquation().case(diffusivity=0.1, amplitude=2.0, frequency=0.5, length=1.5),
    "taylor_green": TaylorGreen().case(viscosity=0.1, density=2.0, velocity=0.5, length=3.0),
    "poisson": Poisson().case(amplitude=-2.0, wavenumber=3),
    "darcy": Darcy(walls="closed").case(source=0.0, pressure_left=1.0, pressure_right=3.0),
}


@pytest.mark.parametrize("problem", ALL)
def test_every_problem_describes_itself(problem):
    made = problem()
    case = made.case()
    assert registry.problems.get(made.name) is problem
    assert made.name in repr(made).lower() or type(made).__name__ in repr(made)
    assert [made.field(f.name) for f in made.fields] == list(made.fields)
    balances = made.balances()
    assert balances and all(b.unit for b in balances.values())
    scales = case.scales
    assert set(scales.fields) == {f.name for f in made.fields}
    assert all(v > 0 and math.isfinite(v) for v in (scales.length, scales.time, *scales.fields.values()))
    features = made.features(case, 0.25, 0.5)
    assert features and all(math.isfinite(v) for v in features.values())
    box = case.geometry
    assert box.dimensions == made.dimensions
    known = {f.name for f in made.fields}
    for boundary, conditions in case.boundary_conditions.items():
        assert set(conditions) <= known
        if boundary not in SIDES:
            continue
        axis = "xyz".index(boundary[0])
        assert axis < made.dimensions
        assert all(isinstance(c, Periodic) == box.periodic[axis] for c in conditions.values())


@pytest.mark.parametrize("problem", ALL)
def test_views_hold_the_names_and_no_markup_of_the_user_s(problem):
    made = problem()
    case = made.case(label="<b>bold</b>")
    page = made._repr_html_() + case._repr_html_()
    for spec in (*made.parameters, *made.fields):
        assert spec.name in page
    assert "<b>bold</b>" not in page and "&lt;b&gt;" in page


@pytest.mark.parametrize("case", WITH_EXACT.values(), ids=WITH_EXACT)
def test_exact_solutions_satisfy_the_equations(case):
    """The finite-volume defect of the exact fields falls by the square of the cell size, away from the walls."""
    problem = case.problem
    defects = []
    for n in (64, 128):
        grid = Grid.uniform(case.geometry, n)
        dt = 1e-5
        times = None if problem.steady else [0.3 - dt, 0.3, 0.3 + dt]
        exact = case.exact(times, grid.centres)
        fields = exact if problem.steady else {k: v[1] for k, v in exact.items()}
        rates = {} if problem.steady else {k: (v[2] - v[0]) / (2 * dt) for k, v in exact.items()}
        inputs = {
            s.name: case.input_on(s.name, grid) for s in problem.inputs if s.kind in ("coefficient", "source")
        }  # fmt: skip
        worst = 0.0
        for balance in problem.balances().values():
            left = provider.finite_volume(
                balance, grid, fields, parameters=case.parameters, inputs=inputs, rates=rates, time=0.3,
                boundary=case.boundary_conditions,
            )  # fmt: skip
            inside = (..., *(slice(n // 4, -n // 4) for _ in range(problem.dimensions)))
            worst = max(worst, float(np.abs(left[inside]).max()))
        defects.append(worst)
    if problem.name == "darcy":  # piecewise linear: nothing is left
        assert defects[1] < 1e-10
    else:
        assert defects[0] / defects[1] > 3.6


@pytest.mark.parametrize("case", WITH_EXACT.values(), ids=WITH_EXACT)
def test_exact_solutions_meet_their_boundary_and_initial_values(case):
    problem = case.problem
    ends = [np.array([a, b]) for a, b in case.geometry.extents]
    middle = [np.array([0.37 * a + 0.63 * b]) for a, b in case.geometry.extents]
    time = None if problem.steady else [0.4]
    for boundary, conditions in case.boundary_conditions.items():
        axis, end = "xyz".index(boundary[0]), boundary[2:]
        points = [ends[a] if a == axis else m for a, m in enumerate(middle)]
        for name, condition in conditions.items():
            exact = case.exact(time, tuple(points))[name]
            values = np.take(exact, [0, 1], axis=exact.ndim - 1 - axis).ravel()
            scale = case.scales.fields[name]
            if condition.given:
                here = values[0 if end == "min" else 1]
                place = np.array([[p[int(end == "max")] if a == axis else p[0] for a, p in enumerate(points)]])
                assert here == pytest.approx(float(np.ravel(condition.at(0.4, place))[0]), abs=1e-12 * scale)
            elif isinstance(condition, Periodic):
                assert values[0] == pytest.approx(values[1], abs=1e-9 * scale)
    if not problem.steady:
        grid = Grid.uniform(case.geometry, 16)
        start, exact = problem.initial_state(case, grid), case.exact([0.0], grid.centres)
        assert set(start) == set(problem.state_fields)
        for name, values in start.items():
            np.testing.assert_allclose(values, exact[name][0], rtol=0, atol=1e-12)
        later = case.exact([1e-6], grid.centres)
        for name in start:  # and the exact solution is continuous at the start
            np.testing.assert_allclose(later[name], exact[name], rtol=0, atol=1e-4)


def test_cole_hopf_at_small_viscosity_is_the_inviscid_solution():
    """Before the shock, u(x, t) = U sin(k(x − u t))."""
    case = Burgers().case(viscosity=1e-5)
    x = np.linspace(0.01, 0.49, 25)
    t = 0.1
    u = np.sin(2 * np.pi * x)
    for _ in range(200):
        u = u - (u - np.sin(2 * np.pi * (x - u * t))) / (1 + 2 * np.pi * t * np.cos(2 * np.pi * (x - u * t)))
    np.testing.assert_allclose(case.exact([t], (x,))["u"][0], u, rtol=0, atol=1e-3)


def test_darcy_layers_carry_one_flux():
    layers = np.array([1.0, 10.0, 0.1, 4.0])
    case = Darcy(walls="closed").case(
        permeability=np.tile(layers, (3, 1)), source=0.0, pressure_left=1.0, pressure_right=0.0
    )
    x = np.linspace(0, 1, 401)
    p = case.exact(None, (x, np.array([0.5])))["p"][0]
    flux = -np.diff(p) / np.diff(x) * np.repeat(layers, 100)
    np.testing.assert_allclose(flux, 4 / np.sum(1 / layers), rtol=1e-10)


def test_where_no_exact_solution_is_known():
    psi = np.zeros((9, 9))
    for case in (
        LidDrivenCavity().case(),
        TaylorGreen().case(initial_streamfunction=psi),
        Burgers().case(initial_velocity=np.zeros(8)),
        Advection().case(initial_concentration=np.zeros(8)),
        AllenCahn().case(),
        Darcy().case(),
        Darcy(walls="closed").case(source=0.0, permeability=np.arange(1.0, 17.0).reshape(4, 4)),
        Poisson().case(wavenumber=1.5),
        Poisson().case(source=np.zeros((4, 4))),
        HeatEquation().case(temperature_left=Series([0, 1], [0, 1])),
    ):
        with pytest.raises(InputError, match="exact solution is known"):
            case.exact([0.1], tuple(np.ones(1) for _ in range(case.problem.dimensions)))


def test_lid_motion_and_features_of_the_cavity():
    problem = LidDrivenCavity()
    case = problem.case(lid_velocity=-2.0, viscosity=0.1, density=0.5, width=0.5, height=2.0,
                        lid_motion=Series([0.0, 1.0], [0.0, 1.0]))  # fmt: skip
    assert problem.reynolds(case) == pytest.approx(0.5 * 2.0 * 0.5 / 0.1)
    values = problem.boundary_values(case, [0.0, 0.5, 3.0])
    np.testing.assert_allclose(values["y_max_u"], [0.0, -1.0, -2.0])
    np.testing.assert_allclose(values["x_min_v"], 0.0)
    features = problem.features(case, 0.25, 0.5)
    assert features["lid_now"] == pytest.approx(-0.25) and features["lid_next"] == pytest.approx(-0.75)
    assert features["log10_reynolds"] == pytest.approx(math.log10(5.0))
    assert features["log10_aspect_ratio"] == pytest.approx(math.log10(4.0))
    assert features["log10_step"] == pytest.approx(math.log10(0.5 / 0.25))


def test_a_cavity_with_a_lid_at_rest_takes_the_speed_of_its_initial_field():
    y, x = np.meshgrid(np.linspace(0, 1, 33), np.linspace(0, 1, 33), indexing="ij")
    psi = 0.1 * np.sin(np.pi * x) ** 2 * np.sin(np.pi * y) ** 2
    case = LidDrivenCavity().case(lid_velocity=0.0, initial_streamfunction=psi)
    assert case.scales.velocity == pytest.approx(0.1 * np.pi, rel=0.01)  # max |∇ψ|, half-way up the sides
    assert LidDrivenCavity().case(lid_velocity=0.0).scales.velocity > 0


@pytest.mark.parametrize("problem", [LidDrivenCavity, TaylorGreen])
def test_initial_fields_from_a_stream_function_are_divergence_free_and_second_order(problem):
    errors = []
    for n in (32, 64):
        made = problem()
        grid = Grid.uniform(made.case().geometry, n)
        k = 2 * np.pi / (grid.faces[0][-1] - grid.faces[0][0])
        x, y = grid.faces
        psi = np.sin(k * y)[:, None] ** 2 * np.sin(k * x)[None, :] ** 2
        start = made.initial_state(made.case(initial_streamfunction=psi), grid)
        xc, yc = grid.centres
        exact = k * np.sin(2 * k * yc)[:, None] * np.sin(k * xc)[None, :] ** 2
        errors.append(np.abs(start["u"] - exact).max())
    assert math.log2(errors[0] / errors[1]) > 1.9


def test_a_stream_function_on_another_grid_is_resampled():
    made = LidDrivenCavity()

    def psi(n):
        s = np.linspace(0, 1, n + 1)
        return np.sin(np.pi * s)[:, None] ** 2 * np.sin(np.pi * s)[None, :] ** 2

    grid = Grid.uniform(made.case().geometry, 48)
    same = made.initial_state(made.case(initial_streamfunction=psi(48)), grid)["u"]
    gaps = [np.abs(made.initial_state(made.case(initial_streamfunction=psi(n)), grid)["u"] - same) for n in (12, 24)]
    assert gaps[0].max() > 7 * gaps[1].max()  # derivatives of cubic splines are third order
    with pytest.raises(InputError, match="too small to resample"):
        made.initial_state(made.case(initial_streamfunction=np.zeros((3, 3))), grid)


def test_default_features_name_parameters_and_moving_boundaries():
    case = Poisson().case(amplitude=2.0)
    assert Poisson().features(case, 0.0, 1.0) == {"parameter_amplitude": 2.0, "parameter_wavenumber": 1.0}
    heat = HeatEquation()
    case = heat.case(temperature_left=Series([0, 1], [0, 4]), amplitude=2.0)
    features = heat.features(case, 0.25, 0.25)
    assert features["x_min_T_now"] == pytest.approx(0.5) and features["x_min_T_next"] == pytest.approx(1.0)


def test_a_field_that_does_not_exist():
    with pytest.raises(InputError, match="no field is called 'U'"):
        TaylorGreen().field("U")
    with pytest.raises(InputError, match="walls is 'shut'"):
        Darcy(walls="shut")


def test_taylor_green_stream_function_gives_its_velocities():
    case = TaylorGreen().case(length=2.0, velocity=3.0)
    errors = []
    for n in (32, 64):
        grid = Grid.uniform(case.geometry, n)
        start = TaylorGreen().case(
            length=2.0, velocity=3.0, initial_streamfunction=case.problem.streamfunction(case, grid)
        )
        given = start.problem.initial_state(start, grid)
        exact = case.problem.initial_state(case, grid)
        errors.append(max(np.abs(given[k] - exact[k]).max() for k in ("u", "v")))
    assert math.log2(errors[0] / errors[1]) > 1.9


def test_public_names_of_the_package_are_the_problems():
    own = {"DataProblem", "Observed"}  # made from data, see test_own_data
    found = {getattr(sciml.problems, n) for n in sciml.problems.__all__ if n not in own}
    particles = {p for p in found if issubclass(p, sciml.ParticleProblem)}  # see test_particle_problems
    assert found - particles == set(ALL) and {registry.problems.get(p.name) for p in particles} == particles
    assert {registry.problems.get(n) for n in registry.problems.names()} >= set(ALL)
