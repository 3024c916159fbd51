//! Things that travel: what was written is read back, elsewhere and on every device, and what was damaged is refused by
//! name.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::devices;
use num_complex::Complex64;
use ringlight::ckks::{
    BootstrapSecret, Bootstrapping, Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Limits,
    Parameters, Plaintext,
};
use ringlight::math::Seed;
use ringlight::rlwe::{EvaluationKeys, PublicKey};
use ringlight::units::Level;
use ringlight::{Error, Result};
use std::io::{Read, Write};

/// Bytes of a header.
const HEADER: usize = 48;

fn toy() -> Parameters {
    Parameters::builder().log_n(10).levels(2).insecure_build().unwrap()
}

fn limits(bytes: &[u8]) -> Limits {
    Limits::bytes(bytes.len() as u64)
}

fn generous() -> Limits {
    Limits::bytes(1 << 30)
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    bytes
}

/// One object of every kind under one set of parameters.
struct World {
    parameters: Parameters,
    client: KeyGenerator,
    public: PublicKey,
    evaluation: EvaluationKeys,
    plaintext: Plaintext,
    /// Encrypted with the secret key: a seed.
    seeded: HostCiphertext,
    /// Encrypted with the public key: both halves.
    full: HostCiphertext,
}

fn world(parameters: Parameters) -> World {
    let mut client = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([3; 32]));
    let public = client.public_key();
    let request = KeyRequest::new().relinearization(true).rotations([1, -2]).conjugation(true);
    let evaluation = client.evaluation_keys(&request).unwrap();
    let vectors = [vec![Complex64::new(0.5, -0.25); 7], vec![Complex64::ONE; parameters.slots()]];
    let plaintext = Encoder::new(&parameters).encode(&vectors, Level(1)).unwrap();
    let seeded = client.encryptor().encrypt(&plaintext).unwrap();
    let full = Encryptor::with_public_key(&parameters, public.clone()).unwrap().encrypt(&plaintext).unwrap();
    World { parameters, client, public, evaluation, plaintext, seeded, full }
}

impl World {
    /// The bytes of every object, with what reads and writes them again.
    fn objects(&self) -> Vec<(&'static str, Vec<u8>, Reread<'_>)> {
        let (p, set) = (&self.parameters, self.parameters.rlwe());
        vec![
            (
                "parameters",
                written(|w| p.write_to(w)),
                Box::new(|r, l| Parameters::insecure_read_from(r, l).map(|x| written(|w| x.write_to(w)))),
            ),
            (
                "a public key",
                written(|w| self.public.write_to(w)),
                Box::new(|r, l| PublicKey::read_from(r, set, l).map(|x| written(|w| x.write_to(w)))),
            ),
            (
                "evaluation keys",
                written(|w| self.evaluation.write_to(w)),
                Box::new(|r, l| EvaluationKeys::read_from(r, set, l).map(|x| written(|w| x.write_to(w)))),
            ),
            (
                "a plaintext",
                written(|w| self.plaintext.write_to(w)),
                Box::new(|r, l| Plaintext::read_from(r, p, l).map(|x| written(|w| x.write_to(w)))),
            ),
            (
                "a ciphertext",
                written(|w| self.seeded.write_to(w)),
                Box::new(|r, l| HostCiphertext::read_from(r, p, l).map(|x| written(|w| x.write_to(w)))),
            ),
            (
                "a ciphertext",
                written(|w| self.full.write_to(w)),
                Box::new(|r, l| HostCiphertext::read_from(r, p, l).map(|x| written(|w| x.write_to(w)))),
            ),
            (
                "a secret key",
                written(|w| self.client.write_secret_to(w)),
                Box::new(|r, l| KeyGenerator::read_secret_from(r, p, l).map(|x| written(|w| x.write_secret_to(w)))),
            ),
        ]
    }
}

/// Reads an object and writes it again.
type Reread<'a> = Box<dyn Fn(&mut dyn Read, &Limits) -> Result<Vec<u8>> + 'a>;

/// The field that an error names.
fn field<T>(done: Result<T>) -> &'static str {
    match done {
        Err(Error::BadBytes { field, .. }) => field,
        Err(other) => panic!("{other}"),
        Ok(_) => "read without an error",
    }
}

