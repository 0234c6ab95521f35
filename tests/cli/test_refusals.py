"""Bad input: status 2, one line that names argument, expected and got; nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import sciml
from sciml.support import Points

COMMANDS = ("demo", "generate", "import", "export", "info", "train", "evaluate", "report", "bench", "data")


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_options_get_the_nearest_one(cli, command):
    cli(command, "--hepl").refused("no such option --hepl", "did you mean '--help'")


def test_unknown_command(cli):
    cli("trian").refused("no such command 'trian'", "did you mean 'train'")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("generate",), "PROBLEM"),
        (("generate", "cavity"), "--out"),
        (("import",), "SOURCE"),
        (("import", "cfdbench"), "SOURCE"),
        (("import", "cfdbench", "."), "--out"),
        (("export",), "FORMAT"),
        (("export", "cfdbench"), "FILE_OR_RUN"),
        (("export", "cfdbench", "a.h5"), "DIR_OR_FILE"),
        (("info",), "FILE_OR_RUN"),
        (("train",), "FILE"),
        (("train", "a.h5", "--out", "run"), "--operator"),
        (("train", "a.h5", "--operator", "fno"), "--out"),
        (("evaluate",), "RUN..."),
        (("evaluate", "a"), "--data"),
        (("report",), "RUN..."),
    ],
)
def test_missing_arguments_are_named(cli, words, name):
    cli(*words).refused(f"{name} is missing")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("generate", "cavty", "--out", "x.h5"), ("'cavty'", "did you mean 'cavity'")),
        (("generate", "cavity", "--out", "x.h5", "--cases", "many"), ("--cases", "a whole number", "'many'")),
        (("generate", "cavity", "--out", "x.h5", "--cases", "0"), ("--cases", ">= 1", "got 0")),
        (("generate", "cavity", "--out", "x.h5", "--frames", "-3"), ("--frames", ">= 1", "got -3")),
        (("generate", "cavity", "--out", "x.h5", "--resolution", "2"), ("--resolution", ">= 4", "got 2")),
        (("generate", "cavity", "--out", "x.h5", "--resolution", "1.5"), ("--resolution", "a whole number", "'1.5'")),
        (("generate", "cavity", "--out", "x.h5", "--seed", "-1"), ("--seed", ">= 0", "got -1")),
        (("generate", "cavity", "--out", "x.h5", "--subset", "bc,prob"), ("'prob'", "did you mean 'prop'")),
        (("generate", "cavity", "--out", "x.h5", "--subset", "bc,bc"), ("subset", "once", "bc")),
        (("generate", "cavity", "--out", "x.h5", "--profile", "resolve"), ("--profile", "did you mean 'resolved'")),
        (("generate", "cavity", "--out", "x.h5", "--solver", "icofoam"), ("solver", "'icofoam'")),
        (("import", "cfdbensh", ".", "--out", "x.h5"), ("FORMAT", "did you mean 'cfdbench'")),
        (("import", "cfdbench", "nowhere", "--out", "x.h5"), ("SOURCE", "nowhere", "expected a file or a folder")),
        (("import", "cfdbench", ".", "--out", "x.h5", "--seed", "-4"), ("--seed", ">= 0")),
        (("export", "cfdbench", "nothing.h5", "out"), ("FILE", "nothing.h5", "does not exist")),
        (("info", "nothing.h5"), ("nothing.h5", "does not exist")),
        (("evaluate", "norun", "--data", "nothing.h5"), ("--data", "nothing.h5", "does not exist")),
        (("report", "norun"), ("RUN", "norun", "does not exist")),
        (("bench", "sped"), ("NAME", "'sped'")),
    ],
)
def test_wrong_values_name_argument_expected_and_got(cli, tmp_path, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    cli(*words).refused(*parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("operator.widht=8", ("'widht'", "did you mean 'width'")),
        ("width=8", ("'width'", "did you mean 'operator.width'")),
        ("width", ("expected PATH=VALUE", "'width'")),
        ("=3", ("expected PATH=VALUE",)),
        ("optimiser.lr=fast", ("optimiser.lr", "a number", "fast")),
        ("optimiser.lr=nan", ("optimiser.lr", "a number", "nan")),
        ("optimiser.lr=-1", ("optimiser.lr", "> 0", "-1")),
        ("lr=1", ("'lr'", "did you mean 'optimiser.lr'")),
        ("length=Epochs(0)", ("length.value", "> 0")),
        ("batch=0", ("batch", ">= 1")),
        ("operator.modes=4,x", ("modes", "x")),
        ("optimiser=Adamx()", ("'Adamx'", "did you mean 'Adam'")),
        ("schedule=OneCycl", ("did you mean 'OneCycle'",)),
        ("objective=Supervised(RelativeL3())", ("objective.loss", "did you mean 'RelativeL2'")),
        ("optimiser.betas=0.9", ("betas", "2 numbers", "0.9")),
        ("objective.steps=3", ("objective.steps", "Rollout(steps=...)")),
        ("nothing.width=8", ("'nothing'",)),
        ("operator.width=0", ("width", "0")),
        ("fields=u,w", ("w",)),
        ("split=tset", ("tset",)),
        ("augmentations=__import__('os').remove('x')", ("augmentations", "a part")),
    ],
)
def test_settings_are_typed_and_checked(cli, data_file, tmp_path, setting, parts):
    out = tmp_path / "run"
    cli("train", data_file, "--operator", "fno", "--out", out, "--set", setting).refused(*parts)
    assert not out.exists()


def test_two_lengths_and_doubled_settings(cli, data_file, tmp_path):
    words = ("train", data_file, "--operator", "fno", "--out", tmp_path / "run")
    cli(*words, "--steps", 3, "--epochs", 2).refused("--epochs", "--steps", "one of")
    cli(*words, "--steps", 3, "--set", "length=Minutes(2)").refused("--steps", "length", "--set already")
    cli(*words, "--seed", 3, "--set", "seed=4").refused("--seed", "--set already")
    cli(*words, "--seed", -1).refused("--seed", ">= 0", "-1")
    cli(*words, "--minutes", 0).refused("--minutes", "> 0")
    cli(*words, "--set", "operator.width=8", "--set", "operator.width=9").refused("'operator.width'", "twice")
    cli(*words, "--device", "tpu").refused("device", "expected auto", "'tpu'")
    cli(*words, "--recipe", tmp_path / "no.toml").refused("--recipe", "does not exist")
    cli(*words, "--resume", "--overwrite").refused("--resume", "--overwrite")
    cli(*words, "--resume").refused("--resume", "no run to go on with")
    cli("train", data_file, "--operator", "fnoo", "--out", tmp_path / "run").refused("did you mean 'fno'")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bad_files(tmp_path, data_file) -> dict[str, Path]:
    content = data_file.read_bytes()
    made = {
        "empty": b"",
        "text": b"these are not the data you are looking for\n" * 30,
        "truncated": content[: len(content) // 2],
        "header only": content[:512],
        "flipped": bytes([content[0] ^ 0xFF]) + content[1:],
    }
    found = {}
    for name, value in made.items():
        found[name] = tmp_path / f"{name.replace(' ', '_')}.h5"
        found[name].write_bytes(value)
    import h5py

    found["other HDF5"] = tmp_path / "other.h5"
    with h5py.File(found["other HDF5"], "w") as file:
        file["numbers"] = [1.0, 2.0]
    found["folder"] = tmp_path / "folder.h5"
    found["folder"].mkdir()
    return found


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "header only", "flipped", "other HDF5", "folder"])
def test_every_way_a_file_can_be_wrong(cli, bad_files, run_folder, tmp_path, kind):
    path = bad_files[kind]
    before = sorted(p.name for p in tmp_path.iterdir())
    for words in (
        ("info", path),
        ("export", "cfdbench", path, tmp_path / "tree"),
        ("train", path, "--operator", "fno", "--out", tmp_path / "run"),
        ("evaluate", run_folder, "--data", path),
        ("report", run_folder, "--data", path, "--out", tmp_path / "page.html"),
    ):
        if words[0] == "info" and kind == "other HDF5":  # named for what it is, with what reads it
            assert "sciml import --explain" in cli(*words).out
            continue
        cli(*words).refused(path.name)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_every_way_a_run_can_be_wrong(cli, run_folder, data_file, tmp_path):
    def variant(name: str) -> Path:
        copy = tmp_path / name
        shutil.copytree(run_folder, copy)
        return copy

    no_config = variant("no_config")
    (no_config / "config.json").unlink()
    shutil.rmtree(no_config / "checkpoints", ignore_errors=True)
    cut_short = variant("cut_short")
    (cut_short / "config.json").unlink()
    (cut_short / "checkpoints").mkdir(exist_ok=True)
    no_weights = variant("no_weights")
    (no_weights / "weights.safetensors").unlink()
    broken_json = variant("broken_json")
    (broken_json / "config.json").write_text('{"operator": "fno", ')
    a_list = variant("a_list")
    (a_list / "config.json").write_text("[1, 2]")
    no_support = variant("no_support")
    (no_support / "support.safetensors").unlink()
    short_support = variant("short_support")
    (short_support / "support.safetensors").write_bytes(b"\x10" + b"\0" * 7 + b"{}")
    odd_support = variant("odd_support")
    whole = safetensors.numpy.save({"position": np.zeros(3)})  # of no support: positions are (nodes, dimensions)
    (odd_support / "support.safetensors").write_bytes(whole)
    short_weights = variant("short_weights")
    whole = (run_folder / "weights.safetensors").read_bytes()
    (short_weights / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    empty = tmp_path / "empty"
    empty.mkdir()
    unknown = variant("unknown")
    config = json.loads((unknown / "config.json").read_text())
    (unknown / "config.json").write_text(json.dumps(config | {"operator": "os.system"}))
    broken = (no_config, cut_short, no_weights, broken_json, a_list, short_weights, empty, unknown, no_support,
              short_support)  # fmt: skip
    for folder in broken:
        cli("evaluate", folder, "--data", data_file).refused(folder.name if folder != unknown else "os.system")
        cli("report", folder, "--data", data_file, "--out", tmp_path / "p.html").refused("")
    for folder in (no_config, cut_short, broken_json, a_list, short_weights, empty, short_support, odd_support):
        cli("info", folder).refused(folder.name)
    assert not (tmp_path / "p.html").exists()


def test_starting_from_another_run(cli, data_file, run_folder, tmp_path):
    words = ("train", data_file, "--out", tmp_path / "run", "--steps", 2)
    cli(*words, "--fresh").refused("--fresh", "--from RUN")
    cli(*words, "--from", tmp_path / "no").refused("--from", "does not exist")
    cli(*words, "--from", run_folder, "--operator", "unet").refused("--operator", "expected fno", "got unet")
    cli(*words, "--from", run_folder, "--set", "operator.width=9").refused("operator.width", "8", "9", "--fresh")
    cli(*words, "--from", run_folder, "--set", "stepping=Autoregressive(history=2)").refused("stepping", "--fresh")
    cli(*words, "--operator", "fno", "--from", run_folder, "--device", "tpu").refused("device", "'tpu'")
    assert list(tmp_path.iterdir()) == []


def test_data_that_the_operator_does_not_take(cli, node_file, tmp_path):
    """One line that says which operators do; settings that are wrong are not mistaken for that."""
    words = ("train", node_file, "--out", tmp_path / "run", "--steps", 2)
    for name in ("fno", "unet"):
        cli(*words, "--operator", name).refused(f"--operator {name}", "grid", "operators that take these data",
                                                "deeponet")  # fmt: skip
    cli(*words, "--operator", "deeponet", "--set", "operator.width=0").refused("width", "0")
    assert not (tmp_path / "run").exists()


def test_an_operator_that_takes_data_with_other_options(cli, tmp_path):
    """PIORF compares fields, which a steady case without any does not bring; without that it is trained."""
    problem = sciml.problems.DataProblem("still", ["c"], ["rate"], steady=True)
    nodes = np.random.default_rng(0).random((20, 2))
    made = []
    for rate in (0.5, 1.0, 1.5, 2.0):
        values = {"c": (("node",), rate * nodes[:, 0])}
        made.append(sciml.data.solution(problem.case(rate=rate), None, values, Points(nodes)))
    sciml.data.write(sciml.data.pack(made), tmp_path / "still.h5")
    words = ("train", tmp_path / "still.h5", "--operator", "piorf", "--out", tmp_path / "run", "--steps", 2)
    cli(*words).refused(
        "--operator piorf",
        "needs fields at the nodes",
        "for steady data use",
        "operators that take these data",
        "meshgraphnet",
    )
    plain = (*words, "--set", "operator.rewiring=none", "--set", "operator.width=8")
    cli(*plain, "--set", "stepping=Query()").refused("steady, expected Steady()")
    assert cli(*plain).code == 0


def test_devices_are_named(cli, data_file, run_folder, tmp_path):
    cli("evaluate", run_folder, "--data", data_file, "--device", "tpu").refused("--device", "'tpu'")
    cli("report", run_folder, "--data", data_file, "--out", tmp_path / "p.html", "--device", "tpu").refused("--device")


def test_existing_outputs_are_kept_unless_told(cli, data_file, run_folder, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    cli("generate", "cavity", "--out", kept).refused("--out", "exists", "--overwrite")
    cli("import", "cfdbench", tmp_path, "--out", kept).refused("--out", "exists", "--overwrite")
    cli("evaluate", run_folder, "--data", data_file, "--out", kept).refused("--out", "exists", "--overwrite")
    cli("report", run_folder, "--data", data_file, "--out", kept).refused("--out", "exists", "--overwrite")
    cli("train", data_file, "--operator", "fno", "--out", kept).refused("--out", "is a file")
    cli("train", data_file, "--operator", "fno", "--out", run_folder).refused("--out", "not empty")
    assert kept.read_text() == "mine"


def test_overwrite_spares_what_no_run_wrote(cli, data_file, tmp_path):
    out = tmp_path / "home"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    cli("train", data_file, "--operator", "fno", "--out", out, "--overwrite").refused("thesis.tex")
    assert (out / "thesis.tex").read_text() == "years of work"


def test_unwritable_folders(cli, data_file, run_folder, tmp_path):
    """Permissions do not bind root, so the folder is a file, or lies in /proc."""
    blocker = tmp_path / "file"
    blocker.write_text("x")
    for out in (blocker / "sub" / "x.h5", Path("/proc/nothing/x.h5")):
        cli("generate", "cavity", "--out", out, "--cases", 1).refused("/")
        cli("train", data_file, "--operator", "fno", "--out", out, "--steps", 1).refused("/")
        cli("evaluate", run_folder, "--data", data_file, "--out", out).refused("/")
        cli("report", run_folder, "--data", data_file, "--out", out).refused("/")
        cli("import", "cfdbench", tmp_path, "--out", out).refused("/")
    assert blocker.read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


_FULL_DISK = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv[1:] = sys.argv[2:]
runpy.run_module("sciml.cli", run_name="__main__")
"""


