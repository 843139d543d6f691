"""History of measurements: one JSON object per line, the latest last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("history.jsonl")


def append(measurement: dict[str, Any], path: Path = PATH) -> None:
    """Add a measurement."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(measurement) + "\n")


def latest(count: int, path: Path = PATH) -> list[dict[str, Any]]:
    """Return the last measurements, at most `count`."""
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines if line.strip()][-count:]
