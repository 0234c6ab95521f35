"""What a layout makes of a source, read in this process; and a flow with named dimensions to be written."""

import numpy as np
import xarray as xr

from sciml.data import importers
from sciml.data.importers._checked import Checked
from sciml.data.importers._mapping import Plan
from sciml.data.importers._serving import recognised
from sciml.data.importers._source import Source


def read(path, plan=None, layout=None):
    """(solutions, raw cases, notes) of a file or folder by the layout that is recognised."""
    source = Source(path)
    name = layout or recognised(source).layout
    reading = importers.get(name).read(source, Plan.from_json(plan or {}))
    checked = Checked(reading.problem)
    raws = list(reading.cases)
    assert len(raws) == reading.count
    return [checked.solution(raw, k) for k, raw in enumerate(raws)], raws, [*reading.notes, *checked.notes()]


def layout_of(path):
    found = recognised(Source(path))
    return None if found is None else found.layout


N, T, Y, X = 3, 4, 5, 6


def flow(seed=0, cases=True):
    """Two fields, an input and parameters over (sample, time, y, x)."""
    rng = np.random.default_rng(seed)
    lead, lead_dims = ((N,), ("sample",)) if cases else ((), ())
    made = xr.Dataset(
        {
            "u": ((*lead_dims, "time", "y", "x"), rng.standard_normal((*lead, T, Y, X)).astype("f4"), {"units": "m/s"}),
            "temp": (("y", "x", "time", *lead_dims), rng.standard_normal((Y, X, T, *lead)), {"units": "K"}),
            "bed": ((*lead_dims, "y", "x"), rng.standard_normal((*lead, Y, X)).astype("f4")),
        },
        {
            "x": ("x", np.linspace(0.5, 5.5, X), {"units": "m"}),
            "y": ("y", np.linspace(9, 1, Y), {"units": "m"}),
            "time": ("time", np.arange(T) * 2.0, {"units": "s"}),
        },
    )
    if cases:
        made["viscosity"] = ("sample", np.array([0.1, 0.2, 0.3]), {"units": "m2/s"})
    return made
