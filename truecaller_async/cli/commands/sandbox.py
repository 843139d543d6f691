"""`truecaller sandbox`: the sandbox as a server of its own, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

import click

from truecaller_async.cli.formatting import counted, number
from truecaller_async.cli.param_types import duration_or_zero, parse_duration
from truecaller_async.errors import ConfigError

if TYPE_CHECKING:
    from truecaller_async.sandbox import FaultPlan, ResponseVariant, Sandbox, SandboxSettings

PLAN_MAX = 4 * 1024 * 1024
"""Bytes of a file that may be a fault plan."""

COMMENT = "# A sandbox: nothing here reaches a phone. Set these where your client runs; Ctrl-C stops it."


def response_variant(text: str) -> ResponseVariant:
    """Return the response variant with that name."""
    from truecaller_async.sandbox import ResponseVariant

    try:
        return ResponseVariant(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a response variant: choose from {', '.join(ResponseVariant)}"
        ) from None


def fault_plan(path: str) -> FaultPlan:
    """The plan in that file."""
    from truecaller_async.sandbox import FaultPlan

    try:
        with Path(path).open("rb") as file:
            text = file.read(PLAN_MAX + 1)
    except OSError as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error.strerror}") from None
    if len(text) > PLAN_MAX:
        raise click.BadParameter(f"{path!r} is no fault plan: it is larger than 4 MiB")
    try:
        return FaultPlan.parse(text)
    except ConfigError as wrong:
        raise ConfigError(f"{path}: {wrong}") from None


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--limits",
    "speed",
    type=click.Choice(["real", "fast", "off"]),
    default="real",
    show_default=True,
    help="The documented limits, a minute in six seconds, or none.",
)
@click.option(
    "--resolve-after",
    type=duration_or_zero,
    metavar="DURATION",
    default="2s",
    show_default=True,
    help="From the acceptance of a batch to its final statuses.",
)
@click.option(
    "--list-after",
    type=duration_or_zero,
    metavar="DURATION",
    default="2s",
    show_default=True,
    help="From the publishing of a number until it is listed, and from its delisting until it is gone.",
)
@click.option(
    "--token-life",
    type=parse_duration,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="How long a token works.",
)
@click.option(
    "--batch-validation",
    type=click.Choice(["whole", "per_record"]),
    default="whole",
    show_default=True,
    help="A record that breaks a rule refuses the whole batch, or fails alone.",
)
@click.option("--label-required", is_flag=True, help="Refuse records without a label id.")
@click.option(
    "--export-shape",
    type=click.Choice(["object", "string", "text"]),
    default="object",
    show_default=True,
    help="An export answers an object with the link, the link as JSON, or as plain text.",
)
@click.option(
    "--variant",
    "response_variants",
    type=response_variant,
    multiple=True,
    metavar="NAME",
    help="An answer in another documented form, or one that is not as it should be; repeatable. A name that does not "
    "exist lists all.",
)
@click.option(
    "--webhook",
    envvar="TRUECALLER_SANDBOX_WEBHOOK",
    metavar="URL",
    help="Where webhook events are fired, on demand: POST /_sandbox/webhooks. On this machine, or https. "
    "Its key is a secret: better set TRUECALLER_SANDBOX_WEBHOOK.",
)
@click.option(
    "--faults",
    type=fault_plan,
    metavar="PLAN.json",
    help="What goes wrong, and when: connections that break, gateways that answer, answers that lie.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed invents the same account.")
@click.option("--json", "as_json", is_flag=True, help="The variables as one line of JSON.")
def sandbox(host: str, port: int, speed: str, as_json: bool, **chosen: Any) -> None:
    """Serve a sandbox to try a client against.

    Prints the variables that point a client at it, and runs until it is interrupted. The TrustCaller API is served as
    well, below /trustcaller/api/v1.

    \b
    Webhook events are fired by a POST with the type application/json, all of whose fields may be left out:
      curl -H "Content-Type: application/json" http://127.0.0.1:8080/_sandbox/webhooks \\
           -d '{"kind": "slot_picker", "count": 10, "duplicates": 0.3, "shuffle": true}'
    Kinds are slot_picker, sim_info_missing, not_interested, user_feedback and all. A GET of the same path is the log.

    \b
    A fault plan is a JSON file; each fault is an object with these fields:
      call               token, push, batch.submit, batch.status, labels, numbers.publish, numbers.delist,
                         numbers.list, feature_sets, exports, or * for every request
      nth, probability,  which of these requests: the n-th, by dice, so many seconds after the start;
      from, until        all of them must be true, and all four may be left out
      do                 what is done: "apply" or not, then "delay:SECONDS" or not, then at most one response
    With "apply" the request takes effect, and then the client gets the response; without it the request never reaches
    the API, and the client gets the same. /_sandbox/truth tells which it was. The first fault that strikes is done.
    SECONDS are above 0 and below 100,000, with 6 decimals at most.

    \b
    Responses:
      answer             the API's own answer; where none is given, and only after "apply"
      reset, close       nothing, and the connection is reset, or closed
      stall              nothing, until the client gives up
      400 401 403 404    the API's own refusals; parse-token, its 500 for a token that it cannot read
      500 502 503 504    the API's own error, and pages of a gateway; also 520
      429                a gateway's throttle. 429:WAIT and 503:WAIT have a Retry-After: seconds, date+5 (five
                         seconds after the Date of the answer, as a date), or any other text, such as 429:soon
      301 302 303        a redirect, also 307 and 308; 302:URL says where to
      html               200 with a web page, as a captive portal says it
      text, half         the answer, said to be plain text; half of it, said to be all
      empty              200 without a body; object, list and null are {}, [] and null
      bad-utf8, nan      200 with a body that cannot be read; also deep, digits, surrogate
      cut                half of the answer, its length told; cut-chunked, in chunks; cut-unmarked, no length told
      long-length        lies about the length; also short-length, two-lengths
      huge, endless      200 with a body of 1 GiB, or without end; bomb, 200 MiB packed into 200 kB
      drip               the answer byte by byte, a tenth of a second between two, or drip:SECONDS;
                         drip-headers, the same of its head
      garbage            a status line that is none; not-http, another protocol; long-header, one of 16 kB

    \b
    For example:
      {"seed": 7, "faults": [
        {"call": "batch.submit", "nth": 3, "do": ["apply", "reset"]},
        {"call": "batch.submit", "nth": 5, "do": ["429:120"]},
        {"call": "batch.status", "probability": 0.02, "do": ["apply", "delay:2", "answer"]},
        {"call": "*", "from": 10, "until": 20, "do": ["503"]}]}
    """
    from truecaller_async.sandbox import SPEEDS, SandboxSettings

    settings = SandboxSettings(limits=SPEEDS[speed], **chosen)
    asyncio.run(_serve(settings, host, port, as_json))


async def _serve(settings: SandboxSettings, host: str, port: int, as_json: bool) -> None:
    from truecaller_async.engine.signals import signal_handlers
    from truecaller_async.sandbox import Sandbox

    asked = asyncio.Event()

    def stop(signum: Signals) -> None:
        asked.set()

    with signal_handlers(stop):
        try:
            server = await Sandbox.start(settings, host, port)
        except OSError as error:
            raise ConfigError(
                f"the sandbox cannot listen on {host} port {port}: {error.strerror or error}; "
                "stop what listens there, or choose another with --host or --port (0 takes a free one)"
            ) from None
        async with server:
            click.echo(_variables(server, as_json))
            await asked.wait()
    click.echo(_counters(server), err=True)


def _variables(server: Sandbox, as_json: bool) -> str:
    variables = {**server.environment(), "TRUECALLER_SANDBOX_LABEL_ID": server.settings.labels[0].id}
    if as_json:
        return json.dumps(variables)
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([COMMENT, *exports])


def _counters(server: Sandbox) -> str:
    stats = server.stats()
    requests = counted(stats.reached_api, "request")
    if server.settings.faults is not None:
        blocked = number(stats.blocked_by_faults)
        requests = f"{requests} reached the API, {_met(stats.faulted)}, {blocked} of them never reached it"
    said = [
        requests,
        counted(stats.mints, "token") + " created",
        counted(stats.batches, "batch"),
        counted(stats.records_applied, "record") + " applied",
        counted(stats.refused, "request") + " refused for a limit",
    ]
    return "Sandbox: " + ", ".join(said) + "."


def _met(struck: int) -> str:
    return f"{number(struck)} {'was' if struck == 1 else 'were'} met by a fault"
