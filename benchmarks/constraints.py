"""Answers held to laws: how exactly, at what cost, and what becomes of their errors. Ledger `constraints`.

    python -m benchmarks.constraints [--part flows ...] [--epochs 10] [--quick]

Parts: `exact` (what is left of divergences and of affine sets, and what a projection costs), `conservation` (what an
update leaves of known masses), `implicit` (gradients of solutions against differences; memory), `flows` (rollouts of
the CFDBench table's FNO and U-Net with and without a divergence), `experts` (solutions of an equation from learned
bases: one solve, several, a penalty), `gpme` (an attentive neural process for the generalised porous medium equation,
brought to its mass).

The part `flows` reads the data and the trained rows that `python -m benchmarks.cfdbench --row FNO ... --join` keeps,
and trains what is missing of them. All that is trained is kept in benchmarks/work, so that an interrupted run goes on;
`--epochs 20` trains the neural processes twice as long.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks._ledger import WORK
from benchmarks._parts import measured

#: part -> (module, function); each is imported when it is measured; the most telling ones first
PARTS = {
    "exact": ("_constraints_exact", "measure_exact"),
    "conservation": ("_constraints_conservation", "measure"),
    "implicit": ("_constraints_exact", "measure_implicit"),
    "flows": ("_constraints_flows", "measure"),
    "experts": ("_constraints_experts", "measure"),
    "gpme": ("_constraints_gpme", "measure"),
}
EPOCHS = 10


class Work:
    """What the parts share, for one set of arguments."""

    def __init__(self, given: argparse.Namespace):
        self.given = given

    def seeds(self, usual: int) -> int:
        return 1 if self.given.quick else usual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="these parts alone")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the neural processes")
    parser.add_argument(
        "--cfdbench", type=Path, default=WORK / "cfdbench", help="where data and rows of flows are kept"
    )
    parser.add_argument("--quick", action="store_true", help="very little of all, nothing written")
    given = parser.parse_args()
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before the parts import anything that reads them
    measured("constraints", PARTS, given.part, Work(given), dry=given.quick, threads=1)


if __name__ == "__main__":
    main()
