"""A study from a file to its page: made once, gone on with, skipped where done; at a size for tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from _waves import steady

import sciml
from sciml.errors import InputError
from sciml.studies._choosing import choose
from sciml.studies._config import Config
from sciml.studies._running import _linked
from sciml.studies._stages import remove_run
from sciml.training import Steps


def stamps(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_a_trajectory_from_file_to_page_and_again(one_wave: Path, tmp_path: Path):
    out, said = tmp_path / "out", []
    found = sciml.study(one_wave, out, operators="fno", length=Steps(12), steps=3, tell=said.append)
    assert {p.name for p in out.iterdir()} >= {"data.h5", "study.toml", "study.json", "runs", "report.html"}
    assert found.data == out / "data.h5" and list(found.runs) == ["fno"]
    rows = {r["row"]: r for r in found.table}
    assert {"FNO", "persistence", "mean field", "interpolation"} <= set(rows)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert found.verdict.split(":")[0] in page and "consecutive pieces of the trajectory" in page
    record = json.loads((out / "study.json").read_text())
    assert record["results"]["verdict"] == found.verdict
    assert any("one trajectory" in text for text in said)

    # the errors on the page are those of `evaluate`
    row = sciml.evaluate([out / "runs/fno"], out / "data.h5", steps=3).row("FNO")
    mine = row["rollout"]["all"]["joint"]["nmse"]["mean"]
    assert rows["FNO"]["error"] == pytest.approx(sum(mine) / len(mine), rel=1e-5)

    # done is done, from the command and from the file that it wrote
    before = stamps(out / "runs") | {out / "report.html": (out / "report.html").stat().st_mtime_ns}
    again = sciml.study(one_wave, out, operators="fno", length=Steps(12), steps=3)
    assert all(s["skipped"] for s in again.stages.values()) and again.verdict == found.verdict
    by_file = sciml.study(config=out / "study.toml")
    assert all(s["skipped"] for s in by_file.stages.values()) and by_file.table == found.table
    assert {p: p.stat().st_mtime_ns for p in before} == before

    # a training that was cut short goes on from its checkpoint, to the same bits
    whole = (out / "runs/fno/weights.safetensors").read_bytes()
    record["stages"]["train fno"]["complete"] = False
    (out / "study.json").write_text(json.dumps(record))
    (out / "runs/fno/config.json").unlink()
    resumed = sciml.study(config=out / "study.toml")
    assert not resumed.stages["train fno"]["skipped"] and resumed.stages["split"]["skipped"]
    assert (out / "runs/fno/weights.safetensors").read_bytes() == whole

    # settings that somebody changed make what depends on them anew, and are not written over
    text = (out / "study.toml").read_text()
    (out / "study.toml").write_text(text + '\n[models.modes]\nsolver = "dynamic_modes"\n')
    more = sciml.study(config=out / "study.toml")
    assert list(more.runs) == ["fno", "modes"]
    assert more.stages["train fno"]["skipped"] and not more.stages["train modes"]["skipped"]
    assert "models.modes" in (out / "study.toml").read_text()
    # a travelling wave is two modes, of which the first frame of a piece alone does not tell the way it goes
    assert next(r for r in more.table if r["row"] == "dynamic modes")["error"] < 1e-2

    # every file of every run is known as one, so that it can be made anew; what somebody else put there is not touched
    (out / "runs/modes/config.json").unlink()
    (out / "runs/fno/notes.txt").write_text("mine")
    for run in ("modes", "fno"):
        with pytest.raises(InputError, match="notes") if run == "fno" else contextlib.nullcontext():
            remove_run(out / "runs" / run)
    assert list((out / "runs/modes").iterdir()) == [] and (out / "runs/fno/weights.safetensors").exists()


def test_regressions_find_what_is_exactly_theirs(plates: Path, tmp_path: Path):
    found = sciml.study(plates, tmp_path / "out", operators="pod_regression")
    assert found.tone in ("good", "mixed")
    assert next(r for r in found.table if r["row"] == "POD regression")["error"] < 1e-8


def test_candidates_are_tried_and_chosen_by_what_the_data_are(tmp_path: Path):
    path = tmp_path / "data.h5"
    split = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    sciml.data.write(sciml.data.pack(steady([0.5 + 0.1 * i for i in range(12)]), split, dtype=None), path)
    models, tried = choose(path, Config(length=Steps(8), steps=1), False, lambda text: None)
    by_name = {t.name: t for t in tried}
    assert "grid" in by_name["fno"].refusal and "steady" in by_name["dynamic_modes"].refusal
    assert by_name["identity"].refusal
    scored = [t for t in tried if t.score is not None]
    assert by_name["pod_regression"].score < 1e-6 and len(scored) == 5  # four step by step, one regression
    kept = sorted((t for t in scored if t.name != "pod_regression"), key=lambda t: t.score)[:2]
    assert set(models) == {*(t.name for t in kept), "pod_regression"}
    assert all(m.to_json().get("recipe", {"length": {"value": 8}})["length"]["value"] == 8 for m in models.values())


def test_one_steady_solution_is_looked_at_and_nothing_more(tmp_path: Path):
    path = tmp_path / "one.h5"
    sciml.data.write(sciml.data.pack(steady([1.0])), path)
    command = [sys.executable, "-m", "sciml.cli", "study", str(path), "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["table"] == [] and content["data"] is None and "one steady solution" in content["verdict"]
    assert "What can be done" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "out/data.h5").exists()


def test_what_cannot_be_studied_is_said_in_one_line(one_wave: Path, tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        sciml.study(tmp_path / "none.h5", tmp_path / "out")
    with pytest.raises(InputError, match="expected a file or folder"):
        sciml.study()
    with pytest.raises(InputError, match="meshgraphnet"):
        sciml.study(one_wave, tmp_path / "out", operators="meshgrafnet")
    with pytest.raises(InputError, match="expected a folder elsewhere"):
        sciml.study(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="cannot be made"):
        sciml.study(one_wave, one_wave / "out")
    (tmp_path / "out2").mkdir()
    (tmp_path / "out2/study.json").write_text("not JSON")
    with pytest.raises(InputError, match="operators"):
        sciml.study(one_wave, tmp_path / "out2", operators="nothing")


def test_linked_files_are_the_same(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    _linked(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
