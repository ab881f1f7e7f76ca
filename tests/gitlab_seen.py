"""Things of a simulated GitLab as whoever reads them should know them at a moment."""

from __future__ import annotations

from agent.sim.gitlab import objects as plan
from agent.sim.gitlab.places import Token
from agent.sources.gitlab.objects import Pipeline, Upstream


def pipeline_seen(pipeline: plan.Pipeline, now: float, token: Token) -> Pipeline | None:
    """A pipeline as it is then for `token`; None while there is none."""
    view, request, up = pipeline.at(now), pipeline.merge_request, pipeline.upstream
    if view is None:
        return None
    upstream = None
    if up is not None and token.sees(up.pipeline.project):
        parent = up.pipeline
        upstream = Upstream(parent.project.path_at(now), parent.ref, up.bridge.spec.name, parent.kind, parent.id)
    return Pipeline(
        pipeline.id,
        "success_with_warnings" if view.warnings and view.status == "success" else view.status,
        pipeline.ref,
        pipeline.kind,
        pipeline.source,
        pipeline.created,
        view.updated_at,
        view.started_at,
        view.finished_at,
        view.duration,
        view.queued_duration,
        view.coverage,
        request.iid if request else 0,
        request.state(now) if request else "",
        upstream,
    )
