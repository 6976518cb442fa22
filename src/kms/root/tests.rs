//! Where root keys come from, and what they open.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::custody::PlainFile;
use super::passphrase::Passphrase;
use super::sealed::SealedFile;
use super::*;
use crate::crypto::password::Cost;
use crate::crypto::random::SeededEntropy;

/// As little as Argon2id takes: these tests are not about guessing.
const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn key(byte: u8) -> RootKey {
    RootKey::of(RootKeys(vec![Secret::new([byte; 32])]), Arc::new(Given(SecretBytes::new(Vec::new())))).unwrap()
}

fn sealed(path: &Path, passphrase: &str) -> Arc<dyn Custody> {
    let text = SecretBytes::new(passphrase.as_bytes().to_vec());
    let passphrase = Passphrase::new(&text, Arc::new(SeededEntropy::new(3))).unwrap().at(CHEAP);
    Arc::new(SealedFile { path: path.to_owned(), protection: Arc::new(passphrase) })
}

#[tokio::test]
async fn a_made_key_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys/root.key");
    let custody: Arc<dyn Custody> = Arc::new(PlainFile(path.clone()));
    let entropy = SeededEntropy::new(1);
    let load = |may_create| RootKey::load(Arc::clone(&custody), may_create, &entropy);
    assert!(matches!(load(false).await, Err(RootKeyError::Missing(_))));
    let made = load(true).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let found = load(false).await.unwrap();
    let sealed = made.seal(&entropy, "a", b"secret");
    assert_eq!(found.open("a", &sealed).unwrap().expose(), b"secret");
    assert_eq!((found.id(), found.protection(), found.is_rotating()), (made.id(), "file", false));
}

#[tokio::test]
async fn an_exposed_or_malformed_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    std::fs::write(&path, "c2hvcnQ=\n").unwrap();
    let permit = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    permit(0o640);
    let entropy = SeededEntropy::new(1);
    let load = || RootKey::load(Arc::new(PlainFile(path.clone())), true, &entropy);
    assert!(matches!(load().await, Err(RootKeyError::Exposed(_))));
    permit(0o600);
    assert!(matches!(load().await, Err(RootKeyError::Malformed)));
}

#[test]
fn a_wrong_key_is_told_from_damage() {
    let entropy = SeededEntropy::new(1);
    let (one, two) = (key(1), key(2));
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

#[test]
fn two_keys_open_and_the_first_one_seals() {
    let entropy = SeededEntropy::new(1);
    let texts = [1, 2].map(|byte| RootKeys(vec![Secret::new([byte; 32])]).to_text());
    let both = RootKey::parse(format!("{} ,\n{}", texts[0].trim(), texts[1].trim()).as_bytes()).unwrap();
    assert!(both.is_rotating());
    assert_eq!(both.id(), key(1).id());
    let old = key(2).seal(&entropy, "l", b"old");
    assert_eq!(both.open("l", &old).unwrap().expose(), b"old");
    assert!(!both.is_current(&old) && both.is_current(&both.seal(&entropy, "l", b"new")));
    let moved = both.reseal(&entropy, "l", &old).unwrap().unwrap();
    assert_eq!(key(1).open("l", &moved).unwrap().expose(), b"old");
    assert!(both.reseal(&entropy, "l", &moved).unwrap().is_none());
    assert!(!RootKey::parse(format!("{0} {0}", texts[0].trim()).as_bytes()).unwrap().is_rotating(), "one key twice");
    for malformed in ["", " ", "c2hvcnQ=", "not base64"] {
        assert!(matches!(RootKey::parse(malformed.as_bytes()), Err(RootKeyError::Malformed)), "{malformed}");
    }
}

#[tokio::test]
async fn a_passphrase_opens_what_it_sealed_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key.sealed");
    let entropy = SeededEntropy::new(1);
    let made = RootKey::load(sealed(&path, "correct horse"), true, &entropy).await.unwrap();
    assert_eq!(made.protection(), "passphrase");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("argon2id") && text.contains("\"memoryKib\": 64"), "{text}");
    assert!(!text.contains(made.current_text().trim()), "the key is not there in clear");
    let found = RootKey::load(sealed(&path, "correct horse\n"), false, &entropy).await.unwrap();
    assert_eq!(found.id(), made.id());

    let wrong = RootKey::load(sealed(&path, "correct house"), false, &entropy).await;
    assert!(matches!(wrong, Err(RootKeyError::Locked("passphrase"))), "{wrong:?}");
    let weak = SecretBytes::new(b"short".to_vec());
    assert!(matches!(Passphrase::new(&weak, Arc::new(SeededEntropy::new(1))), Err(RootKeyError::WeakPassphrase)));

    // Whatever is changed in the file is told from a wrong passphrase.
    for (from, to) in
        [("\"lanes\": 1", "\"lanes\": 2"), ("\"version\": 1", "\"version\": 2"), ("\"sealed\": \"", "\"sealed\": \"A")]
    {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let damaged = RootKey::load(sealed(&path, "correct horse"), false, &entropy).await;
        assert!(matches!(damaged, Err(RootKeyError::DamagedFile(_))), "{from}: {damaged:?}");
    }
}

/// The file's form: what was written by this version is read by every later one.
#[tokio::test]
async fn the_sealed_file_keeps_its_form() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kms/root.key.sealed");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key.sealed");
    let custody = sealed(&path, "a golden passphrase");
    if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
        custody.keep(&RootKeys(vec![Secret::new([7; 32]), Secret::new([8; 32])])).await.unwrap();
        std::fs::copy(&path, &golden).unwrap();
    }
    std::fs::copy(&golden, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let keys = custody.load().await.unwrap().unwrap().0;
    assert_eq!(keys.iter().map(|key| key.expose()[0]).collect::<Vec<_>>(), [7, 8]);
}

impl RootKey {
    fn current_text(&self) -> String {
        RootKeys(vec![self.current().key.duplicate()]).to_text().to_string()
    }
}
