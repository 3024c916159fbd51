//! `docs/gpu-and-cpu.md` and its plots are what the records in `benches/record/` make of them.
//!
//! The page is written, not typed: `scripts/plots` runs this test with `RINGLIGHT_WRITE_PAGE=1`, and then it writes what it would
//! otherwise compare with.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod records;
mod svg;

use records::{Place, Record, Records};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use svg::{Chart, Line};

const RINGS: std::ops::RangeInclusive<u32> = 13..=16;
const BATCHES: [u32; 4] = [1, 4, 16, 64];
const OPERATIONS: [(&str, &str); 4] = [
    ("ckks_mul", "multiply + relinearize + rescale"),
    ("ckks_rotate", "rotate"),
    ("ckks_rescale", "rescale"),
    ("ckks_add", "add"),
];

const HEAD: &str = "# GPU and CPU

How long operations take on the two kinds of device, from the records in `benches/record/`. This page and its plots are made from the records'
JSON files by `scripts/plots`; a test fails when they differ. Medians; on a GPU each iteration submits and waits, but for transforms, where many are
waited for once. Absolute times belong to one machine: compare lines of one plot.
";

const NO_GPU: &str = "
**No real GPU has been measured yet, and no speed is claimed for one.** `scripts/gpu-report` measures one, and what its record says will stand here.
";

const SOFTWARE: &str = "
Until then, here is the CPU beside a Vulkan driver that runs the GPU's kernels on the same cores: it shows that the kernels run and says nothing
about a GPU.
";

/// The page and its plots, by path below `docs/`.
type Files = BTreeMap<String, String>;

/// Adds a plot to the files and to the page, if there is anything in it.
fn plot(files: &mut Files, page: &mut String, name: &str, chart: &Chart<'_>) {
    if let Some(svg) = chart.svg() {
        let path = format!("plots/{name}.svg");
        writeln!(page, "\n![{}]({path})", chart.title).unwrap();
        files.insert(path, svg);
    }
}

fn power_of_two(log: u32) -> String {
    format!("2^{log}")
}

fn device_name(record: &Record, place: Place) -> String {
    match place {
        Place::Cpu { threads } => format!("CPU, {threads} threads"),
        Place::Gpu if record.is_software() => format!("{} (no GPU)", record.adapter_in_short()),
        Place::Gpu => "GPU".into(),
        Place::Portable => device_name(record, Place::Gpu) + ", portable",
        Place::Peer => "tfhe-ntt, 1 thread".into(),
    }
}

/// Milliseconds a ciphertext against the ring, at the largest batch up to 16 that both devices have.
fn against_rings(record: &Record, files: &mut Files, page: &mut String) {
    let both = |batch: &&u32| {
        RINGS
            .filter(|&n| [record.cpu(), Place::Gpu].iter().all(|&p| record.ns("ckks_mul", n, **batch, p).is_some()))
            .count()
    };
    let Some(&batch) = BATCHES[..3].iter().max_by_key(|batch| (both(batch), **batch)) else { return };
    let mut lines = Vec::new();
    for (colour, (group, name)) in OPERATIONS.into_iter().enumerate() {
        for place in [Place::Gpu, record.cpu()] {
            let ms = |log_n| Some(record.ns(group, log_n, batch, place)? / f64::from(batch) / 1e6);
            let points = RINGS.filter_map(|n| Some(((n - RINGS.start()) as usize, ms(n)?))).collect();
            let dashed = place != Place::Gpu;
            let name = format!(
                "{}: {}",
                if dashed { "CPU" } else { "GPU" },
                name.replace("multiply + relinearize", "mul + relin")
            );
            lines.push(Line { name, points, colour, dashed });
        }
    }
    if record.is_software() {
        lines
            .iter_mut()
            .for_each(|line| line.name = line.name.replace("GPU:", &format!("{}:", record.adapter_in_short())));
    }
    let title = format!("Time of an operation against the ring, batch {batch}");
    let steps: Vec<_> = RINGS.map(power_of_two).collect();
    let chart = Chart { title: &title, across: "N", up: "milliseconds a ciphertext", steps: &steps, lines: &lines };
    plot(files, page, &format!("{}-rings", record.stem), &chart);
}

/// Products a second against the batch, one colour a ring.
fn against_batches(record: &Record, files: &mut Files, page: &mut String) {
    let mut lines = Vec::new();
    for (colour, log_n) in RINGS.enumerate() {
        for place in [Place::Gpu, record.cpu()] {
            let rate = |batch| Some(1e9 * f64::from(batch) / record.ns("ckks_mul", log_n, batch, place)?);
            let points = BATCHES.iter().enumerate().filter_map(|(step, &batch)| Some((step, rate(batch)?))).collect();
            let name = format!("2^{log_n}, {}", device_name(record, place));
            lines.push(Line { name, points, colour, dashed: place != Place::Gpu });
        }
    }
    let steps: Vec<_> = BATCHES.iter().map(u32::to_string).collect();
    let title = "Multiply + relinearize + rescale against the batch";
    let chart =
        Chart { title, across: "ciphertexts in a batch", up: "ciphertexts a second", steps: &steps, lines: &lines };
    plot(files, page, &format!("{}-batches", record.stem), &chart);
}

