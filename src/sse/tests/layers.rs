//! Two layers (DSSE-KMS): both must hold, under keys that have nothing to do with each other.

use super::golden::golden;
use super::independent::{derive, gcm_open};
use super::{double_key, object_key, plaintext, read, read_all, seal};
use crate::sse::{Opener, RunHeader, SseError};

const FRAME: usize = 65_536 + 32;
const LENGTH: usize = 2 * 65_536 + 100;

/// A second reader, written from `FORMAT.md` with ring.
fn open_run(inner: u8, outer: u8, header: &[u8], part: u16, run: &[u8]) -> Option<Vec<u8>> {
    let (id, salt, commitment, length) = (&header[2..18], &header[18..50], &header[50..82], &header[82..]);
    let fields = [&[1, 2], id, &part.to_be_bytes()].concat();
    let key = |secret: &[u8], label: &[u8]| derive(secret, salt, &[label, &fields].concat());
    let both = [[inner; 32], [outer; 32]].concat();
    let commitment_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key(&both, b"strongroom/run/commitment"));
    ring::hmac::verify(&commitment_key, length, commitment).ok()?;
    let length = usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap();
    let frames = length.div_ceil(65_536).max(1);
    if header[..2] != [1, 2] || run.len() != length + 32 * frames {
        return None;
    }
    let aad = [&[1, 2], id].concat();
    let mut plaintext = Vec::new();
    for (i, frame) in run.chunks(FRAME).enumerate() {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&u64::try_from(i).unwrap().to_be_bytes());
        nonce[11] = u8::from(i + 1 == frames);
        let once = gcm_open(&key(&[outer; 32], b"strongroom/run/outer-content"), nonce, &aad, frame)?;
        plaintext.extend(gcm_open(&key(&[inner; 32], b"strongroom/run/content"), nonce, &aad, &once)?);
    }
    Some(plaintext)
}

#[test]
fn what_is_sealed_twice_opens_and_an_independent_reader_agrees() {
    for length in [0, 1, 65_535, 65_536, 65_537, LENGTH] {
        let (run, header) = seal(&double_key(1, 2), 3, 1, &plaintext(length));
        assert_eq!(read_all(&double_key(1, 2), &header, 3, &run).unwrap(), plaintext(length));
        assert_eq!(open_run(1, 2, &header.to_bytes(), 3, &run), Some(plaintext(length)));
        assert_eq!(open_run(1, 2, &header.to_bytes(), 4, &run), None);
    }
}

#[test]
fn ranges_read_only_their_frames() {
    let (run, header) = seal(&double_key(1, 2), 0, 1, &plaintext(LENGTH));
    for range in [0..1, 65_530..65_540, 131_072..131_172, 5..5] {
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        let got = read(&double_key(1, 2), &header, 0, &run, range, 1).unwrap();
        assert_eq!(got, &plaintext(LENGTH)[start..end]);
    }
}

#[test]
fn neither_key_alone_opens_anything() {
    let (_, header) = seal(&double_key(1, 2), 0, 1, &plaintext(LENGTH));
    for key in [double_key(1, 3), double_key(3, 2), double_key(2, 1), object_key(1), object_key(2)] {
        assert!(matches!(Opener::new(&key, &header, 0), Err(SseError::Corrupt(_))));
    }
    let (_, single) = seal(&object_key(1), 0, 1, &plaintext(LENGTH));
    assert!(matches!(Opener::new(&double_key(1, 1), &single, 0), Err(SseError::Corrupt(_))));
}

#[test]
fn the_stored_bytes_are_not_the_inner_layers() {
    let (once, _) = seal(&object_key(1), 0, 1, &plaintext(1000));
    let (twice, _) = seal(&double_key(1, 2), 0, 1, &plaintext(1000));
    assert!(!twice.windows(16).any(|bytes| once.windows(16).any(|inner| inner == bytes)));
}

#[test]
fn flipped_cut_and_swapped_bytes_are_found() {
    let key = double_key(1, 2);
    let (run, header) = seal(&key, 1, 1, &plaintext(LENGTH));
    let refused = |run: &[u8]| matches!(read_all(&key, &header, 1, run), Err(SseError::Corrupt(_)));
    assert!(!refused(&run));
    for at in [0, 40_000, FRAME - 33, FRAME - 32, FRAME - 17, FRAME - 16, FRAME - 1, FRAME, run.len() - 1] {
        let mut altered = run.clone();
        altered[at] ^= 1;
        assert!(refused(&altered), "byte {at}");
    }
    for length in [0, 16, 31, FRAME - 1, FRAME, 2 * FRAME, run.len() - 16, run.len() - 1] {
        assert!(refused(&run[..length]), "cut at {length}");
    }
    let swapped = [&run[FRAME..2 * FRAME], &run[..FRAME], &run[2 * FRAME..]].concat();
    assert!(refused(&swapped));
}

#[test]
fn the_format_is_what_it_was() {
    let key = double_key(0x42, 0x43);
    let (run, header) = seal(&key, 7, 1, &plaintext(100));
    let run = golden("run-double.bin", &run);
    let header = golden("run-double.header.bin", &header.to_bytes());
    assert_eq!(read_all(&key, &RunHeader::from_bytes(&header).unwrap(), 7, &run).unwrap(), plaintext(100));
}
