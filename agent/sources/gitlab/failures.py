"""Why a job failed, as a word: GraphQL tells only the sentence that people read, REST and webhooks the word itself.

The sentences are those of GitLab's `CommitStatusPresenter` in English, its default language, of all versions since 11;
the words those of https://docs.gitlab.com/api/jobs/, `failure_reason`. A script that failed has no sentence.
"""

from __future__ import annotations

from agent.sources.gitlab.labels import OTHER

SCRIPT = "script_failure"

_PARTS = (
    ("script failure", SCRIPT),
    ("api failure", "api_failure"),
    ("timeout failure or the job got stuck", "stuck_or_timeout_failure"),
    ("runner system failure", "runner_system_failure"),
    ("configuration error", "runner_configuration_error"),
    ("reach an external dependency", "runner_external_dependency_failure"),
    ("runner process was interrupted", "runner_interrupted"),
    ("missing dependency", "missing_dependency_failure"),
    ("runners support the requirements", "runner_unsupported"),
    ("runner is outdated", "runner_unsupported"),
    ("delayed job could not", "stale_schedule"),
    ("scheduled job could not", "stale_schedule"),
    ("script exceeded the maximum execution time", "job_execution_timeout"),
    ("with matching runners available", "stuck_pending_with_matching_runners"),
    ("with no matching runners available", "stuck_pending_no_matching_runners"),
    ("running but showed no activity", "no_updates_running"),
    ("canceling but showed no activity", "no_updates_canceling"),
    ("running job exceeded the maximum execution time", "server_timeout_running"),
    ("canceling job exceeded the maximum execution time", "server_timeout_canceling"),
    ("job is archived", "archived_failure"),
    ("prerequisite tasks", "unmet_prerequisites"),
    ("scheduler failed to assign", "scheduler_failure"),
    ("structural integrity problem", "data_integrity_failure"),
    ("unknown job problem", "data_integrity_failure"),
    ("older than the previously succeeded deployment", "forward_deployment_failure"),
    ("older than the latest deployment", "failed_outdated_deployment_job"),
    ("infinitely looping pipelines", "pipeline_loop_detected"),
    ("permissions to track the upstream project", "insufficient_upstream_permissions"),
    ("upstream bridge project could not", "upstream_bridge_project_not_found"),
    ("trigger definition is invalid", "invalid_bridge_trigger"),
    ("resolved to a blank value", "downstream_project_trigger_resolved_to_empty"),
    ("downstream bridge project could not", "downstream_bridge_project_not_found"),
    ("deploying to is protected", "protected_environment_failure"),
    ("permissions to create a downstream pipeline", "insufficient_bridge_permissions"),
    ("cannot create further child pipelines", "bridge_pipeline_is_child_pipeline"),
    ("downstream pipeline could not be created", "downstream_pipeline_creation_failed"),
    ("secrets provider can not be found", "secrets_provider_not_found"),
    ("access to gitlab secrets manager", "secrets_manager_access_denied"),
    ("maximum depth of child pipelines", "reached_max_descendant_pipelines_depth"),
    ("maximum child pipeline depth", "reached_max_descendant_pipelines_depth"),
    ("downstream pipeline tree is too large", "reached_max_pipeline_hierarchy_size"),
    ("belongs to a deleted project", "project_deleted"),
    ("user who created this job is blocked", "user_blocked"),
    ("minutes available", "ci_quota_exceeded"),
    ("no matching runner available", "no_matching_runner"),
    ("log size limit", "trace_size_exceeded"),
    ("ci/cd is disabled", "builds_disabled"),
    ("environment with an invalid parameter", "environment_creation_failure"),
    ("deployment job was rejected", "deployment_rejected"),
    ("ip address restrictions", "ip_restriction_failure"),
    ("cannot run on this runner", "duo_workflow_not_allowed"),
    ("connect to the duo agent platform", "duo_workflow_connection_failure"),
    ("too many downstream pipelines", "reached_downstream_pipeline_trigger_rate_limit"),
    ("job router failed", "job_router_failure"),
    ("job token has expired", "job_token_expired"),
    ("id token issuance is disabled", "id_token_burned_project_path"),
    ("unknown failure", "unknown_failure"),
)
"""What is in a sentence and in no other, in lower case, and its word. Two timeouts share a sentence: the older is meant."""


def reason_of(message: str) -> str:
    """The word for GitLab's sentence; "" is a script that failed, and one of a newer GitLab or in another language is `other`."""
    if not message:
        return SCRIPT
    lower = message[:1000].lower()
    return next((word for part, word in _PARTS if part in lower), OTHER)
