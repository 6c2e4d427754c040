"""One file a board; each answers one question."""
