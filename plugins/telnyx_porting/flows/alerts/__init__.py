"""Alerts: one finding's message to one channel, its reminders and its end.

`outbox.enqueue` decides what each channel is to be told and when, `send.send_due` claims, renders and sends it.
"""
