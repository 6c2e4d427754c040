"""Pure: a board at a moment, a width and a glyph set become rows of styled text."""
