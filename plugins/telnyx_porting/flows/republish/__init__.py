"""Republish: an immutable plan, its approval, and the machine that executes it.

Others use `plan.make_plan`, `gates.approve`, `advance.advance` and `report.report`; `batch.send_batch` needs no ledger.
"""
