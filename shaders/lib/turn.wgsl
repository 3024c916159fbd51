// The automorphism X -> X^g in evaluation form, on quads of words.
//
// Word i of the result is word j of the source with 2 brv(j) + 1 = g (2 brv(i) + 1) mod 2N. The words of a quad differ
// in the top two bits of brv, so a quad of the result is one quad of the source with its words permuted.

// Index of the source quad, and the turn of its words.
struct Turn {
    quad: u32,
    turn: u32,
}

fn turn_of(quad: u32, element: u32, log_n: u32) -> Turn {
    let reversed = reverseBits(4u * quad) >> (32u - log_n);
    let exponent = (element * (2u * reversed + 1u)) >> 1u;
    let source = reverseBits(exponent << (32u - log_n));
    return Turn(source >> 2u, (exponent >> (log_n - 2u)) & 3u);
}

// Word b of the result is word r((g r(b) + turn) mod 4) of v, r reversing two bits.
fn permute(v: vec4<u32>, element: u32, turn: u32) -> vec4<u32> {
    var x = v.xzyw;
    if (element & 3u) == 3u {
        x = x.xwzy; // word u becomes word -u
    }
    let by = select(turn, 4u - turn, (element & 3u) == 3u);
    if (by & 1u) != 0u {
        x = x.yzwx;
    }
    if (by & 2u) != 0u {
        x = x.zwxy;
    }
    return x.xzyw;
}
