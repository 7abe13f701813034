# One image for every Airflow component, the receiver and the sandbox.
FROM python:3.12.12-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/venv
COPY requirements-celery.txt /src/
RUN uv pip install --no-cache --python /opt/venv/bin/python -r /src/requirements-celery.txt
COPY pyproject.toml hatch_build.py README.md CHANGELOG.md LICENSE /src/
COPY dags /src/dags
COPY plugins/telnyx_porting /src/plugins/telnyx_porting
RUN uv pip install --no-cache --python /opt/venv/bin/python --no-deps /src

FROM python:3.12.12-slim-bookworm
# Airflow wants a configuration file and would write one: all of it is in the environment, and nothing is written here.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home airflow \
    && install --directory --owner airflow --group 0 /opt/airflow/logs \
    && touch /opt/airflow/airflow.cfg
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/airflow
COPY --chown=airflow:0 dags ./dags
COPY --chown=airflow:0 include ./include
# The package is installed, so its entry points bring the connection type and the plugin: no plugins/ here.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
USER airflow
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]
