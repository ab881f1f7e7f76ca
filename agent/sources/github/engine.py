"""What GitHub's events and listings come to: observations, what has to be remembered, and the gauges of the present.

No I/O and no clock: webhooks, the delivery log and the API all end here, and the same run or job leads to the same
observation whichever way it came. What an observation's key has been seen with before, the ledger leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from agent.model import Note, Observation, Update
from agent.sources.github import payload as read
from agent.sources.github.cost import Prices
from agent.sources.github.counting import CLOCKS_SECONDS, NOWHERE, Counted, Counting
from agent.sources.github.families import Families
from agent.sources.github.join import Context, Pending, Runs
from agent.sources.github.labels import Labeller
from agent.sources.github.now import Present, State
from agent.sources.github.options import Options
from agent.sources.github.payload import Job, Repository, Run
from agent.sources.github.unsettled import Unsettled

RUN_EVENT, JOB_EVENT, PING = "workflow_run", "workflow_job", "ping"
RUN_ACTIONS = ("requested", "in_progress", "completed")
JOB_ACTIONS = ("queued", "waiting", "in_progress", "completed")
PLAUSIBLE_SECONDS = 30 * 86400.0
"""A delivery's id that tells a time further off its arrival than this tells none."""
PICKED_SECONDS = 10.0
"""A job that says it started when it was created, and was taken by a runner so much later, started then."""
LONG_SECONDS = 10.0
"""A job of an environment that was queued for longer may have waited for an approval, which is waited for to be heard of."""


class Digest(NamedTuple):
    """What one delivery, one listed run or one look at the clock brought."""

    observations: Sequence[Observation] = ()
    notes: Sequence[Note] = ()
    outcome: str = "noted"
    """counted, noted, ignored or ping."""
    updates: Sequence[Update] = ()
    mark: int = 0
    """Of `settle`: handed to the next one, once this is committed."""


