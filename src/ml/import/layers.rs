//! The layer list of a safetensors file.

use super::safetensors::{Tensors, metadata};
use super::{bad, broadcast};
use crate::circuit::Matrix;
use crate::error::Result;
use crate::ml::{Activation, Conv2d, Layer, Model, ModelBuilder, Pool2d};
use serde::Deserialize;

/// Longest metadata entry.
const MAX_LIST: usize = 1 << 20;

/// One object of the list.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Dense {
        weight: String,
        bias: Option<String>,
    },
    Conv2d {
        weight: String,
        bias: Option<String>,
        #[serde(default = "ones")]
        stride: [usize; 2],
        #[serde(default)]
        padding: [usize; 4],
        #[serde(default = "ones")]
        dilation: [usize; 2],
        #[serde(default = "one")]
        groups: usize,
    },
    AveragePool {
        kernel: [usize; 2],
        stride: Option<[usize; 2]>,
        #[serde(default)]
        padding: [usize; 4],
        #[serde(default = "yes")]
        count_padding: bool,
    },
    GlobalAveragePool {},
    Affine {
        scale: String,
        shift: String,
    },
    Flatten {},
    Reshape {
        shape: Vec<usize>,
    },
    Transpose {
        permutation: Vec<usize>,
    },
    Square {},
    Polynomial {
        coefficients: Vec<f64>,
    },
    Sigmoid {},
    Tanh {},
    Relu {},
    Silu {},
    Gelu {},
    Softmax {
        axis: usize,
    },
}

fn one() -> usize {
    1
}

fn ones() -> [usize; 2] {
    [1, 1]
}

fn yes() -> bool {
    true
}

/// The model of a file.
pub(super) fn read(bytes: &[u8]) -> Result<Model> {
    let metadata = metadata(bytes)?;
    let mut tensors = Tensors::read(bytes)?;
    let input: Vec<usize> = json(&metadata, "input")?;
    let list: Vec<Entry> = json(&metadata, "layers")?;
    let mut builder = ModelBuilder::new(input)?;
    let mut value = 0;
    for (index, entry) in list.into_iter().enumerate() {
        let name = index.to_string();
        let layer = layer(entry, &mut tensors, &name, builder.shape(value))?;
        value = builder.add(&name, layer, vec![value])?;
    }
    match tensors.left_over() {
        Some(name) => Err(bad(name, "belongs to no layer of the list")),
        None => builder.build(value),
    }
}

fn json<T: for<'a> Deserialize<'a>>(metadata: &super::safetensors::Metadata, key: &str) -> Result<T> {
    let text = metadata.get(key).ok_or_else(|| bad(key, "no such metadata entry"))?;
    if text.len() > MAX_LIST {
        return Err(bad(key, format!("longer than {MAX_LIST} bytes")));
    }
    serde_json::from_str(text).map_err(|error| bad(key, error.to_string()))
}

