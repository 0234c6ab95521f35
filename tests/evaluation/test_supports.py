"""The protocol wherever values live: stretched and masked grids, one and three dimensions, meshes, loose points."""

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

import sciml
from sciml import data
from sciml.evaluation import evaluate
from sciml.operators import DeepONet
from sciml.problem import Case
from sciml.problems import DataProblem
from sciml.solver import Restartable
from sciml.solvers import Surrogate
from sciml.support import Grid, Mesh, Points
from sciml.training import Query

TIMES = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


class Off(Restartable):
    """The last frame times a constant."""

    name = "off"
    title = "off"

    def __init__(self, factor=1.5):
        self.factor = factor

    def supports(self, problem):
        return True

    def _solve(self, case, times):
        raise NotImplementedError

    resume = _solve

    def rollout(self, starts, times):
        for _ in range(times.shape[1]):
            yield [self.factor * s.frames[-1] for s in starts]


def problem(dimensions, steady=False):
    return DataProblem("modes", ["c"], ["rate"], dimensions, steady=steady)


def decaying(support, rate, times=TIMES):
    """Two modes that decay at different rates, on any support."""
    unit = support.points()
    one = np.prod(np.sin(np.pi * unit), axis=-1)
    two = np.prod(np.cos(2 * np.pi * unit), axis=-1)
    return np.stack([np.exp(-rate * t) * one + 0.5 * np.exp(-3 * rate * t) * two for t in times])


def solved(support, rate, values=None, times=TIMES):
    case = Case(problem(support.dimensions), {"rate": rate}, extents=support.extents)
    values = decaying(support, rate, times) if values is None else values
    return data.solution(case, times, {"c": (("time", *support.dims), values)}, support)


def mesh(count, seed=0):
    rng = np.random.default_rng(seed)
    side = np.linspace(0, 1, 5)
    edge = [(a, b) for a in side for b in (0.0, 1.0)] + [(b, a) for a in side[1:-1] for b in (0.0, 1.0)]
    points = np.concatenate([edge, rng.uniform(0.05, 0.95, (count - len(edge), 2))])
    return Mesh(points, {"triangle": Delaunay(points).simplices})


def pack(supports, rates, tests=2):
    made = [solved(s, r) for s, r in zip(supports, rates, strict=True)]
    count = len(made) - tests
    return data.pack(made, splits=["train"] * count + ["test"] * tests, dtype=None)


def nmse(predictions, truths, weights):
    """Pooled over cases, by quadrature."""
    squares = [(w / w.sum() * (p - t) ** 2).sum() for p, t, w in zip(predictions, truths, weights, strict=True)]
    return sum(squares) / sum((w / w.sum() * t**2).sum() for t, w in zip(truths, weights, strict=True))


RATES = [0.5, 1.0, 2.0, 4.0, 0.7, 3.0]
STRETCHED = Grid((np.array([0.0, 0.02, 0.06, 0.15, 0.3, 0.55, 1.0]), np.linspace(0, 1, 6) ** 2))
MASK = np.ones((8, 8), np.uint8)
MASK[2:5, 3:7] = 0
SUPPORTS = {
    "one dimension": [Grid((np.linspace(0, 1, 13),))] * 6,
    "three dimensions": [Grid((np.linspace(0, 1, 7), np.linspace(0, 1, 5), np.linspace(0, 1, 6)))] * 6,
    "stretched": [STRETCHED] * 6,
    "masked": [Grid((np.linspace(0, 1, 9),) * 2, (False, False), MASK)] * 6,
    "boxes of other sizes": [Grid((np.linspace(0, a, 9), np.linspace(0, 1, 9))) for a in (1, 1.5, 0.8, 1, 1.2, 1.1)],
    "one mesh": [mesh(60)] * 6,
    "meshes": [mesh(60, seed) for seed in range(6)],
    "meshes of other sizes": [mesh(60 + 5 * seed, seed) for seed in range(6)],
    "points": [Points(np.random.default_rng(0).random((40, 3)))] * 6,
}


