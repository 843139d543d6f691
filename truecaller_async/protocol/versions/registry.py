"""Versions of call personalisation: path prefix and wire form of a record.

Version 1 has no segment in the path: there is no `/v1/`. The paths of one record and of a batch differ by one letter.
Token, labels and number management have no version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import RecordColumns
from truecaller_async.protocol.versions import v1, v2, v3


@attrs.frozen
class Version:
    """One version of call personalisation."""

    name: str
    """Name as in `api_version`, such as "v2"."""
    prefix: str
    """First segment of the path with its slash; empty for version 1."""
    wire_records: Callable[[RecordColumns], Sequence[object]]
    """Convert records to the objects that are encoded as JSON."""


VERSIONS: Mapping[str, Version] = {
    "v1": Version("v1", v1.PREFIX, v1.wire_records),
    "v2": Version("v2", v2.PREFIX, v2.wire_records),
    "v3": Version("v3", v3.PREFIX, v3.wire_records),
}


def version_named(name: str) -> Version:
    """Return the version with this name.

    Raises:
        ConfigError: There is no such version.
    """
    try:
        return VERSIONS[name]
    except KeyError:
        raise ConfigError(f"api_version is {name!r}: it must be one of {', '.join(VERSIONS)}") from None
