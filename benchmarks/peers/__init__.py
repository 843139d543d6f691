"""Hand-written programs for comparison: five common patterns, and the limit of the HTTP library.

Each of the five is one function, `push_all(url, token, rows)`: it posts the rows in batches of 500, polls the status of
each batch until all of its records are final, and returns one plain outcome per record. Each is written with good
knowledge of its library: connections are reused, all have the same number of requests in flight, an answer that is not
a success is an error, and the library's own JSON functions are used. They omit the difficult parts: no validation of
the input, no pool of tokens, no recovery after a crash.

This module contains the parts of the API that all of them need.
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