/// Butterflies a second against the ring.
fn transforms(record: &Record, files: &mut Files, page: &mut String) {
    let rings = 12..=16;
    let mut lines = Vec::new();
    for (colour, place) in [Place::Gpu, Place::Portable, record.cpu(), Place::Peer].into_iter().enumerate() {
        let rate = |log_n: u32| {
            let ns = record.transform("ntt_forward", log_n, place)?;
            Some(64.0 * f64::from(1 << (log_n - 1)) * f64::from(log_n) / ns)
        };
        let points = rings.clone().filter_map(|n| Some(((n - 12) as usize, rate(n)?))).collect();
        lines.push(Line { name: device_name(record, place), points, colour, dashed: false });
    }
    let steps: Vec<_> = rings.map(power_of_two).collect();
    let title = "Forward transforms of 64 rows";
    let chart = Chart { title, across: "N", up: "billions of butterflies a second", steps: &steps, lines: &lines };
    plot(files, page, &format!("{}-transforms", record.stem), &chart);
}

/// From which batch on the adapter is faster, ring by ring.
fn crossover(record: &Record, page: &mut String) {
    let cell = |group: &str, log_n: u32| {
        let ratio = |batch| {
            let cpu = record.ns(group, log_n, batch, record.cpu())?;
            Some((batch, cpu / record.ns(group, log_n, batch, Place::Gpu)?))
        };
        let measured: Vec<(u32, f64)> = BATCHES.iter().filter_map(|&batch| ratio(batch)).collect();
        let Some(&(largest, last)) = measured.last() else { return "not measured".into() };
        let wins = measured.iter().rev().take_while(|(_, ratio)| *ratio > 1.0).last();
        let first = wins.map_or_else(|| format!("not up to {largest}"), |(batch, _)| format!("from {batch}"));
        format!("{first} ({last:.3} at {largest})")
    };
    writeln!(
        page,
        "\nFrom which batch on {} is faster than all cores, and the CPU's time over its:\n",
        device_name(record, Place::Gpu)
    )
    .unwrap();
    writeln!(page, "| | {} |", RINGS.map(|n| format!("N = 2^{n}")).collect::<Vec<_>>().join(" | ")).unwrap();
    writeln!(page, "|---{}|", "|---".repeat(RINGS.count())).unwrap();
    for (group, name) in OPERATIONS {
        writeln!(page, "| {name} | {} |", RINGS.map(|n| cell(group, n)).collect::<Vec<_>>().join(" | ")).unwrap();
    }
}

/// One record's section.
fn section(record: &Record, files: &mut Files, page: &mut String) {
    let no_gpu = if record.is_software() { "No GPU: " } else { "" };
    let adapter = if record.is_software() { record.adapter_in_short() } else { record.adapter() };
    writeln!(page, "\n## {no_gpu}{adapter}\n").unwrap();
    let words = ["cpu", "vulkan", "parity", "same_ciphertexts", "same_refreshed"].map(|key| record.text(key));
    writeln!(page, "Record `benches/record/{}`: {}; adapter {}. Parity tests {}, ciphertexts of the digits network {}, refreshed ciphertext {}.", record.stem, words[0], words[1], words[2], words[3], words[4]).unwrap();
    against_rings(record, files, page);
    against_batches(record, files, page);
    crossover(record, page);
    transforms(record, files, page);
}

