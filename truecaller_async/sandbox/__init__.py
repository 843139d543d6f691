"""A faithful server of the Truecaller for Business API, to try a client against.

It is a product of its own: real HTTP on a socket, so a client in any language can be pointed at it. It keeps state
(tokens with a life and a budget, limits per token, batches that take their time) and writes down what really took
effect, so that a client's account of a campaign can be checked against the truth.

    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["fast"])) as sandbox:
        os.environ.update(sandbox.environment())
        ...
        sandbox.state.stats().violations     # requests over a limit, by limit
        sandbox.state.truth()                # every record that took effect

How the room is laid out, each file using only those before it:

    settings   what it is told                     counting   the limits, an exact sliding log
    records    what is sent, and what is refused   applied    what took effect, and its verdicts
    truth      the log of it                       answers    what is said
    routing    which call a request is             state      one account, pure
    app        the socket

`state` and everything before it do no I/O and read no clock. The room shares no code with the client's own limiter or
decoder: a mistake that both make would be seen by nobody.
"""

from truecaller_async.sandbox.answers import Reply
from truecaller_async.sandbox.app import Sandbox
from truecaller_async.sandbox.settings import SPEEDS, SandboxLabel, SandboxSettings
from truecaller_async.sandbox.state import SandboxState, Stats
from truecaller_async.sandbox.truth import TruthEntry

__all__ = [
    "SPEEDS",
    "Reply",
    "Sandbox",
    "SandboxLabel",
    "SandboxSettings",
    "SandboxState",
    "Stats",
    "TruthEntry",
]
