"""The peers' side of the protocol that main.rs describes."""

import json
import sys
import time


def serve(description, works):
    """Describes the set, then times operations on request; `works` maps a name to (items a call, function).

    `conversions` of the description names, for an operation that takes or gives a Python list, the work whose time is that of the list
    alone: what nobody who calls the library from its own language pays.
    """
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
