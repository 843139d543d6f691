"""A sandbox whose answers to status polls, or to submits, are changed on their way out.

An `Edit` is told the answer and the virtual moment, and gives what is answered instead. What was applied stays applied,
so the truth log still says what really happened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from tests.engine.world import World
from tests.virtual import BASE
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.sandbox.answers import SandboxResponse

Edit: TypeAlias = Callable[[SandboxResponse, float], SandboxResponse]
Row: TypeAlias = dict[str, Any]


class EditedState(SandboxState):
    """The sandbox's state, behind something that changes its answers."""

    def __init__(self, settings: SandboxSettings, edits: Mapping[str, Edit]) -> None:
        super().__init__(settings)
        self._edits = edits

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        reply = super().handle(method, path_qs, headers, body, now)
        edit = self._edits.get("status" if method == "GET" else "submit" if reply.body.startswith(SUBMITTED) else "")
        return reply if edit is None else edit(reply, now - BASE)


SUBMITTED = b'{"batch_id"'
"""How the answer to an accepted batch begins."""


def world_of(*, status: Edit | None = None, submit: Edit | None = None, **settings: Any) -> World:
    """A world whose sandbox answers that way. Every request takes equally long, so that what goes first ends first."""
    edits = {call: edit for call, edit in (("status", status), ("submit", submit)) if edit is not None}
    return World(state=EditedState(SandboxSettings(**settings), edits), latency=(0.02, 0.02))


def rows(change: Callable[[list[Row], float], list[Row]]) -> Edit:
    """Only the rows of a status change, and only where there are some."""

    def edit(reply: SandboxResponse, now: float) -> SandboxResponse:
        if reply.status != 200:
            return reply
        answer = json.loads(reply.body)
        return with_answer(reply, answer | {"data": change(answer["data"], now)})

    return edit


def with_answer(reply: SandboxResponse, answer: object) -> SandboxResponse:
    """The same reply, saying something else."""
    return attrs.evolve(reply, body=json.dumps(answer).encode())


def with_status(row: Row, word: object) -> Row:
    """The same row with another status word and no message."""
    return row | {"status_info": {"status": word}}
