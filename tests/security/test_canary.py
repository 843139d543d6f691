"""S01: no key, token or phone number is shown, however a call ends.

The table is `calls.CALLS` x `host.FAILURES`, once with a failure of the call and once with a failure of the mint that
it needs. All loggers from DEBUG on, asyncio in its debug mode, and all warnings are collected.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import pytest

from truecaller_async import AuthenticationFailed, Secret, TruecallerClient
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

from .calls import CALLS, Given, record
from .canary import (
    EXTRACTORS,
    RENDERERS,
    Collected,
    Leak,
    collecting,
    leaks,
    locals_of,
    texts_of,
    texts_of_error,
    traces_of_number,
    traces_of_secret,
)
from .host import CALLER, FAILURES, KEY, LISTED, RECEIVER, TOKEN, Host

SECRETS = {"key": traces_of_secret(KEY), "token": traces_of_secret(TOKEN)}
NUMBERS = {
    "caller": traces_of_number(CALLER),
    "receiver": traces_of_number(RECEIVER),
    "own number": traces_of_number(LISTED),
}


def leaks_in(ending: object) -> list[Leak]:
    """Return the canaries that the result or the error of a call shows."""
    if isinstance(ending, BaseException):
        return [*leaks(SECRETS | NUMBERS, texts_of_error(ending)), *leaks(SECRETS, locals_of(ending))]
    taken_apart = leaks(SECRETS, texts_of(ending, EXTRACTORS))
    return [*leaks(SECRETS | NUMBERS, texts_of(ending, RENDERERS)), *taken_apart]


def debug(*, every_callback: bool) -> None:
    """Turn on the debug mode of asyncio, which can log each callback with its arguments."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    if every_callback:
        loop.slow_callback_duration = 0.0


async def ending_of(call: str, given: Given) -> object:
    """Return the result of the call, or its error."""
    try:
        return await CALLS[call](given)
    except Exception as error:  # noqa: BLE001 - how it ends is what is looked at
        return error


async def row_of(call: str, folder: Path, *, mint: bool = False) -> tuple[dict[str, object], Collected]:
    """Run one row of the table: the end of the call for each failure, and the records collected meanwhile."""
    ends: dict[str, object] = {}
    failed = 0
    with collecting() as collected:
        async with Host() as host:
            for number, (name, failure) in enumerate(FAILURES.items()):
                host.fail(failure, mint=mint)
                place = folder / str(number)
                place.mkdir()
                async with host.client() as client:
                    ends[name] = await ending_of(call, Given(host, client, place))
                failed += host.failed.is_set()
        assert (KEY if mint else TOKEN).encode() in host.server.received
    assert failed >= 15
    return ends, collected


async def assert_row_is_clean(call: str, folder: Path, *, mint: bool = False) -> None:
    debug(every_callback=False)
    ends, collected = await row_of(call, folder, mint=mint)
    assert {record.name for record in collected.log.records} >= {"asyncio", "truecaller_async"}
    assert leaks(SECRETS | NUMBERS, collected.texts()) == []
    assert {name: found for name, ending in ends.items() if (found := leaks_in(ending))} == {}


@pytest.mark.fault("S01")
@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"tokens.make"}))
async def test_failed_call_shows_no_secret_and_no_number(call: str, tmp_path: Path) -> None:
    await assert_row_is_clean(call, tmp_path)


@pytest.mark.fault("S01")
@pytest.mark.parametrize("call", ["calls.push", "tokens.make", "push_many with a journal"])
async def test_failed_mint_shows_no_secret_and_no_number(call: str, tmp_path: Path) -> None:
    await assert_row_is_clean(call, tmp_path, mint=True)


