"""Billing rules: how a measured quantity becomes a billable one; one file a kind."""
