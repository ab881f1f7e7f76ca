"""HTTP out: clients, and what an answer means."""
