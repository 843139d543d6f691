"""Everything that happens in one run, as data: drawn from a seed and printable.

Most scenarios are small, because ten small ones find more than one large one; a few have some thousand rows. Every
fault ends, or affects only some of the requests, so that each scenario can be played to its end. Faults that no client
can detect are not drawn, such as an answer that says "not applied" for a request that was applied.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

from truecaller_async import CampaignOptions, Limits, PollPolicy, RetryPolicy
from truecaller_async.sandbox.faults.plan import Fault, FaultPlan
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.faults.responses import FAULT_RESPONSES

T = TypeVar("T")
JournalKind: TypeAlias = Literal["none", "memory", "sqlite"]
Policy: TypeAlias = Literal["resend", "hold"]
Operator: TypeAlias = Literal["informed", "careless"]
RESUMABLE_JOURNALS: tuple[tuple[JournalKind, int], ...] = (("memory", 5), ("sqlite", 2))

NOT_APPLIED_RESPONSES = frozenset({"400", "401", "403", "404", "parse-token", "429", "301", "302", "303", "307", "308"})
"""Responses that say "not applied"; after "apply" they would be false."""

APPLIED_RESPONSES = frozenset({"empty"})
"""Responses that say that a single record (in v1) was accepted; without "apply" they would be false."""

COMMON_RESPONSES = ("reset", "close", "stall", "500", "502", "503:7", "429", "429:3", "html", "cut", "half", "delay")
FATAL_RESPONSES = frozenset({"403", "301", "302", "303", "307", "308"})
"""Responses that end a campaign at once; drawn rarely, so that other faults are seen as well."""

CAMPAIGN_VARIANTS = (
    ResponseVariant.MASKED_NUMBERS,
    ResponseVariant.CAMEL_STATUS_INFO,
    ResponseVariant.PARSE_FAILURE,
    ResponseVariant.OPAQUE_BATCH_IDS,
    ResponseVariant.SHUFFLED_ROWS,
    ResponseVariant.LATE_BATCHES,
    ResponseVariant.MISSING_ROWS,
    ResponseVariant.LATE_ROWS,
    ResponseVariant.REPEATED_ROWS,
    ResponseVariant.CONTRADICTING_ROWS,
    ResponseVariant.FOREIGN_ROWS,
    ResponseVariant.OLD_NAMES_IN_ROWS,
)
"""Response variants that concern a campaign."""


@attrs.frozen
class Server:
    """The account in the sandbox."""

    limits: Limits
    token_life: float
    resolve_after: float
    resolve_spread: float
    validation: Literal["whole", "per_record"]
    response_variants: tuple[ResponseVariant, ...]
    late_for: float
    faults: FaultPlan
    clock_offset: float
    """Seconds by which the server clock differs from the true time."""


@attrs.frozen
class Network:
    """Delays and failures of the network."""

    latency: tuple[float, float]
    """Range of the seconds that a request or an answer takes."""
    slow: float
    """Share of the answers that take up to `slowest` seconds."""
    slowest: float
    not_sent: float
    """Share of the requests that find no connection."""
    outages: tuple[tuple[float, float], ...]
    """Start and end of each time without connections, in seconds."""


@attrs.frozen
class CallerAction:
    """Action during a run: "drain", "abort", "cancel" the reading task, or "leave" the block."""

    what: Literal["drain", "abort", "cancel", "leave"]
    at: float


@attrs.frozen
class RowMixture:
    """Composition of the rows, as shares of the rows unless stated otherwise."""

    rows: int
    """Number of rows."""
    pairs: int | None
    """Number of different (caller, receiver) pairs; None for one per row."""
    equal: float
    bad: float
    poison: float
    """Rows that only the server rejects."""
    closing_soon: float
    """Rows whose window closes while the campaign runs."""
    past: float
    """Rows whose window has closed."""
    failing: float
    windows_open_after: float = 0.0
    """Seconds after the start at which all windows open."""


@attrs.frozen
class Campaign:
    """One campaign: its rows, its options, and what happens to it in each process."""

    mixture: RowMixture
    options: CampaignOptions
    size: int
    """Largest number of records in a batch."""
    starts_at: float
    source_delay: float
    """Seconds that the source waits before each row; 0.0 for a list."""
    failing_rows: tuple[int, ...]
    """Rows before which the source raises, once each."""
    reader_delay: float
    """Seconds that the reader needs for a result."""
    journal: JournalKind
    """"none" (not resumable), "memory" or "sqlite"."""
    actions: tuple[CallerAction | None, ...]
    """Action of the caller in each of the first processes."""
    decisions: tuple[Operator | None, ...] = ()
    """Operator after process n; None for no decision.

    The operator decides each batch that may have been applied: "informed" by the truth log, "careless" at random.
    """
    policy: Policy | None = None
    """Replaces `on_ambiguous` in every process except the first, unless it is None."""

    def options_in(self, process: int) -> CampaignOptions:
        """Return the options of the process with this number."""
        if not process or self.policy is None:
            return self.options
        return attrs.evolve(self.options, on_ambiguous=self.policy)


@attrs.frozen
class ProcessEnd:
    """Early end of a process at its n-th write to any journal."""

    write: int
    how: Literal["death", "disk full"]
    is_stored: bool
    """Whether that write is on the disk nevertheless."""


@attrs.frozen
class Scenario:
    """One run. Times are seconds from its start."""

    seed: int
    server: Server
    network: Network
    limits: Limits
    """Limits that the client assumes."""
    max_tokens: int
    retry: RetryPolicy
    version: str
    campaigns: tuple[Campaign, ...]
    calls: int
    """Single calls beside the campaigns, one per `call_interval` seconds."""
    call_interval: float
    clock_jumps: tuple[tuple[float, float], ...]
    """Time and seconds of each jump of the client's wall clock."""
    loop_blocks: tuple[tuple[float, float], ...]
    """Time and duration of each block of the event loop."""
    port_delay: float
    """Largest delay of a call through a port, in seconds."""
    observer_failure_rate: float
    """Share of the observer calls that raise."""
    process_ends: tuple[ProcessEnd, ...]
    """Early ends of the first processes."""
    resumes: int = 0
    """Processes after these that end normally, not counting the last one."""

    @property
    def processes(self) -> int:
        """Return the number of processes."""
        return len(self.process_ends) + self.resumes + 1


