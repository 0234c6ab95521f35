"""Conformal bands: promises that hold exactly for exchangeable cases, on meshes that differ, steady and in time."""

import numpy as np
import pytest
import xarray as xr
from _made import cube, own, triangles

from sciml import data
from sciml.errors import InputError
from sciml.evaluation import coverage, resplits
from sciml.solver import Restartable, TrainableSolver
from sciml.solvers import Conformal, Constant, Local, Scores, Spread, load
from sciml.solvers._calibration import PerField, PerPoint
from sciml.solvers._frames import labelled, start_of

STEADY = own(2, steady=True)
MOVING = own(2)


class Wrong(TrainableSolver, Restartable):
    """Knows the truth, cos and sin of a phase, and errs by a random amount that grows along x, with time, and with the
    parameter; the error of a case is one of its own, drawn by its parameter."""

    name = title = "wrong"

    def __init__(self, problem, spread=False, trained=None):
        self.own, self.spread, self.trained = problem, spread, trained or {}

    problem = property(lambda self: self.own)
    predicted = property(lambda self: ("a", "b"))
    gives_std = property(lambda self: self.spread)
    training = property(lambda self: self.trained)

    def supports(self, problem):
        return problem.same(self.own)

    def frame(self, case, support, t):
        angle = 2 * np.pi * (support.points().sum(-1) - case.speed * t)
        return np.stack([np.cos(angle), np.sin(angle)])

    def error(self, case, support, t):
        rng = np.random.default_rng(int(1e6 * case.speed))
        size = np.exp(0.5 * rng.normal()) * 0.05 * (1 + t) * (0.1 + support.points()[..., 0])
        return size * rng.normal(size=(2, *[1] * len(support.shape))) * np.cos(support.points() @ rng.normal(size=2))

    def made(self, case, support, t):
        return self.frame(case, support, t) + self.error(case, support, t)

    def labelled(self, case, support, times, begin=0.0):
        every = np.zeros(1) if times is None else np.asarray(times) - begin
        frames = np.stack([self.made(case, support, t) for t in every])
        found = labelled(case, times, frames[0] if times is None else frames, ("a", "b"), support, solver="wrong",
                         settings={})  # fmt: skip
        if not self.spread:
            return found
        std = {f"{n}_std": (found[n].dims, 0.3 * np.abs(found[n].values) + 0.01) for n in ("a", "b")}
        return found.assign(std)

    def _together(self, cases, times):
        return [self.labelled(c, c.support, t) for c, t in zip(cases, times, strict=True)]

    def rollout(self, starts, times):
        for k in range(times.shape[1]):
            yield [self.made(s.case, s.support, times[i, k] - s.time) for i, s in enumerate(starts)]

    def resume(self, case, frame, times):
        start = start_of(case, frame, ("a", "b"))
        return self.labelled(case, start.support, times, start.time)

    fit = None

    def save(self, directory):
        raise NotImplementedError

    load = save


Wrong.__abstractmethods__ = frozenset()


def cases(count, problem=STEADY, first=0, meshes=True):
    """The truth on meshes of different sizes."""
    solver, found = Wrong(problem), []
    for i in range(first, first + count):
        support = triangles(4 + i % 3, i) if meshes else cube(2, 6, 1.5)
        case = problem.case(speed=1 + 1e-3 * i).on(support)
        times = None if problem.steady else np.array([0.5, 1.0, 1.5, 2.0])
        every = [0.0] if times is None else times - 0.5
        frames = np.stack([solver.frame(case, support, t) for t in every])
        frames = frames[0] if times is None else frames
        found.append(labelled(case, times, frames, ("a", "b"), support, solver="truth", settings={}))
    return data.pack(found, dtype=None)


# -- the promises ---------------------------------------------------------------------------------------------------


def made_scores(rng, n, points=40):
    """Cases with errors of very different sizes: points of one case are as dependent as can be."""
    size = np.exp(rng.normal(size=(n, 1, 1)))
    weights = rng.uniform(0.1, 1, (n, points))
    return Scores.of(list(size * np.abs(rng.normal(size=(n, 1, points)))), list(weights)), weights


