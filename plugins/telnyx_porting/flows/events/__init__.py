"""Events: read from Telnyx into the ledger, and proved complete.

Others use `scan.scan`, `backfill.backfill`, `audit.audit`, and `coverage.held` and `gaps`; what could not be read as it
is meant goes through `odd`.
"""
