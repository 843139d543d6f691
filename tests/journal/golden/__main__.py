"""Make the golden journals of the present schema version, and print their sizes."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.journal.golden.cases import BY_NAME, CASES, Case, write_input
from tests.journal.golden.child import JOURNAL, input_name
from tests.journal.golden.files import FOLDER_MAX_BYTES, HERE, store
from truecaller_async.journal.schema import VERSION

REPOSITORY = Path(__file__).parents[3]


def main() -> int:
    """Make the journals; the exit code is 1 if one is too large."""
    parser = argparse.ArgumentParser(prog="python -m tests.journal.golden", description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the version folders")
    parser.add_argument("--case", choices=sorted(BY_NAME), action="append", help="make only this case")
    args = parser.parse_args()
    cases = [BY_NAME[name] for name in args.case] if args.case else CASES
    sizes = [make(case, args.out / f"v{VERSION}" / case.name) for case in cases]
    return 1 if max(sizes) > FOLDER_MAX_BYTES else 0


def make(case: Case, folder: Path) -> int:
    """Run the processes of a case, store what they left, and return the number of bytes."""
    with tempfile.TemporaryDirectory(prefix="golden-") as name:
        made = Path(name)
        write_input(made / input_name(case.source), case.rows)
        for number in range(max(len(case.kills), 1)):
            ended = _run("tests.journal.golden.child", case.name, str(number), name)
            expected = -signal.SIGKILL if case.kills else 0
            assert ended.returncode == expected, f"{case.name} ended with {ended.returncode}: {ended.stderr}"
        if case.afterwards is not None:
            case.afterwards(made / JOURNAL)
        size = store(case, made, folder)
    sys.stdout.write(f"{size:7,} bytes  {len(case.rows):2} rows  {case.name}\n")
    return size


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = (sys.executable, "-m", *arguments)
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
