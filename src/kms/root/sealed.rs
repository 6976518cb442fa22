//! A root key that is kept sealed: by a passphrase, or by another key service.
//!
//! ```text
//! {"version": 1, "protection": NAME, "wrapped": {...}, "checksum": "HEX"}
//! checksum = first 16 bytes of SHA-256("strongroom/root/file/1\n" || NAME || "\n" || the JSON of "wrapped", keys sorted)
//! ```
//!
//! What `wrapped` holds is the protection's own affair. The checksum is no secret and protects nothing: it tells a damaged
//! file from a wrong passphrase or a wrong key.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
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
    /// How operators call it, and the file names it: `passphrase`, `kms`.
    fn name(&self) -> &'static str;

    /// Whether it would seal today as it sealed `wrapped`: by the same passphrase, by the key that the configuration names.
    fn is_current(&self, wrapped: &Value) -> bool;

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

impl SealedFile {
    /// Seals the file anew if its protection would seal it otherwise today: whether it did.
    ///
    /// # Errors
    /// [`RootKeyError`]: the file is as it was.
    pub async fn renew(&self) -> Result<bool, RootKeyError> {
        if self.read()?.is_none_or(|document| self.protection.is_current(&document.wrapped)) {
            return Ok(false);
        }
        if let Some(keys) = self.load().await? {
            self.keep(&keys).await?;
        }
        Ok(true)
    }

    /// Seals by this protection the file that `former` has sealed.
    ///
    /// # Errors
    /// [`RootKeyError`]: the file is as it was.
    pub async fn take_over(&self, former: Arc<dyn Protection>) -> Result<(), RootKeyError> {
        let kept = Self { path: self.path.clone(), protection: former }.load().await?.ok_or_else(|| self.missing())?;
        self.keep(&kept).await
    }

    /// What the file says, if it is whole and sealed by this protection; `None` if there is no file.
    fn read(&self) -> Result<Option<Document>, RootKeyError> {
        let Some(document) = Document::read(&self.path)? else { return Ok(None) };
        if document.protection != self.protection.name() {
            return Err(RootKeyError::OtherProtection { path: self.path.clone(), protection: document.protection });
        }
        Ok(Some(document))
    }
}

/// What seals the file at `path`, as it names it; `None` if there is no file.
///
/// # Errors
/// [`RootKeyError::DamagedFile`], [`RootKeyError::Io`], [`RootKeyError::Exposed`].
pub fn protection_of(path: &Path) -> Result<Option<String>, RootKeyError> {
    Ok(Document::read(path)?.map(|document| document.protection))
}

impl Document {
    /// The document at `path`, if it is whole; `None` if there is no file.
    fn read(path: &Path) -> Result<Option<Self>, RootKeyError> {
        let Some(text) = read(path)? else { return Ok(None) };
        let damaged = || RootKeyError::DamagedFile(path.to_owned());
        let document: Self = serde_json::from_slice(&text).map_err(|_| damaged())?;
        if document.version != VERSION || document.checksum != checksum(&document.protection, &document.wrapped) {
            return Err(damaged());
        }
        Ok(Some(document))
    }
}

#[async_trait]
impl Custody for SealedFile {
    fn name(&self) -> &'static str {
        self.protection.name()
    }

    async fn load(&self) -> Result<Option<RootKeys>, RootKeyError> {
        let Some(document) = self.read()? else { return Ok(None) };
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
