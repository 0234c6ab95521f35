"""Problems and operators of one's own, from a file or from an installed package, on the command line."""

from __future__ import annotations

import importlib.metadata
import json
import sys

import numpy as np
import pytest

import sciml
from sciml import registry

MINE = '''
import numpy as np
from torch import nn

from sciml import Balance, Box, FieldSpec, ParameterSpec, PDEProblem, Periodic, Scales
from sciml.contracts import GridBatch, Operator
from sciml.problems.designs.ranges import Ranges
from sciml.registry import operators, problems


@problems.register("fading_drift")
class FadingDrift(PDEProblem):
    """∂t u + c ∂x u = ν ∂xx u on the periodic interval [0, 1], u(x, 0) = sin 2πx."""

    name, title, dimensions = "fading_drift", "Fading drift", 1
    fields = (FieldSpec("u", "1"),)
    parameters = (ParameterSpec("speed", "m s-1", 1.0), ParameterSpec("viscosity", "m2 s-1", 0.01, logarithmic=True))

    def geometry(self, case):
        return Box((0.0,), (1.0,), (True,))

    def boundary_conditions(self, case):
        return {side: {"u": Periodic()} for side in ("x_min", "x_max")}

    def equations(self, q, d, theta, x):
        flux = d.vector(theta.speed * q.u) - theta.viscosity * d.grad(q.u)
        return {"mass": Balance(storage=q.u, flux=flux, unit="s-1")}

    def scales(self, case):
        return Scales(1.0, 1.0, {"u": 1.0})

    def exact(self, case, times, coords):
        t = np.asarray(times)[:, None]
        fade = np.exp(-4 * np.pi**2 * case.viscosity * t)
        return {"u": fade * np.sin(2 * np.pi * (coords[0] - case.speed * t))}

    @classmethod
    def design(cls):
        return Ranges(cls(), {"speed": (0.5, 1.0), "viscosity": (1e-3, 1e-2)}, last=0.5)


@operators.register("neighbours")
class Neighbours(Operator):
    """A convolution over three cells of a periodic line."""

    takes, title, name = GridBatch, "Neighbours", "neighbours"

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.sizes = {"in_channels": in_channels, "out_channels": out_channels}
        self.map = nn.Conv1d(in_channels, out_channels, 3, padding=1, padding_mode="circular")

    @classmethod
    def for_signature(cls, signature, **options):
        return cls(signature.channels_in, signature.channels_out, **options)

    def config(self):
        return self.sizes

    def forward(self, x, params=None, mask=None, coords=None):
        return self.map(x)
'''


@pytest.fixture
def forgetful(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setenv("SCIML_PLUGINS", "")
    known = [(r, dict(r._classes)) for r in (registry.problems, registry.operators)]
    modules = set(sys.modules)
    yield
    for table, classes in known:
        table._classes.clear()
        table._classes.update(classes)
    registry._PLUGINS.clear()
    for name in set(sys.modules) - modules:
        if not name.startswith(("sciml", "torch", "jax", "numpy", "xarray", "matplotlib")) and "mine" in name:
            del sys.modules[name]


def test_one_file_goes_from_generate_to_report(cli, tmp_path, monkeypatch, forgetful):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    cli("generate", "fading_drift", "--out", "drift.h5").refused("no problem is called 'fading_drift'")

    def own(*words):
        done = cli("--import", "mine.py", *words)
        assert done.code == 0, done.err
        return done

    own("generate", "fading_drift", "--out", "drift.h5", "--cases", 10, "--frames", 5, "--resolution", 32)
    with sciml.data.open("drift.h5") as found:
        for i in range(10):  # solved as its exact solution says
            case, solution = sciml.data.case(found, i)
            exact = case.problem.exact(case, solution["time"].values, (solution["x"].values,))["u"]
            assert np.abs(solution["u"].values - exact).max() < 5e-2
        spread = np.log10(found["viscosity"].values)
        assert -3 <= spread.min() and spread.max() <= -2 and np.ptp(spread) > 0.2
    own("train", "drift.h5", "--operator", "neighbours", "--out", "run", "--steps", 20, "--device", "cpu")
    scores = json.loads(own("evaluate", "run", "--data", "drift.h5", "--steps", 2, "--json").out)
    rows = {row["model"]: row for row in scores["rows"]}
    assert any("eighbours" in model for model in rows) and len(rows) > 2, rows  # beside what needs no training
    own("report", "run", "--out", "page.html", "--steps", 2)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Fading drift" in page and "Neighbours" in page
    assert json.loads(own("info", "drift.h5", "--json").out)["problem"] == "fading_drift"
    # as in another session, without the file
    monkeypatch.setenv("SCIML_PLUGINS", "")
    del registry.operators._classes["neighbours"]
    words = ("evaluate", "run", "--data", "drift.h5", "--steps", 2)
    cli(*words).refused("no operator is called 'neighbours'", "sciml --import FILE.py")
    del registry.problems._classes["fading_drift"]
    train = ("train", "drift.h5", "--operator", "fno", "--out", "other", "--steps", 1)
    cli(*train).refused("no problem is called 'fading_drift'", "sciml --import FILE.py")


def test_without_the_file_the_line_says_what_is_missing(cli, tmp_path, monkeypatch, forgetful):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    cli("--import", "nothing.py", "info", "x.h5").refused("--import: ", "nothing.py", "cannot be imported")
    (tmp_path / "mine_wrong.py").write_text("import nowhere_at_all", encoding="utf-8")
    monkeypatch.setenv("SCIML_PLUGINS", "")
    wrong = cli("--import", "mine_wrong.py", "bench", "--list")
    wrong.refused("mine_wrong.py", "ModuleNotFoundError", "nowhere_at_all")
    monkeypatch.setenv("SCIML_PLUGINS", "")
    misplaced = cli("train", "x.h5", "--import", "mine.py")
    misplaced.refused("--import goes before the command: sciml --import FILE.py train")


class _Offer:
    """An entry point of the group "sciml", as an installed package has it."""

    dist = None

    def __init__(self, name, do):
        self.name, self.value, self.load = name, name, do


def test_entry_points_are_loaded_by_the_command_line_alone(cli, tmp_path, monkeypatch, forgetful):
    asked = []

    def register():
        asked.append("good")
        exec(compile(MINE, "mine", "exec"), {"__name__": "mine"})

    def break_down():
        raise ImportError("no module\nnamed so")

    offers = [_Offer("broken", break_down), _Offer("good", register)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: offers if group == "sciml" else [])
    monkeypatch.setattr(registry, "_OFFERED", {"wanted": False, "loaded": False})
    monkeypatch.setattr(registry, "_NAMES", set())
    assert "fading_drift" not in registry.problems.names() and not asked  # in Python nothing is loaded unasked
    told = cli("generate", "fading_drift", "--plan", "--cases", 2, "--resolution", 16)
    assert told.code == 0 and told.out.startswith("fading_drift"), told.err
    lines = told.err.splitlines()
    assert lines == ["sciml: warning: entry point 'broken' cannot be loaded (ImportError: no module named so)"]
    assert asked == ["good"]
    assert registry.entry_points() == ("good",) and asked == ["good"]  # once


def test_entry_points_are_there_for_those_who_ask(monkeypatch, forgetful):
    found = []
    offers = [_Offer("mine", lambda: found.append(1))]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: offers)
    monkeypatch.setattr(registry, "_OFFERED", {"wanted": False, "loaded": False})
    monkeypatch.setattr(registry, "_NAMES", set())
    assert registry.entry_points() == ("mine",) and found == [1]
