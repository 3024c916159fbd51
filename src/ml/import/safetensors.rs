//! Models from safetensors files. The bytes are hostile.

use super::{bad, short};
use crate::circuit::Matrix;
use crate::error::Result;
use crate::ml::{Activation, Layer};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeSet;

/// Digits of the longest number that a header may hold. `safetensors` 0.8 adds offsets without checking for overflow.
const MAX_DIGITS: usize = 15;

/// The layers of a file; whether they fit one another is left to [`super::Model::from_layers`].
pub(super) fn read_layers(bytes: &[u8]) -> Result<Vec<Layer>> {
    check_numbers(bytes)?;
    let unreadable = |error: safetensors::SafeTensorError| bad("file", error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let list = header.metadata().as_ref().and_then(|metadata| metadata.get("layers"));
    let list = list.ok_or_else(|| bad("layers", "no such metadata entry"))?;

    let mut left: BTreeSet<&str> = file.names().into_iter().collect();
    let mut layers = Vec::new();
    for (index, name) in list.split(',').enumerate() {
        if index == 1024 {
            return Err(bad("layers", "more than 1024 layers"));
        }
        layers.push(match name {
            "square" => Layer::Activation(Activation::Square),
            "dense" => {
                let (weight, bias) = (format!("{index}.weight"), format!("{index}.bias"));
                left.remove(weight.as_str());
                left.remove(bias.as_str());
                let ([rows, columns], entries) = tensor(&file, &weight)?;
                let weights = Matrix::new(rows, columns, entries).map_err(|error| bad(&weight, error.to_string()))?;
                Layer::Dense { weights, bias: tensor::<1>(&file, &bias)?.1 }
            }
            other => return Err(bad("layers", format!("{:?} is neither `dense` nor `square`", short(other)))),
        });
    }
    match left.first() {
        Some(name) => Err(bad(name, "belongs to no layer of the list")),
        None => Ok(layers),
    }
}

/// Refuses a header with a number that no file can hold.
fn check_numbers(bytes: &[u8]) -> Result<()> {
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (mut quoted, mut escaped, mut digits) = (false, false, 0);
    for byte in bytes.iter().skip(8).take(length) {
        if quoted {
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else {
            quoted = *byte == b'"';
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            if digits > MAX_DIGITS {
                return Err(bad("file", format!("a number of more than {MAX_DIGITS} digits in the header")));
            }
        }
    }
    Ok(())
}

/// Shape and entries of a tensor with `D` dimensions, all finite.
fn tensor<const D: usize>(file: &SafeTensors<'_>, name: &str) -> Result<([usize; D], Vec<f64>)> {
    let view = file.tensor(name).map_err(|_| bad(name, "no such tensor"))?;
    let wrong = || bad(name, format!("{} dimensions instead of {D}", view.shape().len()));
    let shape = view.shape().try_into().map_err(|_| wrong())?;
    let data = view.data();
    let entries: Vec<f64> = match view.dtype() {
        Dtype::F16 => data.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f64()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f64()).collect(),
        Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        other => return Err(bad(name, format!("type {other:?} instead of F16, BF16, F32 or F64"))),
    };
    match entries.iter().position(|x| !x.is_finite()) {
        Some(entry) => Err(bad(name, format!("entry {entry} is not a finite number"))),
        None => Ok((shape, entries)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::ml::Model;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;
    use std::collections::HashMap;

    const DIGITS: &[u8] = include_bytes!("../../../examples/data/digits/mlp.safetensors");

    /// A file with these tensors, all entries 1.5.
    fn file(layers: &str, tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
        let entry: fn(Dtype) -> Vec<u8> = |dtype| match dtype {
            Dtype::F16 => f16::from_f64(1.5).to_le_bytes().to_vec(),
            Dtype::BF16 => bf16::from_f64(1.5).to_le_bytes().to_vec(),
            Dtype::F32 => 1.5f32.to_le_bytes().to_vec(),
            _ => 1.5f64.to_le_bytes().to_vec(),
        };
        let data: Vec<_> =
            tensors.iter().map(|(_, dtype, shape)| entry(*dtype).repeat(shape.iter().product())).collect();
        let view = |((name, dtype, shape), data): (&(&str, Dtype, &[usize]), _)| {
            (name.to_string(), TensorView::new(*dtype, shape.to_vec(), data).unwrap())
        };
        let metadata = HashMap::from([("layers".to_string(), layers.to_string())]);
        safetensors::serialize(tensors.iter().zip(data.iter().map(Vec::as_slice)).map(view), Some(metadata)).unwrap()
    }

    fn field(bytes: &[u8]) -> String {
        match Model::from_safetensors(bytes) {
            Err(Error::BadModel { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_float_type_reads_the_same() {
        for (weight, bias) in [(Dtype::F16, Dtype::BF16), (Dtype::F32, Dtype::F64)] {
            let bytes = file("square,dense", &[("1.weight", weight, &[2, 3]), ("1.bias", bias, &[2])]);
            let weights = Matrix::new(2, 3, vec![1.5; 6]).unwrap();
            let want = vec![Layer::Activation(Activation::Square), Layer::Dense { weights, bias: vec![1.5; 2] }];
            assert_eq!(Model::from_safetensors(&bytes).unwrap(), Model::from_layers(vec![3], want).unwrap());
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use Dtype::{F32, F64, I64};
        let weight = ("0.weight", F32, [2, 3].as_slice());
        let bias = ("0.bias", F32, [2].as_slice());
        assert_eq!(field(&file("dense", &[weight])), "0.bias");
        assert_eq!(field(&file("dense", &[bias])), "0.weight");
        assert_eq!(field(&file("square,dense", &[weight, bias])), "1.weight");
        assert_eq!(field(&file("dense,relu", &[weight, bias])), "layers");
        assert_eq!(field(&file("", &[])), "layers");
        assert_eq!(field(&file(&"square,".repeat(100_000), &[])), "layers");
        assert_eq!(field(&file("dense", &[weight, bias, ("2.bias", F32, &[2])])), "2.bias");
        assert_eq!(field(&file("dense", &[("0.weight", F32, &[6]), bias])), "0.weight");
        assert_eq!(field(&file("dense", &[("0.weight", F32, &[2, 0]), bias])), "0.weight");
        assert_eq!(field(&file("dense", &[("0.weight", I64, &[2, 3]), bias])), "0.weight");
        assert_eq!(field(&file("dense", &[weight, ("0.bias", F64, &[3])])), "0.bias");
        assert_eq!(field(&file("dense", &[weight, ("0.bias", F32, &[2, 1])])), "0.bias");
        let second = [weight, bias, ("1.weight", F64, &[1, 3]), ("1.bias", F64, &[1])];
        assert_eq!(field(&file("dense,dense", &second)), "1.weight");
        let mut infinite = file("dense", &[weight, bias]);
        let last = infinite.len() - 4; // the bias or the weight
        infinite[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert!(field(&infinite).starts_with("0."));
        assert_eq!(field(b""), "file");
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
        assert_eq!(field(&file(r#"\"1234567890123456789"#, &[])), "layers");
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(
            changes in prop::collection::vec((prop_oneof![0..400usize, 0..DIGITS.len()], any::<u8>()), 0..6),
            digits in prop::collection::vec((8..400usize, b'0'..=b'9'), 0..4),
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
    }
}