def draw(seed: int) -> Scenario:
    """Return the scenario of this seed."""
    scenario = _with_operator(_Generator(Random(seed)).scenario(seed), Random(f"operator {seed}"))
    return _with_forbidden_pushes(scenario, Random(f"pushes {seed}"))


def _with_forbidden_pushes(scenario: Scenario, dice: Random) -> Scenario:
    """Forbid pushes in some scenarios in which bad records are isolated by pushing them.

    A separate random generator keeps the rest of each scenario unchanged.
    """
    is_isolating = any(
        campaign.options.isolate == "realtime" and campaign.mixture.poison for campaign in scenario.campaigns
    )
    if not is_isolating or scenario.calls or dice.random() < 0.7:
        return scenario
    fault = Fault(call="push", do=("403",), nth=dice.choice((None, 1, 3)))
    faults = scenario.server.faults
    server = attrs.evolve(scenario.server, faults=FaultPlan((*faults.faults, fault), faults.seed))
    return attrs.evolve(scenario, server=server)


def _with_operator(scenario: Scenario, dice: Random) -> Scenario:
    """Add the operator's decisions between two processes, and a fault that gives a reason to resume.

    A separate random generator keeps the rest of each scenario unchanged.
    """
    if all(campaign.journal == "none" for campaign in scenario.campaigns):
        return scenario
    resumes = dice.choice((0, 1, 2))
    server = scenario.server
    reasons = ((), (dice.choice(sorted(FATAL_RESPONSES)),), ("reset",), ("apply", "reset"))
    do = dice.choice(reasons) if resumes else ()
    if do:
        fault = Fault(call="batch.submit", do=do, nth=dice.randint(1, 4))
        server = attrs.evolve(server, faults=FaultPlan((*server.faults.faults, fault), server.faults.seed))
    scenario = attrs.evolve(scenario, server=server, resumes=resumes)
    campaigns = tuple(_with_decisions(campaign, scenario.processes - 1, dice) for campaign in scenario.campaigns)
    return attrs.evolve(scenario, campaigns=campaigns)


