"""`python -m agent` is `cipush`."""

from agent.cli import main

main(prog_name="cipush")
