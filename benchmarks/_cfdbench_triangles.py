"""The cylinder's flows at the nodes of triangles that are fine at the cylinder: data, and rows of part `triangles`.

Every case of the table's cylinder is solved anew on the grid that its 64 × 64 cells are means of, of 128 × 192 to
384 × 704 cells, and taken to some 1000 nodes from there: linear between the middles of cells outside of the cylinder
and places on the boundaries, where no fluid moves along walls and cylinder, and the inlet's speed is known. What that
interpolation errs by, and what one from the 64 × 64 cells errs by, is measured on one case against a solution on twice
as many cells each way, and stands in the ledger: `sampling`.

A network on 64 × 64 cells is asked in two ways, both from the true cells: what it answers, taken to the nodes, and the
change that it answers, added to what was at the nodes. The first errs by what cells do not tell of nodes as well; what
that is by itself says the row `CELLS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import Delaunay

from benchmarks import _cfdbench_figures, _cfdbench_triangles_pictures
from benchmarks._cfdbench_rows import ENTRIES, TRIANGLE_ROWS, TRIANGLES
from benchmarks._ledger import Ledger
from sciml import data, load
from sciml.data import schema
from sciml.meshes import triangulate
from sciml.problem import Case, Problem
from sciml.solver import Restartable, Start
from sciml.solvers._coarse import coarsened
from sciml.solvers.references import reference
from sciml.support import Grid, Mesh, support_of
from sciml.training.samples import open_data

BASE = "cylinder"  # the table's flow
BODY = "cylinder"  # the boundary
TRIANGLE_SIDES = 650  # squares of a side of triangles that the box around the channel has room for
AROUND = 40  # nodes on the cylinder
FIELDS = ("u", "v")
CELLS = "the true 64 × 64 cells, at the nodes"
ANSWERS, CHANGES = "U-Net on 64 × 64 cells, at the nodes", "U-Net on 64 × 64 cells, its change at the nodes"
GRAPH = "MeshGraphNet, 5 rounds of 32"
NEAR = 1e-9  # of the size of a domain: what lies on its boundary


def mesh_of(case: Case) -> Mesh:
    """Triangles of channel minus cylinder, whose sides at the cylinder are a fortieth of its circumference."""
    (left, right), (low, high) = case.geometry.extents
    size = np.sqrt((right - left) * (high - low) / TRIANGLE_SIDES)
    return triangulate(case.geometry, float(size), near={BODY: 2 * np.pi * case.radius / AROUND})


class Sampling:
    """Values of a grid's cells at nodes, linear in the triangles between the middles of the cells that are fluid and
    places on the boundaries: on the sides beside the middle of each outermost cell, in the corners, and where nodes are
    on the cylinder. A linear field is taken exactly.

    Args:
        case: whose domain it is.
        grid: of the cells.
        nodes: (N, 2).
    """

    def __init__(self, case: Case, grid: Grid, nodes: np.ndarray):
        near = NEAR * max(b - a for a, b in case.geometry.extents)
        distance = {n: b.distance(nodes) for n, b in case.geometry.boundaries.items()}
        #: boundary -> which nodes lie on it
        self.on = {n: np.flatnonzero(np.asarray(d) <= near) for n, d in distance.items()}
        centres = grid.points().reshape(-1, 2)
        fluid = np.asarray(case.geometry.signed_distance(centres)) > near
        self.fluid = np.flatnonzero(fluid if grid.inside is None else fluid & grid.inside.reshape(-1))
        #: boundary -> places on it, in an order of the boundaries in which the first has what several share
        self.places = {BODY: nodes[self.on[BODY]]}
        for axis, end in ((1, 0), (1, 1), (0, 0), (0, 1)):
            side = grid.side_points(axis, end)
            corners = [[x, grid.faces[1][-end]] for x in grid.faces[0][[0, -1]]] if axis else np.zeros((0, 2))
            self.places[f"{'xy'[axis]}_{('min', 'max')[end]}"] = np.concatenate([side, corners])
        self.beside = {n: self._beside(grid, n, p) for n, p in self.places.items() if n != BODY}
        every = np.concatenate([centres[self.fluid], *self.places.values()])
        self.stencil = Mesh(every, {"triangle": Delaunay(every).simplices}).stencil(nodes)

    @staticmethod
    def _beside(grid: Grid, name: str, places: np.ndarray) -> np.ndarray:
        """(place, 2) the nearest two cells along the normal of a side."""
        axis, end = "xy".index(name[0]), name.endswith("max")
        rows, columns = (np.abs(places[:, a, None] - grid.centres[a]).argmin(1) for a in (1, 0))
        first = -1 if end else 0
        pair = np.array([first, first - 1 if end else 1]) % len(grid.centres[axis])
        at = (rows[:, None], pair[None]) if axis == 0 else (pair[None], columns[:, None])
        return np.ravel_multi_index(np.broadcast_arrays(*at), grid.shape)

    def __call__(self, values: np.ndarray, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """(time, node).

        Args:
            values: (time, y, x).
            given: boundary -> (time,) or (time, place) values; from a side that has none, cells go on linearly.
        """
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        parts, shown = [flat[:, self.fluid]], {}
        for name, places in self.places.items():
            if name in given:
                known = np.asarray(given[name], np.float64).reshape(len(flat), -1)
                shown[name] = np.broadcast_to(known, (len(flat), len(places)))
            else:
                first, second = np.moveaxis(flat[:, self.beside[name]], -1, 0)
                shown[name] = 1.5 * first - 0.5 * second
            parts.append(shown[name])
        found = self.stencil(np.concatenate(parts, axis=1))
        for name in reversed(list(self.places)):  # what is given is so to the last digit
            if name in given and np.ndim(given[name]) == 1:
                found[:, self.on[name]] = np.asarray(given[name])[:, None]
        return found


def at_nodes(case: Case, sampling: Sampling, values: np.ndarray, times: np.ndarray, fields: Sequence[str]) -> Any:
    """(time, field, node) of frames (time, field, y, x), with what the problem gives on the boundaries."""
    found = []
    for k, field in enumerate(fields):
        given = {}
        for name, places in sampling.places.items():
            condition = case.boundary_conditions[name].get(field)
            if condition is not None and condition.given:
                given[name] = condition.over(times, places if condition.in_space else None)
        found.append(sampling(values[:, k], given))
    return np.stack(found, axis=1)


# -- data -------------------------------------------------------------------------------------------------------


def make(out: Path, cells: Path, quick: bool = False) -> Path:
    """The data set at nodes: the cases, times, parameters, splits and folds of `cells`; each case is kept once it is
    done, so that an interrupted run goes on. `quick` takes what is stored as it is, and solves nothing."""
    if out.exists():
        return out
    parts = out.with_suffix(".parts")
    parts.mkdir(parents=True, exist_ok=True)
    source = data.open(cells)
    found = []
    for i in range(source.sizes["case"]):
        part = parts / f"{i:04d}.h5"
        if not part.exists():
            case, solution = data.case(source, i)
            data.write(data.pack([sampled(case, solution if quick else anew(case, solution))]), part)
            print(f"triangles: {case.label} ({i + 1} of {source.sizes['case']})", flush=True)
        found.append(data.open(part).load())
    splits = {str(n): schema.flag_names(source[n]) for n in source.variables if str(n).split("_")[0] == "split"}
    named = {n.removeprefix("split_"): list(v) for n, v in splits.items() if n != "split"}
    data.write(data.concat(found, list(splits["split"]), named_splits=named), out)
    return out


def sampled(case: Case, solution: Any) -> Any:
    """A case's solution on cells, at the nodes of triangles."""
    times, mesh = np.asarray(solution["time"].values), mesh_of(case)
    nodes = taken(case, solution, mesh.points())
    fields = {f: (("time", "node"), nodes[:, k]) for k, f in enumerate(FIELDS)}
    settings = json.loads(solution.attrs.get("settings", "{}"))
    return data.solution(case, times, fields, mesh, solver=solution.attrs.get("solver", ""), settings=settings)


