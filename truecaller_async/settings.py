"""From arguments and the environment to the settings of a client, each judged before anything is made of it.

What is wrong is a `ConfigError` that names the setting, the value as far as it may be shown, the rule and what to do. A
URL is looked at before it is parsed, because parsers drop a line break without a word, and then the host is another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from yarl import URL

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.options import Limits
from truecaller_async.protocol.versions.registry import VERSIONS
from truecaller_async.redaction import quoted_value

T = TypeVar("T")

CREDENTIALS = {
    "client_account_id": "TRUECALLER_CLIENT_ACCOUNT_ID",
    "key_id": "TRUECALLER_KEY_ID",
    "api_key": "TRUECALLER_API_KEY",
}
"""The variable of each argument that there is no client without."""

TOKENS_MAX = 20
"""Ten mints in half an hour and a life of an hour keep at most twenty tokens alive."""

DIGITS_MAX = 9


def settings_from(environ: Mapping[str, str], given: Collection[str] = ()) -> dict[str, object]:
    """The constructor's arguments that the environment names, without those `given`. Raises `ConfigError`."""
    _refuse_missing([name for argument, name in CREDENTIALS.items() if argument not in given], environ)
    readers: dict[str, Callable[[], object]] = {
        "client_account_id": lambda: text_in(environ, CREDENTIALS["client_account_id"]),
        "key_id": lambda: text_in(environ, CREDENTIALS["key_id"]),
        "api_key": lambda: secret_in(environ, CREDENTIALS["api_key"]),
        "base_url": lambda: environ.get("TRUECALLER_BASE_URL"),
        "api_version": lambda: environ.get("TRUECALLER_API_VERSION"),
        "state": lambda: environ.get("TRUECALLER_STATE"),
        "limits": lambda: _limits(environ.get("TRUECALLER_LIMITS")),
        "max_tokens": lambda: _whole(environ.get("TRUECALLER_MAX_TOKENS"), "TRUECALLER_MAX_TOKENS"),
    }
    found = {argument: read() for argument, read in readers.items() if argument not in given}
    return {argument: value for argument, value in found.items() if value not in (None, "")}


def text_in(environ: Mapping[str, str], name: str) -> str | None:
    """The text of this variable, or of the file that NAME_FILE names; None where neither is set.

    Raises `ConfigError` where the file cannot be read or is empty.
    """
    if value := environ.get(name, "").strip():
        return value
    path = environ.get(f"{name}_FILE", "")
    if not path:
        return None
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{name}_FILE names {path}, which cannot be read: {reason}") from None
    if not value:
        raise ConfigError(f"{name}_FILE names {path}, which is empty")
    return value


def secret_in(environ: Mapping[str, str], name: str) -> Secret | None:
    """The same as a secret. Raises as `text_in`."""
    text = text_in(environ, name)
    return None if text is None else Secret(text)


def _refuse_missing(names: Collection[str], environ: Mapping[str, str]) -> None:
    """All of them are told at once, so that nobody has to try three times."""
    missing = [name for name in names if not environ.get(name, "").strip() and not environ.get(f"{name}_FILE")]
    if len(missing) == 1:
        name = missing[0]
        raise ConfigError(f"{name} is not set; set it, or {name}_FILE to the path of a file that holds it")
    if missing:
        raise ConfigError(
            f"{', '.join(missing[:-1])} and {missing[-1]} are not set; set each, or the same name with _FILE to the "
            "path of a file that holds it"
        )


def _limits(text: str | None) -> Limits | None:
    return Limits.documented().parse(text) if text else None


def _whole(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise ConfigError(f"{name} is {quoted_value(text)}: it must be a whole number")
    return int(text)


def checked_version(api_version: object) -> str:
    """The version, if there is one of that name. Raises `ConfigError`."""
    if isinstance(api_version, str) and api_version in VERSIONS:
        return api_version
    raise ConfigError(f"api_version is {quoted_value(api_version)}: it must be one of {', '.join(VERSIONS)}")


def checked_count(max_tokens: object) -> int:
    """How many tokens may be alive at once. Raises `ConfigError`."""
    if isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and 1 <= max_tokens <= TOKENS_MAX:
        return max_tokens
    raise ConfigError(f"max_tokens is {quoted_value(max_tokens)}: it must be a whole number from 1 to {TOKENS_MAX}")


def checked_kind(name: str, value: T | None, kind: type[T], usual: Callable[[], T]) -> T:
    """The value, the usual one where there is none. Raises `ConfigError` where it is of another kind."""
    if value is None:
        return usual()
    if isinstance(value, kind):
        return value
    raise ConfigError(f"{name} is {quoted_value(value)}: it must be of the class {kind.__name__}")


def checked_url(base_url: object) -> str:
    """The base URL without a slash at its end. Raises `ConfigError`."""
    if not isinstance(base_url, str) or not base_url.isprintable() or " " in base_url:
        raise ConfigError(
            f"base_url is {quoted_value(base_url)}: it must be text without spaces and line breaks, such as https://host"
        )
    try:
        url = URL(base_url)
        host = url.host
    except ValueError:
        raise ConfigError("base_url is not a URL; give one such as https://host") from None
    if url.scheme not in ("http", "https") or not host or url.port == 0:
        raise ConfigError("base_url must be of the form https://host or https://host:port")
    if any(mark in base_url for mark in "@?#"):
        raise ConfigError("base_url must not hold credentials, a query or a fragment; give scheme, host and path only")
    if url.scheme == "http" and not _is_this_machine(host):
        raise ConfigError(f"base_url is plain http to {host}: only https is used beyond this machine; write https://")
    return str(url).rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