@pytest.mark.parametrize("name", SUPPORTS)
def test_weighted_errors_by_hand(name):
    """Persistence and a row of known error against sums written out with the quadrature weights of the support."""
    supports = SUPPORTS[name]
    found = evaluate(Off(), pack(supports, RATES), steps=3, starts=["0", "1/2"])
    assert [r["name"] for r in found.summary["rows"]] == ["persistence", "mean field", "interpolation", "off"]
    held = [(s, decaying(s, r)) for s, r in zip(supports[4:], RATES[4:], strict=True)]
    pairs = [(s.weights(), u, f) for f in (0, 2) for s, u in held]
    for k in range(1, 4):
        w, t = [w for w, _, _ in pairs], [u[f + k] for _, u, f in pairs]
        for row, factor in (("persistence", 1.0), ("off", 1.5)):
            by_hand = nmse([factor * u[f] for _, u, f in pairs], t, w)
            mine = found.row(row)["rollout"]["all"]["c"]["nmse"]["mean"][k - 1]
            assert mine == pytest.approx(by_hand, rel=1e-9)
        by_hand = np.mean([nmse([u[f]], [u[f + k]], [w]) for w, u, f in pairs])
        mine = found.row("persistence")["rollout"]["all"]["joint"]["nmse_per_frame"]["mean"][k - 1]
        assert mine == pytest.approx(by_hand, rel=1e-9)
        by_hand = np.mean([(w * np.abs(1.5 * u[f] - u[f + k])).sum() / w.sum() for w, u, f in pairs])
        assert found.row("off")["rollout"]["all"]["c"]["mae"]["mean"][k - 1] == pytest.approx(by_hand, rel=1e-9)
    every = nmse(
        [u[f] for _, u in held for f in range(5)], [u[f + 1] for _, u in held for f in range(5)],
        [s.weights() for s, _ in held for _ in range(5)],
    )  # fmt: skip
    row = found.row("persistence")
    assert row["every_frame"]["all"]["c"]["nmse"]["mean"] == pytest.approx(every, rel=1e-9)
    # one smooth parameter: on shared places the interpolant knows nearly all, elsewhere it still beats standing still
    gain = found.row("interpolation")["gain"]["all"]["c"]
    assert gain > (1.5 if name.startswith("meshes") or name.startswith("boxes") else 30)
    (example,) = found.examples
    assert example["support"].same(supports[4]) and np.array_equal(example["times"], TIMES[1:4])
    np.testing.assert_allclose(example["truth"][:, 0], held[0][1][1:4] if name != "masked" else held[0][1][1:4] * MASK)
    assert example["predictions"]["interpolation"].shape == (3, 1, *supports[4].shape)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one dimension", "grid of 12 cells"),
        ("three dimensions", "grid of 6 × 4 × 5 cells"),
        ("stretched", "grid of 6 × 5 cells, stretched"),
        ("masked", "grid of 8 × 8 cells, masked"),
        ("one mesh", "mesh of 60 nodes"),
        ("meshes of other sizes", "mesh of 80 to 85 nodes"),
        ("points", "40 points"),
    ],
)
def test_supports_in_words_and_spectra_of_uniform_grids_alone(name, words):
    found = evaluate(Off(), pack(SUPPORTS[name], RATES), steps=1, starts=[0], baselines=False)
    assert found.summary["support"] == words
    spectrum = found.row("off")["spectrum_error"]["all"]["mean"][0]
    assert np.isfinite(spectrum) == (name in ("one dimension", "three dimensions"))


def test_what_lies_outside_of_the_mask_changes_nothing():
    """Anything in the solid cells of truth and predictions."""
    support = SUPPORTS["masked"][0]
    rng = np.random.default_rng(0)
    outside = [np.where(MASK, decaying(support, r), 1e3 * rng.standard_normal((6, 8, 8))) for r in RATES]

    class Noisy(Off):
        def rollout(self, starts, times):
            for frames in super().rollout(starts, times):
                yield [np.where(MASK, f, np.nan) for f in frames]

    clean = evaluate(Off(), pack([support] * 6, RATES), steps=4)
    made = [solved(support, r, v) for r, v in zip(RATES, outside, strict=True)]
    noisy = evaluate(Noisy(), data.pack(made, splits=["train"] * 4 + ["test"] * 2, dtype=None), steps=4)
    for a, b in zip(clean.summary["rows"], noisy.summary["rows"], strict=True):
        for part in ("rollout", "one_step", "every_frame", "gain", "correlation_time"):
            assert a[part] == b[part]
        assert np.isfinite(a["one_step"]["all"]["c"]["nmse"]["mean"])


