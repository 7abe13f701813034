"""Everything people ask of the ledger, over all rooms: for the console and the command; and its nightly care.

For the console, reading only: `board.read_board` and `read_headline`, `lines.find_lines`, `orders.find_orders`,
`order.read_order` and `read_event`, `missed.find_missed`, `plans.find_plans` and `read_plan`, `health.read_health`;
acting: `act.act`. A filter is a small dataclass: what is counted and what is listed by it has the same conditions, and
nothing is left out because of its age.
"""
