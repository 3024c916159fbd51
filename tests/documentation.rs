//! The page `docs/parameters-levels-bootstrapping.md` states figures of presets and quotes messages: here is where they come from.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use ringlight::Error;
use ringlight::ckks::{BootstrapSecret, Bootstrapper, Bootstrapping, KeyGenerator, Parameters, Security};
use ringlight::math::Seed;
use ringlight::units::{Level, LogN};
use std::path::Path;

const PAGE: &str = include_str!("../docs/parameters-levels-bootstrapping.md");

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The cells of the row with this label, in the only table that has one.
fn row(label: &str) -> Vec<&'static str> {
    let start = format!("| {label} |");
    let mut rows = PAGE.lines().filter(|line| line.starts_with(&start));
    let found = rows.next().unwrap_or_else(|| panic!("no row {label}"));
    assert!(rows.next().is_none(), "two rows {label}");
    found.trim_matches('|').split('|').skip(1).map(str::trim).collect()
}

fn limits(p: &Parameters) -> String {
    let security = p.security_estimate();
    format!("{:.1} of {}", security.log_qp, security.max_log_qp)
}

fn limbs(p: &Parameters) -> String {
    let rlwe = p.rlwe();
    format!("{} + {}, {}", rlwe.chain().0, rlwe.special().0, rlwe.digits(rlwe.chain()).len())
}

/// Bytes of a key for a level.
fn key_bytes(p: &Parameters, level: u32) -> usize {
    let limbs = p.limbs_at(Level(level)).unwrap();
    let digits = p.rlwe().digits(limbs).len();
    4 * digits * (limbs.0 + p.rlwe().special().0) as usize * p.log_n().degree() + 32 * digits
}

#[test]
fn presets_are_what_the_page_says() {
    let presets = [Parameters::n13(), Parameters::n14(), Parameters::n15(), Parameters::n16()];
    for (name, p) in ["`n13`", "`n14`", "`n15`", "`n16`"].into_iter().zip(presets) {
        let (p, log_n) = (p.as_ref().unwrap(), p.as_ref().unwrap().log_n());
        let top = p.max_level();
        let ciphertext = 8 * p.limbs_at(top).unwrap().0 as usize * log_n.degree();
        let want = format!(
            "| {name} | 2^{} | {} | {} | 2^{} | {} | {} | {:.0} | {:.2} MiB |",
            log_n.get(),
            p.slots(),
            top.0,
            p.scale_bits(),
            limits(p),
            limbs(p),
            p.security_estimate().bits.floor(),
            mib(ciphertext)
        );
        assert!(PAGE.contains(&want), "{want}");
        let [low, middle, high] = [0, 3, top.0].map(|level| mib(key_bytes(p, level)));
        let want = format!("| {name} | {low:.2} MiB | {middle:.2} MiB | {high:.2} MiB (level {}, ", top.0);
        assert!(PAGE.contains(&want), "{want}");
    }
}

#[test]
fn rings_have_as_many_levels_as_the_page_says() {
    for (column, log_n) in (12..=17).enumerate() {
        let limit = Security::Bits128.max_log_qp(LogN::new(log_n).unwrap()).unwrap();
        assert_eq!(row("largest `log2(Q P)` at 128 bits")[column], limit.to_string());
        for bits in [28, 50, 56] {
            let stated = row(&format!("levels possible at scale 2^{bits}"))[column].trim_end_matches(" *");
            let levels: u32 = if stated == "-" { 0 } else { stated.parse().unwrap() };
            let build = |levels| Parameters::builder().log_n(log_n).scale_bits(bits).levels(levels).build();
            assert!(levels == 0 || build(levels).is_ok(), "{levels} levels at 2^{bits} for 2^{log_n}");
            assert!(build(levels + 1).is_err(), "{} levels at 2^{bits} for 2^{log_n}", levels + 1);
        }
    }
}

/// The bytes of all the keys of a refresh, each for the level where it is used.
fn refresh_bytes(p: &Parameters, circuit: &Bootstrapper) -> usize {
    let (low, high) = circuit.plan().unwrap();
    let top = p.top_level().0;
    // The keys of SlotToCoeff are those of CoeffToSlot, which reach higher.
    assert_eq!(low.rotations, high.rotations);
    let rotations = high.rotation_depths.iter().map(|depth| key_bytes(p, top - depth)).sum::<usize>();
    let others = key_bytes(p, top - high.relinearization_depth) + key_bytes(p, top - high.conjugation_depth);
    let sparse = match circuit.parameters().bootstrapping().unwrap().secret {
        BootstrapSecret::Dense => 0,
        BootstrapSecret::Encapsulated { special, .. } => {
            let inward = p.limbs_at(Level(0)).unwrap().0 + special;
            let outward = p.rlwe().chain().0 + p.rlwe().special().0;
            4 * (inward + outward) as usize * p.log_n().degree() + 2 * 32
        }
    };
    rotations + others + sparse
}

