// What the four NTT kernels share: parameters, addressing, the workgroup tile.

struct Params {
    dst: Window,
    src: Window,
    minuend: Window,  // end of a division: a in (a - NTT(src)) scale + plus
    plus: Window,     // as many polynomials as there are, maybe none
    log_n: u32,
    element: u32,     // TURN: X^element for X, of the result
    inverse: u32,     // of the element, mod 2N
    records: u32,     // table of two vec4 a row of the grid: (q, prime, limb, digit), and constants of the transform's end:
                      // of a division (scale, its quotient, -, -), of an inverse transform those of `last_butterfly`
    digit_rows: u32,  // rows from one digit to the next
    first_poly: u32,  // of this dispatch
    prime_roots: u32, // vec4 of roots a prime
    upper: u32,       // first root vec4 of the rounds, top first
    middle: u32,
    lower: u32,
    limbs: u32,       // key_switch: table of Limb, aux = key row, factor = Q
    batch: u32,       // polynomials of a component
    first_digit: u32,
    keys: u32,        // key digits of this dispatch
    key_limbs: u32,   // of every key digit's buffer
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(2) var<storage, read_write> dst_words: array<u32>;
@group(0) @binding(2) var<storage, read_write> dst_quads: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> src_words: array<u32>;
@group(0) @binding(4) var<storage, read_write> src_quads: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> minuend: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> plus: array<vec4<u32>>;

struct Row {
    q: u32,
    roots: u32,
    limb: u32, // row offset of the limb, in its digit
    digit: u32,
    poly: u32,
    end: vec4<u32>,
}

fn row_at(group: vec3<u32>) -> Row {
    let record = tables[params.records + 2u * group.y];
    let end = tables[params.records + 2u * group.y + 1u];
    let limb = record.z + record.w * params.digit_rows;
    return Row(record.x, record.y * params.prime_roots, limb, record.w, params.first_poly + group.z, end);
}

fn word_of(window: Window, row: Row) -> u32 {
    // Transforms are launched once for each repetition of a source: nothing repeats here.
    return row_of(window, row.poly, row.limb) << params.log_n;
}

override LOG_POINTS: u32;
override POINTS: u32 = 1u << LOG_POINTS;
override THREADS: u32 = POINTS / 16u;

// The words of one transform between rounds. Bits 2 to 4 of addresses are swizzled so that neighbouring threads fall on
// different banks of 32 in every round, whatever their stride. Each word has one place, so that a thread of the middle
// round writes where it read and two barriers do.
var<workgroup> tile: array<u32, POINTS>;

fn swizzle(word: u32) -> u32 {
    return word ^ ((word >> 3u) & 12u) ^ ((word >> 4u) & 16u);
}

// Place of word thread + e THREADS, e = offset / THREADS.
fn upper_place(thread: u32, offset: u32) -> u32 {
    let moved = swizzle(offset);
    return (swizzle(thread) ^ (moved & 31u)) + (moved & ~31u);
}

struct Middle {
    base: u32, // place of the thread's first word
    turn: u32, // what to subtract from it for words whose bit 4 is set
    node: u32, // of the round, in this piece
}

fn middle_of(thread: u32) -> Middle {
    let step = THREADS / 16u;
    let node = thread / step;
    let base = swizzle(node * THREADS + thread % step);
    return Middle(base, base - ((base << 1u) & 32u), node);
}

// Place of the word `offset` after the first: written so that most of it is a constant.
fn middle_place(middle: Middle, offset: u32) -> u32 {
    let base = select(middle.base, middle.turn, (offset & 16u) != 0u);
    return (base ^ (swizzle(offset) & 15u)) + (offset & ~15u);
}

fn load_upper4(thread: u32, first: u32) -> vec4<u32> {
    return vec4<u32>(
        tile[upper_place(thread, first)],
        tile[upper_place(thread, first + THREADS)],
        tile[upper_place(thread, first + 2u * THREADS)],
        tile[upper_place(thread, first + 3u * THREADS)],
    );
}

fn load_upper(thread: u32) -> Sixteen {
    return Sixteen(
        load_upper4(thread, 0u),
        load_upper4(thread, 4u * THREADS),
        load_upper4(thread, 8u * THREADS),
        load_upper4(thread, 12u * THREADS),
    );
}

fn store_upper4(thread: u32, first: u32, v: vec4<u32>) {
    tile[upper_place(thread, first)] = v.x;
    tile[upper_place(thread, first + THREADS)] = v.y;
    tile[upper_place(thread, first + 2u * THREADS)] = v.z;
    tile[upper_place(thread, first + 3u * THREADS)] = v.w;
}

fn store_upper(thread: u32, v: Sixteen) {
    store_upper4(thread, 0u, v.a);
    store_upper4(thread, 4u * THREADS, v.b);
    store_upper4(thread, 8u * THREADS, v.c);
    store_upper4(thread, 12u * THREADS, v.d);
}

override STEP: u32 = THREADS / 16u;

fn load_middle4(middle: Middle, first: u32) -> vec4<u32> {
    return vec4<u32>(
        tile[middle_place(middle, first)],
        tile[middle_place(middle, first + STEP)],
        tile[middle_place(middle, first + 2u * STEP)],
        tile[middle_place(middle, first + 3u * STEP)],
    );
}

fn load_middle(middle: Middle) -> Sixteen {
    return Sixteen(
        load_middle4(middle, 0u),
        load_middle4(middle, 4u * STEP),
        load_middle4(middle, 8u * STEP),
        load_middle4(middle, 12u * STEP),
    );
}

fn store_middle4(middle: Middle, first: u32, v: vec4<u32>) {
    tile[middle_place(middle, first)] = v.x;
    tile[middle_place(middle, first + STEP)] = v.y;
    tile[middle_place(middle, first + 2u * STEP)] = v.z;
    tile[middle_place(middle, first + 3u * STEP)] = v.w;
}

fn store_middle(middle: Middle, v: Sixteen) {
    store_middle4(middle, 0u, v.a);
    store_middle4(middle, 4u * STEP, v.b);
    store_middle4(middle, 8u * STEP, v.c);
    store_middle4(middle, 12u * STEP, v.d);
}

fn load_lower4(place: u32) -> vec4<u32> {
    return vec4<u32>(tile[place], tile[place + 1u], tile[place + 2u], tile[place + 3u]);
}

// Sixteen words in a row.
fn load_lower(thread: u32) -> Sixteen {
    let base = swizzle(16u * thread);
    return Sixteen(load_lower4(base), load_lower4(base ^ 4u), load_lower4(base ^ 8u), load_lower4(base ^ 12u));
}

fn store_lower4(place: u32, v: vec4<u32>) {
    tile[place] = v.x;
    tile[place + 1u] = v.y;
    tile[place + 2u] = v.z;
    tile[place + 3u] = v.w;
}

fn store_lower(thread: u32, v: Sixteen) {
    let base = swizzle(16u * thread);
    store_lower4(base, v.a);
    store_lower4(base ^ 4u, v.b);
    store_lower4(base ^ 8u, v.c);
    store_lower4(base ^ 12u, v.d);
}

fn load_words4(first: u32, step: u32) -> vec4<u32> {
    return vec4<u32>(
        src_words[first],
        src_words[first + step],
        src_words[first + 2u * step],
        src_words[first + 3u * step],
    );
}

fn load_words(first: u32, step: u32) -> Sixteen {
    return Sixteen(
        load_words4(first, step),
        load_words4(first + 4u * step, step),
        load_words4(first + 8u * step, step),
        load_words4(first + 12u * step, step),
    );
}

fn store_words4(first: u32, step: u32, v: vec4<u32>) {
    dst_words[first] = v.x;
    dst_words[first + step] = v.y;
    dst_words[first + 2u * step] = v.z;
    dst_words[first + 3u * step] = v.w;
}

fn store_words(first: u32, step: u32, v: Sixteen) {
    store_words4(first, step, v.a);
    store_words4(first + 4u * step, step, v.b);
    store_words4(first + 8u * step, step, v.c);
    store_words4(first + 12u * step, step, v.d);
}
