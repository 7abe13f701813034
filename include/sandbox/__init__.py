"""A simulator of the Telnyx port-in API: stateful, faithful, and able to misbehave on demand.

It imports nothing of the product. What is true is decided by its own world (:mod:`include.sandbox.world.world`)
and read back through ``GET /sandbox/truth``.
"""
