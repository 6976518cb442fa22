//! A second reader, written from `FORMAT.md` with ring instead of our own primitives.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};

use super::{object_key, plaintext, seal};
use crate::crypto::Secret;
use crate::crypto::random::SeededEntropy;
use crate::sse::wrap::{self, Purpose};

struct Bytes32;

impl hkdf::KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

pub(super) fn derive(key: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let info = [info];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key).expand(&info, Bytes32).unwrap().fill(&mut out).unwrap();
    out
}

pub(super) fn gcm_open(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut buffer = sealed.to_vec();
    let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer).ok()?;
    Some(opened.to_vec())
}

/// The plaintext of a run, or `None` if anything about it is wrong.
pub(super) fn open_run(data_key: &[u8; 32], header: &[u8], part: u16, run: &[u8]) -> Option<Vec<u8>> {
    if header.len() != 90 || header[..2] != [1, 1] {
        return None;
    }
    let (id, salt, commitment, length) = (&header[2..18], &header[18..50], &header[50..82], &header[82..]);
    let fields = [&[1, 1], id, &part.to_be_bytes()].concat();
    let commitment_key = derive(data_key, salt, &[b"strongroom/run/commitment", &fields[..]].concat());
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &commitment_key), length, commitment).ok()?;

    let length = usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap();
    let frames = length.div_ceil(65_536).max(1);
    if run.len() != length + 16 * frames {
        return None;
    }
    let content_key = derive(data_key, salt, &[b"strongroom/run/content", &fields[..]].concat());
    let aad = [&[1, 1], id].concat();
    let mut plaintext = Vec::new();
    for (i, frame) in run.chunks(65_552).enumerate() {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&u64::try_from(i).unwrap().to_be_bytes());
        nonce[11] = u8::from(i + 1 == frames);
        plaintext.extend(gcm_open(&content_key, nonce, &aad, frame)?);
    }
    Some(plaintext)
}

/// The data key in a local wrapping.
pub(super) fn unwrap(under: &[u8; 32], purpose: &str, object_arn: &str, wrapped: &[u8]) -> Option<[u8; 32]> {
    let wrapping_key = derive(under, &wrapped[..32], purpose.as_bytes());
    gcm_open(&wrapping_key, [0; 12], object_arn.as_bytes(), &wrapped[32..])?.try_into().ok()
}

#[test]
fn it_opens_what_we_seal() {
    let key = object_key(5);
    for (part, length) in [(0, 0), (0, 1), (1, 65_535), (2, 65_536), (10_000, 65_537), (0, 131_072), (0, 300_000)] {
        let (run, header) = seal(&key, part, 1, &plaintext(length));
        assert_eq!(open_run(&[5; 32], &header.to_bytes(), part, &run).unwrap(), plaintext(length));
        assert_eq!(open_run(&[5; 32], &header.to_bytes(), part + 1, &run), None);
        assert_eq!(open_run(&[6; 32], &header.to_bytes(), part, &run), None);
    }
}

#[test]
fn it_unwraps_what_we_wrap() {
    let entropy = SeededEntropy::new(3);
    let (under, key) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let purposes = [
        (Purpose::Server, "strongroom/wrap/server-key"),
        (Purpose::Bucket, "strongroom/wrap/bucket-key"),
        (Purpose::Customer, "strongroom/wrap/customer-key"),
    ];
    for (purpose, name) in purposes {
        let wrapped = wrap::wrap(&under, purpose, "arn:aws:s3:::b/k", &entropy, &key);
        assert_eq!(unwrap(&[1; 32], name, "arn:aws:s3:::b/k", &wrapped), Some([2; 32]));
        assert_eq!(unwrap(&[1; 32], name, "arn:aws:s3:::b/l", &wrapped), None);
    }
}
