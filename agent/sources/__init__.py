"""The sources: one line each, kind -> module."""

SOURCES = {
    "github": "agent.sources.github",
    "host": "agent.sources.host",
    "internal": "agent.sources.internal",
    "scrape": "agent.sources.scrape",
}
