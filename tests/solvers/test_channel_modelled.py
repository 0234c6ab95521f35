"""The shear stress that a subgrid model carries, in the balance of stresses across a channel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.errors import InputError
from sciml.evaluation import Profiles, statistics_of
from sciml.problems import TurbulentChannel
from sciml.solvers import WALE, ChannelFlow, DynamicSmagorinsky, _chebyshev
from sciml.solvers._channel_stepper import ChannelStepper
from sciml.solvers.channel import stretched
from sciml.support import Grid

pytestmark = pytest.mark.compiled_quickly

STEP = 2e-5


@pytest.fixture(scope="module", params=[WALE(1.0), DynamicSmagorinsky()], ids=["wale", "dynamic"])
def flow(request):
    """(solver, three frames close to each other of a flow with large subgrid stresses)."""
    given: dict = {"viscosity": 1 / 60, "length_x": 2.0, "length_z": 1.5, "disturbance": 6.0}
    case = TurbulentChannel().case(**given)
    solver = ChannelFlow((9, 25, 12), request.param, cfl=0.5)
    return case, solver, solver.solve(case, [0.05 - STEP, 0.05, 0.05 + STEP])


def velocity(found, k):
    return np.stack([found[n].values[k] for n in "uvw"])


def test_the_mean_flow_changes_by_what_is_told(flow):
    """∂U/∂t − (what it would be without a model) = ∂/∂y modelled."""
    case, solver, found = flow
    first = _chebyshev.derivative(25)
    mean = [velocity(found, k)[0].mean((0, 2)) for k in range(3)]

    def across(values):
        return (first @ np.concatenate([[0.0], values, [0.0]]))[1:-1]

    with jax.enable_x64(True):  # the same products of the same frame as the solver takes, without the model
        plain = ChannelStepper((9, 25, 12), (case.length_x, case.length_z), 1.0, case.viscosity, 1.0, None, 0.5)
        state = plain.start({n: jnp.asarray(found[n].values[1]) for n in "uvw"})
        carried = np.real(np.asarray(plain.rest(state, 0.0, None)[0])[0, :, 0, 0])
    viscous = (first @ first @ np.concatenate([[0.0], mean[1], [0.0]]))[1:-1] * case.viscosity
    rest = (mean[2] - mean[0]) / (2 * STEP) - 1.0 - viscous - carried
    told = across(solver.modelled_shear(velocity(found, 1), solver.grid(case)).mean((0, 2)))
    assert np.abs(rest - told).max() < 2e-3 * np.abs(told).max()
    assert np.abs(told).max() > 1.0  # no small term: G is 1


def test_profiles_have_it_in_their_balance(flow):
    case, solver, found = flow
    grid = solver.grid(case)
    told = statistics_of(found, [Profiles(modelled=solver.modelled_shear), Profiles(name="plain")])
    whole, plain = (told[n]["entries"][0]["stress"] for n in ("profiles", "plain"))
    mean = np.mean([solver.modelled_shear(velocity(found, k), grid).mean((0, 2)) for k in range(3)], axis=0)
    np.testing.assert_allclose(whole["modelled"]["value"], mean, rtol=1e-10)
    np.testing.assert_allclose(np.array(whole["total"]) - plain["total"], mean, rtol=1e-9, atol=1e-14)
    assert "modelled" not in plain and whole["relative_defect"] != plain["relative_defect"]
    folded = statistics_of(found, Profiles(modelled=solver.modelled_shear, fold=True))["profiles"]["entries"][0]
    np.testing.assert_allclose(folded["stress"]["modelled"]["value"], ((mean - mean[::-1]) / 2)[:13], atol=1e-13)


def test_without_a_closure_nothing_is_modelled():
    case = TurbulentChannel().case()
    solver = ChannelFlow((4, 9, 4))
    frame = np.ones((3, 4, 9, 4))
    assert not solver.modelled_shear(frame, solver.grid(case)).any()
    moved = Grid(tuple(f + 1.0 for f in solver.grid(case).faces), (True, False, True))
    assert solver.modelled_shear(frame, moved).shape == (4, 9, 4)
    for other in (stretched(case, (4, 9, 6)), Grid.uniform(case.geometry, (4, 9, 4))):
        with pytest.raises(InputError, match="expected a frame on this solver's grid"):
            solver.modelled_shear(np.ones((3, *other.shape)), other)
    with pytest.raises(InputError, match="expected velocities"):
        solver.modelled_shear(frame[:2], solver.grid(case))


def test_what_is_no_such_function_is_named():
    with pytest.raises(InputError, match="modelled: expected a function"):
        Profiles(modelled=WALE())  # type: ignore[arg-type]
    case = TurbulentChannel().case(disturbance=0.0)
    found = ChannelFlow((4, 9, 4)).solve(case, [0.0])
    with pytest.raises(InputError, match=r"modelled: expected values \(4, 9, 4\), got \(9,\)"):
        statistics_of(found, Profiles(modelled=lambda velocity, support: np.zeros(9)))