class Engine:
    """One GitHub host. `options` must be valid; raises ConfigError for prices that there are not."""

    def __init__(self, host: str, options: Options, families: Families) -> None:
        self._families = families
        self._labeller = Labeller(options.labels)
        self._prices = Prices(options.cost)
        self._counting = Counting(host, families, self._labeller, self._prices, events=options.events)
        self._include, self._exclude = ([pattern.casefold() for pattern in found] for found in (options.include, options.exclude))
        self._join_seconds = options.join_seconds
        self._runs, self._present, self._unsettled = Runs(), Present(), Unsettled()
        self._now = 0.0
        """The agent's clock, as it was last told: what comes out of the delivery log was received at some time before."""
        self.ignored: Counter[str] = Counter()
        """Events that do not count, by reason."""

    @property
    def invalid(self) -> Counter[str]:
        """Durations left out because of their times, by kind."""
        return self._counting.invalid

    def wants(self, repository: str) -> bool:
        """Whether a repository, owner/name, is counted at all."""
        name = repository.casefold()  # GitHub's names are the same in either case
        if any(fnmatchcase(name, pattern) for pattern in self._exclude):
            return False
        return not self._include or any(fnmatchcase(name, pattern) for pattern in self._include)

    def restore(self, notes: Mapping[str, str], now: float = 0.0) -> None:
        """Go on where an earlier life ended; broken notes are left out.

        Jobs that wait for their run begin to wait anew at `now`: what they wait for may have come in between.
        """
        self._now = now
        self._runs.restore(notes, now)
        self._present.restore(notes)

    # -- deliveries ------------------------------------------------------------------------------------

    def webhook(self, event: str, payload: Mapping[str, Any], delivery_id: str, received: float) -> Digest:
        """One delivery, as it came in or out of the delivery log; `received`: when GitHub first sent it, at the latest.

        Raises DeliveryError, 400, for a payload that is not what its event says.
        """
        if event == PING:
            return Digest(outcome="ping")
        action = payload.get("action")
        if event not in (RUN_EVENT, JOB_EVENT) or action not in (RUN_ACTIONS if event == RUN_EVENT else JOB_ACTIONS):
            return self._ignored("event" if event not in (RUN_EVENT, JOB_EVENT) else "action")
        repository = read.repository_of(payload.get("repository"))
        if not self.wants(repository.name):
            return self._ignored("repository")
        emitted = read.emitted_at(delivery_id)
        at = emitted if emitted is not None and abs(emitted - received) < PLAUSIBLE_SECONDS else received
        heard = max(received, self._now)
        if event == RUN_EVENT:
            run = read.run_of(payload.get("workflow_run"), payload.get("workflow"))
            return self._run(str(action), run, repository, at, heard)
        job = read.job_of(payload.get("workflow_job"))
        return self._job(str(action), Pending(job, repository, heard, "deployment" in payload or _is_unclear(job)), at)

    def _run(self, action: str, run: Run, repository: Repository, at: float, heard: float) -> Digest:
        found = _Found()
        is_done = action == "completed"
        context = self._learn(found, run, repository, heard, is_done=is_done)
        status = "completed" if is_done else "in_progress" if action == "in_progress" else "queued"
        if status == "queued" and (run.status == "waiting" or run.conclusion == "action_required"):
            status = "waiting"
        found.notes += self._present.put(_key(run), State(status, at, heard, repository.name, self._workflow(context)))
        if action == "in_progress":
            found.count(self._counting.run_queue(run, repository, context, run.updated))
        if is_done:
            found.count([self._counting.run(run, repository, context, run.updated)])
        return found.digest()

    def _job(self, action: str, told: Pending, at: float) -> Digest:
        found, job = _Found(), told.job
        if action == "completed":
            if job.is_lookalike:
                return self._ignored("check_run")
            self._ended(found, told, at)
            return found.digest()
        state = State(
            action,
            at,
            told.since,
            told.repository.name,
            self._labeller.workflow(job.workflow, ""),
            self._prices.runner_type(job._replace(conclusion="")),
            job.group,
            since=job.created or at,
            waiting=at if action == "waiting" else 0.0,
            queued=at if action == "queued" else 0.0,
            picked=at if action == "in_progress" else 0.0,
        )
        found.notes += self._present.put(f"job:{job.id}", state)
        held = self._runs.pending(job.id)
        if held is not None:
            self._try(found, self._timed(held))
        return found.digest()

    def _ended(self, found: _Found, ended: Pending, at: float) -> None:
        job = ended.job
        kind = self._prices.runner_type(job)
        state = State(
            "completed", at, ended.since, ended.repository.name, self._labeller.workflow(job.workflow, ""), kind, job.group
        )
        found.notes += self._present.put(f"job:{job.id}", state)
        held = self._runs.pending(job.id)
        if held is not None and held.job.attempt < job.attempt:  # a job ends once: this only tells it again
            self._ignored("carried_over")
            return
        self._try(found, self._timed(ended))

    def _timed(self, ended: Pending) -> Pending:
        """A job that ended, with what was heard of it until now."""
        job, state = ended.job, self._present.get(f"job:{ended.job.id}")
        queued = waited = picked = None
        if state is not None:
            if state.waiting and state.queued > state.waiting:
                queued, waited = state.queued, state.queued - state.waiting
            elif state.queued and _is_unclear(job) and state.picked - (job.created or 0.0) > PICKED_SECONDS:
                picked = state.picked
        return ended._replace(queued=queued, waited=waited, picked=picked)

    def _try(self, found: _Found, ended: Pending, *, must: bool = False) -> None:
        """Count a job that ended, or hold it until more is known, where it need not be now."""
        job = ended.job
        context = self._runs.context(job.run_id)
        is_known = context is not None and context.knows(job.attempt)
        if not must and not (is_known and (self._is_carried(job, context) or self._is_told(ended))):
            if job.id not in self._unsettled:
                found.notes += self._runs.hold(ended)
            return
        was_held = self._runs.pending(job.id) is not None
        found.notes += self._runs.counted(job.id)
        if self._is_carried(job, context):
            self._ignored("carried_over")
            return
        counted = self._counting.job(ended, context)
        found.count([counted])
        if was_held:  # the delivery that said so is answered long ago, and nobody will repeat it
            self._unsettled.add(job.id, counted)

    def _is_told(self, ended: Pending) -> bool:
        """Whether no other delivery has to be waited for, to know its times."""
        job, state = ended.job, self._present.get(f"job:{ended.job.id}")
        if not ended.may_change or not job.ran or ended.waited is not None or ended.picked is not None:
            return True
        if _is_unclear(job):
            return state is not None and bool(state.queued and state.picked)
        if state is not None and state.waiting:
            return False
        return job.created is None or job.started is None or job.started - job.created <= LONG_SECONDS

    def _is_carried(self, job: Job, context: Context | None) -> bool:
        """Whether it is a job of an earlier attempt, told again by this one."""
        start = None if context is None else context.starts.get(job.attempt)
        if start is not None and job.completed is not None and job.completed < start - CLOCKS_SECONDS:
            return True
        return job.ran and None not in (job.completed, job.created) and (job.completed or 0) < (job.created or 0) - CLOCKS_SECONDS

    # -- the API ---------------------------------------------------------------------------------------

    def listed(
        self,
        repository: Mapping[str, Any],
        run: Mapping[str, Any],
        workflow_name: str,
        jobs: Sequence[Mapping[str, Any]],
        now: float,
    ) -> Digest:
        """A run and the jobs of its attempt as the API lists them. Raises DeliveryError for what cannot be read."""
        where = read.repository_of(repository)
        if not self.wants(where.name):
            return self._ignored("repository")
        about, found = read.run_of(run, workflow_name or None), _Found()
        is_done = about.status == "completed"
        context = self._learn(found, about, where, now, is_done=is_done)
        read_jobs = [job for job in map(read.job_of, jobs) if not job.is_lookalike or not job.conclusion]
        own = [job for job in read_jobs if not self._is_carried(job, context)]
        for _ in range(len(read_jobs) - len(own)):
            self._ignored("carried_over")
        started = [
            job.started for job in own if job.ran and job.started is not None and job.status in ("in_progress", "completed")
        ]
        if started:
            found.count(self._counting.run_queue(about, where, context, min(started)))
        for job in own:
            if job.status == "completed":
                self._ended(found, Pending(job, where, now, False), now)
            elif job.status in JOB_ACTIONS:
                found.notes += self._present.put(f"job:{job.id}", self._state(job, where, now))
        status = "completed" if is_done else about.status if about.status in ("in_progress", "waiting") else "queued"
        found.notes += self._present.put(_key(about), State(status, now, now, where.name, self._workflow(context)))
        if is_done:
            ends = [job.completed for job in own if job.completed is not None]
            found.count([self._counting.run(about, where, context, max(ends, default=about.updated))])
        return found.digest()

    def _state(self, job: Job, where: Repository, now: float) -> State:
        kind = self._prices.runner_type(job._replace(conclusion=""))
        return State(
            job.status, now, now, where.name, self._labeller.workflow(job.workflow, ""), kind, job.group, job.created or now
        )

    # -- time ------------------------------------------------------------------------------------------

    def settle(self, now: float, mark: int = 0) -> Digest:
        """Count jobs whose run never became known, and forget what is over; about once a minute.

        `mark`: that of the last such digest that was committed. What was counted apart from its own delivery is told
        again until then.
        """
        found, self._now = _Found(), now
        self._unsettled.drop(mark)
        for pending in self._runs.overdue(now - self._join_seconds):
            self._try(found, self._timed(pending), must=True)
        found.notes += self._present.expire(now)
        found.notes += self._runs.expire(now)
        found.notes += self._unsettled.notes()
        return _Found(found.notes, self._unsettled.told()).digest()._replace(mark=self._unsettled.turn())

    def gauges(self, now: float) -> list[Update]:
        """What has not ended, and the engine's own counters; all of scope `now`."""
        families, scope = self._families, "now"
        updates = []
        for (repository, workflow, _, _, status), count in self._present.counts("run", now).items():
            updates.append(Update(families.workflow_runs, (repository, workflow, status), count, now, scope))
        for labels, count in self._present.counts("job", now).items():
            updates.append(Update(families.jobs, labels, count, now, scope))
        for place, since in self._present.oldest_queued(now).items():
            updates.append(Update(families.jobs_oldest_queued_timestamp_seconds, place, since, now, scope))
        for reason, count in self.ignored.items():
            updates.append(Update(families.events_ignored_total, (reason,), count, now, scope))
        for kind, count in self.invalid.items():
            updates.append(Update(families.invalid_timestamps_total, (kind,), count, now, scope))
        return updates

    # -- small things ----------------------------------------------------------------------------------

    def _learn(self, found: _Found, run: Run, repository: Repository, at: float, *, is_done: bool) -> Context:
        ref = self._labeller.ref(run.event, run.branch, repository.default_branch)
        starts = {run.attempt: run.started} if run.started is not None else {}
        found.notes += self._runs.learn(run.id, Context(run.workflow, run.path, run.event, ref, starts, at, is_done))
        for pending in self._runs.freed(run.id):
            self._try(found, self._timed(pending))
        return self._runs.context(run.id) or NOWHERE

    def _workflow(self, context: Context) -> str:
        return self._labeller.workflow(context.workflow, context.path)

    def _ignored(self, reason: str) -> Digest:
        self.ignored[reason] += 1
        return Digest(outcome="ignored")


class _Found:
    """What one call brings, while it is gathered."""

    def __init__(self, notes: Iterable[Note] = (), counted: Iterable[Counted] = ()) -> None:
        self.notes = list(notes)
        self._counted = list(counted)

    def count(self, counted: Iterable[Counted]) -> None:
        """Observations."""
        self._counted += counted

    def digest(self) -> Digest:
        """All of it; of notes for one key the last."""
        notes = {note.key: note for note in self.notes}
        updates = [update for counted in self._counted for update in counted.updates]
        observations = [counted.observation for counted in self._counted]
        return Digest(observations, tuple(notes.values()), "counted" if observations else "noted", updates)


def _is_unclear(job: Job) -> bool:
    """Whether a job's start may only be the time of its creation, said again: its steps began later.

    Seen on hosted runners in 2026 (strands-labs/robots, issue 2509).
    """
    if job.created is None or job.started != job.created:
        return False
    return (job.first_step or 0.0) - job.created > PICKED_SECONDS


def _key(run: Run) -> str:
    return f"run:{run.id}:{run.attempt}"
