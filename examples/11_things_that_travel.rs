//! 11. Things that travel: a client and a server that exchange nothing but bytes.
//!
//! `cargo run --release --example 11_things_that_travel`

use ringlight::ckks::{
    Encoder, Encryptor, Evaluator, HostCiphertext, KeyGenerator, KeyRequest, Limits, Parameters, Plaintext,
};
use ringlight::rlwe::{EvaluationKeys, PublicKey};
use ringlight::{Device, Error};

/// What a server is willing to hold of one object: a server of many clients keeps this small.
const LIMITS: Limits = Limits { bytes: 64 << 20 };

/// Writes an object and says how large it is.
fn sent(name: &str, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    write(&mut bytes)?;
    println!("  {name:<34} {:>9} bytes", bytes.len());
    Ok(bytes)
}

/// The client: it has the secret key, and it keeps it.
struct Client {
    parameters: Parameters,
    keys: KeyGenerator,
}

impl Client {
    fn new() -> Result<Self, Error> {
        let parameters = Parameters::builder().levels(2).build()?;
        println!("{parameters}");
        Ok(Self { keys: KeyGenerator::new(&parameters)?, parameters })
    }

    /// Parameters and keys for the circuit, one after the other in one stream.
    fn introduction(&mut self) -> Result<Vec<u8>, Error> {
        let request = KeyRequest::new().relinearization(true).rotations([1]);
        let evaluation = self.keys.evaluation_keys(&request)?;
        let public = self.keys.public_key();
        let parameters = sent("parameters", |w| self.parameters.write_to(w))?;
        let evaluation = sent("2 evaluation keys, halves as seeds", |w| evaluation.write_to(w))?;
        let public = sent("public key, half as a seed", |w| public.write_to(w))?;
        Ok([parameters, evaluation, public].concat())
    }

    fn question(&mut self, values: &[f64]) -> Result<Vec<u8>, Error> {
        let encrypted = self.keys.encryptor().encrypt_real(&[values.to_vec()])?;
        sent("ciphertext, half as a seed", |w| encrypted.write_to(w))
    }

    /// A computed answer may be trivial, a product with 0 for example: the owner of the key reads it all the same.
    fn read(&self, answer: &[u8]) -> Result<Vec<f64>, Error> {
        let answer = HostCiphertext::read_answer_from(answer, &self.parameters, &LIMITS)?;
        Ok(self.keys.decryptor().decrypt_real(&answer)?.remove(0))
    }
}

/// The server: all it knows came as bytes.
struct Server {
    evaluator: Evaluator,
    public: PublicKey,
}

impl Server {
    fn meet(mut introduction: &[u8], device: &Device) -> Result<Self, Error> {
        // Each reader takes its own object from the stream and no byte more.
        let parameters = Parameters::read_from(&mut introduction, &LIMITS)?;
        assert!(parameters.security().is_some(), "sets outside the security table are refused");
        let evaluation = EvaluationKeys::read_from(&mut introduction, parameters.rlwe(), &LIMITS)?;
        let public = PublicKey::read_from(&mut introduction, parameters.rlwe(), &LIMITS)?;
        assert!(introduction.is_empty());
        Ok(Self { evaluator: Evaluator::new(&parameters, device, &evaluation)?, public })
    }

    /// `x^2 + rot_1(x)`, and the server's own number added under the client's key.
    fn answer(&self, question: &[u8]) -> Result<Vec<u8>, Error> {
        let (eval, parameters) = (&self.evaluator, self.evaluator.parameters());
        let x = eval.load(&HostCiphertext::read_from(question, parameters, &LIMITS)?)?;
        let square = eval.square(&x)?;
        let rotated = eval.rotate(&x, 1)?;
        let y = eval.add(&square, &eval.drop_to(&rotated, square.level())?)?;
        let encoded = Encoder::new(parameters).encode_real(&[vec![0.25; parameters.slots()]], y.level())?;
        // Plaintexts travel too: between servers, or to a disk.
        let stored = sent("plaintext, in the clear", |w| encoded.write_to(w))?;
        let encoded = Plaintext::read_from(stored.as_slice(), parameters, &LIMITS)?;
        let own = Encryptor::with_public_key(parameters, self.public.clone())?.encrypt(&encoded)?;
        sent("ciphertext of the public key", |w| own.write_to(w))?;
        let y = eval.add(&y, &eval.load(&own)?)?;
        sent("answer", |w| y.to_host()?.write_to(w))
    }
}

fn main() -> Result<(), Error> {
    println!("The client introduces itself:");
    let mut client = Client::new()?;
    let introduction = client.introduction()?;
    let device = Device::auto();
    let server = Server::meet(&introduction, &device)?;
    println!("The server, on {}, knows the same parameters: they have one fingerprint.", device.name());
    assert!(server.evaluator.parameters().is_same(&client.parameters));

    println!("\nA question and its answer:");
    let values: Vec<f64> = (0..client.parameters.slots()).map(|k| (k as f64 * 0.01).sin()).collect();
    let question = client.question(&values)?;
    let answer = server.answer(&question)?;
    let got = client.read(&answer)?;
    let want = |k: usize| values[k].powi(2) + values[(k + 1) % values.len()] + 0.25;
    let error = got.iter().enumerate().map(|(k, got)| (got - want(k)).abs()).fold(0.0, f64::max);
    println!("The answer is right up to 2^{:.1}.", error.log2());
    assert!(error < 2f64.powi(-10), "{error}");

    println!("\nThe owner keeps the secret, on a disk of its own, and reads old answers later:");
    let disk = sent("secret key", |w| client.keys.write_secret_to(w))?;
    let keys = KeyGenerator::read_secret_from(disk.as_slice(), &client.parameters, &LIMITS)?;
    let later = Client { parameters: client.parameters.clone(), keys };
    assert_eq!(later.read(&answer)?, got);

    println!("\nBytes from outside are hostile:");
    let refused = |what: &str, bytes: &[u8], limits: Limits| match HostCiphertext::read_from(
        bytes,
        server.evaluator.parameters(),
        &limits,
    ) {
        Err(error @ Error::BadBytes { .. }) => println!("  {what}\n    {error}"),
        other => panic!("{what}: {other:?}"),
    };
    refused("half of it", &question[..question.len() / 2], LIMITS);
    refused("more than the server is willing to hold", &question, Limits::bytes(1000));
    refused("another kind of object", &introduction, LIMITS);
    let mut forged = question.clone();
    forged[52..56].copy_from_slice(&1_000_000u32.to_le_bytes());
    refused("a batch of a million that is not there", &forged, LIMITS);
    let mut forged = question.clone();
    forged[72..80].copy_from_slice(&f64::NAN.to_le_bytes());
    refused("a scale that is not a number", &forged, LIMITS);
    let other = Parameters::builder().levels(1).build()?;
    let mut stranger = Vec::new();
    KeyGenerator::new(&other)?.encryptor().encrypt_real(&[vec![1.0]])?.write_to(&mut stranger)?;
    refused("a ciphertext of other parameters", &stranger, LIMITS);
    let mut trivial = answer.clone();
    let half = trivial.len() - (trivial.len() - 80) / 2;
    trivial[half..].fill(0);
    refused("a ciphertext that hides nothing", &trivial, LIMITS);
    Ok(())
}
