"""The invariants of the fault catalogue, as functions that yield the violations in the evidence.

They use the truth log of the server. The journal is used only for what the server cannot know: which attempts ended
without an answer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.simulation.evidence import CampaignHistory, CampaignRun, Content, Evidence, applied_content, content_of
from tests.virtual import most_in_window
from truecaller_async import JournalError, Outcome, RateLimit, TruecallerError
from truecaller_async.campaign.core.batch_state import BatchEvent
from truecaller_async.models.journal_entries import AttemptEnded, AttemptStarted, BatchPlanned, RowsSettled
from truecaller_async.resilience.retry_budget import BUDGET_INITIAL, BUDGET_PER_REQUEST
from truecaller_async.resilience.service_guard import Grant
from truecaller_async.tokens.mint_budget import WINDOW_MARGIN_FACTOR

REJECTION_STATUSES = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404})
NUMBER = re.compile(r"\d{9,15}")


def violations(evidence: Evidence) -> list[str]:
    """Return all violations, each with the name of its invariant in front."""
    return [f"{name}: {error}" for name, check in INVARIANTS.items() for error in check(evidence)]


def i1_every_row_has_one_outcome(evidence: Evidence) -> Iterator[str]:
    """Check that each run has each row that was read exactly once.

    Counted are the final outcomes of earlier runs and the results of this one.
    """
    for number, history in enumerate(evidence.campaigns):
        for run in history.runs:
            for error in _run_errors(history, run):
                yield f"campaign {number}, run {history.runs.index(run)}: {error}"


def i2_applications_are_explained_by_lost_answers(evidence: Evidence) -> Iterator[str]:
    """Check that a row is applied once, and once more per lost answer.

    A row that was applied twice is flagged in its result.
    """
    applied = Counter(applied_content(entry) for entry in evidence.truth)
    for number, history in enumerate(evidence.campaigns):
        allowed, flagged = _allowed(history)
        for content, most in allowed.items():
            if applied[content] > most:
                times = applied[content]
                yield f"campaign {number}: {_record_text(content)} was applied {times} times, allowed are {most}"
        for content, (rows, is_flagged) in flagged.items():
            if applied[content] > rows and not is_flagged:
                yield f"campaign {number}: {_record_text(content)} was applied twice, and its result is not flagged"
    for single in evidence.single_calls:
        if applied[content_of(single.record)] > 1:
            yield f"a single call was applied {applied[content_of(single.record)]} times"


def i3_hold_applies_at_most_once(evidence: Evidence) -> Iterator[str]:
    """Check that no row is applied twice if every run has `hold`."""
    applied = Counter(applied_content(entry) for entry in evidence.truth)
    for number, history in enumerate(evidence.campaigns):
        if any(run.policy != "hold" for run in history.runs):
            continue
        for content, rows in Counter(map(content_of, history.rows)).items():
            if applied[content] > rows:
                yield f"campaign {number}: {_record_text(content)} was applied {applied[content]} times under hold"


def i4_results_match_the_truth_log(evidence: Evidence) -> Iterator[str]:
    """Check results against the truth log.

    A delivered record is in the log with that verdict. A failed one was not delivered; if it is flagged, that is known
    of its latest attempt only.
    """
    good = {applied_content(entry) for entry in evidence.truth if entry.outcome == "success"}
    every = Counter(applied_content(entry) for entry in evidence.truth)
    for number, history in enumerate(evidence.campaigns):
        times, flags = Counter(map(content_of, history.rows)), _flags(history)
        for row, outcome in _last_outcomes(history).items():
            content = content_of(history.rows[row - 1])
            if outcome is Outcome.DELIVERED and content not in good:
                yield f"campaign {number}, row {row}: delivered is error of {_record_text(content)}, and it is not true"
            if outcome is Outcome.FAILED and content in good and times[content] == 1 and not flags.get(row):
                yield f"campaign {number}, row {row}: failed is error of {_record_text(content)}, and it was delivered"
    for single in evidence.single_calls:
        content = content_of(single.record)
        if single.end == "ok" and content not in good:
            yield f"a single call error ok of {_record_text(content)}, and it was not applied"
        if single.end == "no" and every[content]:
            yield f"a single call error that {_record_text(content)} was not sent, and it was applied: {single.error!r}"


def i5_no_window_holds_more_than_its_limit(evidence: Evidence) -> Iterator[str]:
    """Check the limits by permits per process, and by arrivals at the server, which counts strictly."""
    for rule in evidence.scenario.limits:
        if rule.counts("mint"):
            continue
        for grants in evidence.grants:
            yield from _limit_violations(
                rule, [grant for grant in grants if rule.counts(grant[2])], rule.per, "permits"
            )
        came = [(arrival.at, arrival.token_id, arrival.call) for arrival in evidence.arrivals]
        yield from _limit_violations(rule, [one for one in came if rule.counts(one[2])], rule.per, "arrivals")


def i6_mints_keep_their_limit(evidence: Evidence) -> Iterator[str]:
    """Check that no window of the mint rule has more token requests than allowed.

    All processes count together; if the wall clock jumps, each process counts alone. Rejected requests made no token
    and are not counted.
    """
    for rule in evidence.scenario.limits:
        window = min(rule.per, rule.per * (1 + WINDOW_MARGIN_FACTOR) - _arrival_jitter(evidence))
        if not rule.counts("mint") or window <= 0:
            continue
        came = [
            arrival
            for arrival in evidence.arrivals
            if arrival.call == "mint" and arrival.status not in REJECTION_STATUSES
        ]
        processes = {arrival.process for arrival in came} if evidence.scenario.clock_jumps else {None}
        for process in processes:
            mine = [(one.at, "", "mint") for one in came if process in (None, one.process)]
            yield from _limit_violations(rule, mine, window, "requests for tokens")


def i7_retries_keep_to_their_budget(evidence: Evidence) -> Iterator[str]:
    """Check that each request had a grant and that retries kept to their budget.

    Retries with a cost are at most ten plus a tenth of the first attempts. No batch is resent with the grant of a first
    attempt.
    """
    for process, cost in enumerate(evidence.process_requests):
        granted = cost.granted
        if cost.sent > granted.total():
            yield f"process {process} sent {cost.sent} requests with {granted.total()} grants"
        most = BUDGET_INITIAL + BUDGET_PER_REQUEST * granted[Grant.FIRST]
        if granted[Grant.RETRY] > most + 1e-6:
            yield f"process {process} paid for {granted[Grant.RETRY]} retries, allowed are {most:g}"
        again = sum(_resends(history, process) for history in evidence.campaigns)
        if again > granted.total() - granted[Grant.FIRST]:
            yield f"process {process} sent {again} batches again, with fewer grants for retries: {dict(granted)}"


def i8_no_secret_is_logged(evidence: Evidence) -> Iterator[str]:
    """Check that no key, token or full number is in the log, an exception or a journal entry."""
    error = [*evidence.messages, *(f"{entry!r}" for history in evidence.campaigns for entry in history.entries)]
    numbers = {
        number for history in evidence.campaigns for row in history.rows for number in (row.caller, row.receiver)
    }
    numbers |= {number for single in evidence.single_calls for number in (single.record.caller, single.record.receiver)}
    for text in error:
        for found in NUMBER.findall(text):
            if found in numbers:
                yield f"a full number is in {NUMBER.sub('***', text)[:200]!r}"
    everything = "\n".join(error)
    for secret in evidence.secrets:
        if secret in everything:
            yield f"a secret is error: {next(text for text in error if secret in text).replace(secret, '***')[:200]!r}"


def i9_nothing_is_left(evidence: Evidence) -> Iterator[str]:
    """Check that no task and no timer exists after the close of a client."""
    yield from evidence.leaks


def i10_the_journal_is_consistent(evidence: Evidence) -> Iterator[str]:
    """Check that the state loaded from the tables equals the written entries."""
    for number, history in enumerate(evidence.campaigns):
        for flaw in history.journal_errors:
            yield f"campaign {number}: {flaw}"


def i11_the_last_record_of_a_pair_is_applied_last(evidence: Evidence) -> Iterator[str]:
    """Check that, of the applied records of a pair, the last one in the source was applied last.

    A later duplicate of the record that was applied last counts too: the source ends with that content, so a resend
    that applies it after another record of the pair is right.
    """
    for number, history in enumerate(evidence.campaigns):
        words = _last_outcomes(history)
        places: dict[Content, list[int]] = defaultdict(list)
        last_row: dict[Content, int] = {}
        for row, record in enumerate(history.rows, 1):
            if words.get(row) is Outcome.INVALID:
                continue
            last_row[content_of(record)] = row
            if words.get(row) is not Outcome.DUPLICATE:
                places[content_of(record)].append(row)
        applied_of_pair: dict[tuple[object, ...], list[Content]] = defaultdict(list)
        for entry in evidence.truth:
            content = applied_content(entry)
            if content in places:
                applied_of_pair[content[:2]].append(content)
        for applied in applied_of_pair.values():
            last, latest = last_row[applied[-1]], max(min(places[content]) for content in applied)
            if last < latest:
                yield f"campaign {number}: row {last} was applied last of its pair, and row {latest} before it"


def i12_the_state_is_the_replay_of_its_entries(evidence: Evidence) -> Iterator[str]:
    """Check that only entries change the state, and that a journal stores a prefix of them."""
    for number, history in enumerate(evidence.campaigns):
        for run in history.runs:
            yield from (f"campaign {number}, process {run.process}: {text}" for text in run.state_errors)


def i13_each_open_batch_is_in_one_place(evidence: Evidence) -> Iterator[str]:
    """Check after transactions that each open batch waits, is polled, or is with a worker; and the end."""
    for number, history in enumerate(evidence.campaigns):
        for run in history.runs:
            yield from (f"campaign {number}, process {run.process}: {text}" for text in run.misplaced)


def i14_each_post_has_a_durable_intent(evidence: Evidence) -> Iterator[str]:
    """Check that the `AttemptStarted` of each POST was durable at its first byte."""
    yield from evidence.unannounced


def i15_final_results_are_durable(evidence: Evidence) -> Iterator[str]:
    """Check that a result was final exactly if its outcome was durable, when the reader received it."""
    for number, history in enumerate(evidence.campaigns):
        for run in history.runs:
            yield from (f"campaign {number}, process {run.process}: {text}" for text in run.not_final)


def ends_correctly(evidence: Evidence) -> Iterator[str]:
    """Check that nothing hangs, nothing is dropped silently, and a campaign ends with the right error."""
    yield from evidence.failures
    is_full = any(ending.how == "disk full" for ending in evidence.scenario.process_ends)
    for number, history in enumerate(evidence.campaigns):
        for run in history.runs:
            fault = run.fault
            if fault is not None and not isinstance(fault, TruecallerError):
                yield f"campaign {number}: {type(fault).__name__}: {fault}"
            if isinstance(fault, JournalError) and not is_full:
                yield f"campaign {number}: a journal write failed: {fault}"


Check = Callable[[Evidence], Iterator[str]]

INVARIANTS: dict[str, Check] = {
    "I1": i1_every_row_has_one_outcome,
    "I2": i2_applications_are_explained_by_lost_answers,
    "I3": i3_hold_applies_at_most_once,
    "I4": i4_results_match_the_truth_log,
    "I5": i5_no_window_holds_more_than_its_limit,
    "I6": i6_mints_keep_their_limit,
    "I7": i7_retries_keep_to_their_budget,
    "I8": i8_no_secret_is_logged,
    "I9": i9_nothing_is_left,
    "I10": i10_the_journal_is_consistent,
    "I11": i11_the_last_record_of_a_pair_is_applied_last,
    "I12": i12_the_state_is_the_replay_of_its_entries,
    "I13": i13_each_open_batch_is_in_one_place,
    "I14": i14_each_post_has_a_durable_intent,
    "I15": i15_final_results_are_durable,
    "end": ends_correctly,
}


def _run_errors(history: CampaignHistory, run: CampaignRun) -> Iterator[str]:
    """Yield what is wrong with the results of one run."""
    before = _settled(history, 0, run.entries_before)
    here = Counter(result.row for result in run.results)
    for row in here:
        if here[row] > 1:
            yield f"row {row} has {here[row]} results"
        if row in before:
            yield f"row {row} has a result, but its final outcome was recorded before"
    told = _settled(history, run.entries_before, run.entries_after)
    for result in run.results:
        # Without a journal that keeps something, a result that no entry explains is final too.
        explained = None if history.campaign.journal != "none" else result.outcome
        if result.final and told.get(result.row, explained) is not result.outcome:
            yield f"row {result.row} is {result.outcome} and final, but the journal says {told.get(result.row)}"
    if run.end == "died" or run.summary is None:
        return
    summary = run.summary
    if not summary.adds_up:
        yield f"the summary does not add up: {summary}"
    if run.end == "ended":
        yield from _complete_run_errors(run, before, here)


def _complete_run_errors(run: CampaignRun, before: dict[int, Outcome], here: Counter[int]) -> Iterator[str]:
    """Check a run whose reader reached the end: it has every row that was read."""
    summary = run.summary
    assert summary is not None
    missing = set(range(1, summary.read + 1)) - before.keys() - here.keys()
    if missing:
        yield f"{len(missing)} rows of {summary.read} have no result, the first is {min(missing)}"
    if here and max(here) > summary.read:
        yield f"row {max(here)} has a result, and only {summary.read} were read"
    outcomes = Counter(before.values()) + Counter(result.outcome for result in run.results)
    for outcome in Outcome:
        if getattr(summary, outcome.value) != outcomes[outcome]:
            yield f"the summary says {getattr(summary, outcome.value)} {outcome}, and there are {outcomes[outcome]}"


def _settled(history: CampaignHistory, since: int, until: int) -> dict[int, Outcome]:
    """Return the final outcomes in these entries."""
    return {
        row: entry.outcome
        for entry in history.entries[since:until]
        if isinstance(entry, RowsSettled)
        for row in entry.rows
    }


def _last_outcomes(history: CampaignHistory) -> dict[int, Outcome]:
    """Return the last outcome of each row: the final one, or that of the last run."""
    last: dict[int, Outcome] = {}
    for run in history.runs:
        last.update((result.row, result.outcome) for result in run.results)
    return last | _settled(history, 0, len(history.entries))


def _allowed(history: CampaignHistory) -> tuple[Counter[Content], dict[Content, tuple[int, bool]]]:
    """Return how often each content may be applied, and the rows of each content.

    For each content: the number of rows, and whether all of them are flagged as possibly duplicated.
    """
    lost_answers = _lost_answers(history)
    allowed: Counter[Content] = Counter()
    flags: dict[Content, tuple[int, bool]] = {}
    flagged = _flags(history)
    for row, record in enumerate(history.rows, 1):
        content = content_of(record)
        allowed[content] += 1 + lost_answers[row]
        rows, is_flagged = flags.get(content, (0, False))
        flags[content] = rows + 1, is_flagged or flagged.get(row, True)
    return allowed, flags


def _lost_answers(history: CampaignHistory) -> Counter[int]:
    """Return for each row the attempts of its batches whose answer was lost or never came."""
    rows: dict[int, set[int]] = {}
    parents: dict[int, int | None] = {}
    open_attempts: dict[int, set[int]] = {}
    lost_answers: Counter[int] = Counter()
    for entry in history.entries:
        match entry:
            case BatchPlanned(seq):
                rows.setdefault(seq, set()).update(entry.rows)
                parents[seq] = entry.parent
                if entry.parent is not None:
                    rows[entry.parent] -= set(entry.rows)
            case RowsSettled(seq=seq) if seq is not None:
                rows[seq] -= set(entry.rows)
            case AttemptStarted(seq):
                open_attempts[seq] = set(rows[seq])
            case AttemptEnded(seq):
                sent = open_attempts.pop(seq)
                lost_answers.update(sent if entry.event == BatchEvent.LOST else ())
    for sent in open_attempts.values():
        lost_answers.update(sent)
    return lost_answers


def _resends(history: CampaignHistory, process: int) -> int:
    """Return how often this process resent a batch after a lost answer or without a connection."""
    again: set[int] = set()
    count = 0
    for run in history.runs:
        count -= run.failed_intents * (run.process == process)
        for entry in history.entries[run.entries_before : run.entries_after] if run.process == process else ():
            match entry:
                case AttemptStarted(seq):
                    count += seq in again
                case AttemptEnded(seq, event=BatchEvent.NOT_SENT, detail=None):
                    count -= seq in again  # the claim was undone, and its grant was given back
                case AttemptEnded(seq):
                    (again.add if entry.event in (BatchEvent.LOST, BatchEvent.NOT_SENT) else again.discard)(seq)
    return count


def _flags(history: CampaignHistory) -> dict[int, bool]:
    """Return for each row with a final result, or in the last run, whether it is flagged."""
    flags = {result.row: result.possibly_duplicated for result in history.runs[-1].results} if history.runs else {}
    for entry in history.entries:
        if isinstance(entry, RowsSettled):
            flags.update(dict.fromkeys(entry.rows, entry.possibly_duplicated))
    return flags


def _arrival_jitter(evidence: Evidence) -> float:
    """Return the seconds by which two mints may come closer between claim and arrival."""
    scenario = evidence.scenario
    low, high = scenario.network.latency
    low = (
        0.0 if any(ending.how == "death" for ending in scenario.process_ends) else low
    )  # requests of a dead process arrive at once, or never
    return high - low + 8 * scenario.port_delay + max((seconds for _, seconds in scenario.loop_blocks), default=0.0)


def _limit_violations(
    rule: RateLimit, released: Sequence[tuple[float, str, str]], window: float, what: str
) -> Iterator[str]:
    by_owner: dict[str, list[float]] = defaultdict(list)
    for at, token_id, _ in released:
        by_owner[token_id if rule.scope == "token" else ""].append(at)
    for owner, times in by_owner.items():
        most = most_in_window(sorted(times), window)
        if most > rule.limit:
            whose = owner or "the account"
            yield f"limit {rule.name}: {most} {what} of {whose} in {window:g} s, allowed are {rule.limit}"


def _record_text(content: Content) -> str:
    return f"the record {content[2]!r}"
