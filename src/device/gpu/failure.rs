//! The device's first failure, which stays.

use crate::error::{Error, Result};
use std::sync::{Arc, OnceLock};

/// Where errors that no call returns are kept until one can.
#[derive(Debug)]
pub(super) struct Failure {
    device: String,
    first: OnceLock<Error>,
}

impl Failure {
    /// Listens to everything that goes wrong on `device`.
    pub(super) fn watch(name: &str, device: &wgpu::Device) -> Arc<Self> {
        let failure = Arc::new(Self { device: name.into(), first: OnceLock::new() });
        let errors = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => errors.set(errors.out_of_memory(0)),
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                errors.set(errors.failed(description));
            }
        }));
        let losses = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, message| {
            losses.set(losses.failed(format!("device lost ({reason:?}): {message}")));
        });
        failure
    }

    pub(super) fn out_of_memory(&self, bytes: u64) -> Error {
        Error::OutOfMemory { device: self.device.clone(), bytes }
    }

    pub(super) fn failed(&self, reason: String) -> Error {
        Error::DeviceFailed { device: self.device.clone(), reason }
    }

    /// Keeps an error, unless there is one already.
    pub(super) fn set(&self, error: Error) {
        log::error!("{error}");
        self.first.get_or_init(|| error);
    }

    /// The first failure, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        self.first.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}