#[test]
fn every_object_comes_back_as_the_same_bytes() {
    let world = world(toy());
    for (name, bytes, reread) in world.objects() {
        let mut rest = [bytes.as_slice(), b"what follows"].concat();
        let mut source = rest.as_slice();
        assert_eq!(reread(&mut source, &generous()).unwrap(), bytes, "{name}");
        assert_eq!(source, b"what follows", "{name} takes its own bytes and no more");
        // The same over a reader that hands out a few bytes at a time.
        rest.truncate(bytes.len());
        assert_eq!(reread(&mut Slow(&rest), &generous()).unwrap(), bytes, "{name}");
    }
    let sizes = [
        world.parameters.wire_bytes(),
        world.public.wire_bytes(),
        world.evaluation.wire_bytes(),
        world.plaintext.wire_bytes(),
        world.seeded.wire_bytes(),
        world.full.wire_bytes(),
    ];
    for (size, (name, bytes, _)) in sizes.iter().zip(world.objects()) {
        assert_eq!(*size, bytes.len() as u64, "{name}");
    }
    // Seeds stay seeds.
    assert!(2 * world.seeded.wire_bytes() < world.full.wire_bytes() + 200);
}

/// Hands out at most 7 bytes at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = out.len().min(7);
        self.0.read(&mut out[..count])
    }
}

