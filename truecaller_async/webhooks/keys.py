"""Key in the URL of the webhook, the only authentication of a sender. No I/O.

Events are not signed, and the console accepts only a URL. So the URL contains a random key, as the query parameter
`key` or as the last segment of the path. During a rotation several keys are valid. A key is visible ASCII, and a `+` in
the query is not decoded as a space.

Invariants:
    - The time of the comparison does not depend on the offered value: each offered value is compared with each key, as
      digests, so neither the length nor the first difference is observable.
    - The comparison uses bytes, because `hmac.compare_digest` fails on text that is not ASCII.
    - Keys must not appear in logs, and servers log URLs. `Keyring.redacted` removes keys from a text; the filter
      `HideKeys` applies it to log records.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret

KEY_MIN = 16
"""Minimum length of a key: 16 random letters and digits have 95 bits."""
KEY_MAX = 512
"""Maximum length of a key."""

VISIBLE = re.compile(r"[!-~]+", re.ASCII)
KEY_PARAMETER = re.compile(r"(?P<name>\bkey=)[^&\s\"'#]*", re.IGNORECASE)


class Keyring:
    """Valid keys.

    Raises:
        ConfigError: There is no key, or a key is not usable.
    """

    def __init__(self, keys: Sequence[Secret | str]) -> None:
        if isinstance(keys, str | Secret):
            raise ConfigError("keys must be a list of keys, such as [key]")
        texts = [_checked(place, key) for place, key in enumerate(keys, 1)]
        if not texts:
            raise ConfigError("keys is empty: at least one key is required, otherwise anyone could send events")
        self._digests = [_digest(text.encode()) for text in texts]
        forms = {form for text in texts for form in (text, quote(text, safe=""))}
        longest_first = sorted(forms, key=len, reverse=True)
        self._forms = re.compile("|".join(re.escape(form) for form in longest_first))

    def accepts(self, path: bytes, query: bytes) -> bool:
        """Return whether the URL contains a valid key; path and query are percent-encoded, as received."""
        digests = [_digest(offer) for offer in (_query_key(query), _path_key(path))]
        same = [hmac.compare_digest(offered, key) for offered in digests for key in self._digests]
        return any(same)

    def redacted(self, text: str) -> str:
        """Return the text with `***` in place of each valid key and of each value of a parameter `key`."""
        return self._forms.sub("***", KEY_PARAMETER.sub(r"\g<name>***", text))

    def __repr__(self) -> str:
        return f"Keyring({len(self._digests)} keys)"


class HideKeys(logging.Filter):
    """Logging filter that removes keys from log records."""

    def __init__(self, keys: Keyring) -> None:
        super().__init__()
        self._keys = keys

    def filter(self, record: logging.LogRecord) -> bool:
        """Remove keys from the message, its arguments, the traceback and other text attributes of the record."""
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None  # a parse error quotes the request
        for name, value in list(vars(record).items()):
            if isinstance(value, str):
                setattr(record, name, self._keys.redacted(value))
        if isinstance(record.args, tuple):
            record.args = tuple(map(self._redacted_arg, record.args))
        elif record.args:
            record.args = {name: self._redacted_arg(arg) for name, arg in record.args.items()}
        return True

    def _redacted_arg(self, arg: object) -> object:
        """Return an argument without keys.

        Numbers stay numbers, because formats such as `%d` need them. Other values become text, for example the scope
        that uvicorn logs.
        """
        return arg if arg is None or isinstance(arg, int | float) else self._keys.redacted(str(arg))


def _checked(position: int, key: Secret | str) -> str:
    text = key.reveal() if isinstance(key, Secret) else key
    if not isinstance(text, str) or not VISIBLE.fullmatch(text) or not KEY_MIN <= len(text) <= KEY_MAX:
        raise ConfigError(
            f"key {position} of the webhook must be {KEY_MIN} to {KEY_MAX} visible ASCII characters without spaces; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    return text


def _digest(offer: bytes) -> bytes:
    return sha256(offer).digest()


def _query_key(query: bytes) -> bytes:
    """Return the first parameter `key`, or an empty value."""
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return next((unquote_to_bytes(value) for name, _, value in pairs if name == b"key"), b"")


def _path_key(path: bytes) -> bytes:
    """Return the last non-empty segment of the path."""
    return unquote_to_bytes(path.rstrip(b"/").rpartition(b"/")[2])
