"""The HTTP API, on loopback unless told otherwise."""
