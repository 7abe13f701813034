"""Deliveries: what reached whom, and the one rule for "did it arrive?".

Evidence comes in by `receipts`, `pull` and `table`; `matching` says whose it is, `arrival` decides, `settle.settle`
applies both, to first deliveries and republishes. `consumer.find_record` names the destination that decides.
"""
