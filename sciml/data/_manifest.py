"""Which cases a data set holds and how they are split, as a small file by which two people can tell that they compare
on the same cases.

    digest = SHA-256 over the sorted lines "case digest, subset, split, named splits"

so that neither the order of cases nor the file that they came by matters (see `sciml.data._content`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sciml.data import _files, schema
from sciml.data._content import Content, content, split_of
from sciml.errors import FileFormatError, InputError

FORMAT, VERSION = "sciml split manifest", 1
MOST_BYTES = 1 << 30
_SHA = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Entry:
    """One case.

    Args:
        sha256: digest of its values and parameters.
        described: digest of what it is (parameters, inputs, geometry), without its values.
        split, subset: where it belongs.
        named: name of a named split (a fold) -> where it belongs there.
        frames: how many it has.
        label: for people; proves nothing.
    """

    sha256: str
    described: str
    split: str
    subset: str
    named: dict[str, str]
    frames: int
    label: str

    def __str__(self) -> str:
        return f"{self.label or 'a case'} ({self.sha256[:12]}, {self.split})"


@dataclass(frozen=True)
class Comparison:
    """What another data set holds of the cases of a manifest.

    Args:
        missing: cases of the manifest that the data do not hold.
        added: cases of the data that the manifest does not name.
        changed: (case of the manifest, case of the data) that are described alike, with other values.
        moved: (case of the manifest, the same case in the data) whose split, subset or fold is another.
    """

    missing: tuple[Entry, ...]
    added: tuple[Entry, ...]
    changed: tuple[tuple[Entry, Entry], ...]
    moved: tuple[tuple[Entry, Entry], ...]

    @property
    def same(self) -> bool:
        """Whether the data hold the cases of the manifest, split as it says, and no others."""
        return not (self.missing or self.added or self.changed or self.moved)

    def lines(self) -> list[str]:
        """What differs, a line each."""
        found = [f"missing: {e}" for e in self.missing] + [f"not in the manifest: {e}" for e in self.added]
        found += [f"changed: {a}, now {b.sha256[:12]}" for a, b in self.changed]
        return found + [f"moved: {a}: {_moves(a, b)}" for a, b in self.moved]

    def __str__(self) -> str:
        return "the same cases, split alike" if self.same else "\n".join(self.lines())


@dataclass(frozen=True)
class Manifest:
    """The cases of a data set and their splits.

    Args:
        problem: name of the problem.
        cases: sorted by their digests.
    """

    problem: str
    cases: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """Equal for equal cases that are split alike, whatever their order and files."""
        lines = sorted(json.dumps([e.sha256, e.subset, e.split, sorted(e.named.items())]) for e in self.cases)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Number of cases in each split that has some."""
        found = {name: sum(e.split == name for e in self.cases) for name in schema.SPLITS}
        return {k: n for k, n in found.items() if n}

    def to_json(self) -> dict[str, Any]:
        cases = [{k: v for k, v in asdict(e).items() if v not in ("", {})} for e in self.cases]
        return {
            "format": FORMAT, "version": VERSION, "problem": self.problem, "sha256": self.digest,
            "splits": self.counts(), "cases": cases,
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: Any, where: str = "manifest") -> Manifest:
        """Raises FileFormatError for what is no manifest, or one whose digest does not agree with its cases."""
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise FileFormatError(f"{where}: is no manifest of splits, expected what sciml data manifest writes")
        if told.get("version") != VERSION:
            raise FileFormatError(f"{where}: version is {told.get('version')!r:.40}, expected {VERSION}")
        try:
            found = cls(_text(told["problem"]), tuple(_entry(e) for e in told["cases"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"{where}: cannot be read: {type(error).__name__} {str(error)[:100]}") from None
        if found.digest != told.get("sha256"):
            raise FileFormatError(f"{where}: its digest does not agree with its cases: the file was changed")
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file."""
        _files.write_json(Path(_files.given(path)), self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Manifest:
        """Read a JSON file.

        Raises:
            InputError: it cannot be read, or is no manifest.
        """
        name = _files.given(path)
        try:
            if os.path.getsize(name) > MOST_BYTES:
                raise FileFormatError(f"{name}: is too large for a manifest")
            told = json.loads(Path(name).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise FileFormatError(f"{name}: is not JSON, expected a manifest of splits") from None
        except OSError as error:
            raise InputError(f"{name}: cannot read: {_files.reason(error)}") from None
        return cls.from_json(told, name)

    def check(self, data: Any) -> Comparison:
        """Hold another data set (a file, a data set, what was looked through already, a manifest) against this one.

        Raises:
            InputError: another problem.
        """
        other = data if isinstance(data, Manifest) else manifest(data)
        if other.problem != self.problem:
            raise InputError(f"manifest: is of problem {self.problem!r}, the data are of {other.problem!r}")
        theirs: dict[str, list[Entry]] = defaultdict(list)
        for entry in other.cases:
            theirs[entry.sha256].append(entry)
        lost: list[Entry] = []
        moved: list[tuple[Entry, Entry]] = []
        for entry in self.cases:
            alike = theirs[entry.sha256]
            if not alike:
                lost.append(entry)
                continue
            k = next((k for k, e in enumerate(alike) if _place(e) == _place(entry)), 0)  # of twins, the one that fits
            twin = alike.pop(k)
            if _place(twin) != _place(entry):
                moved.append((entry, twin))
        added = [e for alike in theirs.values() for e in alike]
        changed: list[tuple[Entry, Entry]] = []
        for key in (lambda e: (e.described, e.label), lambda e: e.described):
            old, new = _by(key, lost), _by(key, added)
            pairs = [(mine[0], new[k][0]) for k, mine in old.items() if len(mine) == len(new.get(k, ())) == 1]
            changed += pairs
            gone = {id(e) for pair in pairs for e in pair}
            lost, added = [e for e in lost if id(e) not in gone], [e for e in added if id(e) not in gone]
        return Comparison(tuple(lost), tuple(added), tuple(changed), tuple(moved))

    def assign(self, data: Any) -> dict[str, list[str]]:
        """The splits of the cases of a data set, as variables by name: "split", and "split_<name>" for named ones.

        Cases that the manifest does not name are "unused", with a warning.

        Raises:
            InputError: cases of the manifest that the data do not hold, or one that it puts in two splits.
        """
        found = content(data)
        mine: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.cases:
            mine[entry.sha256].append(entry)
        for alike in mine.values():
            if len({e.split for e in alike}) > 1:
                places = " and ".join(sorted({e.split for e in alike}))
                raise InputError(f"manifest: {alike[0].label or alike[0].sha256[:12]} is in {places}, expected one")
        held = set(found.sha256)
        missing = [alike[0] for sha, alike in mine.items() if sha not in held]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(f"manifest: the data do not hold {missing[0]}{more}; expected the cases that it names")
        unknown = sum(sha not in mine for sha in found.sha256)
        if unknown:
            warnings.warn(f"manifest: {unknown} cases of the data are not named in it, and are unused", stacklevel=2)
        made = {"split": [mine[sha][0].split if sha in mine else "unused" for sha in found.sha256]}
        for name in sorted({n for e in self.cases for n in e.named}):
            each = [mine[sha][0].named.get(name, "unused") if sha in mine else "unused" for sha in found.sha256]
            made[f"split_{name}"] = each
        return made


def manifest(data: Any, progress: bool = False) -> Manifest:
    """The manifest of a data set: every value is looked at once.

    Args:
        data: a file, a packed data set, or what `content` made of it.
        progress: whether to show a bar.
    """
    found: Content = content(data, progress)
    dataset = found.dataset
    named = {str(v).removeprefix("split_"): split_of(dataset, str(v)) for v in dataset.variables
             if str(v).startswith("split_")}  # fmt: skip
    labels, where, subset, frames = labels_of(dataset), found.split, found.subset, dataset["row_size"].values
    entries = [
        Entry(
            found.sha256[i], found.described[i], where[i], subset[i], {k: v[i] for k, v in named.items()},
            int(frames[i]), labels[i],
        )
        for i in range(found.count)
    ]  # fmt: skip
    return Manifest(str(dataset.attrs["problem"]), tuple(sorted(entries, key=lambda e: (e.sha256, e.label))))


def labels_of(dataset: Any) -> Sequence[str]:
    """What people call each case; "" where nobody does."""
    if "case_json" not in dataset.variables:
        return [""] * dataset.sizes["case"]
    return [str(json.loads(str(t)).get("label", "")) for t in dataset["case_json"].values]


def _by(key: Callable[[Entry], Any], entries: Iterable[Entry]) -> dict[Any, list[Entry]]:
    found: dict[Any, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[key(entry)].append(entry)
    return found


def _place(entry: Entry) -> tuple[Any, ...]:
    return entry.split, entry.subset, tuple(sorted(entry.named.items()))


def _moves(a: Entry, b: Entry) -> str:
    pairs = [("split", a.split, b.split), ("subset", a.subset, b.subset)]
    pairs += [(n, a.named.get(n, "none"), b.named.get(n, "none")) for n in sorted({*a.named, *b.named})]
    return ", ".join(f"{what} {old} -> {new}" for what, old, new in pairs if old != new)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not text")
    return value


def _entry(told: Any) -> Entry:
    found = Entry(
        _text(told["sha256"]), _text(told["described"]), _text(told["split"]), _text(told["subset"]),
        {_text(k): _text(v) for k, v in dict(told.get("named", {})).items()}, int(told["frames"]),
        _text(told.get("label", "")),
    )  # fmt: skip
    if not _SHA.match(found.sha256) or not _SHA.match(found.described):
        raise ValueError(f"{found.sha256!r:.70} is no SHA-256")
    for split in (found.split, *found.named.values()):
        if split not in schema.SPLITS:
            raise ValueError(f"{split!r:.40} is not a split")
    for name in found.named:
        if not schema.NAME.match(name):
            raise ValueError(f"{name!r:.40} is not a name for a split")
    return found
