"""What a run tells its listener: every job in order, from start to end."""

from __future__ import annotations

from pathlib import Path

from experiment_recipes import tiny
from unshift.cli.console import Bars, duration
from unshift.experiment.events import Event, Job, silence
from unshift.experiment.run import jobs, prepare, run


def test_events_are_those_of_the_plan(tmp_path: Path) -> None:
    events: list[Event] = []
    current, plan = prepare(tiny(), root=None, runs=tmp_path)
    planned = {job.name: job.total for job in jobs(current, plan)}
    run(tiny(), runs=tmp_path, listener=events.append)
    last = {event.job: event.done for event in events}
    assert {name: last[name] for name in planned} == planned
    silence(events[0])


def test_time_left_by_hand() -> None:
    bars = Bars([Job("train a", "train", 100, "k"), Job("test a", "test", 10, "t")])
    assert bars.seconds_left() is None
    bars.spent, bars.done = {"train a": 2.0, "test a": 0.5}, {"train a": 40, "test a": 0}
    assert bars.seconds_left() == 60 * 2.0 + 10 * 0.5
    assert abs(bars.share() - 80 / 205) < 1e-9
    bars.done = {"train a": 100, "test a": 10}
    assert bars.seconds_left() == 0
    assert bars.share() == 1.0


def test_durations_as_a_person_says_them() -> None:
    assert [duration(s) for s in (7.9, 200, 3900)] == ["7 s", "3 min 20 s", "1 h 05 min"]
