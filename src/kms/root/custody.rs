//! Where the root key is kept while the server does not run.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::RootKeyError;
use crate::crypto::{Secret, SecretBytes};

/// Longest file that is read.
const MAX_FILE: u64 = 64 * 1024;

/// Root keys as they are kept: the current one first. There is a second one only while the root key is being rotated.
#[derive(Debug)]
pub struct RootKeys(pub Vec<Secret<32>>);

impl RootKeys {
    /// The keys in a text: each base64 of 32 bytes, white space or commas between them.
    ///
    /// # Errors
    /// [`RootKeyError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Self, RootKeyError> {
        let words = text.split(|byte| byte.is_ascii_whitespace() || *byte == b',').filter(|word| !word.is_empty());
        let keys: Option<Vec<_>> = words
            .map(|word| {
                let decoded = Zeroizing::new(STANDARD.decode(word).ok()?);
                Secret::from_slice(&decoded)
            })
            .collect();
        keys.filter(|keys| !keys.is_empty()).map(Self).ok_or(RootKeyError::Malformed)
    }

    /// The text that [`Self::parse`] reads: a key each line.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(45 * self.0.len()));
        for key in &self.0 {
            text.push_str(&Zeroizing::new(STANDARD.encode(key.expose())));
            text.push('\n');
        }
        text
    }
}

/// A place that keeps the root key.
#[async_trait]
pub trait Custody: Debug + Send + Sync {
    /// How operators call it: `file`, `environment`, `passphrase`, `kms`.
    fn name(&self) -> &'static str;

    /// What is kept; `None` if nothing was yet.
    ///
    /// # Errors
    /// [`RootKeyError`].
    async fn load(&self) -> Result<Option<RootKeys>, RootKeyError>;

    /// Keeps exactly `keys` from now on: durably, and whole or not at all.
    ///
    /// # Errors
    /// [`RootKeyError`].
    async fn keep(&self, keys: &RootKeys) -> Result<(), RootKeyError>;

    /// What to tell when nothing is kept and the store says that something should be.
    fn missing(&self) -> RootKeyError;
}

/// A file that its owner alone can read, with the keys in clear.
#[derive(Debug)]
pub struct PlainFile(pub PathBuf);

#[async_trait]
impl Custody for PlainFile {
    fn name(&self) -> &'static str {
        "file"
    }

    async fn load(&self) -> Result<Option<RootKeys>, RootKeyError> {
        read(&self.0)?.map(|text| RootKeys::parse(&text)).transpose()
    }

    async fn keep(&self, keys: &RootKeys) -> Result<(), RootKeyError> {
        write(&self.0, keys.to_text().as_bytes())
    }

    fn missing(&self) -> RootKeyError {
        RootKeyError::Missing(self.0.clone())
    }
}

/// Keys that the operator's environment gives. It is the operator who changes them: a new one is put before the old, the
/// server is started, and the old one taken away.
#[derive(Debug)]
pub struct Given(pub SecretBytes);

#[async_trait]
impl Custody for Given {
    fn name(&self) -> &'static str {
        "environment"
    }

    async fn load(&self) -> Result<Option<RootKeys>, RootKeyError> {
        RootKeys::parse(self.0.expose()).map(Some)
    }

    async fn keep(&self, keys: &RootKeys) -> Result<(), RootKeyError> {
        let given = RootKeys::parse(self.0.expose())?;
        let is_given = |key: &Secret<32>| given.0.iter().any(|given| given.expose() == key.expose());
        if keys.0.iter().all(is_given) { Ok(()) } else { Err(RootKeyError::NotKept) }
    }

    fn missing(&self) -> RootKeyError {
        RootKeyError::Malformed
    }
}

/// The bytes of a file that only its owner can read; `None` if there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, RootKeyError> {
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

/// Puts a file in the place of the one that was there, durably and whole or not at all, readable by its owner alone.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), RootKeyError> {
    let replace = || {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = path.with_file_name(name);
        // One that a crash left may be anybody's.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(directory)?.sync_all()
    };
    replace().map_err(|source| RootKeyError::Io { path: path.to_owned(), source })
}
