"""What goes on the wire beside the body, and what must not.

A header's value that holds a line break could write a second header, or a second request, in our name. So every
name and value is checked before anything is opened, and the complaint names the header and never shows the value:
it may be the token. For the same reason the function that complains holds no value in a variable, where a
traceback that captures locals would find it.
"""

from __future__ import annotations

import re
import sys

import aiohttp

from truecaller_async._version import __version__
from truecaller_async.errors import ConfigError
from truecaller_async.models import Request

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")

RULE = "line breaks, other control characters and characters beyond latin-1 are refused"


def user_agent(suffix: str | None = None) -> str:
    """`truecaller-async/1.0 (python/3.12; aiohttp/3.14.5)`, and the caller's own words behind it.

    Says nothing of the host or the user. Raises `ConfigError` where the suffix cannot stand in a header.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    ours = f"truecaller-async/{__version__} (python/{python}; aiohttp/{aiohttp.__version__})"
    if suffix is None:
        return ours
    if not isinstance(suffix, str) or not VALUE.fullmatch(suffix):
        raise ConfigError(f"user_agent cannot be sent as a header: {RULE}; give plain text such as 'my-app/1.2'")
    return f"{ours} {suffix}"


def check(request: Request) -> None:
    """Raises `ConfigError` where a header of the request, or its token, cannot be sent safely."""
    names = [name for name in request.headers if not NAME.fullmatch(name)]
    if names:
        raise ConfigError(f"a header name of the {request.call} request is refused: letters, digits and hyphens only")
    values = [name for name in request.headers if not VALUE.fullmatch(request.headers[name])]
    if values:
        raise ConfigError(f"the header {values[0]} of the {request.call} request is refused: {RULE}")
    if request.token is not None and not VALUE.fullmatch(request.token.reveal()):
        raise ConfigError(f"the token of the {request.call} request is refused as a header: {RULE}")


def build(request: Request, agent: str) -> dict[str, str]:
    """All headers of a checked request, with the bearer token where it has one."""
    headers = {"Accept-Encoding": "gzip, deflate", "User-Agent": agent, **request.headers}
    if request.token is not None:
        headers["Authorization"] = f"Bearer {request.token.reveal()}"
    return headers
