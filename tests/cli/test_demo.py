"""The demo's stages, at a size for tests: made once, gone on with after a kill, skipped when done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sciml import Recipe, Steps
from sciml.cli.demo import run_demo
from sciml.errors import InputError
from sciml.studies._plan import Plan

RECIPE: dict[str, Any] = {
    "data": {"cases": 24, "subset": ["bc", "ic"], "frames": 9, "resolution": 16, "profile": "resolved", "seed": 0},
    "models": {
        "fno": Plan("fno", {"width": 8, "modes": (4, 4), "layers": 2}, Recipe(length=Steps(30), batch=16)),
        "unet": Plan("unet", {}, Recipe(length=Steps(5), batch=16)),
    },
    "evaluation": {"split": "test", "steps": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(folder, RECIPE)


def test_makes_everything(made):
    folder, record = made
    assert {p.name for p in folder.iterdir()} >= {
        "cavity.h5",
        "fno",
        "unet",
        "report.html",
        "results.json",
        "demo.json",
    }
    assert list(record["stages"]) == ["data", "train fno", "train unet", "evaluate and report"]
    assert not any(s["skipped"] for s in record["stages"].values())
    results = record["results"]
    kinds = {r["model"]: r["kind"] for r in results["rows"]}
    assert kinds["FNO"] == kinds["U-Net"] == "surrogate"
    assert [m for m, k in kinds.items() if k == "baseline"] == ["persistence", "mean field", "interpolation"]
    assert [m for m, k in kinds.items() if k == "reference"] == [
        "reference 4 × 4",
        "reference 8 × 8",
        "reference 12 × 12",
        "reference 16 × 16",
    ]
    for row in results["rows"]:
        assert set(row["rollout_nmse"]) == {"all", "bc", "ic"}
        assert all(len(v) == 4 and all(x >= 0 for x in v) for v in row["rollout_nmse"].values())
        assert row["seconds_per_step"] > 0
    by_name = {r["model"]: r for r in results["rows"]}
    errors = [by_name[f"reference {n} × {n}"]["rollout_nmse"]["all"][-1] for n in (4, 8, 12, 16)]
    assert errors == sorted(errors, reverse=True)  # finer grids are better
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in ("FNO", "U-Net", "interpolation", "Ghia et al. (1982)", "Audit", "sciml demo"):
        assert words in page


def test_the_numbers_are_those_of_evaluate(made):
    import sciml

    folder, record = made
    found = sciml.evaluate([folder / "fno"], folder / "cavity.h5", steps=4)
    row = found.row("FNO")
    mine = next(r for r in record["results"]["rows"] if r["model"] == "FNO")
    for subset in ("all", "bc", "ic"):
        assert mine["rollout_nmse"][subset] == pytest.approx(row["rollout"][subset]["joint"]["nmse"]["mean"], rel=1e-5)
        assert mine["one_step_nmse"][subset] == pytest.approx(
            row["one_step"][subset]["joint"]["nmse"]["mean"], rel=1e-5
        )


def test_what_is_done_is_skipped(made):
    folder, _ = made
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    again = run_demo(folder, RECIPE)
    assert all(s["skipped"] for s in again["stages"].values())
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before


def test_changed_settings_redo_their_stage_and_what_follows(made, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(made[0], folder)
    models = RECIPE["models"] | {"unet": Plan("unet", {}, Recipe(length=Steps(6), batch=16, seed=1))}
    again = run_demo(folder, RECIPE | {"models": models})
    assert {n: s["skipped"] for n, s in again["stages"].items()} == {
        "data": True, "train fno": True, "train unet": False, "evaluate and report": False,
    }  # fmt: skip
    assert json.loads((folder / "unet" / "config.json").read_text())["training"]["recipe"]["seed"] == 1


def test_a_stage_that_was_cut_short_is_done_again(made, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(made[0], folder)
    record = json.loads((folder / "demo.json").read_text())
    record["train fno"]["complete"] = False
    (folder / "fno" / "config.json").unlink()
    (folder / "demo.json").write_text(json.dumps(record))
    whole = (folder / "fno" / "weights.safetensors").read_bytes()
    again = run_demo(folder, RECIPE)
    assert not again["stages"]["train fno"]["skipped"]
    assert (folder / "fno" / "weights.safetensors").read_bytes() == whole  # resumed from its checkpoint, bit for bit


def test_strange_files_in_the_way(tmp_path):
    (tmp_path / "fno").mkdir()
    (tmp_path / "fno" / "thesis.tex").write_text("years of work")
    (tmp_path / "demo.json").write_text("not JSON")
    recipe = RECIPE | {"data": RECIPE["data"] | {"subset": ["bv"]}}
    with pytest.raises(InputError, match="bv"):
        run_demo(tmp_path, recipe)
    assert (tmp_path / "fno" / "thesis.tex").exists()


def test_ledger_is_filled_from_the_results(made, tmp_path, monkeypatch):
    from benchmarks import _ledger as ledger
    from benchmarks import demo as program

    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    folder, record = made
    run = {"results": record["results"], "stages": json.loads((folder / "demo.json").read_text()), "minutes": 1.0}
    program.write(ledger.Ledger("demo"), [run, run | {"minutes": 2.0}, run | {"minutes": 7.0}])
    content = json.loads((tmp_path / "demo.json").read_text())
    checks = {c["id"]: c for c in content["checks"]}
    assert len(checks) == 4
    rows = {r["model"]: r for r in record["results"]["rows"]}
    gains = [rows["persistence"]["one_step_nmse"]["all"] / rows[m]["one_step_nmse"]["all"] for m in ("FNO", "U-Net")]
    assert checks["best_one_step_gain_over_persistence"]["value"] == pytest.approx(max(gains))
    assert checks["worst_one_step_gain_over_persistence"]["value"] == pytest.approx(min(gains))
    minutes = checks["minutes_after_install"]
    assert minutes["status"] == "holds" and minutes["value"] == 2.0 and minutes["spread"]["high"] == 7.0
    assert "ic" in checks["ic_rollout_steps_where_best_beats_every_unlearned_row"]["note"]
    assert 0 <= checks["ic_rollout_steps_where_best_beats_every_unlearned_row"]["value"] <= 4


def test_a_run_that_fails_ends_the_others_and_says_why(made, tmp_path):
    from sciml.errors import TrainingError
    from sciml.studies._side_by_side import Run, train

    data = made[0] / "cavity.h5"
    long = Plan("fno", {"width": 8, "modes": (4, 4), "layers": 2}, Recipe(length=Steps(100000)))
    good, bad = Run(long, data, tmp_path / "a"), Run(Plan("unet", {"width": -3}), data, tmp_path / "b")
    with pytest.raises(TrainingError, match=r"unet: .*width.*-3"):
        train({"fno": good, "unet": bad})
    assert not (tmp_path / "a" / "config.json").exists()
    assert train({}) == {}
