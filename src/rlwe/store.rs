//! Evaluation keys of which a device holds some.

use super::keys::{EvaluationKeys, KeyId};
use super::{Gadget, SwitchingKey};
use crate::device::Buffer;
use crate::error::{Error, Result};
use crate::ring::Ring;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a server's keys did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStatistics {
    /// Device bytes of the keys that are kept now. A key let go is not among them, though recorded operations,
    /// another thread's too, may still hold its memory; nor is a key while it is being loaded.
    pub resident_bytes: u64,
    /// The most that were ever kept: never above the limit.
    pub most_resident_bytes: u64,
    /// Keys brought to the device: again ones, and those that two threads brought at once, included.
    pub loads: u64,
    /// Keys let go to make room.
    pub evictions: u64,
}

/// A switching key on a device: one buffer a digit, `[b_d, a_d]` over its gadget's basis.
#[derive(Clone, Debug)]
pub(super) struct LoadedKey {
    pub(super) gadget: Gadget,
    pub(super) digits: Arc<[Buffer]>,
}

/// Host keys, shared, and their copies on one device: loaded on first use, and the least recently used let go where the next
/// would not fit.
///
/// Memory that a recorded operation reads stays as it is until the operation has run, so a key may be let go at any time. The
/// device is flushed then, so that the upload of the next key may take that memory.
#[derive(Debug)]
pub(super) struct KeyStore {
    ring: Ring,
    keys: EvaluationKeys,
    limit: u64,
    residents: Mutex<Residents>,
}

#[derive(Debug, Default)]
struct Residents {
    keys: BTreeMap<KeyId, Resident>,
    /// Counts uses.
    clock: u64,
    statistics: KeyStatistics,
}

#[derive(Debug)]
struct Resident {
    key: LoadedKey,
    bytes: u64,
    last_use: u64,
}

impl KeyStore {
    /// At most `limit` bytes of keys at a time.
    ///
    /// # Errors
    /// [`Error::KeyMemoryTooSmall`] for a limit that the largest key exceeds.
    pub(super) fn new(ring: &Ring, keys: &EvaluationKeys, limit: u64) -> Result<Self> {
        let least = keys.iter().map(|(_, key)| key.device_bytes()).max().unwrap_or(0);
        if least > limit {
            return Err(Error::KeyMemoryTooSmall { limit, least });
        }
        Ok(Self { ring: ring.clone(), keys: keys.clone(), limit, residents: Mutex::default() })
    }

    pub(super) fn keys(&self) -> &EvaluationKeys {
        &self.keys
    }

    pub(super) fn statistics(&self) -> KeyStatistics {
        self.residents().statistics
    }

    /// The key for a purpose, on the device; `None` if there is none.
    ///
    /// # Errors
    /// Out of memory, a failed device.
    pub(super) fn get(&self, id: KeyId) -> Result<Option<LoadedKey>> {
        let Some(key) = self.keys.get(id) else { return Ok(None) };
        let bytes = key.device_bytes();
        let evicted = {
            let mut residents = self.residents();
            if let Some(key) = residents.touch(id) {
                return Ok(Some(key));
            }
            residents.make_room(bytes, self.limit)
        };
        self.release(evicted)?;
        // No lock is held while the device works: the CPU hands that to rayon, whose threads may take up an operation that wants
        // this store. So two threads may load one key, of which one copy is kept.
        let loaded = self.load(key)?;
        let mut residents = self.residents();
        residents.statistics.loads += 1;
        if let Some(key) = residents.touch(id) {
            return Ok(Some(key));
        }
        // Others may have filled the room meanwhile. Theirs are in use and stay valid.
        let evicted = residents.make_room(bytes, self.limit);
        residents.insert(id, loaded.clone(), bytes);
        drop(residents);
        self.release(evicted)?;
        Ok(Some(loaded))
    }

    /// Lets keys go, and has the device run what still reads them.
    fn release(&self, evicted: Vec<Resident>) -> Result<()> {
        if evicted.is_empty() {
            return Ok(());
        }
        drop(evicted);
        self.ring.device().flush()
    }

    fn load(&self, key: &SwitchingKey) -> Result<LoadedKey> {
        Ok(LoadedKey { gadget: key.gadget().clone(), digits: key.load(&self.ring)? })
    }

    fn residents(&self) -> MutexGuard<'_, Residents> {
        // Nothing that can panic leaves them half changed.
        self.residents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Residents {
    /// A resident key, now the most recently used.
    fn touch(&mut self, id: KeyId) -> Option<LoadedKey> {
        self.clock += 1;
        let resident = self.keys.get_mut(&id)?;
        resident.last_use = self.clock;
        Some(resident.key.clone())
    }

    /// Takes out the least recently used until `bytes` more stay within the limit.
    fn make_room(&mut self, bytes: u64, limit: u64) -> Vec<Resident> {
        let mut evicted = vec![];
        while self.statistics.resident_bytes.saturating_add(bytes) > limit {
            let oldest = self.keys.iter().min_by_key(|(_, resident)| resident.last_use).map(|(&id, _)| id);
            let Some(resident) = oldest.and_then(|id| self.keys.remove(&id)) else { break };
            self.statistics.resident_bytes -= resident.bytes;
            self.statistics.evictions += 1;
            evicted.push(resident);
        }
        evicted
    }

    fn insert(&mut self, id: KeyId, key: LoadedKey, bytes: u64) {
        self.keys.insert(id, Resident { key, bytes, last_use: self.clock });
        let statistics = &mut self.statistics;
        statistics.resident_bytes += bytes;
        statistics.most_resident_bytes = statistics.most_resident_bytes.max(statistics.resident_bytes);
    }
}
