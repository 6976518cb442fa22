//! The data directory: made for its owner alone, locked against a second server, and written to in whole files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The directory, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataDirError {
    /// A server has it.
    #[error("the data directory {} is in use by a strongroom server", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// The system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// To what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl DataDirError {
    /// Whether no directory can be there.
    pub(super) fn is_of_asking(&self) -> bool {
        matches!(self, Self::NotDirectory(_))
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readers {
    /// Its owner alone.
    Owner,
    /// Everyone who may enter the directory.
    Everyone,
}

impl DataDir {
    /// Makes `path` if it is absent, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path, source| DataDirError::Io { path: path.to_owned(), source };
        if path.exists() && !path.is_dir() {
            return Err(DataDirError::NotDirectory(path.to_owned()));
        }
        make(path).map_err(|source| failed(path, source))?;
        // Absolute, so that what is printed for other processes means the same there.
        let path = path.canonicalize().map_err(|source| failed(path, source))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| failed(&lock_path, source))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(path)),
            Err(errno) => Err(failed(&lock_path, errno.into())),
        }
    }

    /// Where it is: an absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The text of the file `name`, if there is one.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, DataDirError> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Makes the file `name` durable, whole or not at all.
    pub(super) fn write(&self, name: &str, text: &str, readers: Readers) -> Result<(), DataDirError> {
        let path = self.path.join(name);
        let written = || {
            let parent = path.parent().unwrap_or(&self.path);
            make(parent)?;
            let mode = match readers {
                Readers::Owner => 0o600,
                Readers::Everyone => 0o644,
            };
            let temporary = path.with_extension("new");
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(parent)?.sync_all()
        };
        written().map_err(|source| DataDirError::Io { path: path.clone(), source })
    }
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_directory_is_private_and_has_one_user() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        let refusal = DataDir::open(&path).unwrap_err().to_string();
        assert!(refusal.contains("in use by a strongroom server"), "{refusal}");
        drop(first);
        assert!(DataDir::open(&path).is_ok());
    }

    #[test]
    fn a_file_is_no_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("afile");
        fs::write(&path, "").unwrap();
        assert_eq!(DataDir::open(&path).unwrap_err().to_string(), format!("{} is not a directory", path.display()));
    }

    #[test]
    fn files_are_written_whole_and_for_their_readers() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        assert_eq!(directory.read("tls/ca.key").unwrap(), None);
        directory.write("tls/ca.key", "one", Readers::Owner).unwrap();
        directory.write("tls/ca.key", "two", Readers::Owner).unwrap();
        directory.write("tls/ca.pem", "three", Readers::Everyone).unwrap();
        assert_eq!(directory.read("tls/ca.key").unwrap().as_deref(), Some("two"));
        assert_eq!(mode(&directory.path().join("tls/ca.key")), 0o600);
        assert_eq!(mode(&directory.path().join("tls")), 0o700);
        assert_eq!(fs::read_dir(directory.path().join("tls")).unwrap().count(), 2);
    }
}
