"""The evaluation protocol against sums written out by hand."""

import json
import math

import numpy as np
import pytest
import torch

import sciml
from sciml import data, metrics
from sciml.errors import InputError
from sciml.evaluation import evaluate
from sciml.operators import FNO
from sciml.problems import Burgers, Poisson, TaylorGreen
from sciml.solver import Solver
from sciml.solvers import Persistence, Surrogate

N = 32


def burgers(reynolds, frames, subset, velocity=1.0):
    case = Burgers().case(viscosity=velocity / reynolds, velocity=velocity, subset=subset)
    times = np.arange(frames) * 0.05 / velocity
    x = (np.arange(N) + 0.5) / N
    return data.solution(case, times, {"u": (("time", "x"), case.exact(times, (x,))["u"])}, {"x": x})


@pytest.fixture(scope="module")
def packed():
    """Held-out cases of different lengths and speeds in two subsets."""
    train = [burgers(r, 9, s) for r in (10, 20, 40, 80) for s in ("a", "b")]
    test = [burgers(15, 9, "a"), burgers(30, 5, "a", velocity=4.0), burgers(60, 9, "b", velocity=0.5)]
    return data.pack([*train, *test], splits=["train"] * len(train) + ["test"] * len(test), dtype=None)


class Scaled(Solver):
    """Knows the answer and gives it times a constant: an error of known size. Has no `rollout`."""

    name = "scaled"

    def __init__(self, factor, n=N):
        self.factor, self.n = factor, n

    def supports(self, problem):
        return True

    def _solve(self, case, times, points):
        x = (np.arange(self.n) + 0.5) / self.n
        fields = {"u": (("time", "x"), self.factor * case.exact(times, (x,))["u"])}
        return data.solution(case, times, fields, {"x": x})


def truths(packed):
    return [data.case(packed, i)[1].u.values / data.case(packed, i)[0].velocity for i in (8, 9, 10)]


def test_pooling_by_hand(packed):
    found = evaluate({"scaled": Scaled(1.1)}, packed, steps=4)
    row, still = found.row("scaled"), found.row("persistence")
    starts = [(i, f) for q in (0, 0.25, 0.5) for i, f in enumerate([int(q * 8), int(q * 4), int(q * 8)])]
    u = truths(packed)
    for subset, members in (("all", (0, 1, 2)), ("a", (0, 1)), ("b", (2,))):
        assert found.summary["rollouts"][subset] == 3 * len(members)
        for k in range(1, 5):
            reach = [(i, f) for i, f in starts if i in members and f + k < len(u[i])]
            error = sum(((u[i][f] - u[i][f + k]) ** 2).mean() for i, f in reach)
            label = sum((u[i][f + k] ** 2).mean() for i, f in reach)
            frames = np.mean([((u[i][f] - u[i][f + k]) ** 2).mean() / (u[i][f + k] ** 2).mean() for i, f in reach])
            assert still["rollout"][subset]["joint"]["nmse"]["mean"][k - 1] == pytest.approx(error / label)
            assert still["rollout"][subset]["u"]["nmse_per_frame"]["mean"][k - 1] == pytest.approx(frames)
            # an error of a tenth of the truth, however it is pooled
            assert row["rollout"][subset]["joint"]["nmse"]["mean"][k - 1] == pytest.approx(0.01)
            assert row["rollout"][subset]["joint"]["nmse_per_frame"]["mean"][k - 1] == pytest.approx(0.01)
    one = still["one_step"]["all"]["joint"]["nmse"]["mean"]
    assert one == still["rollout"]["all"]["joint"]["nmse"]["mean"][0]
    assert row["gain"]["all"]["joint"] == pytest.approx(one / 0.01) and still["gain"]["all"]["joint"] == 1.0
    every = sum(((f[1:] - f[:-1]) ** 2).mean(1).sum() for f in u) / sum((f[1:] ** 2).mean(1).sum() for f in u)
    assert still["every_frame"]["all"]["joint"]["nmse"]["mean"] == pytest.approx(every)
    # physical units: the case at four times the speed rules
    speeds = (1.0, 4.0, 0.5)
    squares = [((u[i][f] - u[i][f + 1]) ** 2).mean() * speeds[i] ** 2 for i, f in starts]
    assert still["one_step"]["all"]["u"]["mse"]["mean"] == pytest.approx(np.mean(squares))
    absolutes = [np.abs(u[i][f] - u[i][f + 1]).mean() * speeds[i] for i, f in starts]
    assert still["one_step"]["all"]["u"]["mae"]["mean"] == pytest.approx(np.mean(absolutes))


def test_arrays_hold_what_the_summary_says(packed):
    found = evaluate(Scaled(0.9), packed, steps=3)
    errors = found.errors.sel(row="scaled").isel(run=0)
    pooled = errors.error_square.sum(("rollout", "field")) / errors.label_square.where(
        np.isfinite(errors.error_square)
    ).sum(("rollout", "field"))
    np.testing.assert_allclose(pooled, found.row("scaled")["rollout"]["all"]["joint"]["nmse"]["mean"])
    assert set(found.errors.start.values) == {"0", "1/4", "1/2"} and list(found.errors.step.values) == [1, 2, 3]
    u = truths(packed)
    (a, b) = found.examples
    assert {a["subset"], b["subset"]} == {"a", "b"}
    np.testing.assert_allclose(a["truth"][:, 0], u[0][1:4])
    np.testing.assert_allclose(a["predictions"]["scaled"], 0.9 * a["truth"])
    assert a["predictions"].keys() == {"persistence", "mean field", "interpolation", "scaled"}
    json.loads(found.to_json())


