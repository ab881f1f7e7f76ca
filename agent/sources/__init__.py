"""The sources: one line each, kind -> module."""

SOURCES = {
    "host": "agent.sources.host",
    "internal": "agent.sources.internal",
    "scrape": "agent.sources.scrape",
}
