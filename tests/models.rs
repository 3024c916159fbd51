//! Models from the files of exporters, against the exporters' own answers; and files that somebody has tampered with.
#![cfg(feature = "onnx")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use proptest::prelude::*;
use ringlight::Error;
use ringlight::ml::Model;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models")
}

/// Name, bytes and vectors of every file.
static FILES: LazyLock<Vec<(String, Vec<u8>, Value)>> = LazyLock::new(|| {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    names.sort();
    let read = |path: PathBuf| {
        let vectors = serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap(), vectors)
    };
    names.into_iter().map(read).collect()
});

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn shape(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|x| usize::try_from(x.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn models_answer_as_their_exporters_say() {
    let mut failures = vec![];
    for (name, bytes, vectors) in FILES.iter() {
        if vectors.get("refused").is_some() {
            continue;
        }
        let model = match Model::from_onnx(bytes) {
            Ok(model) => model,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert_eq!(model.input_shape(), shape(&vectors["input"]), "{name}");
        assert_eq!(model.output_shape(), shape(&vectors["output"]), "{name}");
        for sample in vectors["samples"].as_array().unwrap() {
            let got = model.predict_clear(&[numbers(&sample["input"])]).unwrap().concat();
            let want = numbers(&sample["output"]);
            let close = got.len() == want.len() && got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-4);
            if !close {
                failures.push(format!("{name}: {got:?} instead of {want:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(FILES.len() > 80, "{} files", FILES.len());
}

#[test]
fn what_is_not_supported_is_named_with_what_is() {
    let refused = FILES.iter().filter_map(|(name, bytes, vectors)| Some((name, bytes, vectors["refused"].as_str()?)));
    for (name, bytes, node) in refused {
        match Model::from_onnx(bytes) {
            Err(Error::BadModel { reason, .. }) => {
                assert!(reason.starts_with(node) && reason.contains("support"), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn patterns_of_exporters_become_one_layer() {
    let layers = |wanted: &str| {
        let (_, bytes, _) = FILES.iter().find(|(name, ..)| name == wanted).unwrap();
        let model = Model::from_onnx(bytes).unwrap();
        model.nodes().iter().map(|node| node.layer.name()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(layers("torch_gelu_script11"), "dense gelu dense");
    assert_eq!(layers("torch_gelu_dynamo18"), "dense gelu dense");
    assert_eq!(layers("torch_silu_script13"), "dense silu dense");
    assert_eq!(layers("torch_polynomial_script11"), "dense polynomial dense");
    assert_eq!(layers("torch_cryptonets_dynamo18"), "conv2d square reshape dense square dense");
    assert_eq!(layers("torch_cryptonets_script13"), "pad conv2d square reshape dense square dense");
    assert_eq!(layers("sklearn_logistic_multinomial"), "dense softmax");
}

#[test]
fn weights_of_the_examples_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/models");
    let mut count = 0;
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|e| e == "safetensors") {
            let model =
                Model::from_safetensors(&std::fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            assert_eq!((model.inputs(), model.outputs()), (784, 10), "{path:?}");
            count += 1;
        }
    }
    assert!(count > 0);
}

/// A model that was read can be run.
fn check(bytes: &[u8]) {
    match Model::from_onnx(bytes) {
        Ok(model) => {
            let answers = model.predict_clear(&[vec![0.5; model.inputs()]]).unwrap();
            assert_eq!(answers[0].len(), model.outputs());
        }
        Err(Error::BadModel { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn files_that_were_tampered_with_never_panic(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)],
    ) {
        let (_, bytes, _) = file.get(&FILES);
        let mut bytes = bytes.clone();
        for (position, byte) in changes {
            *position.get_mut(&mut bytes) = byte;
        }
        bytes.truncate(length.map_or(bytes.len(), |length| length.index(bytes.len())));
        check(&bytes);
    }

    #[test]
    fn numbers_that_were_changed_never_panic(
        file in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        bits in prop::collection::vec(0..8u32, 1..4),
    ) {
        // A bit here and there leaves most of the structure, so that the fields are read.
        let (_, bytes, _) = file.get(&FILES);
        let mut bytes = bytes.clone();
        let start = place.index(bytes.len());
        for (step, bit) in bits.into_iter().enumerate() {
            let at = (start + 37 * step) % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        check(&bytes);
    }
}
