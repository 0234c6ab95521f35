"""Anybody's data: what is read, from a folder to a report, what damaged files do, and how long a report takes.
Ledger `own_data`.

    python -m benchmarks.own_data [--part studies ...] [--data FOLDER] [--minutes 3] [--files 10000] [--quick]

Parts: `studies` (`sciml study` on data of others: which layouts are read, what the pages say), `fuzz` (damaged files of
every layout), `report` (seconds of a page about 40 cases), `lawful` (measured velocities brought to zero divergence).

`--data` names a folder with others' data, as they were published; a study whose data are not there is left out and
named. Studies are kept in benchmarks/work/own_data, so that an interrupted run goes on.
"""

from __future__ import annotations

from benchmarks._parts import Work, arguments, measured, parsed

#: part -> (module, function); each is imported when it is measured; the most telling ones first
PARTS = {
    "studies": ("_own_data_studies", "measure"),
    "fuzz": ("_own_data_fuzz", "measure"),
    "report": ("_own_data_report", "measure"),
    "lawful": ("_own_data_lawful", "measure"),
}


def main() -> None:
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, a study")
    parser.add_argument("--files", type=int, default=10_000, help="damaged files")
    given = parsed(parser)
    measured("own_data", PARTS, given.part, Work(given), dry=given.quick, threads=2)


if __name__ == "__main__":
    main()
