//! The choices of a device and of a seed on the command line.

use clap::ValueEnum;
use ringlight::{Device, Error};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum DeviceChoice {
    Auto,
    Cpu,
    Gpu,
}

impl DeviceChoice {
    pub(crate) fn open(self) -> Result<Device, Error> {
        match self {
            Self::Auto => Ok(Device::auto()),
            Self::Cpu => Ok(Device::cpu()),
            Self::Gpu => Device::gpu(),
        }
    }
}

/// The bytes of a seed. Streams of one seed have nothing in common; keys and encryption take stream 0, or one of their own for each secret.
pub(crate) fn seed_bytes(seed: u64, stream: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[24..].copy_from_slice(&stream.to_be_bytes());
    bytes
}
