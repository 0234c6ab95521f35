"""Small real data and a small trained run, made once for all tests of the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sciml
from sciml.cli import main
from sciml.support import Points

GRID, FRAMES = 16, 7


def vortex(case: sciml.Case, times: np.ndarray) -> sciml.data.Dataset:  # type: ignore[name-defined]
    """Made-up but smooth, divergence-free and decaying; what a command does with data needs no more."""
    width, height, speed = case.width, case.height, case.lid_velocity
    x, y = (np.arange(GRID) + 0.5) / GRID * width, (np.arange(GRID) + 0.5) / GRID * height
    yy, xx = np.meshgrid(y / height, x / width, indexing="ij")
    rate = case.viscosity / case.density / width**2 * 20
    decay = speed * np.exp(-rate * times)[:, None, None]
    u = decay * np.sin(np.pi * xx) ** 2 * np.sin(2 * np.pi * yy)
    v = -decay * np.sin(np.pi * yy) ** 2 * np.sin(2 * np.pi * xx) * height / width
    fields = {"u": (("time", "y", "x"), u), "v": (("time", "y", "x"), v)}
    grid = sciml.Grid.uniform(case.geometry, GRID)
    return sciml.data.solution(case, times, fields, grid, solver="made up", settings={"note": "test"})


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty cavity cases in two subsets, split by case."""
    rng = np.random.default_rng(0)
    problem = sciml.problems.LidDrivenCavity()
    solutions = []
    for i in range(20):
        subset = ("bc", "prop")[i % 2]
        values = {"lid_velocity": rng.uniform(0.5, 2)} if subset == "bc" else {"viscosity": rng.uniform(0.005, 0.05)}
        case = problem.case(label=f"{subset} {i}", subset=subset, **values)
        solutions.append(vortex(case, np.arange(FRAMES) * 0.25 * case.scales.time))
    path = tmp_path_factory.mktemp("data") / "vortices.h5"
    splits = sciml.data.splits.by_case([("bc", "prop")[i % 2] for i in range(20)], (0.6, 0.2, 0.2), 0)
    sciml.data.write(sciml.data.pack(solutions, splits=splits), path)
    return path


@pytest.fixture(scope="session")
def node_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight cases of somebody's own data on loose points."""
    rng = np.random.default_rng(1)
    problem = sciml.problems.DataProblem("smoke", ["c"], ["rate"])
    nodes = Points(rng.uniform(0, 1, (40, 2)))
    times = np.linspace(0, 1, 5)
    solutions = []
    for i in range(8):
        case = problem.case(label=f"case {i}", rate=rng.uniform(0.5, 2))
        c = np.exp(-case.rate * times)[:, None] * np.sin(np.pi * nodes.position[:, 0])
        solutions.append(sciml.data.solution(case, times, {"c": (("time", "node"), c)}, nodes, solver="made up"))
    path = tmp_path_factory.mktemp("data") / "nodes.h5"
    splits = sciml.data.splits.by_case(["all"] * 8, (0.5, 0.25, 0.25), 0)
    sciml.data.write(sciml.data.pack(solutions, splits=splits), path)
    return path


@pytest.fixture(scope="session")
def particle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cases of somebody's own particles, which fall."""
    rng = np.random.default_rng(2)
    names = [f"{n}_{a}" for n in ("displacement", "velocity") for a in "xy"]
    problem = sciml.problems.DataProblem("rain", names, velocity=names[2:])
    times, first = np.linspace(0, 1, 6), rng.uniform(1, 2, (30, 2))
    solutions = []
    for i in range(4):
        fall = -0.1 * (i + 1) * times[:, None] ** 2 / 2 * np.ones(30)
        moved = [0.2 * times[:, None] * np.ones(30), fall, np.full((6, 30), 0.2), -0.1 * (i + 1) * times[:, None]]
        fields = {n: (("time", "node"), np.broadcast_to(v, (6, 30)).copy()) for n, v in zip(names, moved, strict=True)}
        places = {"x": first[:, 0] + moved[0], "y": first[:, 1] + moved[1]}
        case = sciml.problem.Case(problem, label=f"case {i}", extents=((0.0, 3.0), (0.0, 3.0)))
        solutions.append(sciml.data.solution(case, times, fields, places, solver="made up"))
    path = tmp_path_factory.mktemp("data") / "rain.h5"
    sciml.data.write(sciml.data.pack(solutions, ["train", "train", "validation", "test"]), path)
    return path


@pytest.fixture(scope="session")
def run_folder(data_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small FNO, trained by the command line itself."""
    out = tmp_path_factory.mktemp("runs") / "fno"
    done = run("train", data_file, "--operator", "fno", "--out", out, "--set", "operator.width=8", "--set",
               "operator.modes=4,4", "--set", "operator.layers=2", "--steps", 30)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def run(*words: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160", "NO_COLOR": "1"}
    environment.update(more.pop("env", {}))  # type: ignore[arg-type]
    return subprocess.run(
        [sys.executable, "-m", "sciml.cli", *map(str, words)], capture_output=True, text=True, timeout=300,
        env=environment, check=False, **more,
    )  # fmt: skip


class Outcome:
    """Exit status and output of a command that ran in this process."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    def refused(self, *parts: str) -> None:
        """Check that it ended with status 2 and one line that says all of `parts`."""
        assert self.code == 2, (self.code, self.out, self.err)
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("sciml"), self.err
        assert "Traceback" not in self.err
        for part in parts:
            assert part in lines[0], (part, lines[0])


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command in this process: quick, for the many ways in which it can be called wrongly."""
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*words: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(w) for w in words])
        out, err = capfd.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, out, err)

    return call
