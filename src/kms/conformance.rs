//! What every key service must do, as one suite over `&dyn Kms`: the texts are AWS's own (API reference, "Errors" of each
//! operation), for S3 shows them to its clients.

use async_trait::async_trait;

use super::error::KmsErrorKind;
use super::{Caller, EncryptionContext, KeyArn, KeyRef, Kms, KmsError};

/// What a backend supplies for the suite: itself, and the changes that the trait has no methods for.
#[async_trait]
pub(super) trait Subject: Sync {
    /// The backend.
    fn kms(&self) -> &dyn Kms;
    /// Somebody who may use the keys made here.
    fn caller(&self) -> Caller;
    /// A fresh, enabled key.
    async fn make_key(&self) -> KeyArn;
    /// Gives `key` an alias; whether there are any.
    async fn set_alias(&self, alias: &str, key: &KeyArn) -> bool;
    /// Enables or disables `key`.
    async fn set_enabled(&self, key: &KeyArn, enabled: bool);

    /// What `key` is called without more.
    fn id_of(&self, key: &KeyArn) -> String {
        key.id().to_owned()
    }

    /// An alias that nobody has.
    fn fresh_alias(&self) -> String {
        "alias/team/red".to_owned()
    }

    /// What is told of a key that is disabled; `None` if none can be.
    fn disabled(&self, key: &KeyArn) -> Option<(KmsErrorKind, String)> {
        Some((KmsErrorKind::Disabled, format!("{key} is disabled.")))
    }

    /// Whether a wrong key that is named beside a blob is told apart as AWS does.
    fn checks_named_keys(&self) -> bool {
        true
    }

    /// Whether `blob` has the form of one whose key is not there: the key is all that can be told of it then, and it is told as a
    /// key that there is and that may not be used.
    fn names_no_key(&self, _blob: &[u8]) -> bool {
        false
    }

    /// Names that mean nothing, and what is told of them. `key` is one that exists.
    fn unknown_names(&self, key: &KeyArn) -> Vec<(String, String)> {
        let unknown_arn = key.as_str().replace(key.id(), UNKNOWN);
        let elsewhere = |arn: &str| arn.replace(key.region(), "xx-test-9");
        let alias_arn = key.as_str().replace(&format!("key/{}", key.id()), "alias/missing");
        let dashless = key.id().replace('-', "");
        vec![
            ("fake-key-id".to_owned(), "Invalid keyId 'fake-key-id'".to_owned()),
            (dashless.clone(), format!("Invalid keyId '{dashless}'")),
            (UNKNOWN.to_owned(), format!("Key '{unknown_arn}' does not exist")),
            (unknown_arn.clone(), format!("Key '{unknown_arn}' does not exist")),
            ("alias/missing".to_owned(), format!("Alias {alias_arn} is not found.")),
            (alias_arn.clone(), format!("Alias {alias_arn} is not found.")),
            (elsewhere(key.as_str()), "Invalid arn xx-test-9".to_owned()),
            (elsewhere(&alias_arn), "Invalid arn xx-test-9".to_owned()),
        ]
    }
}

/// The id of no key.
pub(super) const UNKNOWN: &str = "12345678-1234-4234-8234-123456789012";

/// A test for each rule, on a fresh subject each. There may be none: a peer that is not installed.
macro_rules! suite {
    ($subject:expr) => {
        $crate::kms::conformance::suite!(@ $subject;
            data_keys_come_back contexts_are_bound changed_blobs_do_not_open foreign_blobs_do_not_open
            every_name_of_a_key_works unknown_names_are_told_as_aws_tells_them another_key_does_not_decrypt
            disabling_bites_at_once blobs_move_between_keys_and_contexts plaintexts_have_a_bound keys_are_described
        );
    };
    (@ $subject:expr; $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                if let Some(subject) = $subject.await {
                    $crate::kms::conformance::$name(&subject).await;
                }
            }
        )*
    };
}
pub(super) use suite;

