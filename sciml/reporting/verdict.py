"""Is the surrogate worth its training? A sentence, from the numbers alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sciml.reporting._style import number
from sciml.reporting.study import ALL, Study

Tone = Literal["good", "mixed", "poor", "plain"]
Standing = Literal["won", "level", "lost"]


def times(value: float) -> str:
    """Return a ratio as people say it: "12×", "1.3×", "0.04×", "2.5·10⁵×"."""
    if not np.isfinite(value):
        return "–"
    if value >= 1e4:
        return f"{number(value)}×"
    return f"{value:.0f}×" if value >= 10 else f"{value:.1f}×" if value >= 1 else f"{value:.2g}×"


def gain(study: Study, model: str, over: str, subset: str = ALL) -> float:
    """Return how many times smaller the one-step NMSE of `model` is than that of `over`."""
    mine, theirs = study.one_step_of(model, subset), study.one_step_of(over, subset)
    if not mine.size or not theirs.size or mine.mean() <= 0:
        return float("nan")
    return float(theirs.mean() / mine.mean())


def steps_won(study: Study, model: str, subset: str = ALL) -> tuple[int, int]:
    """Return (steps at which `model` beats every row that needs no training, steps compared), of the mean NMSE."""
    mine = study.rollout_of(model, subset)
    others = [study.rollout_of(name, subset) for name in study.unlearned]
    others = [o for o in others if o.size and np.isfinite(o).any()]
    if not mine.size or not others:
        return 0, 0
    mine = mine.mean(axis=0)
    bar = np.fmin.reduce([o.mean(axis=0) for o in others])
    compared = np.isfinite(mine) & np.isfinite(bar)
    return int(np.sum(mine[compared] < bar[compared])), int(compared.sum())


def best_unlearned(study: Study, subset: str = ALL) -> str | None:
    """Return the row without training that has the least error."""
    scores = {name: study.score(name, subset) for name in study.unlearned}
    scores = {name: value for name, value in scores.items() if np.isfinite(value)}
    return min(scores, key=lambda name: scores[name]) if scores else None


def standing(study: Study, model: str, other: str, subset: str = ALL) -> Standing:
    """Return whether `model` has a smaller error than `other`, and the cases can tell.

    "won": its score is smaller, and so is its error on the cases one by one: the 95 % interval (Student's t) of the
    mean log ratio of the two errors lies below 0. "lost": both the other way round. "level": anything else; so are
    any two models on fewer than two cases.
    """
    from scipy.special import stdtrit

    mine, theirs = study.each_case(model, subset), study.each_case(other, subset)
    kept = np.isfinite(mine) & np.isfinite(theirs) & (mine > 0) & (theirs > 0)
    ahead = study.score(model, subset) < study.score(other, subset)
    ratio, n = np.log(mine[kept] / theirs[kept]), int(kept.sum())
    if n < 2:
        return "level"
    half = float(stdtrit(n - 1, 0.975)) * float(ratio.std(ddof=1)) / np.sqrt(n)
    if ahead and ratio.mean() + half < 0:
        return "won"
    return "lost" if not ahead and ratio.mean() - half > 0 else "level"


def cost_at_equal_error(study: Study, model: str) -> tuple[float, str]:
    """Return (seconds that the reference solver needs for the surrogate's error, how that is known).

    Between resolutions log(seconds) is interpolated over log(error); outside their range nothing is extrapolated: the
    answer is then "" (unknown), "at most" the cheapest one's time or "more than" the dearest one's.
    """
    points = [(study.score(name), study.cost(name)) for name, kind in study.models if kind == "reference"]
    points = sorted(p for p in points if np.isfinite(p[0]) and np.isfinite(p[1]) and p[0] > 0 and p[1] > 0)
    error = study.score(model)
    if not points or not np.isfinite(error) or error <= 0:
        return float("nan"), ""
    if error < points[0][0]:
        return points[0][1], "more than"
    reachable = [p[1] for p in points if p[0] <= error]
    if error >= points[-1][0]:
        return min(reachable), "at most"
    errors, seconds = np.log([p[0] for p in points]), np.log([p[1] for p in points])
    return float(np.exp(np.interp(np.log(error), errors, seconds))), "about"


def verdict(study: Study) -> tuple[str, Tone]:
    """Return the sentence and its tone. Good: better than every row without training in every subset, and no numerical
    solver that was run is as accurate at no greater cost. Poor: worse in every subset. Mixed: in between. What counts
    as better is said in `standing`."""
    model = study.best
    if model is None:
        return "No surrogate was given: the page compares only what needs no training.", "plain"
    names = list(study.subsets) or [ALL]
    found: dict[Standing, list[tuple[str, str]]] = {"won": [], "level": [], "lost": []}
    for subset in names:
        bar = best_unlearned(study, subset)
        if bar is not None and np.isfinite(study.score(model, subset)):
            found[standing(study, model, bar, subset)].append((subset, bar))
    speed, cheaper = _speed(study, model)
    if not any(found.values()):
        head = f"The best surrogate is {model}; there is no row without training to hold it against."
        return " ".join([head, *([speed] if speed else []), *_said(study, model)]), "plain"
    parts = [_accuracy(study, model, found), *([speed] if speed else []), *_said(study, model)]
    beyond_doubt = bool(found["won"]) and not found["level"] and not found["lost"]
    if not found["won"] and not found["level"]:
        tone, head = "poor", f"Not worth its training: {model} "
    elif not found["won"]:
        tone, head = "mixed", f"Not shown to be worth its training: {model} "
    elif beyond_doubt and not cheaper_references(study, model) and cheaper is not False:
        tone, head = "good", f"Worth its training: {model} "
    else:
        tone, head = "mixed", f"Worth its training in part: {model} "
    return head + " ".join(parts), tone


def cheaper_references(study: Study, model: str) -> list[str]:
    """Return the numerical solvers that are at least as accurate over all rollouts and take no more time, the most
    accurate first."""
    error, cost = study.score(model), study.cost(model)
    found = [n for n in study.references if study.score(n) <= error and study.cost(n) <= cost]
    return sorted(found, key=study.score)


def _said(study: Study, model: str) -> list[str]:
    """What numerical solvers do better, in words; none where they do not."""
    rivals = cheaper_references(study, model)
    if rivals:
        return [_rivals(study, model, rivals)]
    better = [n for n in study.references if study.score(n) < study.score(model)]
    if not better:
        return []
    named = sorted(better, key=study.score)
    verb = "is" if len(named) == 1 else "are"
    return [f"More accurate, but slower, {verb} {_listed(named)}."]


def _rivals(study: Study, model: str, rivals: list[str]) -> str:
    """What a numerical solver does better, in words."""
    best = rivals[0]
    ratio = study.score(model) / study.score(best) if study.score(best) > 0 else float("inf")
    more = f", as {'is' if len(rivals) == 2 else 'are'} {_listed(rivals[1:])}" if len(rivals) > 1 else ""
    return (
        f"A numerical solver, {best}, is both more accurate (its error is {times(ratio)} smaller) and no slower "
        f"({milliseconds(study.cost(best))}){more}."
    )


def _accuracy(study: Study, model: str, found: dict[Standing, list[tuple[str, str]]]) -> str:
    over = f" over rollouts of {study.steps} steps" if study.steps > 1 else ""
    everywhere = len(study.subsets) <= 1
    won, level, lost = found["won"], found["level"], found["lost"]
    clauses = []
    if won and not level and not lost:
        ratios = [study.score(bar, subset) / study.score(model, subset) for subset, bar in won]
        low, high = times(min(ratios)), times(max(ratios))
        span = low if low == high else f"{low} to {high}"
        where = "" if everywhere else f" in each of the subsets {_listed([s for s, _ in won])}"
        return (
            f"beats everything that needs no training{where}: its error{over} is {span} smaller than the best "
            "such row's."
        )
    if won:
        clauses.append(f"beats everything that needs no training in {_listed([s for s, _ in won])}")
    if lost and won:
        clauses.append(f"does not in {_listed([f'{s} (where {b} is better)' for s, b in lost])}")
    elif lost:
        named = sorted({b for _, b in lost})
        where = f"in {_listed([s for s, _ in lost])} " if level else ""
        need = "needs" if len(named) == 1 else "need"
        clauses.append(f"{where}has a larger error{over} than {_listed(named)}, which {need} no training,")
    if level:
        told, single = [], []
        for subset, bar in level:
            n, of = len(study.each_case(model, subset)), "" if everywhere else f" of {subset}"
            if n > 1:
                told.append(f"{bar} on the {n} cases{of}")
            else:
                ratio = study.score(model, subset) / study.score(bar, subset)
                size = f"{times(ratio)} larger" if ratio >= 1 else f"{times(1 / ratio)} smaller"
                single.append(f"{size} than {bar}'s on that{of}")
        if told:
            clauses.append(f"cannot be told apart from {_listed(told)}")
        if single:
            clauses.append(f"was tried on one case, which decides nothing: its error is {_listed(single)}")
    return (clauses[0] if len(clauses) == 1 else ", ".join(clauses[:-1]) + " and " + clauses[-1]) + "."


def _speed(study: Study, model: str) -> tuple[str, bool | None]:
    mine = study.cost(model)
    other, how = cost_at_equal_error(study, model)
    if not np.isfinite(mine) or not np.isfinite(other):
        return "", None
    ratio = other / mine
    unit = "problem" if study.steady else "step"
    own = f"One {unit} takes it {milliseconds(mine)}"
    if how == "more than":
        tail = "no resolution of the reference solver tried here is as accurate, and the nearest takes"
        return f"{own}; {tail} {milliseconds(other)}.", True if ratio >= 1 else None
    if how == "at most":
        if ratio <= 1:
            return (
                f"{own}; the reference solver is at least as accurate at its coarsest, in {milliseconds(other)}.",
                False,
            )
        return f"{own}; the coarsest reference solver, which is more accurate, takes {milliseconds(other)}.", True
    word = "times faster" if ratio >= 1 else "times slower"
    factor = ratio if ratio >= 1 else 1 / ratio
    return f"{own}, {factor:.2g} {word} than the reference solver at equal error.", ratio >= 1


def milliseconds(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    if not np.isfinite(seconds):
        return "–"
    for least, unit, factor in ((60.0, "min", 1 / 60), (1.0, "s", 1.0), (1e-3, "ms", 1e3), (0.0, "µs", 1e6)):
        if seconds >= least:
            return f"{seconds * factor:.3g}\u00a0{unit}"
    return "–"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def highlights(study: Study) -> list[tuple[str, str]]:
    """Return the few figures that a hurried reader wants: (value, what it is)."""
    model = study.best
    if model is None:
        return []
    found: list[tuple[str, str]] = []
    persistence = study.still
    if persistence is not None:
        value = gain(study, model, persistence)
        if np.isfinite(value):
            found.append((times(value), f"persistence’s one-step error (NMSE) over that of {model}"))
    hardest = study.hardest
    won, of = steps_won(study, model, hardest)
    if of > 1:
        where = f" in subset {hardest}, the hardest" if hardest != ALL and len(study.subsets) > 1 else ""
        found.append((f"{won} of {of}", f"rollout steps at which {model} beats every row without training{where}"))
    cost = study.cost(model)
    if np.isfinite(cost):
        found.append((milliseconds(cost), f"for one {'problem' if study.steady else 'step of one case'} with {model}"))
    training = [study.rows[i].training_seconds for i in study.members(model)]
    training = [t for t in training if np.isfinite(t)]
    if training:
        found.append((milliseconds(float(np.mean(training))), f"training of {model} (one seed)"))
    return found
