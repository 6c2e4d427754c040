"""`make bench`: every benchmark's figures, with the machine and the command that gave them.

Ratios are against a peer that runs side by side in the same minute: absolute times on a shared
machine mean little. ARGS="engine http_probe" picks some.
"""

import importlib
import os
import pkgutil
import platform
import sys
from pathlib import Path

import benchmarks


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; 1 when one of them raised."""
    found = sorted(
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if not module.name.startswith("_")
    )
    unknown = set(names) - set(found)
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(found)}")
        return 3
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    print(f"machine: {os.cpu_count()} cores, {model}, Python {platform.python_version()}")
    failed = 0
    for name in names or found:
        print(f"\n# python -m benchmarks {name}", flush=True)
        try:
            for line in importlib.import_module(f"benchmarks.{name}").run():
                print(line, flush=True)
        except Exception as exc:  # noqa: BLE001  one broken benchmark must not hide the others
            print(f"FAILED: {type(exc).__name__}: {exc}", flush=True)
            failed = 1
    return failed


sys.exit(main(sys.argv[1:]))
