//! Times of kernels by the device's own clock: a timestamp before the first launch of a program and after each.

use super::failure::Failure;
use super::open::TIMESTAMPS;
use crate::device::profile::{Profile, Profiler, Track};
use crate::device::program::Op;
use crate::error::Result;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Timestamps of one query set.
const SET: u32 = wgpu::QUERY_SET_MAX_QUERIES;

/// Timestamps of the program that is being recorded.
#[derive(Debug)]
pub(super) struct Timing {
    device: wgpu::Device,
    failure: Arc<Failure>,
    profiler: Profiler,
    /// Nanoseconds of a tick.
    period: f64,
    sets: Vec<wgpu::QuerySet>,
    stamps: u32,
    /// Each operation with the number of launches after it.
    ops: Vec<(&'static str, usize)>,
}

/// Timestamps on their way to the host.
#[derive(Debug)]
pub(super) struct Stamps {
    buffer: wgpu::Buffer,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Timing {
    /// `None` if nobody asks for a profile, or where the device has no such clock.
    pub(super) fn new(name: &str, device: &wgpu::Device, queue: &wgpu::Queue, failure: &Arc<Failure>) -> Option<Self> {
        let profiler = Profiler::from_environment(name)?;
        if !device.features().contains(TIMESTAMPS) {
            log::warn!("no profile: this adapter has no timestamps inside compute passes");
            return None;
        }
        let (device, failure) = (device.clone(), Arc::clone(failure));
        let period = f64::from(queue.get_timestamp_period());
        Some(Self { device, failure, profiler, period, sets: vec![], stamps: 0, ops: vec![] })
    }

    /// Everything so far.
    pub(super) fn profile(&self) -> Profile {
        self.profiler.profile()
    }

    /// Notes that an operation was lowered, after which there are `launches`.
    pub(super) fn lowered(&mut self, op: &Op, launches: usize) {
        self.profiler.operation(op.name(), op.bytes());
        self.ops.push((op.name(), launches));
    }

    /// A timestamp here.
    pub(super) fn stamp(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        let (set, index) = ((self.stamps / SET) as usize, self.stamps % SET);
        if set == self.sets.len() {
            self.sets.push(self.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: SET,
            }));
        }
        pass.write_timestamp(&self.sets[set], index);
        self.stamps += 1;
    }

    /// Sends the timestamps to the host.
    pub(super) fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) -> Stamps {
        let bytes = 8 * u64::from(self.stamps);
        let buffer = |usage| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        for (set, first) in self.sets.iter().zip((0..self.stamps).step_by(SET as usize)) {
            encoder.resolve_query_set(set, 0..SET.min(self.stamps - first), &resolved, 8 * u64::from(first));
        }
        let buffer = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        encoder.copy_buffer_to_buffer(&resolved, 0, &buffer, 0, bytes);
        let (sender, mapped) = mpsc::channel();
        // The receiver is gone only if waiting failed, which is reported below.
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |done| drop(sender.send(done)));
        Stamps { buffer, mapped }
    }

    /// Waits for the timestamps and notes the times of the launches, whose kernels are `labels`.
    pub(super) fn collect(
        &mut self,
        stamps: &Stamps,
        submitted: Instant,
        labels: impl Iterator<Item = &'static str>,
    ) -> Result<()> {
        let failed = |e: String| self.failure.failed(e);
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| failed(e.to_string()))?;
        stamps.mapped.recv().map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        let view = stamps.buffer.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 * self.period * 1e-9);
        let mut ops = self.ops.iter().peekable();
        for (launch, (label, stamp)) in labels.zip(ticks.windows(2)).enumerate() {
            while ops.next_if(|(_, end)| *end <= launch).is_some() {}
            let op = ops.peek().map_or("", |(op, _)| op);
            let after = time(stamp[0].saturating_sub(ticks[0]));
            let time = time(stamp[1].saturating_sub(stamp[0]));
            self.profiler.kernel((op, label), (submitted, after), time, Track::Device);
        }
        self.stamps = 0;
        self.ops.clear();
        Ok(())
    }
}
