from __future__ import annotations

import hmac
import logging
import sys

import pytest

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.webhooks import HideKeys, Keyring

from .servers import KEY, OTHER_KEY


@pytest.mark.parametrize(
    "keys", [[], [""], ["short"], ["x" * 15], ["ü" * 20], ["with a space in it"], ["x" * 513], [7]]
)
def test_invalid_key_is_refused_and_not_shown(keys: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Keyring(keys)
    assert not any(isinstance(key, str) and len(key) > 8 and key in str(caught.value) for key in keys)


def test_single_text_is_refused_as_a_key_list() -> None:
    with pytest.raises(ConfigError, match="list"):
        Keyring(KEY)


def test_key_may_be_a_secret_and_the_key_ring_hides_it() -> None:
    ring = Keyring([Secret(KEY)])
    assert ring.accepts(b"/", b"key=" + KEY.encode())
    assert KEY not in repr(ring) + repr(vars(ring)["_digests"])


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (b"/hook", b"key=a%2Bplus%2Fkey-of-the-hook"),
        (b"/hook/a+plus%2fkey-of-the-hook/", b""),
        (b"", b"key=a+plus/key-of-the-hook"),
    ],
)
def test_key_is_recognised_in_any_percent_encoding(path: bytes, query: bytes) -> None:
    assert Keyring(["a+plus/key-of-the-hook"]).accepts(path, query)


def test_every_candidate_is_compared_with_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counting(offered: bytes, key: bytes) -> bool:
        seen.append(len(offered) == len(key))
        return offered == key

    monkeypatch.setattr(hmac, "compare_digest", counting)
    ring = Keyring([KEY, OTHER_KEY])
    counts = []
    for query in (b"", b"key=x", b"key=" + KEY.encode(), b"key=" + OTHER_KEY.encode(), b"key=\xff"):
        seen.clear()
        ring.accepts(b"/hook", query)
        assert all(seen)
        counts.append(len(seen))
    assert set(counts) == {4}


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("access", logging.INFO, "server.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def test_filter_hides_keys_in_message_arguments_and_extras() -> None:
    hide = HideKeys(Keyring([KEY, "a+plus/key-of-the-hook"]))
    line = record(
        '%s - "%s %s" %d',
        "127.0.0.1",
        "POST",
        f"/hook/{KEY}?x=1",
        200,
        first_request_line=f"POST /hook?x=1&key={KEY}&y=2",
    )
    assert hide.filter(line)
    assert line.getMessage() == '127.0.0.1 - "POST /hook/***?x=1" 200'
    assert vars(line)["first_request_line"] == "POST /hook?x=1&key=***&y=2"
    assert hide.filter(other := record("GET /h?key=some-old-key HTTP/1.1 and /hook/a%2Bplus%2Fkey-of-the-hook"))
    assert other.getMessage() == "GET /h?key=*** HTTP/1.1 and /hook/***"


def test_filter_hides_keys_in_arguments_that_are_no_text() -> None:
    scope = {"query_string": f"key={KEY}".encode(), "raw_path": f"/hook/{KEY}".encode(), "other": b"key=some-old-key"}
    for line in (record("%s started scope=%s after %.1f s", "127.0.0.1", scope, 0.5), record("%s", scope)):
        assert HideKeys(Keyring([KEY])).filter(line)
        message = line.getMessage()
        assert "query_string" in message
        assert KEY not in message
        assert "some-old-key" not in message


def test_filter_hides_keys_in_a_traceback() -> None:
    line = record("Error handling request")
    try:
        raise ValueError(f"bad request line b'POST /hook/{KEY}?key=some-old-key NONSENSE'")
    except ValueError:
        line.exc_info = sys.exc_info()
    assert HideKeys(Keyring([KEY])).filter(line)
    written = logging.Formatter().format(line)
    assert "ValueError: bad request line b'POST /hook/***?key=*** NONSENSE'" in written
