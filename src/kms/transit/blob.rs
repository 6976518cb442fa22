//! The ciphertext blob of a transit key: what the server calls `vault:v1:BASE64`, in binary, and whose it is.
//!
//! ```text
//! offset  bytes
//!  0       1     version = 0x54
//!  1       1     n, the length of the key's name
//!  2       n     the key's name
//!  2 + n   4     the version of the key, big-endian, from 1
//!  6 + n         nonce, ciphertext and tag, as the server chose them
//! ```
//! Binary, because the text has several forms for the same bytes (padding bits), and a blob that was changed must not open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const VERSION: u8 = 0x54;
/// Most bytes of a ciphertext blob. (AWS: API reference, Decrypt.)
const MAX_BLOB: usize = 6144;

/// A blob, taken apart. Nothing of it is trusted until the server has opened it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Blob {
    /// The key's name.
    pub key: String,
    /// The key's version.
    pub version: u32,
    ciphertext: Vec<u8>,
}

impl Blob {
    /// Reads what the server answered for `key`.
    pub fn of_server(key: &str, text: &str) -> Option<Self> {
        let (version, ciphertext) = text.strip_prefix("vault:v")?.split_once(':')?;
        let version = version.parse().ok().filter(|version| *version > 0)?;
        Some(Self { key: key.to_owned(), version, ciphertext: STANDARD.decode(ciphertext).ok()? })
    }

    /// As the server wants to see it.
    pub fn to_server(&self) -> String {
        format!("vault:v{}:{}", self.version, STANDARD.encode(&self.ciphertext))
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u8::try_from(self.key.len()).expect("names of keys are checked");
        let mut bytes = vec![VERSION, length];
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.ciphertext);
        bytes
    }

    /// Reads a stored form; `None` if it is no blob of a transit key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([VERSION, length], rest) = bytes.split_first_chunk::<2>().filter(|_| bytes.len() <= MAX_BLOB)? else {
            return None;
        };
        let (key, rest) = rest.split_at_checked(usize::from(*length))?;
        let key = std::str::from_utf8(key).ok().filter(|key| is_name(key))?;
        let (version, ciphertext) = rest.split_first_chunk()?;
        // The server takes version 0 for 1: that would be two blobs for one ciphertext.
        let version = Some(u32::from_be_bytes(*version)).filter(|version| *version > 0)?;
        Some(Self { key: key.to_owned(), version, ciphertext: ciphertext.to_vec() })
    }

    /// The key's version, as a `KeyMaterialId`.
    pub fn material_id(&self) -> String {
        format!("v{}", self.version)
    }
}

/// Whether transit takes it for the name of a key (its routes: `\w(([\w-.]+)?\w)?`). No such name leaves its path.
pub(super) fn is_name(text: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= 255
        && bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
        && bytes.iter().all(|byte| word(byte) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_what_it_was() {
        let blob = Blob::of_server("payroll", "vault:v3:AAECAwQFBgcICQoL").unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms/transit-blob.bin");
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, blob.to_bytes()).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(Blob::from_bytes(&golden).unwrap(), blob);
        assert_eq!(blob.to_bytes(), golden);
        assert_eq!(blob.to_server(), "vault:v3:AAECAwQFBgcICQoL");
        assert_eq!(blob.material_id(), "v3");
    }

    #[test]
    fn what_is_no_blob_is_not_read() {
        let bytes = Blob::of_server("k", "vault:v1:AAECAwQFBgcICQoL").unwrap().to_bytes();
        for length in 0..7 {
            assert_eq!(Blob::from_bytes(&bytes[..length]), None, "cut to {length}");
        }
        let mut zero = bytes.clone();
        zero[6] = 0;
        assert_eq!(Blob::from_bytes(&zero), None, "version 0");
        let mut climbing = bytes;
        climbing[2] = b'/';
        assert_eq!(Blob::from_bytes(&climbing), None, "a name that is none");
        for text in ["", "vault:v0:AA==", "vault:v1", "vault:vx:AA==", "other:v1:AA==", "vault:v1:?"] {
            assert_eq!(Blob::of_server("k", text), None, "{text}");
        }
    }

    #[test]
    fn names_do_not_leave_their_path() {
        for name in ["k", "payroll-2026", "a.b_c", "_"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-k", "k-", "../sys", "a/b", "a b", "a%2f", "ä", &"k".repeat(256)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
