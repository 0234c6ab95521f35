"""Laws where they are easily lost: copies, boundaries themselves, noise, rounding, contradictions."""

import copy
import json

import numpy as np
import pytest
import torch
from _made import QUIET, recipe, triangles, waves
from test_constrained_surrogates import N, advected, continuity, from_start, noise, trained

import sciml
from sciml import data
from sciml.boundary import Dirichlet, InSpace, Series
from sciml.errors import InputError
from sciml.operators import FLARE, FNO, DeepONet
from sciml.problems import CylinderFlow, DamFlow, LidDrivenCavity, Poisson, TubeFlow
from sciml.reporting.gather import run_of
from sciml.solvers import Surrogate
from sciml.studies._plan import Plan, surrogate_settings
from sciml.support import Grid, Mesh
from sciml.training import (
    BoundaryValues,
    Bounds,
    ConservedTotal,
    DivergenceFree,
    Noise,
    Query,
    Running,
    Subsample,
    Window,
)
from sciml.training.assignments import assign
from sciml.training.laws.kept import Kept

FLOW = ("u", "v", "alpha")


def case_of(solution):
    return data.case(data.pack([solution], dtype=None), 0)[0]


@pytest.fixture
def given(monkeypatch):
    """Other conditions in place of a problem's own."""

    def change(problem, boundary, field, make):
        former = problem.boundary_conditions

        def conditions(self, case):
            found = {k: dict(v) for k, v in former(self, case).items()}
            found[boundary][field] = make(case)
            return found

        monkeypatch.setattr(problem, "boundary_conditions", conditions)

    return change


def totals(constraint, solutions, **how):
    model = Surrogate(FNO, width=6, modes=(3,), layers=1, constraints=constraint)
    return model.fit(solutions, recipe(**how), validation=None, split=None, running=QUIET)


# -- what is kept ---------------------------------------------------------------------------------------------------


def test_what_is_kept_has_an_end():
    kept, made = Kept(3), []
    for key in (0, 1, 2, 0, 3, 0, 1):
        assert kept.get(key, lambda key=key: made.append(key) or key) == key
    assert made == [0, 1, 2, 3, 1]  # 1 was asked for the longest ago when 3 came
    assert len(kept) == 3
    assert len(copy.deepcopy(kept)) == 0


def test_a_copy_does_not_take_another_support_for_its_own():
    """Weights go by the identity of a support, which in a copy is another object's."""
    solution = advected(0)
    model = totals(ConservedTotal("u"), [solution])
    again = copy.deepcopy(model)
    assert len(model.encoding.kept) > 0
    assert len(again.encoding.kept) == 0
    assert np.array_equal(from_start(again, solution)["u"].values, from_start(model, solution)["u"].values)


# -- flows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stepping", [Window(2, 2), Window(1, 3), Query()])
@pytest.mark.filterwarnings("ignore:surrogate")
def test_several_frames_at_once_and_any_time(stepping):
    solution = noise(LidDrivenCavity(), ("u", "v"), frames=8)
    model = Surrogate(FNO, stepping, fields=("u", "v"), width=6, modes=(3, 3), layers=1, constraints=DivergenceFree())
    model.fit([solution], recipe(2, precision="float64"), validation=None, split=None, running=QUIET)
    answer = model.resume(case_of(solution), solution.isel(time=slice(0, 2)), solution.time.values[2:])
    assert continuity(answer) < 1e-11


def test_on_cells_of_any_size():
    problem, random = LidDrivenCavity(), np.random.default_rng(0)
    case = problem.case()
    grid = Grid(tuple(a + (b - a) * np.linspace(0, 1, N + 1) ** 1.7 for a, b in case.geometry.extents))
    made = {n: (("time", "y", "x"), random.standard_normal((3, N, N))) for n in ("u", "v")}
    solution = data.solution(case.on(grid), 0.1 * case.scales.time * np.arange(3), made, grid)
    assert continuity(from_start(trained([solution], ("u", "v"), DivergenceFree()), solution)) < 1e-11


def test_inflow_that_varies_along_a_side(given):
    given(TubeFlow, "x_min", "u",
          lambda c: Dirichlet(InSpace(lambda p: 6 * p[:, 1] * (c.diameter - p[:, 1]) / c.diameter**2)))  # fmt: skip
    solution = noise(TubeFlow(), FLOW)
    assert continuity(from_start(trained([solution], FLOW, DivergenceFree()), solution)) < 1e-12