#[test]
fn objects_that_were_read_do_what_the_originals_do() {
    let world = world(toy());
    // Another process: everything from bytes, the parameters too.
    let bytes = written(|w| world.parameters.write_to(w));
    let parameters = Parameters::insecure_read_from(bytes.as_slice(), &generous()).unwrap();
    assert!(parameters.is_same(&world.parameters));
    assert_eq!(parameters.fingerprint(), world.parameters.fingerprint());
    let bytes = written(|w| world.evaluation.write_to(w));
    let evaluation = EvaluationKeys::read_from(bytes.as_slice(), parameters.rlwe(), &generous()).unwrap();
    let bytes = written(|w| world.seeded.write_to(w));
    let ciphertext = HostCiphertext::read_from(bytes.as_slice(), &parameters, &limits(&bytes)).unwrap();

    let compute = |evaluator: &Evaluator, x: &HostCiphertext| {
        let x = evaluator.load(x)?;
        let y = evaluator.mul(&x, &evaluator.rotate(&x, 1)?)?;
        evaluator.add(&evaluator.conjugate(&y)?, &y)?.to_host()
    };
    let mut digests = Vec::new();
    for device in devices() {
        // The originals' own evaluator, and one made of what was read: their rings are one ring on the device.
        let theirs = Evaluator::new(&world.parameters, &device, &world.evaluation).unwrap();
        let ours = Evaluator::new(&parameters, &device, &evaluation).unwrap();
        digests.push(compute(&theirs, &world.seeded).unwrap().digest());
        digests.push(compute(&ours, &ciphertext).unwrap().digest());
        digests.push(compute(&ours, &world.seeded).unwrap().digest());
        let (a, b) = (theirs.load(&ciphertext).unwrap(), ours.load(&world.seeded).unwrap());
        let sums = [ours.add(&a, &b), theirs.add(&b, &a)].map(|sum| sum.unwrap().to_host().unwrap().digest());
        assert_eq!(sums[0], sums[1]);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");

    // The public key encrypts, the plaintext is the same vectors, the secret key decrypts.
    let bytes = written(|w| world.public.write_to(w));
    let public = PublicKey::read_from(bytes.as_slice(), parameters.rlwe(), &generous()).unwrap();
    let bytes = written(|w| world.plaintext.write_to(w));
    let plaintext = Plaintext::read_from(bytes.as_slice(), &parameters, &limits(&bytes)).unwrap();
    let bytes = written(|w| world.client.write_secret_to(w));
    let mut client = KeyGenerator::read_secret_from(bytes.as_slice(), &parameters, &generous()).unwrap();
    let want = Encoder::new(&world.parameters).decode(&world.plaintext).unwrap();
    assert_eq!(Encoder::new(&parameters).decode(&plaintext).unwrap(), want);
    let sent = Encryptor::with_public_key(&parameters, public).unwrap().encrypt(&plaintext).unwrap();
    for decryptor in [client.decryptor(), world.client.decryptor()] {
        for sent in [&sent, &world.full, &world.seeded, &client.encryptor().encrypt(&plaintext).unwrap()] {
            let got = decryptor.decrypt(sent).unwrap();
            let off = got.iter().flatten().zip(want.iter().flatten()).map(|(a, b)| (a - b).norm());
            assert!(off.fold(0.0, f64::max) < 1e-3);
        }
    }
    // Its randomness is fresh: the same request makes other keys.
    let request = KeyRequest::new().relinearization(true);
    let one = written(|w| client.evaluation_keys(&request)?.write_to(w));
    let mut again =
        KeyGenerator::read_secret_from(bytes_of_secret(&client).as_slice(), &parameters, &generous()).unwrap();
    assert_ne!(one, written(|w| again.evaluation_keys(&request)?.write_to(w)));
}

fn bytes_of_secret(client: &KeyGenerator) -> Vec<u8> {
    written(|w| client.write_secret_to(w))
}

#[test]
fn presets_come_back_through_the_security_table() {
    let presets = [
        Parameters::n13(),
        Parameters::n14(),
        Parameters::builder().scale_bits(45).levels(4).build(),
        Parameters::bootstrap_n15(),
        Parameters::bootstrap_n16(),
        Parameters::bootstrap_n16_dense(),
    ];
    for built in presets.map(Result::unwrap) {
        let bytes = written(|w| built.write_to(w));
        let read = Parameters::read_from(bytes.as_slice(), &generous()).unwrap();
        assert!(read.is_same(&built));
        assert_eq!(read.to_string(), built.to_string());
        assert_eq!(read.moduli(), built.moduli());
        for level in 0..=built.top_level().0 {
            assert_eq!(read.limbs_at(Level(level)).unwrap(), built.limbs_at(Level(level)).unwrap());
            assert_eq!(read.scale_at(Level(level)).unwrap(), built.scale_at(Level(level)).unwrap());
        }
        // Built again, it is the same set; another is not.
        assert!(!read.is_same(&toy()));
    }
    for secret in [BootstrapSecret::Encapsulated { weight: 32, special: 2 }, BootstrapSecret::Dense] {
        let built = Parameters::builder().log_n(15).levels(4).scale_bits(45).bootstrapping(settings(secret));
        let built = built.build().unwrap();
        let bytes = written(|w| built.write_to(w));
        let read = Parameters::read_from(bytes.as_slice(), &generous()).unwrap();
        assert!(read.is_same(&built));
        assert_eq!(read.bootstrapping(), built.bootstrapping());
        // A sparser secret, or one under another special prime: keys for it would give the dense secret away.
        if secret != BootstrapSecret::Dense {
            let at = HEADER + after_primes(&built) + 12 + 36;
            for (offset, value) in [(0, 31u32), (0, 1), (4, 3)] {
                let weak = with(&bytes, at + offset, &value.to_le_bytes());
                assert_eq!(field(Parameters::read_from(weak.as_slice(), &generous())), "bootstrapping");
            }
        }
    }
    assert!(toy().is_same(&toy()));
    let bytes = written(|w| toy().write_to(w));
    assert_eq!(field(Parameters::read_from(bytes.as_slice(), &generous())), "security");
}

#[test]
fn objects_that_end_early_are_refused_at_every_byte() {
    for (name, bytes, reread) in world(toy()).objects() {
        // Every byte of what is small; of what is large the header, the first fields, and steps that share no factor
        // with a row.
        let small = if bytes.len() < 30_000 { bytes.len() } else { 300 };
        for length in (0..small).chain((small..bytes.len()).step_by(509)).chain([bytes.len() - 1]) {
            match reread(&mut &bytes[..length], &generous()) {
                Err(Error::BadBytes { kind, reason, .. }) => {
                    assert_eq!(kind, name);
                    assert!(reason.contains("end in the middle"), "{reason}");
                }
                other => panic!("{name} of {length} bytes: {other:?}"),
            }
        }
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let world = world(toy());
    let objects = world.objects();
    for (name, bytes, reread) in &objects {
        let with = |at: usize, byte: u8| {
            let mut changed = bytes.clone();
            changed[at] ^= byte;
            reread(&mut changed.as_slice(), &generous())
        };
        assert_eq!(field(with(0, 0x20)), "magic", "{name}");
        assert_eq!(field(with(4, 2)), "version");
        assert_eq!(field(with(6, 0x40)), "kind");
        assert!(["fingerprint", "size"].contains(&field(with(16, 1))));
        assert_eq!(field(with(47, 0x80)), "fingerprint");
        // A size that is larger, smaller, huge.
        let sized = |size: u64| {
            let mut changed = bytes.clone();
            changed[8..16].copy_from_slice(&size.to_le_bytes());
            changed.extend([0; 64]);
            field(reread(&mut changed.as_slice(), &generous()))
        };
        let size = (bytes.len() - HEADER) as u64;
        for wrong in [size + 1, size + 4, size - 1] {
            assert_ne!(sized(wrong), "read without an error", "{name}");
        }
        assert_eq!(sized(u64::MAX), "size", "{name}");
        assert_eq!(sized((1 << 30) + 1), "size", "{name}");
        assert_ne!(sized(0), "read without an error", "{name}");
        // Every other kind, with its own header.
        for (other, bytes, _) in &objects {
            if other != name {
                let error = reread(&mut bytes.as_slice(), &generous()).unwrap_err();
                assert!(matches!(error, Error::BadBytes { field: "kind", .. }), "{other} as {name}: {error}");
                assert!(error.to_string().contains(other), "{error}");
            }
        }
    }
}

#[test]
fn objects_of_other_parameters_are_refused() {
    let ours = world(toy());
    let others = [
        Parameters::builder().log_n(11).levels(2).insecure_build().unwrap(),
        Parameters::builder().log_n(10).levels(3).insecure_build().unwrap(),
        Parameters::builder().log_n(10).levels(2).scale_bits(29).insecure_build().unwrap(),
    ];
    for parameters in others {
        assert!(!parameters.is_same(&ours.parameters));
        for ((name, bytes, _), (_, _, reread)) in ours.objects().into_iter().zip(world(parameters).objects()).skip(1) {
            assert_eq!(field(reread(&mut bytes.as_slice(), &generous())), "fingerprint", "{name}");
        }
    }
}

#[test]
fn limits_hold() {
    let world = world(toy());
    for (name, bytes, reread) in world.objects() {
        for limit in [0, 1, 40, bytes.len() as u64 - HEADER as u64 - 1] {
            assert_eq!(field(reread(&mut bytes.as_slice(), &Limits::bytes(limit))), "size", "{name}");
        }
    }
    // A few bytes of parameters become tables.
    let bytes = written(|w| world.parameters.write_to(w));
    assert_eq!(field(Parameters::insecure_read_from(bytes.as_slice(), &Limits::bytes(4096))), "log_n");
    assert_eq!(field(Parameters::insecure_read_from(bytes.as_slice(), &Limits::bytes(100_000))), "moduli");
    // A public key is expanded.
    let bytes = written(|w| world.public.write_to(w));
    assert_eq!(field(PublicKey::read_from(bytes.as_slice(), world.parameters.rlwe(), &limits(&bytes))), "rows");
}

#[test]
fn failing_streams_keep_their_words() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the cat pulled the plug"))
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "no room for the cat"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let world = world(toy());
    for (name, bytes, reread) in world.objects() {
        let error = reread(&mut bytes[..bytes.len() / 2].chain(Broken), &generous()).unwrap_err();
        assert!(matches!(error, Error::Stream { kind: std::io::ErrorKind::ConnectionReset, .. }), "{error}");
        assert!(error.to_string().contains("the cat pulled the plug") && error.to_string().contains(name), "{error}");
    }
    let error = world.full.write_to(Broken).unwrap_err();
    assert!(matches!(&error, Error::Stream { kind: std::io::ErrorKind::StorageFull, .. }));
    assert!(error.to_string().contains("writing a ciphertext"), "{error}");
}

/// Bytes with a few of them replaced.
fn with(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at..at + patch.len()].copy_from_slice(patch);
    changed
}

/// Refusals of an object: the place in its payload, a `u32` put there, the field that is named.
type Forged = (usize, u32, &'static str);

fn refuses(bytes: &[u8], forged: &[Forged], reread: &Reread<'_>) {
    for &(at, value, named) in forged {
        let changed = with(bytes, HEADER + at, &value.to_le_bytes());
        assert_eq!(field(reread(&mut changed.as_slice(), &generous())), named, "{value} at {at}");
    }
}

const NOT_SCALES: [f64; 10] =
    [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, -1.0, 0.999, f64::MIN_POSITIVE, f64::MAX];

#[test]
fn forged_ciphertexts_and_plaintexts_are_refused() {
    let world = world(toy());
    let objects = world.objects();
    let limbs = world.parameters.limbs_at(Level(1)).unwrap().0;
    let q: Vec<u32> = world.parameters.moduli();
    let (row, batch) = (4 * 1024, 2);

    let (_, bytes, reread) = &objects[3]; // a plaintext: batch, limbs, level, domain, scale, rows
    let counts = [(0, 0, "batch"), (0, 1, "size"), (0, 3, "size"), (0, u32::MAX, "size"), (4, 0, "limbs")];
    refuses(bytes, &counts, reread);
    refuses(bytes, &[(4, limbs + 1, "limbs"), (8, 3, "level"), (8, u32::MAX, "level"), (8, 0, "limbs")], reread);
    refuses(bytes, &[(12, 0, "domain"), (12, 2, "domain"), (24, q[0], "rows"), (24, u32::MAX, "rows")], reread);
    for scale in NOT_SCALES {
        let changed = with(bytes, HEADER + 16, &scale.to_le_bytes());
        assert_eq!(field(reread(&mut changed.as_slice(), &generous())), "scale", "{scale}");
    }

    // A ciphertext: components, batch, limbs, level, domain, half, scale, rows, half.
    for (_, bytes, reread) in &objects[4..6] {
        let components = [(0, 0), (0, 1), (0, 4), (0, u32::MAX)].map(|(at, value)| (at, value, "components"));
        refuses(bytes, &components, reread);
        refuses(bytes, &[(4, 0, "batch"), (4, 1, "size"), (4, u32::MAX, "batch"), (4, 1 << 30, "size")], reread);
        refuses(bytes, &[(8, 0, "limbs"), (8, limbs - 1, "limbs"), (8, u32::MAX, "limbs")], reread);
        refuses(bytes, &[(12, 0, "limbs"), (12, 2, "limbs"), (12, 3, "level"), (12, u32::MAX, "level")], reread);
        refuses(bytes, &[(16, 0, "domain"), (16, 7, "domain"), (20, 2, "half"), (20, u32::MAX, "half")], reread);
        for scale in NOT_SCALES {
            let changed = with(bytes, HEADER + 24, &scale.to_le_bytes());
            assert_eq!(field(reread(&mut changed.as_slice(), &generous())), "scale", "{scale}");
        }
        // Residues: the first and the last of each row of c0, at its modulus.
        for index in 0..batch * limbs as usize {
            for at in [32 + index * row, 32 + (index + 1) * row - 4] {
                refuses(bytes, &[(at, q[index % limbs as usize], "c0"), (at, u32::MAX, "c0")], reread);
                let fits = with(bytes, HEADER + at, &(q[index % limbs as usize] - 1).to_le_bytes());
                reread(&mut fits.as_slice(), &generous()).unwrap();
            }
        }
    }
    let (seeded, full) = (&objects[4], &objects[5]);
    refuses(&seeded.1, &[(0, 3, "half"), (20, 0, "size")], &seeded.2);
    refuses(&full.1, &[(0, 3, "size"), (20, 1, "size")], &full.2);
    refuses(&full.1, &[(full.1.len() - HEADER - 4, q[limbs as usize - 1], "c1")], &full.2);
}

#[test]
fn trivial_ciphertexts_are_refused_from_clients_alone() {
    let world = world(toy());
    let (parameters, limbs) = (&world.parameters, world.parameters.limbs_at(Level(1)).unwrap().0 as usize);
    let bytes = written(|w| world.full.write_to(w));
    let second = bytes.len() - (bytes.len() - HEADER - 32) / 2;
    for row in 0..2 * limbs {
        let trivial = with(&bytes, second + row * 4096, &[0; 4096]);
        assert_eq!(field(HostCiphertext::read_from(trivial.as_slice(), parameters, &generous())), "c1", "row {row}");
        HostCiphertext::read_answer_from(trivial.as_slice(), parameters, &generous()).unwrap();
    }
    // A product with 0 is such an answer; one without relinearization has three components, and both travel.
    let server = Evaluator::new(parameters, &ringlight::Device::cpu(), &world.evaluation).unwrap();
    let x = server.load(&world.full).unwrap();
    let zero = server.mul_scalar(&x, 0.0, x.scale()).unwrap();
    let product = server.multiply(&x, &x).unwrap();
    for (answer, from_client) in [(zero, false), (product, true)] {
        let answer = answer.to_host().unwrap();
        let bytes = written(|w| answer.write_to(w));
        let read = HostCiphertext::read_answer_from(bytes.as_slice(), parameters, &limits(&bytes)).unwrap();
        assert_eq!(read.digest(), answer.digest());
        let read = HostCiphertext::read_from(bytes.as_slice(), parameters, &limits(&bytes));
        assert_eq!(read.is_ok(), from_client);
    }
}

#[test]
fn forged_keys_are_refused() {
    let world = world(toy());
    let objects = world.objects();
    let (parameters, q) = (&world.parameters, world.parameters.moduli());

    let (_, bytes, reread) = &objects[1]; // a public key: rows, seed
    let last = bytes.len() - HEADER - 32 - 4;
    refuses(bytes, &[(0, q[0], "rows"), (last, q[parameters.rlwe().chain().0 as usize - 1], "rows")], reread);

    // Evaluation keys: count; purpose, element, limbs, special primes, digits, rows and seeds; the next key.
    let (_, bytes, reread) = &objects[2];
    let key = world.evaluation.iter().next().unwrap().1;
    let next = 4 + 20 + key.bytes();
    refuses(bytes, &[(0, 0, "size"), (0, 3, "size"), (0, 5, "key purpose"), (0, 1027, "keys")], reread);
    refuses(bytes, &[(4, 4, "key purpose"), (4, 1, "galois element"), (8, 3, "galois element")], reread);
    refuses(bytes, &[(12, 0, "key limbs"), (12, 99, "key limbs"), (12, u32::MAX, "key limbs")], reread);
    refuses(bytes, &[(16, 0, "key special primes"), (16, 99, "key special primes")], reread);
    refuses(bytes, &[(20, 0, "digits"), (20, u32::MAX, "digits"), (24, q[0], "rows")], reread);
    let elements = [0, 1, 2, 2048, 2049, u32::MAX].map(|element| (next + 4, element, "galois element"));
    refuses(bytes, &elements, reread);
    // Twice the relinearization key, elements out of order, a key of another purpose that is too short.
    refuses(bytes, &[(next, 0, "galois element"), (next + 4, 2047, "keys"), (next, 3, "galois element")], reread);
    let twice = with(bytes, HEADER + next, &[0; 8]);
    assert_eq!(field(reread(&mut twice.as_slice(), &generous())), "keys");
    let sparse = with(&with(bytes, HEADER + 4, &3u32.to_le_bytes()), HEADER + 12, &1u32.to_le_bytes());
    assert_eq!(field(reread(&mut sparse.as_slice(), &generous())), "key limbs");

    let (_, bytes, reread) = &objects[6]; // a secret key: coefficients
    for at in [0, 1023] {
        let changed = with(bytes, HEADER + at, &[3]);
        let error = reread(&mut changed.as_slice(), &generous()).unwrap_err();
        // Nothing of the secret, not even a place in it.
        assert_eq!(error.to_string(), "bytes of a secret key: coefficients: one of them is not -1, 0 or 1");
    }
}

#[test]
fn keys_for_low_levels_and_for_sparse_secrets_come_back() {
    let parameters = toy();
    let mut client = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([4; 32]));
    let request = KeyRequest::new().relinearization_at(Level(1)).rotations_at(Level(0), [1, 5]).rotations([2]);
    let keys = client.evaluation_keys(&request).unwrap();
    let bytes = written(|w| keys.write_to(w));
    assert_eq!(bytes.len() as u64, keys.wire_bytes());
    let read = EvaluationKeys::read_from(bytes.as_slice(), parameters.rlwe(), &limits(&bytes)).unwrap();
    assert_eq!(written(|w| read.write_to(w)), bytes);
    for ((id, key), (read_id, read)) in keys.iter().zip(read.iter()) {
        assert_eq!((id, key.gadget()), (read_id, read.gadget()));
    }

    let parameters = refreshing(BootstrapSecret::Encapsulated { weight: 32, special: 2 });
    let mut client = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([4; 32]));
    let keys = client.evaluation_keys(&KeyRequest::new().encapsulation(true).rotations([1])).unwrap();
    assert_eq!(keys.len(), 3);
    let bytes = written(|w| keys.write_to(w));
    let read = EvaluationKeys::read_from(bytes.as_slice(), parameters.rlwe(), &limits(&bytes)).unwrap();
    assert_eq!(written(|w| read.write_to(w)), bytes);
    for ((id, key), (read_id, read)) in keys.iter().zip(read.iter()) {
        assert_eq!((id, key.gadget()), (read_id, read.gadget()));
    }
}

/// What a small bootstrapping is made of.
fn settings(secret: BootstrapSecret) -> Bootstrapping {
    Bootstrapping {
        slots_to_coefficients: 2,
        coefficients_to_slots: 2,
        transform_bits: 51,
        scale_bits: 51,
        ratio_bits: 12,
        range: 16,
        degree: 56,
        doublings: 2,
        arcsine: 1,
        secret,
    }
}

/// A toy with levels for bootstrapping.
fn refreshing(secret: BootstrapSecret) -> Parameters {
    let builder = Parameters::builder().log_n(10).levels(4).scale_bits(45);
    builder.bootstrapping(settings(secret)).insecure_build().unwrap()
}

/// Payload offsets of a set with `primes` primes: what follows them.
fn after_primes(parameters: &Parameters) -> usize {
    16 + 8 * parameters.moduli().len()
}

#[test]
fn sets_with_bootstrapping_come_back() {
    for secret in [BootstrapSecret::Dense, BootstrapSecret::Encapsulated { weight: 64, special: 2 }] {
        let built = refreshing(secret);
        let bytes = written(|w| built.write_to(w));
        let read = Parameters::insecure_read_from(bytes.as_slice(), &generous()).unwrap();
        assert!(read.is_same(&built) && refreshing(secret).is_same(&built));
        assert_eq!(read.bootstrapping(), built.bootstrapping());
        assert_eq!((read.max_level(), read.top_level()), (built.max_level(), built.top_level()));
        assert_eq!(written(|w| read.write_to(w)), bytes);
        // Levels, scale bits and security come first, then the settings, then the highest level.
        let reread: Reread<'_> =
            Box::new(|r, l| Parameters::insecure_read_from(r, l).map(|x| written(|w| x.write_to(w))));
        let at = after_primes(&built) + 12;
        let settings =
            [(0, 0), (0, 4), (4, 9), (16, 1), (20, 0), (24, 3), (24, 1 << 20), (28, 99), (32, 2), (36, 4096), (40, 99)];
        let forged = settings.map(|(offset, value)| (at + offset, value, "bootstrapping"));
        refuses(&bytes, &forged, &reread);
        refuses(
            &bytes,
            &[(at + 24, 64, "highest level"), (at + 44, 4, "highest level"), (at - 12, 5, "highest level")],
            &reread,
        );
    }
    let secrets = [BootstrapSecret::Dense, BootstrapSecret::Encapsulated { weight: 64, special: 2 }];
    assert!(!refreshing(secrets[0]).is_same(&refreshing(secrets[1])));
}

#[test]
fn forged_parameters_are_refused() {
    let parameters = toy();
    let (bytes, q) = (written(|w| parameters.write_to(w)), parameters.moduli());
    let reread: Reread<'_> = Box::new(|r, l| Parameters::insecure_read_from(r, l).map(|x| written(|w| x.write_to(w))));
    // log2 N, chain, special primes, digit limbs, then primes and roots.
    refuses(&bytes, &[(0, 9, "log_n"), (0, 18, "log_n"), (0, u32::MAX, "log_n"), (0, 17, "moduli")], &reread);
    refuses(
        &bytes,
        &[(4, 0, "chain"), (4, u32::MAX, "chain"), (8, 0, "special primes"), (8, 2000, "special primes")],
        &reread,
    );
    refuses(&bytes, &[(12, 0, "digit_limbs"), (12, 13, "digit_limbs")], &reread);
    // 2^20 - 3 is prime but not 1 mod 2N, 2049 is 1 mod 2N but not prime, a prime that is there already, one above
    // 2^30.
    let moduli = [0, 1, 2, 2049, (1 << 20) - 3, q[1], q[0] + 2, (1 << 30) + 2049, u32::MAX];
    refuses(&bytes, &moduli.map(|modulus| (16, modulus, "moduli")), &reread);
    refuses(&bytes, &[(20, 0, "roots"), (20, 1, "roots"), (20, u32::MAX, "roots")], &reread);
    // Levels, scale bits, security, bootstrapping, highest level, then limbs and scale of each level.
    let at = after_primes(&parameters);
    refuses(&bytes, &[(at, 3, "highest level"), (at, u32::MAX, "levels"), (at + 4, 0, "scale_bits")], &reread);
    refuses(
        &bytes,
        &[(at + 8, 128, "security"), (at + 8, u32::MAX, "security"), (at + 56, 1, "highest level")],
        &reread,
    );
    for value in [0, u32::try_from(q.len()).unwrap(), u32::MAX, 99] {
        refuses(&bytes, &[(at + 60, value, "limbs of a level"), (at + 72, value, "limbs of a level")], &reread);
    }
    refuses(&bytes, &[(at + 72, 2, "limbs of a level"), (at + 72, 4, "limbs of a level")], &reread);
    for scale in NOT_SCALES.into_iter().chain([2f64.powi(200)]) {
        let changed = with(&bytes, HEADER + at + 64, &scale.to_le_bytes());
        assert_eq!(field(reread(&mut changed.as_slice(), &generous())), "scale", "{scale}");
    }
    // A set that would do, but is not the one of the header.
    let scale = parameters.scale_at(Level(0)).unwrap().next_up();
    let changed = with(&bytes, HEADER + at + 64, &scale.to_le_bytes());
    assert_eq!(field(reread(&mut changed.as_slice(), &generous())), "fingerprint");
}

