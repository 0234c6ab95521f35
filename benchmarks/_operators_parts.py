"""What the mathematics of the operators promises, measured; and the parts of the ledger beside the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import (
    _operators_attention,
    _operators_elements,
    _operators_intervals,
    _operators_meshes,
    _operators_steps,
)
from benchmarks._ledger import Ledger
from benchmarks._operators_rows import TRIALS
from sciml import data, registry
from sciml.contracts import CloudBatch, CurvedGraphBatch, Function, FunctionSignature, GraphBatch, Signature
from sciml.data import schema
from sciml.data.loader import order
from sciml.training.buckets import WINDOW, alike
from sciml.training.buckets import padding as filled

CLOUDS = ("flare", "gnot", "transolver", "galerkin_transformer", "point_transformer")
GRAPHS = ("meshgraphnet", "piorf")
PADDING = 1.0  # of the points


def identities(ledger: Ledger, work: Any) -> None:
    """How far padded answers are from unpadded ones, over the largest answer, in both number formats."""
    worst = {torch.float32: 0.0, torch.float64: 0.0}
    for name in (*CLOUDS, *GRAPHS):
        for dtype in worst:
            make = _cloud if name in CLOUDS else _graph
            found = max(make(name, dtype, seed) for seed in range(3))
            worst[dtype] = max(worst[dtype], found)
            ledger.row(section="identities", operator=name, precision=str(dtype).split(".")[1], padded_difference=found)
    note = (
        f"largest over {len(CLOUDS + GRAPHS)} operators and 3 seeds in float64; in float32 {worst[torch.float32]:.1e}"
    )
    ledger.check("padded_equals_unpadded", worst[torch.float64], note, note=note)


def _cloud(name: str, dtype: torch.dtype, seed: int) -> float:
    """One sample of 700 points beside the same with as many more that are none."""
    torch.manual_seed(seed)
    own, more, sensors = 700, int(700 * PADDING), 300
    functions = (FunctionSignature("source", 1, 2),)
    signature = Signature(3, 2, 2, n_params=2, masked=True, functions=functions)
    operator = registry.operators.get(name).for_signature(signature).to(dtype).eval()

    def values(*shape: int) -> Tensor:
        return torch.rand(shape, dtype=dtype)

    points, fields, weights = values(1, own + more, 2), values(1, own + more, 3), values(1, own + more) + 0.1
    params = values(1, 2)
    given, places = values(1, 2 * sensors, 1), values(1, 2 * sensors, 2)
    few = Function(given[:, :sensors], places[:, :sensors])
    many = Function(given, places, (torch.arange(2 * sensors) < sensors).to(dtype)[None])
    mask = (torch.arange(own + more) < own).to(dtype)[None]
    short = CloudBatch(points[:, :own], fields[:, :own], params, (few,), None, weights[:, :own])
    long = CloudBatch(points, fields, params, (many,), mask, weights)
    with torch.no_grad():
        plain, padded = (operator(**batch.arguments()) for batch in (short, long))
    return float((padded[:, :own] - plain).abs().max() / plain.abs().max())


def _graph(name: str, dtype: torch.dtype, seed: int) -> float:
    """The same of nodes, which are joined to their neighbours on a line and to some at random."""
    torch.manual_seed(seed)
    own, more = 300, int(300 * PADDING)
    operator = registry.operators.get(name).for_signature(Signature(3, 2, 2, n_params=2, masked=True)).to(dtype).eval()
    first = torch.arange(own - 1)
    pairs = torch.cat([torch.stack([first, first + 1]), torch.randint(0, own, (2, 200))], dim=1)
    pairs = pairs[:, pairs[0] != pairs[1]]
    edges = torch.unique(torch.cat([pairs, pairs.flip(0)], dim=1).flip(0), dim=1).flip(0)  # sorted by receiver
    points, nodes = torch.rand(own + more, 2, dtype=dtype), torch.rand(own + more, 3, dtype=dtype)
    offsets, params = points[edges[1]] - points[edges[0]], torch.rand(1, 2, dtype=dtype)
    graph, mask = torch.zeros(own + more, dtype=torch.int64), (torch.arange(own + more) < own).to(dtype)
    short: GraphBatch = GraphBatch(nodes[:own], points[:own], edges, offsets, graph[:own], params)
    long: GraphBatch = GraphBatch(nodes, points, edges, offsets, graph, params, mask)
    if issubclass(operator.takes, CurvedGraphBatch):
        curvature, unit = torch.rand(own + more, dtype=dtype), torch.ones(1, 2, dtype=dtype)
        short = CurvedGraphBatch(**short.arguments(), curvature=curvature[:own], lengths=unit)
        long = CurvedGraphBatch(**long.arguments(), curvature=curvature, lengths=unit)
    with torch.no_grad():
        plain, padded = (operator(**batch.arguments()) for batch in (short, long))
    return float((padded[:own] - plain).abs().max() / plain.abs().max())


def padding(ledger: Ledger, work: Any) -> None:
    """The share of points that fill up batches of plates, each with its own number of nodes."""
    dataset = data.open(work.data("heat_plate"))
    sizes = np.asarray(dataset["node_row_size"].values)[schema.flag_names(dataset["split"]) == "train"]
    epochs = range(20)
    ways = {"to the longest of each batch, as drawn": 0, "to the longest of each batch, of like size": WINDOW}
    for trial in TRIALS:
        drawn = [order(len(sizes), 0, epoch) for epoch in epochs]
        batch = min(trial.batch, len(sizes))
        count = len(sizes) // batch * batch
        shares = {"to the longest of all": 1.0 - float(np.mean([sizes[d[:count]].mean() for d in drawn]) / sizes.max())}
        for way, window in ways.items():
            every = [alike(d, sizes, batch, 0, e, window) for d, e in zip(drawn, epochs, strict=True)]
            shares[way] = float(np.mean([filled(batches, sizes) for batches in every]))
        for way, share in shares.items():
            ledger.row(section="padding", set="heat_plate", batch=batch, way=way, padded_share=share,
                       cases=len(sizes), least=int(sizes.min()), most=int(sizes.max()))  # fmt: skip


PARTS = {
    "identities": identities,
    "steps": _operators_steps.measure,
    "padding": padding,
    "attention": _operators_attention.measure,
    "elements": _operators_elements.measure,
    "meshes": _operators_meshes.measure,
    "intervals": _operators_intervals.measure,
}
