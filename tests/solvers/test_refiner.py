"""Trajectories refined by the residual of the equations: what the residual sees, and that the true error falls."""

import warnings

import numpy as np
import pytest

import sciml
from sciml import registry
from sciml.cli._plan import read
from sciml.data import pack
from sciml.errors import InputError
from sciml.problems import Advection, KolmogorovFlow, TaylorGreen
from sciml.solver import Start
from sciml.solvers import Persistence, PseudoSpectral, SpectralRefiner, Surrogate
from sciml.solvers._trajectory import Least, Trajectories, spline
from sciml.solvers.refiner import constants
from sciml.studies._plan import Plan
from sciml.support import Grid
from sciml.training import Autoregressive, Query, Recipe, Running, Steps, Window
from sciml.training.fitting import default_stepping

N, STEP = 16, 0.05
QUIET = Running(progress=False)


def taylor_green(frames=10, step=0.1):
    case = TaylorGreen().case(viscosity=1e-2)
    grid, times = Grid.uniform(case.geometry, (N, N)), step * np.arange(frames)
    fields = case.problem.exact(case, times, grid.centres)
    return case, grid, times, np.stack([fields["u"], fields["v"]], 1)


def noise(shape, seed=0):
    """Smooth in space and time, nothing at first."""
    rng, k = np.random.default_rng(seed), np.fft.fftfreq(N, 1 / N)
    modes = np.fft.fft2(rng.standard_normal((3, *shape[1:]))) * np.exp(-(k[:, None] ** 2 + k**2) / 8)
    t = np.arange(shape[0])[:, None, None, None] / shape[0]
    return sum(np.sin((m + 1) * t) * f for m, f in enumerate(np.fft.ifft2(modes).real))


def norm(t, times, frames):
    return float(np.sqrt(t.residual_norm(times, frames).sum()))


@pytest.mark.parametrize("order", [-1.0, 0.0])
def test_an_exact_solution_has_no_residual_and_a_disturbance_one_of_its_size(order):
    case, grid, times, truth = taylor_green()
    t = Trajectories(case, grid, Least(order))
    assert norm(t, times, truth) < 1e-12
    other = t.projected(truth + noise(truth.shape)) - truth
    sizes = [norm(t, times, truth + e * other) / e for e in (1e-3, 1e-4, 1e-5)]
    assert sizes[0] > 1e-2 and sizes == pytest.approx([sizes[-1]] * 3, rel=2e-2)


def test_frames_that_have_nothing_to_do_with_one_another_have_a_large_residual():
    """Whatever each of them is: the time derivative is that of the frames."""
    case, grid, times, truth = taylor_green()
    t = Trajectories(case, grid, Least())
    rng = np.random.default_rng(0)
    frames = np.stack([truth[0] * rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1) for _ in times])
    assert norm(t, times, frames) > 1.0


def test_a_wave_that_is_wrong_has_the_residual_that_it_must_have():
    """Taylor-Green times c(t): R = c' u of all waves |k| = √2 (of 2π/L = 1), in every norm."""
    case, grid, times, truth = taylor_green()
    rate = 0.3
    frames = truth * np.exp(rate * times)[:, None, None, None]
    at, w = np.polynomial.legendre.leggauss(20)
    at = times[-1] * (at + 1) / 2
    u2 = 0.5 * np.exp(2 * (rate - 2 * case.viscosity) * at)  # mean of u² + v²
    expected = rate * np.sqrt((w * u2).sum() * times[-1] / 2)
    for order in (-1.0, 0.0, 1.0):
        t = Trajectories(case, grid, Least(order))
        assert norm(t, times, frames) == pytest.approx(expected * np.sqrt(2.0) ** order, rel=1e-6)


def test_the_energy_error_is_that_of_one_wave():
    case, grid, times, truth = taylor_green(40, 0.05)
    t = Trajectories(case, grid, Least())
    decay = 2 * case.viscosity  # ν|k|²; of an error that is the solution itself the energy is kept
    size = (truth**2).sum(1).mean((1, 2))
    expected = size[0] + 2 * decay * np.trapezoid(size, times)
    assert t.energy_error(times, truth) == pytest.approx(np.sqrt(expected), rel=1e-10)


