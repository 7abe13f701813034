"""Findings: what is true now that a person should know.

`kinds` has a SELECT per kind, `see` runs them all, `reconcile.reconcile` compares with what was known. Others use that,
`health.health` and `clear` for what is wrong with the watch itself, and `triage` for what people do.
"""
