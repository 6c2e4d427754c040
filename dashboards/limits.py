"""Limits that boards and alert rules share."""

OUTBOX_AGE_S = 120
NOT_OK_SINCE_S = 600
