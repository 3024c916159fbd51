"""The peers' side of the protocol that main.rs describes."""

import json
import sys
import time


def serve(description, works):
    """Describes the set, then times operations on request; `works` maps a name to (items a call, function)."""
    print(json.dumps({**description, "operations": list(works)}), flush=True)
    for line in sys.stdin:
        name, budget = line.split()
        items, call = works[name]
        call()
        end = time.perf_counter_ns() + int(float(budget) * 1e6)
        nanoseconds = []
        while not nanoseconds or time.perf_counter_ns() < end:
            start = time.perf_counter_ns()
            call()
            nanoseconds.append((time.perf_counter_ns() - start) / items)
        print(json.dumps(nanoseconds), flush=True)
