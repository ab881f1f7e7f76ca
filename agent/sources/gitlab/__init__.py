"""The GitLab source."""
