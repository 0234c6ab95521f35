"""A PINN as a solver: it learns, finds parameters, answers, is saved, and refuses what it cannot do."""

from typing import Any

import numpy as np
import pytest

import sciml
from sciml import Balance, Box, Dirichlet, FieldSpec, InputError, ParameterSpec, PDEProblem, Running, Scales
from sciml.problems import Advection
from sciml.solvers.pinn import (
    PINN,
    Adam,
    Architecture,
    ByResidual,
    Causal,
    GradientNorms,
    LagrangianPINN,
    LevenbergMarquardt,
    PINNRecipe,
)

QUIET = Running(progress=False)
SMALL = Architecture(width=12, depth=2)


def error(answer, case, name, times):
    exact = case.exact(times, (answer.x.values,))[name]
    return np.linalg.norm(answer[name].values - exact) / np.linalg.norm(exact)


class Wave(PDEProblem):
    """∂t q + c ∂x q = −k q on a periodic line: an equation of one's own."""

    name = "damped_advection"
    title = "Damped advection"
    dimensions = 1
    fields = (FieldSpec("q", "1"),)
    parameters = (ParameterSpec("speed", "m s-1", 1.0), ParameterSpec("damping", "s-1", 0.5, 0.0, 10.0))

    def geometry(self, case):
        return Box((0.0,), (2.0,), (True,))

    def boundary_conditions(self, case):
        return {b: {"q": sciml.boundary.Periodic()} for b in ("x_min", "x_max")}

    def equations(self, q: Any, d: Any, theta: Any, x: Any):
        return {"wave": Balance(storage=q.q, flux=theta.speed * d.vector(q.q), source=-theta.damping * q.q)}

    def scales(self, case):
        return Scales(1.0, 1.0, {"q": 1.0})

    def initial_state(self, case, grid):
        return {"q": np.sin(np.pi * grid.points()[..., 0])}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    case = Wave().case()
    pinn = PINN(SMALL, resolution=32)
    pinn.fit(case, PINNRecipe(until=0.5, phases=(LevenbergMarquardt(80),), points=200), running=QUIET)
    return case, pinn


def test_an_equation_of_ones_own(own):
    case, pinn = own
    answer = pinn.solve(case, [0.25, 0.5])
    x, t = answer.x.values[None], np.array([0.25, 0.5])[:, None]
    assert np.abs(answer.q.values - np.exp(-0.5 * t) * np.sin(np.pi * (x - t))).max() < 1e-4
    start = pinn.solve(case, [0.0], points=[[0.5], [1.25]])
    np.testing.assert_allclose(start.q.values[0], np.sin(np.pi * np.array([0.5, 1.25])), atol=1e-13)
    assert answer.attrs["solver"] == "pinn" and answer.attrs["status"] == "ok"


def test_the_map_of_residuals_is_small_where_it_learned(own):
    _, pinn = own
    found = pinn.residual_map([0.1, 0.4])
    assert found.residual_wave.dims == ("time", "x") and np.abs(found.residual_wave.values).max() < 1e-2


def test_history_and_record(own):
    _, pinn = own
    assert [r["step"] for r in pinn.history] == list(range(1, len(pinn.history) + 1))
    assert pinn.history[-1]["loss"] < 1e-3 * pinn.history[0]["loss"]
    assert set(pinn.history[-1]["losses"]) == {"wave"} and pinn.history[0]["minimiser"] == "LevenbergMarquardt"
    assert pinn.training["recipe"] == PINNRecipe(until=0.5, phases=(LevenbergMarquardt(80),), points=200).to_json()
    assert pinn.weights == 3 * 12 + 12 + 12 * 12 + 12 + 12 + 1


def test_what_it_refuses(own):
    case, pinn = own
    with pytest.raises(InputError, match=r"was trained on .* alone"):
        pinn.solve(Wave().case(speed=2.0), [0.1])
    with pytest.raises(InputError, match=r"was trained until 0.5, expected no later time, got 0.6"):
        pinn.solve(case, [0.6])
    with pytest.raises(InputError, match="has solved no case yet"):
        PINN().solve(case, [0.1])


