"""PDEBench: files of benchmark problems, in five layouts (N cases, T frames; axes of space run x, y, z).

    scalar          tensor (N, T, X), x-coordinate, t-coordinate                  advection, Burgers, reaction-diffusion
    compressible    density, pressure, Vx, Vy, Vz (N, T, X, Y, Z), coordinates    compressible Navier-Stokes, 1-D to 3-D
    darcy           nu (N, X, Y), tensor (N, 1, X, Y)                             steady Darcy flow
    groups          0000/data (T, X, Y, C), 0000/grid/x, y, t                     diffusion-sorption, -reaction, waves
    incompressible  velocity (N, T, X, Y, 2), particles (…, 1), force (N, X, Y, 2), t (N, T)

Several files of one folder are values of parameters; these stand in attributes or in file names.

Source: M. Takamoto, T. Praditia, R. Leiteritz, D. MacKinlay, F. Alesiani, D. Pflüger, M. Niepert, "PDEBench: An
Extensive Benchmark for Scientific Machine Learning", NeurIPS 2022.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from sciml.data.importers._gridded import flags, same_shape, told_parameters
from sciml.data.importers._hdf5 import is_tree, open_tree
from sciml.data.importers._layout import Cases, Raw, Reading, Recognised
from sciml.data.importers._mapping import Plan
from sciml.data.importers._pdebench_cases import READERS
from sciml.data.importers._pdebench_files import File, kind_of, looked_at, tell_shared, varying
from sciml.data.importers._published import _nothing_but
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError

SUFFIXES = ("*.h5", "*.hdf5")
TITLES = {
    "scalar": "scalar", "compressible": "compressible flow", "darcy": "Darcy flow", "groups": "groups",
    "incompressible": "incompressible flow",
}  # fmt: skip


class PDEBench(Cases):
    """PDEBench's .hdf5 and .h5 files: one, or a folder of the same layout."""

    name = "pdebench"
    title = "PDEBench"
    options: ClassVar[Mapping[str, str]] = {
        "cases": "read so many of each file, the first ones",
        "every": "keep each so many-th frame",
    }

    def recognise(self, source: Source) -> Recognised | None:
        names = source.matching(*SUFFIXES) if source.is_folder else source.names
        for name in names[:3]:
            if not is_tree(source, name):
                continue
            try:
                with open_tree(source, name) as tree:
                    kind = kind_of(tree)
            except FileFormatError:
                continue
            if kind:
                title = f"{self.title}, {TITLES[kind]}"
                return Recognised(self.name, title, {"files": len(names), "kind": kind}, 3)
        return None

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        files = self._files(source, [])
        found = Plan(layout=self.name, problem=f"pdebench_{files[0].equation}")
        told = ", ".join(f"{k} = {v:g}" for k, v in files[0].parameters.items()) or "none"
        return found, {"problem": f"parameters of {files[0].name}: {told}; periodic: {files[0].periodic}"}

    def read(self, source: Source, plan: Plan) -> Reading:
        from sciml.problem import FieldSpec, InputSpec, ParameterSpec
        from sciml.problems.own_data import DataProblem

        _nothing_but(plan, self.name, "problem", "periodic", "time", "coordinates", "parameters")
        notes: list[str] = []
        files = self._files(source, notes)
        axes = "xyz"[: len(files[0].shape)]
        around = flags(plan, axes, [bool(files[0].periodic)] * len(axes))
        if files[0].periodic is None and not plan.periodic:
            notes.append(f'whether the domain is periodic is not told: taken as not (periodic = ["{axes[0]}", ...])')
        space = tuple(reversed(axes))
        kind = files[0].kind
        force = {f"force_{a}": "source" for a in axes}
        inputs = {"darcy": {"nu": "coefficient"}, "incompressible": force}.get(kind, {})
        names = list(dict.fromkeys([*_parameters(files), *plan.parameters]))
        velocity = tuple(f for f in files[0].fields if f in ("Vx", "Vy", "Vz") or f.startswith("velocity_"))
        problem = DataProblem(
            plan.problem or f"pdebench_{files[0].equation}", [FieldSpec(f, "1") for f in files[0].fields],
            [ParameterSpec(n, "1", 0.0) for n in names], len(axes), steady=not files[0].frames,
            inputs=[InputSpec(n, "1", k, space) for n, k in inputs.items()], periodic=around, velocity=velocity,
            title=plan.title or f"PDEBench, {files[0].equation.replace('_', ' ')}", time_unit="1", length_unit="1",
        )  # fmt: skip
        most = plan.option("cases", int, 0)
        counts = [min(f.count, most) if most > 0 else f.count for f in files]
        cases = self._cases(source, plan, files, counts, around, notes)
        return Reading(problem, sum(counts), cases, notes)

    # -- what there is ------------------------------------------------------------------------------------------------

    def _files(self, source: Source, notes: list[str]) -> list[File]:
        """All files, of one layout, one equation and one shape."""
        names = source.matching(*SUFFIXES) if source.is_folder else list(source.names)
        found = []
        for name in names:
            with open_tree(source, name) as tree:
                kind = kind_of(tree)
                if not kind:
                    held = ", ".join([*tree.root.variables, *(f"{g}/" for g in tree.root.groups)][:8]) or "nothing"
                    raise FileFormatError(f"{tree.label}: none of PDEBench's layouts: it holds {held}")
                found.append(looked_at(tree, name, kind, notes))
        if not found:
            raise FileFormatError(f"{source.root}: no .h5 or .hdf5 file")
        others = [n for n in source.names if n not in names]
        if others:
            notes.append(f"left out {len(others)} other files: {', '.join(others[:5])}")
        for what in ("kind", "equation", "fields", "shape", "periodic"):
            words = {"kind": "layout", "shape": "the grid", "periodic": "periodic"}.get(what, what)
            same_shape({f.name: getattr(f, what) for f in found}, words)
        same_shape({f.name: bool(f.frames) for f in found}, "times")
        shared, each = varying([f.settings for f in found])
        tell_shared(shared, notes)
        for file, own in zip(found, each, strict=False):
            file.parameters |= own
        wanted = set(_parameters(found))
        for file in found:
            missing = wanted - set(file.parameters) - set(*file.each[:1])
            if missing:
                raise FileFormatError(
                    f"{file.name}: says nothing of {', '.join(sorted(missing))}, which other files have; tell it in "
                    "the file's name (..._Nu0.01.hdf5)"
                )
        return found

    # -- cases ----------------------------------------------------------------------------------------------------

    def _cases(
        self, source: Source, plan: Plan, files: Sequence[File], counts: Sequence[int], around: Any, notes: list[str]
    ) -> Iterator[Raw]:
        for file, count in zip(files, counts, strict=True):
            stem = file.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
            split = {"test": "test", "valid": "validation", "val": "validation", "train": "train"}.get(
                next((w for w in ("test", "valid", "val", "train") if stem.lower().endswith(f"_{w}")), ""), ""
            )
            split = split if len({_ending(f.name) for f in files}) > 1 else ""
            with open_tree(source, file.name) as tree:
                for n in range(count):
                    label = f"{stem}: {file.groups[n] if file.groups else n}"
                    raw = READERS[file.kind](tree, file, n, plan, around, notes)
                    raw.label, raw.split = label, split
                    raw.subset = stem if len(files) > 1 and not split else ""
                    each = file.each[n] if file.each else {}
                    raw.parameters = {**file.parameters, **each, **told_parameters(plan, label, file.name, stem)}
                    yield raw


def _ending(name: str) -> str:
    found = re.search(r"_(train|test|valid|val)\.\w+\Z", name.lower())
    return found[1] if found else ""


def _parameters(files: Sequence[File]) -> list[str]:
    return list(dict.fromkeys(k for f in files for k in [*f.parameters, *(k for e in f.each[:1] for k in e)]))
