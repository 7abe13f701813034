"""The ledger: its tables, the one file that names a dialect (`engine`), short writes. No HTTP, no Airflow."""
