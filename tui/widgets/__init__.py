"""Two widgets that place what `view` returns: fixed lines, and a list with a cursor."""
