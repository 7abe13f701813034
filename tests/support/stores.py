"""Airflow's own state-store accessors over a dictionary: only the wire to the API server is ours."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from airflow.sdk._shared.state import TaskScope
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import (
    AssetStateStoreResult,
    ClearTaskStateStore,
    ErrorResponse,
    GetAssetStateStoreByName,
    GetTaskStateStore,
    OKResponse,
    SetAssetStateStoreByName,
    SetTaskStateStore,
    TaskStateStoreResult,
)
from airflow.sdk.execution_time.context import TaskStateStoreAccessor

LIMIT = 65_535  # bytes; the API server refuses more


class Comms:
    """What a worker or triggerer talks to; keeps what is stored, survives 'restarts' of what uses it."""

    def __init__(self) -> None:
        self.task: dict[str, Any] = {}
        self.asset: dict[tuple[str, str], Any] = {}
        self.writes = 0
        self.broken = False
        self.crash_after: int | None = None  # so many more round trips, then the triggerer is gone

    def send(self, msg: Any) -> Any:
        if self.broken:
            raise ConnectionError("the API server is away")
        match msg:
            case GetTaskStateStore(key=key):
                if key in self.task:
                    return TaskStateStoreResult(value=json.loads(self.task[key]))
                return ErrorResponse(error=ErrorType.TASK_STORE_NOT_FOUND, detail={"key": key})
            case SetTaskStateStore(key=key, value=value):
                self.task[key] = self._encoded(value)
            case ClearTaskStateStore():
                self.task.clear()
            case GetAssetStateStoreByName(name=name, key=key):
                if (name, key) in self.asset:
                    return AssetStateStoreResult(value=json.loads(self.asset[name, key]))
                return ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND, detail={"key": key})
            case SetAssetStateStoreByName(name=name, key=key, value=value):
                self.asset[name, key] = self._encoded(value)
            case _:
                raise AssertionError(f"unexpected {type(msg).__name__}")
        return OKResponse(ok=True)

    async def asend(self, msg: Any) -> Any:
        answer = self.send(msg)
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise asyncio.CancelledError
        return answer

    def _encoded(self, value: Any) -> str:
        self.writes += 1
        encoded = json.dumps(value)
        assert len(encoded) <= LIMIT
        return encoded

    def task_store(self) -> TaskStateStoreAccessor:
        scope = TaskScope(dag_id="dag", run_id="run", task_id="task", map_index=-1)
        return TaskStateStoreAccessor(ti_id=uuid4(), scope=scope)