def test_inflow_without_outflow_is_named(given):
    given(TubeFlow, "x_max", "u", lambda c: Dirichlet(0.0))
    with pytest.raises(InputError, match=r"conditions of tube_flow give \(u on x_min, u on x_max, .*by them 0.1 more"):
        trained([noise(TubeFlow(), FLOW)], FLOW, DivergenceFree())


@pytest.mark.parametrize("after", [0.0, 2.0])
def test_inflow_that_changes_in_time_is_refused_however_late(given, after):
    given(TubeFlow, "x_min", "u", lambda c: Dirichlet(Series(c.scales.time * np.array([after, after + 1]), [1.0, 2.0])))
    with pytest.raises(InputError, match="flows through a side changes in time"):
        trained([noise(TubeFlow(), FLOW)], FLOW, DivergenceFree())


def test_what_slides_along_a_side_may_change_in_time(given):
    given(LidDrivenCavity, "y_max", "u", lambda c: Dirichlet(Series([0.0, 1.0], [0.0, 1.0])))
    solution = noise(LidDrivenCavity(), ("u", "v"))
    assert continuity(from_start(trained([solution], ("u", "v"), DivergenceFree()), solution)) < 1e-12


# -- totals and bounds ----------------------------------------------------------------------------------------------


def test_a_total_is_that_of_the_frame_without_noise():
    """Noise has a mean that bounds may not allow, and that no label has."""
    low, high = advected(0), advected(1)
    low["u"] = 1e-3 * low["u"]
    model = totals(ConservedTotal("u", 0.0), [low, high], steps=8, augmentations=(Noise(0.3),))
    assert all(np.isfinite(m["loss"]) for m in model.metrics)


def test_rounding_below_a_bound_is_none():
    solution, none = advected(0), advected(1)
    none["u"] = 0 * none["u"] - 1e-12
    model = totals(ConservedTotal("u", 0.0), [solution, none])
    assert from_start(model, none)["u"].values.min() == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_to_the_last_digit_in_single_precision(seed):
    low, high = np.sort(np.random.default_rng(seed).uniform(0.1, 0.9, 2)).tolist()
    solution = noise(DamFlow(), FLOW, seed)
    model = Surrogate(FNO, fields=FLOW, width=6, modes=(3, 3), layers=1, constraints=Bounds("alpha", low, high))
    model.fit([solution], recipe(2), validation=None, split=None, running=QUIET)
    answer = from_start(model, solution)["alpha"].values
    assert answer.dtype == np.float32
    assert float(answer.min()) >= low
    assert float(answer.max()) <= high
    assert answer.max() - answer.min() > 0.9 * (high - low)


def clouds(*sizes):
    """Fields on meshes of several sizes, with ∫ a dV the same in all frames."""
    found = []
    for n in sizes:
        solution, weights = waves(triangles(n, seed=n), 0.1 * n), triangles(n, seed=n).weights()
        a = solution["a"].values
        a = 0.2 + 0.3 * (a - (a * weights).sum(-1, keepdims=True) / weights.sum())
        found.append(solution.assign(a=(solution["a"].dims, a)))
    return found


def test_totals_on_clouds_of_several_sizes():
    solutions = clouds(5, 7, 6)
    model = Surrogate(FLARE, constraints=ConservedTotal("a", -1.0, 1.0))
    model.fit(solutions, recipe(4, precision="float64", augmentations=(Noise(0.02),)), validation=None, split=None,
              running=QUIET)  # fmt: skip
    from _made import started

    starts, times = [started(s) for s in solutions], np.stack([s.time.values[1:] for s in solutions])
    for frames in model.rollout(starts, times):
        for start, frame in zip(starts, frames, strict=True):
            weights = start.support.weights()
            assert abs((weights * (frame[0] - start.frames[-1][0])).sum()) < 1e-14