pub(super) async fn data_keys_come_back(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    let first = kms.generate_data_key(&caller, &KeyRef::from(&key), &context()).await.unwrap();
    let second = kms.generate_data_key(&caller, &KeyRef::from(&key), &context()).await.unwrap();
    assert_ne!(first.key.expose().expose(), second.key.expose().expose());
    assert_ne!(first.wrapped.blob, second.wrapped.blob);
    for generated in [first, second] {
        assert_eq!(generated.wrapped.key_arn, key);
        assert!(generated.wrapped.blob.len() <= 6144);
        assert!(!contains(&generated.wrapped.blob, generated.key.expose().expose()));
        let opened = kms.decrypt(&caller, &generated.wrapped.blob, None, &context()).await.unwrap();
        assert_eq!(opened.plaintext.expose(), generated.key.expose().expose());
        assert_eq!((opened.key_arn, opened.material_id), (key.clone(), generated.wrapped.material_id));
    }
}

pub(super) async fn contexts_are_bound(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    let wrapped = kms.generate_data_key(&caller, &KeyRef::from(&key), &context()).await.unwrap().wrapped;
    let others = [
        EncryptionContext::new(),
        EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::bucket/key"),
        context().with("team", "Red"),
        context().with("extra", "pair"),
        EncryptionContext::new().with("AWS:S3:ARN", "arn:aws:s3:::bucket/key").with("team", "red"),
        EncryptionContext::new().with("team", "arn:aws:s3:::bucket/key").with("aws:s3:arn", "red"),
    ];
    for other in others {
        refuses_ciphertext(kms.decrypt(&caller, &wrapped.blob, None, &other).await, &format!("{other:?}"));
    }
    let none = EncryptionContext::new();
    let bare = kms.encrypt(&caller, &KeyRef::from(&key), b"secret", &none).await.unwrap();
    refuses_ciphertext(kms.decrypt(&caller, &bare.blob, None, &context()).await, "a context where there was none");
    assert_eq!(kms.decrypt(&caller, &bare.blob, None, &none).await.unwrap().plaintext.expose(), b"secret");
}

pub(super) async fn changed_blobs_do_not_open(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    let blob = kms.generate_data_key(&caller, &KeyRef::from(&key), &context()).await.unwrap().wrapped.blob;
    for at in 0..blob.len() {
        let mut changed = blob.clone();
        changed[at] ^= 1;
        let decrypted = kms.decrypt(&caller, &changed, None, &context()).await;
        refuses_foreign(subject, (&changed[..], false), decrypted, &format!("byte {at} flipped"));
        let cut = kms.decrypt(&caller, &blob[..at], None, &context()).await;
        refuses_ciphertext(cut, &format!("cut to {at} bytes"));
    }
    let longer = [&blob[..], &[0]].concat();
    refuses_ciphertext(kms.decrypt(&caller, &longer, None, &context()).await, "a byte added");
    kms.decrypt(&caller, &blob, None, &context()).await.unwrap();
}

pub(super) async fn foreign_blobs_do_not_open(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    for foreign in [&b""[..], b"not a blob", &[0; 200], &[1; 200], &[0xff; 6144], &[1; 10_000]] {
        let named = KeyRef::from(&key);
        let decrypted = kms.decrypt(&caller, foreign, None, &context()).await;
        refuses_foreign(subject, (foreign, false), decrypted, "a foreign blob");
        let decrypted = kms.decrypt(&caller, foreign, Some(&named), &context()).await;
        if subject.checks_named_keys() {
            refuses_foreign(subject, (foreign, true), decrypted, "a foreign blob, key named");
        } else {
            decrypted.unwrap_err();
        }
        let moved = kms.re_encrypt(&caller, foreign, (None, &context()), (&named, &context())).await;
        refuses_foreign(subject, (foreign, false), moved, "a foreign blob, re-encrypted");
    }
}

