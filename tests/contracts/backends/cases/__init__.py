"""One file a kind of backend: the servers that prove it."""
