"""The demo's ports: the usual ones, others where those are taken, and what is pinned or nothing."""

from __future__ import annotations

import socket
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from include.demo.ports import OTHERS, Ports, reserve
from include.demo.processes import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with reserve(usual=False) as free:
        port = free.airflow
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_a_taken_port_is_passed_over(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ports.__init__, "__defaults__", (taken, *Ports.__init__.__defaults__[1:]))
    with reserve() as ports:
        assert ports.airflow != taken
        assert ports.airflow in OTHERS


def test_a_pinned_port_that_is_taken_is_an_error(taken: int) -> None:
    with pytest.raises(DemoError, match=f"port {taken} is taken.*--worker-log-port"), reserve({"worker_log": taken}):
        pass


def test_what_is_pinned_is_what_it_gets() -> None:
    with reserve(usual=False) as free:
        wanted = free.sandbox
    with reserve({"sandbox": wanted}, usual=False) as ports:
        assert ports.sandbox == wanted


def test_two_at_once_share_nothing_though_nobody_listens_yet() -> None:
    with reserve() as one, reserve() as other:
        both = [*asdict(one).values(), *asdict(other).values()]
        assert len(set(both)) == len(both)
        with pytest.raises(DemoError), reserve({"airflow": one.airflow}):
            pass


def test_they_are_free_again_afterwards() -> None:
    with reserve(usual=False) as ports:
        pass
    with reserve(asdict(ports)) as again:
        assert again == ports
