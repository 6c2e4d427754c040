"""Measured telemetry turned into money: meters, price books, billing rules, forecast."""
