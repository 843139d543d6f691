"""Choose the proxy of a transport.

Algorithm:
    A proxy that the caller gives has priority. Otherwise the environment is read once, when the session is opened:
    HTTPS_PROXY or HTTP_PROXY by the scheme of the base URL, unless NO_PROXY names the host.

Invariants:
    - A loopback host never uses a proxy of the environment.
    - The HTTP library does not read the environment itself: it would also read ~/.netrc, and send a login from there
      instead of the token.
    - The URL of a proxy can hold a password. Only its host and port are shown.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from truecaller_async.errors import ConfigError


def parse(text: str, setting: str) -> URL:
    """Return the URL of a proxy. `host:port` without a scheme means http.

    Args:
        text: value of the setting.
        setting: name of the setting, for the error.

    Raises:
        ConfigError: The text is not the URL of an http or https proxy.
    """
    if not isinstance(text, str):
        raise _refused(setting, f"it is of type {type(text).__name__}")
    if not text.isprintable() or " " in text:
        raise _refused(setting, "it has a space or a line break inside")
    try:
        url = URL(text if "://" in text else f"http://{text}")
        host = url.host
    except ValueError:
        raise _refused(setting, "it is not a URL") from None
    if url.scheme not in ("http", "https"):
        raise _refused(setting, f"the scheme {url.scheme!r} is not supported")
    if not host:
        raise _refused(setting, "it names no host")
    return url


def from_environment(base: URL) -> URL | None:
    """Return the proxy of the environment for this base URL; None for a direct connection.

    Raises:
        ConfigError: The environment names a proxy that cannot be used.
    """
    host = base.host or ""
    if is_loopback(host) or proxy_bypass(f"{host}:{base.port}"):
        return None
    found = getproxies().get(base.scheme)
    return parse(found, f"{base.scheme.upper()}_PROXY") if found else None


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine, by its name or its address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(setting: str, reason: str) -> ConfigError:
    return ConfigError(f"{setting} cannot be used as a proxy: {reason}; give a URL such as http://proxy.example:3128")
