//! Which vector instructions the host's arithmetic uses: decided once for the process.

use pulp::Arch;
use std::sync::OnceLock;

/// Environment variable that asks for less than the processor has: `avx512`, `avx2` or `plain`.
const VARIABLE: &str = "RINGLIGHT_SIMD";

/// The instruction sets that this processor has, by name, the widest first.
pub(crate) fn available() -> Vec<(&'static str, Arch)> {
    let mut out = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        out.extend(pulp::x86::V4::try_new().map(|simd| ("avx512", Arch::V4(simd))));
        out.extend(pulp::x86::V3::try_new().map(|simd| ("avx2", Arch::V3(simd))));
    }
    #[cfg(target_arch = "aarch64")]
    out.extend(pulp::aarch64::Neon::try_new().map(|simd| ("neon", Arch::Neon(simd))));
    out.push(("plain", Arch::Scalar));
    out
}

/// The instruction set in use: the widest, or the one that the environment asks for. Results do not depend on it.
pub(crate) fn arch() -> Arch {
    chosen().1
}

/// Its name.
pub(crate) fn name() -> &'static str {
    match chosen().0 {
        "avx512" => "AVX-512",
        "avx2" => "AVX2",
        "neon" => "NEON",
        _ => "no SIMD",
    }
}

fn chosen() -> (&'static str, Arch) {
    static CHOSEN: OnceLock<(&str, Arch)> = OnceLock::new();
    *CHOSEN.get_or_init(|| choose(std::env::var(VARIABLE).ok().as_deref()))
}

fn choose(wanted: Option<&str>) -> (&'static str, Arch) {
    let available = available();
    let found = available.iter().find(|(name, _)| Some(*name) == wanted);
    if let (Some(wanted), None) = (wanted, found) {
        let names: Vec<_> = available.iter().map(|(name, _)| *name).collect();
        log::warn!("{VARIABLE}={wanted} is not one of {}; using {}", names.join(", "), names[0]);
    }
    *found.unwrap_or(&available[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_is_used_unless_another_is_asked_for() {
        let widest = available()[0].0;
        assert_eq!(choose(None).0, widest);
        assert_eq!(choose(Some("abacus")).0, widest);
        for (name, _) in available() {
            assert_eq!(choose(Some(name)).0, name);
        }
    }
}
