"""Forwarding of events, without the command line."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from truecaller_async.webhooks import parse_event
from truecaller_async.webhooks.forwarding import forwarder_for

from .servers import call_me_back


async def test_disk_that_fills_within_a_line_leaves_no_partial_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    forward, write, full = forwarder_for(str(path)), os.write, True
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:20] if full else line))
    with pytest.raises(OSError, match="disk is full"):
        await forward(parse_event(call_me_back("e-1")))
    assert path.read_bytes() == b""
    full = False
    await asyncio.gather(*(forward(parse_event(call_me_back(f"e-{number}"))) for number in range(1, 21)))
    lines = path.read_text().splitlines()
    assert sorted(json.loads(line)["event_id"] for line in lines) == sorted(f"e-{number}" for number in range(1, 21))


async def test_file_name_may_have_a_space(tmp_path: Path) -> None:
    forward = forwarder_for(str(tmp_path / "my events.jsonl"))
    await forward(parse_event(call_me_back("e-1")))
    assert (tmp_path / "my events.jsonl").read_bytes().count(b"\n") == 1
