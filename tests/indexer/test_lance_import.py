"""What importing leaves for later, and that it is there then."""

from __future__ import annotations

import json
import subprocess
import sys

LATER = ("torch", "scipy.signal", "scipy.stats", "av", "cv2", "lance_namespace_urllib3_client.api")
SCRIPT = """
import gc, json, sys
import motionseek as ms
ms.open
from motionseek.indexer.lance import import_lancedb
import_lancedb()
loaded = [name for name in json.loads(sys.argv[1]) if name in sys.modules]
import lance_namespace_urllib3_client as client
print(json.dumps([loaded, client.ApiClient.__name__, hasattr(client, "nothing"), gc.isenabled()]))
"""


def test_an_archive_is_opened_without_what_only_other_questions_need():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(LATER)], check=True, capture_output=True, text=True, timeout=120
    )
    assert json.loads(done.stdout) == [[], "ApiClient", False, True]