def test_heat_is_learned_with_penalties_and_saved(tmp_path):
    """Penalties for all conditions, Adam and then Levenberg-Marquardt, points by residual; as saved, so it answers."""
    case = sciml.problems.HeatEquation().case(diffusivity=0.2)
    seen = []

    class Watch(sciml.training.callbacks.Callback):
        def on_step(self, trainer, record):
            seen.append(record["step"])

    pinn = PINN(SMALL, exact=False, resolution=64)
    recipe = PINNRecipe(
        until=0.5, phases=(Adam(200, 5e-3), LevenbergMarquardt(60)), points=300, boundary_points=40, initial_points=60,
        resampling=ByResidual(100), balancing=GradientNorms(100),
    )  # fmt: skip
    pinn.fit(case, recipe, running=Running(progress=False, callbacks=(Watch(),)))
    times = [0.1, 0.5]
    answer = pinn.solve(case, times)
    assert error(answer, case, "T", times) < 1e-3
    assert seen == [r["step"] for r in pinn.history]
    pinn.save(tmp_path)
    again = sciml.load(tmp_path)
    assert isinstance(again, PINN) and again.case == case and again.recipe == recipe
    np.testing.assert_array_equal(again.solve(case, times).T.values, answer.T.values)
    assert len(again.history) == len(pinn.history)


def test_diffusivity_from_noisy_observations(tmp_path):
    truth = sciml.problems.HeatEquation().case(diffusivity=0.2)
    random = np.random.default_rng(0)
    points = np.stack([random.uniform(0, 1, 200), random.uniform(0, 0.5, 200)], axis=1)
    exact = np.array([truth.exact([t], (np.array([x]),))["T"][0, 0] for x, t in points])
    noisy = exact + 0.01 * random.standard_normal(200)
    # ends and beginning are known, diffusivity is not: the case knows its end values as series
    t = np.linspace(0, 0.5, 101)
    x = (np.arange(200) + 0.5) / 200
    ends = truth.exact(t, (np.array([0.0, 1.0]),))["T"]
    guess = sciml.problems.HeatEquation().case(
        diffusivity=0.05, temperature_left=(t, ends[:, 0]), temperature_right=(t, ends[:, 1]),
        initial_temperature=truth.exact([0.0], (x,))["T"][0],
    )  # fmt: skip
    pinn = PINN(SMALL, unknown=("diffusivity",))
    recipe = PINNRecipe(until=0.5, phases=(LevenbergMarquardt(60),), points=300, boundary_points=40)
    pinn.fit(guess, recipe, observations={"points": points, "T": noisy}, running=QUIET)
    assert abs(pinn.found["diffusivity"] - 0.2) < 0.01
    assert pinn.history[-1]["found"]["diffusivity"] == pytest.approx(pinn.found["diffusivity"])
    pinn.save(tmp_path)
    assert PINN.load(tmp_path).found == pinn.found