def taken(case: Case, solution: Any, nodes: np.ndarray) -> np.ndarray:
    """(time, field, node) of a solution on cells."""
    grid, values = support_of(case, solution), np.stack([np.asarray(solution[f].values) for f in FIELDS], axis=1)
    assert isinstance(grid, Grid)
    return at_nodes(case, Sampling(case, grid, nodes), values, np.asarray(solution["time"].values), FIELDS)


def anew(case: Case, solution: Any, finer: int = 1) -> Any:
    """The solution on the cells that it was solved on, or on `finer` times as many each way; as it is stored where it
    does not say how it was solved."""
    cells = json.loads(solution.attrs.get("settings", "{}")).get("resolution")
    if cells is None:
        return solution
    solver = reference(case.problem, [finer * n for n in cells])
    assert solver is not None
    return solver.solve(case, solution["time"].values)


def sampling_errors(cells: Path, number: int) -> dict[str, Any]:
    """What interpolation errs by, as a share of the mean square at the nodes, area-weighted, over all frames but the
    first: from the cells that a case was solved on, and from those that are stored, both as means over a solution on
    twice as many each way, whose own interpolation is the truth; and how far the solution itself is from that one."""
    case, solution = data.case(data.open(cells), number)
    mesh = mesh_of(case)
    nodes, weights = mesh.points(), mesh.weights()
    finest, own = anew(case, solution, 2), anew(case, solution)
    truth = taken(case, finest, nodes)[1:]

    def error(other: Any) -> float:
        return float((weights * (taken(case, other, nodes)[1:] - truth) ** 2).sum() / (weights * truth**2).sum())

    shape = own["u"].shape[1:]
    return {
        "case": case.label, "nodes": mesh.size, "cells": list(shape), "stored_cells": list(solution["u"].shape[1:]),
        "interpolation_nmse": error(coarsened(case, finest, shape, FIELDS)),
        "stored_interpolation_nmse": error(coarsened(case, finest, solution["u"].shape[1:], FIELDS)),
        "solution_nmse": error(own),
    }  # fmt: skip


