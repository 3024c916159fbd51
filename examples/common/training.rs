//! What the training examples share: the owner's and the server's side, the same training in the clear, reports.

use crate::device::seed_bytes;
use crate::options::{Failure, Model, Options, RefreshChoice};
use crate::plots;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use indicatif::{ProgressBar, ProgressStyle};
use num_complex::Complex64;
use ringlight::circuit::Matrix;
use ringlight::ckks::{
    BootstrapSecret, Bootstrapper, Bootstrapping, Ciphertext, Decryptor, Encryptor, Evaluator, HostCiphertext,
    KeyGenerator, Parameters,
};
use ringlight::math::Seed;
use ringlight::ml::train::{
    Accuracy, Checkpoint, ClientRefresh, LogisticRegression, LogisticSettings, MiniBatch, Mlp, MlpSettings,
    PlannedRefresh, Refresh, Score, Trainable,
};
use ringlight::rlwe::wire::Limits;
use ringlight::units::Level;
use ringlight::{Device, Error};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Samples and their classes.
pub(crate) type Samples = (Vec<Vec<f64>>, Vec<usize>);

/// What is to be learnt, and what counts as success.
pub(crate) struct Task {
    pub(crate) name: &'static str,
    pub(crate) logistic: LogisticSettings,
    pub(crate) mlp: MlpSettings,
    pub(crate) epochs: u32,
    pub(crate) train: Samples,
    pub(crate) held_out: Samples,
    pub(crate) least_accuracy: f64,
}

/// `N = 2^15`, 8 levels at scale `2^28`, one limb each, of which 6 are left between two refreshes: one step. Gradients need no more than
/// the 14 bits that a refresh leaves, and one-limb levels are the cheapest.
fn bootstrapped() -> Result<Parameters, Error> {
    let refresh = Bootstrapping {
        slots_to_coefficients: 2,
        coefficients_to_slots: 2,
        transform_bits: 48,
        scale_bits: 48,
        ratio_bits: 12,
        range: 16,
        degree: 56,
        doublings: 2,
        arcsine: 1,
        secret: BootstrapSecret::Encapsulated { weight: 32, special: 2 },
    };
    Parameters::builder().log_n(15).levels(8).scale_bits(28).bootstrapping(refresh).build()
}

/// `N = 2^14`, 12 levels at scale `2^28`, for refreshes by the owner: two steps between them.
fn interactive() -> Result<Parameters, Error> {
    Parameters::builder().log_n(14).levels(12).scale_bits(28).build()
}

/// The owner's keys.
struct Owner {
    encryptor: Encryptor,
    decryptor: Decryptor,
}

impl Owner {
    fn encrypt(&self, vector: Vec<Complex64>, level: Level) -> Result<HostCiphertext, Error> {
        self.encryptor.encrypt_complex(&[vector], level)
    }

    fn decrypt(&self, ciphertext: &HostCiphertext) -> Result<Vec<Complex64>, Error> {
        Ok(self.decryptor.decrypt(ciphertext)?.swap_remove(0))
    }
}

/// The server: evaluation keys, and what the owner sent.
struct Server {
    evaluator: Evaluator,
    batches: Vec<MiniBatch<Ciphertext>>,
    held_out: Vec<HeldOut>,
}

/// Held-out samples that are counted at once.
struct HeldOut {
    accuracy: Accuracy,
    samples: Vec<Vec<Ciphertext>>,
    labels: Ciphertext,
}

/// A training on the server: where it stands, the time of each mini-batch, the number of refreshes.
struct Trained {
    end: Checkpoint,
    seconds: Vec<f64>,
    refreshes: u32,
}

/// What epochs were like, and how long mini-batches took.
pub(crate) struct Record {
    /// Mean squared error of the probabilities, over the training samples as they came.
    pub(crate) losses: Vec<f64>,
    /// Share of held-out samples whose class has the largest logit, after each epoch.
    pub(crate) accuracies: Vec<f64>,
    /// One for each mini-batch of this run.
    pub(crate) seconds: Vec<f64>,
}

impl Record {
    fn seconds_a_batch(&self) -> f64 {
        self.seconds.iter().sum::<f64>() / self.seconds.len().max(1) as f64
    }
}

