"""May the address in a callback be fetched? Pure.

A callback is signed by nobody, so its `endpoint` is a stranger's wish to make this server connect somewhere, with a
token in its hand. The rule is an exact one: https, one of the hosts in the list, port 443, a path below `/v1/`, at most
512 printable ASCII characters, and none of `\\`, `@` and `#`, about which two readers of one URL disagree.

There is one reader. The rule is one regular expression, and the fetch is made from the parts that it found, with the
host's name taken from the list and not from the callback. Nothing reads the text a second time.

Then the name is resolved, and every address must be public (`transport.pinned_dns`).

A test needs a server on its own machine. `allow_loopback` turns the rule around: hosts carry their port, plain http is
allowed, and only addresses of this machine may be connected to. Forgotten in production it opens nothing: no public
host can be reached any more.
"""

from __future__ import annotations

import re

import attrs

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import Problem
from truecaller_async.protocol.arguments import shown_value

PROFILE_HOSTS = ("profile4-noneu.truecaller.com",)
"""The one host that the pages print. Truecaller may name others; they are added with `hosts`."""

ENDPOINT_MAX_CHARS = 512
HTTPS_PORT = 443
PORT_MAX = 65535

PRINTABLE_ASCII = re.compile(r"[!-~]*", re.ASCII)
AMBIGUOUS_CHARACTERS = re.compile(r"[\\@#]")
ENDPOINT_FORM = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/v1/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*/?)?)(?P<query>\?[A-Za-z0-9._~=&%+,:-]*)?",
    re.ASCII,
)
DOT_SEGMENT = re.compile(r"/\.{1,2}(?:/|$)")
HOST_FORM = re.compile(
    r"(?P<host>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII,
)


@attrs.frozen
class Endpoint:
    """An address that may be connected to. `target` is the path and the query."""

    scheme: str
    host: str
    port: int
    target: str


@attrs.frozen
class Endpoints:
    """Which addresses a callback may name.

    `hosts` are exact names in small letters. `allow_loopback` is for tests: then each of them carries its port, such as
    "127.0.0.1:8080", and only this machine is connected to. Raises `ConfigError`.
    """

    hosts: tuple[str, ...] = PROFILE_HOSTS
    allow_loopback: bool = False

    def __attrs_post_init__(self) -> None:
        if isinstance(self.hosts, str) or not self.hosts:
            raise ConfigError(f"Endpoints.hosts must be a tuple of host names, such as {PROFILE_HOSTS!r}")
        for host in self.hosts:
            self._check_host(host)

    def _check_host(self, host: object) -> None:
        found = HOST_FORM.fullmatch(host) if isinstance(host, str) else None
        if found is None or int(found["port"] or HTTPS_PORT) > PORT_MAX:
            raise ConfigError(
                f"Endpoints.hosts has {shown_value(host)}: give a bare name in small letters, without a scheme"
            )
        if bool(found["port"]) is not self.allow_loopback:
            raise ConfigError(
                f"Endpoints.hosts has {shown_value(host)}: a port is given with allow_loopback=True and only then, "
                "which is for tests; a real endpoint has port 443"
            )

    def check(self, endpoint: str) -> Endpoint:
        """The parts of an address that may be connected to. Raises `ValidationError`; connects to nobody."""
        found = _match(endpoint)
        port = int(found["port"] or (HTTPS_PORT if found["scheme"] == "https" else 80))
        named = f"{found['host']}:{port}" if self.allow_loopback else found["host"]
        if named not in self.hosts:
            hint = "if it is Truecaller's own, add it to Endpoints(hosts=...)"
            raise _error("host", "leads to a host that is not in the list", shown_value(named), hint)
        if not self.allow_loopback and (found["scheme"] != "https" or port != HTTPS_PORT):
            raise _error("https", "is not https on port 443", f"{found['scheme']} {port}")
        return Endpoint(found["scheme"], found["host"], port, found["path"] + (found["query"] or ""))


def _match(endpoint: str) -> re.Match[str]:
    if len(endpoint) > ENDPOINT_MAX_CHARS:
        raise _error("length", f"is longer than {ENDPOINT_MAX_CHARS} characters", str(len(endpoint)))
    if not PRINTABLE_ASCII.fullmatch(endpoint) or AMBIGUOUS_CHARACTERS.search(endpoint):
        raise _error("characters", "has a character beyond printable ASCII, or one of \\ @ #", shown_value(endpoint))
    found = ENDPOINT_FORM.fullmatch(endpoint)
    if found is None or DOT_SEGMENT.search(found["path"]):
        raise _error("form", "is not of the form https://host/v1/...", shown_value(endpoint))
    return found


def _error(rule: str, message: str, value: str, hint: str = "nothing was sent") -> ValidationError:
    return ValidationError([Problem("endpoint", f"endpoint.{rule}", message, value, hint)])
