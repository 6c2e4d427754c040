"""How canaries are sent: one file a kind."""
