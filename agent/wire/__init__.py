"""The formats: functions from values to bytes and back; no I/O, no clock, no configuration."""
