"""What a user would write instead: five programs in five well-known patterns, and the limit that none can pass.

Each of the five is one function, `push_all(url, token, rows)`: it posts the rows in batches of 500, asks for the status
of each batch until all of its records are final, and gives back one plain outcome for each record. Each is written as
somebody would who knows the library well: connections are kept and reused, as many requests are in flight as the
others have, an answer that is no success is an error, and JSON is made and read by the library's own means. What they
are spared is everything that is hard: no checks of the input, no pool of tokens, nothing that survives a crash.

Here is what all of them would have to know of the API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.workload import ACCOUNT, BATCH

Row: TypeAlias = Mapping[str, object]
"""A record in the names of the wire."""

Outcome: TypeAlias = tuple[str, str]
"""The number that is called, and the final word on its record."""

IN_FLIGHT = 16
ENOUGH = 1_000_000
"""Requests a second that a limiter lets through: it is there, and never in the way."""

TIMEOUT = 30.0
POLL_EVERY = 1.0
FINAL = {"success", "error"}


def address(url: str) -> str:
    """Where batches are posted, and asked for."""
    return f"{url}/v2/clients/{ACCOUNT}/dynamic_call_records"


def headers(token: str) -> dict[str, str]:
    """Who asks."""
    return {"Authorization": f"Bearer {token}"}


def batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Five hundred at a time."""
    return (rows[first : first + BATCH] for first in range(0, len(rows), BATCH))


def is_final(answer: dict[str, Any]) -> bool:
    """Whether the status of a batch will not change any more."""
    return all(row["status_info"]["status"] in FINAL for row in answer["data"])


def outcomes(answer: dict[str, Any]) -> list[Outcome]:
    """What became of each record of a batch."""
    return [(row["receiver_number"], row["status_info"]["status"]) for row in answer["data"]]
