"""The demo: everything on one laptop, once through the whole loop, checked against the simulator's truth."""
