"""The two exports that the vendor deprecated, with the remark that they do not work. Webhooks replace them.

An export is two steps: the API answers with a link that lives a few minutes, and the link leads to a file. Where files
are kept is documented nowhere, so a link is followed only to hosts that are trusted (see `protocol.links`), without our
token, and the file is streamed to disk under a cap.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from os import PathLike, fsencode, fspath
from pathlib import Path

import attrs

from truecaller_async.models import Answer, Problem, Request, Secret
from truecaller_async.protocol.arguments import check_int, raise_problems, shown_value
from truecaller_async.protocol.export_requests import Unit, call_me_back_request, user_feedback_request
from truecaller_async.protocol.links import check_hosts
from truecaller_async.protocol.responses import read_export
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.part_file import PartFile

CAP = 1024**3
"""Bytes of a file that are taken at most: 1 GiB."""

ADVICE = "the vendor deprecated the exports, and its pages remark that they do not work; use webhooks in their place"


@attrs.frozen
class _Target:
    """Where the file goes, from which hosts it may come, and how large it may be."""

    path: Path
    overwrite: bool
    hosts: tuple[str, ...]
    cap: int


class Exports:
    """`client.exports`: the two downloads that the vendor deprecated."""

    def __init__(self, service: ApiContext) -> None:
        self._service = service

    async def user_feedback(
        self,
        survey_id: str,
        path: str | PathLike[str],
        *,
        from_date: datetime,
        hosts: Collection[str] = (),
        overwrite: bool = False,
        cap: int = CAP,
    ) -> Path:
        """Save the answers of a feedback campaign since `from_date` to `path`. From "Truecaller for Business: Export
        user feedback", deprecated.

        `from_date` is an aware datetime. The form of the file is documented nowhere. It may come from the API's own
        host, from hosts below truecaller.com, and from the `hosts` given here, such as "files.example" or
        "files.example:8443".
        It is written beside `path`, with `.part` at the end of its name, and renamed when it is whole; at most `cap`
        bytes are taken.

        Warns `TruecallerDeprecationWarning`. Raises `ValidationError` before sending, also where `path` exists and
        `overwrite` is false; `ConfigError` where the link leads to another host or the file cannot be written;
        `DecodeError` where the answer has no link or the file is larger than `cap`; the errors of `APIStatusError` and
        `TransportError`. After any of them there is no file. The fetching of the file is tried once: ask again.
        """
        self._service.warn_deprecated("exports.user_feedback", ADVICE)
        request = user_feedback_request(self._service.account, survey_id, from_date)
        return await self._save(request, _target(path, overwrite, hosts, cap))

    async def call_me_back(
        self,
        path: str | PathLike[str],
        *,
        start: datetime,
        end: datetime,
        unit: Unit = "seconds",
        hosts: Collection[str] = (),
        overwrite: bool = False,
        cap: int = CAP,
    ) -> Path:
        """Save the call-me-back log from `start` to `end` to `path`. From "Truecaller for Business: Export call me
        back", deprecated.

        `start` and `end` are aware datetimes. The documentation contradicts itself about the `unit` in which they are
        sent: its examples are seconds, its text says milliseconds. All else, warning and errors too, as
        `user_feedback`.
        """
        self._service.warn_deprecated("exports.call_me_back", ADVICE)
        request = call_me_back_request(self._service.account, start, end, unit)
        return await self._save(request, _target(path, overwrite, hosts, cap))

    async def _save(self, request: Request, target: _Target) -> Path:
        async with PartFile(target.path, overwrite=target.overwrite) as part:
            link = await self._service.call(request, self._read)
            await self._service.download(link, part.write, hosts=target.hosts, cap=target.cap)
        return target.path

    def _read(self, answer: Answer) -> Secret:
        return read_export(answer, now=self._service.clock.wall())


def _target(path: str | PathLike[str], overwrite: bool, hosts: Collection[str], cap: int) -> _Target:
    raise_problems(_judge_path(path), check_hosts(hosts), check_int("cap", cap))
    return _Target(Path(path), overwrite, tuple(hosts), cap)


def _judge_path(path: object) -> Problem | None:
    text = fspath(path) if isinstance(path, str | PathLike) else None
    if isinstance(text, str) and "\0" not in text and Path(text).name and _can_be_written(text):
        return None
    return Problem("path", "path.form", "is not the path of a file", shown_value(path), 'give one such as "export.csv"')


def _can_be_written(name: str) -> bool:
    try:
        fsencode(name)
    except UnicodeEncodeError:
        return False
    return True
