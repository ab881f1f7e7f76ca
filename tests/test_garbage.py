"""Garbage collections: what has survived a long one is left alone, for some hours."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from agent.garbage import LONG_SECONDS, THAW_SECONDS, Garbage


class Watch:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def watched() -> Iterator[tuple[Watch, Garbage]]:
    watch = Watch()
    garbage = Garbage(watch)
    gc.disable()
    garbage.install()
    try:
        yield watch, garbage
    finally:
        garbage.remove()
        gc.enable()


def collection(watch: Watch, garbage: Garbage, seconds: float, generation: int = 2) -> None:
    """One collection of that length, as the interpreter tells of it."""
    for callback in (garbage._collected,):
        callback("start", {"generation": generation})
        watch.now += seconds
        callback("stop", {"generation": generation})


def test_what_there_is_at_the_start_is_left_alone() -> None:
    with watched():
        assert gc.get_freeze_count() > 1000


def test_the_survivors_of_a_long_collection_are_left_alone() -> None:
    with watched() as (watch, garbage):
        gc.unfreeze()

        collection(watch, garbage, LONG_SECONDS * 2)

        assert gc.get_freeze_count() > 1000


def test_a_short_collection_leaves_everything_as_it_is() -> None:
    with watched() as (watch, garbage):
        gc.unfreeze()

        collection(watch, garbage, LONG_SECONDS / 2)

        assert gc.get_freeze_count() == 0


def test_a_young_collection_leaves_everything_as_it_is() -> None:
    with watched() as (watch, garbage):
        gc.unfreeze()

        collection(watch, garbage, LONG_SECONDS * 2, generation=1)

        assert gc.get_freeze_count() == 0


def test_everything_is_looked_at_again_after_some_hours() -> None:
    with watched() as (watch, garbage):
        watch.now = THAW_SECONDS + 1

        collection(watch, garbage, LONG_SECONDS / 2)

        assert gc.get_freeze_count() == 0


def test_it_listens_to_the_interpreter_and_leaves_no_trace() -> None:
    before = list(gc.callbacks)

    with watched():
        listening = len(gc.callbacks)

    assert (listening, gc.callbacks, gc.get_freeze_count()) == (len(before) + 1, before, 0)
