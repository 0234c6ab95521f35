"""The three providers agree with each other and with exact derivatives, to the order of their discretisation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sciml import Box, Dirichlet, Grid, Neumann
from sciml.derivatives import jax as djax
from sciml.derivatives import numpy as dnumpy
from sciml.derivatives import torch as dtorch
from sciml.errors import InputError
from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, Poisson, TaylorGreen

PARAMETERS = {"density": 1.3, "viscosity": 0.07}


def manufactured(xp):
    """Smooth fields that solve nothing, so that every term of the balances shows."""
    u = lambda z: xp.sin(1.3 * z[0] + 0.2) * xp.cos(0.9 * z[1]) * xp.exp(-0.5 * z[2])  # noqa: E731
    v = lambda z: xp.cos(0.7 * z[0]) * xp.sin(1.1 * z[1] + 0.4) + 0.3 * z[2]  # noqa: E731
    p = lambda z: xp.sin(z[0] * z[1]) + z[0] ** 2 * z[2]  # noqa: E731
    return {"u": u, "v": v, "p": p}


def rate(f, z):
    return jax.jvp(f, (z,), (jnp.array([0.0, 0.0, 1.0]),))[1]


def on_grid(n, periodic=False):
    """Grid, fields and rates of the manufactured functions at t = 0.3, in float64."""
    grid = Grid.uniform(Box((0.0, 0.0), (1.0, 1.5)), (n, n))
    points = np.concatenate([grid.points().reshape(-1, 2), np.full((n * n, 1), 0.3)], axis=1)
    with jax.enable_x64(True):
        functions = manufactured(jnp)
        fields = {k: np.asarray(jax.vmap(f)(points)).reshape(n, n) for k, f in functions.items()}
        rates = {k: np.asarray(jax.vmap(lambda z, f=f: rate(f, z))(points)).reshape(n, n) for k, f in functions.items()}
    return grid, points, fields, rates


def exact(points, balance, n):
    with jax.enable_x64(True):
        result = djax.residual(balance, manufactured(jnp), jnp.asarray(points), PARAMETERS)
    return np.asarray(result).reshape(-1, n, n).squeeze()


@pytest.mark.parametrize("name", ["continuity", "momentum"])
def test_pointwise_torch_equals_jax(name):
    balance = LidDrivenCavity().balances()[name]
    _, points, _, _ = on_grid(8)
    torch_values = dtorch.residual(balance, manufactured(torch), torch.tensor(points), PARAMETERS)
    np.testing.assert_allclose(
        torch_values.numpy().reshape(-1, 8, 8).squeeze(), exact(points, balance, 8), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("name", ["continuity", "momentum"])
@pytest.mark.parametrize("form", ["strong", "finite_volume"])
def test_observed_order_inside(form, name, order):
    """Away from the boundary by a fixed distance, the error falls at the declared order."""
    if form == "finite_volume" and order == 4:
        order = 2  # the face value stands for the face mean, which is second order whatever the interpolation
    balance = LidDrivenCavity().balances()[name]
    errors = []
    for n in (24, 48):
        grid, points, fields, rates = on_grid(n)
        got = getattr(dnumpy, form)(balance, grid, fields, parameters=PARAMETERS, rates=rates, order=order)
        inside = (..., slice(n // 4, -n // 4), slice(n // 4, -n // 4))
        errors.append(np.abs(got - exact(points, balance, n))[inside].max())
    assert math.log2(errors[0] / errors[1]) > order - 0.1


@pytest.mark.parametrize("order", [2, 4])
def test_strong_form_order_up_to_the_boundary(order):
    """Nested derivatives lose one order in the rows next to the boundary, and no more."""
    balance = LidDrivenCavity().balances()["momentum"]
    errors = []
    for n in (24, 48):
        grid, points, fields, rates = on_grid(n)
        got = dnumpy.strong(balance, grid, fields, parameters=PARAMETERS, rates=rates, order=order)
        errors.append(np.abs(got - exact(points, balance, n)).max())
    assert math.log2(errors[0] / errors[1]) > order - 1.1


@pytest.mark.parametrize("form", ["strong", "finite_volume"])
def test_array_providers_agree_to_rounding(form):
    balance = LidDrivenCavity().balances()["momentum"]
    grid, _, fields, rates = on_grid(12)
    conditions = {
        "y_max": {"u": Dirichlet(1.0)},
        "x_min": {"v": Neumann(0.2)},
    }
    given = {"parameters": PARAMETERS, "rates": rates, "boundary": conditions, "order": 2}
    base = getattr(dnumpy, form)(balance, grid, fields, **given)
    tensors = {k: {n: torch.tensor(a) for n, a in v.items()} for k, v in (("fields", fields), ("rates", rates))}
    ours = getattr(dtorch, form)(balance, grid, tensors["fields"], **(given | {"rates": tensors["rates"]}))
    np.testing.assert_allclose(ours.numpy(), base, rtol=0, atol=1e-12)
    with jax.enable_x64(True):
        arrays = {n: jnp.asarray(a) for n, a in fields.items()}
        moving = {n: jnp.asarray(a) for n, a in rates.items()}
        theirs = getattr(djax, form)(balance, grid, arrays, **(given | {"rates": moving}))
    np.testing.assert_allclose(np.asarray(theirs), base, rtol=0, atol=1e-12)


def test_stretched_grid_keeps_the_order():
    """Second order on a smoothly stretched grid, where equal-spacing formulas would fall to first."""
    balance = LidDrivenCavity().balances()["momentum"]
    errors = []
    for n in (24, 48):
        s = np.linspace(0, 1, n + 1)
        faces = s + 0.1 * np.sin(np.pi * s) / np.pi
        grid = Grid((faces, 1.5 * faces), (False, False))
        points = np.concatenate([grid.points().reshape(-1, 2), np.full((n * n, 1), 0.3)], axis=1)
        with jax.enable_x64(True):
            functions = manufactured(jnp)
            fields = {k: np.asarray(jax.vmap(f)(points)).reshape(n, n) for k, f in functions.items()}
            rates = {
                k: np.asarray(jax.vmap(lambda z, f=f: rate(f, z))(points)).reshape(n, n) for k, f in functions.items()
            }
        got = dnumpy.strong(balance, grid, fields, parameters=PARAMETERS, rates=rates)
        inside = (..., slice(n // 4, -n // 4), slice(n // 4, -n // 4))
        errors.append(np.abs(got - exact(points, balance, n))[inside].max())
    assert math.log2(errors[0] / errors[1]) > 1.9


def test_spectral_derivatives_are_exact_for_taylor_green():
    problem = TaylorGreen()
    case = problem.case(viscosity=0.05)
    grid = Grid.uniform(case.geometry, 16)
    fields = {k: v[0] for k, v in problem.exact(case, [0.4], grid.centres).items()}
    decay = -2 * case.viscosity / case.density
    rates = {"u": decay * fields["u"], "v": decay * fields["v"]}
    for balance in problem.balances().values():
        residual = dnumpy.strong(balance, grid, fields, parameters=case.parameters, rates=rates, method="spectral")
        assert np.abs(residual).max() < 1e-13


def test_burgers_exact_solution_satisfies_the_balance():
    """Cole-Hopf against the equation itself: fourth-order differences of the exact solution leave a small residual."""
    problem = Burgers()
    case = problem.case(viscosity=0.02)
    errors = []
    for n in (128, 256):
        grid = Grid.uniform(case.geometry, (n,))
        dt = 1e-4
        before, now, after = problem.exact(case, [0.2 - dt, 0.2, 0.2 + dt], grid.centres)["u"]
        rates = {"u": (after - before) / (2 * dt)}
        balance = problem.balances()["momentum"]
        residual = dnumpy.strong(balance, grid, {"u": now}, parameters=case.parameters, rates=rates, order=4)
        errors.append(np.abs(residual).max())
    assert math.log2(errors[0] / errors[1]) > 3.5


def test_heat_and_poisson_exact_solutions_satisfy_their_balances():
    heat = HeatEquation()
    case = heat.case(diffusivity=0.05)
    with jax.enable_x64(True):
        k = jnp.sqrt(2 * jnp.pi * case.frequency / (2 * case.diffusivity))
        wave = lambda z: jnp.exp(-k * z[0]) * jnp.cos(2 * jnp.pi * case.frequency * z[1] - k * z[0])  # noqa: E731
        points = jnp.asarray(np.random.default_rng(0).random((50, 2)))
        residual = djax.residual(heat.balances()["energy"], {"T": wave}, points, dict(case.parameters))
        np.testing.assert_allclose(heat.exact(case, [0.3], (np.array([0.4]),))["T"][0, 0], wave(jnp.array([0.4, 0.3])))
    assert np.abs(residual).max() < 1e-12

    poisson = Poisson()
    grid = Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), 64)
    case = poisson.case(wavenumber=2)
    p = poisson.exact(case, None, grid.centres)["p"]
    given = {"inputs": {"source": case.input_on("source", grid)}, "boundary": case.boundary_conditions}
    residual = dnumpy.finite_volume(poisson.balances()["potential"], grid, {"p": p}, **given)
    inside = residual[8:-8, 8:-8]
    assert np.abs(inside).max() < 0.02 * 2 * (2 * math.pi) ** 2


@pytest.mark.parametrize("periodic", [True, False])
def test_finite_volumes_conserve_to_rounding(periodic):
    """The cell balances add up to the net flux through the boundary; on a periodic box, to nothing."""
    rng = np.random.default_rng(1)
    box = Box((0.0, 0.0), (1.0, 2.0), (periodic, periodic))
    grid = Grid.uniform(box, (10, 14))
    fields = {k: rng.standard_normal(grid.shape) for k in "uvp"}
    balance = LidDrivenCavity().balances()["momentum"]
    given = {"parameters": PARAMETERS, "rates": {k: np.zeros(grid.shape) for k in "uv"}}
    cells = dnumpy.finite_volume(balance, grid, fields, **given)
    total = (cells * grid.volumes()).sum(axis=(-2, -1))
    flux = dnumpy.fluxes(balance, grid, fields, **given)
    dx, dy = grid.widths
    net = [
        (f[0][:, -1] - f[0][:, 0]) @ dy + (f[1][-1] - f[1][0]) @ dx if not periodic else 0.0 for f in flux
    ]  # fmt: skip
    scale = np.abs(cells * grid.volumes()).sum()
    np.testing.assert_allclose(total, net, rtol=0, atol=1e-15 * scale)


def test_darcy_flux_is_exact_across_a_jump():
    """Harmonic face coefficients: one flux through all layers, though the coefficient jumps by 100."""
    problem = Darcy(walls="closed")
    a = np.ones((4, 12))
    a[:, 5:] = 100.0
    case = problem.case(permeability=a, source=0.0, pressure_left=2.0, pressure_right=1.0)
    grid = Grid.uniform(case.geometry, a.shape)
    fields = problem.exact(case, None, grid.centres)
    given = {
        "parameters": case.parameters,
        "inputs": {"permeability": a},
        "boundary": case.boundary_conditions,
    }
    flux = dnumpy.fluxes(problem.balances()["mass"], grid, fields, **given)[0][0]
    resistance = 5 / 12 + 7 / 12 / 100
    np.testing.assert_allclose(flux, 1.0 / resistance, rtol=1e-12)


def test_finite_volume_is_differentiable_in_parameters():
    balance = LidDrivenCavity().balances()["momentum"]
    grid, _, fields, rates = on_grid(8)
    with jax.enable_x64(True):
        arrays = {n: jnp.asarray(a) for n, a in fields.items()}
        moving = {n: jnp.asarray(a) for n, a in rates.items()}

        def defect(viscosity):
            parameters = {"density": 1.0, "viscosity": viscosity}
            return jnp.sum(djax.finite_volume(balance, grid, arrays, parameters=parameters, rates=moving) ** 2)

        slope = jax.grad(defect)(0.1)
        step = 1e-5
        difference = (defect(0.1 + step) - defect(0.1 - step)) / (2 * step)
    assert slope == pytest.approx(float(difference), rel=1e-8)


def test_errors_name_what_is_missing():
    balance = LidDrivenCavity().balances()["momentum"]
    grid, _, fields, rates = on_grid(8)
    with pytest.raises(InputError, match="parameter 'density'"):
        dnumpy.strong(balance, grid, fields, rates=rates)
    with pytest.raises(InputError, match="rate of the field 'u'"):
        dnumpy.strong(balance, grid, fields, parameters=PARAMETERS)
    with pytest.raises(InputError, match="shape"):
        dnumpy.strong(balance, grid, {**fields, "u": fields["u"][:-1]}, parameters=PARAMETERS)
    with pytest.raises(InputError, match="periodic"):
        dnumpy.strong(balance, grid, fields, parameters=PARAMETERS, method="spectral")


def test_stretch_stands_for_boxes_of_different_size():
    """A batch on boxes of different size, on one unit grid, equals each member on its own grid."""
    rng = np.random.default_rng(3)
    balance = LidDrivenCavity().balances()["momentum"]
    sizes = np.array([[1.0, 1.0], [0.4, 2.5]])
    fields = {k: rng.standard_normal((2, 9, 7)) for k in "uvp"}
    rates = {k: np.zeros((2, 9, 7)) for k in "uv"}
    lid = {"y_max": {"u": Dirichlet(1.0), "v": Neumann(0.3)}}
    unit = Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), (9, 7))
    stretch = [s.reshape(2, 1, 1) for s in sizes.T]
    given = {"parameters": PARAMETERS, "boundary": lid}
    for form in (dnumpy.strong, dnumpy.finite_volume):
        together = form(balance, unit, fields, rates=rates, stretch=stretch, **given)
        for i, (width, height) in enumerate(sizes):
            grid = Grid.uniform(Box((0.0, 0.0), (width, height)), (9, 7))
            one = {k: v[i] for k, v in fields.items()}
            alone = form(balance, grid, one, rates={k: v[i] for k, v in rates.items()}, **given)
            np.testing.assert_allclose(together[:, i], alone, rtol=1e-11, atol=1e-11)
