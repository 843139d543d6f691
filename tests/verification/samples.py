"""The documented bodies of the verification servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[1] / "samples" / "verification"


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def value(name: str) -> Any:
    return json.loads(sample(name))
