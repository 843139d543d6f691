"""Description of the machine and the software of a measurement."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("aiohttp", "msgspec", "attrs", "aiolimiter", "httpx", "requests", "tenacity", "uvloop")
CPU_FACTS = Path("/proc/cpuinfo")


def facts() -> dict[str, object]:
    """Return the machine and the software in the form of the history."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def cpu() -> str:
    """Return the name of the processor."""
    if CPU_FACTS.exists():
        for line in CPU_FACTS.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def description(known: Mapping[str, object]) -> str:
    """Return a text with the machine and its load."""
    return (
        f"{known['cpu']}, {known['cores']} cores, {known['system']}, Python {known['python']}, "
        f"load {known['load']:.2f} before the start"
    )
