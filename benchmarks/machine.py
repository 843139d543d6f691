"""What a measurement was made on, in a line or two."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("aiohttp", "msgspec", "attrs", "aiolimiter", "httpx", "requests", "tenacity", "uvloop")
CPU_FACTS = Path("/proc/cpuinfo")


def facts() -> dict[str, object]:
    """The machine and the software, as the history keeps them."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def cpu() -> str:
    """The processor's name, as far as the system tells it."""
    if CPU_FACTS.exists():
        for line in CPU_FACTS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def told(known: Mapping[str, object]) -> str:
    """The facts for a reader: where it ran, and under what load."""
    return (
        f"{known['cpu']}, {known['cores']} cores, {known['system']}, Python {known['python']}, "
        f"load {known['load']:.2f} before the start"
    )
