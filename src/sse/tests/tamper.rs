//! Everything that can be done to stored bytes: none of it may yield a byte of plaintext that is not the object's.

use super::independent::open_run;
use super::{object_key, plaintext, read, read_all, seal};
use crate::sse::{Opener, RunHeader, SseError};

const FRAME: usize = 65_552;
const LENGTH: usize = 3 * 65_536 + 100;

/// A run of four frames, and its header.
fn run() -> (Vec<u8>, RunHeader) {
    seal(&object_key(1), 1, 1, &plaintext(LENGTH))
}

fn refused(header: &RunHeader, run: &[u8]) -> bool {
    let ours = matches!(read_all(&object_key(1), header, 1, run), Err(SseError::Corrupt(_)));
    let theirs = open_run(&[1; 32], &header.to_bytes(), 1, run).is_none();
    assert_eq!(ours, theirs, "the two readers disagree");
    ours
}

#[test]
fn an_untouched_run_opens() {
    let (run, header) = run();
    assert!(!refused(&header, &run));
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (mut run, header) = run();
    let edges = (0..4).flat_map(|i| [i * FRAME, i * FRAME + 40_000, i * FRAME + FRAME - 17, i * FRAME + FRAME - 16]);
    let tail = [run.len() - 117, run.len() - 116, run.len() - 17, run.len() - 16, run.len() - 1];
    for at in edges.chain(tail).chain([FRAME - 1]).filter(|at| *at < LENGTH + 64) {
        run[at] ^= 0x10;
        assert!(refused(&header, &run), "byte {at}");
        run[at] ^= 0x10;
    }
}

#[test]
fn a_flipped_bit_in_the_header_is_found_before_any_frame() {
    let (run, header) = run();
    let bytes = header.to_bytes();
    for at in 0..bytes.len() {
        let mut altered = bytes;
        altered[at] ^= 1;
        let Ok(altered) = RunHeader::from_bytes(&altered) else {
            continue;
        };
        assert!(matches!(Opener::new(&object_key(1), &altered, 1), Err(SseError::Corrupt(_))), "byte {at}");
        assert!(open_run(&[1; 32], &altered.to_bytes(), 1, &run).is_none());
    }
}

#[test]
fn frames_swapped_reordered_repeated_or_dropped_are_found() {
    let (run, header) = run();
    let frames: Vec<&[u8]> = run.chunks(FRAME).collect();
    let orders: [&[usize]; 8] = [
        &[1, 0, 2, 3],
        &[0, 2, 1, 3],
        &[2, 1, 0, 3],
        &[0, 0, 2, 3],
        &[0, 1, 1, 3],
        &[0, 1, 3],
        &[1, 2, 3],
        &[0, 1, 2, 2, 3],
    ];
    for order in orders {
        let altered: Vec<u8> = order.iter().flat_map(|i| frames[*i].iter().copied()).collect();
        assert!(refused(&header, &altered), "{order:?}");
    }
}

#[test]
fn a_run_cut_short_or_lengthened_is_found() {
    let (run, header) = run();
    for length in [0, 1, 15, 16, FRAME - 1, FRAME, FRAME + 16, 3 * FRAME, run.len() - 16, run.len() - 1] {
        assert!(refused(&header, &run[..length]), "cut at {length}");
    }
    assert!(open_run(&[1; 32], &header.to_bytes(), 1, &[&run[..], &[0]].concat()).is_none());
    // Our own reader asks the store for the bytes that there should be, and takes no others.
    let opener = Opener::new(&object_key(1), &header, 1).unwrap();
    let read = opener.reads(0..header.plaintext_len(), 9.try_into().unwrap()).unwrap().next().unwrap();
    assert!(opener.open(&read, run.clone().into()).is_ok());
    assert!(opener.open(&read, [&run[..], &[0]].concat().into()).is_err());
}

#[test]
fn a_run_of_whole_frames_cut_at_a_boundary_is_found() {
    let key = object_key(1);
    let (long, long_header) = seal(&key, 1, 1, &plaintext(2 * 65_536));
    let (short, short_header) = seal(&key, 1, 1, &plaintext(65_536));
    // The same salt and run id: only the last-frame flag and the length tell them apart.
    assert_eq!(long_header.to_bytes()[..50], short_header.to_bytes()[..50]);
    assert!(refused(&short_header, &long[..FRAME]));
    assert!(refused(&long_header, &[&short[..], &long[FRAME..]].concat()));
    assert!(!refused(&long_header, &long));
    let mut mixed = long_header.to_bytes();
    mixed[82..].copy_from_slice(&65_536_u64.to_be_bytes());
    assert!(Opener::new(&key, &RunHeader::from_bytes(&mixed).unwrap(), 1).is_err());
}

#[test]
fn an_empty_run_is_authenticated_too() {
    let key = object_key(1);
    let (run, header) = seal(&key, 1, 1, &[]);
    assert_eq!(run.len(), 16);
    assert!(!refused(&header, &run));
    assert!(refused(&header, &[0; 16]));
    assert!(refused(&header, &[]));
}

#[test]
fn frames_spliced_between_objects_or_uploads_are_found() {
    let (run, header) = run();
    // Another object; another upload of the same part of the same object.
    for (other, _) in [seal(&object_key(2), 1, 1, &plaintext(LENGTH)), seal(&object_key(1), 1, 2, &plaintext(LENGTH))] {
        for frame in 0..4 {
            let (start, end) = (frame * FRAME, (frame * FRAME + FRAME).min(run.len()));
            let mut altered = run.clone();
            altered[start..end].copy_from_slice(&other[start..end]);
            assert!(refused(&header, &altered), "frame {frame}");
        }
        assert!(refused(&header, &other));
    }
}

#[test]
fn parts_in_each_others_place_are_found() {
    let key = object_key(1);
    let (first, first_header) = seal(&key, 1, 1, &plaintext(100));
    let (second, second_header) = seal(&key, 2, 2, &plaintext(100));
    assert!(read_all(&key, &first_header, 1, &first).is_ok());
    assert!(read_all(&key, &second_header, 2, &second).is_ok());
    assert!(Opener::new(&key, &first_header, 2).is_err());
    assert!(Opener::new(&key, &second_header, 1).is_err());
    assert!(read_all(&key, &first_header, 1, &second).is_err());
}

#[test]
fn another_data_key_or_header_is_found_before_any_frame() {
    let (_, header) = run();
    let (_, other_header) = seal(&object_key(1), 1, 2, &plaintext(LENGTH));
    assert!(matches!(Opener::new(&object_key(2), &header, 1), Err(SseError::Corrupt(_))));
    let (run, _) = run();
    assert!(refused(&other_header, &run));
}

#[test]
fn a_range_is_refused_only_for_its_own_frames() {
    let (mut run, header) = run();
    run[FRAME + 5] ^= 1;
    let range = |range| read(&object_key(1), &header, 1, &run, range, 1);
    assert_eq!(range(10..20).unwrap(), &plaintext(LENGTH)[10..20]);
    assert_eq!(range(131_072..131_080).unwrap(), &plaintext(LENGTH)[131_072..131_080]);
    assert!(range(65_535..65_537).is_err());
}
