"""`client.tokens`, over a sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from truecaller_async import AuthenticationFailed, TruecallerClient
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["off"])) as sandbox:
        yield sandbox


async def test_status_mints_no_token_and_sends_no_request(sandbox: Sandbox) -> None:
    async with TruecallerClient.from_env(sandbox.environment(), api_key="invented-and-wrong") as client:
        status = await client.tokens.status()
    assert (status.tokens, status.mints, status.next_mint_in) == ((), 0, 0.0)
    assert sandbox.stats().requests == {}


async def test_minted_token_is_used_by_the_next_request(sandbox: Sandbox) -> None:
    async with TruecallerClient.from_env(sandbox.environment()) as client:
        token_id = await client.tokens.make()
        await client.labels.list()
        (token,) = (await client.tokens.status()).tokens
    assert (token.token_id, token.used_by) == (token_id, "this")
    assert sandbox.stats().mints == 1


async def test_no_token_is_minted_beyond_the_maximum(sandbox: Sandbox) -> None:
    async with TruecallerClient.from_env(sandbox.environment(), max_tokens=1) as client:
        assert await client.tokens.make() is not None
        assert await client.tokens.make() is None
    assert sandbox.stats().mints == 1


async def test_wrong_key_is_reported(sandbox: Sandbox) -> None:
    async with TruecallerClient.from_env(sandbox.environment(), api_key="invented-and-wrong") as client:
        with pytest.raises(AuthenticationFailed):
            await client.tokens.make()
