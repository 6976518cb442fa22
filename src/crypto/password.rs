//! Keys from passphrases: Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroize as _;

use super::Secret;

/// How costly a guess at a passphrase is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes that it is cut into.
    pub lanes: u32,
}

/// The costs are out of bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the parameters of Argon2id are out of bounds")]
pub struct BadCost;

impl Cost {
    /// RFC 9106's second recommendation, for where memory is not plenty: 64 MiB, three passes, four lanes.
    pub const RECOMMENDED: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// The most that is taken from a file: 4 GiB and 1000 passes.
    const MOST: Self = Self { memory_kib: 4 << 20, passes: 1000, lanes: 64 };
}

/// A 256-bit key of `passphrase`. Takes a good part of a second: not for an async thread.
///
/// # Errors
/// [`BadCost`].
pub fn derive(passphrase: &[u8], salt: &[u8; 16], cost: Cost) -> Result<Secret<32>, BadCost> {
    let Cost { memory_kib, passes, lanes } = cost;
    if memory_kib > Cost::MOST.memory_kib || passes > Cost::MOST.passes || lanes > Cost::MOST.lanes {
        return Err(BadCost);
    }
    let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| BadCost)?;
    let mut blocks = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut derived = Ok(());
    let key = Secret::filled(|key: &mut [u8; 32]| {
        derived = argon2.hash_password_into_with_memory(passphrase, salt, key, &mut blocks);
    });
    blocks.zeroize();
    derived.map(|()| key).map_err(|_| BadCost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value that the reference implementation's `argon2 somesaltsomesalt -id -t 2 -k 65536 -p 1 -l 32` gives is pinned
    /// by the crate's own tests; here it is that each input counts.
    #[test]
    fn every_input_counts() {
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let key = |passphrase: &[u8], salt, cost| *derive(passphrase, &[salt; 16], cost).unwrap().expose();
        let one = key(b"correct horse", 1, cost);
        assert_eq!(one, key(b"correct horse", 1, cost));
        for other in [
            key(b"correct horse ", 1, cost),
            key(b"correct horse", 2, cost),
            key(b"correct horse", 1, Cost { passes: 2, ..cost }),
            key(b"correct horse", 1, Cost { memory_kib: 128, ..cost }),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(derive(b"x", &[0; 16], Cost { memory_kib: u32::MAX, ..cost }).unwrap_err(), BadCost);
        assert_eq!(derive(b"x", &[0; 16], Cost { lanes: 0, ..cost }).unwrap_err(), BadCost);
    }
}
