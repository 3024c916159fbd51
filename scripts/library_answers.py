#!/usr/bin/env python3
"""Write tests/data/library_answers.json: ciphertexts made and decrypted by Microsoft SEAL and OpenFHE.

For each library, at N = 2^10 and two primes below 2^30: the secret key, an
encryption of a known vector, its encoding, and what the library makes of them.

SEAL (through TenSEAL)
    `decryption` is its Decryptor's plaintext, `product` the tensor product of the
    ciphertext with itself, `rescaled` that product divided by the last prime, all
    word for word.  Its generator has a seed: a rerun gives the same bytes.
OpenFHE
    `encoding` is the difference of `EvalAdd(ct, pt)` and `ct`, which is the
    library's own plaintext.  Its decryption cannot be had without the noise that
    it adds, so the test holds the decryption against the encoding.  It has no
    seed: a rerun gives another key and ciphertext.

Everything is stored in coefficients, as hexadecimal little-endian words or as the
sha256 of centred numbers (int64) or of words (uint32).  The transforms back are
the sums of the definition; each library's order is checked by the secret, whose
coefficients come out in {-1, 0, 1} for no other.

Slots are (s_j - (m - 1) / 2) / 2^10, s_i = (c0 + c1 i + c2 i^2) mod m, slot j the
value at zeta^(5^j).

    python3.11 -m venv /tmp/seal && /tmp/seal/bin/pip install tenseal==0.3.18
    python3.10 -m venv /tmp/openfhe && /tmp/openfhe/bin/pip install openfhe==1.6.1.0.22.4
    /tmp/seal/bin/python scripts/library_answers.py seal
    /tmp/openfhe/bin/python scripts/library_answers.py openfhe

Each run makes one library's part anew and keeps the other's.

The file's sha256, printed, stands in tests/known_answers.rs.
"""

import argparse
import hashlib
import json
import os
import struct

LOG_N = 10
N = 1 << LOG_N
SLOT_BITS = 10
SCALE_BITS = 26
RE = {"c": [11, 500, 29], "modulus": 2003}
IM = {"c": [7, 71, 3], "modulus": 1999}


