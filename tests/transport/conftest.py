"""A transport that is closed after the test, and an environment without proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from truecaller_async.transport import AiohttpTransport

Opener: TypeAlias = Callable[..., AiohttpTransport]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest_asyncio.fixture
async def transport_to() -> AsyncIterator[Opener]:
    opened: list[AiohttpTransport] = []

    def open_to(base_url: str, **settings: Any) -> AiohttpTransport:
        transport = AiohttpTransport(base_url, **settings)
        opened.append(transport)
        return transport

    yield open_to
    for transport in opened:
        await transport.aclose()
