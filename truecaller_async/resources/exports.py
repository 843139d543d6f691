"""Download the two exports.

Purpose:
    The vendor deprecated them, and says that they do not work. Webhooks replace them.
Algorithm:
    An export has two steps: the API answers with a link that is valid for a few minutes, and the link leads to a file.
    The hosts of files are not documented. So a link is followed only to trusted hosts (see `protocol.links`) and
    without the token, and the file is streamed to disk up to a maximum size.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from os import PathLike, fsencode, fspath
from pathlib import Path

import attrs

from truecaller_async.models import Answer, Problem, Request, Secret
from truecaller_async.protocol.arguments import check_int, raise_problems
from truecaller_async.protocol.export_requests import Unit, call_me_back_request, user_feedback_request
from truecaller_async.protocol.links import check_hosts
from truecaller_async.protocol.responses import read_export
from truecaller_async.redaction import shown_value
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.storage.part_file import PartFile

FILE_MAX_BYTES = 1024**3
"""The default maximum size of a file: 1 GiB."""

ADVICE = "the vendor deprecated the exports, and its pages say that they do not work; use webhooks instead"


@attrs.frozen
class _Target:
    """The path of the file, the hosts that it may come from, and its maximum size in bytes."""

    path: Path
    overwrite: bool
    hosts: tuple[str, ...]
    max_bytes: int


class Exports:
    """`client.exports`: the two downloads that the vendor deprecated."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def user_feedback(
        self,
        survey_id: str,
        path: str | PathLike[str],
        *,
        from_date: datetime,
        hosts: Collection[str] = (),
        overwrite: bool = False,
        max_bytes: int = FILE_MAX_BYTES,
    ) -> Path:
        """Save the answers of a feedback campaign to a file.

        From "Truecaller for Business: Export user feedback", deprecated: warns `TruecallerDeprecationWarning`. The form
        of the file is not documented. It is written beside `path`, with `.part` at the end of its name, and renamed
        when it is complete; after an error, `path` is unchanged. The download is tried once.

        Args:
            survey_id: The id of the feedback campaign.
            path: The path of the new file.
            from_date: The time from which answers are exported; an aware datetime.
            hosts: Hosts that the file may come from, such as "files.example" or "files.example:8443", besides the API's
                own host and hosts below truecaller.com.
            overwrite: Whether an existing file is replaced.
            max_bytes: The maximum size of the file, in bytes.

        Returns:
            The path.

        Raises:
            ValidationError: An argument is wrong, or the file exists and `overwrite` is False. Nothing was sent.
            ConfigError: The link leads to another host, or the file cannot be written.
            DecodeError: The answer has no link, or the file is larger than `max_bytes`.
            APIStatusError: The server answered with an error; see its subclasses.
            TruecallerError: No answer: `TransportError`, `TokenBudgetExhausted`, `WaitTooLong`, `ClientClosed`.
        """
        self._context.warn_deprecated("exports.user_feedback", ADVICE)
        request = user_feedback_request(self._context.account, survey_id, from_date)
        return await self._save(request, _target(path, overwrite, hosts, max_bytes))

    async def call_me_back(
        self,
        path: str | PathLike[str],
        *,
        start: datetime,
        end: datetime,
        unit: Unit = "seconds",
        hosts: Collection[str] = (),
        overwrite: bool = False,
        max_bytes: int = FILE_MAX_BYTES,
    ) -> Path:
        """Save the call-me-back log to a file.

        From "Truecaller for Business: Export call me back", deprecated: warns `TruecallerDeprecationWarning`. The file
        is written as in `user_feedback`.

        Args:
            path: The path of the new file.
            start: The beginning of the log; an aware datetime.
            end: The end of the log; an aware datetime.
            unit: The unit in which both are sent, "seconds" or "milliseconds". The documentation contradicts itself:
                its examples are in seconds, its text says milliseconds.
            hosts: As in `user_feedback`.
            overwrite: As in `user_feedback`.
            max_bytes: As in `user_feedback`.

        Returns:
            The path.

        Raises:
            TruecallerError: As in `user_feedback`.
        """
        self._context.warn_deprecated("exports.call_me_back", ADVICE)
        request = call_me_back_request(self._context.account, start, end, unit)
        return await self._save(request, _target(path, overwrite, hosts, max_bytes))

    async def _save(self, request: Request, target: _Target) -> Path:
        async with PartFile(target.path, overwrite=target.overwrite) as part:
            link = await self._context.call(request, self._read)
            await self._context.download(link, part.write, hosts=target.hosts, max_bytes=target.max_bytes)
        return target.path

    def _read(self, answer: Answer) -> Secret:
        return read_export(answer, now=self._context.clock.wall())


def _target(path: str | PathLike[str], overwrite: bool, hosts: Collection[str], max_bytes: int) -> _Target:
    raise_problems(_check_path(path), check_hosts(hosts), check_int("max_bytes", max_bytes))
    return _Target(Path(path), overwrite, tuple(hosts), max_bytes)


def _check_path(path: object) -> Problem | None:
    text = fspath(path) if isinstance(path, str | PathLike) else None
    if isinstance(text, str) and "\0" not in text and Path(text).name and _is_encodable(text):
        return None
    return Problem("path", "path.form", "is not the path of a file", shown_value(path), 'give one such as "export.csv"')


def _is_encodable(name: str) -> bool:
    try:
        fsencode(name)
    except UnicodeEncodeError:
        return False
    return True
