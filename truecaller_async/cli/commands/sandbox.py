"""Command `truecaller sandbox`: serve a sandbox until it is interrupted."""

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

# Modules that import aiohttp are imported inside the functions, so that --help stays fast.

PLAN_MAX_BYTES = 4 * 1024 * 1024
"""Maximum size of a fault plan file."""

COMMENT = (
    "# Sandbox: nothing is sent to Truecaller. Set these variables where your client runs. Ctrl-C stops the sandbox."
)


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
    """Read a fault plan from a file.

    Raises:
        click.BadParameter: The file cannot be read, or is larger than 4 MiB.
        ConfigError: The plan is wrong.
    """
    from truecaller_async.sandbox import FaultPlan

    try:
        with Path(path).open("rb") as file:
            text = file.read(PLAN_MAX_BYTES + 1)
    except OSError as error:
        raise click.BadParameter(f"{path!r} cannot be read: {error.strerror}") from None
    if len(text) > PLAN_MAX_BYTES:
        raise click.BadParameter(f"{path!r} is not a fault plan: it is larger than 4 MiB")
    try:
        return FaultPlan.parse(text)
    except ConfigError as wrong:
        raise ConfigError(f"{path}: {wrong}") from None


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 is any free port.")
@click.option(
    "--limits",
    "speed",
    type=click.Choice(["real", "fast", "off"]),
    default="real",
    show_default=True,
    help="The documented limits, limits with a minute shortened to six seconds, or none.",
)
@click.option(
    "--resolve-after",
    type=duration_or_zero,
    metavar="DURATION",
    default="2s",
    show_default=True,
    help="Time from the acceptance of a batch to its final statuses.",
)
@click.option(
    "--list-after",
    type=duration_or_zero,
    metavar="DURATION",
    default="2s",
    show_default=True,
    help="Time until a published number is listed, and until a delisted number is gone.",
)
@click.option(
    "--token-life",
    type=parse_duration,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="How long a token is valid.",
)
@click.option(
    "--batch-validation",
    type=click.Choice(["whole", "per_record"]),
    default="whole",
    show_default=True,
    help="An invalid record fails the whole batch, or only itself.",
)
@click.option("--label-required", is_flag=True, help="Refuse records without a label id.")
@click.option(
    "--export-shape",
    type=click.Choice(["object", "string", "text"]),
    default="object",
    show_default=True,
    help="Form of the answer with the link of an export: a JSON object, a JSON string, or plain text.",
)
@click.option(
    "--variant",
    "response_variants",
    type=response_variant,
    multiple=True,
    metavar="NAME",
    help="Use another documented form of an answer, or an incorrect one; repeatable. An unknown name lists all names.",
)
@click.option(
    "--webhook",
    envvar="TRUECALLER_SANDBOX_WEBHOOK",
    metavar="URL",
    help="Where webhook events are sent on request (POST /_sandbox/webhooks): a URL on this machine, or https. "
    "The key in it is a secret, so prefer the variable TRUECALLER_SANDBOX_WEBHOOK.",
)
@click.option(
    "--faults",
    type=fault_plan,
    metavar="PLAN.json",
    help="A fault plan: which requests fail, when and how; see below.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed generates the same account.")
