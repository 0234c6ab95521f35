"""Dynamics of modes as a vector field: its integral curves, its gradients, what it learns, and its files."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import xarray as xr

from sciml import data
from sciml.errors import InputError, SolverError, TrainingError
from sciml.problems import DataProblem
from sciml.solvers import NeuralODE, load
from sciml.solvers._proper_modes import ProperModes
from sciml.solvers._reduced_dynamics import Dynamics, curve, linear_guess, piece
from sciml.solvers._reduced_training import Course, Pieces, misfit
from sciml.support import Grid
from sciml.training import AdamW, Callback, Growing, Mirror, Nmse, Recipe, Rollout, Running, Steps

pytestmark = [pytest.mark.compiled_quickly, pytest.mark.usefixtures("one_thread")]

QUIET = Running(progress=False)
SPIN = np.array([[-0.1, -2.0, 0.0], [2.0, -0.1, 0.3], [0.0, 0.0, -0.5]])
RECIPE = Recipe(
    length=Steps(1000), batch=16, objective=Growing(steps=16), precision="float64",
    optimiser=AdamW(lr=1e-2, weight_decay=0.0, average=0.98),
)  # fmt: skip


# -- modes --------------------------------------------------------------------------------------------------------


def test_what_modes_leave_out_is_the_energy_of_the_others():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2.0, (5, 6)) * (rng.uniform(size=(5, 6)) > 0.2)
    frames = rng.standard_normal((40, 2, 5, 6)) * np.array([1.0, 30.0])[:, None, None] + 7.0
    modes, coefficients = ProperModes.of(frames, weights, 9)
    share = weights / weights.sum()
    spread = ((frames - frames.mean(axis=0)) ** 2 * share).sum(axis=(2, 3)).mean(axis=0)
    gap = frames - modes.frames(coefficients)
    missed = ((gap**2 * share).sum(axis=(2, 3)) / spread).sum()
    np.testing.assert_allclose(missed, (modes.sizes[9:] ** 2).sum(), rtol=1e-10)
    np.testing.assert_allclose(modes.left_out, missed / (40 * 2), rtol=1e-10)
    np.testing.assert_allclose(modes.coefficients(frames), coefficients, atol=1e-9)
    np.testing.assert_allclose(modes.coefficients(modes.frames(coefficients)), coefficients, atol=1e-9)


# -- curves -------------------------------------------------------------------------------------------------------


def dynamics(matrix, constant, parameters=0, noise=0.0, width=5):
    found = Dynamics.begun(matrix, constant, parameters, width, 1, 3)
    rng = np.random.default_rng(1)
    moved = jax.tree.map(lambda a: a + noise * rng.standard_normal(a.shape), eqx.filter(found, eqx.is_inexact_array))
    return eqx.combine(moved, found)


def exact(z, b, times):
    """Of dz/dt = b + SPIN z."""
    rest = -np.linalg.solve(SPIN, b)
    return np.stack([rest + scipy.linalg.expm(SPIN * t) @ (z - rest) for t in times])


def test_curves_of_linear_dynamics_are_matrix_exponentials():
    z, b, times = np.array([1.0, -0.5, 2.0]), np.array([0.2, 0.0, -0.1]), np.array([0.0, 0.3, 1.0, 2.2, 4.0])
    with jax.enable_x64(True):
        linear, none = dynamics(SPIN, b), jnp.zeros(0)
        gaps = []
        for tolerance in (1e-3, 1e-6, 1e-9):
            found = eqx.filter_jit(curve)(linear, jnp.asarray(z), none, jnp.asarray(times), tolerance)
            gaps.append(np.abs(np.asarray(found) - exact(z, b, times)).max())
        assert gaps[0] < 3e-2 and gaps[1] < 1e-4 and gaps[2] < 2e-7
        later = jnp.asarray(times[1:])
        equal = [np.asarray(piece(linear, jnp.asarray(z), none, later, n)) - exact(z, b, times[1:]) for n in (4, 8)]
    order = np.log2(np.abs(equal[0]).max() / np.abs(equal[1]).max())
    assert order > 4.7  # five, and more as long as steps are long


def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        field = dynamics(SPIN, np.zeros(3), parameters=1, noise=0.3)
        times = np.cumsum(rng.uniform(0.05, 0.3, (4, 5)), axis=1)
        batch = {"z": rng.standard_normal((4, 3)), "p": rng.standard_normal((4, 1)), "times": times,
                 "truth": rng.standard_normal((4, 5, 3)), "counts": rng.uniform(size=(4, 5))}  # fmt: skip
        batch = jax.tree.map(jnp.asarray, batch)
        params, rest = eqx.partition(field, eqx.is_inexact_array)
        loss = jax.jit(lambda p: misfit(eqx.combine(p, rest), batch, jnp.array([0.5, 0.3, 0.2]), 2))
        slope = jax.jit(jax.grad(loss))(params)
        way = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape)), params)
        step = 1e-5
        ahead, behind = (loss(jax.tree.map(lambda a, w, s=s: a + s * step * w, params, way)) for s in (1, -1))
        along = sum(float((g * w).sum()) for g, w in zip(*map(jax.tree.leaves, (slope, way)), strict=True))
        assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(slope))
    np.testing.assert_allclose(along, float(ahead - behind) / (2 * step), rtol=1e-7)


def test_the_first_guess_is_the_law_of_linear_courses():
    times = [np.linspace(0, 6, 121), np.sort(np.random.default_rng(0).uniform(0, 6, 150))]
    courses = [exact(z, np.array([0.1, 0.0, 0.2]), t) for z, t in zip(np.eye(3)[:2] + 1, times, strict=True)]
    matrix, constant = linear_guess(courses, times)
    np.testing.assert_allclose(matrix, SPIN, atol=5e-3)
    np.testing.assert_allclose(constant, [0.1, 0.0, 0.2], atol=5e-3)


# -- the solver ---------------------------------------------------------------------------------------------------

FAMILY = DataProblem("spin", ["a", "b"], ["rate"], 1)
GRID = Grid((np.linspace(0, 1, 13) ** 1.3,), (False,))


def spinning(rate, begin, times):
    """An oscillator whose pace is a parameter, on its way to a circle: |z| obeys a cubic law."""
    size = 1 / np.sqrt(1 + (1 / begin**2 - 1) * np.exp(-times))
    z = size * np.exp(1j * rate * times)
    x = GRID.points()[:, 0]
    a, b = np.outer(z.real, np.sin(np.pi * x)), 3 + 20 * np.outer(z.imag, np.cos(np.pi * x))
    return data.solution(
        FAMILY.case(rate=rate).on(GRID), times, {"a": (("time", "x"), a), "b": (("time", "x"), b)}, GRID
    )


@pytest.fixture(scope="module")
def train():
    """Four paces, at times that are nowhere equally far apart."""
    rng = np.random.default_rng(0)
    return data.pack([
        spinning(rate, begin, np.cumsum(rng.uniform(0.1, 0.3, 40)))
        for rate, begin in ((1.0, 0.3), (1.3, 1.5), (1.7, 0.5), (2.0, 1.3), (1.5, 0.2))
    ], dtype=None)  # fmt: skip


@pytest.fixture(scope="module")
def model(train):
    return NeuralODE(4, width=16, depth=1).fit(train, RECIPE, split=None, running=QUIET)


def test_a_law_with_a_parameter_is_learned(model):
    assert len(model.proper) == 2 and model.varying == ("parameter_rate",)
    assert np.mean([r["loss"] for r in model.metrics[-20:]]) < 5e-3
    times = np.linspace(0.2, 8.2, 21)
    truth = spinning(1.4, 0.6, times)  # of a pace and a beginning that it has not seen
    found = model.resume(data.case(data.pack([truth], dtype=None), 0)[0], truth.isel(time=[0]), times)
    for n, size in (("a", 1.0), ("b", 20.0)):
        assert np.abs(found[n].values - truth[n].values).max() < 0.3 * size  # of a circle whose radius is one


def test_going_on_is_going_at_once(model, train):
    case, truth = data.case(train, 2)
    t = float(truth.time[5]) + np.array([0.37, 1.0, 2.63, 4.0])
    whole = model.resume(case, truth.isel(time=[5]), t)
    half = model.resume(case, truth.isel(time=[5]), t[:2])
    rest = model.resume(case, half.isel(time=[1]), t[1:])
    for n, size in (("a", 1.0), ("b", 20.0)):
        np.testing.assert_allclose(half[n].values, whole[n].values[:2], atol=1e-4 * size)
        np.testing.assert_allclose(rest[n].values, whole[n].values[1:], atol=1e-4 * size)


def test_in_a_directory(model, train, tmp_path):
    model.save(tmp_path / "run")
    back = load(tmp_path / "run")
    case, truth = data.case(train, 1)
    given = case, truth.isel(time=[3]), truth.time.values[3:9]
    assert type(back) is NeuralODE and back.settings == model.settings and back.weights == model.weights > 0
    assert back.training == model.training and back.training["steps"] == len(back.metrics) == 1000
    xr.testing.assert_identical(back.resume(*given), model.resume(*given))
    np.testing.assert_array_equal(model.resume(*given).a.values[0], truth.a.values[3].astype(np.float32))


class Stop(Callback):
    def on_step(self, trainer, record):
        trainer.stop("enough")


def test_what_it_cannot_know_is_said(model, train, tmp_path):
    """A pace beyond those of training, and times at which its own dynamics are no longer finite."""
    case, truth = data.case(train, 0)
    start, times = truth.isel(time=[10]), truth.time.values[11:14]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.resume(case, start, times)
    model.save(tmp_path / "run")
    for one in (model, load(tmp_path / "run")):
        with pytest.warns(UserWarning, match="rate is 9, beyond the training data's 1 to 2"):
            one.resume(FAMILY.case(rate=9.0).on(GRID), start, times)
    broken = load(tmp_path / "run")
    broken.dynamics = eqx.tree_at(lambda d: d.matrix, broken.dynamics, 50 * jnp.eye(len(broken.spread)))
    with pytest.raises(SolverError, match="neural ODE: the prediction is not finite from time"):
        broken.resume(case, start, np.append(times, 1e3))


def test_what_it_refuses(train):
    few = RECIPE.replace(length=Steps(1))

    def fit(recipe=few, given=train, running=QUIET, **more):
        return NeuralODE(2, width=4, depth=1, **more).fit(given, recipe, split=None, running=running)

    for arguments, message in (
        ({"tolerance": 0.0}, "tolerance: expected a number between 0 and 1, got 0.0"),
        ({"recipe": 3}, "recipe is a int, expected a sciml.Recipe"),
        ({"recipe": few.replace(objective=Rollout())}, r"objective is Rollout\(.*, expected Growing"),
        ({"recipe": few.replace(objective=Growing(Nmse()))}, r"expected Growing\(steps=..\) without a loss"),
        ({"recipe": few.replace(precision="bfloat16")}, "precision is 'bfloat16', expected float32 or float64"),
        ({"recipe": few.replace(augmentations=(Mirror(),))}, "augmentations is set, but does nothing here"),
        ({"running": Running(out="x", resume=True)}, "keeps no checkpoints, expected no resume"),
    ):
        with pytest.raises(InputError, match=message):
            fit(**arguments)
    with pytest.raises(InputError, match="modes: expected a whole number ≥ 1, got 0"):
        NeuralODE(0)
    with pytest.raises(InputError, match="a training case has 1 frame, expected 2 or more"):
        fit(given=[spinning(1.0, 0.5, np.array([0.1])), spinning(2.0, 0.5, np.array([0.1, 0.2]))])
    with pytest.raises(InputError, match="the training frames do not differ"):
        fit(given=[spinning(0.0, 1.0, np.array([0.0, 0.2, 0.5]))])
    with pytest.raises(InputError, match="has seen no data; call fit first"):
        case, truth = data.case(train, 1)
        NeuralODE().resume(case, truth.isel(time=[3]), [9.0])


def test_pieces_are_what_they_are_cut_from():
    times = np.cumsum(np.random.default_rng(0).uniform(0.1, 0.3, 9))
    courses = [Course(times[:, None] ** 2, times, np.ones(1)), Course(-times[:4, None], times[:4], np.zeros(1))]
    found = Pieces(courses, 5).drawn(40, 5, np.random.default_rng(1))
    np.testing.assert_allclose(found["counts"].sum(axis=1), 1.0)
    for k in range(40):
        course, n = courses[0 if found["p"][k, 0] else 1], np.count_nonzero(found["counts"][k])
        start = int(np.argmin(np.abs(course.z[:, 0] - found["z"][k, 0])))
        assert n == min(5, len(course.z) - 1)
        np.testing.assert_array_equal(found["truth"][k, :n], course.z[start + 1 : start + 1 + n])
        np.testing.assert_allclose(found["times"][k, :n], course.times[start + 1 : start + 1 + n] - course.times[start])
        assert (found["times"][k, n:] == found["times"][k, n - 1]).all()


def test_a_loss_that_is_not_finite_stops(train):
    wild = RECIPE.replace(length=Steps(40), optimiser=AdamW(lr=1e6, clip=0.0))
    with pytest.raises(TrainingError, match="the loss is not finite at step"):
        NeuralODE(2, width=4, depth=1).fit(train, wild, split=None, running=QUIET)


def test_callbacks_may_stop_it(train):
    running = Running(progress=False, callbacks=(Stop(),))
    model = NeuralODE(2, width=4, depth=1).fit(train, RECIPE, split=None, running=running)
    assert model.training["steps"] == 1 and model.training["stopped"] == "enough"
