//! Hostile bytes as a model file: an error or a model that can be planned and run in the clear, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlight::ml::{Model, Packing};

/// Entries of a value, and nodes, up to which a model is planned and run: a fuzzer needs many runs a second.
const SMALL: usize = 1024;

fuzz_target!(|bytes: &[u8]| {
    for model in [Model::from_safetensors(bytes), Model::from_onnx(bytes)].into_iter().flatten() {
        let sizes = model.nodes().iter().map(|node| node.shape.iter().product::<usize>());
        if sizes.chain([model.inputs(), model.nodes().len()]).any(|size| size > SMALL) {
            continue;
        }
        for packing in [Packing::Latency, Packing::Batch] {
            if let Ok(report) = model.plan(2048, packing) {
                // A plan that is printed is a plan that is read.
                let _ = format!("{report:?}");
            }
        }
        let answers = model.predict_clear(&[vec![0.0; model.inputs()]]).expect("a sample of the model's own size");
        assert_eq!(answers[0].len(), model.outputs());
    }
});
