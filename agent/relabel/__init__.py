"""Rules that decide which series go where and under which labels: their language, and what they do to one series."""
