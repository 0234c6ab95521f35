"""The weights that come with `LearnedMultigrid`.

    python -m benchmarks._linear_learned [--rules across beside ...]

Training goes on from benchmarks/work/linear where it was interrupted. With all rules the file of the package is written
anew; with some of them the weights are left in benchmarks/work/linear, for the rows on what each buys.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks._ledger import HERE, WORK
from sciml.solvers.linear import LearnedMultigrid
from sciml.solvers.linear._local_rules import INPUTS, drawn

SHIPPED = HERE.parent / "sciml" / "solvers" / "linear" / "learned_multigrid.json"
SEED = 0


def trained(
    rules: tuple[str, ...] = tuple(INPUTS), folder: Path = WORK / "linear", **settings: Any
) -> LearnedMultigrid:
    """Learned with these rules alone, from the beginning."""
    first = {name: value for name, value in drawn(SEED).items() if name in rules}
    solver, told = LearnedMultigrid(first), lambda row: print(row, flush=True)
    return solver.fit(checkpoint=folder / f"multigrid_{'_'.join(rules)}", tell=told, **settings)


def write(solver: LearnedMultigrid, path: Path = SHIPPED) -> None:
    """The file of the package: seven digits, which are all that single precision keeps."""
    weights = {name: [[float(f"{v:.7g}") for v in row] for row in value] for name, value in solver.weights.items()}
    text = json.dumps({"training": solver.training, "weights": weights}, indent=1, sort_keys=True)
    path.write_text(text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", choices=tuple(INPUTS), default=tuple(INPUTS), help="these alone")
    rules = tuple(parser.parse_args().rules)
    solver = trained(rules)
    if set(rules) == set(INPUTS):
        write(solver)


if __name__ == "__main__":
    main()
