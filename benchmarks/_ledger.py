"""The benchmark ledger: rows that were measured and checks against the goals in `goals.toml`.

A ledger may be made in parts, each by its own command; writing a part replaces the rows and checks of that part alone.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
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


class Ledger:
    """One ledger file, or one part of it.

    Args:
        name: the section of `goals.toml` and the file name.
        part: which command this is, when several fill one ledger.
        threads: threads in use, for the record.
        packages: further packages whose versions belong in the record.
    """

    def __init__(self, name: str, part: str | None = None, threads: int | None = None, packages: tuple[str, ...] = ()):
        self.name = name
        self.part = part or name
        self._goals = goals(name)
        self._rows: list[dict[str, Any]] = []
        self._checks: list[dict[str, Any]] = []
        self._seeds: list[int] = []
        self._machine = machine(threads)
        self._versions = versions(*packages)

    def row(self, **columns: Any) -> None:
        """Add a table row; units belong in the keys (`time_seconds`)."""
        self._rows.append({"part": self.part, **columns})

    def seeds(self, *seeds: int) -> None:
        self._seeds = sorted({*self._seeds, *seeds})

    def check(self, id: str, value: float | None, reason: str | None = None, status: str | None = None) -> None:
        """Hold a figure against its goal. A miss, and a figure that was not taken, need a reason."""
        if id not in self._goals:
            raise KeyError(f"{id} is not a goal of [{self.name}] in goals.toml")
        comparison, bound, weight = self._goals[id]
        if status is None:
            if value is None or not math.isfinite(value):
                status = "not_run"
            else:
                status = "holds" if _COMPARISONS[comparison](value, bound) else "missed"
        if status != "holds" and not reason:
            reason = "no reason given"
        entry = {"id": id, "goal": f"{comparison} {bound:g}", "weight": weight, "value": value, "status": status}
        self._checks.append({"part": self.part, **entry, "reason": reason if status != "holds" else None})

    def write(self) -> Path:
        """Merge this part into the file, atomically, and print the checks."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        parts = old.get("parts", {})
        parts[self.part] = {
            "command": " ".join([f"python -m {_module()}", *sys.argv[1:]]),
            "date": datetime.date.today().isoformat(),
            "machine": self._machine,
            "versions": self._versions,
            "seeds": self._seeds,
        }
        kept = [[r for r in old.get(key, []) if r.get("part") != self.part] for key in ("rows", "checks")]
        record = {
            "name": self.name,
            "command": f"make bench-{self.name}",
            "machine": self._machine,
            "versions": {**old.get("versions", {}), **self._versions},
            "seeds": sorted({s for p in parts.values() for s in p["seeds"]}),
            "parts": parts,
            "rows": kept[0] + self._rows,
            "checks": kept[1] + self._checks,
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        os.replace(temporary, path)
        for c in self._checks:
            value = "-" if c["value"] is None else f"{c['value']:.4g}"
            print(f"{c['status']:>8}  {c['id']} = {value} (goal {c['goal']})", c["reason"] or "")
        return path


def _module() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0]).stem
