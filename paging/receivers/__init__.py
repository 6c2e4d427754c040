"""Where pages go: one file a kind."""