pub(super) async fn every_name_of_a_key_works(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    let mut names = vec![subject.id_of(&key), key.to_string()];
    let alias = subject.fresh_alias();
    if subject.set_alias(&alias, &key).await {
        names.extend([key.as_str().replace(&format!("key/{}", key.id()), &alias), alias]);
    }
    for name in names {
        let name = KeyRef::parse(&name);
        let generated = kms.generate_data_key(&caller, &name, &context()).await.unwrap();
        assert_eq!(generated.wrapped.key_arn, key, "{name:?}");
        let opened = kms.decrypt(&caller, &generated.wrapped.blob, Some(&name), &context()).await.unwrap();
        assert_eq!(opened.plaintext.expose(), generated.key.expose().expose(), "{name:?}");
        assert_eq!(kms.encrypt(&caller, &name, b"p", &context()).await.unwrap().key_arn, key, "{name:?}");
        assert_eq!(kms.describe(&caller, &name).await.unwrap().arn, key, "{name:?}");
    }
}

pub(super) async fn unknown_names_are_told_as_aws_tells_them(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    let blob = kms.encrypt(&caller, &KeyRef::from(&key), b"secret", &context()).await.unwrap().blob;
    for (name, message) in subject.unknown_names(&key) {
        let named = KeyRef::parse(&name);
        let told = |error: KmsError| assert_eq!((error.kind, &error.message), (KmsErrorKind::NotFound, &message));
        told(kms.generate_data_key(&caller, &named, &context()).await.unwrap_err());
        told(kms.encrypt(&caller, &named, b"p", &context()).await.unwrap_err());
        told(kms.decrypt(&caller, &blob, Some(&named), &context()).await.unwrap_err());
        told(kms.re_encrypt(&caller, &blob, (None, &context()), (&named, &context())).await.unwrap_err());
        told(kms.describe(&caller, &named).await.unwrap_err());
    }
}

pub(super) async fn another_key_does_not_decrypt(subject: &impl Subject) {
    let (kms, caller) = (subject.kms(), subject.caller());
    let (one, other) = (subject.make_key().await, subject.make_key().await);
    let blob = kms.encrypt(&caller, &KeyRef::from(&one), b"secret", &context()).await.unwrap().blob;
    let other = KeyRef::from(&other);
    let decrypted = kms.decrypt(&caller, &blob, Some(&other), &context()).await.map(drop);
    if !subject.checks_named_keys() {
        assert!(decrypted.is_err());
        return;
    }
    let moved = kms.re_encrypt(&caller, &blob, (Some(&other), &context()), (&other, &context())).await.map(drop);
    for refused in [decrypted, moved] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::IncorrectKey);
        assert_eq!(error.message, "The key ID in the request does not identify a CMK that can perform this operation.");
    }
}

pub(super) async fn disabling_bites_at_once(subject: &impl Subject) {
    let (kms, caller) = (subject.kms(), subject.caller());
    let (key, healthy) = (subject.make_key().await, subject.make_key().await);
    let Some(disabled) = subject.disabled(&key) else { return };
    let (name, healthy) = (KeyRef::from(&key), KeyRef::from(&healthy));
    let blob = kms.encrypt(&caller, &name, b"secret", &context()).await.unwrap().blob;
    let kept = kms.encrypt(&caller, &healthy, b"kept", &context()).await.unwrap().blob;
    subject.set_enabled(&key, false).await;
    let told = |error: KmsError| assert_eq!((error.kind, error.message), disabled.clone());
    told(kms.generate_data_key(&caller, &name, &context()).await.unwrap_err());
    told(kms.encrypt(&caller, &name, b"p", &context()).await.unwrap_err());
    told(kms.decrypt(&caller, &blob, None, &context()).await.unwrap_err());
    told(kms.re_encrypt(&caller, &blob, (None, &context()), (&healthy, &context())).await.unwrap_err());
    told(kms.re_encrypt(&caller, &kept, (None, &context()), (&name, &context())).await.unwrap_err());
    assert!(!kms.describe(&caller, &name).await.unwrap().enabled);
    kms.generate_data_key(&caller, &healthy, &context()).await.unwrap();
    subject.set_enabled(&key, true).await;
    assert_eq!(kms.decrypt(&caller, &blob, None, &context()).await.unwrap().plaintext.expose(), b"secret");
    kms.generate_data_key(&caller, &name, &context()).await.unwrap();
}

