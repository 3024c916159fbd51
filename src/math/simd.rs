//! Which vector instructions the host's arithmetic uses: decided once for the process.

use pulp::Arch;
use std::sync::OnceLock;

/// Environment variable that asks for less than the processor has: `avx512`, `avx2`, `neon` or `plain`. Empty, it asks for nothing.
const VARIABLE: &str = "RINGLIGHT_SIMD";

/// An instruction set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    /// The variable's value for it.
    value: &'static str,
    pub(crate) name: &'static str,
    pub(crate) arch: Arch,
}

/// The instruction sets that this processor has, the widest first.
pub(crate) fn available() -> Vec<Set> {
    let mut out = Vec::new();
    let mut add = |value, name, arch: Option<Arch>| out.extend(arch.map(|arch| Set { value, name, arch }));
    #[cfg(target_arch = "x86_64")]
    {
        add("avx512", "AVX-512", pulp::x86::V4::try_new().map(Arch::V4));
        add("avx2", "AVX2", pulp::x86::V3::try_new().map(Arch::V3));
    }
    #[cfg(target_arch = "aarch64")]
    add("neon", "NEON", pulp::aarch64::Neon::try_new().map(Arch::Neon));
    add("plain", "no SIMD", Some(Arch::Scalar));
    out
}

/// The instruction set in use: the widest, or the one that the environment asks for. Results do not depend on it.
pub(crate) fn arch() -> Arch {
    chosen().arch
}

/// Its name.
pub(crate) fn name() -> &'static str {
    chosen().name
}

fn chosen() -> &'static Set {
    static CHOSEN: OnceLock<Set> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(std::env::var(VARIABLE).ok().as_deref()))
}

fn choose(wanted: Option<&str>) -> Set {
    let available = available();
    let wanted = wanted.filter(|value| !value.is_empty());
    let found = available.iter().find(|set| Some(set.value) == wanted);
    if let (Some(wanted), None) = (wanted, found) {
        let values: Vec<_> = available.iter().map(|set| set.value).collect();
        log::warn!("{VARIABLE}={wanted} is not one of {}; using {}", values.join(", "), values[0]);
    }
    *found.unwrap_or(&available[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_is_used_unless_another_is_asked_for() {
        let widest = available()[0].value;
        for wanted in [None, Some(""), Some("abacus")] {
            assert_eq!(choose(wanted).value, widest);
        }
        for set in available() {
            assert_eq!(choose(Some(set.value)).name, set.name);
        }
    }
}
