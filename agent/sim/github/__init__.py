"""A simulated GitHub: an organisation and its weeks of Actions, its API, its webhooks, and what a perfect observer counts."""
