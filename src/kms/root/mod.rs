//! The root key: the one secret that everything else at rest is sealed under.
//!
//! A 256-bit key, kept in a file of its own (mode 0600), given by the operator's environment, or kept sealed by a passphrase
//! or a key of another key service (`custody`, `sealed`, `passphrase`, `outer`); another takes its place while the server
//! runs (`rotation`). What is sealed under it carries its id, so that a wrong root key is told apart from damage:
//!
//! ```text
//! sealed = version (1) || root key id (8) || nonce (12) || ciphertext || tag (16)
//! key id = first 8 bytes of HKDF(root key, "", "strongroom/root/id")
//! cipher = AES-256-GCM-SIV under HKDF(root key, "", "strongroom/root/seal" || label), AAD = label
//! ```

pub mod custody;
pub mod outer;
pub mod passphrase;
pub mod rotation;
pub mod sealed;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use self::custody::{Custody, Given, RootKeys};
use crate::crypto::aead::Aes256GcmSiv;
use crate::crypto::{Entropy, Secret, SecretBytes, kdf, random};

const VERSION: u8 = 1;
const ID_LEN: usize = 8;

/// The root key, as everybody holds it: it may be rotated at any time.
#[derive(Debug)]
pub struct RootKey {
    ring: RwLock<Ring>,
    custody: Arc<dyn Custody>,
}

#[derive(Debug)]
struct Ring {
    /// Seals, and opens what it sealed.
    current: Arc<OneKey>,
    /// Opens what it sealed: while the root key is being rotated.
    former: Vec<Arc<OneKey>>,
}

