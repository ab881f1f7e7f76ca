"""The sources: one line each, kind -> module."""

SOURCES = {
    "github": "agent.sources.github",
    "gitlab": "agent.sources.gitlab",
    "host": "agent.sources.host",
    "internal": "agent.sources.internal",
    "scrape": "agent.sources.scrape",
}