@pytest.mark.fault("S01")
@pytest.mark.parametrize("call", CALLS)
async def test_successful_call_shows_no_secret_and_no_number(call: str, tmp_path: Path) -> None:
    debug(every_callback=True)
    with collecting() as collected:
        async with Host() as host, host.client() as client:
            ending = await ending_of(call, Given(host, client, tmp_path))
    assert TOKEN.encode() in host.server.received or KEY.encode() in host.server.received
    assert isinstance(ending, BaseException) == call.startswith("exports")
    assert leaks(SECRETS | NUMBERS, collected.texts()) == []
    assert leaks_in(ending) == []


@pytest.mark.fault("S01")
async def test_sandbox_tokens_are_not_shown(tmp_path: Path) -> None:
    debug(every_callback=True)
    settings = SandboxSettings(api_key=KEY, limits=SPEEDS["off"], resolve_after=0.0)
    state = tmp_path / "state.db"
    with collecting() as collected:
        async with await Sandbox.start(settings) as sandbox:
            environ = sandbox.environment()
            async with TruecallerClient.from_env(environ, state=f"sqlite:///{state}") as client:
                ends = [await client.calls.push(record()), await client.tokens.status(), client, environ]
            with closing(sqlite3.connect(state)) as db:
                ((token,),) = db.execute("SELECT token FROM token").fetchall()
    assert leaks(SECRETS | {"issued": traces_of_secret(token)}, collected.texts()) == []
    assert leaks({"issued": traces_of_secret(token)}, texts_of(ends, RENDERERS)) == []


def show_in_a_log() -> None:
    logging.getLogger("any.library").debug("sent %r", {"Authorization": f"Bearer {TOKEN}"})


def show_in_a_field() -> None:
    logging.getLogger("any.library").debug("sent", extra={"headers": {"Authorization": TOKEN}})


def show_in_base64() -> None:
    logging.getLogger("any.library").debug("basic %s", base64.b64encode(f"user:{TOKEN}".encode()).decode())


def show_in_a_link() -> None:
    logging.getLogger("any.library").debug("GET /?token=%s", quote(TOKEN, safe=""))


def show_in_a_warning() -> None:
    warnings.warn(f"the key {KEY} is old", stacklevel=2)


def show_a_part() -> None:
    logging.getLogger("any.library").debug("token begins with %s", TOKEN[7:15])


def show_a_number() -> None:
    logging.getLogger("any.library").debug("calling %s", RECEIVER)


@pytest.mark.fault("S01")
@pytest.mark.parametrize(
    "plant",
    [show_in_a_log, show_in_a_field, show_in_base64, show_in_a_link, show_in_a_warning, show_a_part, show_a_number],
)
def test_leak_planted_in_a_log_is_found(plant: Callable[[], None]) -> None:
    with collecting() as collected:
        plant()
    assert leaks(SECRETS | NUMBERS, collected.texts())


def fail_with_arguments() -> NoReturn:
    raise ValueError("no", {"Authorization": TOKEN})


def fail_with_an_attribute() -> NoReturn:
    error = AuthenticationFailed(401)
    error.body = f"token {TOKEN}"
    raise error


def fail_with_a_context() -> NoReturn:
    try:
        raise KeyError(TOKEN)
    except KeyError:
        raise AuthenticationFailed(401)  # noqa: B904 - the context is the leak


@pytest.mark.fault("S01")
@pytest.mark.parametrize("fail", [fail_with_arguments, fail_with_an_attribute, fail_with_a_context])
def test_leak_planted_in_an_error_is_found(fail: Callable[[], NoReturn]) -> None:
    with pytest.raises(Exception) as caught:
        fail()
    assert leaks(SECRETS, texts_of_error(caught.value))


@pytest.mark.fault("S01")
async def test_leak_planted_in_local_variables_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Host() as host, host.client() as client:
        host.fail(FAILURES["resets"], mint=False)
        monkeypatch.setattr(Secret, "__repr__", Secret.reveal)
        ending = await ending_of("calls.push", Given(host, client, tmp_path))
    assert any(leak.place.startswith("local variables") for leak in leaks_in(ending))
