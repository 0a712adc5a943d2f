"""The admin port: health, readiness, metrics and reports of a running proxy, on a port of its own (Quart)."""
