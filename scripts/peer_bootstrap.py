#!/usr/bin/env python3
"""Measure OpenFHE's CKKS bootstrapping, to be put beside `examples/bootstrap`.

    python scripts/peer_bootstrap.py --threads 2 > openfhe.json

Prints one JSON object: the parameter set (`log_n`, `slots`, `log_q`, `log_qp`,
`digits`, `secret`, `scale_bits`, `level_budget`, `levels`), then `ms` (the
shortest of `--repeats`), `setup_ms`, `levels_left`, `precision_bits_mean`,
`precision_bits_min`, `rss_mib`, `threads`, `version`.

The set is OpenFHE's own way of bootstrapping with a uniform ternary secret:
its security check at 128 bits (classical), FLEXIBLEAUTO, hybrid key switching,
full packing, values uniform in [-1, 1].  Precision is -log2 of the error of
the real parts: `mean` from the mean error, `min` from the largest.
`log_q` counts the moduli of a fresh ciphertext as OpenFHE serializes it.  The
special primes it keeps to itself; they are counted by its rule: as many
60-bit primes as the largest digit needs.

At the default set it takes 10 GiB and a minute.  OpenFHE's wheel is for CPython
3.10 on Linux with glibc 2.35 (Debian 12, Ubuntu 22.04 and later): the script
makes a virtual environment outside the repository (`--venv`), from
`--python`, from `python3.10` on the path or from pyenv, and starts itself in it.
"""

import argparse
import importlib.metadata
import json
import math
import os
import random
import re
import resource
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "benches", "peers"))
from environments import python_of  # noqa: E402

INSIDE = "RINGLIGHT_PEER_VENV"


def arguments():
    parser = argparse.ArgumentParser(description="Measure OpenFHE's CKKS bootstrapping; prints JSON.")
    parser.add_argument("--log-n", type=int, default=16)
    parser.add_argument("--scale-bits", type=int, default=58)
    parser.add_argument("--first-bits", type=int, default=60)
    parser.add_argument("--level-budget", type=int, nargs=2, default=[3, 3], metavar=("ENCODE", "DECODE"))
    parser.add_argument("--levels-left", type=int, default=2, help="levels asked for after bootstrapping")
    parser.add_argument("--digits", type=int, default=4)
    parser.add_argument("--insecure", action="store_true", help="no security check: small rings, to try the script")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the values; OpenFHE's own randomness has no seed here")
    parser.add_argument("--python", help="a CPython 3.10")
    parser.add_argument("--venv", help="where its environment is or shall be")
    return parser.parse_args()


def start_inside(args):
    """Makes the virtual environment where it is missing and runs this script in it."""
    try:
        python = python_of("openfhe", args.python, args.venv)
    except RuntimeError as error:
        raise SystemExit(f"{error}; name one with --python") from error
    environment = {**os.environ, INSIDE: "1", "OMP_NUM_THREADS": str(args.threads), "OMP_DYNAMIC": "FALSE"}
    os.execve(python, [python, os.path.abspath(__file__), *sys.argv[1:]], environment)


def log_moduli(openfhe, ciphertext):
    """Bits of each modulus of a ciphertext, from its JSON form, which says "m": {"v": modulus} beside every tower."""
    text = openfhe.Serialize(ciphertext, openfhe.JSON)
    return [math.log2(q) for q in sorted({int(q) for q in re.findall(r'"m":\s*\{\s*"v":\s*(\d+)', text)})]


def measure(args):
    import openfhe

    slots = 1 << (args.log_n - 1)
    started = time.monotonic()
    parameters = openfhe.CCParamsCKKSRNS()
    parameters.SetSecretKeyDist(openfhe.UNIFORM_TERNARY)
    parameters.SetSecurityLevel(openfhe.HEStd_NotSet if args.insecure else openfhe.HEStd_128_classic)
    parameters.SetRingDim(2 * slots)
    parameters.SetScalingModSize(args.scale_bits)
    parameters.SetFirstModSize(args.first_bits)
    parameters.SetScalingTechnique(openfhe.FLEXIBLEAUTO)
    parameters.SetKeySwitchTechnique(openfhe.HYBRID)
    parameters.SetNumLargeDigits(args.digits)
    parameters.SetBatchSize(slots)
    depth = args.levels_left + openfhe.CryptoContext.GetBootstrapDepth(args.level_budget, openfhe.UNIFORM_TERNARY)
    parameters.SetMultiplicativeDepth(depth)
    context = openfhe.GenCryptoContext(parameters)
    for feature in (openfhe.PKE, openfhe.KEYSWITCH, openfhe.LEVELEDSHE, openfhe.ADVANCEDSHE, openfhe.FHE):
        context.Enable(feature)
    keys = context.KeyGen()

    generator = random.Random(args.seed)
    values = [generator.uniform(-1, 1) for _ in range(slots)]
    fresh = context.Encrypt(keys.publicKey, context.MakeCKKSPackedPlaintext(values))
    context.EvalBootstrapSetup(args.level_budget, [0, 0], slots)
    context.EvalMultKeyGen(keys.secretKey)
    context.EvalBootstrapKeyGen(keys.secretKey, slots)
    setup_ms = 1000 * (time.monotonic() - started)

    # One level left: the state in which a circuit asks for a refresh.
    exhausted = context.Encrypt(keys.publicKey, context.MakeCKKSPackedPlaintext(values, 1, depth - 1))
    times = []
    for _ in range(args.repeats):
        started = time.monotonic()
        refreshed = context.EvalBootstrap(exhausted)
        times.append(1000 * (time.monotonic() - started))
    plain = context.Decrypt(refreshed, keys.secretKey)
    plain.SetLength(slots)
    errors = [abs(a - b) for a, b in zip(plain.GetRealPackedValue(), values)]
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    bits = log_moduli(openfhe, fresh)
    largest_digit = sum(sorted(bits, reverse=True)[: -(-len(bits) // args.digits)])
    special = math.ceil(largest_digit / 60)
    return {
        "library": "OpenFHE",
        "version": importlib.metadata.version("openfhe"),
        "log_n": args.log_n,
        "slots": slots,
        "log_q": round(sum(bits), 1),
        "log_qp": round(sum(bits) + 60 * special, 1),
        "digits": args.digits,
        "secret": "uniform ternary",
        "security": "none" if args.insecure else "HEStd_128_classic",
        "scale_bits": args.scale_bits,
        "level_budget": args.level_budget,
        "levels": depth,
        "levels_left": depth - refreshed.GetLevel() - (refreshed.GetNoiseScaleDeg() - 1),
        "ms": round(min(times), 1),
        "setup_ms": round(setup_ms, 1),
        "precision_bits_mean": round(-math.log2(sum(errors) / slots), 2),
        "precision_bits_min": round(-math.log2(max(errors)), 2),
        "rss_mib": rss_mib,
        "threads": args.threads,
        "seed": args.seed,
    }


def main():
    args = arguments()
    if os.environ.get(INSIDE) != "1":
        start_inside(args)
    print(json.dumps(measure(args), indent=1))


if __name__ == "__main__":
    main()