def _limited(room, *words):
    return subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(room), *map(str, words)], capture_output=True, text=True, check=False,
        timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_a_generation_goes_on_after_a_full_disk(cli, tmp_path):
    words = ("generate", "cavity", "--cases", 4, "--frames", 3, "--resolution", 16)
    made = cli(*words, "--out", tmp_path / "whole.h5")
    assert made.code == 0, made.err
    out = tmp_path / "cavity.h5"
    done = _limited(40_000, *words, "--out", out)  # cases fit, all of them together do not
    lines = [x for x in done.stderr.splitlines() if x.strip()]
    assert done.returncode == 2 and lines[-1].startswith("sciml:"), done.stderr
    assert not out.exists() and list((tmp_path / "cavity.h5.shards").glob("*.h5"))
    again = cli(*words, "--out", out)
    assert again.code == 0, again.err
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.parametrize("command", ["train", "report", "evaluate"])
def test_a_full_disk(data_file, run_folder, tmp_path, command):
    words = {
        "train": ("train", data_file, "--operator", "fno", "--out", tmp_path / "run", "--steps", 2),
        "report": ("report", run_folder, "--data", data_file, "--out", tmp_path / "page.html", "--steps", 3),
        "evaluate": ("evaluate", run_folder, "--data", data_file, "--out", tmp_path / "r.json", "--steps", 3),
    }[command]
    room = {"train": 50_000, "report": 50_000, "evaluate": 500}[command]
    done = _limited(room, *words)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = [x for x in done.stderr.splitlines() if x.strip() and "WARNING" not in x]
    assert lines[-1].startswith("sciml:")
    assert "Traceback" not in done.stderr
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not [p for p in left if p.name in ("page.html", "r.json", "config.json", "weights.safetensors")], left
    assert not [p for p in left if p.name.endswith((".part", ".tmp"))], left
