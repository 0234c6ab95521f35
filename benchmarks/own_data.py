"""Anybody's data: what is read, from a folder to a report, what damaged files do, and how long a report takes.
Ledger `own_data`.

    python -m benchmarks.own_data [--part studies ...] [--data FOLDER] [--minutes 3] [--files 10000] [--quick]

Parts: `studies` (`sciml study` on data of others: which layouts are read, what the pages say), `fuzz` (damaged files of
every layout), `report` (seconds of a page about 40 cases), `lawful` (measured velocities brought to zero divergence).

`--data` names a folder with others' data, as they were published; a study whose data are not there is left out and
named. Studies are kept in benchmarks/work/own_data, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks._parts import measured

#: part -> (module, function); each is imported when it is measured; the most telling ones first
PARTS = {
    "studies": ("_own_data_studies", "measure"),
    "fuzz": ("_own_data_fuzz", "measure"),
    "report": ("_own_data_report", "measure"),
    "lawful": ("_own_data_lawful", "measure"),
}


class Work:
    """What the parts share, for one set of arguments."""

    def __init__(self, given: argparse.Namespace):
        self.given = given

    @property
    def data(self) -> Path | None:
        """The folder with others' data, where there is one."""
        return self.given.data

    @property
    def quick(self) -> bool:
        return bool(self.given.quick)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="these parts alone")
    parser.add_argument("--data", type=Path, default=None, help="folder with others' data")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, a study")
    parser.add_argument("--files", type=int, default=10_000, help="damaged files")
    parser.add_argument("--quick", action="store_true", help="very little of all, nothing written")
    given = parser.parse_args()
    if given.data is None and "SCIML_FOREIGN_DATA" in os.environ:
        given.data = Path(os.environ["SCIML_FOREIGN_DATA"])
    if given.data is not None and not given.data.is_dir():
        parser.error(f"--data: {given.data} is not a folder")
    measured("own_data", PARTS, given.part, Work(given), dry=given.quick, threads=2)


if __name__ == "__main__":
    main()
