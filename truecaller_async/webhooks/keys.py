"""The key in the webhook's URL: the only thing by which a sender is known. Pure.

Events are not signed. The console takes a URL and nothing else, so a key that we made up stands in it, as the query
parameter `key` or as the last segment of the path. During a rotation several keys are good.

The comparison takes the same time whatever was offered: every offer is compared with every key, over digests, so that
neither the length nor the first difference shows; and on bytes, because text that is not ASCII would make it fail.
A key is visible ASCII, so a `+` in it is a plus and never a space.

A key must not come into a log, and servers log URLs. `Keyring.hidden` is the text without keys, `HideKeys` a filter
that does it to whatever a logger is about to write.
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
"""Characters of a key at least: 16 random letters and digits are 95 bits."""
KEY_MAX = 512

VISIBLE = re.compile(r"[!-~]+", re.ASCII)
KEY_PARAMETER = re.compile(r"(?P<name>\bkey=)[^&\s\"'#]*", re.IGNORECASE)


class Keyring:
    """The keys that are good now. Raises `ConfigError` where there is none, or one that is no good as a key."""

    def __init__(self, keys: Sequence[Secret | str]) -> None:
        if isinstance(keys, str | Secret):
            raise ConfigError("keys must be a list of keys, such as [key]")
        texts = [_checked(place, key) for place, key in enumerate(keys, 1)]
        if not texts:
            raise ConfigError("keys is empty: at least one key is needed, or anybody could send events")
        self._digests = [_digest(text.encode()) for text in texts]
        forms = {form for text in texts for form in (text, quote(text, safe=""))}
        longest_first = sorted(forms, key=len, reverse=True)
        self._forms = re.compile("|".join(re.escape(form) for form in longest_first))

    def accepts(self, path: bytes, query: bytes) -> bool:
        """Whether a good key stands in this URL, both parts as they came, percent-encoded."""
        digests = [_digest(offer) for offer in (_query_key(query), _path_key(path))]
        same = [hmac.compare_digest(offered, key) for offered in digests for key in self._digests]
        return any(same)

    def redacted(self, text: str) -> str:
        """The text with `***` in place of every key of ours, and of whatever stands where a key would stand."""
        return self._forms.sub("***", KEY_PARAMETER.sub(r"\g<name>***", text))

    def __repr__(self) -> str:
        return f"Keyring({len(self._digests)} keys)"


class HideKeys(logging.Filter):
    """A filter for a server's logs: the line is written, the key in it is not."""

    def __init__(self, keys: Keyring) -> None:
        super().__init__()
        self._keys = keys

    def filter(self, record: logging.LogRecord) -> bool:
        """Hides keys in the message, in its arguments, in a traceback, and in what a formatter finds on the record."""
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None  # an exception over a broken request quotes it
        for name, value in list(vars(record).items()):
            if isinstance(value, str):
                setattr(record, name, self._keys.redacted(value))
        if isinstance(record.args, tuple):
            record.args = tuple(map(self._redacted_arg, record.args))
        elif record.args:
            record.args = {name: self._redacted_arg(arg) for name, arg in record.args.items()}
        return True

    def _redacted_arg(self, arg: object) -> object:
        """Numbers stay numbers, for the sake of `%d`; all else becomes text, such as uvicorn's scope of a request."""
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
    """The first parameter `key`; empty where there is none, which is no key."""
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return next((unquote_to_bytes(value) for name, _, value in pairs if name == b"key"), b"")


def _path_key(path: bytes) -> bytes:
    """The last segment of the path that is not empty."""
    return unquote_to_bytes(path.rstrip(b"/").rpartition(b"/")[2])
