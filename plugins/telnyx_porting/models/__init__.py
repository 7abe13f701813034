"""
What Telnyx's API says, as frozen Python values.

Rules, all from the published structure: no field is required, so a missing or oddly shaped one reads as None
and never breaks a list; unknown event types, statuses and codes are kept as they are. An event keeps the JSON
object as received (``raw``), so nothing is lost; its typed attributes are views on it.
"""
