"""What rows are called, which solvers they are held against, and what is said of runs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import sciml
from sciml.problem import Published
from sciml.problems import DataProblem, HeatEquation, LidDrivenCavity
from sciml.reporting import published
from sciml.reporting.names import flattened, model_names
from sciml.solvers import references
from sciml.support import Grid, Mesh, Points
from sciml.training import AdamW, Autoregressive, ProcessorMinutes, Recipe, Rollout, Steps, Window

BASE = Recipe(length=Steps(10))


def model(recipe=BASE, stepping=Autoregressive(), title="FNO", **more):  # noqa: B008
    """What tells runs apart, of a surrogate that nobody trained."""
    identity = {
        "operator": title.lower(), "options": {"width": 8, "modes": [4, 4]}, "stepping": stepping.to_json(),
        "fields": ["u", "v"], "recipe": recipe.without_seed().to_json(), "subset": None, "parameters": 1000,
        "data": "digest",
    }  # fmt: skip
    return SimpleNamespace(title=title, identity=identity | more)


@pytest.mark.parametrize(
    ("models", "names"),
    [
        ([model(), model()], ["FNO", "FNO"]),
        ([model(BASE), model(BASE.replace(seed=3)), model(title="U-Net")], ["FNO", "FNO", "U-Net"]),
        ([model(), model(stepping=Autoregressive(history=4))], ["FNO (history 1)", "FNO (history 4)"]),
        ([model(), model(BASE.replace(optimiser=AdamW(lr=1e-3)))], ["FNO (lr 0.004)", "FNO (lr 0.001)"]),
        ([model(), model(stepping=Window())], ["FNO (Autoregressive)", "FNO (Window)"]),
        ([model(), model(BASE.replace(objective=Rollout(steps=3)))], ["FNO (as given)", "FNO (Rollout)"]),
        (
            [model(), model(options={"width": 16, "modes": [8, 8]}, parameters=9000)],
            ["FNO (width 8, modes 4 × 4)", "FNO (width 16, modes 8 × 8)"],
        ),
        ([model(), model(subset=["bc"])], ["FNO (as given)", "FNO (subset bc)"]),
        ([model(), model(data="others")], ["FNO (a)", "FNO (b)"]),
        ([model(), model(BASE.replace(length=Steps(25)))], ["FNO (10 steps)", "FNO (25 steps)"]),
        (
            [model(BASE.replace(length=ProcessorMinutes(m))) for m in (2, 0.5)],
            ["FNO (2 processor minutes)", "FNO (0.5 processor minutes)"],
        ),
    ],
    ids=["one", "seeds", "history", "lr", "stepping", "objective", "options", "subset", "data", "steps", "minutes"],
)
def test_rows_are_called_by_what_differs(models, names):
    found = model_names(models, ["runs/a", "runs/b", "runs/c"][: len(models)])
    assert found == names


def test_too_many_differences_are_folders():
    far = BASE.replace(batch=4, optimiser=AdamW(lr=1e-3, clip=0.5, weight_decay=0.0), precision="float64")
    assert model_names([model(), model(far)], ["runs/a", "runs/b"]) == ["FNO (a)", "FNO (b)"]
    assert model_names([model(), model(far)], ["x/a", "y/a"]) == ["FNO (a 1)", "FNO (a 2)"]
    assert model_names([model(), model(far)], ["", ""]) == ["FNO (model 1)", "FNO (model 2)"]


def test_settings_are_dotted_paths():
    flat = flattened({"recipe": Recipe(objective=Rollout(steps=3)).to_json()})
    assert flat["recipe.objective"] == "Rollout" and flat["recipe.objective.steps"] == 3
    assert flat["recipe.optimiser.betas"] == [0.9, 0.99] and flat["recipe.length"] == "Epochs"
    assert flattened({"a": [{"kind": "Noise", "level": 1}]}) == {"a.0": "Noise", "a.0.level": 1}


def test_references_are_found_by_what_solvers_support():
    cavity, heat = LidDrivenCavity(), HeatEquation()
    square = Grid((np.linspace(0, 1, 17),) * 2)
    found = references.references(cavity, square)
    assert list(found) == ["reference 4 × 4", "reference 8 × 8", "reference 12 × 12", "reference 16 × 16"]
    assert all(s.supports(cavity) for s in found.values())
    flat = Grid((np.linspace(0, 1, 17),) * heat.dimensions)
    assert {type(s).__name__ for s in references.references(heat, flat).values()} == {"FiniteVolume"}
    nodes = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    for support in (Points(nodes), Mesh(nodes, {"triangle": np.array([[0, 1, 2]])})):
        assert references.references(cavity, support) == {}
    assert references.references(DataProblem("smoke", ["u", "v", "p"], ["rate"]), square) == {}
    assert references.reference(DataProblem("smoke", ["u"], ["rate"], 1), (8,)) is None


class Curved(HeatEquation):
    """With a curve of its own, as if published: the exact solution."""

    def published(self):
        case = self.case()
        line = np.linspace(*case.geometry.extents[0], 9)
        exact = case.exact([0.1], (line, *(np.array([0.5]) for _ in range(self.dimensions - 1))))
        (name,) = exact
        values = exact[name][0].reshape(-1)
        middle = tuple((a + b) / 2 for a, b in case.geometry.extents)
        return (Published("profile", "nobody (1900)", case, 0.1, name, 0, middle, line, values, ("x", name)),)


def test_a_published_curve_is_met_by_the_solver_that_supports_the_problem():
    (found,) = published.benchmarks(Curved(), 64)
    scale = np.abs(found.points[1]).max()
    assert found.name.startswith("reference 64") and found.source == "nobody (1900)" and not found.upright
    assert 0 < found.deviation < 0.01 * scale
    assert published.benchmarks(HeatEquation()) == [] and published.benchmarks(DataProblem("smoke", ["u"])) == []


def test_the_cavity_has_its_tables():
    curves = LidDrivenCavity().published()
    assert len(curves) == 6 and {c.field for c in curves} == {"u", "v"}
    (first, *_) = curves
    assert first.labels == ("y/L", "u/U") and first.values[-1] == 1.0
    assert sciml.problems.Burgers().published() == ()
