"""The front door: config, wiring, command line, demo."""