# -- rows -------------------------------------------------------------------------------------------------------


class FromCells(Restartable):
    """What lives on cells, asked at nodes: it starts from the true frame on the cells of `cells`.

    Args:
        cells: the data set on cells.
        inner: what goes on from there; None for the true frames themselves.
        changes: whether to add the change on the cells to what was at the nodes.
    """

    name = "from_cells"

    def __init__(self, cells: Path, inner: Any = None, changes: bool = False):
        self.inner, self.changes = inner, changes
        self.source = open_data(cells)[0]
        labels = [data.case(self.source, i)[0].label for i in range(self.source.sizes["case"])]
        self.number = {label: i for i, label in enumerate(labels)}
        self.known: dict[tuple[str, int], Any] = {}

    @property
    def encoding(self) -> Any:
        return self.inner.encoding

    @property
    def operator(self) -> Any:
        return self.inner.operator

    def supports(self, problem: Problem) -> bool:
        return problem.name == self.source.attrs["problem"]

    def resume(self, case: Case, frame: Any, times: Any) -> Any:
        mesh, asked = support_of(case, frame), np.asarray(times, np.float64)
        assert isinstance(mesh, Mesh)
        frames = np.stack([np.asarray(frame[f].values)[-1:] for f in FIELDS], axis=1)
        start = Start(case, mesh, frames, float(frame["time"].values[-1]), fields=FIELDS)
        found = np.stack([several[0] for several in self.rollout([start], asked[None])])
        fields = {f: (("time", "node"), found[:, k]) for k, f in enumerate(FIELDS)}
        return data.solution(case, asked, fields, mesh, solver=self.name)

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        taken = [self._taken(s) for s in starts]
        placed = [self._start(s, *t[:3]) for s, t in zip(starts, taken, strict=True)]
        firsts = [self._at(s, t, p.frames[-1], s.time) for s, t, p in zip(starts, taken, placed, strict=True)]
        for frames, now in zip(self._frames(placed, taken, times), times.T, strict=True):
            found = []
            for s, t, frame, time, first in zip(starts, taken, frames, now, firsts, strict=True):
                nodes = self._at(s, t, frame, float(time))
                found.append(s.frames[-1] + nodes - first if self.changes else nodes)
            yield found

    def _frames(self, placed: list[Start], taken: list[Any], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        if self.inner is not None:
            yield from self.inner.rollout(placed, times)
            return
        for now in times.T:
            yield [self._true(t, float(time)) for t, time in zip(taken, now, strict=True)]

    def _taken(self, start: Start) -> Any:
        """Grid, times and frames of a case on cells, and how they are taken to nodes."""
        key = (start.case.label, start.support.size)
        if key not in self.known:
            case, solution = data.case(self.source, self.number[start.case.label])
            grid = support_of(case, solution)
            assert isinstance(grid, Grid)
            frames = np.stack([np.asarray(solution[f].values) for f in FIELDS], axis=1)
            sampling = Sampling(case, grid, start.support.points())
            self.known[key] = (grid, np.asarray(solution["time"].values), frames, sampling)
        return self.known[key]

    @staticmethod
    def _true(taken: Any, time: float) -> np.ndarray:
        _, times, frames, _ = taken
        return frames[int(np.abs(times - time).argmin())]

    def _start(self, start: Start, grid: Grid, times: np.ndarray, frames: np.ndarray) -> Start:
        now = int(np.abs(times - start.time).argmin())
        first = (frames[0], float(times[0]))
        return replace(start, case=start.case.on(grid), support=grid, frames=frames[now : now + 1], first=first)

    def _at(self, start: Start, taken: Any, frame: np.ndarray, time: float) -> np.ndarray:
        return at_nodes(start.case, taken[3], np.asarray(frame)[None], np.array([time]), FIELDS)[0]


def compare(ledger: Ledger, work: Any, picture: Path) -> None:
    """Rows of the section "triangles", what sampling errs by, and a picture of the test case on which the graph errs
    middlingly."""
    path, cells = work.data(TRIANGLES), work.data(BASE)
    runs = {n: [p] for n, p in work.trained(TRIANGLES, TRIANGLE_ROWS).items()}
    grid = work.trained(BASE, {"U-Net": ENTRIES["U-Net"]})["U-Net"]
    loaded = {ANSWERS: FromCells(cells, load(grid)), CHANGES: FromCells(cells, load(grid), True)}
    runs_of_cells = {name: [grid] for name in loaded}
    found = _cfdbench_figures.figures(work, TRIANGLES, runs | runs_of_cells, loaded | {CELLS: FromCells(cells)})
    for name in loaded:  # learned on cells
        found[name]["kind"] = "learned"
    manifest = work.manifest(TRIANGLES)
    _cfdbench_figures.comparison(ledger, TRIANGLES, found, manifest, "triangles")
    test = [m["number"] for m in manifest if m["split"] == "test"]
    if not work.quick:
        ledger.row(section="sampling", flow=TRIANGLES, **sampling_errors(cells, test[-1]))
    sizes = np.asarray(data.open(path)["node_row_size"].values)
    ledger.row(section="triangle meshes", flow=TRIANGLES, cases=len(sizes), fewest_nodes=int(sizes.min()),
               most_nodes=int(sizes.max()), median_nodes=float(np.median(sizes)))  # fmt: skip
    share = np.divide(found[GRAPH]["case_answer_squares"], found["persistence"]["case_answer_squares"])
    middle = int(np.argsort(share)[len(share) // 2])
    solvers = {GRAPH: load(runs[GRAPH][0]), CHANGES: loaded[CHANGES]}
    _cfdbench_triangles_pictures.answers(path, test[middle], solvers, picture)
