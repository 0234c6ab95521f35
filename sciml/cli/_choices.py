"""What is to be generated otherwise than the design says, as it is typed: `--set PATH=VALUE`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from sciml.errors import InputError, suggest
from sciml.problem import Problem
from sciml.solvers._choices import DECIDED, arguments, with_options
from sciml.training.assignments import literal, pairs, parse
from sciml.training.parts import Call

TIMES = ("start", "step")


def read(problem: Problem, solver_of: Callable[[Problem], Any], texts: Sequence[str]) -> dict[str, Any]:
    """Arguments of `sciml.solvers.generate` from `PATH=VALUE` texts.

    Paths are `problem.drive=flow_rate` (options of the problem), `case.viscosity=1/395` (a parameter of all cases),
    `solver.closure=WALE()` (arguments of the solver), `times.start=8` and `times.step=0.1`.

    Args:
        solver_of: the class of solver for a problem; None where there is none.

    Raises:
        InputError: a path that leads nowhere, or a value that is none.
    """
    found: dict[str, Any] = {}
    given = pairs(texts, "--set")
    try:
        options = {p.partition(".")[2]: literal(t, p) for p, t in given.items() if p.startswith("problem.")}
        problem = with_options(problem, options)  # which says what the others can be
        solver = solver_of(problem)
        known = _known(problem, solver)
        for path, text in given.items():
            head, _, name = path.partition(".")
            if path not in known:
                raise InputError(f"nothing to set is called {path!r}{_nearest(path, known)}")
            if head == "times":
                found[name] = _number(path, text)
            elif head == "case":
                found.setdefault("parameters", {})[name] = _number(path, text)
            elif head == "problem":
                found.setdefault("options", {})[name] = options[name]
            else:
                parts = solver.parts.get(name)
                value = literal(text, path) if parts is None else _part(path, text, parts)
                found.setdefault("solver_options", {})[name] = value
    except InputError as error:
        raise InputError(f"--set: {error}") from None
    return found


def _known(problem: Problem, solver: Any) -> list[str]:
    found = [f"problem.{n}" for n in arguments(type(problem))]
    found += [f"case.{p.name}" for p in problem.parameters]
    if solver is not None:
        found += [f"solver.{n}" for n in ("resolution", *arguments(solver, DECIDED))]
    return found + ([] if problem.steady else [f"times.{n}" for n in TIMES])


def _nearest(path: str, known: Sequence[str]) -> str:
    """The path meant, by its last name where that is one."""
    same = [p for p in known if p.partition(".")[2] == path.rpartition(".")[2]]
    return f"; did you mean {same[0]!r}?" if same else suggest(path, known)


def _number(path: str, text: str) -> float:
    """A number, or a quotient of two."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InputError(f"{path}: expected a number, or a quotient such as 1/180, got {text!r:.80}") from None


def _part(path: str, text: str, bases: Sequence[type]) -> Any:
    """An object of one of these classes, from its name or a call: WALE, wale, WALE(constant=0.4); None for none."""
    call = parse(text, path)
    known = {_plain(kind.__name__): kind for base in bases for kind in _kinds(base)}
    names = [kind.__name__ for kind in known.values()]
    if call is None or (isinstance(call, Call) and call.bare and call.kind.lower() in ("none", "null")):
        return None
    kind = known.get(_plain(call.kind)) if isinstance(call, Call) else None
    if kind is None or not isinstance(call, Call):
        raise InputError(f"{path}: expected one of {', '.join(names)}, or none, got {text!r:.80}")
    takes = list(arguments(kind))
    for name, _ in call.named:
        if name not in takes:
            raise InputError(f"{path}: {kind.__name__} takes no {name!r}{suggest(name, takes)}")
    given = dict(zip(takes, call.positional, strict=False))
    if len(call.positional) > len(takes) or len({*given, *dict(call.named)}) < len(given) + len(call.named):
        raise InputError(f"{path}: {kind.__name__} takes {', '.join(takes) or 'nothing'}, each once, got {text!r:.80}")
    return kind(**given, **dict(call.named))


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _kinds(base: type) -> Iterator[type]:
    if not inspect.isabstract(base):
        yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)
