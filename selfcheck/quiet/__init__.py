"""Sources of real telemetry that went quiet."""
