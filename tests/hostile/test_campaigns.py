"""Campaigns with lost or unreadable answers: over real sockets, on a virtual clock.

One batch of three records meets one response of a fault plan, before and after it was applied. The truth log has how
often each record was applied, and no result may claim more than that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Literal

import attrs
import pytest

from tests.campaign import world as worlds
from tests.campaign.world import World, applications, check_account, records, slowly
from tests.transport.raw_server import RawServer
from tests.virtual import VirtualClock, run_virtual
from truecaller_async import CallRecord, CampaignOptions, Outcome, RecordResult, Summary, UnexpectedRedirect
from truecaller_async.sandbox import Fault, FaultPlan, Sandbox, SandboxSettings, SandboxState
from truecaller_async.transport import AiohttpTransport

COUNT = 3
LOST = {
    "f24": ("reset", "close"),
    "f25": ("drip:10", "drip-headers:1"),
    "f26": ("stall", "delay:31 503"),
    "f27": ("cut", "cut-chunked"),
    "f28": ("html",),
    "f32": ("garbage", "not-http", "long-header", "two-lengths", "short-length", "long-length"),
}
"""Incomplete answers: it is not known whether the batch was applied."""

UNREAD = {
    "f27": ("cut-unmarked", "half", "empty"),
    "f29": ("huge", "endless", "bomb"),
    "f30": ("bad-utf8", "nan", "deep", "digits", "surrogate", "object", "list", "null"),
}
"""Complete 2xx answers without an id."""


def each(endings: dict[str, tuple[str, ...]]) -> pytest.MarkDecorator:
    """Return every response, before and after the batch was applied."""
    rows = [
        pytest.param((*applied, *steps.split()), id=f"{number}-{'+'.join((*applied, *steps.split()))}")
        for number, each_of in endings.items()
        for steps in each_of
        for applied in ((), ("apply",))
    ]
    return pytest.mark.parametrize("do", rows)


@attrs.frozen
class Run:
    """A finished campaign, and the state of the server."""

    results: list[RecordResult]
    summary: Summary
    state: SandboxState

    @property
    def outcomes(self) -> set[Outcome]:
        return {result.outcome for result in self.results}

    @property
    def flags(self) -> set[bool]:
        return {result.possibly_duplicated for result in self.results}

    @property
    def applied(self) -> set[int]:
        """Return how often each record was applied."""
        return set(applications(self.state).values()) or {0}


Play = Callable[..., Run]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Run a campaign of three records through the real transport."""

    def played(*faults: Fault, on_ambiguous: Literal["resend", "hold"] = "resend") -> Run:
        async def work() -> Run:
            settings = SandboxSettings(faults=FaultPlan(faults))
            async with await Sandbox.start(settings, clock=VirtualClock().wall) as sandbox:
                monkeypatch.setattr(worlds, "SandboxTransport", lambda *_: AiohttpTransport(sandbox.base_url))
                world = World(state=sandbox.state)
                results, summary, fault = await world.run(records(COUNT), CampaignOptions(on_ambiguous=on_ambiguous))
                assert fault is None
                check_account(results, summary, sandbox.state)
                return Run(results, summary, sandbox.state)

        return run_virtual(work)

    return played


@pytest.mark.fault("F24", "F25", "F26", "F27", "F28", "F32")
@each(LOST)
def test_lost_answer_is_resent_and_flagged(play: Play, do: tuple[str, ...]) -> None:
    run = play(Fault(call="batch.submit", nth=1, do=do))
    assert run.outcomes == {Outcome.DELIVERED}
    assert run.flags == {True}
    assert run.applied == {2 if do[0] == "apply" else 1}
    assert run.summary.requests["submit"] == 2


@pytest.mark.fault("F24", "F25", "F26", "F27", "F28", "F32")
@each(LOST)
def test_with_hold_policy_a_lost_answer_is_unknown_and_not_resent(play: Play, do: tuple[str, ...]) -> None:
    run = play(Fault(call="batch.submit", nth=1, do=do), on_ambiguous="hold")
    assert run.outcomes == {Outcome.UNKNOWN}
    assert run.flags == {False}
    assert run.applied == {1 if do[0] == "apply" else 0}
    assert run.summary.requests["submit"] == 1


