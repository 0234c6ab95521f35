"""What is said of sample cases, and whose prediction is drawn."""

from __future__ import annotations

from sciml.reporting.names import measured
from sciml.reporting.study import Sample, Study


def model_of(study: Study, sample: Sample) -> str:
    """Return the model whose prediction of a sample is drawn: the best one, where it has predicted it."""
    best = study.best
    return best if best is not None and best in sample.predictions else next(iter(sample.predictions))


def at_the_end(study: Study) -> str:
    """Return where in a rollout pictures are taken, as the end of a phrase; "" for a steady problem."""
    return "" if study.steady else " at the end of the rollout"


def describe(study: Study, sample: Sample) -> str:
    """Return one line that says which case this is."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in sample.parameters.items())
    start = ""
    if not study.steady:
        first, last = sample.times[0], sample.times[-1]
        start = f" Rollout of {len(sample.times) - 1} steps, from t = {first:.3g} to {measured(last, study.time_unit)}."
    label = sample.label + (f", subset {sample.subset}" if sample.subset else "")
    return f"{label}{': ' if values else ''}{values}.{start}"