def test_windows_follow_each_other():
    case = Wave().case(damping=0.0)
    pinn = PINN(SMALL, resolution=32)
    pinn.fit(case, PINNRecipe(until=1.0, windows=2, phases=(LevenbergMarquardt(30),), points=200), running=QUIET)
    times = [0.5, 0.5 + 1e-9, 1.0]
    q = pinn.solve(case, times).q
    x = q.x.values
    assert np.abs(q.values[2] - np.sin(np.pi * (x - 1.0))).max() < 1e-3
    assert np.abs(q.values[1] - q.values[0]).max() < 1e-6
    assert {r["window"] for r in pinn.history} == {0, 1}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: (PINN(unknown=("speeed",)), Wave().case(), {}), "has no parameter 'speeed'; did you mean 'speed'"),
        (lambda: (PINN(unknown=("speed",)), Wave().case(), {}), "expected observations to find it from"),
        (lambda: (PINN(), sciml.problems.Poisson().case(), {}), "is steady, expected a recipe without `until`"),
        (lambda: (PINN(), Wave(), {}), "fit solves one case, got Wave"),
        (
            lambda: (PINN(unknown=("amplitude",)), sciml.problems.HeatEquation().case(), {}),
            "'amplitude' is in no equation of heat_equation",
        ),
        (lambda: (PINN(), Wave().case(), {"points": np.zeros((3, 1)), "q": np.zeros(3)}), r"expected finite \(N, 2\)"),
        (lambda: (PINN(), Wave().case(), {"points": np.zeros((3, 2)), "p": np.zeros(3)}), "has no field 'p'"),
        (lambda: (PINN(), Wave().case(), {"points": np.zeros((3, 2)), "q": np.zeros(2)}), r"expected \(3,\) values"),
    ],
)
def test_one_clear_line(build, message):
    pinn, case, seen = build()
    with pytest.raises(InputError, match=message):
        pinn.fit(case, PINNRecipe(until=1.0), observations=seen or None, running=QUIET)


def test_an_unknown_that_enters_more_than_equations_is_refused():
    """It would keep its first guess where it is not trained."""

    class Beginning(Wave):
        def initial_state(self, case, grid):
            return {"q": (1 + case.damping) * np.sin(np.pi * grid.points()[..., 0])}

    class Given(Wave):
        def geometry(self, case):
            return Box((0.0,), (2.0,))

        def boundary_conditions(self, case):
            return {"x_min": {"q": Dirichlet(sciml.InTime(lambda t: np.exp(-case.damping * t)))}}

    class Domain(Wave):
        def geometry(self, case):
            return Box((0.0,), (1.5 + case.damping,), (True,))

    seen = {"points": np.zeros((3, 2)), "q": np.zeros(3)}
    for problem, where in ((Beginning, "how fields begin"), (Given, "given on 'x_min'"), (Domain, "the domain")):
        with pytest.raises(InputError, match=f"'damping' is in an equation, and in .*{where}"):
            PINN(unknown=("damping",)).fit(problem().case(), PINNRecipe(until=1.0), observations=seen, running=QUIET)


def test_what_a_problem_leaves_out():
    class NoCondition(Wave):
        def geometry(self, case):
            return Box((0.0,), (2.0,))

        def boundary_conditions(self, case):
            return {"x_min": {"q": Dirichlet(0.0)}}

        def equations(self, q: Any, d: Any, theta: Any, x: Any):
            return {"wave": Balance(storage=q.q, flux=-theta.speed * d.grad(q.q))}

    class NoBeginning(Wave):
        def initial_state(self, case, grid):
            return {}

    class NoEntrance(Wave):
        def geometry(self, case):
            return Box((0.0,), (2.0,))

        def boundary_conditions(self, case):
            return {}

    with pytest.raises(InputError, match="'q' is carried along x, but has no condition at either end"):
        PINN().fit(NoEntrance().case(), PINNRecipe(until=1.0), running=QUIET)
    with pytest.raises(InputError, match="no condition for 'q' on 'x_max', expected one such as Dirichlet"):
        PINN().fit(NoCondition().case(), PINNRecipe(until=1.0), running=QUIET)
    with pytest.raises(InputError, match="does not say how 'q' begins"):
        PINN().fit(NoBeginning().case(), PINNRecipe(until=1.0), running=QUIET)
    with pytest.raises(InputError, match="points: expected a whole number >= 10, got 3"):
        PINNRecipe(points=3)
    with pytest.raises(InputError, match="changes in time, expected PINNRecipe"):
        PINN().fit(Wave().case(), running=QUIET)


def test_a_loss_that_is_not_finite_stops_it():
    with pytest.raises(sciml.TrainingError, match="not finite at step"):
        PINN(SMALL).fit(Wave().case(), PINNRecipe(until=1.0, phases=(Adam(20, 1e200),), points=50), running=QUIET)


