"""A sandbox whose answers to status requests, or to submits, are changed before they are sent.

An `Edit` receives the answer and the virtual time, and returns the answer to send instead. The truth log still has what
was really applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from tests.campaign.world import World
from tests.virtual import BASE
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.sandbox.answers import SandboxResponse

Edit: TypeAlias = Callable[[SandboxResponse, float], SandboxResponse]
Row: TypeAlias = dict[str, Any]


class EditedState(SandboxState):
    """Sandbox state whose answers are changed."""

    def __init__(self, settings: SandboxSettings, edits: Mapping[str, Edit]) -> None:
        super().__init__(settings)
        self._edits = edits

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        reply = super().handle(method, path_qs, headers, body, now)
        edit = self._edits.get("status" if method == "GET" else "submit" if reply.body.startswith(SUBMITTED) else "")
        return reply if edit is None else edit(reply, now - BASE)


SUBMITTED = b'{"batch_id"'
"""Start of the answer to an accepted batch."""


def world_of(*, status: Edit | None = None, submit: Edit | None = None, **settings: Any) -> World:
    """Return a world whose sandbox answers in this way; all requests take equally long."""
    edits = {call: edit for call, edit in (("status", status), ("submit", submit)) if edit is not None}
    return World(state=EditedState(SandboxSettings(**settings), edits), latency=(0.02, 0.02))


def rows(change: Callable[[list[Row], float], list[Row]]) -> Edit:
    """Return an edit that changes only the rows of a status answer, if it has rows."""

    def edit(reply: SandboxResponse, now: float) -> SandboxResponse:
        if reply.status != 200:
            return reply
        answer = json.loads(reply.body)
        return with_answer(reply, answer | {"data": change(answer["data"], now)})

    return edit


def with_answer(reply: SandboxResponse, answer: object) -> SandboxResponse:
    """Return the same reply with another body."""
    return attrs.evolve(reply, body=json.dumps(answer).encode())


def with_status(row: Row, word: object) -> Row:
    """Return the same row with another status and no message."""
    return row | {"status_info": {"status": word}}
