"""Compute row fingerprints, which show on resume whether the source is unchanged.

Algorithm:
    - The fingerprint of a block of rows is an 8-byte keyed BLAKE2b digest, which decides whether the block is equal,
      and one CRC byte per row, which locates the first difference.
    - The records are hashed as given, not in canonical form: the text "1" is not the number 1.
    - Values that are neither text, integer nor None are hashed with the name of their type and their text. For a type
      without a known text only the name is hashed, because its `repr` may contain a memory address.
Invariants:
    - A fingerprint contains no value, and is equal in every process. Another salt gives another fingerprint.
Failure modes:
    - Fingerprints do not protect privacy: with the salt, phone numbers can be found by brute force.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from operator import attrgetter
from typing import Any

import attrs
import msgspec

from truecaller_async.models import CallRecord
from truecaller_async.validation.untrusted_values import as_text

DIGEST_BYTES = 8
"""Size of the digest of the block, at the beginning of a fingerprint."""

PLAIN_TYPES = frozenset({str, int, type(None)})
"""Types that JSON distinguishes. A value of another type could have the same JSON form as one of these."""

UNREADABLE_ROW = ()
"""Placeholder for a row that could not be read."""

_values = attrgetter(*(field.name for field in attrs.fields(CallRecord)))
_encode_lines = msgspec.json.Encoder().encode_lines
_encode = msgspec.json.Encoder(order="deterministic", enc_hook=as_text).encode


class RowFingerprints:
    """Compute fingerprints with the salt of a campaign and compare rows with a stored fingerprint."""

    def __init__(self, salt: bytes) -> None:
        keys = blake2b(salt, digest_size=36).digest()
        self._key, self._crc_start = keys[:32], int.from_bytes(keys[32:], "big")

    def of(self, records: Sequence[CallRecord | None]) -> bytes:
        """Return the fingerprint of rows: `DIGEST_BYTES` bytes and one byte per row.

        None is a row that could not be read.
        """
        text = _lines([UNREADABLE_ROW if record is None else _values(record) for record in records])
        crc32, start = zlib.crc32, self._crc_start
        checksums = bytes([crc32(line, start) & 0xFF for line in text.splitlines()])
        return blake2b(text, key=self._key, digest_size=DIGEST_BYTES).digest() + checksums

    def first_difference(self, stored: bytes, records: Sequence[CallRecord | None]) -> int | None:
        """Return the index of the first row that differs from the stored fingerprint, or None.

        One change in 256 leaves the checksum of its row unchanged. If no checksum differs, the result is 0 (the first
        row of the block). If only the number of rows differs, it is the length of the shorter block.
        """
        now = self.of(records)
        if now == stored:
            return None
        checksums = list(zip(stored[DIGEST_BYTES:], now[DIGEST_BYTES:], strict=False))
        differing = (index for index, (before, after) in enumerate(checksums) if before != after)
        return next(differing, 0 if len(stored) == len(now) else len(checksums))


def _lines(rows: list[tuple[Any, ...]]) -> bytes:
    """Encode each row as one line. Equal values give the same line, independent of the other rows."""
    if not PLAIN_TYPES.issuperset(map(type, chain.from_iterable(rows))):
        rows = [tuple(value if type(value) in PLAIN_TYPES else _typed_text(value) for value in row) for row in rows]
    try:
        return _encode_lines(rows)
    except (ValueError, OverflowError):  # an unpaired surrogate, or an integer of more than 64 bits
        return _encode_lines([[value if _is_encodable(value) else _typed_text(value) for value in row] for row in rows])


def _is_encodable(value: object) -> bool:
    try:
        _encode(value)
    except (ValueError, OverflowError):
        return False
    return True


def _typed_text(value: object) -> list[str]:
    """Return the name of the type and a text, in a list: a plain value is never a list."""
    name = type(value).__name__
    if isinstance(value, str):
        return [name, ascii(str.__str__(value))]
    if isinstance(value, int):
        return [name, int.__format__(value, "x")]
    if isinstance(value, float):
        return [name, float.__repr__(value)]
    try:
        return [name, _encode(value).decode()]
    except Exception:  # noqa: BLE001 - the conversion of foreign values can raise anything
        return [name, ""]
