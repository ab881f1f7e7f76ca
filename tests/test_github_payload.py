"""Reading GitHub's objects: what is missing, empty or of another age is taken, what is something else is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeliveryError
from agent.sources.github.payload import emitted_at, job_of, repository_of, run_of, seconds
from tests.github_payloads import NO_RUNNER, START, Json, Life, Told, guid, job, repository, run, stamp

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-10T10:00:00Z", START),
        ("2026-03-10T10:00:00.000Z", START),
        ("2026-03-10T12:00:00+02:00", START),
        ("2026-03-10T05:00:00.250-05:00", START + 0.25),
        ("2026-03-10T10:00:00.123456789Z", START + 0.123456),
    ],
)
def test_times_with_fractions_and_offsets_are_read(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        "",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "2026-03-10T10:00:00",
        "yesterday",
        17,
        1.5e9,
        [],
        "9" * 30,
        "é" * 20,
    ],
)
def test_what_is_no_time_is_none(nothing: object) -> None:
    assert seconds(nothing) is None


@given(st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2100, 1, 1)))
def test_any_time_comes_back(at: datetime) -> None:
    assert seconds(at.isoformat() + "Z") == pytest.approx(at.replace(tzinfo=UTC).timestamp(), abs=1e-5)


@given(st.text(max_size=45))
def test_no_text_is_a_trouble_as_a_time(text: str) -> None:
    found = seconds(text)

    assert found is None or found > 0


def test_a_delivery_id_tells_when_it_was_emitted() -> None:
    assert emitted_at(guid(12.34375)) == pytest.approx(START + 12.34375, abs=1e-5)


@pytest.mark.parametrize(
    "text", ["", "72d3162e", "2f1c9b52-7a0e-4c6d-9b1e-0d5a4f3c2b1a", str(UUID(int=0)), "not-a-uuid-at-all", "{}"]
)
def test_another_id_tells_nothing(text: str) -> None:
    assert emitted_at(text) is None


@given(st.text(max_size=60))
def test_no_text_is_a_trouble_as_an_id(text: str) -> None:
    assert emitted_at(text) is None or isinstance(emitted_at(text), float)


def test_a_job_of_an_old_server_is_read() -> None:
    found = job()
    for key in ("run_attempt", "created_at", "workflow_name", "head_branch", "runner_group_name", "steps"):
        del found[key]

    read = job_of(found)

    assert (read.attempt, read.created, read.workflow, read.branch, read.group, read.steps) == (1, None, "", "", "", 0)


def test_a_job_is_read_with_nulls_everywhere_but_its_id() -> None:
    read = job_of(dict.fromkeys(job()) | {"id": 7})

    assert (read.id, read.attempt, read.had_runner, read.labels) == (7, 1, False, ())


@pytest.mark.parametrize(
    ("number", "name", "had"), [(None, None, False), (0, "", False), (0, "mac-1", True), (4, "", True), (4, None, True)]
)
def test_a_runner_is_told_by_its_number_or_its_name(number: int | None, name: str | None, had: bool) -> None:
    assert job_of(job(runner_id=number, runner_name=name)).had_runner is had


def test_a_run_is_read_with_nulls_everywhere_but_its_id() -> None:
    read = run_of(dict.fromkeys(run()) | {"id": 7})

    assert (read.id, read.attempt, read.workflow, read.event, read.started) == (7, 1, "", "", None)


def test_a_run_without_a_start_of_its_attempt_began_when_it_was_created() -> None:
    found = run(created_at=5)
    del found["run_started_at"]

    assert run_of(found).started == START + 5


def test_the_version_of_a_workflows_file_is_left_out() -> None:
    assert run_of(run(path=".github/workflows/build.yml@refs/heads/main")).path == ".github/workflows/build.yml"


@pytest.mark.parametrize(
    ("own", "workflow", "expected"),
    [
        ("Fix the fins", {"name": "Build", "path": "x.yml"}, "Build"),
        ("Fix the fins", "Build", "Build"),
        ("Build", None, "Build"),
        (None, None, "build.yml"),
        ("", {"name": None}, "build.yml"),
    ],
)
def test_the_name_of_a_workflow_is_its_own_rather_than_the_runs(own: str | None, workflow: object, expected: str) -> None:
    assert run_of(run(name=own), workflow).workflow == expected


def test_long_names_are_cut() -> None:
    assert len(job_of(job(name="x" * 10_000)).name) == 250


def test_halves_of_characters_are_no_text() -> None:
    assert job_of(job(name="te\ud83dst")).name == "te?st"


def test_labels_are_bounded_and_only_text() -> None:
    read = job_of(job(labels=[*(f"l{number}" for number in range(500)), None, 7]))

    assert len(read.labels) == 100


@pytest.mark.parametrize(
    "changed",
    [
        {"id": None},
        {"id": "7"},
        {"id": True},
        {"id": -1},
        {"id": 1 << 80},
        {"run_id": 1.5},
        {"run_attempt": "one"},
        {"name": ["test"]},
        {"status": 5},
        {"labels": "ubuntu-latest"},
        {"steps": {}},
    ],
)
def test_a_job_of_the_wrong_types_is_refused_and_the_error_says_what(changed: Json) -> None:
    (key,) = changed

    with pytest.raises(DeliveryError, match=key) as caught:
        job_of(job() | changed)

    assert caught.value.status == 400


@pytest.mark.parametrize("changed", [{"full_name": None}, {"full_name": "rocket"}, {"full_name": 3}, {"id": "x"}])
def test_a_repository_needs_a_name_with_its_owner(changed: Json) -> None:
    with pytest.raises(DeliveryError):
        repository_of(repository(**changed))


@given(
    st.sampled_from(["workflow_run", "workflow_job"]),
    st.sampled_from(["queued", "completed", "in_progress", "requested"]),
    st.data(),
)
def test_a_delivery_with_anything_anywhere_is_read_or_refused(event: str, action: str, data: st.DataObject) -> None:
    found: dict[str, Any] = run() if event == "workflow_run" else job()
    for key in data.draw(st.sets(st.sampled_from(sorted(found)), max_size=4)):
        found[key] = data.draw(ANYTHING)
    payload = {"action": action, event: found, "repository": repository(), "workflow": data.draw(ANYTHING)}
    told = Told(event, payload, data.draw(st.text(max_size=40)), START)

    assert status(told) in (202, 400)


def status(told: Told) -> int:
    """Of the answer to a delivery; what is taken can be settled, too."""
    life = Life(events=True)
    try:
        life.hear(told)
    except DeliveryError as error:
        return error.status
    life.settle(10_000)
    return 202


@pytest.mark.parametrize("key", ["workflow_job", "repository"])
@pytest.mark.parametrize("other", [None, [], "x", 7])
def test_a_delivery_without_what_its_event_says_is_refused(key: str, other: object) -> None:
    payload = {"action": "completed", "workflow_job": job(), "repository": repository()} | {key: other}

    with pytest.raises(DeliveryError, match=key):
        Life().hear(Told("workflow_job", payload, guid(0), START))


def test_what_no_runner_took_is_told_from_what_one_took() -> None:
    assert not job_of(job(**NO_RUNNER)).ran
    assert not job_of(job(conclusion="skipped")).ran
    assert job_of(job(conclusion="cancelled")).ran


def test_the_first_step_is_the_earliest_that_says_when() -> None:
    steps = [{"started_at": None}, {"started_at": stamp(30)}, {"started_at": stamp(12)}, "no step", {}]

    assert job_of(job() | {"steps": steps}).first_step == START + 12
