"""Which cases, or which parts of a trajectory, a study trains on, chooses by and tests on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from sciml import data as _data
from sciml.data import schema, splits
from sciml.errors import InputError, suggest
from sciml.problem import Case
from sciml.problems import DataProblem
from sciml.studies._look import Look
from sciml.training.parts import Part

FEW = 5  # cases in time below which their trajectories are split, rather than they
LEAST = 4  # steady cases below which nothing can be learned and tested
FRAMES = 6  # of a trajectory below which there is no first part and no rest


class Split(Part, family="split"):
    """How a study splits its data."""

    #: whether its cases are pieces of trajectories
    pieces_of_trajectories: ClassVar[bool] = False

    @abstractmethod
    def apply(self, dataset: Any, unusable: list[int], seed: int) -> tuple[Any, list[str]]:
        """The data set with its split, and what has to be said of it.

        Args:
            unusable: numbers of cases that are left out.

        Raises:
            InputError: data that cannot be split so.
        """


@dataclass(frozen=True)
class AsGiven(Split):
    """The split that the data bring. Where it names no case for validation, a tenth of those to train on is (of ten or
    more): the test stays what it is."""

    def apply(self, dataset: Any, unusable: list[int], seed: int) -> tuple[Any, list[str]]:
        if "split" not in dataset.variables:
            raise InputError("split: AsGiven() needs data that bring a split; ByCase() makes one")
        names = schema.flag_names(dataset["split"]).astype("<U10")
        names[unusable] = "unused"
        train, notes = np.flatnonzero(names == "train"), []
        if not (names == "validation").any() and len(train) >= 10:
            parts = splits.by_case(["all"] * len(train), (0.9, 0.1, 0.0), seed)
            names[train] = parts
            notes.append(f"The data bring no cases for validation: {int((parts == 'validation').sum())} of the "
                         f"{len(train)} to train on are taken for it.")  # fmt: skip
        return _with(dataset, names), notes


@dataclass(frozen=True)
class ByCase(Split):
    """By case, in equal shares within every subset.

    Args:
        fractions: shares of train, validation and test.
    """

    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)

    def apply(self, dataset: Any, unusable: list[int], seed: int) -> tuple[Any, list[str]]:
        good = np.ones(dataset.sizes["case"], bool)
        if "status" in dataset.variables:
            good = np.asarray(dataset["status"].values) == 0
        good[unusable] = False
        subsets = schema.flag_names(dataset["subset"]) if "subset" in dataset.variables else np.full(len(good), "all")
        names = np.full(len(good), "unused", dtype="<U10")
        names[good] = splits.by_case(subsets[good].tolist(), self.fractions, seed)
        content = [_content(dataset, i) if good[i] else i for i in range(len(good))]
        names, repeats = splits.together(names.tolist(), content)
        return _with(dataset, names), [f"{splits.repeated(repeats)}."] if repeats else []


@dataclass(frozen=True)
class InTime(Split):
    """By time: the first part of every trajectory to train on, the next to choose by, the rest to test on, in
    consecutive pieces, each a case of its own.

    A piece begins at time zero, so that nothing is said of how late in the trajectory it is: what is learned is the law
    from frame to frame. Pieces to train on share the frame at which they meet, and parts share none.

    Args:
        pieces: of each trajectory.
        fractions: shares of them for train, validation and test.
    """

    pieces_of_trajectories: ClassVar[bool] = True

    pieces: int = 10
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("pieces", 2)

    def apply(self, dataset: Any, unusable: list[int], seed: int) -> tuple[Any, list[str]]:
        found, names, several = [], [], dataset.sizes["case"] > 1
        for i in range(dataset.sizes["case"]):
            if i in unusable or ("status" in dataset.variables and int(dataset["status"].values[i])):
                continue
            case, solution = _data.case(dataset, i)
            if not isinstance(case.problem, DataProblem):
                case, solution = _without_class(case, solution)
            count = solution.sizes.get("time", 1)
            if count < FRAMES:
                continue
            timed = any(str(v).endswith("_times") for v in solution.variables)
            for name, a, b in self.parts(count):
                part = solution.isel(time=slice(a, b))
                times = np.asarray(part["time"].values, dtype=np.float64)
                start = 0.0 if timed else times[0]
                unit = case.problem.time_unit
                unit = "" if unit in ("", "1") else f" {unit}"
                label = f"{case.label or 'trajectory'}, {times[0]:.4g} to {times[-1]:.4g}{unit}"
                known = dataclasses.replace(
                    case, label=label, subset=case.subset or (f"trajectory_{i}" if several else ""),
                    parameters=dict(case.parameters), inputs=dict(case.inputs),
                )  # fmt: skip
                part = part.assign_coords(time=(("time",), times - start, dict(part["time"].attrs)))
                part.attrs |= known.to_attrs()
                found.append(part)
                names.append(name)
        if "test" not in names or "train" not in names:
            raise InputError(f"split: InTime() needs a trajectory of {FRAMES} frames or more")
        counts = {n: names.count(n) for n in ("train", "validation", "test")}
        told = ", ".join(f"{n} {k}" for k, n in counts.items() if n)
        what = f"{dataset.sizes['case']} trajectories" if several else "the trajectory"
        note = (f"The data set of this study consists of consecutive pieces of {what} ({told}); each begins at time "
                "zero. The test asks whether a trajectory is carried on, and says nothing about other parameters, "
                "places or beginnings.")  # fmt: skip
        return _data.pack(found, names, dtype=None), [note]

    def parts(self, frames: int) -> list[tuple[str, int, int]]:
        """(split, first frame, frame after the last) of the pieces of a trajectory."""
        pieces = max(2, min(self.pieces, frames // 3))
        shares = np.asarray(self.fractions) / sum(self.fractions)
        test = max(1, round(shares[2] * pieces))
        validation = max(1, round(shares[1] * pieces)) if shares[1] > 0 and pieces >= 5 else 0
        cuts = np.linspace(0, frames, pieces + 1).round().astype(int).tolist()
        found = []
        for k, (a, b) in enumerate(pairwise(cuts)):
            name = "test" if k >= pieces - test else "validation" if k >= pieces - test - validation else "train"
            found.append((name, a, b))
        # the step from one piece to the next is one to learn from, too
        return [
            (name, a, b + 1) if name == "train" and k + 1 < pieces and found[k + 1][0] == "train" else (name, a, b)
            for k, (name, a, b) in enumerate(found)
        ]


def _content(dataset: Any, number: int) -> str:
    """A digest of the fields of a case and of what is known of it."""
    case, solution = _data.case(dataset, number)
    found = hashlib.sha256(repr(sorted(case.parameters.items())).encode())
    for name in sorted({*(f.name for f in case.problem.fields), *(s.name for s in case.problem.inputs), *"xyz"}):
        if name in solution.variables:
            found.update(name.encode() + np.ascontiguousarray(solution[name].values).tobytes())
    return found.hexdigest()


def _without_class(case: Case, solution: Any) -> tuple[Case, Any]:
    """The same as data that no class describes: a piece begins as its first frame says, not as the problem would."""
    known, support = case.problem, case.support
    assert support is not None
    fields = [f for f in known.fields if f.name in known.state_fields and f.name in solution.variables]
    parameters = [{"name": p.name, "unit": p.unit, "default": float(case.parameters[p.name])} for p in known.parameters]
    problem = DataProblem(
        f"{known.name}_in_pieces", [{"name": f.name, "unit": f.unit, "description": f.description} for f in fields],
        parameters, known.dimensions, periodic=support.periodic, velocity=known.velocity, title=known.title,
        time_unit=known.time_unit, length_unit=known.length_unit,
    )  # fmt: skip
    made = problem.case(label=case.label, subset=case.subset, **case.parameters).on(support)
    values = {f.name: (solution[f.name].dims, solution[f.name].values) for f in fields}
    again = _data.solution(made, solution["time"].values, values, support)
    return _data.case(_data.pack([again], dtype=None), 0)


def _with(dataset: Any, names: np.ndarray) -> Any:
    for needed in ("train", "test"):
        if not (names == needed).any():
            raise InputError(f"split: no case is left for {needed!r}")
    note = schema.flag_attrs(schema.SPLITS, "split, by case")
    return dataset.assign(split=(("case",), splits.codes(names), note))


def by_logarithm(dataset: Any, names: Sequence[str]) -> Any:
    """The data set with a problem that tells these parameters by their logarithms.

    Raises:
        InputError: a problem that has a class, or a parameter that is none.
    """
    if not names:
        return dataset
    problem = _data.case(dataset, 0)[0].problem
    if not isinstance(problem, DataProblem):
        raise InputError(f"logarithmic: {problem.name} says itself how it tells its parameters")
    known = [p.name for p in problem.parameters]
    for name in names:
        if name not in known:
            raise InputError(f"logarithmic: {problem.name} has no parameter {name!r}{suggest(name, known)}")
    content: dict[str, Any] = json.loads(json.dumps(problem.options))
    for spec in content["parameters"]:
        if spec["name"] in names:
            spec |= {"logarithmic": True, "minimum": 0.0, "open_minimum": True}
            spec["default"] = spec["default"] if spec["default"] > 0 else 1.0
    return dataset.assign_attrs(DataProblem(**content).to_attrs())


def suited(look: Look) -> tuple[Split | None, list[str]]:
    """How these data are to be split, or None where nothing can be learned and tested; and the reasons."""
    usable = look.cases - look.failed - len(look.unusable)
    enough = usable >= (LEAST if look.steady else FEW)
    if look.splits.get("train") and look.splits.get("test") and (enough or not look.imported):
        told = "is the one that the data bring"
        if look.imported:
            told = {
                "made": "was made at the import, by case", "brought": "is the one that the source brings",
                "brought for some": "is partly the source's; of the other cases it was made at the import",
            }.get(look.split_source, "was made at the import, by case, unless the source has one")  # fmt: skip
        return AsGiven(), [f"The split {told}.", *_by_case(usable)]
    if look.steady:
        if usable < LEAST:
            return None, _too_few(look, usable)
        shares = (0.8, 0.1, 0.1) if usable >= 30 else (0.7, 0.1, 0.2)
        return ByCase(shares), _by_case(usable)
    if look.frames[1] < 2:
        return None, [f"Every case has one frame, although the data have a time: there is no step to learn. {_ONE}"]
    if usable >= FEW:
        shares = (0.8, 0.1, 0.1) if usable >= 30 else (0.7, 0.1, 0.2)
        return ByCase(shares), _by_case(usable)
    if look.frames[1] >= FRAMES:
        pieces = max(10, min(50, look.frames[1] // 40))
        what = "one trajectory" if usable == 1 else f"{usable} trajectories"
        return InTime(pieces), [
            f"There is {what}: the first part in time is trained on, the rest is the test."
            if usable == 1 else
            f"There are only {what}, too few to hold whole ones out: of each the first part in time is trained on, the "
            "rest is the test.",
            *(["The split that the source brings is not used: it has too few trajectories to hold whole ones out."]
              if look.split_source == "brought" and len(look.splits) > 1 else []),
        ]  # fmt: skip
    return None, _too_few(look, usable)


_ONE = "If they are steady solutions, import them without a time."


def _by_case(usable: int) -> list[str]:
    found = ["Whole cases are held out: no frame of a test case is trained on."]
    if usable < 20:
        found.append(f"There are {usable} cases, so the test is a handful: differences between rows may be luck.")
    return found


def _too_few(look: Look, usable: int) -> list[str]:
    if look.steady:
        what = "is one steady solution" if usable == 1 else f"are {usable} steady solutions"
        return [
            f"There {what}: nothing can be learned from that. A surrogate interpolates between solutions that differ "
            "in something that is known of them (a parameter, a shape, an input field).",
            "Look at the data (below) and check them (sciml info, sciml.audit). Solve the same problem for other "
            f"parameters and study all of them together: from {LEAST} solutions on a study begins, from about 20 its "
            "verdict means something.",
        ]  # fmt: skip
    many = f"{usable} case{'s' if usable != 1 else ''} of at most {look.frames[1]} frames"
    return [
        f"There {'is' if usable == 1 else 'are'} {many}: too few to train on a part and test on the rest.",
        f"Write out more frames (from {FRAMES} on a trajectory can be split in time; 100 or more tell something), or "
        "solve for further parameters or beginnings.",
    ]  # fmt: skip
