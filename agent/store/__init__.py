"""The in-memory TTL store: tables of series, and the pages that are sent."""
