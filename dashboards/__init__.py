"""Grafana boards, alert rules and runbooks, as code."""
