"""`sciml study` on data of others, as they were published: from a file or folder to a page.

Each row is one command, `sciml study PATH --minutes N`, with a plan of a few lines where `plan` says so: what the data
are (layout, cases, frames, places), what was trained, and the error of each model's rollouts beside the best of what
needs no training. A study counts if it trained something and wrote a page. Sets of which nothing can be learned (one
steady case) are rows, too, and do not count.

Layouts: how many are read, on the small genuine files that the part `fuzz` damages, and on the sets above.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Kept, Ledger
from sciml.data import importers
from sciml.data.importers import Plan
from sciml.data.importers._mapping import toml
from sciml.errors import InputError


@dataclass(frozen=True)
class Set:
    """A published set.

    Args:
        title: what it is.
        where: below the folder of data.
        plan: what the source does not tell.
        own: whether it was made by this project, in the layout of others.
    """

    title: str
    where: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False


AROUND = {"periodic": ["x"]}  # the last place is a cell before the first one; no file says so

SETS = {
    "cfdbench": Set("cavities by icoFoam, ours, in the layout of CFDBench", "cfdbench_sample", own=True),
    "elastic_block": Set("elastic block, finite elements", "irregular/elastic_block.npz"),
    "graetz": Set("heated channel (Graetz)", "irregular/graetz.npz"),
    "unsteady_heat": Set("heat on a mesh, in time", "irregular/unsteady_heat.npz"),
    "back_step": Set("flow over a step, clockwise cells", "irregular/back_step_navier_stokes.npz"),
    "darcy": Set("Darcy flow, 16²", "darcy_small/darcy_small.npz", {"options": {"group": "16"}}),
    "kdv": Set("Korteweg-de Vries, one trajectory", "one_d/kdv.mat", AROUND),
    "kuramoto": Set("Kuramoto-Sivashinsky, one trajectory", "one_d/kuramoto_sivishinky.mat", AROUND),
    "afterburner": Set("afterburner, one trajectory on a mesh", "irregular/afterburner_meshgraphnets_layout.npz"),
    "blow": Set(
        "a shell that is blown up, nodes that move", "vtk/blow.vtk", {"options": {"displacement": "displacement"}}
    ),
    "particles": Set("three particles in space", "particles"),
    "carotid": Set("carotid artery, measured in 3-D, one steady case", "vtk/carotid.vtk"),
}


#: rows that are fitted by linear algebra in seconds
REGRESSIONS = ("POD regression", "dynamic modes")
#: published files that are read, and not studied
READ = (
    ("vtk/EnSight.zip", ""),
    ("vtk/OpenFOAM.zip", "OpenFOAM/cavity"),
    ("vtk/notch_disp.vtu", ""),
    ("piv/B00001.txt", ""),
    ("comsol/lid_driven_a2.dat", ""),
)


def studied(name: str, source: Path, minutes: float) -> dict[str, Any]:
    """The row of one study; its folder is kept, and gone on with."""
    import sciml

    set_, folder = SETS[name], WORK / "own_data" / f"{name}_{minutes:g}"
    folder.mkdir(parents=True, exist_ok=True)
    plan = None
    if set_.plan:
        plan = folder.with_suffix(".toml")
        plan.write_text(toml(Plan.from_json(set_.plan).to_json()), encoding="utf-8")
    began = time.monotonic()
    found = sciml.study(source, folder, minutes, plan=plan)
    seconds = time.monotonic() - began
    rows = [r for r in found.table if r["error"] is not None]
    learned = [r for r in rows if r["kind"] == "surrogate"]
    nets = [r for r in learned if r["row"] not in REGRESSIONS]
    free = [r for r in rows if r["kind"] == "baseline"]
    best, net, floor = (min(k, key=lambda r: r["error"], default=None) for k in (learned, nets, free))
    look = found.look.to_json()
    return {
        "set": name, "title": set_.title, "look": look, "plan": bool(set_.plan), "trained": sorted(found.runs),
        "best": best and best["row"], "best_error": best and best["error"],
        "network": net and net["row"], "network_error": net and net["error"],
        "steps": {n: steps_of(p) for n, p in found.runs.items()}, "cores": len(os.sched_getaffinity(0)),
        "without_training": floor and floor["row"], "without_training_error": floor and floor["error"],
        "verdict": found.verdict, "tone": found.tone, "notes": list(found.notes), "seconds": seconds,
        "page_bytes": found.page.stat().st_size if found.page.exists() else None,
        "table": [dict(r) for r in rows],
    }  # fmt: skip


def measure(ledger: Ledger, work: Any) -> None:
    """Rows of all sets that are there, and of all layouts."""
    ledger.seeds(0)
    kept = Kept("own_data", dry=work.quick)
    counted, layouts, real = [], set[str](), set[str]()
    for name, set_ in SETS.items():
        source = None if work.data is None else work.data / set_.where
        if source is None or not source.exists():
            ledger.row(section="studies", set=name, title=set_.title, reason="its data are not there")
            continue
        recognised = importers.recognise(source)
        assert recognised is not None, source
        layouts.add(recognised.layout)
        if not set_.own:
            real.add(recognised.layout)
        minutes = 0.1 if work.quick else work.given.minutes
        row = kept(lambda n=name, s=source, m=minutes: studied(n, s, m), kind="study", set=name, minutes=minutes)
        counted.append(bool(row["trained"] and row["page_bytes"] and not set_.own))
        told = {k: v for k, v in row.items() if k not in ("look", "notes", "table")}
        shown = {k: row["look"].get(k) for k in ("cases", "frames", "places", "dimensions", "where")}
        ledger.row(section="studies", layout=recognised.layout, minutes=minutes, **shown, **told)
        for each in row["table"]:
            ledger.row(section="studies_rows", set=name, **each)
        for text in row["notes"]:
            ledger.row(section="studies_notes", set=name, note=text)
        print(f"{name}: {row['verdict']}", flush=True)
    for name in () if work.data is None else _published(work.data):
        layouts.add(name)
        real.add(name)
        ledger.row(section="layouts", layout=name, title=importers.get(name).title, read=True, source="published")
    for name in _samples():
        layouts.add(name)
        ledger.row(section="layouts", layout=name, title=importers.get(name).title, read=True, source="written here")
    if work.data is not None:
        ledger.check(
            "studies_of_foreign_data_that_end_in_a_report", sum(counted), "fewer sets were there",
            note=f"studies of others' data that trained something and wrote a page; {len(SETS)} sets, one of them ours",
        )  # fmt: skip
    ledger.check(
        "layouts_read", len(layouts), "a layout could not be read",
        note=f"{', '.join(sorted(layouts))}; by published files: {', '.join(sorted(real))}; others by files that are "
        "written here to what the layout says",
    )  # fmt: skip


def steps_of(run: Path) -> int | None:
    """Steps of training that a run made; None of what has none."""
    metrics = run / "metrics.jsonl"
    if not metrics.exists():
        return None
    told = [json.loads(line).get("step") for line in metrics.read_text(encoding="utf-8").splitlines()]
    return max((int(s) for s in told if s is not None), default=None)


def _published(folder: Path) -> list[str]:
    """Layouts of which a published file that no study is made of is recognised and read."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        for k, (where, below) in enumerate(READ):
            source = folder / where
            if not source.exists():
                continue
            if source.suffix == ".zip":
                with zipfile.ZipFile(source) as archive:
                    archive.extractall(Path(place) / str(k))
                source = Path(place) / str(k) / below
            try:
                recognised = importers.recognise(source)
                importers.import_data(source, Path(place) / f"{k}.h5")
            except InputError as error:
                print(f"{where}: {error}", flush=True)
                continue
            if recognised is not None:
                found.append(recognised.layout)
    return list(dict.fromkeys(found))


def _samples() -> list[str]:
    """Layouts of which a small genuine file is recognised and read."""
    from benchmarks._own_data_fuzz import SAMPLES

    found: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as place:
        for k, (name, (_, make)) in enumerate(SAMPLES.items()):
            folder = Path(place) / str(k)
            folder.mkdir()
            source = make(folder, np.random.default_rng(k))
            recognised = importers.recognise(source)
            assert recognised is not None, name
            importers.import_data(source, Path(place) / f"{k}.h5")
            found[recognised.layout] = None
    return list(found)
