//! A root key that is kept sealed: by a passphrase, or by another key service.
//!
//! ```text
//! {"version": 1, "protection": NAME, "wrapped": {...}, "checksum": "HEX"}
//! checksum = first 16 bytes of SHA-256("strongroom/root/file/1\n" || NAME || "\n" || the JSON of "wrapped", keys sorted)
//! ```
//!
//! What `wrapped` holds is the protection's own affair. The checksum is no secret and protects nothing: it tells a damaged
//! file from a wrong passphrase.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RootKeyError;
use super::custody::{Custody, RootKeys, read, write};
use crate::crypto::{SecretBytes, digest};

const VERSION: u32 = 1;

/// What seals the root key where it is kept.
#[async_trait]
pub trait Protection: Debug + Send + Sync {
    /// How operators call it, and the file names it: `passphrase`.
    fn name(&self) -> &'static str;

    /// Seals `plain`; what must be known to open it again, as a JSON object.
    ///
    /// # Errors
    /// [`RootKeyError`].
    async fn wrap(&self, plain: &SecretBytes) -> Result<Value, RootKeyError>;

    /// Opens what [`Self::wrap`] returned.
    ///
    /// # Errors
    /// [`RootKeyError::Locked`] if it is not the passphrase, or not the key, that sealed it.
    async fn unwrap(&self, wrapped: &Value) -> Result<SecretBytes, RootKeyError>;
}

/// A file with the sealed root key.
#[derive(Clone, Debug)]
pub struct SealedFile {
    /// Where.
    pub path: PathBuf,
    /// By what.
    pub protection: Arc<dyn Protection>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    protection: String,
    wrapped: Value,
    checksum: String,
}

#[async_trait]
impl Custody for SealedFile {
    fn name(&self) -> &'static str {
        self.protection.name()
    }

    async fn load(&self) -> Result<Option<RootKeys>, RootKeyError> {
        let Some(text) = read(&self.path)? else { return Ok(None) };
        let damaged = || RootKeyError::DamagedFile(self.path.clone());
        let document: Document = serde_json::from_slice(&text).map_err(|_| damaged())?;
        if document.version != VERSION || document.checksum != checksum(&document.protection, &document.wrapped) {
            return Err(damaged());
        }
        if document.protection != self.protection.name() {
            return Err(RootKeyError::OtherProtection { path: self.path.clone(), protection: document.protection });
        }
        let plain = self.protection.unwrap(&document.wrapped).await?;
        RootKeys::parse(plain.expose()).map(Some)
    }

    async fn keep(&self, keys: &RootKeys) -> Result<(), RootKeyError> {
        let plain = SecretBytes::new(keys.to_text().as_bytes().to_vec());
        let wrapped = self.protection.wrap(&plain).await?;
        let protection = self.protection.name().to_owned();
        let checksum = checksum(&protection, &wrapped);
        let document = Document { version: VERSION, protection, wrapped, checksum };
        let mut text = serde_json::to_string_pretty(&document).map_err(|_| RootKeyError::Malformed)?;
        text.push('\n');
        write(&self.path, text.as_bytes())
    }

    fn missing(&self) -> RootKeyError {
        RootKeyError::Missing(self.path.clone())
    }
}

fn checksum(protection: &str, wrapped: &Value) -> String {
    // Maps of serde_json are sorted by their keys.
    let text = format!("strongroom/root/file/{VERSION}\n{protection}\n{wrapped}");
    hex::encode(&digest::sha256(text.as_bytes())[..16])
}
