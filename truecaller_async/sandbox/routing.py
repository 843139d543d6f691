"""Routing: find the call that a method and a path name.

Documented: v1 has no version segment, and `/v1/` does not exist; the singular path is one real-time record, the plural
path is a batch; tokens, labels, number management and exports have no version. Chosen by the sandbox: 404 and 405 for
other paths and methods. `openapi.yaml` describes the routes of `ROUTES` with the same path templates.
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
    """One method of one path."""

    method: str
    """HTTP method."""
    path: str
    """Path template."""
    call: str
    """Name of the call in the rate limits."""
    action: str
    """Name of the operation that answers the request."""
    form: Form = V1
    """Wire format of records."""


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
"""All routes of the API."""


@attrs.frozen
class _Path:
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
    """Route of a request with its path values and query."""

    route: Route
    """Matched route."""
    path_values: Mapping[str, str]
    """Values of the path segments that are variable in the template."""
    query: str
    """Query string."""

    @property
    def account(self) -> str:
        """Client account id in the path."""
        return self.path_values["clientAccountId"]

    def query_value(self, name: str) -> str | None:
        """Return the first value of a query parameter; None if it is missing or empty."""
        values = parse_qs(self.query).get(name)
        return values[0] if values else None


def find(method: str, path_qs: str) -> RouteTarget | SandboxResponse:
    """Return the route for this method and path, or a 404 or 405 answer."""
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
