"""The program that `cold_start` runs in a new process.

Arguments: ARTIFACT IMAGE OPTIONS, where OPTIONS is a JSON object, the arguments of `load`.  It
prints one JSON object.
"""

from __future__ import annotations

import time

_BEGAN = time.time()


def main() -> None:
    """Load the artifact, compute two masks, and print durations in seconds and memory in bytes."""
    start = time.perf_counter()
    import json
    import sys
    from pathlib import Path

    from dsunet_runtime.bench import memory_use
    from dsunet_runtime.bench.monitor import gpu_of
    from dsunet_runtime.errors import RuntimeFault
    from dsunet_runtime.segmenter import load

    artifact, image, options = sys.argv[1:]
    load_options = json.loads(options)
    imports = time.perf_counter() - start

    start = time.perf_counter()
    gpu = gpu_of(Path(artifact), load_options.get("provider"))
    before = memory_use.device_used(gpu)

    def increase() -> int | None:
        used = memory_use.device_used(gpu)
        return None if before is None or used is None else used - before

    try:
        segmenter = load(artifact, **load_options)
    except RuntimeFault as error:
        sys.exit(str(error))
    load_seconds = time.perf_counter() - start
    host_loaded, device_loaded = memory_use.resident(), increase()
    calls = []
    for _ in range(2):
        start = time.perf_counter()
        segmenter(image)
        calls.append(time.perf_counter() - start)
    first, second = calls
    result = {
        "began": _BEGAN,
        "imports": imports,
        "load": load_seconds,
        "first": first,
        "next": second,
        "host_loaded": host_loaded,
        "host_computed": memory_use.resident(),
        "host_peak": memory_use.peak_resident(),
        "device_loaded": device_loaded,
        "device_computed": increase(),
    }
    segmenter.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