/// The place of a level's scale in the payload of a set.
fn scale_of(parameters: &Parameters, level: u32) -> usize {
    after_primes(parameters) + 60 + 12 * level as usize + 4
}

#[test]
fn scales_that_rescaling_does_not_make_are_refused() {
    let read = |bytes: Vec<u8>| Parameters::insecure_read_from(bytes.as_slice(), &generous());
    for built in [toy(), refreshing(BootstrapSecret::Dense), Parameters::insecure_bootstrap().unwrap()] {
        let bytes = written(|w| built.write_to(w));
        for level in 0..=built.top_level().0 {
            let scale = built.scale_at(Level(level)).unwrap();
            for factor in [0.5, 1.0 - 1e-8, 1.0 + 1e-8, 1.5] {
                let forged = with(&bytes, HEADER + scale_of(&built, level), &(scale * factor).to_le_bytes());
                assert_eq!(field(read(forged)), "scale", "{built}: level {level} of scale times {factor}");
            }
        }
        // All of the application's scales at a wrong one, each made of the next by the rule.
        let mut forged = bytes.clone();
        let mut off = 1.0f64;
        for level in (0..=built.max_level().0).rev() {
            let scale = built.scale_at(Level(level)).unwrap();
            off = if level == built.max_level().0 { 2.5 } else { off * off };
            forged = with(&forged, HEADER + scale_of(&built, level), &(scale / off).to_le_bytes());
        }
        assert_eq!(field(read(forged)), "scale");
        let bits = with(&bytes, HEADER + after_primes(&built) + 4, &(built.scale_bits() - 2).to_le_bytes());
        assert_eq!(field(read(bits)), "scale");
    }
}

