"""Movers of meshes, classical and learned: what they gain, what they cost, and solvers on meshes that move. Ledger
`mesh`.

    python -m benchmarks.mesh [--part table ...] [--full] [--minutes 1] [--data FOLDER]

Parts: `classical` (published figures, a thin ring by Newton's method, factors kept or made anew, memory), `training`
(what the learned movers took), `table` (all movers on fields and meshes drawn anew; `--full` on three times as many),
`moving` (a swirl and fronts on meshes that move with them), `operator` (the operator with a second branch on a moved
mesh, against the same on the static one; `--minutes` a training), `pictures` (with `--data` those of a blow moulding
too).

What is trained is kept in benchmarks/work/mesh, so that an interrupted run goes on. Training apart, the default takes
about half an hour on two cores.
"""

from __future__ import annotations

import os

from benchmarks._parts import Work, arguments, measured, parsed

#: part -> (module, function); each is imported when it is measured; the most telling ones first
PARTS = {
    "classical": ("_mesh_classical", "measure"),
    "training": ("_mesh_learned", "measure"),
    "table": ("_mesh_table", "measure"),
    "moving": ("_mesh_moving", "measure"),
    "operator": ("_mesh_operator", "measure"),
    "pictures": ("_mesh_pictures", "measure"),
}


class Settings(Work):
    """What the parts share, for one set of arguments."""

    @property
    def full(self) -> bool:
        return bool(self.given.full)

    @property
    def minutes(self) -> float:
        """Of a training of the operator."""
        return float(self.given.minutes)


def main() -> None:
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--full", action="store_true", help="three times as many cases in the table")
    parser.add_argument("--minutes", type=float, default=1.0, help="of a training of the operator")
    given = parsed(parser)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before the parts import anything that reads them
    measured("mesh", PARTS, given.part, Settings(given), dry=given.quick, threads=1)


if __name__ == "__main__":
    main()