def test_a_linear_equation_is_solved_from_anything():
    case = Advection().case()
    grid = Grid.uniform(case.geometry, (N,))
    times = 0.02 * np.arange(8)
    truth = PseudoSpectral(N).solve(case, times)
    (name,) = (n for n in truth.data_vars if not n.endswith("_tendency"))
    frames = truth[name].values[:, None]
    t = Trajectories(case, grid, Least(newton=1, conjugate=100))
    frames = t.projected(frames)
    start = frames.copy()
    start[3:] = np.random.default_rng(0).standard_normal(start[3:].shape)
    found, squares = t.refined(times, start, 3)
    assert np.array_equal(found[:3], frames[:3]) or np.abs(found[:3] - frames[:3]).max() < 1e-13
    assert squares[-1] < 1e-6 * squares[0]
    assert np.abs(found - frames).max() < 1e-3 * np.abs(frames).max()


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_few_frames_have_splines_of_less_degree(count):
    times = np.sort(np.random.default_rng(0).uniform(size=count))
    assert np.allclose(spline(times, 5)(times), np.eye(count), atol=1e-12)
    assert np.allclose(spline(times, 5).derivative()(times[:1]) @ times, 1.0)


# -- around a surrogate -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flows():
    """Forced flows on few cells, and what solves them."""
    solver, kept = PseudoSpectral(N, cfl=0.5), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the shortest waves are not resolved
        for seed in range(3):
            case = KolmogorovFlow().case(viscosity=5e-2, seed=seed, peak=2.0)
            found = solver.solve(case, 1.0 + STEP * np.arange(25))
            kept.append(found[["u", "v"]].assign_attrs(found.attrs))
    return pack(kept, ["train", "train", "test"])


@pytest.fixture(scope="module")
def models(flows):
    recipe = Recipe(Steps(50), batch=4)
    small = {"width": 8, "modes": 4, "layers": 2}
    one = Surrogate("fno", Autoregressive(history=4), **small).fit(flows, recipe, validation=None, running=QUIET)
    several = Surrogate("spacetime_fno", Window(4, 8), **small, time_modes=2, steps=5, points=8)
    return {"fno": one, "spacetime_fno": several.fit(flows, recipe, validation=None, running=QUIET)}


def start_of(flows, model, case=2, frame=3):
    case, truth = sciml.data.case(flows, case)
    values = np.stack([truth.u.values, truth.v.values], 1).astype(float)
    grid = Grid.uniform(case.geometry, (N, N))
    past = model.history
    return Start(case, grid, values[frame + 1 - past : frame + 1], float(truth.time[frame])), values[frame + 1 :], truth


def test_the_command_line_reaches_the_operator():
    """As a window by itself, and with another one."""
    kind = registry.operators.get("spacetime_fno")
    assert default_stepping(kind, steady=False) == Window(4, 40)
    texts = ["operator.steps=6", "stepping=Window(n_in=2, n_out=4)"]
    plan, _ = read(Plan("spacetime_fno", {}, Recipe()), kind, QUIET, texts)
    assert plan.options == {"steps": 6} and plan.surrogate.stepping == Window(2, 4)


@pytest.mark.parametrize("name", ["fno", "spacetime_fno"])
def test_refinement_lowers_the_true_error(flows, models, name):
    model = models[name]
    refiner = SpectralRefiner(model, window=8)
    start, truth, _ = start_of(flows, model)
    fine, plain = refiner.refined(start, 16), refiner.plain(start, 16)
    for frames in (slice(None), slice(-1, None)):  # the last one too
        before, after = (np.linalg.norm((f - truth[:16])[frames]) for f in (plain, fine.frames))
        assert after < before / 1.5
    assert fine.after < fine.before
    assert refiner.residual(start, fine.frames) < refiner.residual(start, plain)
    for count in (3, 8, 11):  # more frames begin with the same
        assert np.allclose(refiner.refined(start, count).frames, fine.frames[:count], atol=1e-12)


def test_constants_are_those_of_the_trajectories(flows, models):
    refiner = SpectralRefiner(models["fno"], window=8)
    several = [start_of(flows, models["fno"], case)[:2] for case in (0, 1, 2)]
    bounded = refiner.calibrated([s for s, _ in several], [t[:8] for _, t in several])
    ratios = []
    for start, truth in several:
        frames = refiner.refined(start, 8).frames
        ratios.append(refiner.energy_error(start, frames, truth[:8]) / refiner.residual(start, frames))
    # known frames, which are single precision here, are projected in answers and not in `residual`
    assert bounded.bounds == pytest.approx(constants(ratios), rel=1e-6)
    low, high = bounded.bounds
    assert 0 < low < min(ratios) and max(ratios) < high
    with pytest.raises(InputError, match="trajectories: expected at least 3"):
        refiner.calibrated([], [])


