"""The benchmark ledger: rows that were measured and checks against the goals in `goals.toml`.

A ledger may be made in parts, each by its own command; writing a part replaces the rows and checks of that part alone.
Each part names the commit that it was measured at, and every goal of the section is listed, measured or not.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
WORK = HERE / "work"
STATUSES = ("holds", "missed", "not_run", "not_applicable")
_COMPARISONS = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}
_PACKAGES = ("numpy", "scipy", "torch", "jax", "h5py", "xarray", "matplotlib")


def goals(section: str) -> dict[str, tuple[str, float, str]]:
    """The goals of one section: id -> (comparison, bound, weight)."""
    table = tomllib.loads((HERE / "goals.toml").read_text())
    result = {}
    for name, entry in table.get(section, {}).items():
        match = re.fullmatch(r"(>=|<=)\s*(\S+)", entry["goal"])
        if match is None:
            raise ValueError(f"goals.toml: goal of {name} is {entry['goal']!r}, expected '>= number' or '<= number'")
        result[name] = (match[1], float(match[2]), entry["weight"])
    return result


def machine(threads: int | None = None) -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        model = names[0].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "threads": threads or cores, "python": platform.python_version()}


def versions(*extra: str) -> dict[str, str]:
    found = {}
    for name in (*_PACKAGES, *extra):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that is checked out, with "+changes" where what decides the figures differs from it."""
    decides = ("sciml", "benchmarks", "pyproject.toml", "constraints.txt", ":(exclude)benchmarks/results")
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", *decides)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + "+changes" * bool(changed)