def _with_decisions(campaign: Campaign, gaps: int, dice: Random) -> Campaign:
    """Draw the decisions of the operator.

    "careless" is not drawn under `hold`, because it may cause a batch to be applied twice.
    """
    operators: tuple[Operator | None, ...] = (None, None, "informed")
    policies: tuple[Policy | None, ...] = (None, "resend", "resend")
    if campaign.options.on_ambiguous == "resend":
        operators = (None, None, "informed", "careless")
        policies = (None, None, "hold")
    return attrs.evolve(
        campaign, decisions=tuple(dice.choice(operators) for _ in range(gaps)), policy=dice.choice(policies)
    )


def describe(value: object, indent: str = "") -> str:
    """Return a scenario, or a part of it, as lines."""
    kind: Any = type(value)
    if not attrs.has(kind) or isinstance(value, Limits | CampaignOptions | RetryPolicy):
        return _short(value)
    names = [field.name for field in attrs.fields(kind)]
    return "\n" + "\n".join(f"{indent}{name}: {_told(getattr(value, name), indent + '  ')}" for name in names)


def _told(part: Any, indent: str) -> str:
    if isinstance(part, FaultPlan):
        return f"seed {part.seed}" + "".join(f"\n{indent}{_fault(fault)}" for fault in part.faults)
    if isinstance(part, tuple) and part and attrs.has(type(part[0])):
        return "".join(f"\n{indent}- {describe(item, indent + '  ').strip()}" for item in part)
    return describe(part, indent)


def _fault(fault: Fault) -> str:
    shown = {name: getattr(fault, name) for name in ("nth", "probability", "since", "until")}
    marks = " ".join(f"{name}={value:g}" for name, value in shown.items() if value is not None)
    return f"{fault.call}: {'+'.join(fault.do)} {marks}"


def _short(value: object) -> str:
    if isinstance(value, Limits):
        return ", ".join(f"{rule.name} {rule.limit} per {rule.per:g} s and {rule.scope}" for rule in value)
    if isinstance(value, CampaignOptions | RetryPolicy | PollPolicy):
        usual = type(value)()
        fields = [field.name for field in attrs.fields(type(value))]
        other = [name for name in fields if getattr(value, name) != getattr(usual, name)]
        return ", ".join(f"{name}={_short(getattr(value, name))}" for name in other) or "the defaults"
    return f"{value:g}" if isinstance(value, float) else str(value)


