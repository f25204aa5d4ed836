"""Requests and pages: the service around the engine, each row with its baseline, in one run.

    python -m benchmarks.service [--rows C1,C10] [--iopaint FOLDER] [--repeats 5] [--json FILE]

C1: a fill by HTTP. C10: pages and lists. --iopaint names a virtual environment that holds IOPaint 1.6.0, which is then
served on loopback in the same run as C1's peer; without it that column stays empty. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.service.fills import fills
from benchmarks.service.measuring import Report
from benchmarks.service.pages import pages
from benchmarks.service.sites import ours

ROWS = ("C1", "C10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument("--iopaint", type=Path, help="a virtual environment with IOPaint 1.6.0")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="append the rows to this file, one line each")
    options = parser.parse_args()
    chosen = options.rows.split(",")
    if unknown := set(chosen) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if options.repeats < 3:
        parser.error("at least 3 repeats: fewer have no spread")
    report = Report(options.repeats, options.json)
    report.heading()
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder)) as site:
        if "C1" in chosen:
            fills(site, report, options.iopaint)
        if "C10" in chosen:
            pages(site, report)


if __name__ == "__main__":
    main()
