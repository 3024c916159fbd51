//! Hostile bytes as a model file: an error or a model that can be planned and run in the clear, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlight::ml::{Model, Packing};

/// Inputs, outputs and layers up to which a model is planned and run: a fuzzer needs many runs a second.
const SMALL: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = Model::from_safetensors(bytes) else { return };
    if model.inputs().max(model.outputs()).max(model.layers().len()) > SMALL {
        return;
    }
    for packing in [Packing::Latency, Packing::Batch] {
        if let Ok(report) = model.plan(2048, packing) {
            // A plan that is printed is a plan that is read.
            let _ = format!("{report:?}");
        }
    }
    let answers = model.predict_clear(&[vec![0.0; model.inputs()]]).expect("a sample of the model's own size");
    assert_eq!(answers[0].len(), model.outputs());
});
