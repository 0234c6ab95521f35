"""`sciml study` on data of others, as they were published: from a file or folder to a page.

Each row is one command, `sciml study PATH --minutes N`, with a plan of a few lines where `plan` says so: what the data
are (layout, cases, frames, places), what was trained, and the error of each model's rollouts beside the best of what
needs no training. A study counts if it trained something and wrote a page. Sets of which nothing can be learned (one
steady case) are rows, too, and do not count.

Layouts: how many are read, on the small genuine files that the part `fuzz` damages, and on the sets above.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Kept, Ledger
from sciml.data import importers
from sciml.data.importers import Plan
from sciml.data.importers._mapping import toml


@dataclass(frozen=True)
class Set:
    """A published set.

    Args:
        title: what it is.
        where: below the folder of data.
        plan: what the source does not tell.
    """

    title: str
    where: str
    plan: Mapping[str, Any] = field(default_factory=dict)


SETS = {
    "cfdbench": Set("cavities, OpenFOAM, 64²", "cfdbench_sample"),
    "elastic_block": Set("elastic block, finite elements", "irregular/elastic_block.npz"),
    "graetz": Set("heated channel whose nodes move with its shape", "irregular/graetz.npz"),
    "unsteady_heat": Set("heat on a mesh, in time", "irregular/unsteady_heat.npz"),
    "back_step": Set("flow over a step, clockwise cells", "irregular/back_step_navier_stokes.npz"),
    "darcy": Set("Darcy flow, 16²", "darcy_small/darcy_small.npz", {"options": {"group": "16"}}),
    "kdv": Set("Korteweg-de Vries, one trajectory", "one_d/kdv.mat"),
    "kuramoto": Set("Kuramoto-Sivashinsky, one trajectory", "one_d/kuramoto_sivishinky.mat"),
    "afterburner": Set("afterburner, one trajectory on a mesh", "irregular/afterburner_meshgraphnets_layout.npz"),
    "blow": Set(
        "a shell that is blown up, nodes that move", "vtk/blow.vtk", {"options": {"displacement": "displacement"}}
    ),
    "particles": Set("three particles in space", "particles"),
    "carotid": Set("carotid artery, measured in 3-D, one steady case", "vtk/carotid.vtk"),
}


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
    free = [r for r in rows if r["kind"] == "baseline"]
    best, floor = (min(k, key=lambda r: r["error"], default=None) for k in (learned, free))
    look = found.look.to_json()
    return {
        "set": name, "title": set_.title, "look": look, "plan": bool(set_.plan), "trained": sorted(found.runs),
        "best": best and best["row"], "best_error": best and best["error"],
        "without_training": floor and floor["row"], "without_training_error": floor and floor["error"],
        "verdict": found.verdict, "tone": found.tone, "notes": list(found.notes), "seconds": seconds,
        "page_bytes": found.page.stat().st_size if found.page.exists() else None,
        "table": [dict(r) for r in rows],
    }  # fmt: skip


def measure(ledger: Ledger, work: Any) -> None:
    """Rows of all sets that are there, and of all layouts."""
    ledger.seeds(0)
    kept = Kept("own_data", dry=work.quick)
    counted, layouts = [], set[str]()
    for name, set_ in SETS.items():
        source = None if work.data is None else work.data / set_.where
        if source is None or not source.exists():
            ledger.row(section="studies", set=name, title=set_.title, reason="its data are not there")
            continue
        recognised = importers.recognise(source)
        assert recognised is not None, source
        layouts.add(recognised.layout)
        minutes = 0.1 if work.quick else work.given.minutes
        row = kept(lambda n=name, s=source, m=minutes: studied(n, s, m), kind="study", set=name, minutes=minutes)
        counted.append(bool(row["trained"] and row["page_bytes"]))
        told = {k: v for k, v in row.items() if k not in ("look", "notes", "table")}
        shown = {k: row["look"].get(k) for k in ("cases", "frames", "places", "dimensions", "where")}
        ledger.row(section="studies", layout=recognised.layout, minutes=minutes, **shown, **told)
        for each in row["table"]:
            ledger.row(section="studies_rows", set=name, **each)
        for text in row["notes"]:
            ledger.row(section="studies_notes", set=name, note=text)
        print(f"{name}: {row['verdict']}", flush=True)
    for name in _samples():
        layouts.add(name)
        ledger.row(section="layouts", layout=name, title=importers.get(name).title, read=True)
    if work.data is not None:
        ledger.check(
            "studies_of_foreign_data_that_end_in_a_report", sum(counted), "fewer sets were there",
            note=f"studies that trained something and wrote a page, of {len(SETS)} sets",
        )  # fmt: skip
    ledger.check(
        "layouts_read", len(layouts), "a layout could not be read",
        note=f"{', '.join(sorted(layouts))}: genuine files, published or as its programs write them",
    )  # fmt: skip


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
