"""What only the publisher knows: `PROJECT_URL`, where the sources are, becomes links that work anywhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ProjectUrl(MetadataHookInterface):
    """Fill in ``readme`` and ``urls``. Without ``PROJECT_URL`` the README is as it is, and there are no urls."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text()
        if url := os.environ.get("PROJECT_URL", "").rstrip("/"):
            files, raw = (f"{url}/{kind}/v{metadata['version']}" for kind in ("blob", "raw"))  # a picture is no page
            text = re.sub(r"(!\[[^\]]*\]\()(?!\w+:|#)", rf"\g<1>{raw}/", text)
            text = re.sub(r"(?<!!)(\[[^\[\]]*\]\()(?!\w+:|#)", rf"\g<1>{files}/", text)
            metadata["urls"] = {
                "Source": url,
                "Issues": f"{url}/issues",
                "Documentation": f"{files}/README.md",
                "Changelog": f"{files}/CHANGELOG.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
