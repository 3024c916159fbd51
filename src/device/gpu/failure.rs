//! The device's first failure, which stays.

use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Where errors that no call returns are kept until one can.
#[derive(Debug)]
pub(super) struct Failure {
    device: String,
    first: Mutex<Option<Error>>,
}

impl Failure {
    /// Listens to everything that goes wrong on `device`.
    pub(super) fn watch(name: &str, device: &wgpu::Device) -> Arc<Self> {
        let failure = Arc::new(Self { device: name.into(), first: Mutex::default() });
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

    fn set(&self, error: Error) {
        log::error!("{error}");
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The first failure, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        match &*self.first.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}
