"""The counters of hops, their balance, and where a loss lies."""
