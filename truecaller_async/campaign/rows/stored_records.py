"""Encode records for the journal if their source cannot be read again (stdin, a generator).

The records are stored in canonical form with the key of the caller, as compressed JSON. The journal deletes them when
all rows of their batch have a final outcome.
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

COMPRESSION_LEVEL = 1
"""Fastest level: phone numbers do not become much smaller with a higher one."""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


def pack_records(records: Sequence[CallRecord]) -> bytes:
    """Encode the records of one batch."""
    is_canonical = bool(records) and all_canonical(RecordColumns.of(records))
    canonical_records = records if is_canonical else [canonical(record) for record in records]
    try:
        text = _encode(canonical_records)
    except UnicodeEncodeError:  # an unpaired surrogate in a key: only the standard library can encode it, escaped
        text = json.dumps([attrs.asdict(record) for record in canonical_records], default=str).encode()
    return zlib.compress(text, COMPRESSION_LEVEL)


def unpack_records(payload: bytes) -> list[CallRecord]:
    """Decode the records, in their order."""
    text = zlib.decompress(payload)
    try:
        fields = _decode(text)
    except msgspec.DecodeError:
        fields = json.loads(text)
    return [CallRecord(**values) for values in fields]