def source() -> str:
    """A digest of the package's source."""
    digest = hashlib.sha256()
    for path in sorted((HERE.parent / "sciml").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def withdraw(name: str, ids: Sequence[str], reason: str) -> None:
    """Take figures back that do not mean what they say: their checks become "not_run", their part keeps its record."""
    path = RESULTS / f"{name}.json"
    record = json.loads(path.read_text())
    for id in ids:
        check = next(c for c in record["checks"] if c["id"] == id)
        check.update(value=None, status="not_run", reason=f"withdrawn: {reason}")
        check.pop("spread", None)
        check.pop("note", None)
    _replace(path, record)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE.parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def quantiles(values: Sequence[float], of: str, low: float = 0.1, high: float = 0.9) -> dict[str, Any]:
    """A spread for `Ledger.check`: two quantiles, linear between the sorted values. `of` says of what."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        left = math.floor(place)
        right = min(left + 1, len(ordered) - 1)
        return ordered[left] + (place - left) * (ordered[right] - ordered[left])

    return {"low": at(low), "high": at(high), "of": f"{100 * low:g} % and {100 * high:g} % quantiles of {of}"}


def extremes(values: Sequence[float], of: str) -> dict[str, Any]:
    """A spread for `Ledger.check`: the least and the most."""
    return {"low": min(values), "high": max(values), "of": f"least and most of {of}"}


class Kept:
    """Results of finished pieces of a long measurement, so that an interrupted one goes on where it stopped.

    A piece is found again only when its settings, the source of the package and of the program, the versions of the
    packages and the machine are the same.

    Args:
        name: folder in benchmarks/work.
        packages: further packages whose versions matter.
        dry: keep nothing, find nothing.
        files: further files of benchmarks whose source matters; by themselves those whose names contain `name` do.
    """

    def __init__(self, name: str, packages: tuple[str, ...] = (), dry: bool = False, files: tuple[str, ...] = ()):
        self.folder, self.dry = WORK / name, dry
        digest = hashlib.sha256(json.dumps([versions(*packages), machine()], sort_keys=True).encode())
        own = [*HERE.glob(f"*{name}*.py"), *(HERE / file for file in ("_ledger.py", *files))]
        for path in sorted([*(HERE.parent / "sciml").rglob("*.py"), *own]):
            digest.update(path.read_bytes())
        self.code = digest.hexdigest()[:16]

    def __call__(self, make: Callable[[], Any], **settings: Any) -> Any:
        """What `make` gives (JSON-able), or what it gave with these settings before."""
        if self.dry:
            return make()
        key = json.dumps([self.code, settings], sort_keys=True)
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"
        if path.exists():
            try:
                return json.loads(path.read_text())["result"]
            except (ValueError, KeyError):
                path.unlink()
        load = [os.getloadavg()[0]]
        result = make()
        load.append(os.getloadavg()[0])  # when it began, when it ended
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(path, {"settings": settings, "commit": commit(), "load_averages": load, "result": result})
        return result


def _replace(path: Path, content: Any) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)


class Ledger:
    """One ledger file, or one part of it.

    Args:
        name: the section of `goals.toml` and the file name.
        part: which command this is, when several fill one ledger.
        threads: threads in use, for the record.
        packages: further packages whose versions belong in the record.
        programs: versions of what is no Python package.
    """

    def __init__(
        self,
        name: str,
        part: str | None = None,
        threads: int | None = None,
        packages: tuple[str, ...] = (),
        programs: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.part = part or name
        self._goals = goals(name)
        self._rows: list[dict[str, Any]] = []
        self._checks: list[dict[str, Any]] = []
        self._seeds: list[int] = []
        self._machine = machine(threads)
        self._versions = versions(*packages) | dict(programs or {})
        self._commit, self._source = commit(), source()  # when the measurement begins
        self._load = round(os.getloadavg()[0], 2)

    def row(self, **columns: Any) -> None:
        """Add a table row; units belong in the keys (`time_seconds`)."""
        self._rows.append({"part": self.part, **columns})

    def seeds(self, *seeds: int) -> None:
        self._seeds = sorted({*self._seeds, *seeds})

    def check(
        self,
        id: str,
        value: float | None,
        reason: str | None = None,
        status: str | None = None,
        spread: dict[str, Any] | None = None,
        note: str | None = None,
    ) -> None:
        """Hold a figure against its goal.

        Args:
            id: a goal of the section.
            value: the figure; None where there is none.
            reason: why it was missed or not taken; left out of the record where the goal holds.
            status: one of `STATUSES`, where value and goal do not decide it.
            spread: how far the figure goes, see `quantiles` and `extremes`.
            note: what should stand beside the figure in any case: which row it is of, a peer's figure.
        """
        if id not in self._goals:
            raise KeyError(f"{id} is not a goal of [{self.name}] in goals.toml")
        if value is not None and not math.isfinite(value):
            value, reason = None, reason or f"the measurement gave {value}"
        judged = _judged(self._goals[id], value, status, reason)
        beside = {"spread": spread, "note": note}
        extra = {k: v for k, v in beside.items() if v is not None and value is not None}
        self._checks = [c for c in self._checks if c["id"] != id]
        self._checks.append({"part": self.part, "id": id, "value": value, **judged, **extra})

    def write(self, dry: bool = False) -> Path:
        """Merge this part into the file, atomically, and print the checks; `dry` only prints them.

        Every goal of the section is listed, in the order of goals.toml; what no part has measured yet is "not_run".
        """
        path = RESULTS / f"{self.name}.json"
        for c in self._checks:
            print(f"{c['status']:>14}  {c['id']} = {_short(c)} (goal {c['goal']})", c["reason"] or "")
        if dry:
            for row in self._rows:
                print(json.dumps(row))
            return path
        if source() != self._source:
            self._commit += ", changed while it ran"
        RESULTS.mkdir(exist_ok=True)
        old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        parts = old.get("parts", {})
        parts[self.part] = {
            "command": " ".join([f"python -m {_module()}", *map(_told, sys.argv[1:])]),
            "commit": self._commit,
            "date": datetime.date.today().isoformat(),
            "machine": self._machine,
            "load_average_at_start": self._load,
            "versions": self._versions,
            "seeds": self._seeds,
        }
        kept = [[r for r in old.get(key, []) if r.get("part") not in (self.part, None)] for key in ("rows", "checks")]
        record = {
            "name": self.name,
            "command": "make bench-" + self.name.replace("_", "-"),
            "commit": self._commit,
            "machine": self._machine,
            "versions": {**old.get("versions", {}), **self._versions},
            "seeds": sorted({s for p in parts.values() for s in p["seeds"]}),
            "parts": parts,
            "rows": kept[0] + self._rows,
            "checks": self._every_goal(kept[1] + self._checks),
        }
        _replace(path, record)
        return path

    def _every_goal(self, measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One check a goal: the measured ones, held against the goal as it is now, and "not_run" for the others."""
        found = {c["id"]: c for c in measured}
        checks = []
        for id, goal in self._goals.items():
            check = found.get(id)
            if check is None:
                why = "no program has measured this yet"
                check = {"part": None, "id": id, "value": None, **_judged(goal, None, None, why)}
            else:  # goals.toml may have been renewed since
                same = check["value"] is None or check["goal"] == _text(goal)
                status = check["status"] if same else None
                check = {**check, **_judged(goal, check["value"], status, check["reason"])}
            checks.append(check)
        return checks


def _judged(goal: tuple[str, float, str], value: float | None, status: str | None, reason: str | None) -> dict:
    """Goal, weight, status and reason of a check."""
    comparison, bound, weight = goal
    if status is None:
        holds = value is not None and _COMPARISONS[comparison](value, bound)
        status = "not_run" if value is None else "holds" if holds else "missed"
    if status not in STATUSES:
        raise ValueError(f"status: expected one of {STATUSES}, got {status!r}")
    if status == "holds":
        reason = None
    elif not reason:
        reason = "see the rows of the ledger" if status == "missed" else "no reason given"
    return {"goal": _text(goal), "weight": weight, "status": status, "reason": reason}


def _text(goal: tuple[str, float, str]) -> str:
    return f"{goal[0]} {goal[1]:g}"


def _short(check: dict[str, Any]) -> str:
    value = "-" if check["value"] is None else f"{check['value']:.4g}"
    spread = check.get("spread")
    return value if spread is None else f"{value} [{spread['low']:.4g} ... {spread['high']:.4g}]"


def _told(argument: str) -> str:
    """An argument, but of a place on this machine its last name alone."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _module() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0]).stem


if __name__ == "__main__":  # python -m benchmarks._ledger NAME REASON ID...
    withdraw(sys.argv[1], sys.argv[3:], sys.argv[2])
