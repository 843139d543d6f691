"""Prints: the few bytes by which rows are known again.

A campaign that goes on reads old rows once more, and has to know that they are still the rows it sent. So a block of
rows leaves a print: eight bytes for the whole block, which decide whether it is the same, and one byte for each row,
which says where it begins to differ. No value stands in a print, and with the salt of another campaign the same rows
have another one. Who has the salt can still try numbers one after the other, most easily where a block is one row: a
print tells numbers again, it does not hide them.

The records are taken as they were given, not as they would be sent: the text "1" is not the number 1. Values that are
neither text nor whole numbers stand in the print with the name of their type. Of a type whose text nobody knows there
is only that name, for the text may hold an address of the memory, and a print is the same in every process.
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
"""Bytes at the beginning of a print that are about the whole block."""

PLAIN_TYPES = frozenset({str, int, type(None)})
"""What JSON keeps apart by itself. Each of the other types has a form there that could be that of another value."""

UNREADABLE_ROW = ()
"""Stands for a row that could not be read."""

_values = attrgetter(*(field.name for field in attrs.fields(CallRecord)))
_encode_lines = msgspec.json.Encoder().encode_lines
_encode = msgspec.json.Encoder(order="deterministic", enc_hook=as_text).encode


class RowFingerprints:
    """Makes prints, and compares rows with the print that was kept of them. `salt` is that of the campaign."""

    def __init__(self, salt: bytes) -> None:
        keys = blake2b(salt, digest_size=36).digest()
        self._key, self._crc_start = keys[:32], int.from_bytes(keys[32:], "big")

    def of(self, records: Sequence[CallRecord | None]) -> bytes:
        """The print of these rows, `DIGEST_SIZE` bytes and one for each row; None is a row that could not be read."""
        text = _lines([UNREADABLE_ROW if record is None else _values(record) for record in records])
        crc32, start = zlib.crc32, self._crc_start
        marks = bytes([crc32(line, start) & 0xFF for line in text.splitlines()])
        return blake2b(text, key=self._key, digest_size=DIGEST_BYTES).digest() + marks

    def first_difference(self, stored: bytes, records: Sequence[CallRecord | None]) -> int | None:
        """The index of the first row that is not as it was when the print was `kept`; None where all are.

        One change in 256 leaves the mark of its row as it was. Where no mark differs the answer is the first row of the
        block, 0, and where one side has more rows, the first row that the other does not have.
        """
        now = self.of(records)
        if now == stored:
            return None
        marks = list(zip(stored[DIGEST_BYTES:], now[DIGEST_BYTES:], strict=False))
        differing = (index for index, (before, after) in enumerate(marks) if before != after)
        return next(differing, 0 if len(stored) == len(now) else len(marks))


def _lines(rows: list[tuple[Any, ...]]) -> bytes:
    """One line for each row, whatever is in it; rows with the same values have the same line among any others."""
    if not PLAIN_TYPES.issuperset(map(type, chain.from_iterable(rows))):
        rows = [tuple(value if type(value) in PLAIN_TYPES else _typed_text(value) for value in row) for row in rows]
    try:
        return _encode_lines(rows)
    except (ValueError, OverflowError):  # half a character, or an integer without end
        return _encode_lines([[value if _is_encodable(value) else _typed_text(value) for value in row] for row in rows])


def _is_encodable(value: object) -> bool:
    try:
        _encode(value)
    except (ValueError, OverflowError):
        return False
    return True


def _typed_text(value: object) -> list[str]:
    """The name of the type and a text, in a list: no plain value is one."""
    name = type(value).__name__
    if isinstance(value, str):
        return [name, ascii(str.__str__(value))]
    if isinstance(value, int):
        return [name, int.__format__(value, "x")]
    if isinstance(value, float):
        return [name, float.__repr__(value)]
    try:
        return [name, _encode(value).decode()]
    except Exception:  # noqa: BLE001 - the text of foreign values may fail in any way
        return [name, ""]
