"""Small solutions and surrogates for programs as people write them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sciml

QUIET = sciml.Running(progress=False)


def burgers(times: Any = (0, 0.1, 0.2), viscosities: Any = (0.1, 0.2), n: int = 16) -> list[Any]:
    """Solutions of Burgers' equation."""
    problem, solver = sciml.problems.Burgers(), sciml.solvers.PseudoSpectral(n)
    return [solver.solve(problem.case(viscosity=v), list(times)) for v in viscosities]


def tiny(operator: str = "fno", stepping: Any = None, **options: Any) -> sciml.solvers.Surrogate:
    """An operator that trains in no time."""
    if operator == "fno":
        options = {"width": 4, "modes": (4,), **options}
    return sciml.solvers.Surrogate(operator, stepping, **options)


def fit(data: Any, steps: int = 2, model: Any = None, **more: Any) -> sciml.solvers.Surrogate:
    """A trained surrogate."""
    more = {"validation": None, "running": QUIET} | more
    return (model or tiny()).fit(data, sciml.Recipe(length=sciml.Steps(steps)), **more)


def python(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, check=False
    )


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Work in an empty folder, with relative names as programs have them."""
    monkeypatch.chdir(tmp_path)
    return tmp_path.joinpath


def one_line(error: BaseException) -> bool:
    """Whether a message is one line of a length that people read."""
    return "\n" not in str(error) and 0 < len(str(error)) < 1000
