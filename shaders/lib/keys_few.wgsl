// Key digits of a dispatch, as many as every device can bind.

@group(0) @binding(5) var<storage, read_write> key0: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> key1: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> key2: array<vec4<u32>>;

fn key_at(digit: u32, at: u32) -> vec4<u32> {
    switch digit {
        case 0u: { return key0[at]; }
        case 1u: { return key1[at]; }
        default: { return key2[at]; }
    }
}
