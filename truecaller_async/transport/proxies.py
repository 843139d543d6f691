"""Which proxy, if any.

The caller's own `proxy` wins. Else the environment is asked, once, when the session is opened: HTTPS_PROXY or
HTTP_PROXY by the scheme of the base URL, unless NO_PROXY names the host. A loopback host never goes through a proxy
of the environment. The library's own way of reading the environment is left off, because it reads ~/.netrc too and
would send a login found there in place of the token.

A proxy's URL may hold a password; it is shown as host and port only.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from truecaller_async.errors import ConfigError


def parse(text: str, setting: str) -> URL:
    """The proxy's URL; `host:port` without a scheme means http. Raises `ConfigError` naming the `setting`."""
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
    """The environment's proxy for this base URL."""
    host = base.host or ""
    if is_loopback(host) or proxy_bypass(f"{host}:{base.port}"):
        return None
    found = getproxies().get(base.scheme)
    return parse(found, f"{base.scheme.upper()}_PROXY") if found else None


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by its name or its address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(setting: str, why: str) -> ConfigError:
    return ConfigError(f"{setting} cannot be used as a proxy: {why}; give a URL such as http://proxy.example:3128")
