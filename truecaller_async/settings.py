"""Read and check the settings of a client, from arguments and environment variables.

Failure modes:
    - A wrong setting raises `ConfigError`, which names the setting, the value (unless it may be secret), and the rule.
    - The characters of a URL are checked before it is parsed: parsers silently drop a line break, which changes the
      host.
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
"""The environment variable of each required argument."""

TOKENS_MAX = 20
"""With 10 mints in 30 minutes and a life of 60 minutes, at most 20 tokens are alive."""

DIGITS_MAX = 9


def settings_from(environ: Mapping[str, str], given: Collection[str] = ()) -> dict[str, object]:
    """Read the arguments of the constructor from environment variables.

    Args:
        environ: The variables.
        given: Arguments that the caller has; their variables are not read.

    Returns:
        The arguments that are set.

    Raises:
        ConfigError: A variable is missing or wrong.
    """
    _check_required([name for argument, name in CREDENTIALS.items() if argument not in given], environ)
    readers: dict[str, Callable[[], object]] = {
        "client_account_id": lambda: text_in(environ, CREDENTIALS["client_account_id"]),
        "key_id": lambda: text_in(environ, CREDENTIALS["key_id"]),
        "api_key": lambda: secret_in(environ, CREDENTIALS["api_key"]),
        "base_url": lambda: environ.get("TRUECALLER_BASE_URL"),
        "api_version": lambda: environ.get("TRUECALLER_API_VERSION"),
        "state": lambda: environ.get("TRUECALLER_STATE"),
        "limits": lambda: _limits(environ.get("TRUECALLER_LIMITS")),
        "max_tokens": lambda: _int(environ.get("TRUECALLER_MAX_TOKENS"), "TRUECALLER_MAX_TOKENS"),
    }
    found = {argument: read() for argument, read in readers.items() if argument not in given}
    return {argument: value for argument, value in found.items() if value not in (None, "")}


def text_in(environ: Mapping[str, str], name: str) -> str | None:
    """Read a variable, or the file whose path is in NAME_FILE.

    Args:
        environ: The variables.
        name: The name of the variable.

    Returns:
        The text without surrounding whitespace; None if neither variable is set.

    Raises:
        ConfigError: The file cannot be read or is empty.
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
    """Read a variable as `text_in` does, and return it as a secret."""
    text = text_in(environ, name)
    return None if text is None else Secret(text)


def _check_required(names: Collection[str], environ: Mapping[str, str]) -> None:
    # One error names all that are missing.
    missing = [name for name in names if not environ.get(name, "").strip() and not environ.get(f"{name}_FILE")]
    if len(missing) == 1:
        name = missing[0]
        raise ConfigError(f"{name} is not set; set it, or {name}_FILE to the path of a file that contains it")
    if missing:
        raise ConfigError(
            f"{', '.join(missing[:-1])} and {missing[-1]} are not set; set each, or the same name with _FILE to the "
            "path of a file that contains it"
        )


def _limits(text: str | None) -> Limits | None:
    return Limits.documented().parse(text) if text else None


def _int(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise ConfigError(f"{name} is {quoted_value(text)}: it must be a whole number")
    return int(text)


def checked_version(api_version: object) -> str:
    """Return the API version if it exists. Raises `ConfigError`."""
    if isinstance(api_version, str) and api_version in VERSIONS:
        return api_version
    raise ConfigError(f"api_version is {quoted_value(api_version)}: it must be one of {', '.join(VERSIONS)}")


def checked_count(max_tokens: object) -> int:
    """Return `max_tokens` if it is an int from 1 to 20. Raises `ConfigError`."""
    if isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and 1 <= max_tokens <= TOKENS_MAX:
        return max_tokens
    raise ConfigError(f"max_tokens is {quoted_value(max_tokens)}: it must be a whole number from 1 to {TOKENS_MAX}")


def checked_kind(name: str, value: T | None, kind: type[T], default: Callable[[], T]) -> T:
    """Return the value if it is of this class, or the default if it is None. Raises `ConfigError`."""
    if value is None:
        return default()
    if isinstance(value, kind):
        return value
    raise ConfigError(f"{name} is {quoted_value(value)}: it must be of the class {kind.__name__}")


def checked_url(base_url: object) -> str:
    """Return the base URL without a slash at its end. Raises `ConfigError`."""
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
    if any(character in base_url for character in "@?#"):
        raise ConfigError("base_url must not hold credentials, a query or a fragment; give scheme, host and path only")
    if url.scheme == "http" and not _is_this_machine(host):
        raise ConfigError(f"base_url is plain http to {host}: only https is used beyond this machine; write https://")
    return str(url).rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
