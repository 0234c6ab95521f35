"""Whether an operator takes some data: tried, so that nothing here knows an operator by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sciml.contracts import Operator, ParticleBatch, SensorBatch, build
from sciml.errors import InputError
from sciml.operators.prosefd import EquationBatch
from sciml.training.encoding import encoding_for
from sciml.training.families import encoding_of
from sciml.training.fitting import default_stepping
from sciml.training.particles import Nodes, ParticleEncoding
from sciml.training.samples import CaseTable
from sciml.training.sensors import SensorEncoding, Sensors
from sciml.training.stepping import Autoregressive, Stepping, Window


def refusal(
    operator: type[Operator],
    cases: CaseTable,
    options: Mapping[str, Any] | None = None,
    stepping: Stepping | None = None,
) -> str | None:
    """Why an operator does not take these cases, by default with its default options; None where it does."""
    try:
        if issubclass(operator.takes, ParticleBatch):
            how = stepping if isinstance(stepping, Autoregressive) else Autoregressive(history=6)
            particles = ParticleEncoding.fit(cases, how, Nodes(operator.nodes_share))
            build(operator, particles.signature(), options or {})
            return None
        if issubclass(operator.takes, SensorBatch):
            build(operator, SensorEncoding.fit(cases, Sensors()).signature(), options or {})
            return None
        if issubclass(operator.takes, EquationBatch):
            if stepping is not None and not isinstance(stepping, Window):
                return f"it answers a window of frames at once, expected a Window, got {type(stepping).__name__}"
            encoding_of(cases, stepping or Window())
            return None
        how = default_stepping(operator, cases.problem.steady) if stepping is None else stepping
        encoding = encoding_for(operator.takes).fit(cases, how, sensors=operator.sensors)
        made = build(operator, encoding.signature(), options or {})
    except InputError as error:
        return str(error).removeprefix("data: ")
    return None if any(p.requires_grad for p in made.parameters()) else "it has no weights to train"
