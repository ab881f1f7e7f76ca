"""What waits to be sent: a queue for history sinks, a slot for state sinks."""
