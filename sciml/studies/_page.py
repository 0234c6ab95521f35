"""The page of a study: that of a report, with what the data are and how the models were chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sciml.reporting.blocks import Cell, Facts, Note, Page, Section, Table
from sciml.reporting.verdict import milliseconds
from sciml.studies._look import Look


def with_study(page: Page, look: Look, content: Mapping[str, Any]) -> Page:
    """The page of a report with the sections of a study before and after what was trained."""
    sections = list(page.sections)
    tried = content.get("tried") or []
    if tried:
        sections.insert(1, Section("choice", "How it was chosen", _choice(tried, content)))
    sections.insert(0, Section("data", "The data, and what they are asked", _data(look, content)))
    return dataclasses.replace(page, sections=sections)


def without_models(look: Look, content: Mapping[str, Any]) -> Page:
    """The page where nothing can be learned: what there is, and what can be done."""
    first, *rest = content["reasons"]
    sections = [
        Section("next", "What can be done", [Note(text) for text in rest] or [Note(first)]),
        Section("data", "The data", _data(look, dict(content) | {"reasons": []})),
    ]
    return Page(f"{look.title}: nothing to train on yet", first, "plain", [], sections, "Made by sciml study.")


def _data(look: Look, content: Mapping[str, Any]) -> list[object]:
    return [
        *_notes(content.get("reasons", []), content.get("notes", []), look.odd),
        Facts([("source", content["source"]["path"]), *_of_import(content), *look.facts]),
    ]


def _of_import(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    made = content.get("import")
    return [("read as", str(made["title"]))] if made else []


def _notes(reasons: Sequence[str], notes: Sequence[str], odd: Sequence[str]) -> list[object]:
    found: list[object] = [Note(text) for text in reasons]
    if notes:
        found.append(Table(["Of the import"], [("", [Cell(text)]) for text in notes]))
    if odd:
        found.append(Table(["What looks odd"], [("", [Cell(text)]) for text in odd]))
    return found


def _choice(tried: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> list[object]:
    used = [t for t in tried if not t["refusal"]]
    scored = [t for t in used if t["score"] is not None]
    rows = []
    best = min((t["score"] for t in scored), default=None)
    for t in sorted(used, key=lambda t: (not t["chosen"], t["score"] is None, t["score"] or 0.0)):
        step = "–" if t["step_seconds"] is None else milliseconds(t["step_seconds"])
        if t["fit_seconds"] is not None:
            step = f"all in {milliseconds(t['fit_seconds'])}"
        steps = "–" if t["steps"] is None else f"{t['steps']:,}"
        rows.append((
            "surrogate" if t["chosen"] else "baseline",
            [
                Cell(t["title"]), Cell("yes" if t["chosen"] else "no"), Cell(step), Cell(steps),
                Cell("–" if t["tried_steps"] is None else f"{t['tried_steps']:,}"),
                Cell("–" if t["score"] is None else f"{t['score']:.3g}", best=t["score"] == best and best is not None),
            ],
        ))  # fmt: skip
    blocks: list[object] = []
    if scored:
        blocks.append(Note(
            "Every operator that takes the data was asked in an order of preference; the likeliest were trained for a "
            "short while, and those that err least on validation cases then were trained in full. Who is ahead "
            "after a short while need not stay ahead: with more minutes the choice may be another."
        ))  # fmt: skip
    elif any(t["step_seconds"] is not None for t in used):
        blocks.append(Note("There are no validation cases, so the first in the order of preference were trained."))
    else:
        blocks.append(Note("What is trained was asked for by name."))
    head = ["candidate", "trained in full", "a step", "steps that fit", "tried for steps", "validation error then"]
    blocks.append(
        Table(head, rows, "Candidates that take the data. The error is the NMSE of rollouts, the mean of their steps.")
    )
    failed = content.get("failed") or {}
    blocks += [Note(f"The training of {name} failed: {why}") for name, why in failed.items()]
    for name, made in (content.get("short") or {}).items():
        blocks.append(
            Note(f"{name} made only {made} step{'s' if made > 1 else ''} in its time: its error is that of a beginner.")
        )
    refused: dict[str, list[str]] = {}
    for t in tried:
        if t["refusal"]:
            refused.setdefault(t["refusal"], []).append(t["title"])
    if refused:
        blocks += [Note(f"{', '.join(names)}: {why}.", quiet=True) for why, names in refused.items()]
    return blocks


def write(page: Page, out: Path) -> None:
    from sciml.reporting.page import write as write_page

    write_page(page, out)
