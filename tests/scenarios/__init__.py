"""Scenarios of the closed loop: what happens to an account, what must come out."""
