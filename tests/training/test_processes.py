"""Several processes take the steps that one takes with the same batches; one writes; they may become fewer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shared_task

from sciml import data
from sciml.training import Recipe, Steps
from sciml.training.budget import Budget
from sciml.training.processes import ALONE, Processes

ROOT = Path(__file__).parents[2]
QUIET = {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def together(count: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What so many processes say."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=os.environ | QUIET, text=True, capture_output=True, timeout=300
    )


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    path = tmp_path_factory.mktemp("waves") / "waves.h5"
    data.write(shared_task.waves(), path)
    return path


def test_shares_make_up_a_batch():
    for samples in (1, 2, 3, 7, 8):
        for count in (1, 2, 3, 5):
            each = [Processes(r, count) for r in range(count)]
            weight = np.zeros(samples)
            for one in each:
                weight[one.share(np.arange(samples))] += one.part(samples)
            np.testing.assert_allclose(weight, 1.0)
    assert ALONE.share([1, 2]) == [1, 2] and ALONE.part(1) == 1.0


def test_two_processes_take_the_steps_of_one(tmp_path):
    """In float64, so that rounding alone is left between them: losses, gradients' norms, validation and weights."""
    said = together(2, "tests/training/shared_task.py", str(tmp_path / "two.json"))
    assert said.returncode == 0, said.stderr[-2000:]
    shared_task.main(str(tmp_path / "one.json"))
    two, one = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("two", "one"))
    assert two.keys() == one.keys()
    for name in one:
        for a, b in zip(one[name]["metrics"], two[name]["metrics"], strict=True):
            assert a.keys() == b.keys()
            for key in a:
                assert b[key] == pytest.approx(a[key], rel=1e-6), (name, key)
        np.testing.assert_allclose(two[name]["weights"], one[name]["weights"], rtol=1e-7, err_msg=name)


def test_the_command_line_trains_in_two_and_goes_on_in_one(waves, tmp_path):
    """One writer, one line of outcome; a run goes on in another number of processes as if nothing had been."""
    common = ["train", str(waves), "--operator", "unet", "--set", "operator.width=4", "--set", "batch=4"]
    folders = {n: tmp_path / n for n in ("two", "one")}
    said = together(2, "-m", "sciml", *common, "--steps", "6", "--out", str(folders["two"]))
    assert said.returncode == 0, said.stderr[-2000:]
    assert (said.stdout + said.stderr).count("unet with") == 1
    alone = [sys.executable, "-m", "sciml"]
    for folder, more in (("one", ["--steps", "6"]), ("one", ["--steps", "12", "--resume"]),
                         ("two", ["--steps", "12", "--resume"])):  # fmt: skip
        subprocess.run([*alone, *common, *more, "--out", str(folders[folder])], check=True, cwd=ROOT,
                       env=os.environ | QUIET, capture_output=True)  # fmt: skip
    found = {n: [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()]
             for n, f in folders.items()}  # fmt: skip
    assert [r["step"] for r in found["two"]] == [r["step"] for r in found["one"]]
    for a, b in zip(found["one"], found["two"], strict=True):
        for key in a:
            assert b[key] == pytest.approx(a[key], rel=2e-4), (a["step"], key)


def test_a_batch_that_cannot_be_shared_stops_with_a_line(waves, tmp_path):
    said = together(2, "-m", "sciml", "train", str(waves), "--operator", "fno", "--set", "batch=1", "--steps", "2",
                    "--out", str(tmp_path / "run"))  # fmt: skip
    assert said.returncode != 0
    assert "batch: 1 is less than the 2 processes that share a batch" in said.stderr
    assert not (tmp_path / "run").exists()


def test_recipes_know_nothing_of_processes():
    assert "process" not in Recipe(length=Steps(1)).to_toml()


def test_minutes_are_those_of_all_processes(waves, tmp_path):
    """How many steps fit into a time is corrected on the way: after the same steps in all, or one waits for ever."""
    small = ["--set", "operator.width=4", "--set", "operator.modes=3", "--set", "batch=4", "--minutes", "0.05"]
    said = together(2, "-m", "sciml", "train", str(waves), "--operator", "fno", *small, "--out", str(tmp_path / "run"))
    assert said.returncode == 0, said.stderr[-2000:]
    clocks = {"quick": 1.0, "slow": 1.4}  # of processes, which find steps to take differently long
    budgets = {n: Budget(1000.0, (1.0,) * 10) for n in clocks}
    total, due = budgets["quick"].steps, 0
    for step in range(1, 400):
        asked = {n: b.due(step, total) for n, b in budgets.items()}
        assert len(set(asked.values())) == 1, step
        if asked["quick"]:
            due += 1
            spent = {n: step * c for n, c in clocks.items()}
            own: list[int] = []

            def of_first(mine: int, own: list[int] = own) -> int:
                own.append(mine)
                return own[0]

            totals = {b.corrected(step, total, spent[n], spent[n], of_first) for n, b in budgets.items()}
            assert len(totals) == 1 and own[0] > own[1]  # the slow one would have made fewer
            total = totals.pop()
    assert due >= 3
