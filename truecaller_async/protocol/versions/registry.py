"""The versions of call personalisation: where each lives and how it spells a record.

Traps of the paths, all documented: version 1 has no segment at all (there is no `/v1/`), and one record and a batch
differ by one letter. Token, labels and number management have no version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import RecordColumns
from truecaller_async.protocol.versions import v1, v2, v3


@attrs.frozen
class Version:
    """One version: its path prefix, and records as they go on the wire."""

    name: str
    prefix: str
    wire_records: Callable[[RecordColumns], Sequence[object]]


VERSIONS: Mapping[str, Version] = {
    "v1": Version("v1", v1.PREFIX, v1.wire_records),
    "v2": Version("v2", v2.PREFIX, v2.wire_records),
    "v3": Version("v3", v3.PREFIX, v3.wire_records),
}


def version_named(name: str) -> Version:
    """The version of that name; `ConfigError` where there is none."""
    try:
        return VERSIONS[name]
    except KeyError:
        raise ConfigError(f"api_version is {name!r}: it must be one of {', '.join(VERSIONS)}") from None
