"""GitHub Actions: runs and jobs, from webhooks, from their delivery log and from the API."""
