"""`python -m agent` is `cipush`."""

from agent.cli.verbs import main

main(prog_name="cipush")
