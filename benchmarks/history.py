"""Measurements that were kept: one line of JSON for each, the latest last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("history.jsonl")


def append(measurement: dict[str, Any], path: Path = PATH) -> None:
    """Keep one more."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(measurement) + "\n")


def latest(path: Path = PATH) -> dict[str, Any] | None:
    """The last one that was kept, if there is one."""
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    kept = [line for line in lines if line.strip()]
    if not kept:
        return None
    found: dict[str, Any] = json.loads(kept[-1])
    return found
