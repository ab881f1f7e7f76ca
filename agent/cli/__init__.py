"""The command line: verbs and exit codes in `verbs`, what the larger verbs do beside it."""
