//! Records of `scripts/gpu-report` and `benches/peers/run`, as far as the page needs them.

use serde_json::Value;
use std::path::Path;

/// Where a benchmark ran.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Cpu {
        threads: u32,
    },
    Gpu,
    /// The same adapter with portable kernels.
    Portable,
    /// `tfhe-ntt`, called directly.
    Peer,
}

/// One benchmark's median.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) group: String,
    pub(crate) log_n: u32,
    pub(crate) limbs: u32,
    pub(crate) batch: u32,
    pub(crate) place: Place,
    pub(crate) ns: f64,
}

impl Entry {
    /// From an id such as `ckks_mul/n13,N=2^13,limbs=5/batch=4,CPU (2 threads, AVX-512)`; sets beside the presets are left out.
    fn read(id: &str, ns: f64) -> Option<Self> {
        let (group, rest) = id.split_once('/')?;
        let (shape, rest) = rest.split_once('/')?;
        let (batch, place) = rest.strip_prefix("batch=")?.split_once(',')?;
        let (set, shape) = shape.split_once("N=2^")?;
        let (log_n, limbs) = shape.split_once(",limbs=")?;
        let place = match place.strip_prefix("CPU (") {
            Some(threads) => Place::Cpu { threads: threads.split(' ').next()?.parse().ok()? },
            None if place.starts_with("tfhe-ntt") => Place::Peer,
            None if place.ends_with(" portable") => Place::Portable,
            None => Place::Gpu,
        };
        let (log_n, limbs, batch) = (log_n.parse().ok()?, limbs.parse().ok()?, batch.parse().ok()?);
        (set.is_empty() || set.starts_with('n')).then(|| Self { group: group.into(), log_n, limbs, batch, place, ns })
    }
}

/// A record with benchmarks of a CPU and an adapter.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) stem: String,
    pub(crate) data: Value,
    pub(crate) entries: Vec<Entry>,
}

impl Record {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.data[key].as_str().unwrap_or("unknown")
    }

    pub(crate) fn is_software(&self) -> bool {
        self.data["software_adapter"].as_bool().unwrap_or(true)
    }

    /// The adapter's name.
    pub(crate) fn adapter(&self) -> &str {
        self.text("vulkan").split(';').next().unwrap_or_default()
    }

    /// The adapter's name without what its driver adds in parentheses.
    pub(crate) fn adapter_in_short(&self) -> &str {
        self.adapter().split(" (").next().unwrap_or_default()
    }

    /// The CPU with the most threads that were measured.
    pub(crate) fn cpu(&self) -> Place {
        let threads = self.entries.iter().filter_map(|entry| match entry.place {
            Place::Cpu { threads } => Some(threads),
            _ => None,
        });
        Place::Cpu { threads: threads.max().unwrap_or(0) }
    }

    /// The median of a benchmark in nanoseconds.
    pub(crate) fn ns(&self, group: &str, log_n: u32, batch: u32, place: Place) -> Option<f64> {
        let found = |e: &&Entry| e.group == group && (e.log_n, e.batch, e.place) == (log_n, batch, place);
        self.entries.iter().find(found).map(|entry| entry.ns)
    }

    /// A transform of 16 limbs in a batch of 4: many waited for once if the record has that.
    pub(crate) fn transform(&self, group: &str, log_n: u32, place: Place) -> Option<f64> {
        let of = |group: &str| {
            let found = |e: &&Entry| e.group == group && (e.log_n, e.limbs, e.batch, e.place) == (log_n, 16, 4, place);
            self.entries.iter().find(found).map(|entry| entry.ns)
        };
        of(&format!("{group}_queued")).or_else(|| of(group))
    }
}

/// What the folder of records has.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The newest of each adapter, oldest first.
    pub(crate) reports: Vec<Record>,
    /// The newest comparison with other libraries.
    pub(crate) peers: Option<(String, Value)>,
}

impl Records {
    pub(crate) fn read(folder: &Path) -> Self {
        let files = std::fs::read_dir(folder).expect("the folder of records").map(|file| file.expect("a file").path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
        files.sort(); // names start with the date
        let mut records = Self::default();
        for path in files {
            let text = std::fs::read_to_string(&path).expect("a record");
            let data: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name").to_owned();
            match data["kind"].as_str() {
                Some("peers") => records.peers = Some((stem, data)),
                Some("gpu-report") => {
                    let medians = data["median_ns"].as_object().into_iter().flatten();
                    let entries = medians.filter_map(|(id, ns)| Entry::read(id, ns.as_f64()?)).collect();
                    let record = Record { stem, data, entries };
                    records
                        .reports
                        .retain(|old| old.adapter() != record.adapter() || old.text("cpu") != record.text("cpu"));
                    records.reports.push(record);
                }
                _ => {}
            }
        }
        records
    }
}
