"""When things run; what is remembered, exported and served."""
