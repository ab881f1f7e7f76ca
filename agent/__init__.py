"""cipush: a push-mode metrics agent for CI."""

__version__ = "0.1.0"
