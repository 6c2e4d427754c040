"""Is the telemetry arriving, and what does it cost?"""
