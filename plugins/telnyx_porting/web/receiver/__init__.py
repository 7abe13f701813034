"""The webhook receiver: `python -m telnyx_porting.web.receiver`. The only public process; it imports no Airflow."""
