//! The root key: the one secret that everything else at rest is sealed under.
//!
//! A 256-bit key in a file of its own (mode 0600) or given by the operator's environment. What is sealed under it carries
//! its id, so that a wrong root key is told apart from damage:
//!
//! ```text
//! sealed = version (1) || root key id (8) || nonce (12) || ciphertext || tag (16)
//! key id = first 8 bytes of HKDF(root key, "", "strongroom/root/id")
//! cipher = AES-256-GCM-SIV under HKDF(root key, "", "strongroom/root/seal" || label), AAD = label
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypto::aead::Aes256GcmSiv;
use crate::crypto::{Entropy, Secret, SecretBytes, kdf, random};

const VERSION: u8 = 1;
const ID_LEN: usize = 8;
/// Longest key file that is read: base64 of 32 bytes and a line's end, with room for white space.
const MAX_FILE: u64 = 256;

/// Where the root key comes from.
#[derive(Debug)]
pub enum RootKeySource {
    /// A file, made on the first start.
    File(PathBuf),
    /// The base64 text itself, as an environment variable gives it.
    Given(SecretBytes),
}

/// The root key.
#[derive(Debug)]
pub struct RootKey {
    id: [u8; ID_LEN],
    key: Secret<32>,
}

/// Why there is no root key, or why it does not open something.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The store holds what another root key sealed, and the file that should hold it is not there.
    #[error("the root key file {0} is missing, but the store was sealed with one: restore it")]
    Missing(PathBuf),
    /// Others than the owner may read the file.
    #[error("the root key file {0} can be read by others: run chmod 600 on it")]
    Exposed(PathBuf),
    /// The text is not base64 of 32 bytes.
    #[error("the root key is not base64 of 32 bytes")]
    Malformed,
    /// The file could not be read or made.
    #[error("the root key file {path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was sealed under another root key.
    #[error("the root key is not the one that sealed this store")]
    WrongKey,
    /// It was altered, or sealed for another purpose.
    #[error("what the root key sealed is damaged")]
    Damaged,
}

impl RootKey {
    /// Reads the root key, or makes one if its file is not there. `may_create` says whether the store is new: a fresh
    /// root key would open nothing of an old one.
    ///
    /// # Errors
    /// [`RootKeyError`].
    pub fn load(source: &RootKeySource, may_create: bool, entropy: &dyn Entropy) -> Result<Self, RootKeyError> {
        match source {
            RootKeySource::Given(text) => Self::parse(text.expose()),
            RootKeySource::File(path) => match read(path)? {
                Some(text) => Self::parse(&text),
                None if may_create => Self::create(path, entropy),
                None => Err(RootKeyError::Missing(path.clone())),
            },
        }
    }

    /// The key in its text form.
    ///
    /// # Errors
    /// [`RootKeyError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Self, RootKeyError> {
        let decoded = STANDARD.decode(text.trim_ascii()).map(Zeroizing::new).map_err(|_| RootKeyError::Malformed)?;
        Secret::from_slice(&decoded).map(Self::new).ok_or(RootKeyError::Malformed)
    }

    /// Seals `plaintext` for the purpose that `label` names.
    pub fn seal(&self, entropy: &dyn Entropy, label: &str, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&self.id);
        sealed.extend(self.cipher(label).seal(random::bytes(entropy), label.as_bytes(), plaintext));
        sealed
    }

    /// Opens what [`Self::seal`] sealed for the same purpose.
    ///
    /// # Errors
    /// [`RootKeyError::WrongKey`], [`RootKeyError::Damaged`].
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<SecretBytes, RootKeyError> {
        let Some((&[VERSION], rest)) = sealed.split_first_chunk::<1>() else {
            return Err(RootKeyError::Damaged);
        };
        let (id, sealed) = rest.split_first_chunk::<ID_LEN>().ok_or(RootKeyError::Damaged)?;
        if *id != self.id {
            return Err(RootKeyError::WrongKey);
        }
        self.cipher(label).open(label.as_bytes(), sealed).map_err(|_| RootKeyError::Damaged)
    }

    fn new(key: Secret<32>) -> Self {
        let id = *kdf::derive::<ID_LEN>(key.expose(), &[], &[b"strongroom/root/id"]).expose();
        Self { id, key }
    }

    fn create(path: &Path, entropy: &dyn Entropy) -> Result<Self, RootKeyError> {
        let key = Secret::filled(|bytes: &mut [u8; 32]| entropy.fill(bytes));
        let mut text = Zeroizing::new(STANDARD.encode(key.expose()));
        text.push('\n');
        write_new(path, text.as_bytes()).map_err(|source| RootKeyError::Io { path: path.to_owned(), source })?;
        Ok(Self::new(key))
    }

    fn cipher(&self, label: &str) -> Aes256GcmSiv {
        Aes256GcmSiv::new(&kdf::derive(self.key.expose(), &[], &[b"strongroom/root/seal", label.as_bytes()]))
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, RootKeyError> {
    let failed = |source| RootKeyError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(RootKeyError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Writes a file that did not exist, durably, readable by its owner alone.
fn write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SeededEntropy;

    #[test]
    fn a_made_key_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/root.key");
        let source = RootKeySource::File(path.clone());
        let entropy = SeededEntropy::new(1);
        assert!(matches!(RootKey::load(&source, false, &entropy), Err(RootKeyError::Missing(_))));
        let made = RootKey::load(&source, true, &entropy).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let found = RootKey::load(&source, false, &entropy).unwrap();
        let sealed = made.seal(&entropy, "a", b"secret");
        assert_eq!(found.open("a", &sealed).unwrap().expose(), b"secret");
    }

    #[test]
    fn an_exposed_or_malformed_file_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        std::fs::write(&path, "c2hvcnQ=\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let load = || RootKey::load(&RootKeySource::File(path.clone()), true, &SeededEntropy::new(1));
        assert!(matches!(load(), Err(RootKeyError::Exposed(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(load(), Err(RootKeyError::Malformed)));
    }

    #[test]
    fn a_wrong_key_is_told_from_damage() {
        let entropy = SeededEntropy::new(1);
        let (one, two) = (RootKey::new(Secret::new([1; 32])), RootKey::new(Secret::new([2; 32])));
        let sealed = one.seal(&entropy, "label", b"secret");
        assert!(matches!(two.open("label", &sealed), Err(RootKeyError::WrongKey)));
        assert!(matches!(one.open("other", &sealed), Err(RootKeyError::Damaged)));
        for length in 0..sealed.len() {
            assert!(one.open("label", &sealed[..length]).is_err());
        }
        for at in 9..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(matches!(one.open("label", &flipped), Err(RootKeyError::Damaged)), "byte {at}");
        }
    }
}
