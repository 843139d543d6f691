"""The library requests in sixteen threads, a pattern without asyncio."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests
from requests.adapters import HTTPAdapter

from benchmarks.peers import (
    IN_FLIGHT,
    POLL_EVERY,
    TIMEOUT,
    Outcome,
    Row,
    address,
    batches,
    headers,
    is_final,
    outcomes,
)


def push_all(url: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    """Process one batch per thread, from its post to its last status."""
    with requests.Session() as http, ThreadPoolExecutor(IN_FLIGHT) as threads:
        http.headers.update(headers(token))
        http.trust_env = False
        for scheme in ("http://", "https://"):
            http.mount(scheme, HTTPAdapter(pool_maxsize=IN_FLIGHT))
        found = threads.map(partial(_push, http, address(url)), batches(rows))
        return [outcome for batch in found for outcome in batch]


def _push(http: requests.Session, to: str, batch: Sequence[Row]) -> list[Outcome]:
    posted = http.post(to, json={"call_records": batch}, timeout=TIMEOUT)
    posted.raise_for_status()
    batch_id = posted.json()["batch_id"]
    while True:
        asked = http.get(to, params={"batchId": batch_id}, timeout=TIMEOUT)
        asked.raise_for_status()
        answer = asked.json()
        if is_final(answer):
            return outcomes(answer)
        time.sleep(POLL_EVERY)
