"""`sciml train` of one model on several data sets, and of solvers that have no operator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sciml
from sciml import registry
from sciml.cli import _plan, main
from sciml.errors import InputError
from sciml.problems import TaylorGreen
from sciml.solvers import Persistence
from sciml.studies._plan import SolverPlan
from sciml.training import Recipe

from .conftest import FRAMES, GRID

SMALL = ("width=8", "heads=2", "hidden=8", "head=4", "decoder_layers=1", "fusion_layers=1")
PROSE = (*(w for s in SMALL for w in ("--set", f"operator.{s}")), "--set", "stepping=Window(2,3)", "--device", "cpu")


@pytest.fixture(autouse=True)
def no_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling solvers to compare with takes longer than all the rest."""
    from sciml.solvers import references

    monkeypatch.setattr(references, "references", lambda *_: {})
    monkeypatch.setattr(references, "reference", lambda *_, **__: None)


@pytest.fixture(scope="module")
def vortices_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight decaying vortices of several viscosities, as they are known exactly."""
    times, solutions = 0.05 * np.arange(FRAMES), []
    for viscosity in np.linspace(0.01, 0.08, 8):
        case = TaylorGreen().case(viscosity=float(viscosity))
        grid = sciml.Grid.uniform(case.geometry, GRID)
        exact = TaylorGreen().exact(case, times, grid.centres)
        fields = {n: (("time", *grid.dims), exact[n].astype(np.float32)) for n in ("u", "v")}
        solutions.append(sciml.data.solution(case, times, fields, grid, solver="exact"))
    path = tmp_path_factory.mktemp("data") / "decay.h5"
    sciml.data.write(sciml.data.pack(solutions, ["train"] * 5 + ["validation"] + ["test"] * 2), path)
    return path


def trained(out: Path, *words: object) -> Path:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--out", str(out)])
    assert not ended.value.code
    return out


@pytest.fixture(scope="module")
def many_problems(data_file, vortices_file, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "prose"
    return trained(out, "train", data_file, vortices_file, "--operator", "prosefd", "--steps", 2, *PROSE)


@pytest.fixture(scope="module")
def reduced(vortices_file, tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ("train", vortices_file, "--solver", "neural_ode", "--set", "modes=2", "--set", "width=4", "--steps", 2)
    return trained(tmp_path_factory.mktemp("runs") / "ode", *words)


# -- several data sets ------------------------------------------------------------------------------------------------


def test_one_model_of_several_files(cli, many_problems, data_file, vortices_file):
    assert json.loads((many_problems / "command.json").read_text())["data"] == [str(data_file), str(vortices_file)]
    made = sciml.load(many_problems)
    assert list(made.families) == ["lid_driven_cavity", "taylor_green"] and made.stepping.n_out == 3 and made.symbols
    shown = cli("info", many_problems)
    assert shown.code == 0, shown.err
    for part in ("prosefd(", "lid_driven_cavity", "taylor_green", "Window(", f"grid of {GRID} × {GRID} cells"):
        assert part in shown.out
    supports = json.loads(cli("info", many_problems, "--json").out)["supports"]
    assert [s["cells"] for s in supports] == [{"x": GRID, "y": GRID}] * 2


@pytest.mark.parametrize("which", [0, 1])
def test_it_is_evaluated_on_each_of_them(cli, many_problems, data_file, vortices_file, node_file, which):
    file = (data_file, vortices_file)[which]
    done = cli("evaluate", many_problems, "--data", file, "--steps", 2, "--json")
    assert done.code == 0, done.err
    rows = {row["model"]: row for row in json.loads(done.out)["rows"]}
    assert np.isfinite(rows["PROSE-FD"]["rollout_nmse"]["all"]).all()
    cli("evaluate", many_problems, "--data", node_file).refused("holds 'smoke'", "lid_driven_cavity, taylor_green")


def test_a_page_about_one_of_them(cli, many_problems, vortices_file, tmp_path):
    words = ("report", many_problems, "--out", tmp_path / "page.html", "--steps", 2)
    cli(*words).refused("--data", "was trained on", str(vortices_file), "expected one of them")
    done = cli(*words, "--data", vortices_file)
    assert done.code == 0, done.err
    assert "PROSE-FD" in (tmp_path / "page.html").read_text()


def test_it_is_gone_on_with_without_naming_its_files(cli, data_file, vortices_file, tmp_path):
    out = tmp_path / "run"
    done = cli("train", data_file, vortices_file, "--operator", "prosefd", "--out", out, "--steps", 1, *PROSE,
               "--set", "symbols=False", "--seed", 4)  # fmt: skip
    assert done.code == 0, done.err
    cli("train", data_file, "--out", out, "--resume").refused("--resume", str(vortices_file), "got", data_file.name)
    cli("train", "--out", out, "--resume", "--set", "symbols=true").refused("symbols")
    again = cli("train", "--out", out, "--resume", "--steps", 2, "--json")
    assert again.code == 0, again.err
    told = json.loads(again.out)
    assert told["operator"] == "prosefd" and told["seed"] == 4 and told["last"]["step"] == 2
    assert not sciml.load(out).symbols
    other = cli("train", vortices_file, "--from", out, "--out", tmp_path / "on", "--steps", 1, "--json")
    assert other.code == 0, other.err
    assert set(sciml.load(tmp_path / "on").families) == {"lid_driven_cavity", "taylor_green"}
    cli("train", vortices_file, "--from", out, "--out", tmp_path / "no", "--set", "stepping=Window(2,2)").refused(
        "stepping", "--fresh"
    )


def test_what_several_files_cannot_be(cli, data_file, vortices_file, tmp_path):
    out = ("--out", tmp_path / "run", "--steps", 1)
    both = (data_file, vortices_file)
    cli("train", *both, "--operator", "fno", *out).refused("FILE: fno is trained on one data set, got 2 files")
    cli("train", *both, "--solver", "neural_ode", *out).refused("neural_ode is trained on one data set, got 2")
    prose = ("--operator", "prosefd", *out, *PROSE)
    cli("train", data_file, data_file, *prose).refused("two data sets are of 'lid_driven_cavity'")
    cli("train", data_file, *prose, "--set", "operator.patch=5").refused("not made of patches of 5")
    cli("train", data_file, *prose, "--set", "operator.channels=5").refused("prosefd takes no 'channels'")
    cli("train", data_file, *prose, "--set", "symbols=maybe").refused("--set symbols: expected true or false")
    cli("train", data_file, *prose, "--set", "fields=u").refused("fields: prosefd has no such setting")
    cli("train", data_file, "--operator", "fno", *out, "--set", "symbols=false").refused("fno has no such setting")
    assert not (tmp_path / "run").exists()


# -- without an operator ----------------------------------------------------------------------------------------------


def test_a_solver_without_an_operator(cli, reduced, vortices_file, tmp_path):
    record = json.loads((reduced / "command.json").read_text())
    assert record["data"] == str(vortices_file) and record["plan"]["options"] == {"modes": 2, "width": 4}
    made = sciml.load(reduced)
    assert (made.rank, made.width, made.training["steps"]) == (2, 4, 2)
    shown = cli("info", reduced)
    for part in ("neural_ode(", "modes=2", "taylor_green", "u, v", "2 steps", "last validation"):
        assert part in shown.out
    done = cli("evaluate", reduced, "--data", vortices_file, "--steps", 2, "--json")
    assert done.code == 0, done.err
    assert "neural ODE" in {row["model"] for row in json.loads(done.out)["rows"]}
    page = cli("report", reduced, "--out", tmp_path / "page.html", "--steps", 2)
    assert page.code == 0, page.err  # on the data that it was trained on


@pytest.mark.parametrize(
    ("name", "settings"), [("dynamic_modes", ("history=1", "fields=u")), ("pod_regression", ()), ("mean_field", ())]
)
def test_solvers_without_a_recipe(cli, vortices_file, tmp_path, name, settings):
    words = ("train", vortices_file, "--solver", name, "--out", tmp_path / "run")
    done = cli(*words, *(w for s in settings for w in ("--set", s)))
    assert done.code == 0, done.err
    assert f"{name} of 5 cases" in done.out + done.err
    assert sciml.load(tmp_path / "run").fields == (("u",) if settings else ("u", "v"))
    again = cli(*words, "--overwrite", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["solver"] == name and json.loads(again.out)["seed"] is None
    shown = cli("info", tmp_path / "run")
    assert shown.code == 0 and name in shown.out and "5 cases" in shown.out


def test_what_is_not_for_solvers_without_an_operator(cli, reduced, vortices_file, data_file, tmp_path):
    words = ("train", vortices_file, "--out", tmp_path / "run", "--solver")
    cli(*words, "neural_ode", "--operator", "fno").refused("--operator and --solver: expected at most one")
    cli(*words, "neural_ode", "--resume").refused("--resume: neural_ode keeps no checkpoints")
    cli(*words, "neural_ode", "--from", reduced).refused("--from: neural_ode begins anew each time")
    cli(*words, "neural_ode", "--device", "cpu").refused("--device: neural_ode", "expected auto")
    for option in ("--epochs", "--steps", "--minutes", "--seed"):
        cli(*words, "dynamic_modes", option, 1).refused(f"{option}: dynamic_modes has no recipe")
    for name in ("surrogate", "pinn", "ensemble", "finite_volume", "neural_od"):
        cli(*words, name).refused("--solver: expected one of dynamic_modes", "neural_ode", f"got '{name}'")
    cli("train", "--out", reduced, "--resume").refused("--resume", "neural_ode keeps no checkpoints", "--overwrite")
    cli("train", vortices_file, "--from", reduced, "--out", tmp_path / "run").refused("holds a neural ODE")
    cli(*words, "neural_ode", "--set", "validation=none", "--set", "split=trian").refused("did you mean 'train'")
    cli(*words, "neural_ode", "--set", "validation=vaildation").refused("validation: ", "did you mean 'validation'")
    cli(*words, "neural_ode", "--set", "precision=bfloat16").refused("precision", "expected float32 or float64")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modes=many", r"--set modes: expected a whole number ≥ 1, got 'many'"),
        ("mode=3", r"--set mode: neural_ode takes no 'mode'; did you mean 'modes'"),
        ("operator.width=3", r"takes no 'operator.width'; did you mean 'width'"),
        ("lr=3", r"takes no 'lr'; did you mean 'optimiser.lr'"),
        ("optimiser.lr=fast", r"--set optimiser.lr: expected a number, got fast"),
        ("running.forget=true", r"neural_ode takes no 'running.forget'; known: .*modes"),
        ("modes", r"--set: expected PATH=VALUE"),
    ],
)
def test_settings_that_do_not_fit(text, message):
    with pytest.raises(InputError, match=message):
        _plan.read_solver(_plan.of_solver("neural_ode"), [text])


def test_settings_find_their_place():
    texts = ["modes=16", "tolerance=1e-4", "objective.steps=8", "optimiser.lr=1e-2", "fields=u", "validation=none"]
    plan = _plan.read_solver(_plan.of_solver("neural_ode"), texts)
    assert plan.options == {"modes": 16, "tolerance": 1e-4} and isinstance(plan.recipe, Recipe)
    assert plan.recipe.objective.steps == 8 and plan.recipe.optimiser.lr == 1e-2  # type: ignore[union-attr]
    assert plan.settings.fields == ("u",) and plan.settings.validation is None
    assert json.loads(json.dumps(plan.to_json()))["solver"] == "neural_ode"
    regression = _plan.read_solver(_plan.of_solver("pod_regression"), ["linear_in=load"])
    assert regression.options == {"linear_in": ("load",)} and regression.recipe is None


def test_settings_are_listed(cli):
    paths = {row["path"] for row in json.loads(cli("train", "--solver", "neural_ode", "--settings", "--json").out)}
    assert {"modes", "width", "length", "optimiser.lr", "split", "validation", "fields"} <= paths
    paths = {row["path"] for row in json.loads(cli("train", "--solver", "dynamic_modes", "--settings", "--json").out)}
    assert paths == {"history", "split", "fields"}
    paths = {row["path"] for row in json.loads(cli("train", "--operator", "prosefd", "--settings", "--json").out)}
    assert {"symbols", "operator.width"} <= paths and not {"operator.channels", "operator.words"} & paths


def test_own_solvers_are_trained_too(cli, vortices_file, tmp_path, monkeypatch):
    """What somebody registers is named like those of the package."""

    class Stays(Persistence):
        name = title = "stays"

    monkeypatch.setitem(registry.solvers._classes, "stays", Stays)
    done = cli("train", vortices_file, "--solver", "stays", "--out", tmp_path / "run")
    assert done.code == 0 and "stays of 5 cases" in done.out + done.err, done.err
    assert isinstance(sciml.load(tmp_path / "run"), Stays)


def test_every_solver_that_is_alone_is_made_of_nothing():
    alone = [n for n in registry.solvers.names() if getattr(registry.solvers.get(n), "alone", False)]
    assert {"neural_ode", "dynamic_modes"} <= set(alone)
    for name in alone:
        assert not SolverPlan(name).made().fitted
