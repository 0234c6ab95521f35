"""Layouts whose readers write the data set themselves: CFDBench, DeepCFD, COMSOL's text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sciml.data.importers._layout import Recognised, Whole
from sciml.data.importers._mapping import Along, Plan
from sciml.data.importers._source import Source
from sciml.errors import InputError

_CASE = re.compile(r"(?:.*/)?case\d+/(?:u\.npy|case\.json)\Z")


class CFDBench(Whole):
    """<problem>/<subset>/caseNNNN/{u.npy, v.npy, case.json}; folders of subsets may be missing."""

    name = "cfdbench"
    title = "CFDBench"

    def recognise(self, source: Source) -> Recognised | None:
        cases = {n.rpartition("/")[0] for n in source.names if _CASE.match(n)} if source.is_folder else set()
        whole = sum(f"{c}/case.json" in source.names for c in cases)
        if not whole:
            return None
        return Recognised(self.name, self.title, {"cases": len(cases)}, 3)

    def write(self, source: Source, plan: Plan, out: Path, seed: int) -> list[str]:
        from sciml.data.importers import cfdbench

        _nothing_but(plan, self.name, "problem", "time")
        step, first = plan.time.step, plan.time.first
        return _noted(
            lambda: cfdbench.import_tree(
                source.root, out, plan.problem or None, time_step=step, first_time=first, seed=seed
            )
        )


class DeepCFD(Whole):
    """dataX and dataY, (case, 3, x, y) each, as .pkl or .npy."""

    name = "deepcfd"
    title = "DeepCFD"

    def recognise(self, source: Source) -> Recognised | None:
        found = [n for n in source.names if n in ("dataX.pkl", "dataY.pkl", "dataX.npy", "dataY.npy")]
        return Recognised(self.name, self.title, {"files": found}, 3) if source.is_folder and len(found) > 1 else None

    def write(self, source: Source, plan: Plan, out: Path, seed: int) -> list[str]:
        from sciml.data.importers import deepcfd

        _nothing_but(plan, self.name)
        return _noted(lambda: deepcfd.import_tree(source.root, out, seed=seed))


class Comsol(Whole):
    """Text that COMSOL exports: lines of "%", coordinates, then expressions."""

    name = "comsol"
    title = "COMSOL, text"
    options: ClassVar[Mapping[str, str]] = {
        "parameters": "file name -> {parameter = number}, for what files do not tell",
    }

    def recognise(self, source: Source) -> Recognised | None:
        found = [n for n in source.matching("*.dat", "*.txt", "*.csv") if self._is_one(source, n)]
        return Recognised(self.name, self.title, {"files": found[:100]}, 3) if found else None

    @staticmethod
    def _is_one(source: Source, name: str) -> bool:
        head = source.head(name, 8192)
        lines = head.split(b"\n")
        return head.startswith(b"% Model:") or (head.startswith(b"%") and any(
            line.startswith(b"% Nodes:") or line.split()[:2] == [b"%", b"x"] or line.split()[:2] == [b"%", b"X"]
            for line in lines
        ))  # fmt: skip

    def write(self, source: Source, plan: Plan, out: Path, seed: int) -> list[str]:
        from sciml.data.importers import comsol

        _nothing_but(plan, self.name, "problem")
        told = plan.option("parameters", dict, {})
        return _noted(
            lambda: comsol.import_tree(source.root, out, name=plan.problem or "comsol", parameters=told, seed=seed)
        )


def _nothing_but(plan: Plan, layout: str, *names: str) -> None:
    """Refuse what a layout takes none of."""
    empty = Plan()
    for name in ("problem", "steady", "periodic", "order", "coordinates", "fields", "parameters", "inputs"):
        if name not in names and getattr(plan, name) != getattr(empty, name):
            raise InputError(f"{name}: {layout} takes none, it finds it in the files")
    if "time" not in names and plan.time != Along():
        raise InputError(f"time: {layout} takes none, it finds it in the files")


def _noted(work: Callable[[], Any]) -> list[str]:
    """What was warned of while something was done."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        work()
    return [str(w.message) for w in heard if issubclass(w.category, UserWarning)]
