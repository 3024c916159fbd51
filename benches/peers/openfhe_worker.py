"""OpenFHE's side of `benches/peers/run`: `openfhe_worker.py LOG_N FIRST_BITS SCALE_BITS DEPTH DIGITS`."""

import importlib.metadata
import itertools
import json
import math
import os
import random
import re
import sys

import numpy
import openfhe
from worker import serve

HOISTED = range(1, 9)


def log_moduli(ciphertext):
    """Bits of each modulus of a ciphertext, from its JSON form, which says "m": {"v": modulus} beside every tower."""
    text = openfhe.Serialize(ciphertext, openfhe.JSON)
    return [math.log2(q) for q in sorted({int(q) for q in re.findall(r'"m":\s*\{\s*"v":\s*(\d+)', text)})]


def main():
    log_n, first_bits, scale_bits, depth, digits = map(int, sys.argv[1:])
    slots = 1 << (log_n - 1)
    parameters = openfhe.CCParamsCKKSRNS()
    parameters.SetSecretKeyDist(openfhe.UNIFORM_TERNARY)
    parameters.SetSecurityLevel(openfhe.HEStd_128_classic)
    parameters.SetRingDim(2 * slots)
    parameters.SetScalingModSize(scale_bits)
    parameters.SetFirstModSize(first_bits)
    parameters.SetMultiplicativeDepth(depth)
    parameters.SetScalingTechnique(openfhe.FIXEDMANUAL)
    parameters.SetKeySwitchTechnique(openfhe.HYBRID)
    parameters.SetNumLargeDigits(digits)
    parameters.SetBatchSize(slots)
    context = openfhe.GenCryptoContext(parameters)
    for feature in (openfhe.PKE, openfhe.KEYSWITCH, openfhe.LEVELEDSHE, openfhe.ADVANCEDSHE):
        context.Enable(feature)
    keys = context.KeyGen()
    context.EvalMultKeyGen(keys.secretKey)
    context.EvalRotateKeyGen(keys.secretKey, list(HOISTED))

    generator = random.Random(1)
    # An array is read where it is; a list would be converted number by number.
    values = numpy.array([generator.uniform(-1, 1) for _ in range(slots)])
    plaintext = context.MakeCKKSPackedPlaintext(values)
    x, y = (context.Encrypt(keys.publicKey, plaintext) for _ in range(2))
    cyclotomic = 2 * context.GetRingDimension()
    # A key that exists is not made again: every call takes another rotation.
    fresh = itertools.count(max(HOISTED) + 1)

    def hoisted():
        digits_of_x = context.EvalFastRotationPrecompute(x)
        for steps in HOISTED:
            context.EvalFastRotation(x, steps, cyclotomic, digits_of_x)

    bits = log_moduli(x)
    largest_digit = sum(sorted(bits, reverse=True)[: -(-len(bits) // digits)])
    special = math.ceil(largest_digit / 60)
    description = {
        "library": "OpenFHE",
        "version": importlib.metadata.version("openfhe"),
        "log_n": log_n,
        "scale_bits": scale_bits,
        "levels": depth,
        "log_q": sum(bits),
        "log_qp": sum(bits) + 60 * special,
        "limbs": len(bits),
        "special": special,
        "digits": digits,
        "security": "HEStd_128_classic, uniform ternary secret",
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")),
    }
    works = {
        "mul_relin_rescale": (1, lambda: context.Rescale(context.EvalMult(x, y))),
        "mul_relin": (1, lambda: context.EvalMult(x, y)),
        "rotate": (1, lambda: context.EvalRotate(x, 1)),
        "rotate_hoisted": (len(HOISTED), hoisted),
        "rescale": (1, lambda: context.Rescale(x)),
        "mul_plain": (1, lambda: context.EvalMult(x, plaintext)),
        "add": (1, lambda: context.EvalAdd(x, y)),
        "encode": (1, lambda: context.MakeCKKSPackedPlaintext(values)),
        "encrypt": (1, lambda: context.Encrypt(keys.publicKey, plaintext)),
        "decrypt_decode": (1, lambda: context.Decrypt(x, keys.secretKey)),
        "rotation_key": (1, lambda: context.EvalRotateKeyGen(keys.secretKey, [next(fresh)])),
    }
    serve(description, works)


if __name__ == "__main__":
    main()
