"""Orders: the one row per order, from events and from GET /porting_orders.

Others use `sync.sync_orders` and `read_orders`, and `wakeups` for webhooks that cannot wait for a scan.
"""