#[test]
fn bootstrapping_presets_are_what_the_page_says() {
    let presets = [
        Parameters::bootstrap_n15(),
        Parameters::bootstrap_n16(),
        Parameters::bootstrap_n16_dense(),
        Parameters::insecure_bootstrap(),
    ];
    for (column, p) in presets.into_iter().map(Result::unwrap).enumerate() {
        let settings: Bootstrapping = *p.bootstrapping().unwrap();
        let circuit = Bootstrapper::new(&p).unwrap();
        let says = |label: &str, want: String| assert_eq!(row(label)[column].split(':').next(), Some(want.as_str()));
        says("`N`, slots", format!("2^{}, {}", p.log_n().get(), p.slots()));
        says("`log QP` of at most", limits(&p));
        says(
            "estimated bits of security, without the sparse secret",
            format!("{:.0}", p.security_estimate().bits.floor()),
        );
        says("application: levels, scale", format!("{}, 2^{}", p.max_level().0, p.scale_bits()));
        says("**levels between refreshes**", format!("**{}**", circuit.levels_left()));
        let (below, above) = (settings.slots_to_coefficients, settings.coefficients_to_slots);
        says(
            "levels of SlotToCoeff (the application's), EvalMod, CoeffToSlot",
            format!("{below}, {}, {above}", settings.eval_mod_levels()),
        );
        says("`q_0`, ratio", format!("2^{}, 2^{}", settings.scale_bits, settings.ratio_bits));
        let sine = (2.0 * std::f64::consts::PI / f64::from(settings.ratio_bits).exp2()).powi(2) / 6.0;
        says("error of the sine at magnitude 1", format!("2^{:.0}", sine.log2()));
        says(
            "range `K`, degree, doublings",
            format!("{}, {}, {}", settings.range, settings.degree, settings.doublings),
        );
        says("limbs + special, digits", limbs(&p));
        says("rotation keys, all slots", circuit.plan().unwrap().1.rotations.len().to_string());
        let bytes = refresh_bytes(&p, &circuit);
        says("all keys to send (twice that on the device)", format!("{:.1} MiB", mib(bytes)));
        let chain = p.rlwe().chain().0 as usize;
        let (secret, modulus) = match settings.secret {
            BootstrapSecret::Dense => ("the dense one".into(), "that of all keys".into()),
            BootstrapSecret::Encapsulated { weight, special } => {
                let primes = p.moduli()[chain..chain + special as usize].to_vec();
                let small = primes.iter().map(|&q| f64::from(q).log2()).sum::<f64>();
                let modulus = p.log_q_at(Level(0)).unwrap() + small;
                (format!("sparse, weight {weight}"), format!("2^{modulus:.0}"))
            }
        };
        says("secret that the modulus is raised under", secret);
        says("modulus it lives under, `q_0 p`", modulus);
        let failure = settings.failure_log2(p.log_n());
        let failure = if failure.is_finite() { format!("below 2^{failure:.0}") } else { "0".into() };
        says("a refresh fails with probability", failure);
        if p.security().is_none() {
            let mut generator = KeyGenerator::from_seed(&p, &Seed::from_bytes([1; 32]));
            assert_eq!(generator.evaluation_keys(&circuit.keys().unwrap()).unwrap().bytes(), bytes);
        }
    }
}

#[test]
fn quoted_messages_are_those_of_the_library_and_links_lead_somewhere() {
    let messages = [
        Error::LevelExhausted { op: "mul", needed: 1, left: 0 },
        Error::LevelExhausted { op: "refresh", needed: 3, left: 1 },
        Error::LevelMismatch { op: "add", left: 3, right: 2 },
        Error::LevelTooHigh { op: "drop_to", wanted: 3, available: 2 },
        Error::ScaleMismatch { op: "add", left: 56.0, right: 28.0 },
        Error::ComponentCount { op: "mul", expected: 2, got: 3 },
        Error::KeyLevelTooLow { op: "rotate by 1".into(), made_for: 2, needed: 3 },
        Error::MissingRotationKey { steps: 5 },
        Parameters::builder().log_n(13).levels(9).build().unwrap_err(),
        Error::NoPrimes { log_n: 17, bits: 25.0 },
        Parameters::builder().scale_bits(35).build().unwrap_err(),
    ];
    for message in messages {
        let text = message.to_string();
        let quoted = text.split(';').next().unwrap().split("13 at").next().unwrap();
        assert!(PAGE.contains(&format!("| `{quoted}")), "{quoted}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for link in PAGE.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        match link.strip_prefix('#') {
            None => assert!(folder.join(link).is_file(), "{link}"),
            Some(anchor) => {
                let plain = |line: &str| line.to_lowercase().replace(['.', ','], "").replace(' ', "-");
                let headings = PAGE.lines().filter_map(|line| line.strip_prefix("## "));
                assert_eq!(headings.filter(|heading| plain(heading) == anchor).count(), 1, "{anchor}");
            }
        }
    }
}
