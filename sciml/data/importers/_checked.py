"""What is wrong with cases as they were found, put right where that does no harm, and said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sciml.data.importers._layout import Raw
from sciml.errors import FileFormatError, InputError
from sciml.problem import Problem
from sciml.support import Grid, Mesh, Points, Support

MARKS = (-99.0, -999.0, -9999.0, -99999.0, -999999.0, -999.9, -9999.9, -32768.0, -32767.0, 999.0, 9999.0, 99999.0,
         1e20, 1e30, 1e35, 1e36, 9.969209968386869e36, -1e20, -1e30, -1e34, -1.7976931348623157e308,
         1.7976931348623157e308, 3.4028234663852886e38, -3.4028234663852886e38)  # fmt: skip
REGULAR = 1e-4  # of a time step, within which steps count as equal
TURNED = {"triangle": [0, 2, 1], "quadrilateral": [0, 3, 2, 1]}


class Checked:
    """Makes solutions of cases, and remembers what it had to put right in how many of them.

    Args:
        problem: of all cases.
    """

    def __init__(self, problem: Problem):
        self.problem = problem
        self._counts: dict[str, list[str]] = {}
        self._turned: set[bytes] = set()
        self._steps: list[float] = []

    def notes(self) -> list[str]:
        """A line for each thing that was found, with the cases that it was found in."""
        found = []
        for text, labels in self._counts.items():
            where = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
            found.append(f"{text}: {where}")
        if self._steps:
            least, most = min(self._steps), max(self._steps)
            if most > least * (1 + REGULAR):
                found.append(f"time steps differ between cases, from {least:g} to {most:g}")
        return found

    def say(self, text: str, label: str) -> None:
        self._counts.setdefault(text, []).append(label)

    def solution(self, raw: Raw, number: int) -> Any:
        """The case as a solution.

        Raises:
            FileFormatError: what cannot be put right; names the case.
        """
        from sciml.data._solution import solution

        label = raw.label or f"case {number}"
        try:
            raw = self._timed(raw, label)
            raw = self._finite(raw, label)
            raw = self._oriented(raw, label)
            given: dict[str, Any] = {**raw.parameters, **raw.inputs}
            case = self.problem.case(label=label, subset=raw.subset or "", **given)
            fields: dict[str, Any] = dict(raw.fields)
            if not isinstance(raw.support, Support):  # nodes that move
                fields = {n: (("time", "node"), v) for n, v in fields.items()}
                places = [np.asarray(raw.support[a]) for a in "xyz" if a in raw.support]
                extents = raw.extents or tuple((float(np.nanmin(p)), float(np.nanmax(p))) for p in places)
                case = replace(case, extents=extents, parameters=dict(case.parameters), inputs=dict(case.inputs))
            return solution(case, raw.times, fields, raw.support, **dict(raw.more))
        except FileFormatError:
            raise
        except InputError as error:
            raise FileFormatError(f"{label}: {error}") from None

    # -- times ----------------------------------------------------------------------------------------------------

    def _timed(self, raw: Raw, label: str) -> Raw:
        """Frames in the order of their times, each once."""
        if raw.times is None:
            return raw
        times = np.asarray(raw.times, dtype=np.float64)
        if times.ndim != 1 or any(np.shape(v)[:1] != times.shape for v in raw.fields.values()):
            shapes = {n: np.shape(v)[:1] for n, v in raw.fields.items()}
            raise FileFormatError(f"{label}: {times.size} times, but frames of fields {shapes}")
        if not np.isfinite(times).all():
            raise FileFormatError(f"{label}: times that are not finite, at frame {int(np.argmin(np.isfinite(times)))}")
        order = np.argsort(times, kind="stable")
        sorted_, first = times[order], np.ones(times.size, bool)
        first[1:] = np.diff(sorted_) > 0
        if (order != np.arange(times.size)).any():
            self.say("frames were not in the order of their times: sorted", label)
        if not first.all():
            self._same_frames(raw, order, first, label)
        kept = order[first]
        if len(kept) < times.size or (order != np.arange(times.size)).any():
            raw = replace(raw, times=times[kept], fields={n: np.asarray(v)[kept] for n, v in raw.fields.items()},
                          **self._moving(raw, kept))  # fmt: skip
        steps = np.diff(times[kept])
        if len(steps):
            self._steps.append(float(np.median(steps)))
            if np.ptp(steps) > REGULAR * float(np.median(steps)):
                self.say("times are not equally spaced", label)
        return raw

    def _same_frames(self, raw: Raw, order: np.ndarray, first: np.ndarray, label: str) -> None:
        again = np.flatnonzero(~first)
        equal = all(
            np.array_equal(np.asarray(v)[order[k]], np.asarray(v)[order[k - 1]], equal_nan=True)
            for k in again
            for v in raw.fields.values()
        )
        if not equal:
            t = float(np.asarray(raw.times)[order[again[0]]])
            raise FileFormatError(f"{label}: two different frames at time {t:g}; remove one of them")
        self.say("frames that repeat the time and the values of others: left out", label)

    @staticmethod
    def _moving(raw: Raw, kept: np.ndarray) -> dict[str, Any]:
        """Positions of nodes that move, of these frames."""
        if isinstance(raw.support, Support):
            return {}
        count = len(np.asarray(raw.times))
        return {"support": {k: np.asarray(v)[kept] if np.shape(v)[:1] == (count,) and np.ndim(v) == 2 else v
                            for k, v in raw.support.items()}}  # fmt: skip

    # -- values that are not numbers --------------------------------------------------------------------------------

    def _marked(self, name: str, values: np.ndarray, label: str) -> None:
        """Numbers that others write where there is no value, far from all that are values."""
        finite = values[np.isfinite(values)]
        for mark in (float(finite.min()), float(finite.max())) if finite.size else ():
            if any(abs(mark - m) <= 1e-6 * abs(m) for m in MARKS):
                rest = finite[finite != mark]
                if rest.size and 10 * float(np.abs(rest).max()) < abs(mark):
                    self.say(f"{name} is {mark:g} at some places, as if unknown there; if so, write NaN", label)

    def _finite(self, raw: Raw, label: str) -> Raw:
        """Places of a grid, or nodes, that never have values do not belong to the domain; frames at the end that have
        none were not reached."""
        fields = {n: np.asarray(v) for n, v in raw.fields.items()}
        fields = {n: v.astype(np.float64) if v.dtype.kind in "iu" else v for n, v in fields.items()}
        for name, values in fields.items():
            if values.dtype.kind != "f":
                raise FileFormatError(f"{label}: {name} has type {values.dtype}, expected real numbers")
        raw = replace(raw, fields=fields)
        for name, values in fields.items():
            self._marked(name, values, label)
        if not any(not np.isfinite(v).all() for v in fields.values()):
            return raw
        if raw.times is not None:
            raw = self._reached(raw, label)
            if all(np.isfinite(v).all() for v in raw.fields.values()):
                return raw
        first = 0 if raw.times is None else 1
        holes = [~np.isfinite(v) for v in raw.fields.values()]
        never = np.logical_and.reduce([h.all(axis=0) if first else h for h in holes])
        if not all(np.array_equal(h, np.broadcast_to(never, h.shape)) for h in holes):
            name, values = next((n, v) for n, v in raw.fields.items() if (~np.isfinite(v) & ~never).any())
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(values) & ~never)[0])
            share = float(np.mean(~np.isfinite(values)))
            raise FileFormatError(
                f"{label}: {name} is not finite at index {at} ({share:.2%} of its values), though it is elsewhere at "
                "that place or time; fill or cut these values first"
            )
        if never.all():
            raise FileFormatError(f"{label}: holds no value that is finite")
        return self._without(raw, ~never, label)

    def _reached(self, raw: Raw, label: str) -> Raw:
        some = np.logical_and.reduce(
            [np.isfinite(v).reshape(len(v), -1).any(axis=1) for v in raw.fields.values()]
        )  # fmt: skip
        last = int(np.flatnonzero(some)[-1]) + 1 if some.any() else 0
        if last == len(some) or not last:
            return raw
        self.say("frames at the end that hold no finite value: left out", label)
        assert raw.times is not None
        kept = np.arange(last)
        moved = self._moving(raw, kept)
        return replace(raw, times=raw.times[:last], fields={n: v[:last] for n, v in raw.fields.items()}, **moved)

    def _without(self, raw: Raw, kept: np.ndarray, label: str) -> Raw:
        share = f"{float(np.mean(~kept)):.1%}"
        match raw.support:
            case Grid() as grid:
                inside = kept if grid.mask is None else kept & (np.asarray(grid.mask) != 0)
                self.say("places that never have finite values count as outside of the domain", f"{label} ({share})")
                support: Any = replace(grid, mask=inside.astype(np.uint8))
                fields = {n: np.where(inside, v, np.zeros((), v.dtype)) for n, v in raw.fields.items()}
            case Mesh() as mesh:
                cells = {k: c[kept[c].all(axis=1)] for k, c in mesh.cells.items()}
                number = np.cumsum(kept) - 1
                support = Mesh(mesh.position[kept], {k: number[c] for k, c in cells.items()})
                fields = {n: v[..., kept] for n, v in raw.fields.items()}
                self.say("nodes that never have finite values, and their cells: left out", f"{label} ({share})")
            case Points() as points:
                support = Points(points.position[kept], None if points.volume is None else points.volume[kept])
                fields = {n: v[..., kept] for n, v in raw.fields.items()}
                self.say("points that never have finite values: left out", f"{label} ({share})")
            case _:
                raise FileFormatError(f"{label}: {share} of the values are not finite; fill or cut these first")
        if any(np.shape(v)[-kept.ndim :] == kept.shape for v in raw.inputs.values()) and not isinstance(support, Grid):
            inputs = {n: np.asarray(v)[..., kept] if np.shape(v)[-1:] == kept.shape else v
                      for n, v in raw.inputs.items()}  # fmt: skip
            return replace(raw, support=support, fields=fields, inputs=inputs)
        return replace(raw, support=support, fields=fields)

    # -- cells ------------------------------------------------------------------------------------------------------

    def _oriented(self, raw: Raw, label: str) -> Raw:
        """Cells of the plane all anticlockwise."""
        mesh = raw.support
        if not isinstance(mesh, Mesh) or mesh.dimensions != 2:
            return raw
        cells, turned = {}, 0
        for kind, these in mesh.cells.items():
            if kind not in TURNED or not len(these):
                cells[kind] = these
                continue
            p = mesh.position[these]
            after = np.roll(p, -1, axis=1)
            area = (p[..., 0] * after[..., 1] - after[..., 0] * p[..., 1]).sum(axis=1)
            cells[kind] = np.where((area < 0)[:, None], these[:, TURNED[kind]], these)
            turned += int((area < 0).sum())
        if not turned:
            return raw
        total = sum(len(c) for c in cells.values())
        self.say("cells that ran clockwise: turned", f"{label} ({turned} of {total})")
        return replace(raw, support=Mesh(mesh.position, cells))
