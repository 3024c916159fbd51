#!/usr/bin/env python3
"""Write tests/data/known_answers.json: answers that no line of Ringlight had a part in.

Everything is computed straight from a definition with Python integers:

embedding
    The polynomial m with m(zeta^(5^j)) = z_j, zeta = e^(i pi / N), has the
    coefficients m_k = 2/N Re sum_j z_j conj(zeta^(5^j k)).  The roots come
    from mpmath, as integers over 2^160; the slots are dyadic.  Stored are
    round(scale m), of which no number before rounding is within 1e-3 of a
    tie, so that an f64 transform must give the same integers.
images
    The rounded m(X^g) by substitution, and its values at zeta^(5^j) by
    Horner's rule in mpmath: g = 5 rotates to the left by one, g = -1
    conjugates, g = 1 changes nothing.
products
    a b mod (X^N + 1, q), by the schoolbook.

Sequences are s_i = (c0 + c1 i + c2 i^2) mod m; slots are
(s_j - (m - 1) / 2) / 2^10 for the real and the imaginary part.

``--seal`` encodes the same slots with Microsoft SEAL (through TenSEAL 0.3.18)
and compares every word of its plaintext; it changes nothing in the file.

    pip install mpmath==1.4.1            # --seal: tenseal==0.3.18
    python scripts/known_answers.py --out tests/data/known_answers.json

A rerun gives the same bytes.  Their sha256, printed, stands in
tests/known_answers.rs.
"""

import argparse
import hashlib
import json
import struct

import mpmath

LOG_N = 10
N = 1 << LOG_N
SLOT_BITS = 10
ROOT_BITS = 160
FIRST = 64  # coefficients stored


def sequence(c, m, count):
    return [(c[0] + c[1] * i + c[2] * i * i) % m for i in range(count)]


def sha256(layout, numbers):
    return hashlib.sha256(b"".join(struct.pack(layout, x) for x in numbers)).hexdigest()


