//! Memory in which frames are opened on their way out, used again as soon as they are sent: a fresh piece has to be cleared,
//! and is in no processor's cache. What was in a buffer before is no reader's: only what was read and authenticated since is
//! ever handed out.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Frames that a buffer holds: few enough to be in the processor's cache still when TLS seals them.
pub(super) const FRAMES: usize = 3;
/// Bytes of a buffer: frames of 64 KiB, each with two layers of tags at most.
const LENGTH: usize = FRAMES * (64 * 1024 + 64);
/// Buffers kept for reuse: 12 MiB at most.
const POOLED: usize = 64;

/// Buffers that wait to be used again, the warmest on top.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Vec<u8>>>);

/// Memory that is the pool's again when it is dropped.
pub(super) struct Buffer {
    memory: Vec<u8>,
    length: usize,
    pool: Arc<BufferPool>,
}

impl BufferPool {
    /// A buffer for `length` bytes, with anything in it.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let pooled = (length <= LENGTH).then(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()).flatten();
        let memory = pooled.unwrap_or_else(|| vec![0; length.max(LENGTH)]);
        Buffer { memory, length, pool: Arc::clone(self) }
    }
}

impl Buffer {
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length]
    }

    /// Its bytes, to be shared. The memory is the pool's again when nobody has any of them.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut pool = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.memory.len() == LENGTH && pool.len() < POOLED {
            pool.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(pool: &BufferPool) -> usize {
        pool.0.lock().unwrap().len()
    }

    #[test]
    fn a_buffer_comes_back_when_the_last_of_its_bytes_is_gone() {
        let pool = Arc::new(BufferPool::default());
        let mut buffer = pool.take(100);
        buffer.as_mut_slice().fill(7);
        let bytes = buffer.into_bytes();
        assert_eq!(bytes.len(), 100);
        let frame = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((frame.as_ref(), pooled(&pool)), (&[7; 10][..], 0));
        drop(frame);
        assert_eq!(pooled(&pool), 1);
        assert_eq!(pool.take(200).as_mut_slice().len(), 200);
        assert_eq!(pooled(&pool), 1);
    }

    #[test]
    fn no_more_than_its_share_is_kept() {
        let pool = Arc::new(BufferPool::default());
        assert_eq!(pool.take(LENGTH + 1).as_mut_slice().len(), LENGTH + 1);
        assert_eq!(pooled(&pool), 0);
        let buffers: Vec<Buffer> = (0..=POOLED).map(|_| pool.take(1)).collect();
        drop(buffers);
        assert_eq!(pooled(&pool), POOLED);
    }
}