pub(super) async fn blobs_move_between_keys_and_contexts(subject: &impl Subject) {
    let (kms, caller) = (subject.kms(), subject.caller());
    let (one, other) = (subject.make_key().await, subject.make_key().await);
    let elsewhere = EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::bucket/copy");
    let generated = kms.generate_data_key(&caller, &KeyRef::from(&one), &context()).await.unwrap();
    let blob = generated.wrapped.blob;
    let plaintext = generated.key.expose().expose();
    for (from, to) in [(None, &one), (Some(KeyRef::from(&one)), &other)] {
        let target = KeyRef::from(to);
        let moved = kms.re_encrypt(&caller, &blob, (from.as_ref(), &context()), (&target, &elsewhere)).await.unwrap();
        assert_eq!(moved.key_arn, *to);
        let opened = kms.decrypt(&caller, &moved.blob, Some(&target), &elsewhere).await.unwrap();
        assert_eq!(opened.plaintext.expose(), plaintext);
        refuses_ciphertext(kms.decrypt(&caller, &moved.blob, None, &context()).await, "the old context");
    }
    let wrong = kms.re_encrypt(&caller, &blob, (None, &elsewhere), (&KeyRef::from(&other), &elsewhere)).await;
    refuses_ciphertext(wrong, "re-encrypting from a wrong context");
    kms.decrypt(&caller, &blob, None, &context()).await.unwrap();
}

pub(super) async fn plaintexts_have_a_bound(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    let name = KeyRef::from(&key);
    let most = kms.encrypt(&caller, &name, &[7; 4096], &context()).await.unwrap();
    assert!(most.blob.len() <= 6144);
    assert_eq!(kms.decrypt(&caller, &most.blob, None, &context()).await.unwrap().plaintext.expose(), [7; 4096]);
    let error = kms.encrypt(&caller, &name, &[7; 4097], &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::Validation);
    assert_eq!(
        error.message,
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less \
         than or equal to 4096"
    );
}

pub(super) async fn keys_are_described(subject: &impl Subject) {
    let (kms, caller, key) = (subject.kms(), subject.caller(), subject.make_key().await);
    let described = kms.describe(&caller, &KeyRef::from(&key)).await.unwrap();
    assert_eq!((described.arn, described.enabled, described.aws_managed), (key.clone(), true, false));
    if subject.disabled(&key).is_some() {
        subject.set_enabled(&key, false).await;
        assert!(!kms.describe(&caller, &KeyRef::from(&key)).await.unwrap().enabled);
    }
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::bucket/key").with("team", "red")
}

/// AWS tells nobody why a blob does not open.
fn refuses_ciphertext<T: std::fmt::Debug>(result: Result<T, KmsError>, case: &str) {
    let error = result.expect_err(case);
    assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::InvalidCiphertext, ""), "{case}");
}

/// The same of a blob that is not the key's, and whether a key that there is was named beside it.
fn refuses_foreign<T: std::fmt::Debug>(
    subject: &impl Subject,
    (blob, is_named): (&[u8], bool),
    result: Result<T, KmsError>,
    case: &str,
) {
    if !subject.names_no_key(blob) {
        refuses_ciphertext(result, case);
        return;
    }
    let error = result.expect_err(case);
    let (kind, told) = if is_named {
        (
            KmsErrorKind::IncorrectKey,
            "The key ID in the request does not identify a CMK that can perform this operation.",
        )
    } else {
        (
            KmsErrorKind::AccessDenied,
            "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are \
             not allowed to access.",
        )
    };
    assert_eq!((error.kind, error.message.as_str()), (kind, told), "{case}");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
