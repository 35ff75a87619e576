"""A plan's wall time beside what the searcher itself does, with pretended trials on a clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest

from raybench.sweep.assignment import FINISHED, Assignment, Capacity
from raybench.sweep.packing import Shape
from raybench.sweep.progress import most_at_once
from raybench.sweep.searcher import SweepSearcher
from raybench.wall_time import PARTS, Work, wall_seconds
from tests.specs import pairs_spec
from tests.sweep.simulation import Home, complete_record, epoch_record

TRIALS, FINALS, EPOCHS = 6, 2, 2


@dataclass
class Clock:
    """Runs what the searcher hands out; a pair's trials all take the same time."""

    searcher: SweepSearcher
    seconds: list[float]
    now: float = 0.0
    started: int = 0
    running: list[tuple[float, int, Assignment]] = field(default_factory=list)

    def run(self) -> float:
        while True:
            answer = self.searcher.ask()
            if answer == FINISHED:
                return self.now
            if isinstance(answer, Assignment):
                ends = self.now + self.seconds[answer.pair.position]
                heapq.heappush(self.running, (ends, self.started, answer))
                self.started += 1
                continue
            self.now, _, ended = heapq.heappop(self.running)
            self.end(ended)

    def end(self, trial: Assignment) -> None:
        seconds = self.seconds[trial.pair.position] / EPOCHS
        value = 0.5 + trial.key[2] / 100
        for epoch in range(1, EPOCHS + 1):
            assert self.searcher.receive(trial.key, [epoch_record(epoch, value, seconds)])
        final = trial.key[1] == "final"
        self.searcher.receive(trial.key, [complete_record(1, value, final)])


@pytest.mark.parametrize(
    ("seconds", "shares", "devices"),
    [
        ([10.0], [1.0], 3),
        ([10.0, 1.0], [1.0, 1.0], 2),
        ([30.0, 10.0, 3.0, 3.0], [1.0] * 4, 3),
        ([60.0, 10.0, 10.0, 9.0, 8.0], [1.0] * 5, 4),
        ([20.0, 10.0, 5.0], [1.0, 0.5, 0.25], 2),
        ([20.0, 10.0, 5.0, 2.0], [0.5, 0.5, 0.125, 0.125], 1),
    ],
)
def test_the_plan_foresees_what_the_searcher_does(tmp_path, seconds, shares, devices):
    final = {"seeds": list(range(FINALS)), "configs": ["tuned"]}
    spec = pairs_spec(len(seconds), TRIALS, final=final, device="auto", resources={"gpus": 1})
    home = Home(
        tmp_path, spec, lambda pair: Shape(0.0, shares[pair.position]), Capacity(64, devices)
    )
    with home.attempt() as searcher:
        real_s = Clock(searcher, seconds).run()
    work = [
        Work(TRIALS, each_s, FINALS, each_s, most_at_once("random", TRIALS), 1, int(share * PARTS))
        for each_s, share in zip(seconds, shares, strict=True)
    ]
    trials = TRIALS + FINALS
    assert sum(len(pair.trials) for pair in home.snapshot().pairs) == trials * len(seconds)
    assert wall_seconds(work, devices) == pytest.approx(real_s, rel=0.15), real_s
