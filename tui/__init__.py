"""The on-call terminal: reads the ReadModel, writes only actions."""
