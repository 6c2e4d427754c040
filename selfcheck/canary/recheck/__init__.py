"""Deep rechecks: canaries that were seen are looked for again, hours and days later.

model.py    the values: one recheck, the account of a route and age
plan.py     which canaries, at which ages (pure)
judge.py    what became of one (pure)
verdict.py  what a route's rechecks say together (pure)
ledger.py   what must be kept; memory.py keeps it for a process
errands.py  which reads are needed now (pure)
cycle.py    the self-paced step of a route
"""
