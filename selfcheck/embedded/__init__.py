"""The built-in gateway and store: two hops of our own, with faults that can be switched.

They serve the loopback proof of every start and the demo. Both listen on loopback only.
"""
