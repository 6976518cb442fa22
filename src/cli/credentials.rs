//! The root's access key: given by the operator, or made at the first start and kept in `DATA_DIR/credentials`, in the
//! form of the AWS shared credentials file, so that `AWS_SHARED_CREDENTIALS_FILE` can name it.

use std::io;
use std::path::Path;

use super::data_dir::{DataDir, DataDirError, Readers};
use crate::config::{AccessKeyId, Root, SecretKey};
use crate::crypto::random::{self, Entropy};

/// The root's access key, and where it came from.
#[derive(Debug)]
pub(super) struct RootCredentials {
    pub(super) id: AccessKeyId,
    pub(super) secret: SecretKey,
    /// Whether they stand in `DATA_DIR/credentials`.
    pub(super) kept: bool,
}

/// There are no credentials to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    /// The file cannot be read or made.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file is not what it should be.
    #[error("{}: no access key under [default]; mend the file, or remove it to have a new one made", .0.display())]
    Malformed(std::path::PathBuf),
}

impl RootCredentials {
    /// Where they are kept, in the data directory.
    pub(super) const FILE: &str = "credentials";

    /// Those that a server on `data_dir` uses, if it has been started before.
    pub(super) fn find(root: &Root, data_dir: &Path) -> Result<Option<Self>, CredentialsError> {
        if let Some(given) = Self::given(root) {
            return Ok(Some(given));
        }
        let path = data_dir.join(Self::FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).ok_or(CredentialsError::Malformed(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }.into()),
        }
    }

    /// Those of `root` if it has any, else those in the directory, else fresh ones, which the directory keeps.
    pub(super) fn obtain(root: &Root, directory: &DataDir, entropy: &dyn Entropy) -> Result<Self, CredentialsError> {
        if let Some(given) = Self::given(root) {
            return Ok(given);
        }
        let malformed = || CredentialsError::Malformed(directory.path().join(Self::FILE));
        let text = if let Some(text) = directory.read(Self::FILE)? {
            text
        } else {
            let text = format!(
                "[default]\naws_access_key_id = AKIA{}\naws_secret_access_key = {}\n",
                letters::<16>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", entropy),
                letters::<40>(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", entropy),
            );
            directory.write(Self::FILE, &text, Readers::Owner)?;
            text
        };
        Self::parse(&text).ok_or_else(malformed)
    }

    fn given(root: &Root) -> Option<Self> {
        let (id, secret) = (root.access_key_id.clone()?, root.secret_access_key.clone()?);
        Some(Self { id, secret, kept: false })
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, secret) = parse(text)?;
        Some(Self { id, secret, kept: true })
    }
}

/// `N` of the characters of `alphabet`, whose number divides 256, so that each is as likely.
fn letters<const N: usize>(alphabet: &[u8], entropy: &dyn Entropy) -> String {
    debug_assert!(256 % alphabet.len() == 0);
    random::bytes::<N>(entropy).iter().map(|&byte| char::from(alphabet[usize::from(byte) % alphabet.len()])).collect()
}

/// The access key of the `[default]` section.
fn parse(text: &str) -> Option<(AccessKeyId, SecretKey)> {
    let section = text.lines().map(str::trim).skip_while(|line| *line != "[default]").skip(1);
    let pairs: Vec<(&str, &str)> = section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let value = |name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
    let id = AccessKeyId::try_from(value("aws_access_key_id")?).ok()?;
    let secret = SecretKey::try_from(value("aws_secret_access_key")?).ok()?;
    Some((id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SystemEntropy;

    #[test]
    fn made_once_and_used_again() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        let obtain = || RootCredentials::obtain(&Root::default(), &directory, &SystemEntropy::new()).unwrap();
        let (first, second) = (obtain(), obtain());
        assert_eq!(first.id, second.id);
        assert_eq!(first.secret.expose(), second.secret.expose());
        assert!(first.kept);
        let id = first.id.to_string();
        assert!(id.len() == 20 && id.starts_with("AKIA"), "{id}");
        assert_eq!(first.secret.expose().len(), 40);
    }

    #[test]
    fn the_operators_own_are_not_written_anywhere() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        let root = Root {
            access_key_id: Some("AKIAIOSFODNN7EXAMPLE".to_owned().try_into().unwrap()),
            secret_access_key: Some("wJalrXUtnFEMI/K7MDENG".to_owned().try_into().unwrap()),
            ..Root::default()
        };
        let credentials = RootCredentials::obtain(&root, &directory, &SystemEntropy::new()).unwrap();
        assert_eq!(credentials.secret.expose(), b"wJalrXUtnFEMI/K7MDENG");
        assert!(!credentials.kept);
        assert_eq!(directory.read(RootCredentials::FILE).unwrap(), None);
    }

    #[test]
    fn a_file_without_a_default_key_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        directory
            .write(RootCredentials::FILE, "[other]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n", Readers::Owner)
            .unwrap();
        let error = RootCredentials::obtain(&Root::default(), &directory, &SystemEntropy::new()).unwrap_err();
        assert!(error.to_string().contains("no access key under [default]"));
    }
}
