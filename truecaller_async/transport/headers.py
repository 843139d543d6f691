"""Build the headers of a request, and refuse values that could inject other headers.

Invariants:
    - A value with a line break could add a header or a second request. Each name and value is checked before a
      connection is opened.
    - An error names the header and never shows its value, which can be the token. For the same reason no local variable
      of the checking function holds a value: a traceback that captures variables would show it.
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
    """Return the User-Agent, such as `truecaller-async/1.0 (python/3.12; aiohttp/3.14.5) my-app/1.2`.

    It says nothing about the host or the user.

    Args:
        suffix: name of the application of the caller.

    Raises:
        ConfigError: The suffix cannot be sent in a header.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    own = f"truecaller-async/{__version__} (python/{python}; aiohttp/{aiohttp.__version__})"
    if suffix is None:
        return own
    if not isinstance(suffix, str) or not VALUE.fullmatch(suffix):
        raise ConfigError(f"user_agent cannot be sent as a header: {RULE}; give plain text such as 'my-app/1.2'")
    return f"{own} {suffix}"


def check(request: Request) -> None:
    """Check the headers of a request and its token.

    Raises:
        ConfigError: A name, a value or the token cannot be sent safely.
    """
    names = [name for name in request.headers if not NAME.fullmatch(name)]
    if names:
        raise ConfigError(f"a header name of the {request.call} request is refused: letters, digits and hyphens only")
    values = [name for name in request.headers if not VALUE.fullmatch(request.headers[name])]
    if values:
        raise ConfigError(f"the header {values[0]} of the {request.call} request is refused: {RULE}")
    if request.token is not None and not VALUE.fullmatch(request.token.reveal()):
        raise ConfigError(f"the token of the {request.call} request is refused as a header: {RULE}")


def build(request: Request, agent: str) -> dict[str, str]:
    """Return all headers of a checked request, with its bearer token if it has one."""
    headers = {"Accept-Encoding": "gzip, deflate", "User-Agent": agent, **request.headers}
    if request.token is not None:
        headers["Authorization"] = f"Bearer {request.token.reveal()}"
    return headers
