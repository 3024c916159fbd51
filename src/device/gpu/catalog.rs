//! Every kernel: which files it is made of, its entry point and the numbers that tune it.

use crate::math::Extension;
use crate::math::PRODUCTS;

/// Threads of a workgroup in word-by-word kernels, four words each.
pub(super) const ELEMENT_THREADS: u32 = 128;
/// Threads of a workgroup that expands seeds, eight words each.
pub(super) const UNIFORM_THREADS: u32 = 64;
/// Threads of a workgroup in base conversion, four words each.
pub(super) const EXTEND_THREADS: u32 = 64;
/// Target limbs of one workgroup in base conversion.
pub(super) const EXTEND_TARGETS: u32 = 8;
/// Columns of one workgroup in the strided pass of an NTT.
pub(super) const COLUMN_THREADS: u32 = 64;
/// Most sources of a base conversion, in whole vec4.
const EXTEND_SOURCES: usize = Extension::MAX_SOURCES.next_multiple_of(4);
/// Key digits of one launch on every device: those that `keys_few.wgsl` binds.
pub(super) const FEW_KEYS: usize = 3;
/// Key digits of one launch on devices that bind enough: those that `keys_many.wgsl` binds.
pub(super) const MANY_KEYS: usize = 9;
/// Outputs of one thread in `combine`. The shader's `OUTPUTS`.
pub(super) const COMBINE_OUTPUTS: u32 = 4;
/// Target limbs of one thread where a conversion begins an NTT. The shader's `TARGETS`.
pub(super) const GROUP_TARGETS: u32 = 4;
/// What stands for a target that a group lacks. The shader's `ABSENT`.
pub(super) const ABSENT: u32 = u32::MAX;
/// Stages of the largest contiguous NTT pass: 16 KiB of workgroup memory.
pub(super) const MAX_LOG_POINTS: u32 = 12;
/// Stages of the smallest contiguous NTT pass.
#[cfg(test)]
pub(super) const MIN_LOG_POINTS: u32 = 9;

/// Which wide product kernels are composed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WideProduct {
    /// 16-bit halves.
    Portable,
    /// `SHADER_INT64`.
    Int64,
}

/// Word-by-word kernels, named as their entry points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Element {
    Zero,
    Copy,
    Add,
    Sub,
    Neg,
    Mul,
    MulAdd,
    MulScalar,
    MulScalarAdd,
    AddScalar,
    Tensor,
}

impl Element {
    fn label(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Copy => "copy",
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Neg => "neg",
            Self::Mul => "mul",
            Self::MulAdd => "mul_add",
            Self::MulScalar => "mul_scalar",
            Self::MulScalarAdd => "mul_scalar_add",
            Self::AddScalar => "add_scalar",
            Self::Tensor => "tensor",
        }
    }
}

/// What the contiguous pass of a forward NTT does at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RowsEnd {
    /// Nothing more.
    Plain,
    /// Subtracts from a minuend, scales, adds.
    Finish,
    /// The same, then an automorphism.
    FinishTurned,
}

/// A kernel. `repeats`: some source has fewer polynomials than the destination, but more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kernel {
    Element {
        element: Element,
        repeats: bool,
    },
    Automorphism {
        repeats: bool,
    },
    /// `scaled`: the sources are multiplied by the inverse hats already.
    Extend {
        repeats: bool,
        scaled: bool,
    },
    /// `many`: of up to [`MANY_KEYS`] digits; `turned`: with an automorphism at the end.
    GadgetDot {
        many: bool,
        turned: bool,
    },
    /// Contiguous pass of the digits' forward NTTs with the product.
    KeySwitch {
        log_points: u32,
        whole: bool,
        turned: bool,
    },
    Uniform,
    Combine,
    /// Contiguous pass of the forward NTT; `whole` if no other pass precedes.
    ForwardRows {
        log_points: u32,
        whole: bool,
        end: RowsEnd,
    },
    /// Strided pass of the forward NTT, 4 or 5 stages.
    ForwardColumns {
        stages: u32,
    },
    /// Conversion with the strided pass of the forward NTT, 4 stages.
    ConvertColumns,
    /// Limbs that digits contain.
    Own,
    /// Contiguous pass of the inverse NTT; `whole` if no other pass follows.
    InverseRows {
        log_points: u32,
        whole: bool,
    },
    /// Strided pass of the inverse NTT, 4 or 5 stages.
    InverseColumns {
        stages: u32,
    },
}

/// Data buffers of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// Four.
    Narrow,
    /// As many as every device binds.
    Least,
    /// As many as this device binds.
    Most,
}

/// Files that are concatenated to one module, after the wide product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Element,
    Automorphism,
    GadgetFew,
    GadgetMany,
    KeySwitch,
    Uniform,
    Extend,
    Combine,
    Forward,
    Inverse,
    Convert,
}