class _Generator:
    """Draws one scenario, part after part, from one random generator."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._fault_level = dice.choice((0.0, 0.3, 0.6, 1.0, 1.0))
        """Factor for the probability of faults."""

    def scenario(self, seed: int) -> Scenario:
        dice = self._dice
        limits = self._limits()
        believed = limits if dice.random() < 0.9 else limits.replace(batch=(2 * limits.rules[1].limit, 10.0))
        processes = self._weighted(((0, 5), (1, 3), (2, 2), (4, 1))) if self._happens(0.7) else 0
        return Scenario(
            seed,
            self._server(limits),
            self._network(),
            believed,
            dice.choice((1, 2, 3, 10)),
            RetryPolicy(attempts=dice.choice((1, 4, 4, 8)), total=dice.choice((20.0, 60.0))),
            dice.choice(("v1", "v2", "v2", "v3")),
            tuple(self._campaign(processes) for _ in range(self._weighted(((1, 8), (2, 2), (3, 1))))),
            dice.choice((0, 0, 3, 20)),
            dice.choice((0.01, 1.0, 7.0)),
            self._clock_jumps(),
            self._up_to_three(0.1, lambda: (dice.uniform(0, 60), dice.choice((0.5, 1.5, 10.0)))),
            dice.choice((0.0, 0.001, 0.02)),
            0.1 if self._happens(0.1) else 0.0,
            tuple(self._process_end() for _ in range(processes)),
        )

    def _happens(self, share: float) -> bool:
        return self._dice.random() < share * self._fault_level

    def _weighted(self, weighted: tuple[tuple[T, int], ...]) -> T:
        values = [value for value, _ in weighted]
        return self._dice.choices(values, [weight for _, weight in weighted])[0]

    def _up_to_three(self, share: float, make: Any) -> tuple[Any, ...]:
        return tuple(sorted(make() for _ in range(3) if self._happens(share)))

    def _limits(self) -> Limits:
        dice = self._dice
        limits = Limits.documented().replace(
            batch=self._weighted((((60, 60.0), 2), ((10, 1.0), 2), ((3, 2.0), 2), ((60, 6.0), 2), ((1, 5.0), 1))),
            token=self._weighted((((100, 1.0), 4), ((5, 1.0), 1), ((20, 10.0), 1))),
            mint=self._weighted((((10, 1800.0), 3), ((10, 180.0), 3), ((2, 30.0), 1))),
        )
        if dice.random() < 0.2:
            rules = tuple(attrs.evolve(rule, scope="account") for rule in limits)
            limits = Limits(rules)
        if dice.random() < 0.2:
            rules = tuple(
                attrs.evolve(rule, calls=("submit", "status")) if rule.name == "batch" else rule for rule in limits
            )
            limits = Limits(rules)
        return limits

    def _server(self, limits: Limits) -> Server:
        dice = self._dice
        return Server(
            limits,
            self._weighted(((3600.0, 6), (600.0, 1), (120.0, 1))),
            dice.choice((0.0, 0.5, 2.0, 20.0)),
            dice.choice((0.0, 0.0, 5.0)),
            dice.choice(("whole", "whole", "per_record")),
            tuple(variant for variant in CAMPAIGN_VARIANTS if self._happens(0.15)),
            dice.choice((1.0, 10.0, 70.0)),
            self._faults(),
            dice.choice((0.0, 0.0, -20.0, 600.0, -600.0)) if self._happens(0.3) else 0.0,
        )

    def _faults(self) -> FaultPlan:
        count = self._weighted(((0, 2), (1, 3), (2, 3), (4, 2))) if self._fault_level else 0
        return FaultPlan(tuple(self._fault() for _ in range(count)), self._dice.getrandbits(32))

    def _fault(self) -> Fault:
        dice = self._dice
        call = dice.choice(("*", "batch.submit", "batch.submit", "batch.status", "push", "token"))
        do = self._steps(call)
        match dice.choice(("nth", "share", "while", "share while")):
            case "nth":
                return Fault(call=call, do=do, nth=dice.randint(1, 9))
            case "share":
                return Fault(call=call, do=do, probability=dice.choice((0.02, 0.1, 0.3)))
            case "while":
                since = dice.choice((0.0, dice.uniform(0.0, 30.0)))
                return Fault(call=call, do=do, since=since, until=since + dice.choice((1.0, 15.0, 120.0)))
            case _:
                return Fault(call=call, do=do, probability=0.7, until=dice.choice((10.0, 100.0)))

    def _steps(self, call: str) -> tuple[str, ...]:
        dice = self._dice
        applies = dice.random() < 0.5
        responses = [
            name
            for name in FAULT_RESPONSES
            if name != "answer" and (name not in FATAL_RESPONSES or dice.random() < 0.1)
        ]
        response = dice.choice(COMMON_RESPONSES) if dice.random() < 0.7 else dice.choice(responses)
        if response == "delay":
            return "apply", f"delay:{dice.choice((0.5, 5, 45))}"
        if applies and response.partition(":")[0] not in NOT_APPLIED_RESPONSES:
            return "apply", response
        return ("503",) if response in APPLIED_RESPONSES and call in ("*", "push") else (response,)

    def _network(self) -> Network:
        dice = self._dice
        quick = dice.choice((0.0, 0.005, 0.05))
        return Network(
            (quick, quick + dice.choice((0.0, 0.01, 0.2, 3.0))),
            0.05 if self._happens(0.3) else 0.0,
            dice.choice((10.0, 60.0)),
            dice.choice((0.0, 0.02, 0.2)) if self._happens(0.5) else 0.0,
            self._up_to_three(0.1, lambda: _span(dice.uniform(0.0, 100.0), dice.choice((1.0, 30.0, 300.0)))),
        )

    def _campaign(self, processes: int) -> Campaign:
        dice = self._dice
        mixture = self._mixture()
        failing_rows = (dice.randint(1, mixture.rows),) if self._happens(0.1) else ()
        journal: JournalKind = self._weighted(RESUMABLE_JOURNALS) if processes or dice.random() < 0.5 else "none"
        return Campaign(
            mixture,
            self._options(mixture.rows),
            self._weighted(((500, 3), (50, 2), (7, 2), (1, 1))) if mixture.rows <= 150 else dice.choice((500, 100)),
            dice.choice((0.0, 0.0, 3.0)),
            dice.choice((0.01, 0.3)) if mixture.rows < 200 and dice.random() < 0.3 else 0.0,
            failing_rows,
            dice.choice((0.01, 0.5)) if mixture.rows < 300 and dice.random() < 0.2 else 0.0,
            "memory" if journal == "none" and failing_rows else journal,
            tuple(self._caller_action() if self._happens(0.25) else None for _ in range(processes + 1)),
        )

    def _mixture(self) -> RowMixture:
        dice = self._dice
        rows = self._weighted(((dice.randint(1, 20), 5), (dice.randint(20, 150), 12), (dice.randint(500, 2000), 2)))
        return RowMixture(
            rows,
            dice.choice((None, None, max(1, rows // 10), max(1, rows // 2), 3)),
            dice.choice((0.0, 0.05, 0.3)),
            dice.choice((0.0, 0.02, 0.3)),
            dice.choice((0.0, 0.0, 0.01, 0.1, 1.0)) if self._happens(0.5) else 0.0,
            dice.choice((0.0, 0.0, 0.1, 0.5)),
            dice.choice((0.0, 0.02)),
            dice.choice((0.0, 0.1, 0.3)),
        )

    def _options(self, rows: int) -> CampaignOptions:
        dice = self._dice
        return CampaignOptions(
            on_ambiguous=dice.choice(("resend", "hold")),
            max_resends=dice.choice((0, 1, 2, 2, 5)),
            same_pair=dice.choice(("in_order", "in_order", "keep_last")),
            correlate=dice.choice(("auto", "watermark")),
            isolate=dice.choice(("realtime", "realtime", "bisect", "none")),
            linger=dice.choice((0.05, 1.0, 5.0)),
            max_unresolved=dice.choice((1, 20, 600, 100_000, 100_000) if rows <= 150 else (600, 100_000)),
            expiry_margin=dice.choice((0.0, 5.0, 60.0)),
            dedupe=dice.choice(("window", "exact", "off")),
            poll=self._poll_policy(),
        )

    def _poll_policy(self) -> PollPolicy:
        cap, deadline = self._weighted((((5.0, 60.0), 2), ((60.0, 600.0), 3), ((60.0, 7200.0), 1)))
        return PollPolicy(first=self._dice.choice((0.1, 2.0, 10.0)), cap=cap, deadline=deadline)

    def _caller_action(self) -> CallerAction:
        dice = self._dice
        what: Literal["drain", "abort", "cancel", "leave"] = dice.choice(("drain", "abort", "cancel", "leave"))
        return CallerAction(what, dice.choice((0.0, dice.uniform(0.0, 5.0), dice.uniform(0.0, 100.0))))

    def _process_end(self) -> ProcessEnd:
        dice = self._dice
        return ProcessEnd(dice.choice((dice.randint(1, 12), dice.randint(1, 80))), _end_kind(dice), dice.random() < 0.5)

    def _clock_jumps(self) -> tuple[tuple[float, float], ...]:
        dice = self._dice
        return self._up_to_three(0.15, lambda: (dice.uniform(0.0, 60.0), dice.choice((-3600.0, -40.0, 40.0, 3600.0))))


def _span(since: float, seconds: float) -> tuple[float, float]:
    return since, since + seconds


def _end_kind(dice: Random) -> Literal["death", "disk full"]:
    return "death" if dice.random() < 0.8 else "disk full"
