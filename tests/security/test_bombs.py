"""S38: input that is small on disk and large in memory fails its row or the reading, and needs little memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from truecaller_async import Row, read_csv, read_jsonl

from .host import CALLER, RECEIVER

MIB = 1024 * 1024
HUGE = 24 * MIB
HEADER = "caller,receiver,starts_at,ends_at\n"
GOOD = f"{CALLER},{RECEIVER},1760000000000,1760003600000\n"
LINE = json.dumps({"caller": CALLER, "receiver": RECEIVER, "starts_at": 1, "ends_at": 2}) + "\n"


@attrs.frozen
class Bomb:
    """Name and content of a file; a valid row follows the bomb."""

    name: str
    content: Callable[[], str]


BOMBS = (
    Bomb("a.csv", lambda: HEADER + "0" * HUGE + "\n" + GOOD),
    Bomb("a.csv.gz", lambda: HEADER + "0" * HUGE + "\n" + GOOD),
    Bomb("quoted.csv.gz", lambda: HEADER + '"' + "0" * HUGE + '"\n' + GOOD),
    Bomb("commas.csv.gz", lambda: HEADER + "," * HUGE + "\n" + GOOD),
    Bomb("a.jsonl", lambda: '{"caller": "' + "0" * HUGE + '"}\n' + LINE),
    Bomb("deep.jsonl.gz", lambda: '{"a": ' + "[" * HUGE + "\n" + LINE),
    Bomb("nested.jsonl.gz", lambda: '{"a":' * 20_000 + "1" + "}" * 20_000 + "\n" + LINE),
    Bomb("keys.jsonl.gz", lambda: "{" + '"a":1,' * (HUGE // 6) + '"b":2}\n' + LINE),
)


def rows_of(path: Path) -> list[Row]:
    return list((read_jsonl if "jsonl" in path.name else read_csv)(path).rows())


@pytest.mark.fault("S38")
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_bomb_is_one_bad_row_in_bounded_memory(tmp_path: Path, bomb: Bomb) -> None:
    path = tmp_path / bomb.name
    data = bomb.content().encode()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    del data
    tracemalloc.start()
    try:
        rows = rows_of(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [bool(row.problems) for row in rows] == [True, False]
    assert rows[1].record is not None
    assert rows[1].record.receiver == RECEIVER
    assert peak < 8 * MIB