def test_answers_and_files(flows, models, tmp_path):
    model = models["spacetime_fno"]
    refiner = SpectralRefiner(model, window=8, conjugate=3, bounds=(0.5, 2.0))
    start, _, truth = start_of(flows, model)
    first = truth.isel(time=slice(0, 4))
    asked = start.time + STEP * np.array([0.0, 1.0, 4.5, 10.0])
    found = refiner.resume(start.case, first, asked)
    assert found.attrs["residual"] < found.attrs["residual_before"]
    assert found.attrs["energy_error_upper"] == 4 * found.attrs["energy_error_lower"] > 0
    assert np.allclose(found.u.values[0], truth.u.values[3], atol=1e-6)
    frames = refiner.refined(start, 10).frames
    assert np.allclose(found.v.values[[1, 3]], frames[[0, 9], 1], atol=1e-6)
    assert np.allclose(found.u.values[2], frames[3:5, 0].mean(0), atol=0.05 * np.abs(frames).max())
    (rolled,) = (np.stack([f[0] for f in refiner.rollout([start], asked[None])]),)
    assert np.allclose(rolled[:, 0], found.u.values)
    refiner.save(tmp_path / "run")
    again = sciml.load(tmp_path / "run")
    assert again.settings == refiner.settings and isinstance(again, SpectralRefiner)
    assert np.array_equal(again.resume(start.case, first, asked).u.values, found.u.values)


def test_frames_in_between_where_steps_are_long(flows, models):
    """With half the step the derivative is that of twice as many frames."""
    model = models["fno"]
    start, truth, _ = start_of(flows, model)
    fine = SpectralRefiner(model, window=8, substeps=2).refined(start, 4)
    plain = SpectralRefiner(model).plain(start, 4)
    assert np.allclose(fine.times, start.time + STEP * np.arange(1, 5))
    assert np.linalg.norm(fine.frames - truth[:4]) < np.linalg.norm(plain - truth[:4]) / 1.5


@pytest.mark.parametrize("name", ["fno", "spacetime_fno"])
@pytest.mark.parametrize(("window", "substeps"), [(6, 2), (7, 3), (1, 2)])
def test_the_surrogate_goes_on_from_frames_of_its_own_steps(flows, models, name, window, substeps):
    """Uncorrected, it answers as without frames in between."""
    start, _, _ = start_of(flows, models[name])
    given = SpectralRefiner(models[name], window=window, substeps=substeps, newton=0).refined(start, 11)
    alone = SpectralRefiner(models[name], window=-(-window // substeps), newton=0).refined(start, 11)
    assert np.allclose(given.times, start.time + STEP * np.arange(1, 12))
    assert np.abs(given.frames - alone.frames).max() < 1e-9 * np.abs(alone.frames).max()
    assert given.after > 0 and given.before > 0


def test_what_training_never_saw_is_warned_of(flows, models):
    refiner = SpectralRefiner(models["fno"], window=4, newton=1, conjugate=1)
    _, _, truth = start_of(flows, models["fno"])
    first = truth.isel(time=slice(0, 4))
    other = KolmogorovFlow().case(viscosity=2e-2, seed=0, peak=2.0)
    with pytest.warns(UserWarning, match="reynolds.* throughout the training data"):
        refiner.resume(other, first, first.time.values[-1:] + STEP)


def test_what_cannot_be_refined_is_named(flows, models):
    for bounds in ((1,), "ab", 5, (3, 1), (0, 1), (1, float("inf")), (None, 2)):
        with pytest.raises(InputError, match="bounds: expected two numbers 0 < c₁ ≤ c₂, or None, got"):
            SpectralRefiner(models["fno"], bounds=bounds)
    with pytest.raises(InputError, match="model: expected a Surrogate, got Persistence"):
        SpectralRefiner(Persistence())
    with pytest.raises(InputError, match="window: expected a whole number from 1 on, got 0"):
        SpectralRefiner(models["fno"], window=0)
    with pytest.raises(InputError, match="order: expected a number from -4 to 4, got 'a'"):
        SpectralRefiner(models["fno"], order="a")
    recipe = Recipe(Steps(1), batch=2)
    asked = Surrogate("fno", Query(), width=2, modes=2, layers=1).fit(flows, recipe, validation=None, running=QUIET)
    with pytest.raises(InputError, match="model: expected one that goes from frame to frame"):
        SpectralRefiner(asked)
    half = Surrogate("fno", fields=("u",), width=2, modes=2, layers=1)
    half.fit(flows, recipe, validation=None, running=QUIET)
    with pytest.raises(InputError, match="model: expected one that predicts u, v, got u"):
        SpectralRefiner(half)