/// The layer of an entry, on a value of the shape `shape`.
fn layer(entry: Entry, tensors: &mut Tensors<'_>, name: &str, shape: &[usize]) -> Result<Layer> {
    let activation = |activation| Ok(Layer::Activation(activation));
    match entry {
        Entry::Dense { weight, bias } => {
            let ([rows, columns], entries) = tensors.take_of_rank(&weight)?;
            let weights = Matrix::new(rows, columns, entries).map_err(|error| bad(&weight, error.to_string()))?;
            Ok(Layer::Dense { weights, bias: tensors.take_bias(bias, rows)? })
        }
        Entry::Conv2d { weight, bias, stride, padding, dilation, groups } => {
            let (shape, weights) = tensors.take_of_rank(&weight)?;
            let bias = tensors.take_bias(bias, shape[0])?;
            Ok(Layer::Conv2d(Conv2d { weights, shape, bias, stride, padding, dilation, groups }))
        }
        Entry::AveragePool { kernel, stride, padding, count_padding } => {
            Ok(Layer::AveragePool(Pool2d { kernel, stride: stride.unwrap_or(kernel), padding, count_padding }))
        }
        Entry::GlobalAveragePool {} => Ok(Layer::GlobalAveragePool),
        Entry::Affine { scale, shift } => {
            let mut entry = |tensor: &str| {
                let (from, entries) = tensors.take(tensor)?;
                let misfit = || bad(name, format!("{tensor:.64} of shape {from:?} does not fit {shape:?}"));
                broadcast(&from, &entries, shape).ok_or_else(misfit)
            };
            Ok(Layer::Affine { scale: entry(&scale)?, shift: entry(&shift)? })
        }
        Entry::Flatten {} => Ok(Layer::Reshape(vec![shape.iter().product()])),
        Entry::Reshape { shape } => Ok(Layer::Reshape(shape)),
        Entry::Transpose { permutation } => Ok(Layer::Transpose(permutation)),
        Entry::Square {} => activation(Activation::Square),
        Entry::Polynomial { coefficients } => activation(Activation::Polynomial(coefficients)),
        Entry::Sigmoid {} => activation(Activation::Sigmoid),
        Entry::Tanh {} => activation(Activation::Tanh),
        Entry::Relu {} => activation(Activation::Relu),
        Entry::Silu {} => activation(Activation::Silu),
        Entry::Gelu {} => activation(Activation::Gelu),
        Entry::Softmax { axis } => activation(Activation::Softmax { axis }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use half::{bf16, f16};
    use proptest::prelude::*;
    use safetensors::Dtype::{self, BF16, F16, F32, F64, I64};
    use safetensors::tensor::TensorView;
    use std::collections::HashMap;

    const DIGITS: &[u8] = include_bytes!("../../../examples/data/digits/mlp.safetensors");
    const DENSE: &str = r#"{"op":"dense","weight":"w","bias":"b"}"#;

    /// A file with these tensors, all entries 1.5.
    fn file(input: &str, layers: &str, tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
        let entry: fn(Dtype) -> Vec<u8> = |dtype| match dtype {
            F16 => f16::from_f64(1.5).to_le_bytes().to_vec(),
            BF16 => bf16::from_f64(1.5).to_le_bytes().to_vec(),
            F32 => 1.5f32.to_le_bytes().to_vec(),
            _ => 1.5f64.to_le_bytes().to_vec(),
        };
        let data: Vec<_> =
            tensors.iter().map(|(_, dtype, shape)| entry(*dtype).repeat(shape.iter().product())).collect();
        let view = |((name, dtype, shape), data): (&(&str, Dtype, &[usize]), _)| {
            (name.to_string(), TensorView::new(*dtype, shape.to_vec(), data).unwrap())
        };
        let metadata = [("input", input.to_string()), ("layers", format!("[{layers}]"))];
        let metadata = HashMap::from(metadata.map(|(key, text)| (key.to_string(), text)));
        safetensors::serialize(tensors.iter().zip(data.iter().map(Vec::as_slice)).map(view), Some(metadata)).unwrap()
    }

    fn refused(bytes: &[u8]) -> (String, String) {
        match Model::from_safetensors(bytes) {
            Err(Error::BadModel { field, reason }) => (field, reason),
            other => panic!("{other:?}"),
        }
    }

    fn field(bytes: &[u8]) -> String {
        refused(bytes).0
    }

    #[test]
    fn every_float_type_reads_the_same() {
        for (weight, bias) in [(F16, BF16), (F32, F64)] {
            let layers = format!(r#"{{"op":"square"}},{DENSE}"#);
            let bytes = file("[3]", &layers, &[("w", weight, &[2, 3]), ("b", bias, &[2])]);
            let weights = Matrix::new(2, 3, vec![1.5; 6]).unwrap();
            let want = vec![Layer::Activation(Activation::Square), Layer::Dense { weights, bias: vec![1.5; 2] }];
            assert_eq!(Model::from_safetensors(&bytes).unwrap(), Model::from_layers(vec![3], want).unwrap());
        }
    }

    #[test]
    fn every_layer_of_the_list_is_read() {
        let conv = Conv2d {
            weights: vec![1.5; 36],
            shape: [4, 1, 3, 3],
            bias: vec![0.0; 4],
            stride: [1, 1],
            padding: [0; 4],
            dilation: [1, 1],
            groups: 2,
        };
        let other = Conv2d {
            weights: vec![1.5; 20],
            shape: [5, 4, 1, 1],
            bias: vec![1.5; 5],
            stride: [2, 1],
            padding: [1, 2, 3, 4],
            dilation: [3, 2],
            groups: 1,
        };
        let pool = Pool2d { kernel: [2, 2], stride: [2, 2], padding: [0; 4], count_padding: true };
        let padded = Pool2d { kernel: [3, 2], stride: [1, 1], padding: [1, 0, 2, 1], count_padding: false };
        let cases = [
            (r#"{"op":"conv2d","weight":"k","groups":2}"#, Layer::Conv2d(conv)),
            (r#"{"op":"average_pool","kernel":[2,2]}"#, Layer::AveragePool(pool)),
            (
                r#"{"op":"conv2d","weight":"k2","bias":"b2","stride":[2,1],"padding":[1,2,3,4],"dilation":[3,2]}"#,
                Layer::Conv2d(other),
            ),
            (
                r#"{"op":"average_pool","kernel":[3,2],"stride":[1,1],"padding":[1,0,2,1],"count_padding":false}"#,
                Layer::AveragePool(padded),
            ),
            (r#"{"op":"transpose","permutation":[0,2,1]}"#, Layer::Transpose(vec![0, 2, 1])),
            (r#"{"op":"global_average_pool"}"#, Layer::GlobalAveragePool),
            (r#"{"op":"affine","scale":"s","shift":"t"}"#, Layer::Affine { scale: vec![1.5; 5], shift: vec![1.5; 5] }),
            (r#"{"op":"flatten"}"#, Layer::Reshape(vec![5])),
            (r#"{"op":"reshape","shape":[1,5]}"#, Layer::Reshape(vec![1, 5])),
            (r#"{"op":"square"}"#, Layer::Activation(Activation::Square)),
            (
                r#"{"op":"polynomial","coefficients":[0.5,-1,2e-3]}"#,
                Layer::Activation(Activation::Polynomial(vec![0.5, -1.0, 2e-3])),
            ),
            (r#"{"op":"sigmoid"}"#, Layer::Activation(Activation::Sigmoid)),
            (r#"{"op":"tanh"}"#, Layer::Activation(Activation::Tanh)),
            (r#"{"op":"relu"}"#, Layer::Activation(Activation::Relu)),
            (r#"{"op":"silu"}"#, Layer::Activation(Activation::Silu)),
            (r#"{"op":"gelu"}"#, Layer::Activation(Activation::Gelu)),
            (r#"{"op":"softmax","axis":1}"#, Layer::Activation(Activation::Softmax { axis: 1 })),
        ];
        let layers: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
        let tensors: [(&str, Dtype, &[usize]); 5] = [
            ("k", F16, &[4, 1, 3, 3]),
            ("k2", F32, &[5, 4, 1, 1]),
            ("b2", F32, &[5]),
            ("s", F32, &[5, 1, 1]),
            ("t", F64, &[1]),
        ];
        let model = Model::from_safetensors(&file("[2,7,6]", &layers.join(","), &tensors)).unwrap();
        let got: Vec<&Layer> = model.nodes().iter().map(|node| &node.layer).collect();
        let want: Vec<&Layer> = cases.iter().map(|(_, layer)| layer).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let weight = ("w", F32, [2, 3].as_slice());
        let bias = ("b", F32, [2].as_slice());
        let dense = |tensors: &[_]| field(&file("[3]", DENSE, tensors));
        assert_eq!(dense(&[weight]), "b");
        assert_eq!(dense(&[bias]), "w");
        assert_eq!(dense(&[weight, bias, ("other", F32, &[2])]), "other");
        assert_eq!(dense(&[("w", F32, &[6]), bias]), "w");
        assert_eq!(dense(&[("w", F32, &[2, 0]), bias]), "w");
        assert_eq!(dense(&[("w", I64, &[2, 3]), bias]), "w");
        assert_eq!(dense(&[weight, ("b", F64, &[3])]), "b");
        assert_eq!(dense(&[weight, ("b", F32, &[2, 1])]), "b");
        assert_eq!(field(&file("[4]", DENSE, &[weight, bias])), "0");
        assert_eq!(field(&file("[3]", &format!("{DENSE},{DENSE}"), &[weight, bias])), "1");
        for list in ["", r#"{"op":"square","axis":1}"#, r#"{"op":"max_pool"}"#, r#"{"op":"dense"}"#, "7", "[["] {
            assert_eq!(field(&file("[3]", list, &[])), "layers", "{list}");
        }
        let (field_, reason) = refused(&file("[3]", r#"{"op":"max_pool"}"#, &[]));
        assert!(field_ == "layers" && reason.contains("`average_pool`"), "{reason}"); // what is supported
        for input in ["", "[", "[-1]", "[0]", "[1e9]", "[16777217]", "[4096,4097]", "[1,1,1,1,1,1,1,1,1]", "{}"] {
            assert_eq!(field(&file(input, r#"{"op":"square"}"#, &[])), "input", "{input}");
        }
        assert_eq!(field(&file("[3]", &" ".repeat(MAX_LIST), &[])), "layers");
        let squares = vec![r#"{"op":"square"}"#; 1025].join(",");
        assert_eq!(field(&file("[3]", &squares, &[])), "1024");
        let affine = r#"{"op":"affine","scale":"b","shift":"b"}"#;
        assert_eq!(field(&file("[3]", affine, &[bias])), "0");
        let mut infinite = file("[3]", DENSE, &[weight, bias]);
        let last = infinite.len() - 4; // the bias or the weight
        infinite[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert!(["w", "b"].contains(&field(&infinite).as_str()));
        assert_eq!(field(b""), "file");
    }

    #[test]
    fn sizes_that_would_blow_up_are_refused() {
        for list in [
            r#"{"op":"average_pool","kernel":[2000,2000],"stride":[1,1]}"#,
            r#"{"op":"average_pool","kernel":[18446744073709551615,1]}"#,
            r#"{"op":"average_pool","kernel":[0,0]}"#,
            r#"{"op":"average_pool","kernel":[2,2],"stride":[0,1]}"#,
            r#"{"op":"average_pool","kernel":[2,2],"padding":[0,0,2,0]}"#,
            r#"{"op":"conv2d","weight":"k","padding":[4000,4000,4000,4000]}"#,
            r#"{"op":"conv2d","weight":"k","padding":[18446744073709551615,0,1,0]}"#,
            r#"{"op":"conv2d","weight":"k","dilation":[18446744073709551615,1]}"#,
            r#"{"op":"conv2d","weight":"k","dilation":[0,0]}"#,
            r#"{"op":"conv2d","weight":"k","stride":[0,0]}"#,
            r#"{"op":"conv2d","weight":"k","groups":0}"#,
        ] {
            let tensors: [(&str, Dtype, &[usize]); 1] = [("k", F32, &[1, 1, 2, 2])];
            let used = if list.contains("conv") { &tensors[..] } else { &[] };
            assert_eq!(field(&file("[1,3000,3000]", list, used)), "0", "{list}");
        }
        let pools = vec![r#"{"op":"square"}"#; 20].join(",");
        assert_eq!(field(&file("[2000000]", &pools, &[])), "7"); // 2^24 entries in all
    }

    #[test]
    fn offsets_that_overflow_are_refused() {
        let size = (1u64 << 61) - 1;
        let tensors: Vec<String> = (0..8u64)
            .map(|i| {
                format!(r#""{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{},{}]}}"#, i * size, (i + 1) * size)
            })
            .collect();
        let header = format!("{{{}}}", tensors.join(","));
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        assert_eq!(field(&bytes), "file");
        // Digits in a string are no number.
        assert_eq!(field(&file("[1]", r#""\"1234567890123456789"#, &[])), "layers");
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(
            changes in prop::collection::vec((prop_oneof![0..600usize, 0..DIGITS.len()], any::<u8>()), 0..6),
            digits in prop::collection::vec((8..600usize, b'0'..=b'9'), 0..4),
            length in prop_oneof![Just(DIGITS.len()), 0..DIGITS.len()],
        ) {
            let mut bytes = DIGITS.to_vec();
            for (position, byte) in changes {
                bytes[position] = byte;
            }
            for (position, digit) in digits {
                if bytes[position].is_ascii_digit() {
                    bytes[position] = digit;
                }
            }
            bytes.truncate(length);
            if let Ok(model) = Model::from_safetensors(&bytes) {
                let answers = model.predict_clear(&[vec![0.5; model.inputs()]]).unwrap();
                prop_assert_eq!(answers[0].len(), model.outputs());
            }
        }

        #[test]
        fn arbitrary_headers_never_panic(header in r#"[{}\[\]":,0-9a-z\\]{0,80}"#) {
            let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
            prop_assert!(Model::from_safetensors(&bytes).is_err());
        }

        #[test]
        fn arbitrary_lists_never_panic(list in r#"\{"op":"(dense|affine|conv2d|reshape|softmax)"(,"[a-z]{4,6}":[\[\]0-9,"]{0,9}){0,3}\}"#) {
            prop_assert!(Model::from_safetensors(&file("[2]", &list, &[("w", F32, &[2, 2])])).is_err());
        }
    }
}