@pytest.mark.parametrize("solver", [PINN, LagrangianPINN])
def test_a_fit_that_fails_leaves_all_as_it_was(solver, tmp_path):
    """Unfitted if it was so, and else with what it had learned, which can still be saved and read."""
    case, quick = Advection().case(), PINNRecipe(until=0.1, phases=(Adam(2),), points=20)
    bad = PINNRecipe(until=0.2, phases=(Adam(20, 1e200),), points=20)
    network = solver(SMALL)
    with pytest.raises(sciml.TrainingError):
        network.fit(case, bad, running=QUIET)
    assert not network.fitted and network.case is None and network.history == [] and network.record == {}
    with pytest.raises(InputError, match="nothing to save yet; call fit first"):
        network.save(tmp_path / "none")
    network.fit(case, quick, running=QUIET)
    before = network.solve(case, [0.1]).u.values
    with pytest.raises(sciml.TrainingError):
        network.fit(Advection().case(speed=2.0), bad, running=QUIET)
    np.testing.assert_array_equal(network.solve(case, [0.1]).u.values, before)
    network.save(tmp_path / "run")
    back = sciml.load(tmp_path / "run")
    assert back.case == case and back.recipe == quick and len(back.history) == 2
    np.testing.assert_array_equal(back.solve(case, [0.1]).u.values, before)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PINN(unknown=3), "unknown is 3, expected different names of parameters"),
        (lambda: PINN(unknown=None), "unknown is None, expected different names"),
        (lambda: PINN(unknown=("a", "a")), "expected different names"),
        (lambda: PINN(exact=1), "exact is 1, expected True or False"),
        (lambda: PINN(resolution=0), "resolution: expected a whole number ≥ 2, got 0"),
        (lambda: PINN(architecture="x"), "architecture is 'x', expected an Architecture"),
        (lambda: LagrangianPINN("x"), "architecture is 'x', expected an Architecture"),
        (lambda: LagrangianPINN(resolution=2.5), "resolution: expected a whole number ≥ 2, got 2.5"),
        (
            lambda: LagrangianPINN().fit(Advection().case(), PINNRecipe(until=1.0), observations={}),
            "lagrangian PINN: takes no observations",
        ),
        (lambda: PINNRecipe(precision="float32"), "float32 is for Adam alone, expected float64 for the phase Leven"),
    ],
)
def test_arguments_that_cannot_be(build, message):
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize("asked", [{"resume": True}, {"checkpoint_seconds": 1.0}, {"checkpoint_every": 5}])
def test_what_running_asks_for_and_is_not_there(asked):
    with pytest.raises(
        InputError, match=f"running: keeps no checkpoints and no blocks, expected no {next(iter(asked))}"
    ):
        PINN(SMALL).fit(Wave().case(), PINNRecipe(until=1.0), running=Running(progress=False, **asked))
    with pytest.raises(InputError, match="running: device is 'cuda:7', expected 'auto'"):
        PINN(SMALL).fit(Wave().case(), PINNRecipe(until=1.0), running=Running(progress=False, device="cuda:7"))
    with pytest.raises(InputError, match="running is a dict, expected a Running"):
        PINN(SMALL).fit(Wave().case(), PINNRecipe(until=1.0), running=asked)


def test_recipes_go_through_json():
    assert PINNRecipe(until=1.0, phases=(Adam(3),), precision="float32").precision == "float32"
    recipe = PINNRecipe(
        until=2.0, phases=(Adam(10), LevenbergMarquardt(5)), resampling=ByResidual(50), causal=Causal(2.0)
    )
    assert PINNRecipe.from_json(recipe.to_json()) == recipe
    np.testing.assert_allclose(Causal(2.0).weights(np.array([1.0, 0.5, 3.0])), np.exp([0.0, -2.0, -3.0]))
