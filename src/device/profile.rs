//! Where a device's time goes: a table of its operations, and a trace of every kernel.
//!
//! With the feature `profiling`, `RINGLIGHT_PROFILE=1` has every device print its table when it is dropped and write a trace in
//! Chrome's format, which <https://ui.perfetto.dev> opens, to `ringlight-profile.json`; any other value is the file's name. A second device of
//! the process adds its number. A GPU is timed by its own clock, after every program instead of overlapped with the host; the
//! CPU by the wall clock around each operation, callers on several threads side by side.
//!
//! The table covers all that ran. The trace stays in memory until it is written, so it ends after the first 2^18 kernels (20 MiB) and
//! says how many it leaves out.

use crate::device::program::Op;
use rustc_hash::FxHashMap;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const VARIABLE: &str = "RINGLIGHT_PROFILE";
const DEFAULT_FILE: &str = "ringlight-profile.json";
/// Kernels in a trace.
const MOST_EVENTS: usize = 1 << 18;

/// What one kind of operation took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileRow {
    /// The operation's name.
    pub op: &'static str,
    /// Times that it ran.
    pub count: u64,
    /// Kernels that it was made of.
    pub kernels: u64,
    /// Time on the device.
    pub time: Duration,
    /// Bytes of operands and results, each counted once an operation: what it has to move at least.
    pub bytes: u64,
}

/// What a device's operations took, most time first. Printed, it is a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The device's name.
    pub device: String,
    /// One row a kind of operation.
    pub rows: Vec<ProfileRow>,
    /// Every kernel in Chrome's trace format, or the first 2^18.
    pub trace: String,
}

impl Profile {
    /// Time of all operations.
    pub fn time(&self) -> Duration {
        self.rows.iter().map(|row| row.time).sum()
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.time().as_secs_f64().max(f64::MIN_POSITIVE);
        writeln!(f, "{}", self.device)?;
        writeln!(
            f,
            "{:<16}{:>10}{:>10}{:>12}{:>8}{:>10}{:>10}",
            "operation", "count", "kernels", "ms", "share", "GB", "GB/s"
        )?;
        for row in &self.rows {
            let (seconds, gigabytes) = (row.time.as_secs_f64(), row.bytes as f64 / 1e9);
            let speed = if seconds > 0.0 { gigabytes / seconds } else { 0.0 };
            let share = 100.0 * seconds / all;
            let (op, count, kernels, ms) = (row.op, row.count, row.kernels, 1e3 * seconds);
            writeln!(f, "{op:<16}{count:>10}{kernels:>10}{ms:>12.3}{share:>7.1}%{gigabytes:>10.3}{speed:>10.2}")?;
        }
        Ok(())
    }
}

/// One kernel of a GPU, or one operation of the CPU.
#[derive(Clone, Debug)]
struct Event {
    op: &'static str,
    kernel: &'static str,
    start: Duration,
    time: Duration,
    track: usize,
}

/// Where the trace draws a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Track {
    /// One track for all: a GPU runs them in turn.
    #[cfg(feature = "gpu")]
    Device,
    /// One for each calling thread.
    Thread,
}

#[derive(Debug, Default)]
struct Seen {
    rows: Vec<ProfileRow>,
    events: Vec<Event>,
    /// Kernels that the trace leaves out.
    left_out: u64,
    /// Calling threads, numbered from 1.
    threads: FxHashMap<ThreadId, usize>,
}

impl Seen {
    fn row(&mut self, op: &'static str) -> &mut ProfileRow {
        let index = self.rows.iter().position(|row| row.op == op).unwrap_or_else(|| {
            self.rows.push(ProfileRow { op, count: 0, kernels: 0, time: Duration::ZERO, bytes: 0 });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    fn number(&mut self, track: Track) -> usize {
        match track {
            #[cfg(feature = "gpu")]
            Track::Device => 0,
            Track::Thread => {
                let next = self.threads.len() + 1;
                *self.threads.entry(std::thread::current().id()).or_insert(next)
            }
        }
    }
}

/// Gathers what one device did, and says it when dropped.
#[derive(Debug)]
pub(super) struct Profiler {
    device: String,
    file: PathBuf,
    origin: Instant,
    seen: Mutex<Seen>,
}

impl Profiler {
    /// What the environment asks for, if it does.
    pub(super) fn from_environment(device: &str) -> Option<Self> {
        static PROFILERS: AtomicUsize = AtomicUsize::new(0);
        let wanted = std::env::var(VARIABLE).ok().filter(|value| !matches!(value.as_str(), "" | "0"))?;
        let mut file = PathBuf::from(if wanted == "1" { DEFAULT_FILE } else { &wanted });
        let earlier = PROFILERS.fetch_add(1, Ordering::Relaxed);
        if earlier > 0 {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            file.set_file_name(format!("{stem}-{}.json", earlier + 1));
        }
        Some(Self { device: device.into(), file, origin: Instant::now(), seen: Mutex::default() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation that ran, or is about to.
    pub(super) fn operation(&self, op: &'static str, bytes: u64) {
        let mut seen = self.seen();
        let row = seen.row(op);
        row.count += 1;
        row.bytes += bytes;
    }

    /// A kernel of an operation, which began `after` a moment and took `time`.
    pub(super) fn kernel(
        &self,
        (op, kernel): (&'static str, &'static str),
        (moment, after): (Instant, Duration),
        time: Duration,
        track: Track,
    ) {
        let start = moment.saturating_duration_since(self.origin) + after;
        let mut seen = self.seen();
        let row = seen.row(op);
        row.kernels += 1;
        row.time += time;
        if seen.events.len() < MOST_EVENTS {
            let track = seen.number(track);
            seen.events.push(Event { op, kernel, start, time, track });
        } else {
            seen.left_out += 1;
        }
    }

    /// Runs an operation on the host and notes it.
    pub(super) fn time<T>(&self, op: &Op, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = run();
        self.operation(op.name(), op.bytes());
        self.kernel((op.name(), op.name()), (start, Duration::ZERO), start.elapsed(), Track::Thread);
        done
    }

    /// Everything so far.
    pub(super) fn profile(&self) -> Profile {
        let seen = self.seen();
        let mut rows = seen.rows.clone();
        rows.sort_by_key(|row| std::cmp::Reverse(row.time));
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        // Event by event: values take many times the memory of their text.
        let events: Vec<String> = seen
            .events
            .iter()
            .map(|e| {
                let (start, time, arguments) = (micros(e.start), micros(e.time), json!({ "operation": e.op }));
                let event = json!({ "ph": "X", "pid": 1, "tid": e.track, "name": e.kernel, "cat": e.op, "ts": start, "dur": time, "args": arguments });
                event.to_string()
            })
            .collect();
        let about = json!({ "device": self.device, "kernels_left_out": seen.left_out });
        let events = events.join(",");
        let trace = format!(r#"{{"displayTimeUnit":"ns","otherData":{about},"traceEvents":[{events}]}}"#);
        Profile { device: self.device.clone(), rows, trace }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        let profile = self.profile();
        if profile.rows.is_empty() {
            return;
        }
        eprintln!("{profile}");
        match std::fs::write(&self.file, &profile.trace) {
            Ok(()) => eprintln!("trace: {}", self.file.display()),
            Err(error) => log::error!("{VARIABLE}: {}: {error}", self.file.display()),
        }
    }
}