@pytest.mark.parametrize("operator", [DeepONet, FLARE])
def test_bounds_at_points(operator):
    """What is asked of each value alone holds where an operator is asked, and leaves points free to be left out."""
    problem, random = Poisson(), np.random.default_rng(0)
    grid = Grid.uniform(problem.case().geometry, (8, 8))
    f = random.standard_normal((8, 8))
    case = problem.case(**{i.name: f for i in problem.inputs}).on(grid)
    solution = data.solution(case, None, {"p": (("y", "x"), random.standard_normal((8, 8)))}, grid)
    model = Surrogate(operator, constraints=Bounds("p", -10, 10))
    model.fit([solution], recipe(2, augmentations=(Subsample(30),)), validation=None, split=None, running=QUIET)
    points = random.uniform(0, 1, (50, 2))
    plain = model.constrained().solve(case_of(solution), points=points)["p"].values
    low, high = np.quantile(plain, [0.3, 0.7]).tolist()
    answer = model.constrained(Bounds("p", low, high)).solve(case_of(solution), points=points)["p"].values
    assert np.abs(answer - np.clip(plain, low, high)).max() < 4 * np.abs(plain).max() * np.finfo(np.float32).eps
    assert float(answer.min()) >= low
    assert float(answer.max()) <= high


# -- boundary values ------------------------------------------------------------------------------------------------


def on_meshes(problem, fields):
    """Frames of chance on two meshes of one box, which have no boundary values."""
    found, case = [], problem.case()
    for seed in (1, 2):
        unit, random = triangles(6, seed), np.random.default_rng(seed)
        mesh = Mesh(unit.points() * [b for _, b in case.geometry.extents], dict(unit.cells))
        made = {n: (("time", *mesh.dims), random.standard_normal((4, *mesh.shape))) for n in fields}
        found.append(data.solution(case.on(mesh), 0.1 * case.scales.time * np.arange(4), made, mesh))
    return found


def test_increments_from_a_start_without_boundary_values():
    """û = u + φ N keeps what the start has, so that on the boundary itself the value has to be said."""
    solutions = on_meshes(LidDrivenCavity(), ("u", "v"))
    model = Surrogate(FLARE, fields=("u", "v"), constraints=BoundaryValues())
    model.fit(solutions, recipe(2, precision="float64"), validation=None, split=None, running=QUIET)
    case, answer = case_of(solutions[0]), from_start(model, solutions[0])
    length = case.geometry.extents[0][1]
    x, y = case.support.points().T
    between = (x > 1e-6 * length) & (x < (1 - 1e-6) * length)
    lid, floor = np.isclose(y, length) & between, np.isclose(y, 0.0)
    assert lid.sum() == 4
    assert np.abs(answer["u"].values[:, lid] - case.lid_velocity).max() < 1e-14
    assert np.abs(answer["v"].values[:, lid | floor]).max() < 1e-14
    assert np.abs(answer["u"].values[:, floor]).max() < 1e-14
    corner = np.isclose(y, length) & np.isclose(x, 0.0)  # where lid and wall disagree, it stays what it was
    start = solutions[0]["u"].values[0, corner]
    assert np.abs(answer["u"].values[:, corner] - start).max() < 1e-14
    points = np.stack([np.linspace(0.1, 0.9, 5) * length, np.full(5, length)], 1)
    asked = model.solve(case, times=solutions[0].time.values[1:], points=points)
    assert np.abs(asked["u"].values - case.lid_velocity).max() < 1e-14


def test_each_field_may_have_an_ansatz_of_its_own():
    solution = noise(LidDrivenCavity(), ("u", "v"))
    apart = trained([solution], ("u", "v"), BoundaryValues(("u",)), BoundaryValues(("v",))).encoding
    whole, case = apart.held_to((BoundaryValues(),)), case_of(solution)
    one, two = (e.given([case], [case.support]) for e in (apart, whole))
    assert torch.equal(one.factor, two.factor)
    assert torch.equal(one.extension, two.extension)
    assert float(one.factor.max()) < 0.9


def test_given_values_within_bounds():
    """Both at once; given values that bounds rule out are named."""
    solution = on_meshes(LidDrivenCavity(), ("u", "v"))[0]
    model = Surrogate(FLARE, fields=("u", "v"), constraints=(BoundaryValues(), Bounds("u", -0.1, 1.0)))
    model.fit([solution], recipe(2, precision="float64"), validation=None, split=None, running=QUIET)
    case, answer = case_of(solution), from_start(model, solution)
    x, y = case.support.points().T / case.geometry.extents[0][1]
    lid = np.isclose(y, 1.0) & (x > 1e-6) & (x < 1 - 1e-6)
    assert np.abs(answer["u"].values[:, lid] - case.lid_velocity).max() < 1e-14
    assert answer["u"].values.min() == -0.1
    assert answer["u"].values.max() == 1.0
    low = model.constrained(BoundaryValues(), Bounds("u", -0.1, 0.5))
    with pytest.raises(InputError, match="u on y_max is given as 1, which Bounds does not allow"):
        from_start(low, solution)