def test_unequal_times_and_steady_sets():
    """Frames at times that double; a mean of cases whose last frames are missing; a steady set on meshes."""
    times = np.array([0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
    support = SUPPORTS["one mesh"][0]
    made = [solved(support, r, times=times) for r in RATES]
    made[1] = made[1].isel(time=slice(0, 4))
    packed = data.pack(made, splits=["train"] * 4 + ["test"] * 2, dtype=None)
    found = evaluate(Off(), packed, steps=6, starts=[0])
    u = [decaying(support, r, times) for r in RATES]
    w = [support.weights()] * 2
    mean = np.mean([u[i][3] for i in range(4)], 0), np.mean([u[i][5] for i in (0, 2, 3)], 0)
    for k, m in zip((3, 5), mean, strict=True):
        by_hand = nmse([m, m], [u[4][k], u[5][k]], w)
        assert found.row("mean field")["rollout"]["all"]["c"]["nmse"]["mean"][k - 1] == pytest.approx(by_hand, rel=1e-6)
    cases = [Case(problem(2, steady=True), {"rate": r}, extents=support.extents) for r in RATES]
    made = [data.solution(c, None, {"c": (("node",), decaying(support, c.rate)[1])}, support) for c in cases]
    steady = evaluate([], data.pack(made, splits=["train"] * 4 + ["test"] * 2, dtype=None))
    mean = np.mean([u[1] for u in (decaying(support, r) for r in RATES[:4])], 0)
    by_hand = nmse([mean, mean], [decaying(support, r)[1] for r in RATES[4:]], w)
    assert steady.row("mean field")["one_step"]["all"]["c"]["nmse"]["mean"] == pytest.approx(by_hand, rel=1e-6)
    assert steady.row("interpolation")["gain"]["all"]["c"] > 30


def test_a_model_that_is_asked_for_times_on_a_mesh():
    """Its rollouts answer the physical times of the frames, from how the case begins."""
    torch.set_num_threads(1)
    packed = pack([mesh(50)] * 6, RATES)
    recipe = sciml.Recipe(length=sciml.Steps(60), batch=8)
    made = Surrogate(DeepONet, Query()).fit(packed, recipe, validation=None, running=sciml.Running(progress=False))
    found = evaluate(made, packed, steps=3, starts=["1/2"])
    row = found.row(made.title)
    w, truth = mesh(50).weights(), [data.case(packed, i)[1].c.values for i in (4, 5)]
    answers = []
    for i in (4, 5):
        case, whole = data.case(packed, i)
        answers.append(made.resume(case, whole.isel(time=slice(0, 1)), TIMES[1:]).c.values)
    for k in range(3):
        by_hand = nmse([a[2 + k] for a in answers], [t[3 + k] for t in truth], [w, w])
        assert row["rollout"]["all"]["c"]["nmse"]["mean"][k] == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_divergence_where_a_velocity_is_named(dimensions):
    """u = a (x, ..., x) in a box that is stretched: ∇·u = a, whatever the fields are called."""
    names = ("p", "vx", "vy", "vz")[: dimensions + 1]
    family = DataProblem("flow", names, ["a"], dimensions)
    faces = (np.linspace(0, 1, 6) ** 2, np.linspace(0, 2, 5), np.linspace(0, 1, 4))[:dimensions]
    support = Grid(faces)
    made = []
    for a in (1.0, 2.0):
        values = a * support.points()[..., 0] * np.ones((3, *[1] * dimensions))
        fields = {n: (("time", *support.dims), values) for n in names}
        made.append(data.solution(Case(family, {"a": a}, extents=support.extents), [0.0, 1.0, 2.0], fields, support))
    found = evaluate(Off(3.0), data.pack(made, splits=["train", "test"], dtype=None), steps=2, starts=[0])
    np.testing.assert_allclose(found.summary["divergence_of_truth"]["mean"], 2.0, rtol=1e-9)
    np.testing.assert_allclose(found.row("off")["divergence"]["all"]["mean"], 6.0, rtol=1e-9)