@pytest.mark.parametrize("n", [9, 10, 19, 50])
def test_whole_fields_are_covered_exactly_as_often_as_promised(n):
    """P(score_{n+1} ≤ λ) = ⌈0.9 (n + 1)⌉ / (n + 1), for whatever distribution."""
    promise, rng, hits = PerField(0.9), np.random.default_rng(n), []
    for _ in range(3000):
        size = np.exp(rng.normal(size=(n + 1, 1, 1)))
        values = np.sort(size * np.abs(rng.normal(size=(n + 1, 1, 3))), axis=-1)
        scores = Scores(values, np.broadcast_to([0.7, 0.2, 0.0], values.shape))
        hits.append(promise.covered(scores[np.array([n])], promise.quantile(scores[np.arange(n)]))[0, 0])
    exact = np.ceil(0.9 * (n + 1) - 1e-9) / (n + 1)
    assert promise.rank(n) == round(exact * (n + 1))
    assert abs(np.mean(hits) - exact) < 4 * np.sqrt(exact * (1 - exact) / len(hits)) + 1e-12


@pytest.mark.parametrize("n", [9, 20, 60])
def test_shares_of_fields_are_covered_as_promised(n):
    """0.9 ≤ E[share] ≤ 0.9 + 2 / (n + 1), though cases differ by orders of magnitude."""
    promise, rng, shares = PerPoint(0.9), np.random.default_rng(n), []
    for _ in range(800):
        size = np.exp(rng.normal(size=(n + 1, 1, 1)))
        values = np.sort(size * np.abs(rng.normal(size=(n + 1, 1, 40))), axis=-1)
        scores = Scores(values, np.broadcast_to(1 - np.arange(1, 41) / 40, values.shape))
        shares.append(promise.covered(scores[np.array([n])], promise.quantile(scores[np.arange(n)]))[0, 0])
    slack = 4 * np.std(shares) / np.sqrt(len(shares))
    assert 0.9 - slack <= np.mean(shares) <= 0.9 + 2 / (n + 1) + slack


def test_the_quantiles_by_hand():
    rng = np.random.default_rng(0)
    scores, _ = made_scores(rng, 30)
    promise = PerPoint(0.9)
    limit = promise.quantile(scores)
    assert scores.missed(limit).sum() + 1 <= 31 * 0.1 < scores.missed(limit * (1 - 1e-9)).sum() + 1  # the least λ
    with pytest.raises(InputError, match="needs at least 9 calibration cases, got 8"):
        promise.quantile(scores[np.arange(8)])
    most = PerField(0.9).quantile(scores)
    assert most[0] == np.sort(scores.values[:, 0, -1])[27]  # ⌈0.9 · 31⌉ = 28
    part = PerField(0.8, 0.1)
    beyond = part.covered(scores, part.quantile(scores))
    assert beyond.sum() == np.ceil(0.8 * 31)
    with pytest.raises(InputError, match="needs at least 9 calibration cases, got 5"):
        PerField(0.9).quantile(scores[np.arange(5)])
    assert PerField(0.95).fewest == 19 and PerPoint(0.95).fewest == 19


def test_shares_go_by_quadrature():
    values, weights = np.array([[3.0, 1.0, 2.0]]), np.array([0.5, 0.2, 0.3])
    scores = Scores.of([values], [weights])
    assert scores.missed(0.5)[0, 0] == 1 and scores.missed(1.0)[0, 0] == pytest.approx(0.8)
    assert scores.missed(2.5)[0, 0] == pytest.approx(0.5) and scores.missed(3.0)[0, 0] == 0
    assert scores.least(0.0)[0, 0] == 3 and scores.least(0.5)[0, 0] == 2 and scores.least(0.8)[0, 0] == 1
    with_holes = Scores.of([np.array([[9.0, np.nan, 1.0]])], [np.array([0.0, 0.5, 0.5])])
    assert with_holes.least(0.5)[0, 0] == 1 and with_holes.least(0.0)[0, 0] == np.inf  # no number counts as ∞


def test_thinned_scores_are_never_too_small():
    rng = np.random.default_rng(1)
    values, weights = rng.exponential(size=(1, 5000)), rng.uniform(size=5000)
    whole, thin = Scores.of([values], [weights], 5000), Scores.of([values], [weights], 64)
    at = np.linspace(0, 8, 300)
    pairs = np.array([(whole.missed(a)[0, 0], thin.missed(a)[0, 0]) for a in at])
    assert (pairs[:, 1] >= pairs[:, 0] - 1e-12).all() and np.abs(pairs[:, 1] - pairs[:, 0]).max() < 0.02
    assert thin.least(0.0) == whole.least(0.0)


