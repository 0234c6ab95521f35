"""Which files with arrays belong together: one file for all, a file a case, a folder a case, a file a frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sciml.data.importers import _names
from sciml.data.importers._source import Source, natural
from sciml.data.importers._stored import Stored, arrays_of
from sciml.errors import FileFormatError, InputError

ENDINGS = ("npy", "npz", "mat")
BESIDE = ("csv", "tsv", "json", "toml")
FRAMES = ("frame", "frames", "step", "t", "time", "snapshot", "snap", "iter", "timestep", "it")
WORDLESS = ("case", "sim", "sample", "run", "data", "file", "example", "simulation", "traj", "trajectory", "solution",
            "output", "result", "results", "field", "")  # fmt: skip


@dataclass
class Bundle:
    """Files that are read together.

    Args:
        label: for people: a file, a folder, a number; "" where there is one bundle alone.
        files: of its own, then those that it shares with others.
        made: gives its arrays by name.
        single: whether it is one case for sure.
        split: as its path says, "" where that says nothing.
    """

    label: str
    files: tuple[str, ...]
    made: Callable[[], dict[str, Stored]]
    single: bool = False
    split: str = ""

    @cached_property
    def arrays(self) -> dict[str, Stored]:
        """Read when it is asked for.

        Raises:
            FileFormatError: a damaged file.
        """
        return self.made()


@dataclass
class Found:
    """All bundles, and files beside them.

    Args:
        beside: tables of parameters.
        notes: what was left out.
        times: what the numbers of files say of times, where a file is a frame.
    """

    bundles: list[Bundle]
    beside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    times: Mapping[str, np.ndarray] = field(default_factory=dict)


def is_arrays(name: str) -> bool:
    return name.rpartition(".")[2].lower() in ENDINGS


def found(source: Source, files: str = "") -> Found:
    """The bundles of a source.

    Args:
        files: "cases" or "times": what numbered .npy files are, "" to go by their names.

    Raises:
        InputError, FileFormatError: files of several kinds that do not go together; a damaged file.
    """
    arrays = [n for n in source.names if is_arrays(n)]
    if not source.is_folder:
        return Found([Bundle("", tuple(arrays), lambda: _merged(source, arrays))])
    beside = [n for n in source.names if n.rpartition(".")[2].lower() in BESIDE]
    others = [n for n in source.names if n not in set(arrays) | set(beside)]
    notes = []
    if others:
        shown = ", ".join(others[:4]) + (" ..." if len(others) > 4 else "")
        notes.append(f"{len(others)} files that hold no arrays are left out: {shown}")
    folders = source.groups(arrays)
    made: dict[str, dict[str, Callable[[], dict[str, Stored]]]] = {}
    times: dict[str, np.ndarray] = {}
    for folder, names in folders.items():
        made[folder], clock = _parts(source, names, files)
        if clock is not None:
            times[folder] = clock
    bundles = _by_folder(source, made, notes) or _by_file(source, folders, files, notes)
    if not bundles:
        everything = [part for parts in made.values() for part in parts.values()]
        if any("/" in f or f for f in made if f) and len(made) > 1:
            notes.append(f"arrays of {len(made)} folders are read as those of one: {', '.join(list(made)[:4])}")
        bundles = [Bundle("", tuple(arrays), lambda: _joined(source, everything))]
    return Found(bundles, beside, notes, times)


# -- parts of a folder ------------------------------------------------------------------------------------------------


def _parts(
    source: Source, names: Sequence[str], files: str
) -> tuple[dict[str, Callable[[], dict[str, Stored]]], np.ndarray | None]:
    """Name -> what gives its arrays; .npy files that are frames are one part together, with their times."""
    parts: dict[str, Callable[[], dict[str, Stored]]] = {}
    clock, groups = None, series(names)
    for template, members in groups.items():
        word = _word(template)
        last = re.split(r"[_\-.\s=]", template.partition("#")[0].rstrip("_-=. "))[-1].lower()
        if len(members) > 1 and (files == "times" or (not files and last in FRAMES)):
            ordered = sorted(members, key=lambda pair: pair[0])
            if clock is None:
                clock = np.array([k[-1] if len(k) == 1 else _decimal(k) for k, _ in ordered], np.float64)
            rest = word if word.lower() not in FRAMES else "u"
            parts[rest] = lambda o=ordered, w=rest: {w: _stacked(source, w, [n for _, n in o])}
        else:
            for _, name in members:
                parts[name.rpartition("/")[2]] = lambda n=name: arrays_of(source, n)
    for name in names:
        if not name.lower().endswith(".npy"):
            parts[name.rpartition("/")[2]] = lambda n=name: arrays_of(source, n)
    return parts, clock


def _decimal(key: tuple[int, ...]) -> float:
    return float(f"{key[-2]}.{key[-1]}")


def series(names: Sequence[str]) -> dict[str, list[tuple[tuple[int, ...], str]]]:
    """.npy files by their names with numbers blotted out; those whose numbers rather belong to variables (u1, u2, or
    train_16_x) are groups of their own."""
    groups: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    for name in names:
        if name.lower().endswith(".npy"):
            stem = name.rpartition("/")[2][:-4]
            key = tuple(int(d[:18]) for d in re.findall(r"\d+", stem))
            groups.setdefault(re.sub(r"\d+", "#", stem), []).append((key, name))
    kept: dict[str, list[tuple[tuple[int, ...], str]]] = {}
    for template, members in groups.items():
        stems = [n.rpartition("/")[2] for _, n in members]
        numbered = "#" in template and not _names.split_of(template)[0] and (
            len(members) > 3 or not re.search(r"[A-Za-z]#", template) or any(re.search(r"(?<!\d)0\d", s) for s in stems)
        )  # fmt: skip
        if numbered and len(members) > 1:
            kept[template] = members
        else:
            kept |= {s[:-4]: [(k, n)] for s, (k, n) in zip(stems, members, strict=True)}
    return kept


def _word(template: str) -> str:
    """What is left of such a name without numbers: the variable."""
    words = [w for w in re.split(r"[#_\-.\s=]+", template) if w]
    kept = [w for w in words if w.lower() not in (*WORDLESS, *FRAMES)]
    return "_".join(kept) or "u"


def _stacked(source: Source, word: str, names: Sequence[str]) -> Stored:
    """Frames as one array."""
    first = next(iter(arrays_of(source, names[0]).values()))

    def load() -> np.ndarray:
        frames = []
        for name in names:
            frame = next(iter(arrays_of(source, name).values()))
            if frame.shape != first.shape or frame.problem:
                why = frame.problem or f"shape {frame.shape}, but {names[0]} has {first.shape}"
                raise FileFormatError(f"{source.path(name)}: {why}")
            frames.append(frame.load())
        return np.stack(frames)

    return Stored(word, names[0], (len(names), *first.shape), first.dtype, load, first.problem)


def _merged(source: Source, names: Sequence[str]) -> dict[str, Stored]:
    return _joined(source, [lambda n=n: arrays_of(source, n) for n in names])


def _joined(source: Source, parts: Sequence[Callable[[], dict[str, Stored]]]) -> dict[str, Stored]:
    """The arrays of several parts; of a name that two files have, the file's name tells them apart."""
    found: dict[str, Stored] = {}
    for part in parts:
        for name, stored in part().items():
            if name in found:
                stem = stored.file.rpartition("/")[2].rpartition(".")[0]
                name = f"{stem}:{name}" if f"{stem}:{name}" not in found else f"{stored.file}:{name}"
            found[name] = stored
    return found


