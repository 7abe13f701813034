"""The simulated world: orders, events, clock, faults, switches. What is true is true here."""
