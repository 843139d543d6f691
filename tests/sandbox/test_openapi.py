"""Agreement of `openapi.yaml` with the server: per route here, and per request with schemathesis.

schemathesis generates valid and invalid requests from the document and checks each answer: no server error, only
documented statuses, content types, headers and bodies; invalid requests are rejected and valid ones accepted; other
methods are rejected with an `Allow` header; no access without a token. It runs in its own process, because it has its
own event loop and warnings, and connects only to the socket of the sandbox.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import msgspec
import pytest
import schemathesis

from truecaller_async.options import CALLS, Limits
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxResponse, SandboxSettings
from truecaller_async.sandbox.app import openapi_yaml
from truecaller_async.sandbox.routing import ROUTES, Route

from .driver import NOW, PATHS, Driver

EXAMPLES = 15
"""Generated requests per operation in each phase."""

CONFIG = """\
[parameters]
"path.clientAccountId" = "{account}"
"path.featureSetId" = "{feature_set}"

# No schema can say these: a window is checked against the clock and a label against the account, and a list takes one
# filter at a time. So not every request that fits the document is taken; all other checks hold there as well.
[[operations]]
include-operation-id-regex = "^(pushRecord|submitBatch|listNumbers|listFeatureSets)"
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return schemathesis.openapi.from_file(openapi_yaml()).raw_schema


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return all operations by method and path."""
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def test_every_route_is_described_and_everything_described_is_a_route(document: dict[str, Any]) -> None:
    assert sorted(operations(document)) == sorted((route.method, route.path) for route in ROUTES)
    assert len(ROUTES) == 17


def test_every_call_that_a_limit_can_name_has_a_route() -> None:
    assert {route.call for route in ROUTES} == set(CALLS)


def test_every_operation_lists_all_its_errors(document: dict[str, Any]) -> None:
    always = {"200", "400", "401", "403", "404", "429", "500"}
    for (method, path), operation in operations(document).items():
        assert operation["responses"].keys() == always | ({"413"} if method == "POST" else set()), path


def test_every_operation_but_the_login_needs_a_token(document: dict[str, Any]) -> None:
    assert document["security"] == [{"token": []}]
    open_ones = [path for (_, path), operation in operations(document).items() if operation.get("security") == []]
    assert open_ones == ["/clients/{clientAccountId}/token"]


def test_deprecated_calls_are_marked(document: dict[str, Any]) -> None:
    marked = {path for (_, path), operation in operations(document).items() if operation.get("deprecated")}
    assert len(marked) == 4
    assert all("/openapi/" in path or path.startswith("/clients/{clientAccountId}/dynamic_call") for path in marked)


def test_examples_are_accepted_by_a_default_sandbox(document: dict[str, Any], driver: Driver) -> None:
    examples = {name: example["value"] for name, example in document["components"]["examples"].items()}
    keys = examples["keys"]
    assert driver.mint(**keys).status == 200
    for version in PATHS:
        number = version.removeprefix("v")
        assert driver.push(examples[f"recordV{number}"], version).status == 200
        assert driver.submit(*examples[f"batchV{number}"]["call_records"], version=version).status == 200


def test_document_is_openapi() -> None:
    schemathesis.openapi.from_file(openapi_yaml()).validate()


def resolve(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the target of a reference; any other value unchanged."""
    for name in value.get("$ref", "").split("/")[1:]:
        document = document[name]
    return document if "$ref" in value else value


def schema_errors(document: dict[str, Any], schema: dict[str, Any], value: object) -> list[str]:
    """Return the violations of a schema of the document by a value."""
    judge = jsonschema_rs.validator_for(schema | {"components": document["components"]}, validate_formats=True)
    return [error.message for error in judge.iter_errors(value)]


def test_every_json_body_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    for key, operation in operations(document).items():
        for part in (operation.get("requestBody", {"content": {}}), *operation["responses"].values()):
            body = resolve(document, part)["content"].get("application/json")
            if body is None:
                continue
            examples = [resolve(document, example)["value"] for example in body.get("examples", {}).values()]
            examples += [body["example"]] if "example" in body else []
            assert examples, key
            assert [schema_errors(document, body["schema"], example) for example in examples] == [[]] * len(examples), (
                key
            )


OTHER_ACCOUNT = "00000000-0000-4000-8000-000000000000"


def rejections(route: Route, driver: Driver) -> dict[str, SandboxResponse]:
    """Return the answers to invalid requests, by their error."""

    def path_in(account: str, feature_set: str) -> str:
        return route.path.format(clientAccountId=account, featureSetId=feature_set, surveyId="survey-1")

    account, feature_set = driver.settings.client_account_id, driver.settings.feature_sets[0].id
    path = path_in(account, feature_set)
    keys = {"key_id": driver.settings.key_id, "api_key": driver.settings.api_key.reveal()}
    wrong = "?page=x" if route.action in ("labels", "numbers", "feature_sets") else ""
    return {
        "body": driver.send_authorised(route.method, path + wrong, b"[]"),
        "token": driver.send(route.method, path, {**keys, "api_key": "x"}, authorization="Bearer x"),
        "account": driver.send_authorised(route.method, path_in(OTHER_ACCOUNT, feature_set), keys),
        "id": driver.send_authorised(route.method, f"{path_in(account, 'unknown')}?batchId=unknown", keys),
        "limit": [driver.send_authorised(route.method, path, keys) for _ in range(20)][-1],
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_refusal_is_described(document: dict[str, Any], route: Route) -> None:
    driver = Driver(SandboxSettings(limits=Limits.documented().replace(token=(10, 60.0), batch=(10, 60.0))))
    answers = rejections(route, driver)
    statuses = {what: answers[what].status for what in ("body", "token", "account", "limit")}
    assert statuses == {"body": 400, "token": 401, "account": 403, "limit": 429}
    described = operations(document)[route.method, route.path]["responses"]
    for what, reply in answers.items():
        answer = resolve(document, described[str(reply.status)])
        schema = answer["content"][reply.headers["content-type"]]["schema"]
        assert schema_errors(document, schema, msgspec.json.decode(reply.body)) == [], what
        assert {name.lower() for name in answer.get("headers", ())} <= reply.headers.keys(), what


async def test_document_is_served_beside_the_api() -> None:
    async with await Sandbox.start() as sandbox, aiohttp.ClientSession(sandbox.base_url) as http:
        async with http.get("/openapi.yaml") as answer:
            assert (answer.status, answer.content_type) == (200, "application/yaml")
            assert await answer.text() == openapi_yaml()
        async with http.get("/") as answer:
            assert "/openapi.yaml" in await answer.text()


async def run(*arguments: str, folder: Path) -> tuple[int | None, str]:
    """Run schemathesis; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, printed.decode()


async def test_every_answer_matches_the_document(tmp_path: Path) -> None:
    settings = SandboxSettings(limits=SPEEDS["off"])
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(account=settings.client_account_id, feature_set=settings.feature_sets[0].id))
    async with await Sandbox.start(settings, clock=lambda: NOW) as sandbox:
        driver = Driver(settings)
        driver.state = sandbox.state
        token = driver.log_in()
        code, printed = await run(
            *("--config-file", str(config), "run", f"{sandbox.base_url}/openapi.yaml"),
            *("--header", f"Authorization: Bearer {token}", "--seed", "1", "--max-examples", str(EXAMPLES)),
            *("--request-timeout", "10", "--no-color"),
            folder=tmp_path,
        )
        requests = sandbox.stats().requests
    assert code == 0, printed
    assert {call for call, statuses in requests.items() if "200" in statuses} == set(CALLS)
    assert not any("500" in statuses for statuses in requests.values())
