"""Settings of the TrustCaller account of the sandbox: first key, permissions, numbers, calls.

The defaults contain the samples of the documentation (number 12345, call 98765, the test number with prefix 8613), so
that its example programs find them, and generated entries, so that lists have several pages and days. The first key
has the id 6, so that the first created key has the id 7 of the samples.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret

FIRST_KEY_ID = 6
API_ACCESS = "api_access"
KEYS_MANAGE = "api_keys_manage"
PERMISSIONS = frozenset({API_ACCESS, KEYS_MANAGE})

INVENTED_NUMBERS_COUNT = 24
"""Generated numbers."""
INVENTED_CALLS_COUNT = 40
"""Generated calls."""
LETTERS = string.ascii_letters + string.digits
TOKEN_CHARS = 40
"""Random characters of a token."""

_TOKEN = re.compile(r"[!-~]+", re.ASCII)


@attrs.frozen
class SandboxNumber:
    """Reserved number of the account.

    From "TrustCaller API: List numbers".
    """

    id: int
    """Id of the number."""
    number: str
    """Number, digits only."""
    created_at: datetime = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    """Time of reservation."""
    ivr_id: int | None = None
    """Id of the assigned IVR, if any."""


@attrs.frozen(kw_only=True)
class SandboxCall:
    """Call detail record.

    From "TrustCaller API: List calls".
    """

    id: int
    """Id of the call."""
    caller: str
    """Complete caller number; answers mask its last three digits."""
    number: str
    """Called number of the account."""
    start_at: datetime
    """Start of the call."""
    duration: int
    """Duration in seconds."""
    pdd: int = 850
    """Post-dial delay in milliseconds."""
    call_unique_id: str
    """Id of the call in the telephone network."""
    call_acceptable: bool = True
    """Value of the field of the same name."""
    short_call: bool = False
    """True if the call is marked as short; generated calls below 6 seconds are."""
    hang_cause: str = "NORMAL_CLEARING"
    """Cause of the end of the call."""


DOCUMENTED_NUMBER = SandboxNumber(12345, "120000486562997")
DOCUMENTED_CALL = SandboxCall(
    id=98765,
    caller="8823412000",
    number="120000486562997",
    start_at=datetime(2026, 5, 15, 14, 30, tzinfo=UTC),
    duration=135,
    call_unique_id="abc123-xyz789",
)
TEST_NUMBERS = {"8613": "8613912345678", "4479": "447900000123", "1200": "120000486562997"}
"""Public test numbers by prefix. The first is in the documentation."""


def random_token(rng: random.Random, key_id: int) -> str:
    """Return a token in the form of the sample: id of the key, a bar, and random characters."""
    return f"{key_id}|{''.join(rng.choices(LETTERS, k=TOKEN_CHARS))}"


def _token(settings: TrustCallerSettings) -> Secret:
    rng = random.Random(f"trustcaller token {settings.seed}")  # noqa: S311 - repeatable on purpose, guards nothing
    return Secret(random_token(rng, FIRST_KEY_ID))


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _frozen(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


def _numbers(settings: TrustCallerSettings) -> tuple[SandboxNumber, ...]:
    rng = random.Random(f"trustcaller numbers {settings.seed}")  # noqa: S311 - repeatable on purpose
    invented = (
        SandboxNumber(DOCUMENTED_NUMBER.id + index, f"1200004{rng.randrange(10**8):08d}")
        for index in range(1, INVENTED_NUMBERS_COUNT + 1)
    )
    return (DOCUMENTED_NUMBER, *invented)


def _calls(settings: TrustCallerSettings) -> tuple[SandboxCall, ...]:
    """Return the documented call, and generated calls before it."""
    rng = random.Random(f"trustcaller calls {settings.seed}")  # noqa: S311 - repeatable on purpose
    numbers = [one.number for one in settings.numbers] or [DOCUMENTED_NUMBER.number]
    invented = []
    for index in range(1, INVENTED_CALLS_COUNT + 1):
        duration = rng.randrange(0, 600)
        invented.append(
            SandboxCall(
                id=DOCUMENTED_CALL.id - index,
                caller=f"8823{rng.randrange(10**6):06d}",
                number=rng.choice(numbers),
                start_at=DOCUMENTED_CALL.start_at - timedelta(hours=8 * index, seconds=rng.randrange(3600)),
                duration=duration,
                pdd=rng.randrange(200, 3000),
                call_unique_id=f"{rng.getrandbits(24):06x}-{rng.getrandbits(24):06x}",
                short_call=duration < 6,
                hang_cause="NORMAL_CLEARING" if duration else "NO_ANSWER",
            )
        )
    return (DOCUMENTED_CALL, *invented)


@attrs.frozen(kw_only=True)
class TrustCallerSettings:
    """Settings of the sandbox's TrustCaller account. Durations are seconds.

    Raises:
        ConfigError: if a value is out of its range.
    """

    seed: int = 0
    """Seed of all generated values."""
    token: Secret = attrs.field(default=attrs.Factory(_token, takes_self=True), converter=_secret)
    """First key of the account."""
    permissions: frozenset[str] = attrs.field(default=PERMISSIONS, converter=_frozen)
    """Granted permissions: api_access, api_keys_manage, or both."""
    limit: int = 60
    """Requests in `per` seconds, for all keys together.

    Whether the service counts by key, account or address is not documented; this is the strictest interpretation.
    """
    per: float = 60.0
    """Window of the limit in seconds."""
    numbers: tuple[SandboxNumber, ...] = attrs.field(default=attrs.Factory(_numbers, takes_self=True))
    """Reserved numbers."""
    calls: tuple[SandboxCall, ...] = attrs.field(default=attrs.Factory(_calls, takes_self=True))
    """Call detail records."""
    live: frozenset[str] = attrs.field(default=frozenset({DOCUMENTED_NUMBER.number}), converter=_frozen)
    """Numbers with an active call."""

    def __attrs_post_init__(self) -> None:
        _require(_TOKEN.fullmatch(self.token.reveal()), "token", "printable text without spaces")
        _require(self.permissions <= PERMISSIONS, "permissions", f"out of {_listed(PERMISSIONS)}")
        _require(self.limit >= 1, "limit", "1 request or more")
        _require(self.per > 0, "per", "more than 0 seconds")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _require(condition: object, name: str, rule: str) -> None:
    if not condition:
        raise ConfigError(f"TrustCallerSettings.{name} is invalid: it must be {rule}")