/// One root key.
#[derive(Debug)]
struct OneKey {
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
    /// The file with the sealed root key is not as it was written.
    #[error("the root key file {0} is damaged: restore it")]
    DamagedFile(PathBuf),
    /// The file was sealed in another way than the configuration says.
    #[error("the root key file {path} is protected by {protection}; kms.root_key_protection says otherwise")]
    OtherProtection {
        /// The file.
        path: PathBuf,
        /// What it says.
        protection: String,
    },
    /// What should open the sealed root key is not what sealed it.
    #[error("the {0} is not the one that the root key was sealed with")]
    Locked(&'static str),
    /// The passphrase is too short to protect anything.
    #[error("the passphrase must have at least 8 characters")]
    WeakPassphrase,
    /// What protects the root key could not be asked.
    #[error("the root key cannot be sealed or unsealed by {protection}: {reason}")]
    Unsealing {
        /// What.
        protection: &'static str,
        /// Why not.
        reason: String,
    },
    /// The root key is not the server's to keep.
    #[error(
        "the root key comes from the environment, which the server cannot change: put a new key before the old one in \
         STRONGROOM_ROOT_KEY, start the server again, then take the old one away"
    )]
    NotKept,
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
    /// Loads the root key from where it is kept, or makes one if nothing is. `may_create` says whether the store is new: a
    /// fresh root key would open nothing of an old one.
    ///
    /// # Errors
    /// [`RootKeyError`].
    pub async fn load(
        custody: Arc<dyn Custody>,
        may_create: bool,
        entropy: &dyn Entropy,
    ) -> Result<Self, RootKeyError> {
        let keys = match custody.load().await? {
            Some(keys) => keys,
            None if may_create => {
                let keys = RootKeys(vec![draw(entropy)]);
                custody.keep(&keys).await?;
                keys
            }
            None => return Err(custody.missing()),
        };
        Self::of(keys, custody)
    }

    /// The key in its text form, as an environment gives it.
    ///
    /// # Errors
    /// [`RootKeyError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Self, RootKeyError> {
        Self::of(RootKeys::parse(text)?, Arc::new(Given(SecretBytes::new(text.to_vec()))))
    }

    /// Seals `plaintext` for the purpose that `label` names.
    pub fn seal(&self, entropy: &dyn Entropy, label: &str, plaintext: &[u8]) -> Vec<u8> {
        let key = self.current();
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&key.id);
        sealed.extend(key.cipher(label).seal(random::bytes(entropy), label.as_bytes(), plaintext));
        sealed
    }

    /// Opens what [`Self::seal`] sealed for the same purpose.
    ///
    /// # Errors
    /// [`RootKeyError::WrongKey`], [`RootKeyError::Damaged`].
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<SecretBytes, RootKeyError> {
        let (id, sealed) = split(sealed).ok_or(RootKeyError::Damaged)?;
        let key = self.named(*id).ok_or(RootKeyError::WrongKey)?;
        key.cipher(label).open(label.as_bytes(), sealed).map_err(|_| RootKeyError::Damaged)
    }

    /// Whether the current key has sealed it. What has not the form of anything sealed is none of its.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        split(sealed).is_some_and(|(id, _)| *id == self.current().id)
    }

    /// Seals anew what another key has sealed, if one has.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn reseal(&self, entropy: &dyn Entropy, label: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, RootKeyError> {
        if self.is_current(sealed) {
            return Ok(None);
        }
        let plain = self.open(label, sealed)?;
        Ok(Some(self.seal(entropy, label, plain.expose())))
    }

    /// The current key's id, in hex: it tells keys apart, and tells nothing of them.
    pub fn id(&self) -> String {
        hex::encode(self.current().id)
    }

    /// How it is kept: `file`, `environment`, `passphrase`, `kms`.
    pub fn protection(&self) -> &'static str {
        self.custody.name()
    }

    /// Whether a rotation has begun and not ended.
    pub fn is_rotating(&self) -> bool {
        !self.ring.read().unwrap_or_else(PoisonError::into_inner).former.is_empty()
    }

    fn of(keys: RootKeys, custody: Arc<dyn Custody>) -> Result<Self, RootKeyError> {
        let mut keys = keys.0.into_iter().map(|key| Arc::new(OneKey::new(key)));
        let current = keys.next().ok_or(RootKeyError::Malformed)?;
        let ring = Ring { former: keys.filter(|key| key.id != current.id).collect(), current };
        Ok(Self { ring: RwLock::new(ring), custody })
    }

    fn current(&self) -> Arc<OneKey> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    fn named(&self, id: [u8; ID_LEN]) -> Option<Arc<OneKey>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        [&ring.current].into_iter().chain(&ring.former).find(|key| key.id == id).cloned()
    }

    /// Draws a key and has it kept before the current one.
    async fn keep_fresh(&self, entropy: &dyn Entropy) -> Result<Secret<32>, RootKeyError> {
        let fresh = draw(entropy);
        let both = RootKeys(vec![fresh.duplicate(), self.current().key.duplicate()]);
        self.custody.keep(&both).await?;
        Ok(fresh)
    }

    /// Makes `fresh` the current key.
    fn install(&self, fresh: Secret<32>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut ring.current, Arc::new(OneKey::new(fresh)));
        ring.former.push(former);
    }

    /// Has the current key kept alone.
    async fn keep_current(&self) -> Result<(), RootKeyError> {
        self.custody.keep(&RootKeys(vec![self.current().key.duplicate()])).await
    }

    fn forget_former(&self) {
        self.ring.write().unwrap_or_else(PoisonError::into_inner).former.clear();
    }
}

impl OneKey {
    fn new(key: Secret<32>) -> Self {
        let id = *kdf::derive::<ID_LEN>(key.expose(), &[], &[b"strongroom/root/id"]).expose();
        Self { id, key }
    }

    fn cipher(&self, label: &str) -> Aes256GcmSiv {
        Aes256GcmSiv::new(&kdf::derive(self.key.expose(), &[], &[b"strongroom/root/seal", label.as_bytes()]))
    }
}

fn draw(entropy: &dyn Entropy) -> Secret<32> {
    Secret::filled(|bytes: &mut [u8; 32]| entropy.fill(bytes))
}

/// The id of the key that sealed, and what follows it.
fn split(sealed: &[u8]) -> Option<(&[u8; ID_LEN], &[u8])> {
    let (&[VERSION], rest) = sealed.split_first_chunk::<1>()? else { return None };
    rest.split_first_chunk()
}

#[cfg(test)]
mod tests;
