"""The only place that knows all parts: it builds them from a config and joins them by values."""
