"""Start the simulator: ``python -m include.sandbox``."""

from __future__ import annotations

import argparse
import os
import sys

from include.sandbox.scenarios import SCENARIOS
from include.sandbox.server import Sandbox, bind, server
from include.sandbox.simulator import Options


def main() -> int:
    """Run until interrupted; the one line printed says that it listens, and where."""
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m include.sandbox", description=__doc__)
    parser.add_argument("--host", default=usual.host)
    parser.add_argument("--port", type=int, default=usual.port, help="0 = any free one")
    parser.add_argument("--api-key", default=usual.api_key)
    parser.add_argument("--scenario", default=usual.scenario, choices=sorted(SCENARIOS))
    parser.add_argument("--events", type=int, default=usual.events, help="for scenario volume")
    parser.add_argument("--latency-ms", type=float, default=usual.latency_ms)
    parser.add_argument("--rate-limit", type=int, default=usual.rate_limit, help="requests per second, 0 = no limit")
    parser.add_argument("--seed", type=int, default=usual.seed)
    options = Options(**vars(parser.parse_args()))
    options.control_token = os.environ.get("SANDBOX_CONTROL_TOKEN", "")
    try:
        app = Sandbox(options)
        listener = bind(options)
    except OSError as error:
        print(f"sandbox: cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    print(f"sandbox ready http://{options.host}:{listener.getsockname()[1]}", flush=True)
    server(app).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
