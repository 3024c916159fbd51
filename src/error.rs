//! The one error type: plain data, grouped by what the caller can do next.

/// `Result` of every public call.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong and what to do about it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    // --- change the circuit -----------------------------------------------------------------
    /// Two operands carry different scales.
    #[error(
        "{op}: the scales differ (2^{left:.4} and 2^{right:.4}); bring both operands to one level with `drop_to`, or encode the plaintext at the ciphertext's level and scale"
    )]
    ScaleMismatch {
        /// The operation.
        op: &'static str,
        /// Binary logarithm of the left scale.
        left: f64,
        /// Binary logarithm of the right scale.
        right: f64,
    },
    /// Two operands stand at different levels.
    #[error(
        "{op}: the operands are at levels {left} and {right}; bring the higher one down with `drop_to`, or encode the plaintext for the ciphertext's level"
    )]
    LevelMismatch {
        /// The operation.
        op: &'static str,
        /// Level of the left operand.
        left: u32,
        /// Level of the right operand.
        right: u32,
    },
    /// The chain has too few levels left.
    #[error(
        "{op} needs {needed} level(s), the ciphertext has {left}; choose a longer chain, or drop fewer levels before"
    )]
    LevelExhausted {
        /// The operation.
        op: &'static str,
        /// Levels the operation consumes.
        needed: u32,
        /// Levels left.
        left: u32,
    },
    /// A level above the operand's (or the chain's) was asked for.
    #[error(
        "{op}: level {wanted} is above level {available}; a level cannot be gained back, encrypt or encode at a higher level"
    )]
    LevelTooHigh {
        /// The operation.
        op: &'static str,
        /// The level asked for.
        wanted: u32,
        /// The highest level possible here.
        available: u32,
    },
    /// The ciphertext has the wrong number of components for the operation.
    #[error("{op} takes a ciphertext of {expected} components, this one has {got}; relinearize after a multiplication")]
    ComponentCount {
        /// The operation.
        op: &'static str,
        /// Components expected.
        expected: u32,
        /// Components found.
        got: u32,
    },
    /// Sizes of the operands do not fit each other.
    #[error("{op}: expected {expected}, got {got}")]
    ShapeMismatch {
        /// The operation.
        op: &'static str,
        /// What would fit.
        expected: String,
        /// What was given.
        got: String,
    },
    /// More values than slots.
    #[error("{got} values do not fit {slots} slots; choose a larger ring or split the vector")]
    TooManyValues {
        /// Slots of the parameters.
        slots: usize,
        /// Values given.
        got: usize,
    },
    /// A value that cannot be encoded.
    #[error("value {index} cannot be encoded: {reason}")]
    BadValue {
        /// Position in the input.
        index: usize,
        /// Why not.
        reason: &'static str,
    },

    /// The caller's own wish.
    #[error("stopped on request after {done} of {steps} steps")]
    Cancelled {
        /// Steps that were run.
        done: usize,
        /// Steps of the whole run.
        steps: usize,
    },

    // --- make or send another key -----------------------------------------------------------
    /// No key for this rotation.
    #[error(
        "no key for a rotation by {steps}; generate the evaluation keys with the plan's `rotations`, or add this step to them"
    )]
    MissingRotationKey {
        /// Signed steps.
        steps: i32,
    },
    /// No key for conjugation.
    #[error("no conjugation key; generate the evaluation keys with `conjugation(true)`")]
    MissingConjugationKey,
    /// No relinearization key.
    #[error("no relinearization key; generate the evaluation keys with `relinearization(true)`")]
    MissingRelinearizationKey,
    /// No keys to the sparse secret of bootstrapping and back.
    #[error(
        "no keys for the sparse secret that raises the modulus; generate the evaluation keys with `encapsulation(true)`"
    )]
    MissingEncapsulationKey,
    /// A key that does not reach up to the ciphertext's level.
    #[error(
        "{op}: the key was made for level {made_for} and below, the ciphertext is at level {needed}; request the key at level {needed} or above (`rotations_at`, `conjugation_at`, `relinearization_at` of `KeyRequest`), or bring the ciphertext down with `drop_to`"
    )]
    KeyLevelTooLow {
        /// The operation, with its rotation.
        op: String,
        /// Highest level that the key serves.
        made_for: u32,
        /// The ciphertext's level.
        needed: u32,
    },
    /// Operands were made under different parameters.
    #[error(
        "{op}: the operands belong to different parameters; use one parameter set for keys, plaintexts and ciphertexts"
    )]
    ParameterMismatch {
        /// The operation.
        op: &'static str,
    },
    /// Operands live on different devices.
    #[error("{op}: the operands are on different devices ({left} and {right}); move one with `to_device`")]
    DeviceMismatch {
        /// The operation.
        op: &'static str,
        /// Device of the left operand.
        left: String,
        /// Device of the right operand.
        right: String,
    },

    /// No polynomial or iteration within reach comes as close to a function as was asked.
    #[error("{function}: an error of {wanted:e} is out of reach, the best is {best:e} ({reason})")]
    Unreachable {
        /// The function and its interval.
        function: String,
        /// The error asked for.
        wanted: f64,
        /// The least error found.
        best: f64,
        /// What limits it, and what to do.
        reason: &'static str,
    },

    // --- choose other parameters ------------------------------------------------------------
    /// The modulus is too large for the ring at the wanted security.
    #[error(
        "log2(QP) = {log_qp:.1} exceeds {max} bits, the most for N = 2^{log_n} at {security}-bit security (ePrint 2024/463, Table 5.2); take a larger N, fewer levels or a smaller scale"
    )]
    Insecure {
        /// Ring dimension.
        log_n: u32,
        /// Bits of the whole modulus, special primes included.
        log_qp: f64,
        /// The table's bound; 0 where the table has no entry.
        max: u32,
        /// Bits of security asked for.
        security: u32,
    },
    /// Too few primes of the wanted size.
    #[error("not enough primes = 1 mod 2^{} near 2^{bits:.1}; take a smaller N, another scale or fewer levels", log_n + 1)]
    NoPrimes {
        /// Ring dimension.
        log_n: u32,
        /// Size looked for.
        bits: f64,
    },
    /// A parameter outside its range.
    #[error("{what}: {reason}")]
    InvalidParameter {
        /// Name of the parameter.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    // --- share less -------------------------------------------------------------------------
    /// The ledger has too few uses left.
    #[error(
        "sharing {wanted} vector(s): {spent} of the {declared} declared uses of this key are spent; make a new key"
    )]
    SharingSpent {
        /// Vectors to be shared.
        wanted: u64,
        /// Uses spent so far.
        spent: u64,
        /// Uses declared for the key.
        declared: u64,
    },
    /// The noise that sharing needs would leave nothing of the result.
    #[error(
        "sharing needs noise that leaves no precision: {missing_bits:.1} bits are missing; take a larger scale, declare fewer uses, or share a result with less noise"
    )]
    SharingPrecision {
        /// Bits that the result would need more.
        missing_bits: f64,
    },
    /// A ledger that does not belong here.
    #[error("sharing ledger: {reason}; use the one that was saved last for this key")]
    BadLedger {
        /// What is wrong with it.
        reason: &'static str,
    },

    // --- choose another device --------------------------------------------------------------
    /// No adapter answers the request.
    #[error(
        "no GPU adapter {wanted}: {reason}; install a Vulkan, Metal or DX12 driver (a software one: mesa-vulkan-drivers), or use `Device::cpu()`"
    )]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// Why there is none, with those that exist.
        reason: String,
    },
    /// The device cannot hold a buffer.
    #[error(
        "{device} cannot allocate {bytes} bytes; use smaller batches or drop ciphertexts that are no longer needed"
    )]
    OutOfMemory {
        /// Device name.
        device: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// Less memory for keys than one of them takes.
    #[error("{limit} bytes of device memory for keys; the largest key takes {least}, give it at least as much")]
    KeyMemoryTooSmall {
        /// Bytes allowed.
        limit: u64,
        /// The least that works.
        least: u64,
    },
    /// The device failed; it stays failed.
    #[error("{device} failed: {reason}; open the device again")]
    DeviceFailed {
        /// Device name.
        device: String,
        /// The driver's words.
        reason: String,
    },
    /// An operation list that no backend may run.
    #[error("operation {op} is not well formed: {reason}")]
    BadProgram {
        /// Name of the operation.
        op: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    // --- repair the input -------------------------------------------------------------------
    /// A model file that cannot be used.
    #[error("model {field}: {reason}")]
    BadModel {
        /// Tensor or metadata entry.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes from outside that are not what they should be. Nothing was made of them.
    #[error("bytes of {kind}: {field}: {reason}")]
    BadBytes {
        /// The object that was read.
        kind: &'static str,
        /// The part of it that is wrong.
        field: &'static str,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A reader or writer failed.
    #[error("{doing} {object} failed ({kind}): {reason}; try again over a fresh connection or file")]
    Stream {
        /// What was under way: reading or writing.
        doing: &'static str,
        /// The object.
        object: &'static str,
        /// The kind of failure.
        kind: std::io::ErrorKind,
        /// The system's words.
        reason: String,
    },
    /// The operating system gave no randomness.
    #[error("the operating system's random generator failed: {reason}")]
    NoEntropy {
        /// The system's words.
        reason: String,
    },
}
