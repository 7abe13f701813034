"""The only floor where HTTP and SQL meet; no Airflow. One room per thing the ledger knows.

Each file is one flow, `f(account, client, ...) -> result`, on an `Account`. Arrows between the rooms point
down: desk > alerts > findings > orders, republish > deliveries > events > the ground (`account`, `feeds`, `clock`,
`identity`, `subscriptions`).
"""
