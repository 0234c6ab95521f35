"""Studies: from somebody's data to a page that says whether to believe a surrogate of them.

study    import, look, split, choose, train, evaluate, report, in one call that may be cut short at any time
Study    what it came to
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.studies._running import Study as Study

__all__ = ["Study", "study"]


def study(
    path: str | Path | None = None,
    out: str | Path | None = None,
    minutes: float | None = None,
    *,
    operators: Any = None,
    config: str | Path | None = None,
    length: Any = None,
    layout: str | None = None,
    plan: str | Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    overwrite: bool = False,
    tell: Any = None,
) -> Study:
    """Find out whether a surrogate of some data is worth its training.

    The data are imported where they are not a data set of this package, looked at, split by case (few trajectories: in
    time), the operators that suit them are chosen by short trainings, trained within the budget, held against
    persistence, mean field and interpolation on what was held out, and a page is written. Every stage is skipped where
    it is done with the same settings; a training that was cut short goes on from its checkpoint.

    Args:
        path: a data set file, or whatever `sciml.data.importers` knows; by default the source that `config` names.
        out: folder for all that is made; by default that of `config`, else `runs/NAME-study`.
        minutes: for choosing and training, in all; 10 by default.
        operators: names of what is trained, in place of what the data call for.
        config: a study.toml, whose settings the other arguments replace where they are given.
        length: a `sciml.Steps`, `sciml.Epochs` or `sciml.Minutes` of each training, in place of `minutes`.
        layout, plan: what importing is told: the name of a layout, and a plan in TOML.
        steps: of the rollouts that are compared; 20 by default.
        seed: of splits, weights and the order of batches.
        device: "auto", "cpu", "cuda".
        overwrite: do every stage anew.
        tell: function of one line, told what happens.

    Returns:
        Where everything is, the table of errors and the verdict.

    Raises:
        InputError, FileFormatError: a source, settings or a folder that cannot be used.
        TrainingError: every training failed.
    """
    from sciml.errors import InputError
    from sciml.studies._config import Config, read
    from sciml.studies._running import run

    base, models = (Config(), {}) if config is None else read(Path(config).expanduser())
    given: dict[str, Any] = {
        "source": None if path is None else str(path), "minutes": minutes, "length": length, "layout": layout,
        "plan": None if plan is None else str(Path(plan).expanduser().absolute()), "steps": steps, "seed": seed,
        "device": device,
        "operators": None if operators is None else tuple([operators] if isinstance(operators, str) else operators),
    }  # fmt: skip
    changes = {k: v for k, v in given.items() if v is not None}
    if changes.keys() & {"operators", "minutes", "length", "seed"}:
        models = {}  # they were chosen for other ones
    base = base.replace(**changes)
    if not base.source:
        raise InputError("path: expected a file or folder to study, got none")
    if out is None:
        name = Path(base.source).expanduser().absolute().stem or "data"
        folder = Path("runs") / f"{name}-study" if config is None else Path(config).expanduser().parent
    else:
        folder = Path(out).expanduser()
    return run(base, models, folder, overwrite, tell, None if config is None else Path(config).expanduser())


def __getattr__(name: str) -> Any:
    if name == "Study":
        return importlib.import_module("sciml.studies._running").Study
    raise AttributeError(f"module 'sciml.studies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
