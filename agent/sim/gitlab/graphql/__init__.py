"""The simulated GitLab's GraphQL: parsed, validated, priced and answered without any library for it."""

from agent.sim.gitlab.graphql.api import Answer, answer

__all__ = ["Answer", "answer"]