@pytest.mark.parametrize("stepping", [None, Window(1, 2, increments=False)])
def test_beside_a_body_that_cuts_cells(stepping):
    """Distances are infinite beside what a body has cut off of another boundary."""
    solution = noise(CylinderFlow(), ("u", "v"))
    model = Surrogate(FNO, stepping, fields=("u", "v"), width=6, modes=(3, 3), layers=1, constraints=BoundaryValues())
    model.fit([solution], recipe(2, precision="float64"), validation=None, split=None, running=QUIET)
    assert np.isfinite(from_start(model, solution)["u"].values).all()


@pytest.mark.parametrize("stepping", [None, Window(1, 2, increments=False)])
def test_values_that_change_in_time_are_refused(given, stepping):
    given(LidDrivenCavity, "y_max", "u", lambda c: Dirichlet(Series([0.0, 100.0], [0.0, 1.0])))
    solution = noise(LidDrivenCavity(), ("u", "v"))
    model = Surrogate(FNO, stepping, fields=("u", "v"), width=6, modes=(3, 3), layers=1, constraints=BoundaryValues())
    with pytest.raises(InputError, match="u on y_max changes in time"):
        model.fit([solution], recipe(1), validation=None, split=None, running=QUIET)


def test_values_given_as_arrays_along_sides(given):
    """On fields with an offset, in single precision."""
    side = np.linspace(1000.0, 1010.0, 8)
    for boundary in ("x_min", "x_max"):
        given(Poisson, boundary, "p", lambda c: Dirichlet(side))
    problem, random = Poisson(), np.random.default_rng(0)
    grid = Grid.uniform(problem.case().geometry, (8, 8))
    f = random.standard_normal((8, 8))
    case = problem.case(**{i.name: f for i in problem.inputs}).on(grid)
    solution = data.solution(case, None, {"p": (("y", "x"), 1000 + random.standard_normal((8, 8)))}, grid)
    model = Surrogate(DeepONet, constraints=BoundaryValues(("p",)))
    model.fit([solution], recipe(2), validation=None, split=None, running=QUIET)
    answer = model.solve(case_of(solution), points=grid.side_points(0, 0))["p"].values
    assert np.abs(answer - side).max() < 4 * 1010 * np.finfo(np.float32).eps


# -- runs -----------------------------------------------------------------------------------------------------------


def test_resuming_with_other_constraints_is_refused(tmp_path):
    solution = noise(LidDrivenCavity(), ("u", "v"))

    def run(*constraints, resume=True):
        model = Surrogate(FNO, fields=("u", "v"), width=6, modes=(3, 3), layers=1, constraints=constraints)
        how = Running(progress=False, out=tmp_path / "run", resume=resume)
        return model.fit([solution], recipe(2), validation=None, split=None, running=how)

    run(DivergenceFree(), resume=False)
    with pytest.raises(InputError, match="made with constraints DivergenceFree, expected the same, got none"):
        run()
    again = run(DivergenceFree())
    assert again.training["constraints"] == [DivergenceFree().to_json()]
    shown = run_of(again, "FNO", "").settings
    assert shown["constraints.0"] == "DivergenceFree"
    assert not any(k.startswith("training.constraints") for k in shown)


def test_going_on_with_other_constraints_or_none(tmp_path):
    solution = noise(LidDrivenCavity(), ("u", "v"))
    former = trained([solution], ("u", "v"), DivergenceFree())
    path = tmp_path / "flow.h5"
    data.write(data.pack([solution], splits=["train"]), path)
    wanted = recipe(1, precision="float64")
    for text, expected in (
        (None, (DivergenceFree(),)), ("()", ()), ("Bounds(u, -1, 1)", (Bounds("u", -1, 1),)),
        ("DivergenceFree(),Bounds(p,0)", None),
    ):  # fmt: skip
        settings = assign(surrogate_settings()(), ["validation=None", *([f"constraints={text}"] if text else [])])
        plan = Plan("fno", {}, wanted, settings)
        assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
        running = Running(progress=False, out=tmp_path / f"run {text}")
        if expected is None:
            with pytest.raises(InputError, match="'p' is no answered field"):
                plan.train(path, running, former)
            continue
        plan.train(path, running, former)
        assert sciml.load(running.out).constraints == expected
    assert "constraints" not in Plan("fno", surrogate=surrogate_settings()()).to_json()["surrogate"]
