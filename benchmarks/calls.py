"""Count the function calls of one batch, and the files on the way of a record. Counts do not depend on the machine.

Two campaigns of different length run under `cProfile`, in one process, against a server on another core. The difference
between their calls, divided by the difference of their batches, is the cost of one batch: from the source to the
results that the reader takes, in Python and C functions. What happens once (tokens, imports, start) is not in it, nor
are the records of the source, which are made before.

The files are those of the package in which a function runs while a campaign from a CSV file to its results is made,
after the client has its token.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import tempfile
from collections.abc import Sequence
from pathlib import Path

import truecaller_async
from benchmarks import Figure, at_most, workload
from benchmarks.campaign import LIMITS, PROMPT
from benchmarks.speed import warm_server
from truecaller_async import CampaignOptions, TruecallerClient, read_csv

SHORT_BATCHES = 40
LONG_BATCHES = 240
CSV_ROWS = 2_000

CALLS_MAX = 3_400.0
"""Calls of one batch that are no regression. 1,000 of them make 500 results and give them to the reader."""
FILES_MAX = 80.0
"""Files of the package on the way from a CSV row to its result that are no regression."""

PACKAGE = str(Path(truecaller_async.__file__).parent)


def measure() -> list[Figure]:
    """Return the calls of one batch, and the files on the way of a record."""
    with warm_server() as target:
        short, long = (_profile(target.url, target.start, batches) for batches in (SHORT_BATCHES, LONG_BATCHES))
        files = _files(target.url, target.start)
    calls = (_calls(long) - _calls(short)) / (LONG_BATCHES - SHORT_BATCHES)
    functions = sum(len(names) for names in files.values())
    print(f"  {functions} functions in {len(files)} files:\n    " + "\n    ".join(_listed(files)), flush=True)
    return [
        at_most("calls: Python and C calls of a batch of 500", calls, CALLS_MAX),
        at_most("calls: files of the package from a CSV row to its result", float(len(files)), FILES_MAX),
    ]


def _listed(files: dict[str, set[str]]) -> Sequence[str]:
    return [f"{file.removeprefix(PACKAGE + '/')}: {len(names)}" for file, names in sorted(files.items())]


def _calls(profile: cProfile.Profile) -> int:
    total: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return total


def _profile(url: str, start: int, batches: int) -> cProfile.Profile:
    return asyncio.run(_profiled(url, list(workload.records(batches * workload.BATCH, start))))


def _files(url: str, start: int) -> dict[str, set[str]]:
    """Return the functions of the package that run, by file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.csv"
        columns = "caller,receiver,starts_at,ends_at,label_id,label_name,reason"
        rows = (
            f"{one.caller},{one.receiver},{one.starts_at},{one.ends_at},{one.label_id},{one.label_name},{one.reason}"
            for one in workload.records(CSV_ROWS, start)
        )
        path.write_text("\n".join([columns, *rows]) + "\n")
        profile = asyncio.run(_profiled(url, read_csv(path)))
    found: dict[str, set[str]] = {}
    for file, _, name in pstats.Stats(profile).stats:  # type: ignore[attr-defined]
        if file.startswith(PACKAGE) and name != "<module>":
            found.setdefault(file, set()).add(name)
    return found


async def _profiled(url: str, source: object) -> cProfile.Profile:
    profile = cProfile.Profile()
    async with TruecallerClient(
        client_account_id=workload.ACCOUNT, key_id="key", api_key="secret", base_url=url, limits=LIMITS
    ) as client:
        await client.tokens.make()
        options = CampaignOptions(poll=PROMPT)
        async with client.push_many(workload.records(workload.BATCH), options=options) as warm:
            async for _ in warm:
                pass
        async with client.push_many(source, options=options) as results:
            profile.enable()
            async for _ in results:
                pass
            profile.disable()
    return profile
