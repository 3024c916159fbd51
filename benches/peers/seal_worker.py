"""SEAL's side of `benches/peers/run`, as TenSEAL brings it (without HEXL): `seal_worker.py LOG_N BITS...`, the last for keys.

Operations are SEAL's own, through the Python interface that TenSEAL has to it. `dot`, `encode_encrypt` and
`decrypt_decode` are those of TenSEAL's encrypted vectors.
"""

import importlib.metadata
import math
import random
import sys

import tenseal
import tenseal.sealapi as seal
from worker import serve


def main():
    log_n, *bits = map(int, sys.argv[1:])
    n, scale = 1 << log_n, 2.0 ** min(bits)
    parms = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parms.set_poly_modulus_degree(n)
    moduli = seal.CoeffModulus.Create(n, bits)
    parms.set_coeff_modulus(moduli)
    context = seal.SEALContext(parms, True, seal.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise SystemExit(f"SEAL refuses the parameters {bits} at N = 2^{log_n}")
    generator = seal.KeyGenerator(context)
    secret, public = generator.secret_key(), seal.PublicKey()
    relinearization, rotations = seal.RelinKeys(), seal.GaloisKeys()
    generator.create_public_key(public)
    generator.create_relin_keys(relinearization)
    generator.create_galois_keys([3], rotations)  # the automorphism that rotates by 1
    encoder, evaluator = seal.CKKSEncoder(context), seal.Evaluator(context)
    encryptor, decryptor = seal.Encryptor(context, public), seal.Decryptor(context, secret)

    rng = random.Random(1)
    values = [rng.uniform(-1, 1) for _ in range(n // 2)]
    plaintext, x, y = seal.Plaintext(), seal.Ciphertext(context), seal.Ciphertext(context)
    encoder.encode(values, scale, plaintext)
    encryptor.encrypt(plaintext, x)
    encryptor.encrypt(plaintext, y)
    out, out_plain = seal.Ciphertext(context), seal.Plaintext()

    def mul_relin():
        evaluator.multiply(x, y, out)
        evaluator.relinearize_inplace(out, relinearization)

    def mul_relin_rescale():
        mul_relin()
        evaluator.rescale_to_next_inplace(out)

    works = {
        "mul_relin_rescale": (1, mul_relin_rescale),
        "mul_relin": (1, mul_relin),
        "rotate": (1, lambda: evaluator.rotate_vector(x, 1, rotations, out)),
        "rescale": (1, lambda: evaluator.rescale_to_next(x, out)),
        "mul_plain": (1, lambda: evaluator.multiply_plain(x, plaintext, out)),
        "add": (1, lambda: evaluator.add(x, y, out)),
        "encode": (1, lambda: encoder.encode(values, scale, out_plain)),
        "encrypt": (1, lambda: encryptor.encrypt(plaintext, out)),
        "decrypt": (1, lambda: decryptor.decrypt(x, out_plain)),
        "decode": (1, lambda: encoder.decode_double(plaintext)),
        "rotation_key": (1, lambda: generator.create_galois_keys([3], seal.GaloisKeys())),
    }
    whole = tenseal.context(tenseal.SCHEME_TYPE.CKKS, n, coeff_mod_bit_sizes=bits, n_threads=1)
    whole.global_scale = scale
    a, b = tenseal.ckks_vector(whole, values), tenseal.ckks_vector(whole, values)
    works["encode_encrypt"] = (1, lambda: tenseal.ckks_vector(whole, values))
    works["decrypt_decode"] = (1, a.decrypt)

    def list_in():
        """Converts the values, and refuses the scale."""
        try:
            encoder.encode(values, 0.0, out_plain)
        except ValueError:
            return
        raise SystemExit("SEAL accepts a scale of zero")

    def vector_in():
        """What TenSEAL does with a list before SEAL sees it."""
        tenseal.plain_tensor(values, dtype="float").raw  # noqa: B018
        list_in()

    tensor = tenseal.plain_tensor(values, dtype="float")
    works["list_in"], works["vector_in"] = (1, list_in), (1, vector_in)
    works["list_out"] = (1, lambda: tensor.raw)
    if log_n < 15:  # a key for every power of two, and its negative: gigabytes in larger rings
        whole.generate_galois_keys()
        works["dot"] = (1, lambda: a.dot(b))

    logs = [math.log2(q.value()) for q in moduli]
    description = {
        "library": "SEAL without HEXL, through TenSEAL",
        "version": importlib.metadata.version("tenseal"),
        "log_n": log_n,
        "scale_bits": min(bits),
        "levels": len(logs) - 2,
        "log_q": sum(logs[:-1]),
        "log_qp": sum(logs),
        "limbs": len(logs) - 1,
        "special": 1,
        "digits": len(logs) - 1,
        "security": "128 bits by SEAL's table, ternary secret",
        "threads": 1,
        "conversions": {
            "encode": "list_in",
            "decode": "list_out",
            "encode_encrypt": "vector_in",
            "decrypt_decode": "list_out",
        },
    }
    serve(description, works)


if __name__ == "__main__":
    main()
