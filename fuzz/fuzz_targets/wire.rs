//! Hostile bytes as parameters, keys, plaintexts and ciphertexts: an error, or an object that can be used and is
//! written as the same bytes; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlight::Device;
use ringlight::ckks::{
    BootstrapSecret, Bootstrapping, Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Limits,
    Parameters, Plaintext,
};
use ringlight::math::Seed;
use ringlight::rlwe::{EvaluationKeys, PublicKey};
use ringlight::units::Level;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

const HEADER: usize = 48;

/// Valid objects of a toy set, and of one with bootstrapping.
struct World {
    parameters: Parameters,
    refreshing: Parameters,
    client: KeyGenerator,
    objects: [Vec<u8>; 10],
}

/// A smallest set with levels for bootstrapping.
fn refreshing() -> Parameters {
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
    Parameters::builder().log_n(10).levels(2).bootstrapping(settings).insecure_build().expect("a toy")
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let parameters = Parameters::builder().log_n(10).levels(1).insecure_build().expect("a toy");
        let mut client = KeyGenerator::from_seed(&parameters, &Seed::from_bytes([5; 32]));
        let public = client.public_key();
        let request = KeyRequest::new().relinearization_at(Level(0)).rotations_at(Level(0), [1]);
        let evaluation = client.evaluation_keys(&request).expect("levels of the chain");
        let plaintext = Encoder::new(&parameters).encode_real(&[vec![1.0; 3]], Level(0)).expect("few values");
        let seeded = client.encryptor().encrypt(&plaintext).expect("its own parameters");
        let full = Encryptor::with_public_key_and_seed(&parameters, public.clone(), &Seed::from_bytes([6; 32]));
        let full = full.and_then(|encryptor| encryptor.encrypt(&plaintext)).expect("its own parameters");
        let refreshing = refreshing();
        let request = KeyRequest::new().relinearization_at(Level(0)).encapsulation(true);
        let encapsulation = KeyGenerator::from_seed(&refreshing, &Seed::from_bytes([5; 32])).evaluation_keys(&request);
        let mut objects: [Vec<u8>; 10] = Default::default();
        parameters.write_to(&mut objects[0]).expect("a vector grows");
        public.write_to(&mut objects[1]).expect("a vector grows");
        evaluation.write_to(&mut objects[2]).expect("a vector grows");
        plaintext.write_to(&mut objects[3]).expect("a vector grows");
        seeded.write_to(&mut objects[4]).expect("a vector grows");
        full.write_to(&mut objects[5]).expect("a vector grows");
        client.write_secret_to(&mut objects[6]).expect("a vector grows");
        full.write_to(&mut objects[7]).expect("a vector grows");
        refreshing.write_to(&mut objects[8]).expect("a vector grows");
        encapsulation.and_then(|keys| keys.write_to(&mut objects[9])).expect("a vector grows");
        World { parameters, refreshing, client, objects }
    })
}

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(Device::cpu)
}

// The first byte chooses an object and whether the others are all of its bytes, or the first of its payload.
fuzz_target!(|input: &[u8]| {
    let Some((&choice, input)) = input.split_first() else { return };
    let world = world();
    let kind = usize::from(choice % 16);
    let Some(valid) = world.objects.get(kind) else { return };
    let mut bytes = valid.clone();
    if choice & 16 == 0 {
        if choice & 128 != 0 {
            bytes.truncate(HEADER);
        }
        let replaced = input.len().min(bytes.len() - HEADER);
        bytes[HEADER..HEADER + replaced].copy_from_slice(&input[..replaced]);
        bytes.extend(&input[replaced..]);
        let size = (bytes.len() - HEADER) as u64;
        bytes[8..16].copy_from_slice(&size.to_le_bytes());
    } else {
        bytes = input.to_vec();
    }
    if [0, 8].contains(&kind) && bytes.len() > HEADER {
        let digest = Sha256::new().chain_update(b"ringlight ckks\0").chain_update(&bytes[HEADER..]).finalize();
        bytes[16..HEADER].copy_from_slice(&digest);
    }
    let (p, source, limits) = (&world.parameters, bytes.as_slice(), Limits::bytes(1 << 22));
    let mut again = Vec::new();
    let written = match kind {
        0 | 8 => Parameters::insecure_read_from(source, &limits).and_then(|x| {
            let mut keys = KeyGenerator::from_seed(&x, &Seed::from_bytes([7; 32]));
            let sent = keys.encryptor().encrypt_real(&[vec![0.5; 4]]);
            // A scale may leave no room for 0.5: that is an error, too.
            let _ = sent.and_then(|sent| keys.decryptor().decrypt_real(&sent));
            x.write_to(&mut again)
        }),
        1 => PublicKey::read_from(source, p.rlwe(), &limits).and_then(|x| {
            let encryptor = Encryptor::with_public_key(p, x.clone()).expect("a key of these parameters");
            encryptor.encrypt_real(&[vec![0.5]]).expect("any key encrypts");
            x.write_to(&mut again)
        }),
        2 => EvaluationKeys::read_from(source, p.rlwe(), &limits).and_then(|x| {
            Evaluator::new(p, device(), &x).expect("keys of these parameters");
            x.write_to(&mut again)
        }),
        3 => Plaintext::read_from(source, p, &limits).and_then(|x| {
            Encoder::new(p).decode(&x).expect("a plaintext of these parameters");
            x.write_to(&mut again)
        }),
        4 | 5 => HostCiphertext::read_from(source, p, &limits).and_then(|x| {
            world.client.decryptor().decrypt(&x).expect("a ciphertext of these parameters");
            x.write_to(&mut again)
        }),
        6 => KeyGenerator::read_secret_from(source, p, &limits).and_then(|x| x.write_secret_to(&mut again)),
        7 => HostCiphertext::read_answer_from(source, p, &limits).and_then(|x| {
            world.client.decryptor().decrypt(&x).expect("a ciphertext of these parameters");
            x.write_to(&mut again)
        }),
        _ => EvaluationKeys::read_from(source, world.refreshing.rlwe(), &limits).and_then(|x| x.write_to(&mut again)),
    };
    match written {
        Ok(()) => assert_eq!(again, bytes[..again.len()]),
        Err(error) => {
            let _ = error.to_string();
        }
    }
});
