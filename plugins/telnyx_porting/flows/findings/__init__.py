"""Findings: what is true now that a person should know.

`kinds` has a file per kind, and `kind.Kind` is what they give; `reconcile.reconcile` lets them all look and compares
with what was known. Others use that, `kinds.kind_of` for what is said of a finding and inhibits it, `health.health` and
`clear` for what is wrong with the watch itself, and `triage` for what people do.
"""
