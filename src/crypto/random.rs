//! Randomness, injected: keys, salts, nonces and identifiers all come from an [`Entropy`].

use std::cell::RefCell;
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out`. Never returns predictable bytes: a source that cannot deliver aborts the process.
    fn fill(&self, out: &mut [u8]);

    /// Fills `out` with what tells one thing from all others and is no secret: a source may have drawn it before.
    fn identify(&self, out: &mut [u8]) {
        self.fill(out);
    }
}

/// A shared source, as components hold it.
pub type SharedEntropy = Arc<dyn Entropy>;

/// `N` fresh bytes from `entropy`. Not for secrets: those are filled in place by [`super::Secret::filled`].
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.fill(&mut out);
    out
}

/// `N` bytes that tell one thing from all others: identifiers, which are stored and shown. Not for keys, salts and nonces.
pub fn identifier<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.identify(&mut out);
    out
}

/// A UUID of `random` bytes, of version 4, in 36 characters. (RFC 9562, section 5.4.)
pub fn uuid(random: [u8; 16]) -> String {
    uuid::Builder::from_random_bytes(random).into_uuid().to_string()
}

/// How many bytes are drawn at once for the identifiers of a thread: a draw costs more than its bytes.
const DRAWN: usize = 1024;

thread_local! {
    /// Bytes for identifiers, and how many of them have been given out.
    static FOR_IDENTIFIERS: RefCell<([u8; DRAWN], usize)> = const { RefCell::new(([0; DRAWN], DRAWN)) };
}

/// The operating system's generator, through aws-lc's CTR-DRBG.
#[derive(Debug, Default)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The system's source.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        // aws-lc aborts rather than fail here; were it ever to report a failure, going on would mean predictable keys.
        if self.0.fill(out).is_err() {
            std::process::abort();
        }
    }

    fn identify(&self, out: &mut [u8]) {
        FOR_IDENTIFIERS.with_borrow_mut(|(drawn, given)| {
            if drawn.len() - *given < out.len() {
                self.fill(drawn);
                *given = 0;
            }
            match drawn.get(*given..*given + out.len()) {
                Some(bytes) => out.copy_from_slice(bytes),
                None => self.fill(out),
            }
            *given = (*given + out.len()).min(drawn.len());
        });
    }
}

/// A predictable sequence for tests and golden files: SHA-256 of a seed and a counter.
#[derive(Debug, Default)]
pub struct SeededEntropy {
    seed: u64,
    counter: std::sync::atomic::AtomicU64,
}

impl SeededEntropy {
    /// The sequence that `seed` stands for.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: std::sync::atomic::AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        for block in out.chunks_mut(32) {
            let counter = self.counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut input = [0; 16];
            input[..8].copy_from_slice(&self.seed.to_be_bytes());
            input[8..].copy_from_slice(&counter.to_be_bytes());
            block.copy_from_slice(&super::digest::sha256(&input)[..block.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_sequences_repeat_and_system_ones_do_not() {
        let draw = |e: &dyn Entropy| (bytes::<40>(e), bytes::<40>(e));
        assert_eq!(draw(&SeededEntropy::new(1)), draw(&SeededEntropy::new(1)));
        assert_ne!(draw(&SeededEntropy::new(1)), draw(&SeededEntropy::new(2)));
        let (first, second) = draw(&SystemEntropy::new());
        assert_ne!(first, second);
    }

    #[test]
    fn identifiers_are_all_different() {
        let system = SystemEntropy::new();
        let draw = || (0..500).map(|_| identifier::<16>(&system)).collect::<Vec<_>>();
        let other = std::thread::spawn(|| {
            let system = SystemEntropy::new();
            (0..500).map(|_| identifier::<16>(&system)).collect::<Vec<_>>()
        });
        let mut all = [draw(), other.join().unwrap(), draw()].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), all.contains(&[0; 16])), (1500, false));
        // More than is drawn at once, and what is left over behind it.
        assert_ne!(identifier::<1025>(&system)[1009..], [0; 16]);
        assert_ne!(identifier::<16>(&system), identifier::<16>(&system));
        assert_eq!(identifier::<8>(&SeededEntropy::new(1)), bytes::<8>(&SeededEntropy::new(1)));
    }
}
