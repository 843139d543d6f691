"""Check that each invariant can fail: a planted violation of every kind is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from copy import deepcopy

import attrs
import msgspec
import pytest
from msgspec import structs

from tests.simulation import player
from tests.simulation.delayed_ports import DelayedLimiter, RecordedPermit
from tests.simulation.evidence import Evidence
from tests.simulation.invariants import violations
from tests.simulation.journals import DelayedJournal, SurvivingJournal
from tests.simulation.network import SimulatedTransport
from tests.simulation.player import play
from tests.simulation.quiet import QUIET
from tests.simulation.scenario import CallerAction, Scenario
from truecaller_async import CallRecord, CampaignOptions, Limits, Outcome, ResponseLost, TruecallerError
from truecaller_async.campaign import recorder
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState, event_of
from truecaller_async.campaign.core.pair_order import PairOrder
from truecaller_async.campaign.core.work_queue import WorkQueue
from truecaller_async.campaign.lifecycle import Lifecycle
from truecaller_async.campaign.recorder import Recorder, Transaction
from truecaller_async.campaign.workers import sender
from truecaller_async.campaign.workers.sender import Job, Sender
from truecaller_async.journal.statements import Statement
from truecaller_async.limits.permit import LocalPermit
from truecaller_async.models import Batch, PushAnswer
from truecaller_async.models.journal_entries import JournalEntry, RowsSettled
from truecaller_async.resilience.rate_law import RoundTrips
from truecaller_async.resilience.service_guard import Grant
from truecaller_async.sandbox.faults.plan import Fault, FaultPlan
from truecaller_async.sandbox.settings import SPEEDS


@pytest.fixture(scope="module")
def quiet() -> Evidence:
    """Return the evidence of a run without faults."""
    return play(QUIET)


def lossy(**options: object) -> Scenario:
    """Return a scenario in which some answers are lost after the request was applied."""
    faults = FaultPlan((Fault(call="batch.submit", do=("apply", "reset"), probability=0.5),), 3)
    [campaign] = QUIET.campaigns
    campaign = attrs.evolve(campaign, options=CampaignOptions(**options))  # type: ignore[arg-type]
    return attrs.evolve(QUIET, server=attrs.evolve(QUIET.server, faults=faults), campaigns=(campaign,))


def names(evidence: Evidence) -> set[str]:
    """Return the names of the violated invariants."""
    return {violation.partition(":")[0] for violation in violations(evidence)}


def test_empty_evidence_has_no_violation(quiet: Evidence) -> None:
    assert violations(quiet) == []
    assert violations(play(lossy())) == []
    assert violations(play(lossy(on_ambiguous="hold"))) == []


def a_result_is_missing(evidence: Evidence) -> None:
    evidence.campaigns[0].runs[0].results.pop()


def a_row_has_two_results(evidence: Evidence) -> None:
    results = evidence.campaigns[0].runs[0].results
    results.append(results[0])


def the_journal_says_another_word(evidence: Evidence) -> None:
    entries = evidence.campaigns[0].entries
    settled = next(entry for entry in entries if isinstance(entry, RowsSettled))
    entries[entries.index(settled)] = structs.replace(settled, outcome=Outcome.FAILED)


def a_batch_is_applied_twice(evidence: Evidence) -> None:
    evidence.truth.append(evidence.truth[-1])


def it_was_never_applied(evidence: Evidence) -> None:
    evidence.truth.pop()


def its_verdict_was_another(evidence: Evidence) -> None:
    evidence.truth[:] = [msgspec.structs.replace(entry, outcome="failed") for entry in evidence.truth]


def a_call_that_was_not_sent_was_applied(evidence: Evidence) -> None:
    evidence.single_calls[0].end = "no"


def permits_come_all_at_once(evidence: Evidence) -> None:
    evidence.grants[0] += [(1.0, "t", "status")] * 101


def arrivals_come_all_at_once(evidence: Evidence) -> None:
    one = next(arrival for arrival in evidence.arrivals if arrival.call == "submit")
    evidence.arrivals += [attrs.evolve(one, at=one.at + 59 * share / 61) for share in range(61)]


def eleven_tokens_are_asked_for(evidence: Evidence) -> None:
    one = next(arrival for arrival in evidence.arrivals if arrival.call == "mint")
    evidence.arrivals += [one] * 10


def a_request_goes_without_leave(evidence: Evidence) -> None:
    evidence.process_requests[0].sent += 1


def retries_are_too_many(evidence: Evidence) -> None:
    evidence.process_requests[0].granted[Grant.RETRY] += 20


def the_key_is_in_the_log(evidence: Evidence) -> None:
    evidence.messages.append(f"signing in with {min(evidence.secrets)}")


def a_number_is_in_an_exception(evidence: Evidence) -> None:
    evidence.messages.append(f"cannot send to {evidence.campaigns[0].rows[0].receiver}")


def a_number_is_in_the_journal(evidence: Evidence) -> None:
    evidence.campaigns[0].entries.append(
        RowsSettled((1,), Outcome.FAILED, f"no {evidence.campaigns[0].rows[0].caller}")
    )


def the_older_word_is_applied_last(evidence: Evidence) -> None:
    evidence.truth.reverse()


def a_loop_hangs(evidence: Evidence) -> None:
    evidence.failures.append("the run hangs")


def a_defect_ends_a_campaign(evidence: Evidence) -> None:
    evidence.campaigns[0].runs[0].fault = IndexError("pop from an empty list")


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (a_result_is_missing, "I1"),
        (a_row_has_two_results, "I1"),
        (the_journal_says_another_word, "I1"),
        (a_batch_is_applied_twice, "I2"),
        (it_was_never_applied, "I4"),
        (its_verdict_was_another, "I4"),
        (a_call_that_was_not_sent_was_applied, "I4"),
        (permits_come_all_at_once, "I5"),
        (arrivals_come_all_at_once, "I5"),
        (eleven_tokens_are_asked_for, "I6"),
        (a_request_goes_without_leave, "I7"),
        (retries_are_too_many, "I7"),
        (the_key_is_in_the_log, "I8"),
        (a_number_is_in_an_exception, "I8"),
        (a_number_is_in_the_journal, "I8"),
        (the_older_word_is_applied_last, "I11"),
        (a_loop_hangs, "end"),
        (a_defect_ends_a_campaign, "end"),
    ],
)
def test_planted_violation_is_found(quiet: Evidence, plant: Callable[[Evidence], None], name: str) -> None:
    planted = deepcopy(quiet)
    plant(planted)
    assert name in names(planted)


def test_lost_answer_treated_as_not_sent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(error: TruecallerError, call: str) -> BatchEvent:
        return BatchEvent.NOT_SENT if isinstance(error, ResponseLost) else event_of(error, call)

    monkeypatch.setattr(sender, "event_of", careless)
    assert "I2" in names(play(lossy()))
    assert {"I2", "I3"} <= names(play(lossy(on_ambiguous="hold")))


def test_missing_duplicate_flag_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def count_only(batch: CampaignBatch, event: BatchEvent, *, was_processed: bool) -> None:
        batch.maybe_received += 1
        batch.lost_answers += event is BatchEvent.LOST

    monkeypatch.setattr(CampaignBatch, "count_end", count_only)
    assert "I2" in names(play(lossy()))


def test_always_granting_limiter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def try_acquire(limiter: DelayedLimiter, call: str, token_ids: Sequence[str], now: float) -> LocalPermit | float:
        if not token_ids:
            return float("inf")
        limiter.grants.append((now, token_ids[0], call))
        return LocalPermit(token_ids[0], now, (), RoundTrips(), lambda: None)

    monkeypatch.setattr(DelayedLimiter, "try_acquire", try_acquire)
    slow = Limits.documented().replace(batch=(1, 5.0))
    assert "I5" in names(play(attrs.evolve(QUIET, limits=slow, server=attrs.evolve(QUIET.server, limits=slow))))


def test_missing_pair_order_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(order: PairOrder, seq: int, content: BatchContent) -> set[int]:
        return set()

    monkeypatch.setattr(PairOrder, "add", forgetful)
    assert "I11" in names(play(attrs.evolve(lossy(), limits=SPEEDS["off"])))


def test_leaked_task_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[asyncio.Task[None]] = []

    async def aclose(transport: SimulatedTransport) -> None:
        kept.append(asyncio.create_task(asyncio.sleep(60)))

    monkeypatch.setattr(SimulatedTransport, "aclose", aclose)
    assert "I9" in names(play(QUIET))


def drained() -> Scenario:
    """Return a scenario whose first run is drained while batches are open."""
    [campaign] = QUIET.campaigns
    campaign = attrs.evolve(campaign, actions=(CallerAction("drain", 0.3),), source_delay=0.01)
    return attrs.evolve(QUIET, campaigns=(campaign,))


def test_table_that_differs_from_the_entries_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SurvivingJournal.store

    def forgetful(journal: SurvivingJournal, entries: Sequence[JournalEntry], statements: Sequence[Statement]) -> None:
        store(journal, entries, statements)
        if journal.handle is not None:
            journal.handle.db.execute("UPDATE batch SET state = 'abandoned' WHERE open_rows > 0")

    monkeypatch.setattr(SurvivingJournal, "store", forgetful)
    assert "I10" in names(play(drained()))


def test_a_change_of_the_state_without_an_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    record_end = Sender._record_end

    def changing(sender: Sender, job: Job, answer: Batch | PushAnswer | TruecallerError) -> None:
        record_end(sender, job, answer)
        sender._run.state.accepted += 1

    monkeypatch.setattr(Sender, "_record_end", changing)
    assert "I12" in names(play(QUIET))


def test_entries_that_are_stored_in_another_order_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    store = DelayedJournal._store

    def reversing(journal: DelayedJournal, entries: Sequence[JournalEntry], statements: Sequence[Statement]) -> None:
        store(journal, entries[::-1], statements)

    monkeypatch.setattr(DelayedJournal, "_store", reversing)
    assert "I12" in names(play(QUIET))


def test_a_batch_that_is_placed_nowhere_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    place = WorkQueue.place

    def forgetful(queue: WorkQueue, batch: CampaignBatch, now: float) -> None:
        if batch.state is not BatchState.ACCEPTED or not batch.open_count:
            place(queue, batch, now)

    monkeypatch.setattr(WorkQueue, "place", forgetful)
    assert "I13" in names(play(drained()))


def test_a_batch_that_is_not_woken_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkQueue, "_unblock", lambda queue, seq, now: None)
    [campaign] = QUIET.campaigns
    campaign = attrs.evolve(
        campaign, mixture=attrs.evolve(campaign.mixture, pairs=2), actions=(CallerAction("abort", 60),)
    )
    assert "I13" in names(play(attrs.evolve(QUIET, campaigns=(campaign,))))


def test_rows_that_only_the_sweep_gives_back_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lifecycle, "_release_batches", lambda lifecycle, batches: None)
    assert "I13" in names(play(drained()))


def test_post_before_its_intent_is_durable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def impatient(job: Job) -> None:
        """Wait for nothing."""

    monkeypatch.setattr(sender, "durable", impatient)
    slow_disk = attrs.evolve(QUIET, port_delay=0.02)
    assert "I14" in {name for seed in range(5) for name in names(play(attrs.evolve(slow_disk, seed=seed)))}


def test_result_that_is_final_before_it_is_durable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Recorder.commit

    def early(recorder: Recorder, transaction: Transaction) -> asyncio.Future[None] | None:
        recorder._deliver(transaction.results, is_durable=True)
        transaction.results = []
        return commit(recorder, transaction)

    monkeypatch.setattr(Recorder, "commit", early)
    slow_disk = attrs.evolve(QUIET, port_delay=0.02)
    assert "I15" in {name for seed in range(5) for name in names(play(attrs.evolve(slow_disk, seed=seed)))}


def test_provisional_result_that_is_called_final_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "mark_provisional", lambda results: None)
    assert "I15" in names(play(drained()))


def test_permit_that_is_left_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordedPermit, "done", lambda permit, at: permit.inner.done(at))
    assert "I9" in names(play(QUIET))


def test_reader_that_waits_for_ever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(SimulatedTransport, "send", send)
    monkeypatch.setattr(player, "TURNS_MAX", 20_000)
    assert "end" in names(play(QUIET))


def test_truth_log_record_is_matched_by_its_content(quiet: Evidence) -> None:
    contents = {(entry.caller, entry.receiver, entry.reason) for entry in quiet.truth}
    rows: list[CallRecord] = [*quiet.campaigns[0].rows, *(single.record for single in quiet.single_calls)]
    assert contents == {(row.caller, row.receiver, row.reason) for row in rows}
