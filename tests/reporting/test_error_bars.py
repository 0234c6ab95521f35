"""The section on error bars: there where a solver has some, with what came out beside what was promised."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from _synthetic import small
from test_pictures_on_supports import annulus

import sciml
from sciml.evaluation import coverage
from sciml.reporting import compare
from sciml.reporting.page import render
from sciml.reporting.sections import build
from sciml.reporting.sections.bars import bars
from sciml.solvers import Conformal, LinearRegression, Local, PODRegression
from sciml.support import Grid

TIMES = np.linspace(0.0, 1.0, 4)


def solutions(count, steady, support=None, seed=0):
    mesh = support or annulus()
    problem = sciml.problems.DataProblem("smoke", ["c"], ["rate", "shift"], mesh.dimensions, steady=steady)
    rng, found = np.random.default_rng(seed), []
    x = mesh.points()[..., 0]
    for i in range(count):
        case = problem.case(label=f"case {i}", rate=rng.uniform(0.5, 2), shift=rng.uniform(-1, 1)).on(mesh)
        times = np.zeros(1) if steady else TIMES
        c = np.stack([np.exp(-case.rate * (x - 0.3 * case.shift - 0.2 * t) ** 2) for t in times])
        c += 0.03 * rng.normal() * x  # what no parameter tells
        dims = mesh.dims if steady else ("time", *mesh.dims)
        found.append(sciml.data.solution(case, None if steady else times, {"c": (dims, c[0] if steady else c)}, mesh))
    parts = (0.3, 0.35, 0.35)
    return sciml.data.pack(found, splits=sciml.data.splits.by_case([""] * count, parts, 0), dtype=None)


@pytest.fixture(scope="module", params=[True, False], ids=["steady", "in time"])
def compared(request):
    data = solutions(120, request.param)
    models = [Conformal(k().fit(data), 0.9, scale=Local(4)) for k in (LinearRegression, PODRegression)]
    for model in models:
        model.calibrate(data, "validation")
    return compare(models, data, steps=3, details=True, device="cpu"), models, data


def test_figures_are_those_of_the_evaluation(compared):
    study, models, data = compared
    assert list(study.bars) == ["linear regression, with bars", "POD regression, with bars"]
    for model, found in zip(models, study.bars.values(), strict=True):
        direct = coverage(model, data, split="test")
        assert found.per_point == direct.point and found.width == direct.widths and found.cases == 42
        assert found.calibrated == model.calibration.record["cases"] and abs(found.per_point["c"] - 0.9) < 0.08
        # bands of another coverage, without solving again, are those that another calibration gives
        at = list(found.levels).index(0.7)
        other = coverage(model.at(0.7), data, split="test").point["c"]
        assert found.observed["c"][at] == pytest.approx(other, abs=2e-3)
        assert (np.diff(found.observed["c"]) >= 0).all()
    sample = study.samples[0]
    model = study.best
    half = sample.bands[model]["c"]
    assert half.shape == sample.truth["c"].shape and (half[-1] > 0).all()
    assert study.steady or (half[0] == 0).all()


def test_the_page(compared):
    text = render(build(compared[0]))
    for words in ("Error bars", "inside, mean over cases", "lies in its band on average", "Calibration, c",
                  "|error| / half width", "of the field lies in its band"):  # fmt: skip
        assert words in text, words


def test_no_bars_no_section():
    study = small()
    assert bars(study) == []
    assert 'id="bars"' not in render(build(dataclasses.replace(study, samples=[])))


def test_bands_on_a_line():
    data = solutions(120, True, Grid((np.linspace(-1, 1, 33),)))
    model = Conformal(PODRegression().fit(data), 0.8, "field", outside=0.05).calibrate(data)
    study = compare([model], data, details=True, device="cpu")
    text = render(build(study))
    assert "with its band" in text and "whole field lies in its band at once but for at most 5 % of it" in text
