"""The benchmark ledger and the tables made of it."""

import json
import math
import pkgutil
import re

import pytest

from benchmarks import _ledger as ledger
from benchmarks import readme


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(ledger, "WORK", tmp_path / "work")
    return tmp_path / "results" / "speed.json"


def test_every_goal_of_the_section_is_listed(place):
    part = ledger.Ledger("speed", part="import")
    part.check("import_seconds", 10.0, "a slow machine", spread=ledger.extremes([9.0, 11.0], "2 runs"), note="bare")
    part.write()
    checks = json.loads(place.read_text())["checks"]
    assert [c["id"] for c in checks] == list(ledger.goals("speed"))
    for check in checks:
        assert check["status"] in ledger.STATUSES
        assert check["reason"] or check["status"] == "holds"
    by_id = {c["id"]: c for c in checks}
    assert by_id["import_seconds"]["status"] == "missed"
    assert by_id["fno_parity_float32"]["status"] == "not_run"
    assert by_id["fno_parity_float32"]["reason"] == "no program has measured this yet"
    text = readme.table(json.loads(place.read_text()))
    assert "| import seconds | 10 (9 … 11) | ≤ 0.5 | aim | **missed**" in text
    assert "bare; a slow machine" in text and "least and most of 2 runs" in text


def test_a_part_replaces_its_own_checks_alone(place):
    first = ledger.Ledger("speed", part="import")
    first.check("import_seconds", 0.1)
    first.write()
    second = ledger.Ledger("speed", part="fno")
    second.check("fno_parity_float32", math.nan)
    second.row(section="parity", time_seconds=1.0)
    path = second.write()
    record = json.loads(path.read_text())
    by_id = {c["id"]: c for c in record["checks"]}
    assert by_id["import_seconds"]["status"] == "holds"
    assert by_id["fno_parity_float32"]["status"] == "not_run"
    assert "nan" in by_id["fno_parity_float32"]["reason"]
    assert set(record["parts"]) == {"import", "fno"}
    assert all(part["commit"] for part in record["parts"].values())


def test_a_renewed_goal_is_held_against_what_was_measured(place, monkeypatch):
    part = ledger.Ledger("speed", part="import")
    part.check("import_seconds", 0.3)
    part.write()
    stricter = {**ledger.goals("speed"), "import_seconds": ("<=", 0.2, "must")}
    monkeypatch.setattr(ledger, "goals", lambda section: stricter)
    ledger.Ledger("speed", part="fno").write()
    check = next(c for c in json.loads(place.read_text())["checks"] if c["id"] == "import_seconds")
    assert (check["status"], check["weight"], check["goal"]) == ("missed", "must", "<= 0.2")


def test_finished_pieces_are_found_again(place):
    made = []

    def make():
        made.append(1)
        return {"seconds": 1.5}

    kept = ledger.Kept("darcy")
    assert kept(make, row="FNO", seed=0) == kept(make, row="FNO", seed=0) == {"seconds": 1.5}
    assert len(made) == 1
    kept(make, row="FNO", seed=1)
    ledger.Kept("darcy", dry=True)(make, row="FNO", seed=0)
    assert len(made) == 3


def test_quantiles_lie_between_the_values():
    spread = ledger.quantiles([3.0, 1.0, 2.0], "3 values")
    assert (spread["low"], spread["high"]) == pytest.approx((1.2, 2.8))


def test_a_figure_is_taken_back(place):
    part = ledger.Ledger("speed", part="import")
    part.check("import_seconds", 0.3, spread=ledger.extremes([0.2, 0.4], "2 runs"), note="bare")
    part.write()
    ledger.withdraw("speed", ["import_seconds"], "the clock was wrong")
    check = next(c for c in json.loads(place.read_text())["checks"] if c["id"] == "import_seconds")
    assert check["status"] == "not_run" and check["value"] is None and "the clock was wrong" in check["reason"]
    assert "spread" not in check and "note" not in check


def test_a_source_that_changes_meanwhile_is_told(place, monkeypatch):
    part = ledger.Ledger("speed", part="import")
    part.check("import_seconds", 0.3)
    monkeypatch.setattr(ledger, "source", lambda: "another")
    part.write()
    assert "changed while it ran" in json.loads(place.read_text())["parts"]["import"]["commit"]


def test_the_tables_of_the_readme_are_those_of_the_ledgers():
    text = (readme.ROOT / "README.md").read_text()
    assert text.split(readme.START)[1].split(readme.END)[0].strip() == readme.body().strip()


def test_commands_name_no_place_of_a_machine(place, monkeypatch):
    monkeypatch.setattr(ledger.sys, "argv", ["x", "--irregular", "/home/someone/irregular", "--part", "table", "a/b"])
    part = ledger.Ledger("speed", part="import")
    part.check("import_seconds", 0.3)
    part.write()
    command = json.loads(place.read_text())["parts"]["import"]["command"]
    assert command.endswith("--irregular irregular --part table a/b") and "/home" not in command


def test_the_systems_of_the_readme_are_there():
    """Each is called as the table says, and what was measured of it is in a ledger or not measured yet."""
    (mark,) = re.findall(r"<!-- systems ([^>]*?) -->", (readme.ROOT / "README.md").read_text())
    names = [one.split("|")[1].strip() for one in mark.partition(": ")[2].split(";")]
    assert len(names) > 20
    for name in names:
        assert pkgutil.resolve_name(f"sciml.{name}") is not None, name
