//! Tests of the whole: golden files, an independent reader, tampering, and random round trips.

pub(super) mod golden;
mod independent;
mod kms;
mod layers;
mod round_trip;
mod tamper;
mod unlock;

use std::num::NonZeroU64;
use std::ops::Range;

use bytes::Bytes;

use super::{ObjectKey, Opener, RunHeader, Sealer, SseError};
use crate::crypto::Secret;
use crate::crypto::random::SeededEntropy;
use crate::kms::DataKey;

/// A data key that needs no KMS.
pub(super) fn object_key(byte: u8) -> ObjectKey {
    ObjectKey::single(DataKey::new(Secret::new([byte; 32])))
}

/// The data keys of two layers.
pub(super) fn double_key(inner: u8, outer: u8) -> ObjectKey {
    let outer = DataKey::new(Secret::new([outer; 32]));
    ObjectKey { outer: Some(outer), ..object_key(inner) }
}

/// Bytes whose every 64 KiB differ from every other's.
fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i * 31 + i / 251 + i / 65_536 * 7) % 256).unwrap()).collect()
}

fn seal(key: &ObjectKey, part: u16, seed: u64, plaintext: &[u8]) -> (Vec<u8>, RunHeader) {
    seal_all(Sealer::new(key, part, &SeededEntropy::new(seed)), [plaintext])
}

/// The run of what comes in `pieces`.
fn seal_all<'p>(mut sealer: Sealer, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<u8>, RunHeader) {
    let mut run = Vec::new();
    let mut frame = vec![0; sealer.frame_size()];
    for mut plaintext in pieces {
        while !plaintext.is_empty() {
            let taken = sealer.fill(&mut frame, plaintext);
            plaintext = &plaintext[taken..];
            if taken == 0 {
                let sealed = sealer.seal(&mut frame).unwrap();
                run.extend_from_slice(&frame[..sealed]);
            }
        }
    }
    let (sealed, header) = sealer.finish(&mut frame);
    run.extend_from_slice(&frame[..sealed]);
    (run, header)
}

/// What a reader of `range` gets from a store that holds `run`.
fn read(
    key: &ObjectKey,
    header: &RunHeader,
    part: u16,
    run: &[u8],
    range: Range<u64>,
    frames: u64,
) -> Result<Vec<u8>, SseError> {
    let opener = Opener::new(key, header, part)?;
    let mut plaintext = Vec::new();
    for read in opener.reads(range, NonZeroU64::new(frames).unwrap())? {
        let start = usize::try_from(read.sealed_start()).unwrap();
        let end = run.len().min(start + read.sealed_len());
        let sealed = Bytes::copy_from_slice(run.get(start..end).unwrap_or_default());
        plaintext.extend_from_slice(&opener.open(&read, sealed)?.concat());
    }
    Ok(plaintext)
}

fn read_all(key: &ObjectKey, header: &RunHeader, part: u16, run: &[u8]) -> Result<Vec<u8>, SseError> {
    read(key, header, part, run, 0..header.plaintext_len(), 1)
}
