"""HTTP in: the listener, the exposition endpoint, health, status and reload."""
