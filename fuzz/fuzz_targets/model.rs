//! Hostile bytes as a model file, and as the parts of a deployment: an error or a model that can be planned and run in the clear, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlight::ckks::Limits;
use ringlight::ml::{Approximate, ClientBundle, Deployment, EncryptedModel, Model, ModelCircuit, Packing};

/// Entries of a value, and nodes, up to which a model is planned and run: a fuzzer needs many runs a second.
const SMALL: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::bytes(1 << 24);
    if let Ok(deployment) = Deployment::read_from(bytes, &limits) {
        let circuit = deployment.circuit();
        drop(circuit.predict_clear(&[vec![0.0; circuit.packer().inputs()]]));
    }
    drop(EncryptedModel::read_from(bytes, &limits));
    if let Ok(bundle) = ClientBundle::read_from(bytes, &limits) {
        drop(bundle.packer().pack(&[vec![0.0; bundle.packer().inputs()]]));
    }
    for model in [Model::from_safetensors(bytes), Model::from_onnx(bytes)].into_iter().flatten() {
        let sizes = model.nodes().iter().map(|node| node.shape.iter().product());
        if sizes.chain([model.inputs(), model.nodes().len()]).any(|size: usize| size > SMALL) {
            continue;
        }
        for packing in [Packing::Latency, Packing::Batch] {
            let circuit = ModelCircuit::new(&model, packing, 2048, &Approximate::default());
            if let Ok(report) = circuit.and_then(|circuit| circuit.plan()) {
                // A plan that is printed is a plan that is read.
                let _ = format!("{report:?}");
            }
        }
        let answers = model.predict_clear(&[vec![0.0; model.inputs()]]).expect("a sample of the model's own size");
        assert_eq!(answers[0].len(), model.outputs());
    }
});
