"""Where the shared data lies, and what every report says of the machine that it was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

DATA = Path(os.environ.get("MOTIONSEEK_DATA") or Path(__file__).parents[2] / "shared" / "data")


def machine() -> dict[str, object]:
    """Processor, cores, memory in GB, and the threads that OpenMP was told to use."""
    info = Path("/proc/cpuinfo")  # only Linux has it
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }
