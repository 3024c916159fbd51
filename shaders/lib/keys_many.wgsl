// Key digits of a dispatch, on devices that bind sixteen storage buffers.

@group(0) @binding(7) var<storage, read_write> key0: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read_write> key1: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read_write> key2: array<vec4<u32>>;
@group(0) @binding(10) var<storage, read_write> key3: array<vec4<u32>>;
@group(0) @binding(11) var<storage, read_write> key4: array<vec4<u32>>;
@group(0) @binding(12) var<storage, read_write> key5: array<vec4<u32>>;
@group(0) @binding(13) var<storage, read_write> key6: array<vec4<u32>>;
@group(0) @binding(14) var<storage, read_write> key7: array<vec4<u32>>;
@group(0) @binding(15) var<storage, read_write> key8: array<vec4<u32>>;

fn key_at(digit: u32, at: u32) -> vec4<u32> {
    switch digit {
        case 0u: { return key0[at]; }
        case 1u: { return key1[at]; }
        case 2u: { return key2[at]; }
        case 3u: { return key3[at]; }
        case 4u: { return key4[at]; }
        case 5u: { return key5[at]; }
        case 6u: { return key6[at]; }
        case 7u: { return key7[at]; }
        default: { return key8[at]; }
    }
}
