"""The console inside Airflow's API server: what needs a person, and what a person can do about it.

Reads through `flows.desk`, holds no SQL and no API key, and acts as whoever is logged in: on findings by itself, on
runs and approvals by Airflow's own REST API, which the page's script asks with the user's session. So Airflow checks
its own permissions and writes its own audit log. Nobody imports the console but `plugin`.

Addresses: the first page, ``orders``, ``orders/<id>``, ``missed``, ``plans``, ``plans/<id>`` and ``health``, each with
``?account=<connection id>``; filters stand in the query. In Airflow's frame they follow ``/plugin/telnyx-porting``.
"""