# -- a folder a case, a file a case -----------------------------------------------------------------------------------


def _by_folder(
    source: Source, made: Mapping[str, Mapping[str, Callable[[], dict[str, Stored]]]], notes: list[str]
) -> list[Bundle]:
    sets: dict[tuple[str, ...], list[str]] = {}
    for folder, parts in made.items():
        if folder:
            sets.setdefault(tuple(sorted(parts)), []).append(folder)
    if not sets:
        return []
    names, folders = max(sets.items(), key=lambda item: len(item[1]))
    if len(folders) < 2 or _repeat(made[folders[0]]) or any(len(g) > 1 for g in series(names).values()):
        return []
    above = {"/".join(f.split("/")[:k]) for f in folders for k in range(f.count("/") + 1)}
    common = [part for f in sorted(above) if f in made for part in made[f].values()]
    left = [f for f in made if f not in folders and f not in above]
    if left:
        shown = ", ".join(left[:4]) + (" ..." if len(left) > 4 else "")
        notes.append(f"{len(left)} folders whose files are not those of the others ({', '.join(names[:4])}) are left "
                     f"out: {shown}")  # fmt: skip
    shared = tuple(n for n in source.names if n.rpartition("/")[0] in above and is_arrays(n))
    found = []
    for folder in sorted(folders, key=natural):
        split, rest = _split(folder)
        files = tuple(f"{folder}/{n}" for n in names) + shared
        parts = [*made[folder].values(), *common]
        found.append(Bundle(folder, files, lambda p=parts: _joined(source, p), bool(rest), split))
    return found


