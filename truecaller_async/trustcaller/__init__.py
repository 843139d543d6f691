"""Client of the TrustCaller API: reserved and test numbers, call records, live checks, API keys.

This service is separate from Truecaller, with its own account, token and limit. Only transport, errors, retries and
`Secret` are shared.

    async with TrustCallerClient.from_env() as client:
        async for call in client.calls.list(from_date=date(2026, 5, 1), to_date=date(2026, 5, 15)):
            ...
        is_live = await client.calls.check("120000486562997")

Modules; each uses only earlier ones:

    models                   what a caller receives
    requests, responses      encode requests, decode answers; no I/O
    requester                rate limit, one attempt, retries
    calls, numbers, keys     the calls, grouped as in the documentation
    client                   the client
"""

from truecaller_async.trustcaller.client import TrustCallerClient
from truecaller_async.trustcaller.models import ApiKey, CallDetail, NewKey, PublicTestNumber, ReservedNumber
from truecaller_async.trustcaller.requester import DOCUMENTED_LIMITS, PATIENT_RETRY

__all__ = [
    "DOCUMENTED_LIMITS",
    "PATIENT_RETRY",
    "ApiKey",
    "CallDetail",
    "NewKey",
    "PublicTestNumber",
    "ReservedNumber",
    "TrustCallerClient",
]
