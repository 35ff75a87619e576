"""What a job says, line by line, while it runs and to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from raybench.cluster.jobs import read_job
from raybench.cluster.lines import is_rays, parse_line
from raybench.errors import ResourceError

SILENCE_S = 60.0
"""After so long without a word, ask whether the cluster can still be reached."""

PLAIN_EVERY_S = 30.0
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 15.0)
"""Before a connection is made again; one that breaks after them all is given up."""

HELD_S = 10.0
"""A connection that lasted so long was one, even if the job had nothing to say meanwhile."""


def follow(client: Any, job_id: str, silence_s: float = SILENCE_S) -> Iterator[str]:
    """Lines of the job's output from its beginning, as they come; ends when the job is over.

    A connection that breaks is made again, where the cluster can be reached.

    Raises:
        ResourceError: it cannot, or one connection after the other breaks at once.
    """
    log, failures = _Log(), 0
    with asyncio.Runner() as runner:
        while True:
            began, seen, stream = time.monotonic(), log.seen, client.tail_job_logs(job_id)
            log.rewind()
            try:
                while (chunk := runner.run(_next(stream, silence_s))) is not None:
                    yield from log.lines_of(chunk)
                break
            except _broken() as error:
                runner.run(stream.aclose())
                if read_job(client, job_id).is_over:
                    log.rewind()
                    yield from log.lines_of(client.get_job_logs(job_id))
                    break
                held = log.seen > seen or time.monotonic() - began >= HELD_S
                failures = 0 if held else failures
                _pause(job_id, failures, error)
                failures += 1
    if log.pending:
        yield log.pending


class _Log:
    """Cuts what Ray sends into lines; it begins at the beginning whenever it is asked anew."""

    def __init__(self) -> None:
        self.seen = 0
        self.pending = ""
        self._skip = 0

    def rewind(self) -> None:
        self._skip = self.seen

    def lines_of(self, chunk: str) -> list[str]:
        """Those that are complete now, and were not seen before."""
        new, self._skip = chunk[self._skip :], max(0, self._skip - len(chunk))
        self.seen += len(new)
        *lines, self.pending = (self.pending + new).split("\n")
        return lines


def _pause(job_id: str, failures: int, error: Exception) -> None:
    if failures == len(PAUSES_S):
        raise ResourceError(
            f"{job_id} goes on, but what it says cannot be followed: the connection broke "
            f"{failures + 1} times running ({str(error) or type(error).__name__}), though the "
            f"cluster answers; a proxy on the way may not let WebSockets through. 'raybench logs "
            f"{job_id}' without -f needs none"
        ) from error
    time.sleep(PAUSES_S[failures])


async def _next(stream: AsyncIterator[str], silence_s: float) -> str | None:
    """The next piece of output; None at the end."""
    return await asyncio.wait_for(anext(stream, None), silence_s)


def _broken() -> tuple[type[Exception], ...]:
    import aiohttp

    return (aiohttp.ClientError, RuntimeError, TimeoutError, OSError)


@dataclass
class Listener:
    """Sorts a job's lines: for people, the live table, the result, and how it ended.

    Args:
        message: gets what is said on the way. result: gets the leaderboard.
        progress: gets ``caption`` and ``rows`` of the live table.
    """

    message: Callable[[str], None]
    result: Callable[[str], None]
    progress: Callable[[dict[str, Any]], None]
    begun: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    _in_result: bool = False

    def hear(self, line: str) -> None:
        found = parse_line(line)
        if found is None:
            self._say(line)
            return
        kind, content = found
        if kind == "begun":
            self.begun = content
        elif kind == "progress":
            self.progress(content)
        elif kind == "result":
            self._in_result = True
        elif kind == "ended":
            self._in_result, self.exit_code = False, content

    def _say(self, line: str) -> None:
        if self._in_result:
            self.result(line)
        elif self.begun:  # before it, Ray tells how it starts
            self.message(line)


def readable(lines: Iterator[str]) -> Iterator[str]:
    """A job's output for people: the live table as a line every half minute, no machine lines."""
    shown_at = -PLAIN_EVERY_S
    for line in lines:
        found = parse_line(line)
        if found is None:
            if not is_rays(line):
                yield line
        elif found[0] == "progress" and found[1]["at_s"] >= shown_at + PLAIN_EVERY_S:
            shown_at = found[1]["at_s"]
            yield found[1]["caption"]