@pytest.mark.fault("F27", "F29", "F30")
@pytest.mark.parametrize("policy", ["resend", "hold"])
@each(UNREAD)
def test_batch_accepted_without_an_id_is_unknown_and_never_resent(
    play: Play, do: tuple[str, ...], policy: Literal["resend", "hold"]
) -> None:
    run = play(Fault(call="batch.submit", nth=1, do=do), on_ambiguous=policy)
    assert run.outcomes == {Outcome.UNKNOWN}
    assert run.flags == {False}
    assert run.applied == {1 if do[0] == "apply" else 0}
    assert run.summary.requests["submit"] == 1


@pytest.mark.fault("F24", "F25", "F26", "F27", "F28", "F29", "F30", "F32")
@each({**LOST, "f27": (*LOST["f27"], *UNREAD["f27"]), "f29": UNREAD["f29"], "f30": UNREAD["f30"][:6]})
def test_missing_status_answer_is_polled_again(play: Play, do: tuple[str, ...]) -> None:
    run = play(Fault(call="batch.status", nth=1, do=do))
    assert run.outcomes == {Outcome.DELIVERED}
    assert run.flags == {False}
    assert run.applied == {1}
    assert run.summary.requests["submit"] == 1


@pytest.mark.fault("F28")
def test_json_labelled_as_plain_text_is_parsed(play: Play) -> None:
    run = play(Fault(call="*", do=("apply", "text")))
    assert run.outcomes == {Outcome.DELIVERED}
    assert run.flags == {False}
    assert run.applied == {1}


@pytest.mark.fault("F31")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", ["token", "batch.submit", "batch.status"])
def test_redirect_stops_the_run_and_target_host_gets_no_request(
    monkeypatch: pytest.MonkeyPatch, call: str, status: int
) -> None:
    async def work() -> tuple[list[RecordResult], Exception | None, bytes, SandboxState]:
        async with RawServer() as other:
            plan = FaultPlan((Fault(call=call, do=(f"{status}:{other.url}/taken",)),))
            async with await Sandbox.start(SandboxSettings(faults=plan), clock=VirtualClock().wall) as sandbox:
                monkeypatch.setattr(worlds, "SandboxTransport", lambda *_: AiohttpTransport(sandbox.base_url))
                results, summary, fault = await World(state=sandbox.state).run(records(COUNT))
                check_account(results, summary, sandbox.state)
                assert other.connections == []
                return results, fault, other.received, sandbox.state

    results, fault, heard, state = run_virtual(work)
    assert heard == b""
    assert isinstance(fault, UnexpectedRedirect)
    assert fault.status == status
    assert "127.0.0.1" in (fault.location or "")
    assert {result.outcome for result in results} == {Outcome.UNKNOWN if call == "batch.status" else Outcome.UNSENT}
    assert len(state.truth()) == (COUNT if call == "batch.status" else 0)


@pytest.mark.fault("F22")
def test_temporarily_unreachable_server_causes_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches are accepted; then the port is closed for half a minute, and the same account listens again."""

    async def work() -> Run:
        settings = SandboxSettings(resolve_after=0.0)
        first = await Sandbox.start(settings, clock=VirtualClock().wall)
        server = first
        port = int(first.base_url.rpartition(":")[2])
        monkeypatch.setattr(worlds, "SandboxTransport", lambda *_: AiohttpTransport(first.base_url))
        world = World(state=first.state)

        async def rows() -> AsyncIterator[CallRecord]:
            """Yield the last rows while the port is closed."""
            nonlocal server
            async for row in slowly(records(3), 5.0):
                yield row
            await server.aclose()
            async for row in slowly(records(6), 5.0):
                if int(row.key or 0) > 3:
                    yield row
            server = await Sandbox.start(settings, port=port, clock=VirtualClock().wall)
            server._state = first.state

        results, summary, fault = await world.run(rows())
        await server.aclose()
        assert fault is None
        check_account(results, summary, first.state)
        return Run(results, summary, first.state)

    run = run_virtual(work)
    assert run.outcomes == {Outcome.DELIVERED}
    assert run.flags == {False}
    assert run.applied == {1}
    assert run.summary.retries >= 1
