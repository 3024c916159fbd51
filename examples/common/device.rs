//! The choice of a device on the command line.

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