# -- around solvers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [STEADY, MOVING], ids=["steady", "in time"])
@pytest.mark.parametrize("scale", [Constant(), Local(4), None], ids=["constant", "local", "spread"])
def test_coverage_on_meshes_that_differ(problem, scale):
    """What is promised is what comes out, on cases that were not calibrated on."""
    model = Conformal(Wrong(problem, spread=scale is None), per="point", scale=scale)
    model.calibrate(cases(120, problem), None)
    held = cases(60, problem, 500)
    found = coverage(model, held, split=None)
    assert found.nominal == 0.9 and found.per == "point" and len(found.number) == 60
    for share in found.point.values():
        assert abs(share - 0.9) < 0.06
    fields = coverage(model.at(0.8, "field"), held, split=None)
    for share in fields.field.values():
        assert abs(share - 0.8) < 0.2
    assert all(fields.widths[n] > 0 for n in ("a", "b"))
    scores, numbers = model.score(held, None)  # the bands of answers are those of the scores
    np.testing.assert_allclose(1 - scores.missed(model.limit), found.shares, atol=1e-9)
    assert numbers == found.number.tolist()


def test_many_splits_of_stored_scores():
    model = Conformal(Wrong(STEADY)).calibrate(cases(60), None)
    scores, _ = model.score(cases(200, first=100), None)
    for per in ("point", "field"):
        found = resplits(scores, 0.9, per, count=100)
        assert found.shape == (100, 2) and np.abs(found.mean(axis=0) - 0.9).max() < 0.02
    with pytest.raises(InputError, match="needs at least 9"):
        resplits(scores[np.arange(10)], 0.9)


def test_a_scale_that_fits_makes_bands_narrow():
    """Errors grow along x and in time: bands that know it cover all places alike, and whole fields with less."""
    held = cases(40, MOVING, 500)
    widths, near = {}, {}
    for scale in (Constant(), Local(6)):
        model = Conformal(Wrong(MOVING), scale=scale).calibrate(cases(150, MOVING), None)
        widths[type(scale)] = coverage(model.at(0.9, "field"), held, split=None).widths["a"]
        inside = []
        for i in range(40):
            case, truth = data.case(held, i)
            found = model.resume(case, truth.isel(time=[0]), truth.time.values[1:])
            left = (truth.x.values > 0.05) & (truth.x.values < 0.4)
            lower, upper, right = (v.values[:, left] for v in (found.a_lower, found.a_upper, truth.a[1:]))
            inside.append(((lower <= right) & (right <= upper)).mean())
        near[type(scale)] = float(np.mean(inside))
    assert widths[Local] < 0.95 * widths[Constant]
    assert abs(near[Local] - 0.9) < 0.07 and near[Constant] > near[Local] + 0.02
    scale = model.calibration.scale
    assert (np.diff(scale.growth[:, 0]) > 0).all()  # h grows
    assert (np.diff(scale.level[0].mean(axis=0)) > 0).all()  # g grows along x, which is the last axis


def test_answers_carry_their_bands_through_files(tmp_path):
    model = Conformal(Wrong(MOVING)).calibrate(cases(60, MOVING), None)
    packed = cases(3, MOVING, 500)
    case, truth = data.case(packed, 0)
    found = model.resume(case, truth.isel(time=[0]), truth.time.values[1:])
    lower, upper, middle = (found[n].values for n in ("a_lower", "a_upper", "a"))
    assert (lower < middle).all() and (middle < upper).all()
    np.testing.assert_allclose(upper - middle, middle - lower, atol=1e-9)
    width = (upper - lower).mean(axis=1)
    assert (np.diff(width) > 0).all()  # bands grow with the time since the start
    for name in ("a_lower", "a_upper", "b_lower"):
        assert found[name].attrs["coverage"] == 0.9 and found[name].attrs["coverage_per"] == "point"
        assert found[name].attrs["units"] == found["a"].attrs["units"]
    data.write(data.pack([found], dtype=None), tmp_path / "answer.h5")
    back = data.case(data.open(tmp_path / "answer.h5"), 0)[1]
    np.testing.assert_array_equal(back["a_lower"].values, lower)
    assert back["a_lower"].attrs["coverage"] == 0.9 and back["a_lower"].attrs["coverage_per"] == "point"
    assert [n for n in back.data_vars if str(n).startswith("b")] == ["b", "b_lower", "b_upper"]
    given = coverage([found], data.pack([truth], dtype=None), split=None)  # solutions instead of a solver
    assert given.nominal == 0.9 and 0 <= given.point["a"] <= 1


