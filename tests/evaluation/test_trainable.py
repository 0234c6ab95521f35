"""Trainable solvers of any kind are rows, and statistics are fed what errors are summed from."""

import json

import numpy as np
import pytest

import sciml
from sciml.data import pack, solution
from sciml.errors import InputError
from sciml.evaluation import Statistic, evaluate
from sciml.reporting import compare
from sciml.solver import Restartable, TrainableSolver

TIMES = np.linspace(0.0, 1.0, 6)
PROBLEM = sciml.DataProblem("fading", ["T"], ["rate"], 1)
GRID = sciml.Grid((np.array([0.0, 0.1, 0.3, 0.7, 1.0]),))


def fading(rate: float):
    values = np.exp(-rate * TIMES)[:, None] * np.arange(1.0, 5.0)
    return solution(PROBLEM.case(rate=rate), TIMES, {"T": (("time", "x"), values)}, GRID)


def dataset():
    rates = [0.5, 1.0, 1.5, 2.0, 0.8, 1.7]
    return pack([fading(r) for r in rates], ["train"] * 4 + ["test"] * 2, dtype=None)


class Decay(TrainableSolver, Restartable):
    """û(t) = u(s) exp(−rate·factor·(t − s)): one number is learned."""

    name, title = "decay", "Decay"

    def __init__(self, factor=None):
        self.factor = factor

    def supports(self, problem):
        return problem.same(PROBLEM)

    @property
    def fitted(self):
        return self.factor is not None

    @property
    def problem(self):
        return PROBLEM

    @property
    def predicted(self):
        return ("T",)

    @property
    def weights(self):
        return 1

    @property
    def training(self):
        return {"seconds": 0.1, "recipe": {"seed": 3}}

    @property
    def settings(self):
        return {"factor": self.factor}

    def fit(self, data, recipe=None, *, split="train", validation="validation", running=None):
        self.factor = 1.0
        return self

    def save(self, directory):
        raise NotImplementedError

    @classmethod
    def load(cls, directory, device="auto"):
        raise NotImplementedError

    def _solve(self, case, times):
        raise NotImplementedError

    def resume(self, case, frame, times):
        raise NotImplementedError

    def rollout(self, starts, times):
        for k in range(times.shape[1]):
            yield [
                s.frames[-1] * np.exp(-s.case.rate * self.factor * (times[i, k] - s.time)) for i, s in enumerate(starts)
            ]


class Total(Statistic):
    """∫T dx of every frame."""

    name = "total"

    def __init__(self):
        self.found = {}

    def add(self, row, run, rollout, step, time, frame, case, support):
        key = f"{row} {run} {rollout} {step}"
        assert key not in self.found
        self.found[key] = [time, float((support.weights() * frame[0]).sum())]

    def result(self):
        return self.found


def test_a_trainable_solver_is_a_row_and_statistics_see_its_frames():
    total = Total()
    found = evaluate([Decay().fit(None)], dataset(), steps=3, starts=("0",), statistics=[total])
    row = found.row("Decay")
    assert row["kind"] == "learned" and row["restarts"] and row["training"][0]["recipe"]["seed"] == 3
    assert max(row["rollout"]["all"]["joint"]["nmse"]["mean"]) < 1e-28
    told = json.loads(found.to_json())["statistics"]["total"]
    assert sum(k.startswith("truth") for k in told) == 2 * 3 == sum(k.startswith("Decay") for k in told)
    weights = np.array([0.1, 0.2, 0.4, 0.3]) @ np.arange(1.0, 5.0)
    for k in range(3):
        time, value = told[f"truth 0 1 {k}"]
        assert time == pytest.approx(TIMES[k + 1]) and value == pytest.approx(weights * np.exp(-1.7 * time), rel=1e-12)
        assert told[f"Decay 0 1 {k}"][1] == pytest.approx(value, rel=1e-12)


def test_runs_of_one_identity_are_one_row():
    found = evaluate([Decay(1.0), Decay(1.0), Decay(0.9)], dataset(), steps=2, baselines=False)
    assert [(r["name"], r["runs"]) for r in found.summary["rows"]] == [("Decay", 2), ("Decay 2", 1)]


def test_the_report_takes_it():
    study = compare([Decay(0.9)], dataset(), steps=3, details=True)
    assert study.surrogates == ["Decay"] and study.rows[-1].weights == 1 and study.samples[0].predictions["Decay"]
    with pytest.raises(InputError, match="untrained decay"):
        compare([Decay()], dataset())


def test_what_is_no_statistic_is_refused():
    with pytest.raises(InputError, match="statistics: expected"):
        evaluate([Decay(1.0)], dataset(), statistics=["drag"])