/// The newest comparison with other libraries, one thread each.
fn peers(stem: &str, data: &serde_json::Value, files: &mut Files, page: &mut String) {
    let rows = || data["rows"].as_array().into_iter().flatten().filter(|row| row["operation"] == "mul_relin_rescale");
    let ms = |row: &serde_json::Value, key: &str| {
        Some((usize::try_from(row["log_n"].as_u64()?).ok()?.checked_sub(13)?, row[key].as_f64()? / 1e6))
    };
    let of = |part: &str, key: &str, peer: Option<&str>| {
        let wanted = |row: &&serde_json::Value| row["part"] == part && peer.is_none_or(|peer| row["peer"] == peer);
        let mut points: Vec<_> = rows().filter(wanted).filter_map(|row| ms(row, key)).collect();
        points.dedup();
        points
    };
    let mut lines = Vec::new();
    for (colour, (part, title)) in [("openfhe", "OpenFHE's moduli"), ("seal", "SEAL's moduli")].into_iter().enumerate()
    {
        let name = format!("Ringlight, {title}");
        lines.push(Line { name, points: of(part, "ours_ns", None), colour, dashed: false });
        let mut names: Vec<_> = rows().filter(|r| r["part"] == part).filter_map(|r| r["peer"].as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for (index, peer) in names.into_iter().enumerate() {
            let points = of(part, "peer_ns", Some(peer));
            lines.push(Line { name: peer.into(), points, colour: 2 + 2 * colour + index, dashed: true });
        }
    }
    writeln!(page, "\n## Beside other libraries, on the CPU\n\nOne thread each, the same usable modulus; all rows and how they were measured are in `benches/record/{stem}.md`.").unwrap();
    let steps: Vec<_> = (13..=15).map(power_of_two).collect();
    let title = "Multiply + relinearize + rescale, one thread";
    let chart = Chart { title, across: "N", up: "milliseconds", steps: &steps, lines: &lines };
    plot(files, page, &format!("{stem}-products"), &chart);
}

fn make(records: &Records) -> Files {
    let mut files = Files::new();
    let mut page = HEAD.to_owned();
    let real: Vec<&Record> = records.reports.iter().filter(|record| !record.is_software()).collect();
    if real.is_empty() {
        page += NO_GPU;
        page += if records.reports.is_empty() { "" } else { SOFTWARE };
    }
    let shown = if real.is_empty() { records.reports.iter().collect() } else { real };
    for record in shown {
        section(record, &mut files, &mut page);
    }
    if let Some((stem, data)) = &records.peers {
        peers(stem, data, &mut files, &mut page);
    }
    files.insert("gpu-and-cpu.md".into(), page);
    files
}

#[test]
fn the_page_is_what_the_records_make_of_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = root.join("docs");
    let files = make(&Records::read(&root.join("benches/record")));
    if std::env::var("RINGLIGHT_WRITE_PAGE").is_ok_and(|v| v == "1") {
        let _ = std::fs::remove_dir_all(docs.join("plots"));
        std::fs::create_dir_all(docs.join("plots")).unwrap();
        files.iter().for_each(|(path, text)| std::fs::write(docs.join(path), text).unwrap());
    }
    for (path, text) in &files {
        let there = std::fs::read_to_string(docs.join(path)).unwrap_or_default();
        assert!(&there == text, "docs/{path} is not what the records make: run scripts/plots");
    }
    for plot in std::fs::read_dir(docs.join("plots")).into_iter().flatten() {
        let name = plot.unwrap().file_name().into_string().unwrap();
        assert!(files.contains_key(&format!("plots/{name}")), "docs/plots/{name} is of no record: run scripts/plots");
    }
}

/// A record with a GPU takes the place of what is said without one.
#[test]
fn a_gpus_record_is_shown_by_itself() {
    let time = |place: &str, ns: f64| {
        [1, 4, 16].map(|b| (format!("ckks_mul/n15,N=2^15,limbs=23/batch={b},{place}"), ns * f64::from(b)))
    };
    let medians: serde_json::Map<_, _> = time("CPU (16 threads, AVX-512)", 1e7)
        .into_iter()
        .chain(time("Gpu Some Adapter", 4e6))
        .map(|(id, ns)| (id, ns.into()))
        .collect();
    let report = |software: bool, adapter: &str| {
        let data = serde_json::json!({ "kind": "gpu-report", "cpu": "a processor", "vulkan": adapter, "software_adapter": software, "median_ns": medians });
        serde_json::to_string(&data).unwrap()
    };
    let folder = std::env::temp_dir().join(format!("ringlight-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("2026-01-01-a.json"), report(true, "A Renderer (version 1); none")).unwrap();
    std::fs::write(folder.join("other.json"), "{}").unwrap();
    let without = make(&Records::read(&folder));
    let page = &without["gpu-and-cpu.md"];
    assert!(page.contains("No real GPU has been measured") && page.contains("## No GPU: A Renderer\n"), "{page}");
    assert!(page.contains("From which batch on A Renderer (no GPU) is faster"), "{page}");
    std::fs::write(folder.join("2026-01-02-b.json"), report(false, "Some Adapter; driver 1")).unwrap();
    let with = make(&Records::read(&folder));
    std::fs::remove_dir_all(&folder).unwrap();
    let page = &with["gpu-and-cpu.md"];
    assert!(!page.contains("No real GPU") && !page.contains("A Renderer"), "{page}");
    assert!(page.contains("## Some Adapter\n") && page.contains("from 1 (2.500 at 16)"), "{page}");
    assert_eq!(with.len(), 3, "{:?}", with.keys());
}