def sequence(part):
    c, m = part["c"], part["modulus"]
    return [((c[0] + c[1] * i + c[2] * i * i) % m - (m - 1) // 2) / (1 << SLOT_BITS) for i in range(N // 2)]


def slots():
    return [complex(re, im) for re, im in zip(sequence(RE), sequence(IM))]


def coefficients(values, q, psi):
    """The polynomial with these values at psi^(2 brv(i) + 1)."""
    inverse = pow(psi, -1, q)
    powers = [pow(inverse, e, q) for e in range(2 * N)]
    exponents = [2 * int(f"{i:0{LOG_N}b}"[::-1], 2) + 1 for i in range(N)]
    scale = pow(N, -1, q)
    return [sum(v * powers[e * k % (2 * N)] for v, e in zip(values, exponents)) * scale % q for k in range(N)]


def least_root(q):
    """The least primitive 2N-th root of one."""
    roots = (pow(x, (q - 1) // (2 * N), q) for x in range(2, q))
    root = next(r for r in roots if pow(r, N, q) == q - 1)
    return min(pow(root, e, q) for e in range(1, 2 * N, 2))


def ternary(words, q):
    signs = {0: "0", 1: "+", q - 1: "-"}
    text = "".join(signs.get(w, "?") for w in words)
    return None if "?" in text else text


def centred(limbs, moduli):
    """The integers nearest to zero with these residues."""
    product = 1
    for q in moduli:
        product *= q
    out = []
    for residues in zip(*limbs):
        x = sum(r * (product // q) * pow(product // q, -1, q) for r, q in zip(residues, moduli)) % product
        out.append(x - product if 2 * x > product else x)
    return out


def hexadecimal(words):
    return struct.pack(f"<{len(words)}I", *words).hex()


def sha_integers(numbers):
    return hashlib.sha256(struct.pack(f"<{len(numbers)}q", *numbers)).hexdigest()


def sha_words(limbs):
    return hashlib.sha256(b"".join(struct.pack(f"<{len(x)}I", *x) for x in limbs)).hexdigest()


def is_prime(x):
    return x > 1 and all(x % d for d in range(2, int(x**0.5) + 1))


def seal_answers():
    import tenseal.sealapi as seal

    moduli, x = [], (1 << 30) - 2 * N + 1
    while len(moduli) < 3:  # the last is for keys
        if is_prime(x):
            moduli.append(x)
        x -= 2 * N
    parms = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parms.set_poly_modulus_degree(N)
    parms.set_coeff_modulus([seal.Modulus(q) for q in moduli])
    parms.set_random_generator(seal.Blake2xbPRNGFactory(list(range(1, 9))))
    context = seal.SEALContext(parms, True, seal.SEC_LEVEL_TYPE.NONE)
    generator = seal.KeyGenerator(context)
    secret, public = generator.secret_key(), seal.PublicKey()
    generator.create_public_key(public)
    chain = moduli[:2]
    roots = [least_root(q) for q in moduli]

    def polynomial(word, limbs):
        return [
            coefficients([word(limb * N + i) for i in range(N)], moduli[limb], roots[limb]) for limb in range(limbs)
        ]

    # SEAL's slot k is the value at zeta^(3^k).
    place = {}
    for j, z in enumerate(slots()):
        place[pow(5, j, 2 * N)] = z
        place[2 * N - pow(5, j, 2 * N)] = z.conjugate()
    order = [pow(3, k, 2 * N) for k in range(N // 2)]
    plain = seal.Plaintext()
    encoder = seal.CKKSEncoder(context)
    encoder.encode([place[e] for e in order], 2.0**SCALE_BITS, plain)
    ciphertext = seal.Ciphertext(context)
    seal.Encryptor(context, public).encrypt(plain, ciphertext)
    decrypted = seal.Plaintext()
    seal.Decryptor(context, secret).decrypt(ciphertext, decrypted)
    read = encoder.decode_complex(decrypted)
    assert all(abs(place[e] - z) < 2**-8 for e, z in zip(order, read)), "SEAL decodes something else"

    evaluator = seal.Evaluator(context)
    square = seal.Ciphertext(context)
    evaluator.multiply(ciphertext, ciphertext, square)
    rescaled = seal.Ciphertext(context)
    evaluator.rescale_to_next(square, rescaled)

    def component(c, index, limbs):
        return polynomial(lambda i: c.dyn_array()[index * limbs * N + i], limbs)

    key = secret.data()
    signs = [ternary(limb, q) for limb, q in zip(polynomial(lambda i: key[i], 2), chain)]
    assert signs[0] and signs[0] == signs[1], "SEAL's secret is not ternary: the order of its values is another"
    return {
        "library": "Microsoft SEAL through TenSEAL 0.3.18",
        "moduli": chain,
        "secret": signs[0],
        "ciphertext": [[hexadecimal(limb) for limb in component(ciphertext, i, 2)] for i in range(2)],
        "encoding": sha_integers(centred(polynomial(lambda i: plain[i], 2), chain)),
        "decryption": sha_integers(centred(polynomial(lambda i: decrypted[i], 2), chain)),
        "product": [sha_words(component(square, i, 2)) for i in range(3)],
        "rescaled": [sha_words(component(rescaled, i, 1)) for i in range(3)],
    }


def towers(node, out):
    """(modulus, words) of every tower in OpenFHE's JSON, in order."""
    if isinstance(node, dict):
        words = node.get("v")
        if isinstance(words, list) and len(words) == N and isinstance(words[0], int):
            out.append((int(node["m"]["v"]), words))
        for child in node.values():
            towers(child, out)
    elif isinstance(node, list):
        for child in node:
            towers(child, out)
    return out


def openfhe_answers():
    import openfhe

    parameters = openfhe.CCParamsCKKSRNS()
    parameters.SetSecurityLevel(openfhe.HEStd_NotSet)
    parameters.SetRingDim(N)
    parameters.SetFirstModSize(29)
    parameters.SetScalingModSize(SCALE_BITS)
    parameters.SetScalingTechnique(openfhe.FIXEDMANUAL)
    parameters.SetKeySwitchTechnique(openfhe.BV)
    parameters.SetCKKSDataType(openfhe.COMPLEX)
    parameters.SetBatchSize(N // 2)
    parameters.SetMultiplicativeDepth(1)
    context = openfhe.GenCryptoContext(parameters)
    for feature in (openfhe.PKE, openfhe.KEYSWITCH, openfhe.LEVELEDSHE):
        context.Enable(feature)
    keys = context.KeyGen()
    plain = context.MakeCKKSPackedPlaintext(slots())
    assert plain.GetScalingFactor() == 2.0**SCALE_BITS
    ciphertext = context.Encrypt(keys.publicKey, plain)
    read = context.Decrypt(ciphertext, keys.secretKey)
    read.SetLength(N // 2)
    assert all(abs(a - b) < 2**-6 for a, b in zip(read.GetCKKSPackedValue(), slots())), "OpenFHE decodes something else"

    roots = {}

    def polynomials(thing):
        found = towers(json.loads(openfhe.Serialize(thing, openfhe.JSON)), [])
        out = []
        for q, words in found:
            roots.setdefault(q, least_root(q))
            out.append(coefficients(words, q, roots[q]))
        return [q for q, _ in found], out

    chain, secret = polynomials(keys.secretKey)
    signs = [ternary(limb, q) for limb, q in zip(secret, chain)]
    assert signs[0] and signs[0] == signs[1], "OpenFHE's secret is not ternary: the order of its values is another"
    moduli, words = polynomials(ciphertext)
    assert moduli == chain + chain and len(chain) == 2 and max(chain) < 1 << 30
    _, sums = polynomials(context.EvalAdd(ciphertext, plain))
    encoding = [[(a - b) % q for a, b in zip(x, y)] for x, y, q in zip(sums[:2], words[:2], chain)]
    assert sums[2:] == words[2:]
    return {
        "library": "OpenFHE 1.6.1 through openfhe 1.6.1.0.22.4",
        "moduli": chain,
        "secret": signs[0],
        "ciphertext": [[hexadecimal(limb) for limb in words[:2]], [hexadecimal(limb) for limb in words[2:]]],
        "encoding": sha_integers(centred(encoding, chain)),
    }


def main():
    parser = argparse.ArgumentParser(description="Write the libraries' answers of tests/known_answers.rs.")
    parser.add_argument("library", choices=["seal", "openfhe"])
    parser.add_argument("--out", default="tests/data/library_answers.json")
    args = parser.parse_args()
    data = {"origin": "scripts/library_answers.py", "log_n": LOG_N, "slot_bits": SLOT_BITS}
    data |= {"scale_bits": SCALE_BITS, "re": RE, "im": IM}
    if os.path.exists(args.out):
        with open(args.out, encoding="ascii") as file:
            stored = json.load(file)
        data |= {name: stored[name] for name in ("openfhe", "seal") if name in stored}
    data[args.library] = seal_answers() if args.library == "seal" else openfhe_answers()
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    with open(args.out, "w", encoding="ascii", newline="\n") as file:
        file.write(text)
    print(hashlib.sha256(text.encode()).hexdigest())


if __name__ == "__main__":
    main()
