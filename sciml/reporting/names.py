"""What rows are called: runs that are seeds of one model share a name, all others differ in what makes them differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sciml._repr_html import pretty_unit
from sciml.errors import is_number

MOST = 3  # differences that still make a name
FOLLOW = ("parameters", "data")  # follow from the rest, or are no words
_MISSING = object()


def unit_text(unit: str) -> str:
    """Return a unit as people write it, "" for a number without one."""
    shown = pretty_unit(unit)
    return "" if shown == "–" else shown


def labelled(name: str, unit: str) -> str:
    """Return what stands at an axis: the name, and the unit in brackets if there is one."""
    return f"{name} ({unit})" if unit else name


def measured(value: float, unit: str) -> str:
    """Return a number in a sentence, with its unit if there is one."""
    return f"{value:.3g} {unit}".strip()


def flattened(content: Any, path: str = "") -> dict[str, Any]:
    """Nested settings as dotted paths: {"optimiser": {"kind": "AdamW", "lr": 1e-3}} as {"optimiser": "AdamW",
    "optimiser.lr": 1e-3}. Lists of plain values stay whole."""
    if isinstance(content, Mapping):
        found: dict[str, Any] = {}
        if path and "kind" in content:
            found[path] = content["kind"]
        for name, value in content.items():
            if name != "kind" or not path:
                found |= flattened(value, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(content, list | tuple) and any(isinstance(v, Mapping | list | tuple) for v in content):
        found = {}
        for i, value in enumerate(content):
            found |= flattened(value, f"{path}.{i}")
        return found
    return {path: list(content) if isinstance(content, tuple) else content}


def model_names(surrogates: Sequence[Any], paths: Sequence[str]) -> list[str]:
    """Return one name a surrogate, shared by those whose `identity` is equal: seeds of one model.

    Set-ups that share a title get what differs between them added, as in "FNO (history 4)"; where that takes more than
    three settings, the names of their folders.
    """
    keys = [json.dumps(s.identity, sort_keys=True, default=str) for s in surrogates]
    names: dict[str, str] = {}
    for title in dict.fromkeys(s.title for s in surrogates):
        rivals = list(dict.fromkeys(k for k, s in zip(keys, surrogates, strict=True) if s.title == title))
        first = [keys.index(k) for k in rivals]
        folders = [Path(paths[i]).name or f"model {n}" for n, i in enumerate(first, 1)]
        found = _differences([surrogates[i].identity for i in first]) if len(rivals) > 1 else [""]
        if found is None:
            found = folders if len(set(folders)) == len(folders) else [f"{f} {n}" for n, f in enumerate(folders, 1)]
        names |= {k: f"{title} ({words})" if words else title for k, words in zip(rivals, found, strict=True)}
    return [names[k] for k in keys]


def _differences(identities: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Words for what differs, one text each; None where that cannot be said briefly or does not tell them apart."""
    flat = [flattened({k: v for k, v in i.items() if k not in FOLLOW}) for i in identities]
    paths = [p for p in dict.fromkeys(p for f in flat for p in f) if len({_key(f.get(p, _MISSING)) for f in flat}) > 1]
    # a part of another kind has other fields, which its kind stands for
    parts = [p for p in paths if any(isinstance(f.get(p), str) for f in flat)]
    paths = [p for p in paths if not any(p.startswith(f"{part}.") for part in parts) or _in_all(p, flat)]
    if not 1 <= len(paths) <= MOST:
        return None
    found = [", ".join(_words(p, f[p], paths, f) for p in paths if f.get(p) is not None and p in f) for f in flat]
    found = [words or "as given" for words in found]
    return found if len(set(found)) == len(found) else None


def _in_all(path: str, flat: Sequence[Mapping[str, Any]]) -> bool:
    return all(path in f for f in flat)


def _key(value: Any) -> str:
    return "" if value is _MISSING or value is None else json.dumps(value, sort_keys=True, default=str)


def _words(path: str, value: Any, paths: Sequence[str], whole: Mapping[str, Any]) -> str:
    """ "stepping.history", 4 as "history 4"; kinds of parts speak for themselves; lengths keep their unit."""
    parts = path.split(".")
    name = parts[-1]
    alike = [p for p in paths if p.split(".")[-1] == name]
    if len(alike) > 1 and len(parts) > 1:
        name = " ".join(parts[-2:])
    name = name.replace("_", " ")
    if parts[-2:] == ["length", "value"] and isinstance(kind := whole.get(path.removesuffix(".value")), str):
        return f"{value:g} {' '.join(re.findall('[A-Z][a-z]*', kind)).lower()}"
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if is_number(value):
        return f"{name} {value:g}"
    if isinstance(value, list):
        return f"{name} {' × '.join(map(str, value))}" if name in ("modes", "padding") else (
            f"{name} {', '.join(map(str, value))}")  # fmt: skip
    return str(value) if isinstance(value, str) and value[:1].isupper() else f"{name} {value}"
