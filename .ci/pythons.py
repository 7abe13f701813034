"""Say which interpreters a check runs on: the oldest and the newest of those that `uv python list` finds.

Its JSON comes in. Out go the paths of those whose minor version is not this one's, on which everything else runs; what
was chosen is said on stderr.
"""

from __future__ import annotations

import json
import sys

OLDEST, ABOVE = (3, 11), (3, 15)  # as in the Makefile

found: dict[tuple[int, ...], str] = {}
for each in json.load(sys.stdin):
    version = tuple(each["version_parts"].values())
    stable = each["version"] == ".".join(map(str, version))
    if stable and (each["implementation"], each["variant"]) == ("cpython", "default") and OLDEST <= version[:2] < ABOVE:
        found.setdefault(version, each["path"])
others = []
for which, version in (("oldest", min(found)), ("newest", max(found))):
    here = version[:2] == sys.version_info[:2]
    sys.stderr.write(f"{which}: {'.'.join(map(str, version))}, {'as in .venv' if here else found[version]}\n")
    others += [] if here else [found[version]]
sys.stdout.writelines(f"{path}\n" for path in dict.fromkeys(others))
