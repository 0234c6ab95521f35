"""The code in the documents runs."""

import re
from pathlib import Path

import numpy as np

import sciml
from sciml import registry
from sciml.derivatives import numpy as provider

ROOT = Path(__file__).resolve().parent.parent


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)


def test_recipe_for_an_equation_solves_itself():
    """The problem class of CONTRIBUTING.md, as printed: its exact solution satisfies its balance."""
    (source,) = blocks("CONTRIBUTING.md")
    scope: dict = {}
    try:
        exec(compile(source, "CONTRIBUTING.md", "exec"), scope)
        problem = registry.problems.get("drift")()
        case = problem.case(speed=0.7, length=2.0)
        grid = sciml.Grid.uniform(case.geometry, 32)
        step = 1e-4
        before, now, after = problem.exact(case, [0.3 - step, 0.3, 0.3 + step], grid.centres)["u"]
        rates = {"u": (after - before) / (2 * step)}
        residual = provider.strong(
            problem.balances()["mass"], grid, {"u": now}, parameters=case.parameters, rates=rates, method="spectral"
        )
        assert np.abs(residual).max() < 1e-6  # the rate is a difference of second order in `step`
    finally:
        registry.problems._classes.pop("drift", None)


def test_quick_start_of_the_readme(tmp_path, monkeypatch):
    """As printed, but for the number of cases and the minutes of training."""
    source = next(b for b in blocks("README.md") if "import sciml" in b)
    for long, short in (
        ("cases=40", "cases=12, resolution=32, progress=False"),
        ("sciml.Minutes(2)", "sciml.Steps(20)"),
    ):
        assert long in source
        source = source.replace(long, short)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(compile(source, "README.md", "exec"), scope)
    assert scope["truth"]["u"].shape == (3, 64, 64)
    assert list(scope["pred"]["time"].values) == [1, 2, 5]
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_surrogate_of_the_concepts_page_answers():
    """As printed."""
    source = next(b for b in blocks("docs/concepts.md") if "DataProblem" in b)
    scope: dict = {}
    exec(compile(source, "concepts.md", "exec"), scope)
    assert scope["answer"]["T"].shape == (2, 1)


def test_pages_on_own_data_run_in_order(tmp_path, monkeypatch):
    """As printed, one after the other."""
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for source in blocks("docs/own_data.md"):
        exec(compile(source, "own_data.md", "exec"), scope)
    registry.problems._classes.pop("fading_heat", None)
    assert scope["model"].training["steps"] > 0 and (tmp_path / "plume.html").stat().st_size > 100_000
    assert np.isfinite(scope["answer"]["T"].values).all()
    with sciml.data.open(tmp_path / "heat.h5") as found:  # ∂t ∫T² ≤ 0: heat spreads and fades
        sizes = np.square(found["T"].values).sum(1).reshape(6, 5)
        assert (np.diff(sizes, axis=1) < 0).all()


def test_pages_on_physics_run_in_order(tmp_path, monkeypatch):
    """As printed, one after the other, but for the number of steps."""
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for source in blocks("docs/physics.md"):
        for long, short in (("Adam(500), LevenbergMarquardt(60)", "Adam(100), LevenbergMarquardt(20)"),):
            source = source.replace(long, short)
        exec(compile(source, "physics.md", "exec"), scope)
    registry.problems._classes.pop("reactor", None)
    assert (tmp_path / "reactor.png").stat().st_size > 10_000
    assert abs(scope["gap"]).max() < 0.1  # hardly trained
    assert abs(scope["pinn"].found["viscosity"] - 0.05) < 0.002


def test_page_on_implicit_differentiation_runs():
    """As printed; the slope against a central difference of the solver's own answers."""
    scope: dict = {}
    for source in blocks("docs/implicit.md"):
        exec(compile(source, "implicit.md", "exec"), scope)
    model, target = scope["energy"], scope["target"]
    h = 1e-4
    ends = [float(model(scope["torch"].tensor(0.05 + s * h, dtype=scope["torch"].float64))) for s in (1, -1)]
    assert abs(float(scope["slope"]) / ((ends[0] - ends[1]) / (2 * h)) - 1) < 1e-5
    assert abs(float(scope["found"].detach()) - 0.08) < 1e-8
    assert abs(float(scope["change"]) * float(scope["slope_there"]) - 1) < 1e-6 and target.grad is not None


def test_page_on_constraints_runs(tmp_path, monkeypatch):
    """As printed, but for the number of cases and the minutes of training."""
    (source,) = blocks("docs/constraints.md")
    for long, short in (("cases=40, frames=11", "cases=6, frames=5, resolution=24, progress=False"),
                        ("Minutes(2)", "Steps(5)"), ("Minutes, Recipe", "Recipe, Steps")):  # fmt: skip
        assert long in source
        source = source.replace(long, short)
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(compile(source, "constraints.md", "exec"), scope)
    case, times = sciml.problems.LidDrivenCavity().case(lid_velocity=1.0), [0.5, 1.0, 2.0]

    def relative(model):
        return max(r.relative for r in sciml.audit(model.solve(case, times=times)).select("continuity"))

    assert relative(scope["fno"]) < 1e-5 and relative(scope["afterwards"]) < 1e-5
    assert relative(scope["plain"]) > 1e-2
