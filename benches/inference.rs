//! The digits network under encryption, on the server: from a request on the host to the answer on the host.
//!
//! Ids: `digits_<packing>/N=2^L,limbs=l/batch=b,<device>`; throughput is in images. The latency packing has one image a
//! vector, the batch packing one image a slot and 64 vectors (features) a ciphertext.

mod common;

use common::{Place, criterion};
use criterion::{BenchmarkId, Throughput};
use ringlight::Result;
use ringlight::ckks::HostCiphertext;
use ringlight::math::Seed;
use ringlight::ml::{Deployment, Model, Packing, Server};
use std::hint::black_box;
use std::sync::OnceLock;

const IMAGES: &str = include_str!("../examples/data/digits/digits.csv");
const WEIGHTS: &[u8] = include_bytes!("../examples/data/digits/mlp.safetensors");

fn set_up(deployment: &Deployment, place: &Place, images: usize) -> Result<(Server, Vec<HostCiphertext>)> {
    let client = deployment.client_from_seed(&Seed::from_bytes([3; 32]))?;
    let pixels = |line: &str| line.split(',').take(64).filter_map(|x| x.parse().ok()).map(|x: f64| x / 16.0).collect();
    let samples: Vec<Vec<f64>> = IMAGES.lines().cycle().take(images).map(pixels).collect();
    let server = Server::new(deployment, place.device(), client.evaluation_keys())?;
    Ok((server, client.encrypt(&samples)?))
}

fn main() {
    let mut c = criterion();
    let model = Model::from_safetensors(WEIGHTS).expect("the bundled model is sound");
    for place in Place::all() {
        for (packing, name) in [(Packing::Latency, "latency"), (Packing::Batch, "batch")] {
            let deployment = Deployment::new(&model, packing).expect("the model fits a secure ring");
            let p = deployment.parameters();
            if place.leaves_out(p.log_n().get(), 1) {
                continue;
            }
            let slots = deployment.samples_a_run();
            let mut group = c.benchmark_group(format!("digits_{name}"));
            let counts = if packing == Packing::Latency { vec![1, 8] } else { vec![slots] };
            for images in counts {
                let batch = if packing == Packing::Latency { images } else { model.inputs() };
                let function = format!("N=2^{},limbs={}", p.log_n().get(), p.rlwe().chain().0);
                group.throughput(Throughput::Elements(images as u64));
                let made = OnceLock::new();
                group.bench_function(
                    BenchmarkId::new(function, format!("batch={batch},{}", place.label())),
                    |bencher| {
                        let make = || place.install(|| set_up(&deployment, &place, images).expect("it fits"));
                        let (server, request) = made.get_or_init(make);
                        place.time(bencher, || {
                            black_box(server.run(request).expect("the device works"));
                        });
                    },
                );
            }
        }
    }
    c.final_summary();
}
