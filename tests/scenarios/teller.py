"""A process that looks and tells once: one JSON object comes in on stdin. It may be killed at a failpoint."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

from telnyx_porting.client import TelnyxClient
from telnyx_porting.ledger.engine import Ledger
from tests.scenarios.clock import Shifted
from tests.scenarios.desk import tell


def main() -> None:
    print("ready", flush=True)
    job = json.load(sys.stdin)
    if job["failpoint"]:
        os.environ[job["variable"]] = job["failpoint"]
    settings = pickle.loads(bytes.fromhex(job["settings"]))
    clock = Shifted(Path(job["clock"]))
    with Ledger(job["ledger"]) as ledger, TelnyxClient(job["key"], job["base_url"], clock=clock) as client:
        tell(ledger, client, settings, clock, job["inbox"])


if __name__ == "__main__":
    main()
