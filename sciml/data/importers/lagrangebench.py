"""LagrangeBench: particles that move, metadata.json beside train.h5, valid.h5 and test.h5.

    00000/position         (T, N, D)
    00000/particle_type    (N)

Velocities follow from positions, v(t_k) = (r(t_k) - r(t_{k-1})) / Δt with Δt = dt · write_every, the shorter way round
where the box is periodic; the first frame has none and is left out. Displacements are sums of the same differences
since the first frame that is kept, d(t_k) = Σ_{1<j≤k} (r(t_j) - r(t_{j-1})), so that they go on where positions start
again at the other side of a periodic box: first positions are r(t_k) - d(t_k), but for whole lengths of the box. A
force.py beside the files is a program, which is never run.

Source: A. P. Toshev, G. Galletti, F. Fritz, S. Adami, N. A. Adams, "LagrangeBench: A Lagrangian Fluid Mechanics
Benchmarking Suite", NeurIPS 2023.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from sciml.data.importers._gridded import every, note, told_parameters
from sciml.data.importers._hdf5 import Tree, is_tree, open_tree
from sciml.data.importers._layout import Cases, Raw, Reading, Recognised
from sciml.data.importers._mapping import Plan
from sciml.data.importers._published import _nothing_but
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, is_number

SPLITS = {"train.h5": "train", "valid.h5": "validation", "test.h5": "test"}
MOST_JSON = 1 << 22
NUMBERS = ("dx", "viscosity", "t_end", "c_ref", "rho_ref", "u_ref", "g_ext_magnitude")


class LagrangeBench(Cases):
    """LagrangeBench: a folder with metadata.json, train.h5, valid.h5 and test.h5, of which some may be missing."""

    name = "lagrangebench"
    title = "LagrangeBench"
    options: ClassVar[Mapping[str, str]] = {"every": "keep each so many-th frame; velocities are of single steps"}

    def recognise(self, source: Source) -> Recognised | None:
        names = [n for n in source.names if n in SPLITS]
        if not source.is_folder or not names or "metadata.json" not in source.names:
            return None
        for name in names:
            if not is_tree(source, name):
                continue
            try:
                with open_tree(source, name) as tree:
                    first = next((g for g in tree.root.groups if g.isdigit()), "")
                    if first and "position" in tree.group(first).variables:
                        return Recognised(self.name, self.title, {"files": names}, 3)
            except FileFormatError:
                return Recognised(self.name, self.title, {"files": names}, 2)
        return None

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        about = _metadata(source)
        return Plan(layout=self.name, problem="particles"), {"problem": str(about.get("description", ""))[:200]}

    def read(self, source: Source, plan: Plan) -> Reading:
        from sciml.problem import FieldSpec, ParameterSpec
        from sciml.problems.own_data import DataProblem

        _nothing_but(plan, self.name, "problem", "periodic", "time", "parameters")
        about = _metadata(source)
        where = f"{source.path('metadata.json')}"
        d = about.get("dim")
        if d not in (2, 3):
            raise FileFormatError(f"{where}: dim is {d!r}, expected 2 or 3")
        around, bounds = _box(about, d, where)
        around = tuple(a in plan.periodic for a in "xyz"[:d]) if plan.periodic else around
        notes: list[str] = []
        step = _step(about, plan, where, notes)
        names = [n for n in source.names if n in SPLITS]
        trajectories: dict[str, tuple[str, ...]] = {}
        for name in names:
            with open_tree(source, name) as tree:
                trajectories[name] = tree.root.groups
                if not tree.root.groups:
                    tree.fail("holds no trajectory, expected groups 00000, 00001, ...")
                if tree.root.variables:
                    notes.append(f"{name}: not understood and left out: {', '.join(tree.root.variables[:10])}")
        absent = [n for n in SPLITS if n not in names]
        if absent:
            notes.append(f"there is no {', '.join(absent)}")
        rest = [n for n in source.names if n not in (*SPLITS, "metadata.json", "force.py")]
        if "force.py" in source.names:
            notes.append("force.py is a program and is not run: what it says of forces is not known")
        if rest:
            notes.append(f"left out {len(rest)} other files: {', '.join(rest[:5])}")
        notes.append(
            f"velocities are differences of positions over a step of {step:g}"
            + (", the shorter way round the box" if any(around) else "")
            + "; the first frame has none and is left out; displacements are since the first that is kept"
        )
        fields = [FieldSpec(f"{name}_{a}", "1", "node") for name in ("displacement", "velocity") for a in "xyz"[:d]]
        problem = DataProblem(
            plan.problem or "particles", fields, [ParameterSpec(n, "1", 0.0) for n in plan.parameters], d,
            periodic=around, velocity=[f.name for f in fields[d:]],
            title=plan.title or str(about.get("case", "particles")), time_unit="1", length_unit="1",
        )  # fmt: skip
        attrs = {k: float(about[k]) for k in NUMBERS if is_number(about.get(k))}
        if attrs:
            notes.append("what metadata.json says of all cases is no parameter: " + ", ".join(
                f"{k} = {v:g}" for k, v in attrs.items()))  # fmt: skip
        cases = self._cases(source, plan, trajectories, d, bounds, around, step, notes)
        return Reading(problem, sum(map(len, trajectories.values())), cases, notes, {"metadata": json.dumps(attrs)})

    def _cases(
        self, source: Source, plan: Plan, trajectories: Mapping[str, tuple[str, ...]], d: int, bounds: np.ndarray,
        around: tuple[bool, ...], step: float, notes: list[str],
    ) -> Iterator[Raw]:  # fmt: skip
        thin = every(plan)
        for name, groups in trajectories.items():
            with open_tree(source, name) as tree:
                for group in groups:
                    position, kinds = _trajectory(tree, group, d, notes)
                    if (position < bounds[0] - 1e-5 * np.ptp(bounds, axis=0)).any() or (
                        position > bounds[1] + 1e-5 * np.ptp(bounds, axis=0)
                    ).any():
                        note(notes, "particles leave the bounds that metadata.json gives")
                    moved = np.diff(position, axis=0)
                    length = bounds[1] - bounds[0]
                    for k in range(d):
                        if around[k]:
                            moved[..., k] -= length[k] * np.round(moved[..., k] / length[k])
                    velocity, kept = (moved / step)[::thin].astype(np.float32), position[1::thin]
                    moved[0] = 0.0  # to the first frame that is kept, from which displacements are counted
                    displacement = np.cumsum(moved, axis=0)[::thin].astype(np.float32)
                    times = (plan.time.first or 0.0) + step * np.arange(1, len(position))[::thin]
                    low, high = np.minimum(bounds[0], position.min((0, 1))), np.maximum(bounds[1], position.max((0, 1)))
                    label = f"{name.removesuffix('.h5')}: {group}"
                    yield Raw(
                        {f"displacement_{a}": displacement[..., k] for k, a in enumerate("xyz"[:d])}
                        | {f"velocity_{a}": velocity[..., k] for k, a in enumerate("xyz"[:d])},
                        {a: kept[..., k] for k, a in enumerate("xyz"[:d])}, times,
                        told_parameters(plan, label, name), label=label, split=SPLITS[name],
                        extents=tuple(zip(low.tolist(), high.tolist(), strict=True)),
                        more={} if kinds is None else {"node_attributes": {"type": kinds}},
                    )  # fmt: skip


def _trajectory(tree: Tree, group: str, d: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    here = tree.group(group)
    if "position" not in here.variables:
        tree.fail(f"group {group!r} has no 'position'")
    rest = [n for n in here.variables if n not in ("position", "particle_type")]
    if rest:
        note(notes, f"not understood and left out: {', '.join(rest[:10])} of trajectories")
    stored = tree[f"{group}/position"]
    if stored.ndim != 3 or stored.shape[-1] != d:
        hint = "; particles come before frames" if stored.ndim == 3 and stored.shape[0] == d else ""
        tree.fail(f"has shape {stored.shape}, expected (time, particle, {d}), as metadata.json says dim {d}{hint}",
                  stored.path)  # fmt: skip
    if stored.shape[0] < 2:
        tree.fail(f"has {stored.shape[0]} frames, expected two at least: velocities are differences", stored.path)
    position = stored[()].astype(np.float64)
    if not np.isfinite(position).all():
        at = tuple(int(k) for k in np.argwhere(~np.isfinite(position))[0])
        tree.fail(f"is not finite at index {at} (time, particle, axis)", stored.path)
    if "particle_type" not in here.variables:
        note(notes, "trajectories do not say of what type particles are")
        return position, None
    kinds = tree[f"{group}/particle_type"]
    if kinds.shape != (stored.shape[1],):
        tree.fail(f"has shape {kinds.shape}, expected ({stored.shape[1]},), one a particle", kinds.path)
    return position, kinds[()].astype(np.int32)


def _metadata(source: Source) -> dict[str, Any]:
    path = source.path("metadata.json")
    if "metadata.json" not in source.names:
        raise FileFormatError(f"{source.root}: there is no metadata.json, which says how large the box is and the step")
    try:
        found = json.loads(source.text("metadata.json", MOST_JSON))
    except (json.JSONDecodeError, RecursionError) as error:
        raise FileFormatError(f"{path}: not JSON ({str(error)[:100]})") from None
    if not isinstance(found, dict):
        raise FileFormatError(f"{path}: expected an object, got {type(found).__name__}")
    return found


def _box(about: Mapping[str, Any], d: int, where: str) -> tuple[tuple[bool, ...], np.ndarray]:
    """Which axes are periodic, and (2, D) ends."""
    around = about.get("periodic_boundary_conditions", [False] * d)
    if not isinstance(around, list) or len(around) < d or not all(isinstance(a, bool) for a in around):
        raise FileFormatError(f"{where}: periodic_boundary_conditions is {around!r:.60}, expected {d} of true or false")
    try:
        bounds = np.asarray(about["bounds"], dtype=np.float64)[:d].T
        good = bounds.shape == (2, d) and bool(np.isfinite(bounds).all() and (bounds[1] > bounds[0]).all())
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise FileFormatError(f"{where}: bounds is {about.get('bounds')!r:.60}, expected a lower and an upper end for "
                              f"each of {d} axes")  # fmt: skip
    return tuple(around[:d]), bounds


def _step(about: Mapping[str, Any], plan: Plan, where: str, notes: list[str]) -> float:
    """Time between frames."""
    if plan.time.step is not None:
        step = plan.time.step
    else:
        if not is_number(about.get("dt")):
            raise FileFormatError(f"{where}: dt is {about.get('dt')!r:.40}, expected a number; or tell time.step")
        every = about.get("write_every")
        if every is None:
            notes.append("metadata.json does not say write_every: every step is taken as written")
        elif not is_number(every) or every <= 0:
            raise FileFormatError(f"{where}: write_every is {every!r:.40}, expected a number > 0")
        step = float(about["dt"]) * float(every if every is not None else 1)
    if not step > 0:
        raise FileFormatError(f"{where}: the time between frames is {step:g}, expected > 0")
    return step
