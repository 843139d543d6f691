"""Workload of all cases: the same records, account and times.

The records repeat after `CYCLE` of them, so that the server can store its answers and does not grow with the length of
a run. The cycle is longer than the 100,000 rows within which the library detects duplicates. A body of 500 records is
about 137 kB and its status about 203 kB, as in production: all optional fields are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from time import time

from truecaller_async import CallRecord

ACCOUNT = "3f2b8c1d-5a4e-4b6f-9c7d-8e9f0a1b2c3d"
LABEL = "c6d86658-008d-4c08-98fb-2bf2649d59a5"
CALLER = "911234567898"
NAME = "Centro Bank KYC Department"
REASON = "Calling you for KYC verification"
BATCH = 500
CYCLE = 120_000
HOUR_MS = 3_600_000
NAMES = ("label_id", "dynamic_label_name", "dynamic_call_reason", "caller_number", "receiver_number")


def hour() -> int:
    """Return the start of the current hour in milliseconds."""
    return int(time() * 1000) // HOUR_MS * HOUR_MS


def window(start: int | None = None) -> tuple[int, int]:
    """Return start and end of every record's window in milliseconds."""
    begin = hour() if start is None else start
    return begin, begin + 6 * HOUR_MS


def records(count: int, start: int | None = None) -> Iterator[CallRecord]:
    """Yield records as new objects, as a program would create them from its own rows.

    `start` is the start of their window, by default the current hour. Give it if the same records are sent several
    times: the server answers with the window of the first time.
    """
    begin, end = window(start)
    return (CallRecord(CALLER, receiver(number), begin, end, LABEL, NAME, REASON, None) for number in range(count))


def receiver(number: int) -> str:
    """Return the called number of the n-th record."""
    return f"9198{number % CYCLE:08d}"


def mappings(count: int, start: int | None = None) -> Iterator[dict[str, object]]:
    """Yield the same records with wire names, for programs that write JSON themselves."""
    begin, end = window(start)
    for number in range(count):
        texts = dict(zip(NAMES, (LABEL, NAME, REASON, CALLER, receiver(number)), strict=True))
        yield {**texts, "starts_at": begin, "ends_at": end}


def chunks(rows: Iterator[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    """Yield rows in batches."""
    while batch := list(islice(rows, BATCH)):
        yield batch
