//! A million mutations of valid bytes: an error or an object, no panic, no more memory than the limits allow.
//!
//! One test alone in its binary: it measures every allocation of the process.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::Inputs;
use num_complex::Complex64;
use peak_alloc::PeakAlloc;
use ringlight::ckks::{
    BootstrapSecret, Bootstrapping, Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Limits,
    Parameters, Plaintext,
};
use ringlight::math::Seed;
use ringlight::rlwe::{EvaluationKeys, PublicKey};
use ringlight::units::Level;
use ringlight::{Device, Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MUTATIONS: u32 = 1_000_000;

/// Bytes of a header.
const HEADER: usize = 48;

/// What bookkeeping may take beside the limits: handles, map nodes, the words of an error.
const BOOKKEEPING: u64 = 4 << 10;

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    bytes
}

/// What reading made.
enum Made {
    Parameters(Parameters),
    Public(PublicKey),
    Evaluation(EvaluationKeys),
    Plaintext(Plaintext),
    Ciphertext(HostCiphertext),
    Secret(Box<KeyGenerator>),
}

/// A set, and a client with keys for it.
struct World {
    parameters: Parameters,
    client: KeyGenerator,
}

impl World {
    fn new(parameters: Parameters) -> Self {
        let client = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([5; 32]));
        Self { parameters, client }
    }
}

/// One valid object and how to read its kind.
struct Object {
    /// The world that it belongs to.
    world: usize,
    bytes: Vec<u8>,
    /// Mutations in a hundred.
    share: u32,
    read: fn(&mut &[u8], &Parameters, &Limits) -> Result<Made>,
}

/// A toy, and a smallest set with levels for bootstrapping.
fn worlds() -> [World; 2] {
    let settings = Bootstrapping {
        slots_to_coefficients: 1,
        coefficients_to_slots: 1,
        transform_bits: 40,
        scale_bits: 40,
        ratio_bits: 8,
        range: 1,
        degree: 15,
        doublings: 2,
        arcsine: 1,
        secret: BootstrapSecret::Encapsulated { weight: 2, special: 2 },
    };
    let refreshing = Parameters::builder().log_n(10).levels(2).bootstrapping(settings);
    let toy = Parameters::builder().log_n(10).levels(1);
    [toy, refreshing].map(|builder| World::new(builder.insecure_build().unwrap()))
}

/// Objects of a set without bootstrapping.
fn objects(world: &World) -> Vec<Object> {
    let parameters = &world.parameters;
    let mut client = KeyGenerator::from_seed(parameters, &Seed::from_bytes([5; 32]));
    let public = client.public_key();
    let request = KeyRequest::new().relinearization_at(Level(0)).rotations_at(Level(0), [1, 2]);
    let evaluation = client.evaluation_keys(&request).unwrap();
    let plaintext = Encoder::new(parameters).encode(&[vec![Complex64::ONE; 3]], Level(0)).unwrap();
    let seeded = client.encryptor().encrypt(&plaintext).unwrap();
    let full = Encryptor::with_public_key(parameters, public.clone()).unwrap().encrypt(&plaintext).unwrap();
    let server = Evaluator::new(parameters, &Device::cpu(), &evaluation).unwrap();
    let x = server.load(&client.encryptor().encrypt_real(&[vec![0.5; 3]]).unwrap()).unwrap();
    let answer = server.multiply(&x, &x).unwrap().to_host().unwrap();
    let object = |share, bytes, read| Object { world: 0, bytes, share, read };
    vec![
        object(9, written(|w| parameters.write_to(w)), |r, _, l| {
            Parameters::insecure_read_from(r, l).map(Made::Parameters)
        }),
        object(4, written(|w| public.write_to(w)), |r, p, l| PublicKey::read_from(r, p.rlwe(), l).map(Made::Public)),
        object(17, written(|w| evaluation.write_to(w)), |r, p, l| {
            EvaluationKeys::read_from(r, p.rlwe(), l).map(Made::Evaluation)
        }),
        object(17, written(|w| plaintext.write_to(w)), |r, p, l| Plaintext::read_from(r, p, l).map(Made::Plaintext)),
        object(19, written(|w| seeded.write_to(w)), |r, p, l| HostCiphertext::read_from(r, p, l).map(Made::Ciphertext)),
        object(10, written(|w| full.write_to(w)), |r, p, l| HostCiphertext::read_from(r, p, l).map(Made::Ciphertext)),
        object(5, written(|w| client.write_secret_to(w)), |r, p, l| {
            KeyGenerator::read_secret_from(r, p, l).map(|client| Made::Secret(Box::new(client)))
        }),
        // A product that was not relinearized, for the key's owner.
        object(10, written(|w| answer.write_to(w)), |r, p, l| {
            HostCiphertext::read_answer_from(r, p, l).map(Made::Ciphertext)
        }),
    ]
}