def _split(path: str) -> tuple[str, str]:
    """The part of a split that a path speaks of, and whether anything else is in it: "test/3" is ("test", "3")."""
    split, rest = "", []
    for part in path.split("/"):
        stem = part.rpartition(".")[0] if is_arrays(part) else part
        told, left = _names.split_of(stem)
        split = split or told
        rest += [left] if left else []
    return split, "/".join(rest)


def _repeat(parts: Mapping[str, Callable[[], dict[str, Stored]]]) -> bool:
    """Whether files of one folder hold the same variables."""
    several = [n for n in parts if not n.lower().endswith(".npy") and is_arrays(n)]
    seen = [tuple(sorted(parts[n]())) for n in several[:3]]
    return len(set(seen)) < len(seen)


def _by_file(source: Source, folders: Mapping[str, Sequence[str]], files: str, notes: list[str]) -> list[Bundle]:
    containers = [n for names in folders.values() for n in names if not n.lower().endswith(".npy")]
    single = [n for names in folders.values() for n in names if n.lower().endswith(".npy")]
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in containers:
        groups.setdefault(_keys(source, name), []).append(name)
    repeated = [g for g in groups.values() if len(g) > 1]
    if len(repeated) > 1:
        told = "; ".join(f"{g[0]} and {len(g) - 1} more" for g in repeated[:4])
        raise InputError(f"{source.root}: files that hold different variables, expected those of one kind: {told}")
    if repeated:
        common = [n for n in (*containers, *single) if n not in set(repeated[0])]
        if common:
            notes.append(f"read with every case: {', '.join(common[:5])}" + (" ..." if len(common) > 5 else ""))
        return [_of_files(source, (name,), common, name, bool(_split(name)[1])) for name in repeated[0]]
    if files == "times":
        return []
    by_number: dict[tuple[str, tuple[int, ...]], dict[str, str]] = {}
    common = list(containers)
    templates: set[str] = set()
    for folder, names in folders.items():
        for template, members in series(names).items():
            if len(members) == 1:
                common += [n for _, n in members]
                continue
            last = re.split(r"[_\-.\s=]", template.partition("#")[0].rstrip("_-=. "))[-1].lower()
            if not files and last in FRAMES:
                return []
            templates.add(_word(template))
            for key, name in members:
                by_number.setdefault((folder, key), {})[_word(template)] = name
    for (folder, key), these in by_number.items():
        missing = sorted(templates - set(these))
        if missing:
            number = ".".join(map(str, key))
            raise FileFormatError(
                f"{source.root}: {next(iter(these.values()))} has no {missing[0]} with the number {number} beside it"
                + (f" in {folder}" if folder else "")
            )
    return [
        _of_series(source, these, common, next(iter(these.values())))
        for (_, _), these in sorted(by_number.items(), key=lambda item: (natural(item[0][0]), item[0][1]))
    ]


def _of_files(source: Source, own: Sequence[str], common: Sequence[str], label: str, single: bool) -> Bundle:
    split, _ = _split(label)
    return Bundle(label, (*own, *common), lambda: _merged(source, [*own, *common]), single, split)


def _of_series(source: Source, own: Mapping[str, str], common: Sequence[str], label: str) -> Bundle:
    def made() -> dict[str, Stored]:
        renamed = {}
        for word, name in own.items():
            stored = next(iter(arrays_of(source, name).values()))
            renamed[word] = Stored(word, name, stored.shape, stored.dtype, stored.load, stored.problem)
        return renamed | {k: v for k, v in _merged(source, common).items() if k not in renamed}

    return Bundle(label, (*own.values(), *common), made, True, _split(label)[0])


def _keys(source: Source, name: str) -> tuple[str, ...]:
    """Names of the variables of a file, found quickly."""
    try:
        if name.lower().endswith(".npz"):
            import zipfile

            with source.open(name) as file, zipfile.ZipFile(file) as archive:
                return tuple(sorted(archive.namelist()))
        import scipy.io

        if source.signature(name) == "MATLAB 5":
            with source.open(name) as file:
                return tuple(sorted(v[0] for v in scipy.io.whosmat(file)))
    except (InputError, FileFormatError):
        raise
    except Exception:  # said with more words when the file is read
        return ("?",)
    return ("?",)