@click.option("--json", "as_json", is_flag=True, help="Print the variables as one line of JSON.")
def sandbox(host: str, port: int, speed: str, as_json: bool, **options: Any) -> None:
    """Serve a sandbox that behaves like the documented API.

    Prints the environment variables for a client, and runs until it is interrupted. The TrustCaller API is served under
    /trustcaller/api/v1.

    \b
    Webhook events are sent by a POST of type application/json. All fields are optional:
      curl -H "Content-Type: application/json" http://127.0.0.1:8080/_sandbox/webhooks \\
           -d '{"kind": "slot_picker", "count": 10, "duplicates": 0.3, "shuffle": true}'
    Kinds are slot_picker, sim_info_missing, not_interested, user_feedback and all. GET returns their log.

    \b
    A fault plan is a JSON file; each fault is an object with these fields:
      call               token, push, batch.submit, batch.status, labels, numbers.publish, numbers.delist,
                         numbers.list, feature_sets, exports, or * for every request
      nth, probability,  select among these requests: the n-th one, by chance, by seconds since the start;
      from, until        all that are given must match, and all four are optional
      do                 up to three steps in this order: "apply", "delay:SECONDS", a response
    With "apply" the request takes effect, and then the client receives the response. Without it the request never
    reaches the API, and the client receives the same response. /_sandbox/truth lists what took effect. Only the first
    fault that matches is used. SECONDS are above 0 and below 100,000, with at most 6 decimals.

    \b
    Responses:
      answer             the API's own answer; the default, and only after "apply"
      reset, close       no answer; the connection is reset or closed
      stall              no answer, until the client gives up
      400 401 403 404    the API's own errors; parse-token: its 500 for a token that it cannot parse
      500 502 503 504    the API's own 500, the HTML page of a gateway; also 520
      429                a throttle. 429:WAIT and 503:WAIT have a Retry-After: seconds, date+5 (a date five
                         seconds after the Date of the answer), or any other text, such as 429:soon
      301 302 303        a redirect, also 307 and 308; 302:URL sets its target
      html               200 with a web page, as from a captive portal
      text, half         the answer as plain text; half of it, declared complete
      empty              200 without a body; object, list and null: 200 with {}, [] and null
      bad-utf8, nan      200 with an unreadable body; also deep, digits, surrogate
      cut                half of the answer, with its length; cut-chunked: in chunks; cut-unmarked: without a length
      long-length        a wrong Content-Length; also short-length, two-lengths
      huge, endless      200 with a body of 1 GiB, or without an end; bomb: 200 MiB compressed to 200 kB
      drip               the answer byte by byte, 0.1 s apart, or drip:SECONDS; drip-headers: its head byte by byte
      garbage            an invalid status line; not-http: another protocol; long-header: a header of 16 kB

    \b
    For example:
      {"seed": 7, "faults": [
        {"call": "batch.submit", "nth": 3, "do": ["apply", "reset"]},
        {"call": "batch.submit", "nth": 5, "do": ["429:120"]},
        {"call": "batch.status", "probability": 0.02, "do": ["apply", "delay:2", "answer"]},
        {"call": "*", "from": 10, "until": 20, "do": ["503"]}]}
    """
    from truecaller_async.sandbox import SPEEDS, SandboxSettings

    settings = SandboxSettings(limits=SPEEDS[speed], **options)
    asyncio.run(_serve(settings, host, port, as_json))


async def _serve(settings: SandboxSettings, host: str, port: int, as_json: bool) -> None:
    from truecaller_async.cli.signals import signal_handlers
    from truecaller_async.sandbox import Sandbox

    stop_requested = asyncio.Event()

    def stop(signum: Signals) -> None:
        stop_requested.set()

    with signal_handlers(stop):
        try:
            server = await Sandbox.start(settings, host, port)
        except OSError as error:
            raise ConfigError(
                f"the sandbox cannot listen on {host} port {port}: {error.strerror or error}. "
                "Stop the program that uses the port, or choose another with --host or --port (0 is any free port)."
            ) from None
        async with server:
            click.echo(_variables(server, as_json))
            await stop_requested.wait()
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
        requests = f"{requests} reached the API, {_faulted_text(stats.faulted)}, {blocked} of them never reached it"
    parts = [
        requests,
        counted(stats.mints, "token") + " minted",
        counted(stats.batches, "batch"),
        counted(stats.records_applied, "record") + " applied",
        counted(stats.refused, "request") + " over a limit",
    ]
    return "Sandbox: " + ", ".join(parts) + "."


def _faulted_text(count: int) -> str:
    return f"{number(count)} {'was' if count == 1 else 'were'} met by a fault"
