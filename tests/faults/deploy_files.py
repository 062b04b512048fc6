"""A table of every deployment file: its validators, what they say of it, and the planted faults that they find.

`python -m tests.faults.deploy_files` prints it as Markdown. What a validator needs is said in
`tests/infra/deploy/validators.py`; the DAG and the job run in `tests/infra/deploy/test_orchestrators.py`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.infra.deploy.cases import CASES, Case, planted
from tests.infra.deploy.rendered import PLACES, write_all


def row(case: Case, files: dict[str, Path]) -> tuple[str, ...]:
    """Return file, validators, result, and the faults that were found, of those that were planted."""
    path = files[case.name]
    said = {validator.__name__: validator(path) for validator in case.validators}
    result = "valid" if not any(said.values()) else "; ".join(one for found in said.values() for one in found or ())
    absent = [name for name, found in said.items() if found is None]
    missed = list[str]()
    for fault in case.faults:
        with planted(fault, path):
            if not fault.validator(path):
                missed.append(fault.what)
    found = [fault.what for fault in case.faults if fault.what not in missed]
    return (
        f"`{case.name}`",
        ", ".join(said),
        result + (f" ({', '.join(absent)} not run)" if absent else ""),
        f"{len(found)}: {', '.join(found)}" + (f"; missed: {', '.join(missed)}" if missed else ""),
    )


def main() -> int:
    """Print the table; return 1 if a file is not valid, or a fault is missed."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_all(Path(folder), PLACES["local"])
        rows = [row(case, files) for case in CASES]
    heads = ("file", "validators", "result", "planted faults that they find")
    for cells in (heads, ("---",) * len(heads), *rows):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
    return int(any(not cells[2].startswith("valid") or "missed" in cells[3] for cells in rows))


if __name__ == "__main__":
    sys.exit(main())
