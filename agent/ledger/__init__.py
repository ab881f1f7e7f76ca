"""The ledger: what has been counted, and how far, in a way that no crash can tear apart."""
