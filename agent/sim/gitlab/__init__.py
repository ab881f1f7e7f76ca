"""A simulated GitLab: a seeded world, its REST and GraphQL APIs and its webhooks, and what a perfect observer counts in it.

Nothing here knows the source that is tested against it.
"""
