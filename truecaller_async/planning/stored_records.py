"""Records in a journal, where their source cannot be read again: stdin, a generator.

They are kept in canonical form, the caller's key included, and compressed; the journal drops them with the last word on
their batch.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from truecaller_async.models import CallRecord, RecordColumns
from truecaller_async.validation.batch_validation import all_canonical
from truecaller_async.validation.normalise import canonical

LEVEL = 1
"""The fastest: numbers do not become much smaller by trying harder."""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


def pack_records(records: Sequence[CallRecord]) -> bytes:
    """The records of one batch."""
    are_formed = bool(records) and all_canonical(RecordColumns.of(records))
    formed = records if are_formed else [canonical(record) for record in records]
    try:
        text = _encode(formed)
    except UnicodeEncodeError:  # half a character, in somebody's key: only the standard library writes it, escaped
        text = json.dumps([attrs.asdict(record) for record in formed], default=str).encode()
    return zlib.compress(text, LEVEL)


def unpack_records(payload: bytes) -> list[CallRecord]:
    """The records again, in their order."""
    text = zlib.decompress(payload)
    try:
        fields = _decode(text)
    except msgspec.DecodeError:
        fields = json.loads(text)
    return [CallRecord(**values) for values in fields]
