"""What a job says, line by line, while it runs and to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from raybench.cluster.jobs import read_job
from raybench.cluster.lines import is_rays, parse_line

SILENCE_S = 60.0
"""After so long without a word, ask whether the cluster can still be reached."""

PLAIN_EVERY_S = 30.0


def follow(client: Any, job_id: str, silence_s: float = SILENCE_S) -> Iterator[str]:
    """Lines of the job's output from its beginning, as they come; ends when the job is over.

    A connection that breaks is made again, where the cluster can be reached.

    Raises:
        ResourceError: it cannot.
    """
    seen = 0
    pending = ""
    with asyncio.Runner() as runner:
        while True:
            stream, skip = client.tail_job_logs(job_id), seen
            try:
                while (chunk := runner.run(_next(stream, silence_s))) is not None:
                    new, skip = chunk[skip:], max(0, skip - len(chunk))
                    seen += len(new)
                    *lines, pending = (pending + new).split("\n")
                    yield from lines
            except _broken():
                runner.run(stream.aclose())
                read_job(client, job_id)
                continue
            if pending:
                yield pending
            return


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
