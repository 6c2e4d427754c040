"""The built-in gateway and store with switchable faults."""
