//! Things that travel: what was written is read back, elsewhere and on every device, and what was damaged is refused by
//! name.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use common::devices;
use num_complex::Complex64;
use ringlight::ckks::{
    Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Limits, Parameters, Plaintext,
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
    let presets = [Parameters::n13(), Parameters::n14(), Parameters::builder().scale_bits(45).levels(4).build()];
    for built in presets.map(Result::unwrap) {
        let bytes = written(|w| built.write_to(w));
        let read = Parameters::read_from(bytes.as_slice(), &generous()).unwrap();
        assert!(read.is_same(&built));
        assert_eq!(read.to_string(), built.to_string());
        assert_eq!(read.moduli(), built.moduli());
        for level in 0..=built.max_level().0 {
            assert_eq!(read.limbs_at(Level(level)).unwrap(), built.limbs_at(Level(level)).unwrap());
            assert_eq!(read.scale_at(Level(level)).unwrap(), built.scale_at(Level(level)).unwrap());
        }
        // Built again, it is the same set; another is not.
        assert!(!read.is_same(&toy()));
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
