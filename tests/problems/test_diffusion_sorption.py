"""Diffusion and sorption: the storage and its slope, and a reference that converges."""

import numpy as np
import pytest
import scipy.integrate

import sciml
from sciml import Grid, registry
from sciml.derivatives import numpy as provider
from sciml.problems import DiffusionSorption


def test_the_storage_has_the_retardation_factor_for_its_slope():
    case = DiffusionSorption().case()
    u = np.array([-0.3, -1e-3, 0.0, 1e-4, 1e-3, 0.02, 0.1, 0.5, 1.0])
    ((storage, _, _),) = case.problem.balances()["solute"].components()
    h = 1e-7

    def stored(u):
        return provider.lattice(Grid.uniform(case.geometry, len(u)), {"u": u}, parameters=case.parameters).cells(
            storage
        )

    assert np.allclose((stored(u + h) - stored(u - h)) / (2 * h), case.problem.retardation(case, u), rtol=1e-7)
    assert np.allclose(stored(-u), -stored(u), rtol=1e-14)


def test_away_from_zero_it_is_freundlich_s():
    case, u = DiffusionSorption().case(), np.linspace(0.05, 1.0, 7)
    published = 1 + (1 - 0.29) / 0.29 * 2880 * 3.5e-4 * 0.874 * (u + 1e-6) ** (0.874 - 1)
    assert np.allclose(case.problem.retardation(case, u), published, rtol=1e-4)


def lines(case, n, time):
    """u at a time by the method of lines with an implicit integrator, written out here: fluxes between cells, half a
    cell to the inflow, and u + D ∂u/∂n = 0 through the last half cell."""
    h, d = 1.0 / n, case.diffusivity

    def rate(t, u):
        out = -u[-1] / (d + h / 2)  # the slope at the end, of a straight line from the last cell
        slopes = np.concatenate([[2 * (u[0] - case.inflow) / h], np.diff(u) / h, [out]])
        return d * np.diff(slopes) / h / case.problem.retardation(case, u)

    found = scipy.integrate.solve_ivp(rate, (0.0, time), np.full(n, case.initial), "LSODA", rtol=1e-7, atol=1e-9,
                                      lband=1, uband=1)  # fmt: skip
    return found.y[:, -1]


def test_the_reference_against_the_method_of_lines():
    """The reference on 32 cells is off by what the other's error, which falls by four, lets expect."""
    case = DiffusionSorption().case(initial=0.05)
    ds = sciml.solvers.FiniteVolume(resolution=32).solve(case, [0.0, 500.0])
    assert ds.attrs["status"] == "ok"
    coarse, middle, fine = (lines(case, n, 500.0).reshape(32, -1).mean(-1) for n in (32, 64, 128))
    limit = fine + (fine - middle) / 3
    errors = [np.abs(u - limit).max() for u in (coarse, middle)]
    assert errors[1] < 2e-3 and errors[0] / errors[1] > 3.0
    assert np.abs(ds.u.values[-1] - limit).max() < 2 * errors[0]


def test_how_it_begins():
    case = DiffusionSorption().case(initial=0.15)
    grid = Grid.uniform(case.geometry, 8)
    assert np.all(case.problem.initial_state(case, grid)["u"] == 0.15)
    given = np.linspace(0, 0.2, 8)
    case = DiffusionSorption().case(initial_concentration=given)
    assert np.all(case.problem.initial_state(case, grid)["u"] == given)
    assert registry.problems.get("diffusion_sorption") is DiffusionSorption


def test_its_design_draws_what_is_dissolved_at_the_start():
    design = DiffusionSorption.design()
    from sciml.problems.designs import Request

    request = Request(("random",), 5, "standard", (16,), 101, 0)
    cases = design.cases(request)
    assert all(0 <= c.initial <= 0.2 for c in cases) and len({c.initial for c in cases}) == 5
    assert design.times(cases[0], request)[-1] == pytest.approx(500.0)
