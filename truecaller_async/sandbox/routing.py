"""Which call a request is.

v1 has no version segment, and there is no `/v1/`; the singular path is one real-time record, the plural one is a
batch; a token and the labels belong to no version. All of that is documented. The answers to a path or a method that
is none of these, 404 and 405, are the sandbox's own. Number management and the deprecated exports are not served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote

import attrs

from truecaller_async.sandbox.answers import Reply, error
from truecaller_async.sandbox.records import FORMS, V1, Form

_PATH = re.compile(
    r"(?:/(?P<version>v2|v3))?/clients/(?P<account>[^/]+)/(?P<name>dynamic_call_records?)"
    r"|/clients/(?P<plain_account>[^/]+)/(?P<plain_name>token|labels)"
)
_CALLS: Mapping[str, Mapping[str, str]] = {
    "token": {"POST": "mint"},
    "labels": {"GET": "labels"},
    "dynamic_call_record": {"POST": "push"},
    "dynamic_call_records": {"POST": "submit", "GET": "status"},
}


@attrs.frozen
class Target:
    """What a request is about. `call` is the name by which limits know it."""

    call: str
    form: Form
    account: str
    query: str

    def asked(self, name: str) -> str | None:
        """The first value of a query parameter; None where it is missing or empty."""
        values = parse_qs(self.query).get(name)
        return values[0] if values else None


def find(method: str, path_qs: str) -> Target | Reply:
    """The call that this method and path name, or the answer that there is none."""
    path, _, query = path_qs.partition("?")
    found = _PATH.fullmatch(path)
    if found is None:
        return error(404, "not-found", "no such path in this API")
    methods = _CALLS[found["name"] or found["plain_name"]]
    if method not in methods:
        allowed = ", ".join(methods)
        return error(405, "method-not-allowed", f"this path takes {allowed}", {"allow": allowed})
    form = FORMS[found["version"]] if found["version"] else V1
    return Target(methods[method], form, unquote(found["account"] or found["plain_account"]), query)
