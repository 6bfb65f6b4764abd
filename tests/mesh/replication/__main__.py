"""Explore every bound: `python -m tests.mesh.replication`; exit status 1 if one is not clean."""

import sys

from tests.mesh.replication.runs import LONG, QUICK, report


def main() -> int:
    clean = True
    for bound in (*QUICK, *LONG):
        line, complete = report(bound)
        clean = clean and complete
        print(line, flush=True)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
