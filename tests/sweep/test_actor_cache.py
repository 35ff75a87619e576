"""Idle actors stay for the trial that comes next, and give way to one that waits for resources."""

from __future__ import annotations

from raybench.sweep.actor_cache import IDLE_S, IdleActors


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _turn(cache: IdleActors[str]) -> list[str]:
    """The end of one turn of Tune's loop: who has to go."""
    return list(cache.flush_cached_objects())


def test_freed_actor_is_kept_while_another_shape_starts() -> None:
    """The case in which Tune's own cache lets every actor go."""
    cache = IdleActors[str]()
    cache.increase_max("half")
    assert cache.cache_object("whole", "a")
    assert _turn(cache) == []
    cache.increase_max("whole")
    assert cache.pop_cached_object("whole") == "a"
    cache.decrease_max("whole")
    assert _turn(cache) == []


def test_idle_actor_gives_way_to_a_waiting_trial() -> None:
    cache = IdleActors[str]()
    cache.cache_object("whole", "a")
    assert [_turn(cache), _turn(cache)] == [[], []]
    cache.increase_max("half")
    assert _turn(cache) == ["a"]
    assert cache.num_cached_objects == 0


def test_trial_on_a_reused_actor_waits_for_nothing() -> None:
    """While one actor is reset for its next trial, the idle ones of other shapes stay."""
    cache = IdleActors[str]()
    cache.cache_object("whole", "a")
    cache.cache_object("half", "b")
    _turn(cache)
    cache.increase_max("half")
    assert cache.pop_cached_object("half") == "b"
    assert [_turn(cache), _turn(cache)] == [[], []]
    cache.increase_max("half")
    assert _turn(cache) == ["a"]


def test_unwanted_actor_is_let_go_in_the_end() -> None:
    clock = Clock()
    cache = IdleActors[str](clock)
    cache.cache_object("whole", "a")
    clock.now_s = IDLE_S
    assert _turn(cache) == []
    clock.now_s = IDLE_S + 1
    assert _turn(cache) == ["a"]


def test_everything_goes_when_the_search_is_over() -> None:
    cache = IdleActors[str]()
    cache.cache_object("whole", "a")
    cache.cache_object("half", "b")
    assert sorted(cache.flush_cached_objects(force_all=True)) == ["a", "b"]
    assert not cache.has_cached_object("whole")
    assert cache.pop_cached_object("whole") is None
    assert cache.total_max_objects == 0


def test_has_what_tune_calls() -> None:
    """Ray's own cache is replaced by this one, so a new method there must be noticed."""
    from ray.tune.utils.object_cache import _ObjectCache

    theirs = {name for name in vars(_ObjectCache) if not name.startswith("_")}
    assert theirs <= set(dir(IdleActors))
