"""The commands do what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import GRID, run

COMMANDS = ("demo", "generate", "import", "export", "info", "train", "evaluate", "report", "bench", "data")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(cli, command):
    outcome = cli(command, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    assert "Usage: sciml" in outcome.out and len(outcome.out) > 200


def test_bare_and_version(cli):
    assert "generate" in cli().out
    assert cli("--version").out.startswith("sciml ")


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['sciml', '--help']\n"
        "from sciml.cli import main\n"
        "try:\n main()\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'jax', 'xarray', 'h5py', 'matplotlib', 'jinja2') if m in sys.modules], "
        "file=sys.stderr)"
    )
    times = []
    for _ in range(3):
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.monotonic() - began)
    assert done.stderr.strip() == "[]"
    assert min(times) < 1.5  # about 0.4 s on an idle machine


def test_info_of_data(cli, data_file):
    shown = cli("info", data_file)
    assert shown.code == 0
    for part in ("lid_driven_cavity", "20", f"{GRID} x", "m s⁻¹", "viscosity", "bc", "prop", "train"):
        assert part in shown.out
    facts = json.loads(cli("info", data_file, "--json").out)
    assert facts["kind"] == "data set"
    assert facts["cases"] == 20
    assert facts["frames"] == 140
    assert facts["frames_per_case"] == {"least": 7, "most": 7}
    assert sum(sum(s.values()) for s in facts["splits"].values()) == 20
    assert set(facts["splits"]) == {"bc", "prop"}
    by_name = {p["name"]: p for p in facts["parameters"]}
    assert by_name["viscosity"]["unit"] == "Pa s"
    assert by_name["density"]["different"] == 1


def test_info_of_a_run(cli, run_folder):
    shown = cli("info", run_folder)
    assert shown.code == 0
    for part in (
        "fno",
        "lid_driven_cavity",
        "u, v",
        "vortices.h5",
        "30 steps",
        "last validation",
        "Autoregressive(history=1,",
        "0.25 time scales of the case",
        f"grid of {GRID} × {GRID} cells",
        "Steps(value=30)",
        "AdamW(",
        "lr=0.004",
        "recipe.optimiser.lr",
    ):
        assert part in shown.out
    facts = json.loads(cli("info", run_folder, "--json").out)
    assert facts["complete"] is True
    assert facts["support"] == {"kind": "grid", "cells": {"x": GRID, "y": GRID}, "masked": False}
    import torch

    import sciml

    count = sum(p.numel() for p in sciml.load(run_folder).operator.parameters())
    assert facts["weights"]["parameters"] == count
    assert torch.get_num_threads() >= 1


def test_settings_listing(cli):
    listed = json.loads(cli("train", "-", "--operator", "unet", "--out", "-", "--settings", "--json").out)
    paths = {entry["path"] for entry in listed}
    assert {"optimiser.lr", "length", "stepping", "batch", "operator.width"} <= paths
    assert "operator.in_channels" not in paths and "running.callbacks" not in paths


def test_training_prints_json(cli, data_file, tmp_path):
    outcome = cli("train", data_file, "--operator", "fno", "--out", tmp_path / "r", "--set", "operator.width=8",
                  "--set", "operator.modes=4,4", "--set", "operator.layers=1", "--steps", 4, "--seed", 3,
                  "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert content["seed"] == 3
    assert content["weights"] > 0
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["options"]["modes"] == [4, 4]
    assert config["training"]["recipe"]["seed"] == 3
    again = cli("train", data_file, "--operator", "fno", "--out", tmp_path / "r", "--set", "operator.width=8",
                "--set", "operator.modes=4,4", "--set", "operator.layers=1", "--steps", 4, "--overwrite",
                "--json")  # fmt: skip
    assert json.loads(again.out)["seed"] == 0


def test_a_run_is_gone_on_with_in_two_words(cli, data_file, tmp_path):
    out = tmp_path / "r"
    words = ("train", data_file, "--out", out)
    settings = ("operator.width=8", "operator.modes=2,2", "operator.layers=1", "optimiser.lr=1e-3", "batch=3")
    done = cli(*words, "--operator", "fno", "--steps", 2, "--seed", 5, *(w for s in settings for w in ("--set", s)))
    assert done.code == 0, done.err
    again = json.loads(cli(*words, "--resume", "--steps", 4, "--json").out)
    assert again["operator"] == "fno" and again["seed"] == 5 and again["last"]["step"] == 4
    from sciml.solvers import Surrogate

    recipe = Surrogate.load(out).training["recipe"]
    assert recipe["batch"] == 3 and recipe["optimiser"]["lr"] == 1e-3
    cli(*words, "--resume", "--set", "batch=4").refused("batch")
    (out / "command.json").write_text('{"plan": {"operator": "fno"}}')
    cli(*words, "--resume").refused("--resume", "command.json")


def test_what_came_to_nothing_leaves_no_folder(cli, data_file, tmp_path):
    cli("train", data_file, "--operator", "fno", "--out", tmp_path / "r", "--set", "fields=w").refused("w")
    assert not (tmp_path / "r").exists()


def test_training_goes_on_from_another_run(cli, data_file, run_folder, tmp_path):
    """The weights of the run are where it starts; --fresh keeps its set-up alone."""
    import sciml

    words = ("train", data_file, "--from", run_folder, "--steps", 1, "--set", "optimiser.lr=1e-9", "--json")
    before = sciml.load(run_folder)
    for out, fresh in ((tmp_path / "on", ()), (tmp_path / "new", ("--fresh",))):
        outcome = cli(*words, "--out", out, *fresh)
        assert outcome.code == 0, outcome.err
        made = sciml.load(out)
        assert made.options == before.options and made.training["continued"] == (not fresh)
        gaps = [float((a - b).detach().abs().max()) for a, b in
                zip(made.operator.parameters(), before.operator.parameters(), strict=True)]  # fmt: skip
        assert (max(gaps) < 1e-6) == (not fresh)


def test_home_folders(cli, data_file, run_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(data_file.parent)
    (tmp_path / "data.h5").symlink_to(data_file)
    assert cli("info", "~/data.h5").code == 0
    trained = cli("train", "~/data.h5", "--operator", "fno", "--set", "operator.width=4", "--set", "operator.modes=2,2",
                  "--steps", 1, "--out", "~/runs/a")  # fmt: skip
    assert trained.code == 0, trained.err
    assert (tmp_path / "runs" / "a" / "support.safetensors").is_file()
    again = cli("train", "~/data.h5", "--from", "~/runs/a", "--steps", 1, "--out", "~/runs/a", "--overwrite")
    assert again.code == 0, again.err  # read before it is replaced
    cli("info", "~nobody_of_this_name/x").refused("~nobody_of_this_name")
    assert not any(p.name.startswith("~") for p in data_file.parent.iterdir())


def test_import_and_export_give_the_same_bytes(cli, tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    for index in range(3):
        folder = tmp_path / "in" / "cavity" / "bc" / f"case{index:04d}"
        folder.mkdir(parents=True)
        for name in ("u", "v"):
            np.save(folder / f"{name}.npy", rng.normal(size=(4, 8, 8)).astype(np.float32))
        case = {"vel_top": 1.0 + index, "density": 1.0, "viscosity": 0.01, "height": 1.0, "width": 1.0}
        (folder / "case.json").write_text(json.dumps(case))
    out = tmp_path / "in.h5"
    outcome = cli("import", "cfdbench", tmp_path / "in", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["cases"] == 3
    assert cli("export", "cfdbench", out, tmp_path / "out").code == 0
    for path in (tmp_path / "in").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "in")).read_bytes()


def test_export_of_a_run(cli, run_folder, tmp_path):
    """The file loads without this package, and says what it takes."""
    import torch

    path = tmp_path / "model.pt2"
    outcome = cli("export", "pt2", run_folder, path)
    assert outcome.code == 0 and "x: batch 1 or more, channel" in outcome.err, outcome.err
    extra = {"sciml.json": ""}
    torch.export.load(path, extra_files=extra)
    again = cli("export", "pt2", run_folder, path, "--overwrite", "--json")
    assert json.loads(again.out) == json.loads(extra["sciml.json"]) | {"path": str(path)}
    cli("export", "pt2", run_folder, path).refused("exists", "--overwrite")
    cli("export", "onnx", run_folder, tmp_path / "model.pt2x").refused("DIR_OR_FILE", ".onnx")
    cli("export", "onnx", tmp_path, tmp_path / "model.onnx").refused("FILE_OR_RUN", "config.json")
    cli("export", "pt2", run_folder, tmp_path / "other.pt2", "--subset", "bc").refused("--subset")


def test_export_of_some_subsets(cli, tmp_path):
    """A generated file whose subset `ic` has no place in the layout goes out without it."""
    path = tmp_path / "all.h5"
    made = cli(
        "generate", "cavity", "--out", path, "--cases", 8, "--resolution", 16, "--frames", 3, "--subset", "bc,ic"
    )
    assert made.code == 0, made.err
    cli("export", "cfdbench", path, tmp_path / "all").refused("input", "--subset")
    cli("export", "cfdbench", path, tmp_path / "all", "--subset", "bcc").refused("bcc", "did you mean 'bc'")
    cli("export", "cfdbench", path, tmp_path / "all", "--subset", "bc,bc").refused("--subset", "once")
    assert not (tmp_path / "all").exists()
    outcome = cli("export", "cfdbench", path, tmp_path / "some", "--subset", "bc", "--json")
    assert outcome.code == 0, outcome.err
    folders = sorted(p.name for p in (tmp_path / "some" / "cavity").iterdir())
    assert folders == ["bc"]
    assert json.loads(outcome.out)["cases"] == len(list((tmp_path / "some" / "cavity" / "bc").iterdir())) > 0


def test_bench_lists_goals_and_results(cli):
    listed = cli("bench", "--list")
    assert listed.code == 0
    assert "demo" in listed.out
    assert "demo" in json.loads(cli("bench", "--list", "--json").out)


@pytest.mark.parametrize("wait", ["train"])
def test_ctrl_c_ends_with_130_and_one_line(data_file, tmp_path, wait):
    out = tmp_path / "run"
    # A shell that starts its jobs in the background lets them ignore the signal, and that is inherited.
    code = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", code + "runpy.run_module('sciml.cli', run_name='__main__')", wait, str(data_file),
         "--operator", "fno", "--out", str(out), "--steps", "1000000", "--set", "operator.width=8", "--set",
         "operator.modes=4,4"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (out / "metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    lines = [line for line in err.splitlines() if line.strip()]
    assert lines[-1] == "sciml: interrupted"
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.part"))


def interrupted(words, ready, seconds):
    """(exit status, lines on standard error) of a command that gets SIGINT so many seconds after `ready()`."""
    code = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    process = subprocess.Popen(
        [sys.executable, "-c", code + "runpy.run_module('sciml.cli', run_name='__main__')", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not ready() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, [line for line in err.splitlines() if line.strip()]


@pytest.mark.parametrize("seconds", [0.0, 1.0, 3.0])
def test_ctrl_c_in_generate_keeps_what_is_done(tmp_path, seconds):
    out = tmp_path / "a.h5"
    words = ["generate", "cavity", "--out", out, "--cases", 150, "--resolution", 48]
    status, lines = interrupted(words, lambda: (tmp_path / "a.h5.shards").exists(), seconds)
    assert status == 130 and lines[-1] == "sciml: interrupted"
    assert not any("Traceback" in line for line in lines)
    assert not out.exists() and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_ctrl_c_in_report_leaves_no_page(run_folder, data_file, tmp_path, seconds):
    words = ["report", run_folder, "--data", data_file, "--out", tmp_path / "page.html"]
    for _ in range(3):
        status, lines = interrupted(words, lambda: True, seconds)
        if status > 0:
            break
        # Python drops an interrupt that comes while it runs a finaliser or a callback of C code, and one within a
        # compiler may end the process outright, which leaves no page either: then ask again
        assert status == 0 or list(tmp_path.iterdir()) == []
        (tmp_path / "page.html").unlink(missing_ok=True)
    assert status == 130 and lines[-1] == "sciml: interrupted"
    assert not any("Traceback" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_no_error(data_file):
    command = f"{sys.executable} -m sciml.cli info {data_file} --json | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_python_dash_m():
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("sciml")