/// Where and on what models are trained.
struct Place<'a> {
    options: &'a Options,
    task: &'a Task,
    epochs: u32,
    device: Device,
    parameters: Parameters,
}

/// A model to train, its settings checked.
struct Chosen {
    model: Model,
    training: Training,
    settings: String,
    batch: usize,
    /// The first stream of the seed that is this model's: models that are trained with one seed share no secret.
    stream: u64,
}

enum Training {
    Logistic(LogisticRegression),
    Mlp(Mlp),
}

impl Chosen {
    fn new(index: u64, model: Model, task: &Task, slots: usize) -> Result<Self, Error> {
        let (training, settings, batch) = match model {
            Model::Logistic => {
                let training = LogisticRegression::new(task.logistic, slots)?;
                (Training::Logistic(training), format!("{:?}", task.logistic), task.logistic.batch)
            }
            Model::Mlp(hidden) => {
                let settings = MlpSettings { hidden, ..task.mlp };
                (Training::Mlp(Mlp::new(settings, slots)?), format!("{settings:?}"), settings.training.batch)
            }
        };
        Ok(Self { model, training, settings, batch, stream: index << 8 })
    }
}

/// What became of one model.
pub(crate) struct Outcome {
    pub(crate) model: String,
    pub(crate) weights: usize,
    pub(crate) encrypted: Record,
    pub(crate) clear: Record,
    report: serde_json::Value,
}

impl Outcome {
    /// Accuracy after the last epoch.
    pub(crate) fn accuracy(record: &Record) -> f64 {
        record.accuracies.last().copied().unwrap_or(0.0)
    }

    /// Whether the encrypted model has learnt as well as the clear one; of no interest is how well for less than the task's training.
    fn check(&self, task: &Task, epochs: u32, model: Model) -> Result<(), Failure> {
        let Record { losses, accuracies, .. } = &self.encrypted;
        let fail = |reason: String| Err(Failure::Other(format!("{model}: {reason}")));
        if losses.len() != epochs as usize || accuracies.len() != losses.len() {
            return fail(format!("{} losses and {} accuracies of {epochs} epochs", losses.len(), accuracies.len()));
        }
        // What a failed decryption gives is of any size.
        if let Some(share) = accuracies.iter().find(|share| !(-0.01..=1.01).contains(*share)) {
            return fail(format!("an encrypted accuracy of {share} is no share of the held-out samples"));
        }
        if let Some(loss) = losses.iter().chain(&self.clear.losses).find(|loss| !loss.is_finite()) {
            return fail(format!("a loss of {loss}"));
        }
        // Fewer epochs than the task's, and other sizes, are for trying out.
        if epochs < task.epochs || model != Model::Logistic && model != Model::Mlp(task.mlp.hidden) {
            return Ok(());
        }
        let (last, clear, least) = (Self::accuracy(&self.encrypted), Self::accuracy(&self.clear), task.least_accuracy);
        if last >= least.max(clear - 0.03) {
            return Ok(());
        }
        fail(format!("accuracy {last:.3}; at least {least} and {clear:.3} - 0.03 was wanted"))
    }
}

