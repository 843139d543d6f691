"""What befalls one run, as data: drawn from a seed, and readable.

Most fates are small, because ten small worlds find more than one large one; now and then one has some thousand rows.
Every evil has an end: faults of the plan stop at a moment, or strike only some of the requests, so that each fate can
be played to its end. What no client can see through is not drawn: an answer that says "not applied" of what was.
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
Kept: TypeAlias = Literal["none", "memory", "sqlite"]
Policy: TypeAlias = Literal["resend", "hold"]
Operator: TypeAlias = Literal["informed", "careless"]
RESUMABLE: tuple[tuple[Kept, int], ...] = (("memory", 5), ("sqlite", 2))

DENIALS = frozenset({"400", "401", "403", "404", "parse-token", "429", "301", "302", "303", "307", "308"})
"""Endings that say that nothing was applied: after "apply" they would be lies."""

AFFIRMATIONS = frozenset({"empty"})
"""Endings that say of a single record (in v1) that it was taken: without "apply" they would be lies."""

COMMON = ("reset", "close", "stall", "500", "502", "503:7", "429", "429:3", "html", "cut", "half", "delay")
GRAVE = frozenset({"403", "301", "302", "303", "307", "308"})
"""Endings that end a campaign at once: drawn seldom, or nothing else would be seen."""

MARVELS = (
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
"""The response variants that concern a campaign."""


@attrs.frozen
class Server:
    """The account behind the sandbox. `ahead`: seconds by which its clock differs from the true time."""

    limits: Limits
    token_life: float
    resolve_after: float
    resolve_spread: float
    validation: Literal["whole", "per_record"]
    response_variants: tuple[ResponseVariant, ...]
    late_for: float
    faults: FaultPlan
    ahead: float


@attrs.frozen
class Network:
    """Seconds that a request and an answer are on their way, evenly from `latency`; `slow` of the answers take up to
    `slowest`. `not_sent` of the requests find no connection, and in an outage all of them."""

    latency: tuple[float, float]
    slow: float
    slowest: float
    not_sent: float
    outages: tuple[tuple[float, float], ...]


@attrs.frozen
class Act:
    """What the caller does in the middle: "drain", "abort", "cancel" (the reading task), "leave" (the block)."""

    what: Literal["drain", "abort", "cancel", "leave"]
    at: float


@attrs.frozen
class Mixture:
    """Of what the rows are made; every figure but `rows`, `pairs` and `ahead` is a share of them.

    `pairs` is how many (caller, receiver) there are, None for one for each row. `closing` are windows that close while
    the campaign runs, `past` those that have closed, `poison` rows that only the server refuses. All windows begin
    `ahead` seconds later.
    """

    rows: int
    pairs: int | None
    equal: float
    bad: float
    poison: float
    closing: float
    past: float
    failing: float
    ahead: float = 0.0


@attrs.frozen
class Campaign:
    """One campaign: what is in it, how it is run, and what becomes of it in each life.

    `size` is the most records in a batch. `pause` is what the source waits before each row (0.0: it is a list), and
    `breaks` the rows before which it raises, once each. The reader takes `reading` seconds for a result. `journal` is
    "none" (nobody can go on from it), "memory" or "sqlite". `acts` are those of the first lives.

    `decisions[n]` is the operator after life n, None for no decision. The operator decides each batch that may have
    been applied: "informed" looks into the server's truth log, "careless" guesses. `policy` replaces `on_ambiguous` in
    every life but the first, unless it is None.
    """

    mixture: Mixture
    options: CampaignOptions
    size: int
    begins: float
    pause: float
    breaks: tuple[int, ...]
    reading: float
    journal: Kept
    acts: tuple[Act | None, ...]
    decisions: tuple[Operator | None, ...] = ()
    policy: Policy | None = None

    def options_in(self, life: int) -> CampaignOptions:
        """Return the options of the process with this number."""
        if not life or self.policy is None:
            return self.options
        return attrs.evolve(self.options, on_ambiguous=self.policy)


@attrs.frozen
class Ending:
    """How a process ends before its work is done: at its n-th write to any journal, by death or because it is refused.

    `kept`: whether that write is on the disk all the same.
    """

    write: int
    how: Literal["death", "disk full"]
    kept: bool


@attrs.frozen
class Fate:
    """One run. Times are seconds from its beginning.

    `limits` are those that the client believes in. `jumps` of its wall clock, `blocks` of its loop by foreign code.
    `calls` single calls go beside the campaigns, one each `every` seconds. `hesitation` bounds the delay of a call
    through a port. The observer raises in `blind` of its calls. `endings` are those of the first lives. Then come
    `resumes` lives, and the last one, that end by themselves.
    """

    seed: int
    server: Server
    network: Network
    limits: Limits
    max_tokens: int
    retry: RetryPolicy
    version: str
    campaigns: tuple[Campaign, ...]
    calls: int
    every: float
    jumps: tuple[tuple[float, float], ...]
    blocks: tuple[tuple[float, float], ...]
    hesitation: float
    blind: float
    endings: tuple[Ending, ...]
    resumes: int = 0

    @property
    def lives(self) -> int:
        """The number of processes."""
        return len(self.endings) + self.resumes + 1


def draw(seed: int) -> Fate:
    """The fate of this seed."""
    return _operated(_Drawing(Random(seed)).fate(seed), Random(f"operator {seed}"))


def _operated(fate: Fate, dice: Random) -> Fate:
    """Add what an operator does between two processes, and a fault that gives a reason to resume.

    Separate dice keep the rest of the fate of each seed.
    """
    if all(campaign.journal == "none" for campaign in fate.campaigns):
        return fate
    resumes = dice.choice((0, 1, 2))
    server = fate.server
    reasons = ((), (dice.choice(sorted(GRAVE)),), ("reset",), ("apply", "reset"))
    do = dice.choice(reasons) if resumes else ()
    if do:
        fault = Fault(call="batch.submit", do=do, nth=dice.randint(1, 4))
        server = attrs.evolve(server, faults=FaultPlan((*server.faults.faults, fault), server.faults.seed))
    fate = attrs.evolve(fate, server=server, resumes=resumes)
    campaigns = tuple(_decided(campaign, fate.lives - 1, dice) for campaign in fate.campaigns)
    return attrs.evolve(fate, campaigns=campaigns)


def _decided(campaign: Campaign, gaps: int, dice: Random) -> Campaign:
    """Draw the decisions. A careless one under `hold` may make a batch be applied twice, and is not drawn."""
    operators: tuple[Operator | None, ...] = (None, None, "informed")
    policies: tuple[Policy | None, ...] = (None, "resend", "resend")
    if campaign.options.on_ambiguous == "resend":
        operators = (None, None, "informed", "careless")
        policies = (None, None, "hold")
    return attrs.evolve(
        campaign, decisions=tuple(dice.choice(operators) for _ in range(gaps)), policy=dice.choice(policies)
    )


def readable(value: object, indent: str = "") -> str:
    """A fate, or a part of it, as lines."""
    kind: Any = type(value)
    if not attrs.has(kind) or isinstance(value, Limits | CampaignOptions | RetryPolicy):
        return _short(value)
    names = [field.name for field in attrs.fields(kind)]
    return "\n" + "\n".join(f"{indent}{name}: {_told(getattr(value, name), indent + '  ')}" for name in names)


def _told(part: Any, indent: str) -> str:
    if isinstance(part, FaultPlan):
        return f"seed {part.seed}" + "".join(f"\n{indent}{_fault(fault)}" for fault in part.faults)
    if isinstance(part, tuple) and part and attrs.has(type(part[0])):
        return "".join(f"\n{indent}- {readable(item, indent + '  ').strip()}" for item in part)
    return readable(part, indent)


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


class _Drawing:
    """Draws one fate, part after part, from one pair of dice."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._rough = dice.choice((0.0, 0.3, 0.6, 1.0, 1.0))
        """How much goes wrong."""

    def fate(self, seed: int) -> Fate:
        dice = self._dice
        limits = self._limits()
        believed = limits if dice.random() < 0.9 else limits.replace(batch=(2 * limits.rules[1].limit, 10.0))
        lives = self._of(((0, 5), (1, 3), (2, 2), (4, 1))) if self._luck(0.7) else 0
        return Fate(
            seed,
            self._server(limits),
            self._network(),
            believed,
            dice.choice((1, 2, 3, 10)),
            RetryPolicy(attempts=dice.choice((1, 4, 4, 8)), total=dice.choice((20.0, 60.0))),
            dice.choice(("v1", "v2", "v2", "v3")),
            tuple(self._campaign(lives) for _ in range(self._of(((1, 8), (2, 2), (3, 1))))),
            dice.choice((0, 0, 3, 20)),
            dice.choice((0.01, 1.0, 7.0)),
            self._jumps(),
            self._some(0.1, lambda: (dice.uniform(0, 60), dice.choice((0.5, 1.5, 10.0)))),
            dice.choice((0.0, 0.001, 0.02)),
            0.1 if self._luck(0.1) else 0.0,
            tuple(self._ending() for _ in range(lives)),
        )

    def _luck(self, share: float) -> bool:
        return self._dice.random() < share * self._rough

    def _of(self, weighted: tuple[tuple[T, int], ...]) -> T:
        values = [value for value, _ in weighted]
        return self._dice.choices(values, [weight for _, weight in weighted])[0]

    def _some(self, share: float, make: Any) -> tuple[Any, ...]:
        return tuple(sorted(make() for _ in range(3) if self._luck(share)))

    def _limits(self) -> Limits:
        dice = self._dice
        limits = Limits.documented().replace(
            batch=self._of((((60, 60.0), 2), ((10, 1.0), 2), ((3, 2.0), 2), ((60, 6.0), 2), ((1, 5.0), 1))),
            token=self._of((((100, 1.0), 4), ((5, 1.0), 1), ((20, 10.0), 1))),
            mint=self._of((((10, 1800.0), 3), ((10, 180.0), 3), ((2, 30.0), 1))),
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
            self._of(((3600.0, 6), (600.0, 1), (120.0, 1))),
            dice.choice((0.0, 0.5, 2.0, 20.0)),
            dice.choice((0.0, 0.0, 5.0)),
            dice.choice(("whole", "whole", "per_record")),
            tuple(variant for variant in MARVELS if self._luck(0.15)),
            dice.choice((1.0, 10.0, 70.0)),
            self._faults(),
            dice.choice((0.0, 0.0, -20.0, 600.0, -600.0)) if self._luck(0.3) else 0.0,
        )

    def _faults(self) -> FaultPlan:
        count = self._of(((0, 2), (1, 3), (2, 3), (4, 2))) if self._rough else 0
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
        endings = [name for name in FAULT_RESPONSES if name != "answer" and (name not in GRAVE or dice.random() < 0.1)]
        ending = dice.choice(COMMON) if dice.random() < 0.7 else dice.choice(endings)
        if ending == "delay":
            return "apply", f"delay:{dice.choice((0.5, 5, 45))}"
        if applies and ending.partition(":")[0] not in DENIALS:
            return "apply", ending
        return ("503",) if ending in AFFIRMATIONS and call in ("*", "push") else (ending,)

    def _network(self) -> Network:
        dice = self._dice
        quick = dice.choice((0.0, 0.005, 0.05))
        return Network(
            (quick, quick + dice.choice((0.0, 0.01, 0.2, 3.0))),
            0.05 if self._luck(0.3) else 0.0,
            dice.choice((10.0, 60.0)),
            dice.choice((0.0, 0.02, 0.2)) if self._luck(0.5) else 0.0,
            self._some(0.1, lambda: _span(dice.uniform(0.0, 100.0), dice.choice((1.0, 30.0, 300.0)))),
        )

    def _campaign(self, lives: int) -> Campaign:
        dice = self._dice
        mixture = self._mixture()
        breaks = (dice.randint(1, mixture.rows),) if self._luck(0.1) else ()
        journal: Kept = self._of(RESUMABLE) if lives or dice.random() < 0.5 else "none"
        return Campaign(
            mixture,
            self._options(mixture.rows),
            self._of(((500, 3), (50, 2), (7, 2), (1, 1))) if mixture.rows <= 150 else dice.choice((500, 100)),
            dice.choice((0.0, 0.0, 3.0)),
            dice.choice((0.01, 0.3)) if mixture.rows < 200 and dice.random() < 0.3 else 0.0,
            breaks,
            dice.choice((0.01, 0.5)) if mixture.rows < 300 and dice.random() < 0.2 else 0.0,
            "memory" if journal == "none" and breaks else journal,
            tuple(self._act() if self._luck(0.25) else None for _ in range(lives + 1)),
        )

    def _mixture(self) -> Mixture:
        dice = self._dice
        rows = self._of(((dice.randint(1, 20), 5), (dice.randint(20, 150), 12), (dice.randint(500, 2000), 2)))
        return Mixture(
            rows,
            dice.choice((None, None, max(1, rows // 10), max(1, rows // 2), 3)),
            dice.choice((0.0, 0.05, 0.3)),
            dice.choice((0.0, 0.02, 0.3)),
            dice.choice((0.0, 0.0, 0.01, 0.1, 1.0)) if self._luck(0.5) else 0.0,
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
            poll=self._polls(),
        )

    def _polls(self) -> PollPolicy:
        cap, deadline = self._of((((5.0, 60.0), 2), ((60.0, 600.0), 3), ((60.0, 7200.0), 1)))
        return PollPolicy(first=self._dice.choice((0.1, 2.0, 10.0)), cap=cap, deadline=deadline)

    def _act(self) -> Act:
        dice = self._dice
        what: Literal["drain", "abort", "cancel", "leave"] = dice.choice(("drain", "abort", "cancel", "leave"))
        return Act(what, dice.choice((0.0, dice.uniform(0.0, 5.0), dice.uniform(0.0, 100.0))))

    def _ending(self) -> Ending:
        dice = self._dice
        return Ending(dice.choice((dice.randint(1, 12), dice.randint(1, 80))), _how(dice), dice.random() < 0.5)

    def _jumps(self) -> tuple[tuple[float, float], ...]:
        dice = self._dice
        return self._some(0.15, lambda: (dice.uniform(0.0, 60.0), dice.choice((-3600.0, -40.0, 40.0, 3600.0))))


def _span(since: float, seconds: float) -> tuple[float, float]:
    return since, since + seconds


def _how(dice: Random) -> Literal["death", "disk full"]:
    return "death" if dice.random() < 0.8 else "disk full"
