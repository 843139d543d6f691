"""Helper for streaming bulk requests, as in clients of search engines: generator in, generator out.

Records are encoded one by one, so that a chunk is bounded in records and in bytes. One chunk is sent at a time, polled
until it is final, and its results are yielded before the next one is created.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence

import requests

from benchmarks.peers import POLL_EVERY, TIMEOUT, Outcome, Row, address, headers, is_final, outcomes
from benchmarks.workload import BATCH

CHUNK_BYTES_MAX = 10_000_000


def push_all(url: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    """Return all results of the stream."""
    return list(streaming_bulk(url, token, rows))


def streaming_bulk(url: str, token: str, rows: Iterable[Row]) -> Iterator[Outcome]:
    """Yield one outcome per row."""
    with requests.Session() as http:
        http.headers.update(headers(token) | {"Content-Type": "application/json"})
        http.trust_env = False
        for body in _bodies(rows):
            yield from _push(http, address(url), body)


def _bodies(rows: Iterable[Row]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for row in rows:
        line = json.dumps(row).encode()
        if chunk and (len(chunk) == BATCH or size + len(line) > CHUNK_BYTES_MAX):
            yield _body(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield _body(chunk)


def _body(chunk: list[bytes]) -> bytes:
    return b'{"call_records":[' + b",".join(chunk) + b"]}"


def _push(http: requests.Session, to: str, body: bytes) -> list[Outcome]:
    posted = http.post(to, data=body, timeout=TIMEOUT)
    posted.raise_for_status()
    batch_id = posted.json()["batch_id"]
    while True:
        asked = http.get(to, params={"batchId": batch_id}, timeout=TIMEOUT)
        asked.raise_for_status()
        answer = asked.json()
        if is_final(answer):
            return outcomes(answer)
        time.sleep(POLL_EVERY)
