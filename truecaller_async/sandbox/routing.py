"""Which call a request is.

v1 has no version segment, and there is no `/v1/`; the singular path is one real-time record, the plural one is a
batch; a token, the labels, number management and the exports belong to no version. All of that is documented. The
answers to a path or a method that is none of these, 404 and 405, are the sandbox's own.

`ROUTES` is the whole table; `openapi.yaml` describes the same routes under the same templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qs, unquote

import attrs

from truecaller_async.sandbox.answers import SandboxResponse, not_allowed, not_found
from truecaller_async.sandbox.batches.records import FORMS, V1, Form

_ACCOUNT = "/clients/{clientAccountId}"
_SETS = f"{_ACCOUNT}/number_management/feature_sets"
_SET = f"{_SETS}/{{featureSetId}}/numbers"
_OPENAPI = f"{_ACCOUNT}/openapi"


@attrs.frozen
class Route:
    """One method of one path. `call` is the name by which limits know it, `action` what is done."""

    method: str
    path: str
    call: str
    action: str
    form: Form = V1


def _record_routes(form: Form, prefix: str) -> tuple[Route, ...]:
    one, many = f"{prefix}{_ACCOUNT}/dynamic_call_record", f"{prefix}{_ACCOUNT}/dynamic_call_records"
    return (
        Route("POST", one, "push", "push", form),
        Route("POST", many, "submit", "submit", form),
        Route("GET", many, "status", "status", form),
    )


ROUTES = (
    *_record_routes(FORMS["v2"], "/v2"),
    *_record_routes(FORMS["v3"], "/v3"),
    *_record_routes(V1, ""),
    Route("POST", f"{_ACCOUNT}/token", "mint", "mint"),
    Route("GET", f"{_ACCOUNT}/labels", "labels", "labels"),
    Route("POST", f"{_SET}/publish", "numbers", "publish"),
    Route("POST", f"{_SET}/delist", "numbers", "delist"),
    Route("GET", f"{_ACCOUNT}/number_management/numbers", "numbers", "numbers"),
    Route("GET", _SETS, "feature_sets", "feature_sets"),
    Route("GET", f"{_OPENAPI}/feedback_stack/{{surveyId}}/export_report", "exports", "user_feedback"),
    Route("GET", f"{_OPENAPI}/callback-logs/summary", "exports", "call_me_back"),
)


@attrs.frozen
class _Path:
    """All methods of one path."""

    pattern: re.Pattern[str]
    routes: Mapping[str, Route]


def _paths() -> tuple[_Path, ...]:
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = route
    return tuple(
        _Path(re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), MappingProxyType(routes))
        for path, routes in by_path.items()
    )


_PATHS = _paths()


@attrs.frozen
class RouteTarget:
    """What a request is about. `names` are the segments of the path that its template leaves open."""

    route: Route
    path_values: Mapping[str, str]
    query: str

    @property
    def account(self) -> str:
        """The account in the path."""
        return self.path_values["clientAccountId"]

    def query_value(self, name: str) -> str | None:
        """The first value of a query parameter; None where it is missing or empty."""
        values = parse_qs(self.query).get(name)
        return values[0] if values else None


def find(method: str, path_qs: str) -> RouteTarget | SandboxResponse:
    """The call that this method and path name, or the answer that there is none."""
    path, _, query = path_qs.partition("?")
    for known in _PATHS:
        found = known.pattern.fullmatch(path)
        if found is not None:
            break
    else:
        return not_found("no such path in this API")
    route = known.routes.get(method)
    if route is None:
        return not_allowed(", ".join(known.routes))
    return RouteTarget(route, {name: unquote(value) for name, value in found.groupdict().items()}, query)
