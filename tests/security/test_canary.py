"""S01: neither the key, nor a token, nor a phone number is ever seen, however a call ends.

The table is `calls.CALLS` x `host.FAILURES`, once where the call itself is failed and once where the token is that it
needs. Everything is listened to: all loggers from DEBUG on, asyncio in its debug mode, every warning.
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
    SHOWING,
    TAKING_APART,
    Heard,
    Leak,
    leaks,
    listening,
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
    """What the end of a call shows of the canaries, be it an error or an answer."""
    if isinstance(ending, BaseException):
        return [*leaks(SECRETS | NUMBERS, texts_of_error(ending)), *leaks(SECRETS, locals_of(ending))]
    taken_apart = leaks(SECRETS, texts_of(ending, TAKING_APART))
    return [*leaks(SECRETS | NUMBERS, texts_of(ending, SHOWING)), *taken_apart]


def debug(*, every_callback: bool) -> None:
    """asyncio's debug mode, in which it may tell of every callback that it runs, with its arguments."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    if every_callback:
        loop.slow_callback_duration = 0.0


async def ending_of(call: str, given: Given) -> object:
    """The answer, or the error."""
    try:
        return await CALLS[call](given)
    except Exception as error:  # noqa: BLE001 - how it ends is what is looked at
        return error


async def row_of(call: str, folder: Path, *, mint: bool = False) -> tuple[dict[str, object], Heard]:
    """One row of the table: how the call ended under each failure, and what was heard meanwhile."""
    ends: dict[str, object] = {}
    failed = 0
    with listening() as heard:
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
    return ends, heard


async def assert_row_is_clean(call: str, folder: Path, *, mint: bool = False) -> None:
    debug(every_callback=False)
    ends, heard = await row_of(call, folder, mint=mint)
    assert {record.name for record in heard.ear.records} >= {"asyncio", "truecaller_async"}
    assert leaks(SECRETS | NUMBERS, heard.texts()) == []
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
    with listening() as heard:
        async with Host() as host, host.client() as client:
            ending = await ending_of(call, Given(host, client, tmp_path))
    assert TOKEN.encode() in host.server.received or KEY.encode() in host.server.received
    assert isinstance(ending, BaseException) == call.startswith("exports")
    assert leaks(SECRETS | NUMBERS, heard.texts()) == []
    assert leaks_in(ending) == []


@pytest.mark.fault("S01")
async def test_sandbox_tokens_are_not_shown(tmp_path: Path) -> None:
    debug(every_callback=True)
    settings = SandboxSettings(api_key=KEY, limits=SPEEDS["off"], resolve_after=0.0)
    state = tmp_path / "state.db"
    with listening() as heard:
        async with await Sandbox.start(settings) as sandbox:
            environ = sandbox.environment()
            async with TruecallerClient.from_env(environ, state=f"sqlite:///{state}") as client:
                ends = [await client.calls.push(record()), await client.tokens.status(), client, environ]
            with closing(sqlite3.connect(state)) as db:
                ((token,),) = db.execute("SELECT token FROM token").fetchall()
    assert leaks(SECRETS | {"issued": traces_of_secret(token)}, heard.texts()) == []
    assert leaks({"issued": traces_of_secret(token)}, texts_of(ends, SHOWING)) == []


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
    with listening() as heard:
        plant()
    assert leaks(SECRETS | NUMBERS, heard.texts())


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
