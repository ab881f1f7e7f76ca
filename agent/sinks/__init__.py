"""The sinks: one line each, kind -> module."""

SINKS = {
    "pushgateway": "agent.sinks.pushgateway",
    "remote_write": "agent.sinks.remote_write",
    "stdout": "agent.sinks.stdout",
    "vm_import": "agent.sinks.vm_import",
}
