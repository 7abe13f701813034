"""The port-in watch: what Telnyx's Port In Events API knows, kept, checked and told from Apache Airflow."""

from __future__ import annotations

__version__ = "0.1.0"
