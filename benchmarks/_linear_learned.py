"""The weights that come with `LearnedMultigrid`: `python -m benchmarks._linear_learned` writes them into the package.

Training goes on from benchmarks/work/linear where it was interrupted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks._ledger import HERE, WORK
from sciml.solvers.linear import LearnedMultigrid

SHIPPED = HERE.parent / "sciml" / "solvers" / "linear" / "learned_multigrid.json"
SEED = 0


def trained(folder: Path = WORK / "linear", **settings: Any) -> LearnedMultigrid:
    """Learned from the beginning."""
    told = lambda row: print(row, flush=True)  # noqa: E731
    return LearnedMultigrid.untrained(SEED).fit(checkpoint=folder / "multigrid", tell=told, **settings)


def write(solver: LearnedMultigrid, path: Path = SHIPPED) -> None:
    """The file of the package: seven digits, which are all that single precision keeps."""
    weights = {name: [[float(f"{v:.7g}") for v in row] for row in value] for name, value in solver.weights.items()}
    text = json.dumps({"training": solver.training, "weights": weights}, indent=1, sort_keys=True)
    path.write_text(text + "\n")


if __name__ == "__main__":
    write(trained())
