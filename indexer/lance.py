"""LanceDB, imported without its client for namespaces on servers.

LanceDB takes the types of requests from that client's package, whose `__init__` builds every request that the client
can make: more than half of the time that importing LanceDB takes, for what an archive never asks. So the package's own
`__init__` runs when something of it is first asked for; its modules are there as ever.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from motionseek.imports import without_collecting

_CLIENT = "lance_namespace_urllib3_client"


def _later(name: str) -> None:
    """Leave the package unrun until an attribute of it is asked for; nothing where there is no such package."""
    spec = importlib.util.find_spec(name) if name not in sys.modules else None
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def attribute(wanted: str) -> Any:
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, wanted)

    vars(package)["__getattr__"] = attribute
    sys.modules[name] = package


def import_lancedb() -> ModuleType:
    with without_collecting():
        _later(_CLIENT)
        import lancedb
    module: ModuleType = lancedb
    return module
