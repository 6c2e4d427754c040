"""`coalmine demo`: an embedded stack, a shop, three faults, and what Coalmine makes of them."""