/// Trains encrypted and in the clear, reports, and fails if the encrypted model has not learnt as well.
pub(crate) fn train(options: &Options, task: &Task) -> Result<(), Failure> {
    options.check()?;
    if let Some(folder) = &options.plots {
        let failed = |error| Failure::Other(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let device = options.device.open()?;
    let parameters = if options.refresh == RefreshChoice::Bootstrap { bootstrapped()? } else { interactive()? };
    println!("device      {:?}: {}", device.kind(), device.name());
    println!("parameters  {parameters}");
    let epochs = options.epochs.unwrap_or(task.epochs);
    let place = Place { options, task, epochs, device, parameters };
    let models = (0..).zip(options.models(task.mlp.hidden));
    let models = models.map(|(index, model)| Chosen::new(index, model, task, place.parameters.slots()));
    let models = models.collect::<Result<Vec<_>, Error>>()?;
    let mut outcomes = vec![];
    for chosen in &models {
        let outcome = match &chosen.training {
            Training::Logistic(training) => place.train(chosen, training)?,
            Training::Mlp(training) => place.train(chosen, training)?,
        };
        if let Some(folder) = &options.plots {
            plots::draw(folder, task.name, &outcome).map_err(Failure::Other)?;
        }
        outcomes.push(outcome);
    }
    if let Some(folder) = &options.plots {
        if !options.sweep.is_empty() {
            plots::complexity(folder, task.name, &outcomes).map_err(Failure::Other)?;
        }
        println!("plots       in {}", folder.display());
    }
    if options.json {
        let mut reports: Vec<_> = outcomes.iter().map(|outcome| outcome.report.clone()).collect();
        if options.sweep.is_empty() {
            println!("{}", reports.remove(0));
        } else {
            println!("{}", serde_json::json!({ "task": task.name, "models": reports }));
        }
    }
    outcomes.iter().zip(&models).try_for_each(|(outcome, chosen)| outcome.check(task, epochs, chosen.model))
}

impl Place<'_> {
    /// What a checkpoint belongs to: SHA-256 of model, settings, seed and data.
    fn identity(&self, chosen: &Chosen) -> [u8; 32] {
        let Task { name, train, held_out, .. } = self.task;
        let (seed, samples) = (self.options.seed, [train.0.len(), held_out.0.len()]);
        let mut digest = Sha256::new();
        digest.update(format!("{name}\n{}\n{}\n{seed:?}\n{samples:?}\n", chosen.model, chosen.settings));
        for (x, label) in train.0.iter().zip(&train.1).chain(held_out.0.iter().zip(&held_out.1)) {
            x.iter().for_each(|x| digest.update(x.to_le_bytes()));
            digest.update((*label as u64).to_le_bytes());
        }
        digest.finalize().into()
    }

    /// Reads a checkpoint of the same training, with something of it left or nothing.
    fn read(&self, file: &Path, identity: [u8; 32]) -> Result<Checkpoint, Failure> {
        let limits = Limits::bytes(1 << 28);
        let at = Checkpoint::read_from(BufReader::new(File::open(file)?), &self.parameters, &limits)?;
        let (name, epochs) = (file.display(), self.epochs);
        if at.training != identity {
            let reason = format!(
                "{name} belongs to another training: model, settings, data and seed must be those that it was made with"
            );
            return Err(Failure::Other(reason));
        }
        if at.epoch > epochs || at.epoch == epochs && at.batch > 0 {
            let (needed, done) = (at.epoch + u32::from(at.batch > 0), at.epoch);
            let reason = format!(
                "{name} is beyond epoch {epochs}: {done} epochs and {} mini-batches are done; ask for at least `--epochs {needed}`",
                at.batch
            );
            return Err(Failure::Other(reason));
        }
        Ok(at)
    }

    /// Trains one model.
    fn train<M: Trainable>(&self, chosen: &Chosen, training: &M) -> Result<Outcome, Failure> {
        let Self { options, task, epochs, device, parameters } = self;
        let model = chosen.model;
        let identity = self.identity(chosen);
        let resumed = options.resume.as_deref().map(|file| self.read(file, identity)).transpose()?;
        let circuit =
            parameters.bootstrapping().map(|_| Bootstrapper::with_slots(parameters, training.period())).transpose()?;
        let batches: Vec<Samples> = mini_batches(&task.train, chosen.batch);
        println!("model       {model}");
        match &circuit {
            Some(circuit) => println!("refresh     {circuit}"),
            None => {
                println!(
                    "refresh     interactive: the owner decrypts the model and encrypts it anew where levels run out"
                );
            }
        }
        println!(
            "training    {} samples in {} mini-batches of {} vectors with period {}, {} levels a step",
            task.train.0.len(),
            batches.len(),
            training.vectors(),
            training.period(),
            training.depth(),
        );

        // --- the owner makes keys and encrypts everything ------------------------------------------
        let start = Instant::now();
        let secret = |stream: u64| match options.seed {
            Some(seed) => Ok(Seed::from_bytes(seed_bytes(seed, chosen.stream + stream))),
            None => Seed::from_os(),
        };
        let mut generator = KeyGenerator::from_seed(parameters, &secret(0)?);
        let keys = match &circuit {
            Some(circuit) => training.keys(circuit)?,
            None => training.keys_between(PlannedRefresh::by_client(parameters))?,
        };
        let keys = generator.evaluation_keys(&keys)?;
        let owner = Owner { encryptor: generator.encryptor(), decryptor: generator.decryptor() };
        stage("owner: keys", start.elapsed());
        println!("            {:.0} MiB of evaluation keys", keys.bytes() as f64 / f64::from(1 << 20));
        let start = Instant::now();
        let evaluator = Evaluator::new(parameters, device, &keys)?;
        drop(keys); // the server has them now
        let refresher = circuit.as_ref().map(|circuit| circuit.prepare(&evaluator)).transpose()?;
        stage("server: set-up", start.elapsed());
        let start = Instant::now();
        let server = send(&owner, evaluator, training, &batches, &task.held_out)?;
        let first = training.start_weights(&secret(2)?)?;
        let state = owner.encrypt(training.pack_weights(&first)?, parameters.max_level())?;
        stage("owner: encrypt", start.elapsed());

        // --- the server trains; nothing is decrypted, unless the owner is to refresh ----------------
        let begin = resumed.unwrap_or(Checkpoint { training: identity, epoch: 0, batch: 0, state, history: vec![] });
        let (first_epoch, first_batch) = (begin.epoch, begin.batch as usize);
        let file = options.checkpoint.as_deref();
        let traffic = Cell::new(0);
        let start = Instant::now();
        let trained = match &refresher {
            Some(refresher) => server.train(training, refresher, begin, *epochs, file)?,
            None => {
                let ask = ClientRefresh::new(|value: HostCiphertext| {
                    let anew = owner.encrypt(owner.decrypt(&value)?, parameters.max_level())?;
                    traffic.set(traffic.get() + value.bytes() + anew.bytes());
                    Ok(anew)
                });
                server.train(training, &ask, begin, *epochs, file)?
            }
        };
        let elapsed = start.elapsed();
        stage("server: train", elapsed);
        let Trained { end, seconds, refreshes } = trained;
        let sizes = batches.iter().map(|(x, _)| x.len());
        let samples: usize = sizes.cycle().skip(first_batch).take(seconds.len()).sum();
        let ms_per_sample = (samples > 0).then(|| 1e3 * elapsed.as_secs_f64() / samples as f64);
        let (bootstraps, client_refreshes) = if refresher.is_some() { (refreshes, 0) } else { (0, refreshes) };

        // --- the owner reads the model and how it came about ---------------------------------------
        let held_out = task.held_out.1.len();
        let mut encrypted = Record { losses: vec![], accuracies: vec![], seconds };
        for epoch in end.history.chunks(1 + server.held_out.len()) {
            let total = owner.decrypt(&epoch[0])?;
            encrypted.losses.push(training.unpack_loss(&total, task.train.0.len(), batches.len())?);
            let mut hits = 0.0;
            for (count, part) in epoch[1..].iter().zip(&server.held_out) {
                hits += part.accuracy.unpack(&owner.decrypt(count)?)? * part.accuracy.samples() as f64;
            }
            encrypted.accuracies.push(hits / held_out as f64);
        }
        let weights = training.unpack_weights(&owner.decrypt(&end.state)?)?;

        // --- the same training in the clear, with the softmax itself -------------------------------
        let (clear, clear_weights) = train_in_the_clear(task, training, &first, &batches, *epochs)?;

        println!("            training loss        held-out accuracy");
        println!("epoch       encrypted  clear     encrypted  clear");
        for (epoch, (e, c)) in encrypted.accuracies.iter().zip(&clear.accuracies).enumerate() {
            let (loss, loss_clear) = (encrypted.losses[epoch], clear.losses[epoch]);
            println!("{:>5}       {loss:.4}     {loss_clear:.4}    {e:.4}     {c:.4}", epoch + 1);
        }
        if let Some(part) = server.held_out.first() {
            let resolution = part.accuracy.resolution();
            println!(
                "            counted encrypted; a sample with two logits closer than {resolution:.3} counts in part"
            );
        }
        let entries = |layers: &[Matrix]| layers.iter().flat_map(Matrix::entries).copied().collect::<Vec<_>>();
        let (weights, clear_weights) = (entries(&weights), entries(&clear_weights));
        let apart = weights.iter().zip(&clear_weights).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("weights     {}, at most {apart:.3} from those of the softmax itself", weights.len());
        println!(
            "time        {:.2} s a mini-batch encrypted, {:.3} ms in the clear; {bootstraps} bootstraps",
            encrypted.seconds_a_batch(),
            1e3 * clear.seconds_a_batch(),
        );
        if refresher.is_none() {
            println!("round trips {client_refreshes} to the owner, {:.1} MB in all", traffic.get() as f64 / 1e6);
        }
        let mut digest = Sha256::new();
        [&end.state].into_iter().chain(&end.history).for_each(|part| digest.update(part.digest()));
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        println!("digest      {digest}");
        let report = serde_json::json!({
            "task": task.name,
            "model": model.to_string(),
            "weights": weights.len(),
            "device": format!("{:?}", device.kind()),
            "adapter": device.name(),
            "epochs": epochs,
            "epochs_this_run": epochs - first_epoch,
            "samples": task.train.0.len(),
            "held_out": held_out,
            "accuracy_clear": Outcome::accuracy(&clear),
            "accuracy_encrypted": Outcome::accuracy(&encrypted),
            "loss_clear_by_epoch": clear.losses,
            "loss_encrypted_by_epoch": encrypted.losses,
            "accuracy_clear_by_epoch": clear.accuracies,
            "accuracy_encrypted_by_epoch": encrypted.accuracies,
            "seconds": elapsed.as_secs_f64(),
            "seconds_a_batch": encrypted.seconds_a_batch(),
            "seconds_a_batch_clear": clear.seconds_a_batch(),
            "ms_per_sample": ms_per_sample,
            "bootstraps": bootstraps,
            "client_refreshes": client_refreshes,
            "client_bytes": traffic.get(),
            "log_n": parameters.log_n().get(),
            "log_qp": parameters.log_qp(),
            "security_bits": parameters.security().map_or(0, |s| s.bits()),
            "ciphertext_digest": digest,
        });
        Ok(Outcome { model: model.to_string(), weights: weights.len(), encrypted, clear, report })
    }
}

/// Everything that the owner encrypts, on the server.
fn send<M: Trainable>(
    owner: &Owner,
    evaluator: Evaluator,
    training: &M,
    batches: &[Samples],
    (held_out, labels): &Samples,
) -> Result<Server, Error> {
    let top = evaluator.parameters().max_level();
    let load = |vector: Vec<Complex64>| evaluator.load(&owner.encrypt(vector, top)?);
    let load_all = |x: &[Vec<f64>]| training.pack_samples(x)?.into_iter().map(load).collect::<Result<Vec<_>, Error>>();
    let batch =
        |(x, y): &Samples| Ok::<_, Error>(MiniBatch { samples: load_all(x)?, labels: load(training.pack_labels(y)?)? });
    let part = |(x, y): (&[Vec<f64>], &[usize])| {
        let accuracy = training.accuracy(y.len())?;
        let labels = load(accuracy.pack_labels(y)?)?;
        let samples = x.chunks(training.capacity()).map(load_all).collect::<Result<_, _>>()?;
        Ok::<_, Error>(HeldOut { accuracy, samples, labels })
    };
    let batches = batches.iter().map(batch).collect::<Result<_, _>>()?;
    let most = training.held_out_capacity();
    let held_out = held_out.chunks(most).zip(labels.chunks(most)).map(part).collect::<Result<_, _>>()?;
    Ok(Server { evaluator, batches, held_out })
}

impl Server {
    /// Goes on until so many epochs are done. An epoch leaves its loss and the hits among held-out samples; a checkpoint within one its squares so far.
    fn train<M: Trainable, R: Refresh<Evaluator>>(
        &self,
        training: &M,
        refresh: &R,
        mut at: Checkpoint,
        epochs: u32,
        file: Option<&Path>,
    ) -> Result<Trained, Failure> {
        let kept = at.epoch as usize * (1 + self.held_out.len()) + usize::from(at.batch > 0);
        if at.history.len() != kept || at.batch as usize >= self.batches.len() {
            return Err(Failure::Other(
                "the checkpoint belongs to another training: its history has another length".into(),
            ));
        }
        let eval = &self.evaluator;
        let mut state = eval.load(&at.state)?;
        let mut squares = if at.batch > 0 { at.history.pop().map(|sum| eval.load(&sum)).transpose()? } else { None };
        let (mut refreshes, mut seconds) = (0, vec![]);
        let bar = ProgressBar::new(u64::from(epochs) * self.batches.len() as u64).with_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} mini-batches, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_position(u64::from(at.epoch) * self.batches.len() as u64 + u64::from(at.batch));
        while at.epoch < epochs {
            let start = Instant::now();
            let step = training.step(eval, refresh, &state, &self.batches[at.batch as usize])?;
            let sum = match squares.take() {
                Some(sum) => {
                    let level = sum.level().min(step.squares.level());
                    eval.add(&eval.drop_to(&sum, level)?, &eval.drop_to(&step.squares, level)?)?
                }
                None => step.squares,
            };
            (at.state, state) = (step.state.to_host()?, step.state);
            refreshes += step.refreshes;
            seconds.push(start.elapsed().as_secs_f64());
            at.batch += 1;
            if at.batch as usize == self.batches.len() {
                at.history.push(training.total(eval, &sum)?.to_host()?);
                for HeldOut { accuracy, samples, labels } in &self.held_out {
                    let (refreshed, counted) = training.count(eval, refresh, accuracy, &state, samples, labels)?;
                    at.history.push(counted.hits.to_host()?);
                    refreshes += counted.refreshes;
                    state = refreshed;
                }
                at.state = state.to_host()?;
                (at.epoch, at.batch) = (at.epoch + 1, 0);
            } else {
                squares = Some(sum);
            }
            if let Some(file) = file {
                save(file, &at, squares.as_ref())?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Trained { end: at, seconds, refreshes })
    }
}

fn train_in_the_clear<M: Trainable>(
    task: &Task,
    training: &M,
    first: &[Matrix],
    batches: &[Samples],
    epochs: u32,
) -> Result<(Record, Vec<Matrix>), Error> {
    let mut training = training.in_the_clear(first)?;
    let mut record = Record { losses: vec![], accuracies: vec![], seconds: vec![] };
    for _ in 0..epochs {
        let mut squares = 0.0;
        for (x, y) in batches {
            let start = Instant::now();
            squares += training.step(x, y)?;
            record.seconds.push(start.elapsed().as_secs_f64());
        }
        record.losses.push(squares / task.train.0.len() as f64);
        record.accuracies.push(Score::new(&training.logits(&task.held_out.0)?, &task.held_out.1)?.accuracy);
    }
    Ok((record, training.weights()?))
}

/// Writes beside the file, waits until that is stored and moves, so that a crash leaves the checkpoint before.
fn save(file: &Path, at: &Checkpoint, squares: Option<&Ciphertext>) -> Result<(), Failure> {
    let mut at = at.clone();
    at.history.extend(squares.map(Ciphertext::to_host).transpose()?);
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut writer = BufWriter::new(File::create(&partial)?);
    at.write_to(&mut writer)?;
    writer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(std::fs::rename(partial, file)?)
}

fn mini_batches((x, y): &Samples, size: usize) -> Vec<Samples> {
    x.chunks(size).zip(y.chunks(size)).map(|(x, y)| (x.to_vec(), y.to_vec())).collect()
}

fn stage(name: &str, time: Duration) {
    println!("time        {name:<16} {:>9.2} s", time.as_secs_f64());
}

/// `0..count` in an order that depends on the seed.
pub(crate) fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha20Rng::from_seed(seed_bytes(seed, 1)); // not the stream that keys are made of
    let mut keyed: Vec<(u64, usize)> = (0..count).map(|i| (rng.next_u64(), i)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, i)| i).collect()
}