/// Objects of a set with bootstrapping: the set, and the keys to and from its sparse secret.
fn refreshing_objects(world: &World) -> Vec<Object> {
    let mut client = KeyGenerator::from_seed(&world.parameters, &Seed::from_bytes([5; 32]));
    let request = KeyRequest::new().relinearization_at(Level(0)).encapsulation(true);
    let evaluation = client.evaluation_keys(&request).unwrap();
    let object = |share, bytes, read| Object { world: 1, bytes, share, read };
    vec![
        object(8, written(|w| world.parameters.write_to(w)), |r, _, l| {
            Parameters::insecure_read_from(r, l).map(Made::Parameters)
        }),
        object(1, written(|w| evaluation.write_to(w)), |r, p, l| {
            EvaluationKeys::read_from(r, p.rlwe(), l).map(Made::Evaluation)
        }),
    ]
}

/// Numbers that a forger would try.
const WORDS: [u32; 18] =
    [0, 1, 2, 3, 4, 5, 10, 11, 17, 255, 1023, 1024, 2047, 1 << 20, 1 << 29, (1 << 31) - 1, 1 << 31, u32::MAX];

/// One to four changes: bytes, counts, sizes, scales, pieces taken out, put in, swapped, or from another object.
fn mutate(bytes: &mut Vec<u8>, others: &[Object], inputs: &mut Inputs) {
    for _ in 0..=inputs.below(4) {
        let end = u32::try_from(bytes.len()).unwrap();
        if end < 16 {
            return;
        }
        // Fields lie in front; every fourth change goes anywhere.
        let place = |inputs: &mut Inputs| match inputs.below(8) {
            0..2 => inputs.below(end - 8),
            2..6 => (48 + 4 * inputs.below(40)).min(end - 8),
            _ => inputs.below(end.min(56) - 8),
        } as usize;
        let at = place(inputs);
        match inputs.below(12) {
            0..3 => bytes[at] ^= 1 << inputs.below(8),
            3 => bytes[at] = u8::try_from(inputs.below(256)).unwrap(),
            4..6 => bytes[at..at + 4].copy_from_slice(&WORDS[inputs.below(18) as usize].to_le_bytes()),
            6 => {
                let word = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                bytes[at..at + 4].copy_from_slice(&word.wrapping_add(inputs.below(5)).wrapping_sub(2).to_le_bytes());
            }
            7 => {
                let scales = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, 1e300, 2f64.powi(20), 2f64.powi(28)];
                bytes[at..at + 8].copy_from_slice(&scales[inputs.below(8) as usize].to_le_bytes());
            }
            8 => {
                let size = (bytes.len() - HEADER.min(bytes.len())) as u64;
                let sizes = [size, size + 4, 0, u64::MAX, 1 << 20, 1 << 40, inputs.next()];
                bytes[8..16].copy_from_slice(&sizes[inputs.below(7) as usize].to_le_bytes());
            }
            9 => bytes.truncate(at.max(1)),
            10 => {
                // The same piece twice, or gone, and the size set right for it.
                let piece = bytes[at..(at + 4 * inputs.below(64) as usize).min(bytes.len())].to_vec();
                if inputs.below(2) == 0 {
                    bytes.splice(at..at, piece);
                } else {
                    bytes.drain(at..at + piece.len());
                }
                if bytes.len() >= HEADER {
                    let size = (bytes.len() - HEADER) as u64;
                    bytes[8..16].copy_from_slice(&size.to_le_bytes());
                }
            }
            _ => {
                let other = &others[inputs.below(u32::try_from(others.len()).unwrap()) as usize].bytes;
                let count = 4 * inputs.below(32) as usize;
                bytes.iter_mut().zip(other).skip(at).take(count).for_each(|(byte, other)| *byte = *other);
            }
        }
    }
}

