"""The simulated GitLab's GraphQL: parsed, validated, priced and answered without any library for it."""