/// How a kernel is made.
#[derive(Clone, Debug)]
pub(super) struct KernelSpec {
    pub(super) label: &'static str,
    pub(super) family: Family,
    pub(super) entry: &'static str,
    pub(super) overrides: Vec<(&'static str, f64)>,
}

const MUL_WIDE_PORTABLE: &str = include_str!("../../../shaders/lib/mul_wide_portable.wgsl");
const MUL_WIDE_INT64: &str = include_str!("../../../shaders/lib/mul_wide_int64.wgsl");
const MOD_U32: &str = include_str!("../../../shaders/lib/mod_u32.wgsl");
const BINDINGS: &str = include_str!("../../../shaders/lib/bindings.wgsl");
const TURN: &str = include_str!("../../../shaders/lib/turn.wgsl");
const RADIX16: &str = include_str!("../../../shaders/lib/radix16.wgsl");
const RADIX16_FORWARD: &str = include_str!("../../../shaders/lib/radix16_forward.wgsl");
const RADIX16_INVERSE: &str = include_str!("../../../shaders/lib/radix16_inverse.wgsl");
const NTT: &str = include_str!("../../../shaders/lib/ntt.wgsl");
const ELEMENT: &str = include_str!("../../../shaders/element.wgsl");
const AUTOMORPHISM: &str = include_str!("../../../shaders/automorphism.wgsl");
const GADGET: &str = include_str!("../../../shaders/gadget.wgsl");
const KEYS_FEW: &str = include_str!("../../../shaders/lib/keys_few.wgsl");
const KEYS_MANY: &str = include_str!("../../../shaders/lib/keys_many.wgsl");
const KEY_SWITCH: &str = include_str!("../../../shaders/key_switch.wgsl");
const UNIFORM: &str = include_str!("../../../shaders/uniform.wgsl");
const EXTEND: &str = include_str!("../../../shaders/extend.wgsl");
const COMBINE: &str = include_str!("../../../shaders/combine.wgsl");
const NTT_FORWARD: &str = include_str!("../../../shaders/ntt_forward.wgsl");
const NTT_INVERSE: &str = include_str!("../../../shaders/ntt_inverse.wgsl");
const NTT_CONVERT: &str = include_str!("../../../shaders/ntt_convert.wgsl");

impl Family {
    /// The module's source.
    pub(super) fn source(self, product: WideProduct) -> String {
        let product = match product {
            WideProduct::Portable => MUL_WIDE_PORTABLE,
            WideProduct::Int64 => MUL_WIDE_INT64,
        };
        let own: &[&str] = match self {
            Self::Element => &[ELEMENT],
            Self::GadgetFew => &[TURN, KEYS_FEW, GADGET],
            Self::GadgetMany => &[TURN, KEYS_MANY, GADGET],
            Self::KeySwitch => &[TURN, RADIX16, RADIX16_FORWARD, NTT, KEYS_MANY, KEY_SWITCH],
            Self::Uniform => &[UNIFORM],
            Self::Automorphism => &[TURN, AUTOMORPHISM],
            Self::Extend => &[EXTEND],
            Self::Combine => &[COMBINE],
            Self::Forward => &[TURN, RADIX16, RADIX16_FORWARD, NTT, NTT_FORWARD],
            Self::Inverse => &[RADIX16, RADIX16_INVERSE, NTT, NTT_INVERSE],
            Self::Convert => &[RADIX16, RADIX16_FORWARD, NTT, NTT_CONVERT],
        };
        [product, MOD_U32, BINDINGS].iter().chain(own).copied().collect::<Vec<_>>().join("\n")
    }
}

impl Kernel {
    /// Every kernel that can be asked for.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let elements = [
            Element::Zero,
            Element::Copy,
            Element::Add,
            Element::Sub,
            Element::Neg,
            Element::Mul,
            Element::MulAdd,
            Element::MulScalar,
            Element::MulScalarAdd,
            Element::AddScalar,
            Element::Tensor,
        ];
        let plain = [false, true].into_iter().flat_map(|repeats| {
            let others = [Self::Automorphism { repeats }, Self::Extend { repeats, scaled: false }];
            elements.map(|element| Self::Element { element, repeats }).into_iter().chain(others)
        });
        // Scaled residues are made for one conversion: they have as many polynomials as it writes.
        let plain = plain.chain([Self::Extend { repeats: false, scaled: true }]);
        let flags = [(false, false), (false, true), (true, false), (true, true)];
        let plain = plain.chain(flags.map(|(many, turned)| Self::GadgetDot { many, turned }));
        let switches = (MIN_LOG_POINTS..=MAX_LOG_POINTS)
            .flat_map(|log_points| flags.map(|(whole, turned)| Self::KeySwitch { log_points, whole, turned }));
        let plain = plain.chain(switches).chain([Self::Uniform, Self::Combine, Self::ConvertColumns, Self::Own]);
        let columns = [4, 5].map(|stages| [Self::ForwardColumns { stages }, Self::InverseColumns { stages }]);
        let rows = (MIN_LOG_POINTS..=MAX_LOG_POINTS).flat_map(|log_points| {
            [false, true].map(|whole| {
                let [plain, finish, turned] = [RowsEnd::Plain, RowsEnd::Finish, RowsEnd::FinishTurned]
                    .map(|end| Self::ForwardRows { log_points, whole, end });
                [plain, finish, turned, Self::InverseRows { log_points, whole }]
            })
        });
        plain.chain(columns.into_iter().flatten()).chain(rows.flatten()).collect()
    }

    /// How many buffers its layout binds: what is bound costs the host time at every launch.
    pub(super) fn width(self) -> Width {
        match self {
            Self::Element { .. }
            | Self::Automorphism { .. }
            | Self::Uniform
            | Self::Combine
            | Self::InverseRows { .. }
            | Self::InverseColumns { .. }
            | Self::ForwardColumns { .. } => Width::Narrow,
            Self::GadgetDot { many: true, .. } | Self::KeySwitch { .. } => Width::Most,
            _ => Width::Least,
        }
    }

    /// How it is made.
    pub(super) fn spec(self) -> KernelSpec {
        let plain = |label, family, threads: u32, repeats: bool| KernelSpec {
            label,
            family,
            entry: label,
            overrides: vec![("THREADS", f64::from(threads)), ("REPEATS", f64::from(u8::from(repeats)))],
        };
        let columns = |label, family, entry| KernelSpec {
            label,
            family,
            entry,
            overrides: vec![("COLUMN_THREADS", f64::from(COLUMN_THREADS))],
        };
        let strided = |stages| if stages == 5 { "columns32" } else { "columns16" };
        match self {
            Self::Element { element, repeats } => plain(element.label(), Family::Element, ELEMENT_THREADS, repeats),
            Self::Automorphism { repeats } => plain("automorphism", Family::Automorphism, ELEMENT_THREADS, repeats),
            Self::GadgetDot { many, turned } => {
                let family = if many { Family::GadgetMany } else { Family::GadgetFew };
                let mut spec = plain("gadget_dot", family, ELEMENT_THREADS, false);
                spec.overrides.push(("TURN", f64::from(u8::from(turned))));
                spec
            }
            Self::KeySwitch { log_points, whole, turned } => KernelSpec {
                label: "key_switch",
                family: Family::KeySwitch,
                entry: "key_switch",
                overrides: vec![
                    ("LOG_POINTS", f64::from(log_points)),
                    ("WHOLE", f64::from(u8::from(whole))),
                    ("TURN", f64::from(u8::from(turned))),
                ],
            },
            Self::Uniform => plain("uniform_residues", Family::Uniform, UNIFORM_THREADS, false),
            Self::Extend { repeats, scaled } => {
                let mut spec = plain("extend", Family::Extend, EXTEND_THREADS, repeats);
                spec.overrides.push(("SCALED", f64::from(u8::from(scaled))));
                spec.overrides.push(("TARGETS", f64::from(EXTEND_TARGETS)));
                spec.overrides.push(("SOURCES", EXTEND_SOURCES as f64));
                spec
            }
            Self::Combine => {
                let mut spec = plain("combine", Family::Combine, ELEMENT_THREADS, false);
                spec.overrides.push(("PRODUCTS", PRODUCTS as f64));
                spec
            }
            Self::ForwardColumns { stages } => columns("ntt_forward_columns", Family::Forward, strided(stages)),
            Self::InverseColumns { stages } => columns("ntt_inverse_columns", Family::Inverse, strided(stages)),
            Self::ConvertColumns => columns("ntt_convert_columns", Family::Convert, "columns16"),
            Self::Own => columns("own", Family::Convert, "own"),
            Self::ForwardRows { log_points, whole, end } => KernelSpec {
                label: "ntt_forward_rows",
                family: Family::Forward,
                entry: "rows",
                overrides: vec![
                    ("LOG_POINTS", f64::from(log_points)),
                    ("WHOLE", f64::from(u8::from(whole))),
                    ("FINISH", f64::from(u8::from(end != RowsEnd::Plain))),
                    ("TURN", f64::from(u8::from(end == RowsEnd::FinishTurned))),
                ],
            },
            Self::InverseRows { log_points, whole } => KernelSpec {
                label: "ntt_inverse_rows",
                family: Family::Inverse,
                entry: "rows",
                overrides: vec![("LOG_POINTS", f64::from(log_points)), ("WHOLE", f64::from(u8::from(whole)))],
            },
        }
    }
}