/// Some of the 11 settings of bootstrapping together, after levels, bits of scale and security: any number, a small one, an extreme.
fn mutate_settings(bytes: &mut [u8], parameters: &Parameters, inputs: &mut Inputs) {
    let start = HEADER + 16 + 8 * parameters.moduli().len() + 12;
    let Some(settings) = bytes.get_mut(start..start + 44) else { return };
    let often = 1 + inputs.below(11);
    for word in settings.chunks_exact_mut(4) {
        if inputs.below(often) == 0 {
            let value = match inputs.below(3) {
                0 => u32::try_from(inputs.next() >> 32).unwrap(),
                1 => inputs.below(64),
                _ => WORDS[inputs.below(18) as usize],
            };
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// The fingerprint that the bytes of parameters should have, put there: what lies behind that check is tested too.
fn sign(bytes: &mut [u8]) {
    if bytes.len() > HEADER {
        let (header, payload) = bytes.split_at_mut(HEADER);
        let digest = Sha256::new().chain_update(b"ringlight ckks\0").chain_update(payload).finalize();
        header[16..].copy_from_slice(&digest);
    }
}

/// What was read can be used, and written again as it came.
fn use_it(made: &Made, bytes: &[u8], World { parameters, client }: &World) {
    let again = match made {
        Made::Parameters(x) => written(|w| x.write_to(w)),
        Made::Public(x) => written(|w| x.write_to(w)),
        Made::Evaluation(x) => written(|w| x.write_to(w)),
        Made::Plaintext(x) => written(|w| x.write_to(w)),
        Made::Ciphertext(x) => written(|w| x.write_to(w)),
        Made::Secret(x) => written(|w| x.write_secret_to(w)),
    };
    assert_eq!(again, &bytes[..again.len()]);
    match made {
        Made::Parameters(x) => {
            let mut keys = KeyGenerator::from_seed(x, &Seed::from_bytes([6; 32]));
            let sent = keys.encryptor().encrypt_real(&[vec![0.5; 4]]).unwrap();
            keys.decryptor().decrypt_real(&sent).unwrap();
        }
        Made::Public(x) => {
            let sent = Encryptor::with_public_key(parameters, x.clone()).unwrap().encrypt_real(&[vec![0.5]]).unwrap();
            client.decryptor().decrypt_real(&sent).unwrap();
        }
        Made::Evaluation(x) => assert_eq!(x.bytes() as u64 + 20 * x.len() as u64 + 52, x.wire_bytes()),
        Made::Plaintext(x) => assert_eq!(Encoder::new(parameters).decode(x).unwrap().len(), x.batch() as usize),
        Made::Ciphertext(x) => {
            assert_eq!(client.decryptor().decrypt(x).unwrap().len(), x.batch() as usize);
        }
        Made::Secret(x) => {
            let sent = client.decryptor();
            drop((sent, x.decryptor()));
        }
    }
}

/// Most memory that a call takes at once.
fn peak<T>(call: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let done = call();
    (done, ALLOCATOR.peak_usage().saturating_sub(before) as u64)
}

/// The memory charged for the tables of parameters is what they take: the least limits that let them through hold.
fn tables_stay_within_their_limits() {
    for parameters in [Parameters::n13().unwrap(), Parameters::builder().log_n(16).levels(4).build().unwrap()] {
        let bytes = written(|w| parameters.write_to(w));
        drop(parameters);
        let read = |limit| Parameters::read_from(bytes.as_slice(), &Limits::bytes(limit));
        let (mut low, mut high) = (0u64, 1u64 << 28);
        while high - low > 1000 {
            let middle = low.midpoint(high);
            *(if read(middle).is_ok() { &mut high } else { &mut low }) = middle;
        }
        let (read, taken) = peak(|| read(high));
        println!("{}: {taken} bytes of {high} allowed", read.unwrap());
        assert!(taken <= high + BOOKKEEPING && 2 * taken > high, "{taken} of {high}");
    }
}

/// Half a gigabyte is declared and allowed, little of it comes: little memory is taken.
fn memory_follows_the_data(object: &Object, parameters: &Parameters) {
    let batch = (1u32 << 29) / (8 * 1024);
    let mut bytes = object.bytes[..HEADER + 24].to_vec();
    let rows = u64::from(batch) * 4096 * u64::from(parameters.limbs_at(Level(0)).unwrap().0);
    bytes[8..16].copy_from_slice(&(rows + 24).to_le_bytes());
    bytes[HEADER..HEADER + 4].copy_from_slice(&batch.to_le_bytes());
    bytes.resize(3 << 20, 0);
    let (done, taken) = peak(|| (object.read)(&mut bytes.as_slice(), parameters, &Limits::bytes(1 << 30)));
    assert!(matches!(done, Err(Error::BadBytes { field: "rows", .. })));
    assert!(taken < 3 * (3 << 20), "{taken}");
}

#[test]
fn a_million_mutations_neither_panic_nor_take_more_than_the_limits() {
    let worlds = worlds();
    let mut objects = objects(&worlds[0]);
    objects.extend(refreshing_objects(&worlds[1]));
    let mut inputs = Inputs::new(20_261_121);
    let mut refused: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut accepted = vec![0u32; objects.len()];
    let (mut worst, mut scratch) = (i64::MIN, Vec::new());
    // Threads and lazy tables first: they are not the reader's.
    for object in &objects {
        let world = &worlds[object.world];
        let made = (object.read)(&mut object.bytes.as_slice(), &world.parameters, &Limits::bytes(1 << 24)).unwrap();
        use_it(&made, &object.bytes, world);
    }
    tables_stay_within_their_limits();
    memory_follows_the_data(&objects[3], &worlds[0].parameters);
    assert_eq!(objects.iter().map(|object| object.share).sum::<u32>(), 100);
    for round in 0..MUTATIONS {
        let mut draw = inputs.below(100);
        let kind = objects.iter().position(|object| {
            let found = draw < object.share;
            draw = draw.saturating_sub(object.share);
            found
        });
        let kind = kind.unwrap();
        let object = &objects[kind];
        let World { parameters, .. } = &worlds[object.world];
        scratch.clear();
        scratch.extend_from_slice(&object.bytes);
        // Kinds 0 and 8 are sets, which know their own fingerprint.
        if kind == 8 && inputs.below(2) == 0 {
            mutate_settings(&mut scratch, parameters, &mut inputs);
        } else {
            mutate(&mut scratch, &objects, &mut inputs);
        }
        if [0, 8].contains(&kind) && inputs.below(4) > 0 {
            sign(&mut scratch);
        }
        let size = object.bytes.len() as u64;
        let limits = Limits::bytes([size - HEADER as u64, size / 2, 4 * size, 1 << 20][inputs.below(4) as usize]);

        let (done, taken) = peak(|| (object.read)(&mut scratch.as_slice(), parameters, &limits));
        assert!(taken <= limits.bytes + BOOKKEEPING, "round {round}, kind {kind}: {taken} bytes under {limits:?}");
        worst = worst.max(taken.cast_signed() - limits.bytes.cast_signed());

        match done {
            Ok(made) => {
                accepted[kind] += 1;
                if accepted[kind] % 64 == 1 {
                    use_it(&made, &scratch, &worlds[object.world]);
                }
            }
            Err(Error::BadBytes { kind, field, .. }) => *refused.entry((kind, field)).or_default() += 1,
            Err(other) => panic!("round {round}: {other}"),
        }
    }
    println!("accepted {accepted:?}; most memory beyond the limits: {worst} bytes");
    for ((kind, field), count) in &refused {
        println!("{count:7} {kind}: {field}");
    }
    // The mutations reach behind every check.
    assert!(accepted.iter().all(|&count| count > 100), "{accepted:?}");
    assert!(refused.len() >= 60, "{}", refused.len());
}
