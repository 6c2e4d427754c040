"""What goes out: Prometheus text, OTLP, and the catalogue of metric names."""
