//! A passphrase as the root key's protection: Argon2id makes a key of it, which seals the root key.
//!
//! ```text
//! wrapped = {"argon2id": {"memoryKib", "passes", "lanes", "salt"}, "sealed": BASE64}
//! sealed  = nonce (12) || AES-256-GCM-SIV ciphertext || tag (16)    AAD = "strongroom/root/passphrase"
//! ```
//!
//! The salt is new each time, and the parameters stand beside it, so that they can be raised later: what is kept is sealed
//! by today's at the next change.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RootKeyError;
use super::sealed::Protection;
use crate::crypto::aead::Aes256GcmSiv;
use crate::crypto::password::{self, Cost};
use crate::crypto::{Secret, SecretBytes, SharedEntropy, random};

const AAD: &[u8] = b"strongroom/root/passphrase";
/// The name of the protection.
pub const NAME: &str = "passphrase";
/// Fewest characters of a passphrase.
pub const LEAST: usize = 8;

/// The passphrase.
pub struct Passphrase {
    text: SecretBytes,
    cost: Cost,
    entropy: SharedEntropy,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    argon2id: Parameters,
    sealed: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl Passphrase {
    /// The passphrase `text`; white space at its end, as a file's last line has, is not of it.
    ///
    /// # Errors
    /// [`RootKeyError::WeakPassphrase`] if it is shorter than [`LEAST`] bytes.
    pub fn new(text: &SecretBytes, entropy: SharedEntropy) -> Result<Self, RootKeyError> {
        let text = text.expose().trim_ascii_end().to_vec();
        if text.len() < LEAST {
            return Err(RootKeyError::WeakPassphrase);
        }
        Ok(Self { text: SecretBytes::new(text), cost: Cost::RECOMMENDED, entropy })
    }

    /// The same at another cost: for tests.
    #[cfg(test)]
    pub(super) fn at(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// The key that it makes, where that holds up nobody.
    async fn key(&self, salt: [u8; 16], cost: Cost) -> Result<Secret<32>, RootKeyError> {
        let text = SecretBytes::new(self.text.expose().to_vec());
        let derived = tokio::task::spawn_blocking(move || password::derive(text.expose(), &salt, cost)).await;
        derived.ok().and_then(Result::ok).ok_or(RootKeyError::Malformed)
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

#[async_trait]
impl Protection for Passphrase {
    fn name(&self) -> &'static str {
        NAME
    }

    /// There is one alone.
    fn is_current(&self, _: &Value) -> bool {
        true
    }

    async fn wrap(&self, plain: &SecretBytes) -> Result<Value, RootKeyError> {
        let salt: [u8; 16] = random::bytes(&*self.entropy);
        let Cost { memory_kib, passes, lanes } = self.cost;
        let key = self.key(salt, self.cost).await?;
        let sealed = Aes256GcmSiv::new(&key).seal(random::bytes(&*self.entropy), AAD, plain.expose());
        let argon2id = Parameters { memory_kib, passes, lanes, salt: STANDARD.encode(salt) };
        serde_json::to_value(Wrapped { argon2id, sealed: STANDARD.encode(sealed) }).map_err(|_| RootKeyError::Malformed)
    }

    async fn unwrap(&self, wrapped: &Value) -> Result<SecretBytes, RootKeyError> {
        let Wrapped { argon2id, sealed } = Wrapped::deserialize(wrapped).map_err(|_| RootKeyError::Malformed)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| RootKeyError::Malformed);
        let salt = decode(&argon2id.salt)?.try_into().map_err(|_| RootKeyError::Malformed)?;
        let Parameters { memory_kib, passes, lanes, .. } = argon2id;
        let key = self.key(salt, Cost { memory_kib, passes, lanes }).await?;
        Aes256GcmSiv::new(&key).open(AAD, &decode(&sealed)?).map_err(|_| RootKeyError::Locked(NAME))
    }
}