#[test]
fn moduli_that_do_not_carry_a_refresh_are_refused() {
    let built = refreshing(BootstrapSecret::Dense);
    let bytes = written(|w| built.write_to(w));
    // Another level 0: a limb is taken from it, or one of level 1 is given to it.
    for limbs in [1u32, 3] {
        let forged = with(&bytes, HEADER + scale_of(&built, 0) - 4, &limbs.to_le_bytes());
        let got = field(Parameters::insecure_read_from(forged.as_slice(), &generous()));
        assert!(["scale", "modulus"].contains(&got), "{got}");
    }
    // Other bits of `q_0`, and the scales of EvalMod and CoeffToSlot for them.
    let at = HEADER + after_primes(&built) + 12;
    for bits in [48u32, 53, 59] {
        let forged = with(&bytes, at + 12, &bits.to_le_bytes());
        assert_eq!(field(Parameters::insecure_read_from(forged.as_slice(), &generous())), "modulus");
    }
}

#[test]
fn settings_of_a_refresh_that_overflow_arithmetic_are_refused() {
    let built = refreshing(BootstrapSecret::Encapsulated { weight: 32, special: 2 });
    let bytes = written(|w| built.write_to(w));
    let at = after_primes(&built);
    // Levels, bits of scale, and of the settings: SlotToCoeff, CoeffToSlot, bits of scale and ratio, doublings.
    let places = [at, at + 4, at + 12, at + 16, at + 24, at + 28, at + 40];
    for words in [
        [2, 5, 1, 1, 10, 12, 2],
        [4, 45, 2, 2, u32::MAX, u32::MAX - 3, 2],
        [4, u32::MAX, 2, 2, 51, 12, 2],
        [4, 45, u32::MAX, u32::MAX, 51, 12, 2],
        [u32::MAX, 45, 2, 2, 51, u32::MAX, u32::MAX],
    ] {
        let patch = |bytes, (at, word): (&usize, u32)| with(&bytes as &Vec<u8>, HEADER + at, &word.to_le_bytes());
        let forged = places.iter().zip(words).fold(bytes.clone(), patch);
        let got = field(Parameters::insecure_read_from(forged.as_slice(), &generous()));
        assert!(["bootstrapping", "scale_bits", "levels"].contains(&got), "{got}");
    }
}