def test_at_points():
    model = Conformal(Wrong(STEADY), scale=Local(4)).calibrate(cases(60, meshes=False), None)
    case = data.case(cases(1, first=900, meshes=False), 0)[0]
    whole = model.solve(case)
    places = case.support.points().reshape(-1, 2)[[3, 10, 20]]
    found = model.solve(case, points=places)
    for name in ("a", "a_lower", "b_upper"):
        np.testing.assert_allclose(found[name].values, whole[name].values.ravel()[[3, 10, 20]], atol=1e-6)
    assert found["a_lower"].attrs["coverage"] == 0.9
    assert (found["a_upper"] > found["a_lower"]).all()


def test_a_trained_surrogate_with_bars_is_saved_and_loaded(tmp_path):
    from _made import fno, waves

    train = [waves(cube(1), s, problem=own(1, steady=True)) for s in (0.2, 0.3, 0.4)]
    rest = data.pack([waves(cube(1), 0.2 + 0.01 * i, problem=own(1, steady=True)) for i in range(30)], dtype=None)
    inner = fno(*train, split=None)
    model = Conformal(inner, 0.8, "field", outside=0.1).calibrate(rest, None)
    assert model.fitted and model.gives_intervals and model.title == "FNO, with bars"
    model.save(tmp_path / "run")
    back = load(tmp_path / "run")
    case = data.case(rest, 0)[0]
    xr.testing.assert_identical(back.solve(case).drop_attrs(), model.solve(case).drop_attrs())
    assert back.coverage == 0.8 and back.outside == 0.1 and back.identity == model.identity
    other = back.at(0.5)
    assert (other.limit < back.limit).all()
    other = (tmp_path / "run" / "solver" / "weights.safetensors").read_bytes()
    (tmp_path / "run" / "calibration.safetensors").write_bytes(other)
    with pytest.raises(InputError, match="calibration are not those"):
        load(tmp_path / "run")


def test_refusals():
    with pytest.raises(InputError, match="solver: expected a trained solver"):
        Conformal("fno")
    assert Conformal(Wrong(STEADY), np.float32(0.75)).coverage == 0.75
    for wrong, words in (({"coverage": 1.0}, "coverage"), ({"coverage": "0.9"}, "coverage"),
                         ({"per": "field", "outside": "few"}, r"outside: expected a share in \[0, 1\), got 'few'"),
                         ({"per": "cell"}, "per: expected 'point' or 'field'"),
                         ({"outside": 0.1}, "goes with per='field'"), ({"scale": "std"}, "scale")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            Conformal(Wrong(STEADY), **wrong)
    model = Conformal(Wrong(STEADY))
    with pytest.raises(InputError, match="has not been calibrated"):
        model.solve(STEADY.case(speed=1.0).on(triangles()))
    with pytest.raises(InputError, match="needs at least 9 calibration cases, got 10, 3 of which"):
        model.calibrate(cases(10), None)
    with pytest.raises(InputError, match="does not give"):
        Conformal(Wrong(STEADY), scale=Spread()).calibrate(cases(40), None)
    with pytest.raises(InputError, match="gives no error bars"):
        coverage(Wrong(STEADY), cases(3), split=None)


def test_cases_that_were_trained_on_are_refused():
    names = ["train"] * 20 + ["validation"] * 20
    whole = cases(40)
    packed = data.pack([data.case(whole, i)[1] for i in range(40)], splits=names, dtype=None)
    model = Conformal(Wrong(STEADY, trained={"split": "train", "data": None}))
    for split in ("train", None):
        with pytest.raises(InputError, match="was trained on; expected held-out ones"):
            model.calibrate(packed, split)
    assert model.calibrate(packed, "validation").calibration.record["cases"] == 14
