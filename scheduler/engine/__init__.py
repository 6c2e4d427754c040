"""The engine: fires work on time, isolates it, and accounts for every due run."""
