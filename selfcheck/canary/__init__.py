"""The life of a canary: make, inject, read back, judge, account."""
