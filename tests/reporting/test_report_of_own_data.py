"""Somebody's own data, on a mesh: trained, compared and on a page, with an audit of what the training data keep."""

from __future__ import annotations

import numpy as np
import pytest
from test_pictures_on_supports import annulus

import sciml
from sciml.reporting import compare
from sciml.reporting.page import render
from sciml.reporting.sections import build

TIMES = np.linspace(0.0, 1.0, 6)


@pytest.fixture(scope="module")
def study():
    """A blob whose integral stays while it spreads, as far as the nodes' weights can tell."""
    mesh = annulus()
    problem = sciml.problems.DataProblem("smoke", ["c"], ["rate"])
    rng = np.random.default_rng(0)
    weights, (x, y) = mesh.weights(), mesh.points().T
    solutions = []
    for i in range(12):
        case = problem.case(label=f"case {i}", subset=("slow", "fast")[i % 2], rate=rng.uniform(0.5, 1) * (1 + i % 2))
        width = 0.2 + 0.3 * case.rate * TIMES[:, None]
        c = np.exp(-((x - 0.7) ** 2 + y**2) / width)
        c /= (c * weights).sum(axis=1, keepdims=True)
        solutions.append(sciml.data.solution(case, TIMES, {"c": (("time", "node"), c)}, mesh, solver="made up"))
    splits = sciml.data.splits.by_case([("slow", "fast")[i % 2] for i in range(12)], (0.5, 0.25, 0.25), 0)
    data = sciml.data.pack(solutions, splits=splits)
    model = sciml.solvers.Surrogate("deeponet")
    quiet = sciml.Running(progress=False, device="cpu")
    model.fit(data, sciml.Recipe(length=sciml.Steps(20)), running=quiet)
    return compare([model], data, steps=3, details=True, device="cpu")


def test_rows_and_subsets(study):
    assert study.surrogates == ["DeepONet"] and study.references == [] and study.benchmarks == []
    assert list(study.subsets) == ["fast", "slow"]  # in the order of the data set's own flag meanings
    assert set(study.rollout_features) == {"rate"}
    assert np.isfinite(study.square).all() and not study.equations
    facts = dict(study.facts)
    assert facts["nodes"] == "480 a case, joined by cells" and "grid" not in facts


def test_samples_live_on_the_mesh(study):
    for sample in study.samples:
        assert sample.support.same(annulus()) and sample.truth["c"].shape == (4, 480)
        assert sample.predictions["DeepONet"]["c"].shape == (4, 480)
        assert set(sample.parameters) == {"rate"}
        np.testing.assert_array_equal(sample.predictions["DeepONet"]["c"][0], sample.truth["c"][0])


def test_the_audit_is_that_of_the_training_data(study):
    rows = {r["name"]: r for r in study.samples[0].audits["truth"]}
    assert any(r["check"] == "bounds" for r in rows.values())
    kept = rows["total c"]
    assert kept["rms"] <= kept["floor"] and kept["check"] == "invariant"
    made = {r["name"]: r for r in study.samples[0].audits["DeepONet"]}["total c"]
    assert made["rms"] > kept["rms"]
    assert any("divergence" in n for n in study.samples[0].notes)


def test_the_page(study):
    text = render(build(study))
    for words in ("nodes of a mesh", "what the training data say", "nodes of the mesh to equal cells",
                  "recipe.optimiser.lr", "DeepONet"):  # fmt: skip
        assert words in text, words