def test_seeds_make_one_row_with_spread(packed):
    torch.set_num_threads(1)
    runs = [
        Surrogate(FNO, width=8, modes=(6,), layers=1).fit(
            packed, steps=30, batch_size=8, seed=s, progress=False, validation=None
        )
        for s in (0, 1)
    ]
    found = evaluate(runs, packed, steps=3)
    row = found.row("fno")
    assert row["runs"] == 2 and row["kind"] == "learned" and len(row["training"]) == 2
    each = [evaluate(r, packed, steps=3, baselines=False).row("fno") for r in runs]
    figures = [e["one_step"]["all"]["joint"]["nmse"]["mean"] for e in each]
    assert row["one_step"]["all"]["joint"]["nmse"]["mean"] == pytest.approx(np.mean(figures))
    assert row["one_step"]["all"]["joint"]["nmse"]["std"] == pytest.approx(np.std(figures)) and figures[0] != figures[1]
    assert 0 < row["seconds_per_step"]["alone"] < 1
    other = Surrogate(FNO, width=6, modes=(6,), layers=1).fit(
        packed, steps=2, batch_size=8, progress=False, validation=None
    )
    names = [r["name"] for r in evaluate([runs[0], other], packed, steps=2, baselines=False).summary["rows"]]
    assert names == ["fno", "fno 2"]  # not the same model, so not a seed of it


def test_other_grids_are_interpolated(packed):
    found = evaluate(Scaled(1.0, n=4 * N), packed, steps=3, baselines=[Persistence().fit(packed)])
    assert found.row("scaled")["one_step"]["all"]["u"]["nmse"]["mean"] < 1e-4
    assert [r["name"] for r in found.summary["rows"]] == ["persistence", "scaled"]


def test_further_figures():
    """Correlation time, spectrum and divergence of a decaying vortex that a solver lets decay too slowly."""

    def vortex(viscosity, factor=1.0):
        case = TaylorGreen().case(viscosity=viscosity)
        times = np.arange(7) * 0.5
        x = (np.arange(16) + 0.5) * case.length / 16
        exact = case.exact(times, (x, x))
        fields = {k: (("time", "y", "x"), exact[k] * factor) for k in ("u", "v")}
        return data.solution(case, times, fields, {"x": x, "y": x})

    packed = data.pack([vortex(v) for v in (0.1, 0.2, 0.3)], splits=["train", "train", "test"], dtype=None)

    class Twice(Solver):
        name = "twice"

        def supports(self, problem):
            return True

        def _solve(self, case, times, points):
            return vortex(case.viscosity, 2.0)

    found = evaluate(Twice(), packed, steps=3, baselines=[Persistence().fit(packed)])
    row = found.row("twice")
    assert row["correlation_time"]["all"] == {"median": math.inf, "never": 1.0}  # a factor does not spoil it
    np.testing.assert_allclose(row["spectrum_error"]["all"]["mean"], 3.0, rtol=1e-9)
    # the exact vortex is free of divergence in its central differences, too
    np.testing.assert_allclose(found.summary["divergence_of_truth"]["mean"], 0, atol=1e-6)
    assert json.loads(found.to_json())["rows"][1]["correlation_time"]["all"]["median"] is None
    k2 = 2.0  # |k|² of the vortex: persistence keeps what decays by e^(-ν k² t)
    decay = math.exp(-0.3 * k2 * 0.5)
    still = found.row("persistence")
    assert still["one_step"]["all"]["joint"]["nmse"]["mean"] == pytest.approx((1 / decay - 1) ** 2, rel=1e-4)
    assert metrics.nmse(np.ones(2), np.full(2, decay)) == pytest.approx((1 / decay - 1) ** 2)


def test_public_name():
    assert sciml.evaluate is evaluate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number"),
        ({"starts": ["1/0"]}, "starts"),
        ({"starts": [1.0]}, r"shares in \[0, 1\)"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"split": "validation"}, "no case of the data set is in split 'validation'"),
        ({"subset": "c"}, "no subset is called 'c'; known: a, b"),
    ],
)
def test_bad_arguments(packed, arguments, message):
    with pytest.raises(InputError, match=message):
        evaluate(Scaled(1.0), packed, **arguments)


def test_more_bad_arguments(packed, tmp_path):
    with pytest.raises(InputError, match="there is none"):
        evaluate(tmp_path / "nothing", packed)
    with pytest.raises(InputError, match="expected run directories or solvers, got int"):
        evaluate([3], packed)
    x = (np.arange(4) + 0.5) / 4
    steady = data.solution(Poisson().case(), None, {"p": (("y", "x"), np.zeros((4, 4)))}, {"x": x, "y": x})
    with pytest.raises(InputError, match="steady"):
        evaluate(Scaled(1.0), data.pack([steady], splits=["test"]))
