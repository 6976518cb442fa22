//! Random sizes, splits and ranges.

use bytes::Bytes;
use proptest::prelude::*;

use super::{object_key, plaintext, read, read_all, seal, seal_all};
use crate::crypto::random::SeededEntropy;
use crate::sse::format::FRAME_SIZE;
use crate::sse::{Opener, Sealer, SseError};

/// Sizes, mostly close to a frame boundary.
fn size() -> impl Strategy<Value = usize> {
    let near = (0..4_usize, -20..20_isize).prop_map(|(frames, off)| (frames * 65_536).saturating_add_signed(off));
    prop_oneof![4 => near, 1 => 0..300_000_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_and_range_round_trips(
        size in size(),
        splits in prop::collection::vec(1..100_000_usize, 0..8),
        (a, b) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        frames in 1..4_u64,
    ) {
        let (key, plaintext) = (object_key(1), plaintext(size));
        let mut rest = &plaintext[..];
        let pieces = splits.iter().chain(std::iter::once(&usize::MAX)).map(|split| {
            let (now, later) = rest.split_at((*split).min(rest.len()));
            rest = later;
            now
        });
        let (run, header) = seal_all(Sealer::new(&key, 1, &SeededEntropy::new(1)), pieces);

        prop_assert_eq!(&run, &seal(&key, 1, 1, &plaintext).0, "splits must not matter");
        prop_assert_eq!(u64::try_from(run.len()).unwrap(), key.suite().sealed_len(u64::try_from(size).unwrap()));
        prop_assert_eq!(read_all(&key, &header, 1, &run).unwrap(), &plaintext[..]);

        let (a, b) = (a.index(size + 1), b.index(size + 1));
        let (start, end) = (a.min(b), a.max(b));
        let range = u64::try_from(start).unwrap()..u64::try_from(end).unwrap();
        prop_assert_eq!(read(&key, &header, 1, &run, range, frames).unwrap(), &plaintext[start..end]);
    }
}

#[test]
fn a_range_reads_only_its_frames() {
    let key = object_key(1);
    let (_, header) = seal(&key, 0, 1, &plaintext(200_000));
    let opener = Opener::new(&key, &header, 0).unwrap();
    let frames = |range, at_once: u64| -> Vec<_> {
        let reads = opener.reads(range, at_once.try_into().unwrap()).unwrap();
        reads.map(|read| (read.sealed_start(), read.sealed_len())).collect()
    };
    assert_eq!(frames(0..1, 8), [(0, 65_552)]);
    assert_eq!(frames(65_535..65_537, 8), [(0, 131_104)]);
    assert_eq!(frames(65_536..131_072, 8), [(65_552, 65_552)]);
    assert_eq!(frames(199_999..200_000, 8), [(196_656, 3_408)]);
    assert_eq!(frames(0..200_000, 2), [(0, 131_104), (131_104, 68_960)]);
    assert!(matches!(opener.reads(0..200_001, 1.try_into().unwrap()), Err(SseError::Corrupt(_))));
}

#[test]
fn sealing_again_shares_nothing() {
    let (key, entropy) = (object_key(1), SeededEntropy::new(1));
    let run = |part| seal_all(Sealer::new(&key, part, &entropy), [&[0; 64][..]]);
    let ((first, first_header), (second, second_header)) = (run(1), run(1));
    assert_ne!(first[..64], second[..64], "the same part sealed twice must not repeat a key stream");
    assert_ne!(first_header.to_bytes()[2..82], second_header.to_bytes()[2..82]);
}

#[test]
fn a_frame_in_too_little_memory_is_refused() {
    let mut sealer = Sealer::new(&object_key(1), 0, &SeededEntropy::new(1));
    let mut frame = [0; 100];
    assert_eq!(sealer.fill(&mut frame, &[1; 200]), 84);
    assert_eq!(sealer.fill(&mut frame, &[1; 116]), 0);
    assert!(matches!(sealer.seal(&mut frame), Err(SseError::RunTooLong)));
}

#[test]
#[ignore = "a measurement: cargo test --release --lib throughput -- --ignored --nocapture"]
fn throughput() {
    const MIB: usize = 1 << 20;
    let (key, chunk) = (object_key(1), vec![7; MIB]);
    let started = std::time::Instant::now();
    let mut sealer = Sealer::new(&key, 0, &SeededEntropy::new(1));
    let mut frame = vec![0; sealer.frame_size()];
    for piece in std::iter::repeat_n(&chunk, 1024).flat_map(|chunk| chunk.chunks(FRAME_SIZE)) {
        sealer.fill(&mut frame, piece);
        sealer.seal(&mut frame).unwrap();
        std::hint::black_box(&frame);
    }
    let sealed = started.elapsed();
    let (run, header) = seal(&key, 0, 1, &vec![7; 64 * MIB]);
    let started = std::time::Instant::now();
    for _ in 0..16 {
        let opener = Opener::new(&key, &header, 0).unwrap();
        for read in opener.reads(0..header.plaintext_len(), 16.try_into().unwrap()).unwrap() {
            let start = usize::try_from(read.sealed_start()).unwrap();
            let sealed = Bytes::copy_from_slice(&run[start..start + read.sealed_len()]);
            std::hint::black_box(opener.open(&read, sealed).unwrap());
        }
    }
    let opened = started.elapsed();
    std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("1 GiB sealed in {sealed:?}, opened in {opened:?}\n").as_bytes(),
    )
    .unwrap();
    assert!(sealed.as_secs() < 60 && opened.as_secs() < 60);
}