def slots(case):
    """Numerators over 2^SLOT_BITS, real and imaginary."""
    parts = []
    for part in ("re", "im"):
        m = case[part]["modulus"]
        parts.append([s - (m - 1) // 2 for s in sequence(case[part]["c"], m, N // 2)])
    return list(zip(*parts))


def roots():
    """(cos, sin)(pi k / N) times 2^ROOT_BITS, rounded."""
    one = mpmath.mpf(2) ** ROOT_BITS
    angles = [mpmath.pi * k / N for k in range(2 * N)]
    return [(int(mpmath.nint(mpmath.cos(a) * one)), int(mpmath.nint(mpmath.sin(a) * one))) for a in angles]


ROOTS = None


def encode(z, scale_bits):
    """round(scale m), or None where a number is within 1e-3 of a tie."""
    # The sum below is m_k N/2 2^SLOT_BITS 2^ROOT_BITS.
    shift = LOG_N - 1 + SLOT_BITS + ROOT_BITS - scale_bits
    one = 1 << shift
    out = []
    for k in range(N):
        total, power = 0, 1
        for re, im in z:
            cos, sin = ROOTS[power * k % (2 * N)]
            total += re * cos + im * sin
            power = power * 5 % (2 * N)
        fraction = total % one
        if abs(fraction - one // 2) * 1000 < one:
            return None
        out.append((total + one // 2) >> shift)
    return out


def substitute(m, g):
    """m(X^g) modulo X^N + 1."""
    out = [0] * N
    for k, c in enumerate(m):
        e = g * k % (2 * N)
        out[e % N] += c if e < N else -c
    return out


def value(m, j, scale_bits):
    """The value of slot j."""
    x = mpmath.expjpi(mpmath.mpf(pow(5, j, 2 * N)) / N)
    total = mpmath.mpc(0)
    for c in reversed(m):
        total = total * x + c
    return total / mpmath.mpf(2) ** scale_bits


def embedding_case(scale_bits, start):
    """The first sequence from `start` on that has no number near a tie."""
    for t in range(start, start + 1000):
        case = {
            "scale_bits": scale_bits,
            "re": {"c": [17, t, 37], "modulus": 2003},
            "im": {"c": [t, 53, 1], "modulus": 1999},
        }
        z = slots(case)
        m = encode(z, scale_bits)
        if m is None:
            continue
        case["first_coefficients"] = m[:FIRST]
        case["sha256_i64le"] = sha256("<q", m)
        case["images"] = []
        for name, g in (("identity", 1), ("rotated left by one", 5), ("conjugated", 2 * N - 1)):
            image = substitute(m, g)
            values = []
            for j in (0, 1, 2, 255, 510, 511):
                got = value(image, j, scale_bits)
                re, im = z[(j + 1) % (N // 2)] if g == 5 else z[j]
                want = mpmath.mpc(re, -im if g == 2 * N - 1 else im) / (1 << SLOT_BITS)
                assert abs(got - want) < 200 * mpmath.mpf(2) ** -scale_bits, (name, j, got, want)
                values.append({"slot": j, "re": float(got.real), "im": float(got.imag)})
            case["images"].append(
                {"name": name, "element": g, "sha256_i64le": sha256("<q", image), "values": values}
            )
        return case
    raise SystemExit("no sequence without a tie")


def is_prime(x):
    return x > 1 and all(x % d for d in range(2, int(x**0.5) + 1))


def primes(count):
    """The largest primes = 1 mod 2N below 2^30."""
    found, x = [], (1 << 30) - 2 * N + 1
    while len(found) < count:
        if is_prime(x):
            found.append(x)
        x -= 2 * N
    return found


def product_case(q, ca, cb):
    a, b = sequence(ca, q, N), sequence(cb, q, N)
    out = [0] * N
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            if i + j < N:
                out[i + j] += x * y
            else:
                out[i + j - N] -= x * y
    out = [x % q for x in out]
    return {"modulus": q, "a": ca, "b": cb, "first_words": out[:16], "sha256_u32le": sha256("<I", out)}


def compare_with_seal(case):
    """SEAL's plaintext, word for word: the values at psi^(2 brv(i) + 1), psi its least primitive 2N-th root."""
    import tenseal.sealapi as seal

    q = primes(3)  # the last is for keys
    parms = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parms.set_poly_modulus_degree(N)
    parms.set_coeff_modulus([seal.Modulus(p) for p in q])
    context = seal.SEALContext(parms, True, seal.SEC_LEVEL_TYPE.NONE)
    # SEAL's slot k is the value at zeta^(3^k).
    place, power = {}, 1
    for re, im in slots(case):
        place[power] = complex(re, im) / (1 << SLOT_BITS)
        place[2 * N - power] = place[power].conjugate()
        power = power * 5 % (2 * N)
    plain = seal.Plaintext()
    values = [place[pow(3, k, 2 * N)] for k in range(N // 2)]
    seal.CKKSEncoder(context).encode(values, 2.0 ** case["scale_bits"], plain)
    m = encode(slots(case), case["scale_bits"])
    limbs = plain.coeff_count() // N
    for limb in range(limbs):
        p = q[limb]
        generators = (pow(x, (p - 1) // (2 * N), p) for x in range(2, p))
        root = next(r for r in generators if pow(r, N, p) == p - 1)
        psi = min(pow(root, e, p) for e in range(1, 2 * N, 2))
        powers = [pow(psi, e, p) for e in range(2 * N)]
        for i in range(N):
            exponent = 2 * int(f"{i:0{LOG_N}b}"[::-1], 2) + 1
            want = sum(c * powers[exponent * k % (2 * N)] for k, c in enumerate(m)) % p
            assert plain[limb * N + i] == want, ("SEAL differs", limb, i)
    print(f"SEAL agrees at scale 2^{case['scale_bits']}: {limbs * N} words")


def main():
    global ROOTS
    parser = argparse.ArgumentParser(description="Write the known answers of tests/known_answers.rs.")
    parser.add_argument("--out", default="tests/data/known_answers.json")
    parser.add_argument("--seal", action="store_true", help="compare the embedding with Microsoft SEAL")
    args = parser.parse_args()
    mpmath.mp.prec = ROOT_BITS + 40
    ROOTS = roots()

    embedding = [embedding_case(28, 100), embedding_case(40, 500)]
    q, r = primes(2)
    products = [
        product_case(q, [123456789, 987654321, 192837465], [555555555, 271828182, 314159265]),
        product_case(r, [1, 1000003, 998244353], [2, 3, 5]),
        product_case(q, [q - 1, 0, 0], [q - 1, 0, 0]),
    ]
    data = {
        "origin": "scripts/known_answers.py: definitions in Python integers and mpmath 1.4.1; "
        "with --seal the embedding is compared with Microsoft SEAL",
        "log_n": LOG_N,
        "slot_bits": SLOT_BITS,
        "embedding": embedding,
        "products": products,
    }
    text = json.dumps(data, indent=1) + "\n"
    with open(args.out, "w", encoding="ascii", newline="\n") as file:
        file.write(text)
    print(hashlib.sha256(text.encode()).hexdigest())
    if args.seal:
        for case in embedding:
            compare_with_seal(case)


if __name__ == "__main__":
    main()
