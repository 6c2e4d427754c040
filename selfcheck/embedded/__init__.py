"""The built-in gateway and store: two hops of our own, with faults that can be switched.

They serve the demo, tests and benchmarks. Both listen on loopback only.
"""
