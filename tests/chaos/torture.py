"""One sweep under strikes: kill, start again at once, look at what was committed, to the end."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from tests.chaos.drivers import Driver, Stage
from tests.chaos.failpoints import arm, disarm, fired
from tests.chaos.forms import Form
from tests.chaos.ledgers import attempt_of, read_trials
from tests.chaos.processes import is_alive
from tests.chaos.strikes import Strike


@dataclass
class Tally:
    """What was done to sweeps, and what was seen to go wrong on the way.

    ``beside_old_trials`` counts resumes while trial processes of the dead driver still lived.
    """

    kills: Counter[str] = field(default_factory=Counter)
    resumes: int = 0
    beside_old_trials: int = 0
    violations: list[str] = field(default_factory=list)


class Witness:
    """What a ledger has once committed must stay: parameters, epochs, results, attempts."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._seen: dict[str, str] = {}
        self._attempt = 0

    def look(self) -> list[str]:
        """What has changed since the last look that must not."""
        now = committed(self._stage)
        changed = [
            f"committed: {name} was {text[:60]}, is {now.get(name, 'gone')[:60]}"
            for name, text in self._seen.items()
            if now.get(name) != text
        ]
        attempt = attempt_of(self._stage.home, self._stage.sweep)
        if attempt < self._attempt:
            changed.append(f"attempts: the lease went back from {self._attempt} to {attempt}")
        self._seen, self._attempt = now, attempt
        return changed


def committed(stage: Stage) -> dict[str, str]:
    """Every trial's parameters, epochs and, where it is over and has not failed, its end."""
    found = {}
    for trial in read_trials(stage.home, stage.sweep):
        found[f"{trial.key} params"] = json.dumps(trial.params, sort_keys=True)
        over = trial.state in ("COMPLETE", "PRUNED")
        for name, value in trial.attributes.items():
            if name.startswith("epoch:") or (name == "end" and over):
                found[f"{trial.key} {name}"] = json.dumps(value, sort_keys=True)
    return found


def torture(stage: Stage, form: Form, strikes: deque[Strike], rng: random.Random) -> Tally:
    """Bring ``stage`` to its end under ``strikes``, which it takes from the left while it lasts."""
    tally, witness = Tally(), Witness(stage)
    driver = stage.start()
    while strikes:
        if not _strike(driver, stage, form, strikes[0], rng):
            break  # the sweep was done before
        tally.kills[strikes.popleft().target] += 1
        tally.violations += witness.look()
        if driver.code is None:
            continue  # it goes on without whoever died
        if driver.code != -signal.SIGKILL:
            break
        tally.beside_old_trials += bool(form.trial_processes(driver))
        driver = stage.start()
        tally.resumes += 1
    code = driver.wait()
    tally.violations += witness.look()
    if code != 0:
        tally.violations.append(f"end: the last run ended with {code}:\n{driver.output()}")
    return tally


def _strike(driver: Driver, stage: Stage, form: Form, strike: Strike, rng: random.Random) -> bool:
    """Kill somebody; False where the driver ended before."""
    if strike.is_failpoint:
        return _strike_inside(driver, stage, strike)
    if not driver.until_epochs(strike.epochs):
        return False
    time.sleep(strike.delay_s)
    if strike.target == "trial":
        return _kill_trial(driver, form, rng)
    if driver.code is not None:
        return False
    if strike.target == "node":
        form.lose_node()
    else:
        driver.kill()
    return True


def _strike_inside(driver: Driver, stage: Stage, strike: Strike) -> bool:
    """Arm a failpoint and wait for somebody to die of it."""
    before = fired(stage.armed)
    arm(stage.armed, strike.target, strike.hit)
    if not driver.until(lambda: fired(stage.armed) > before) and disarm(stage.armed):
        return False
    newest = max(stage.armed.glob("fired-*"), key=lambda path: path.stat().st_ctime_ns)
    pid = int(newest.name.removeprefix("fired-"))
    if pid == driver.pid:
        driver.wait()  # a process of many threads is a zombie for a while before it can be reaped
    driver.until(lambda: not is_alive(pid))
    return True


def _kill_trial(driver: Driver, form: Form, rng: random.Random) -> bool:
    victims: list[int] = []

    def found() -> bool:
        victims[:] = form.trial_processes(driver)
        return bool(victims)

    if not driver.until(found):
        return False
    victim = rng.choice(victims)
    os.kill(victim, signal.SIGKILL)
    driver.until(lambda: not is_alive(victim))
    return True
