"""Every problem and every operator of the package is reached from the command line, or says in one line why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

import sciml
from sciml import registry
from sciml.problem import Problem
from sciml.solvers.references import reference

PROBLEMS = [n for n in registry.problems.names() if registry.problems.get(n).__module__.startswith("sciml.")]
OPERATORS = [n for n in registry.operators.names() if registry.operators.get(n).__module__.startswith("sciml.")]

#: solved from the command line or by the function behind it in these files; here they are planned only
ELSEWHERE = {
    "cylinder_flow": "test_generate_all", "dam_flow": "test_generate_all", "lid_driven_cavity": "test_generate_all",
    "tube_flow": "test_generate_all", "taylor_green": "solvers/test_generate", "poisson": "solvers/test_generate",
    "darcy": "solvers/test_generate", "heat_equation": "solvers/test_generate", "burgers": "solvers/test_generate",
}  # fmt: skip
#: flows whose designs ask for many cells, or wait until turbulence is there: planned as they are, made of smaller cases
SMALLER: dict[str, dict[str, Any]] = {
    "isotropic_turbulence": {"cells": lambda *_: (16, 16, 16)},
    "kolmogorov_flow": {"cells": lambda *_: (16, 16)},
    "taylor_green_3d": {"cells": lambda *_: (16, 16, 16)},
    "turbulent_channel": {"cells": lambda *_: (12, 25, 16), "settled": 0.01},
}
#: what operators need to be told for data of few frames
TOLD = {
    "spacetime_fno": ("--set", "stepping=Window(n_in=1, n_out=2)"),
    "continuous_from_sparse": ("--set", "instants=3"),
}
#: without an equation to solve or cases, and what is said then
REFUSED = {"data": "sciml import reads them", "mass_transport": "has no design of cases"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_generated(cli, tmp_path, monkeypatch, name):
    out = tmp_path / "made.h5"
    if name in REFUSED:
        cli("generate", name, "--out", out).refused(name, REFUSED[name])
        assert not list(tmp_path.iterdir())
        return
    problem: Problem = registry.problems.get(name)()
    assert reference(problem, (8,) * problem.dimensions) is not None
    small = ("--cases", 3, "--frames", 2, "--resolution", 8, "--json")
    if name in ELSEWHERE or name in SMALLER:
        planned = cli("generate", name, "--plan", *small)
        assert planned.code == 0, planned.err
        assert json.loads(planned.out)[0]["problem"] == name
    if name in ELSEWHERE:
        return
    for what, value in SMALLER.get(name, {}).items():
        monkeypatch.setattr(type(problem.design()), what, value)
    made = cli("generate", name, "--out", out, *small)
    assert made.code == 0, made.err
    told = json.loads(made.out)
    assert sum(told["cases"].values()) == 3 and not told["failed"]
    with sciml.data.open(out) as found:
        assert found.attrs["problem"] == name and found.sizes["frame"] == 3 * (1 if problem.steady else 2)
        case, _ = sciml.data.case(found, 0)
        assert type(case.problem) is type(problem)
    assert sciml.data.validate(out)["cases"] == 3


def test_the_lists_above_are_up_to_date():
    assert {*ELSEWHERE, *REFUSED, *SMALLER} <= set(PROBLEMS)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_takes_a_step_or_says_what_it_takes(cli, data_file, node_file, particle_file, tmp_path, name):
    """On a grid, on loose points or of particles; where one is refused, the line names operators that take it."""
    trained = []
    for kind, file in (("on a grid", data_file), ("on points", node_file), ("of particles", particle_file)):
        out = tmp_path / file.stem
        done = cli("train", file, "--operator", name, "--out", out, "--steps", 1, "--device", "cpu", "--json",
                   *TOLD.get(name, ()))  # fmt: skip
        if done.code == 0:
            assert json.loads(done.out)["weights"] > 0 and (out / "weights.safetensors").exists()
            trained.append(kind)
            break  # one kind of data is enough
        done.refused(f"--operator {name}: ", "operators that take these data: ")
        assert not out.exists()
    assert bool(trained) == (name != "identity"), trained  # which has no weights to train


def test_an_untrainable_operator_says_so(cli, data_file, tmp_path):
    cli("train", data_file, "--operator", "identity", "--out", tmp_path / "run").refused("it has no weights to train")
