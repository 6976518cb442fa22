//! Imported material: from the wrapping key to its expiry, and what is refused on the way.

use super::*;
use crate::crypto::pair::oaep::{OaepHash, testing};
use crate::crypto::pair::{Curve, PairKind, RsaSize};
use crate::kms::spec::{MacAlgorithm, SigningAlgorithm};
use crate::kms::{KeySpec, Knowledge as _};

const DIRECT: Wrapping = Wrapping { size: RsaSize::Bits2048, hash: OaepHash::Sha256, by_aes: false };
const BY_AES: Wrapping = Wrapping { by_aes: true, ..DIRECT };

async fn external(kms: &LocalKms, spec: KeySpec, usage: KeyUsage) -> KeyRef {
    let new = NewKey { spec, usage, external: true, ..NewKey::default() };
    let key = kms.create_key(&direct(OWNER), new).await.unwrap();
    assert_eq!(key.state, KeyState::PendingImport);
    KeyRef::from(&key.arn)
}

/// What a client sends to import `plain`.
async fn wrapped(kms: &LocalKms, name: &KeyRef, wrapping: Wrapping, plain: &[u8]) -> Import {
    let parameters = kms.import_parameters(&direct(OWNER), name, wrapping).await.unwrap();
    let wrap = if wrapping.by_aes { testing::wrap_to } else { testing::encrypt_to };
    Import { token: parameters.token, wrapped: wrap(&parameters.public, wrapping.hash, plain), ..Import::default() }
}

async fn import(kms: &LocalKms, name: &KeyRef, plain: &[u8], is_new: Option<bool>) -> Result<String, KmsError> {
    let import = Import { is_new, ..wrapped(kms, name, DIRECT, plain).await };
    kms.import(&direct(OWNER), name, import).await.map(|(_, id)| id)
}

fn state(kms: &LocalKms, name: &KeyRef) -> KeyState {
    kms.metadata(&direct(OWNER), name, DESCRIBE).unwrap().state
}

#[tokio::test]
async fn material_comes_goes_and_comes_back() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = external(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let error = kms.encrypt(&caller, &name, b"p", &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidState);
    assert!(error.message.ends_with(" is pending import."), "{error}");
    let id = import(kms, &name, &[7; 32], None).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::Enabled);
    let blob = kms.encrypt(&caller, &name, b"secret", &context()).await.unwrap().blob;
    let again = import(kms, &name, &[7; 32], None).await.unwrap();
    assert_eq!(again, id, "the same material has the same id");

    let (_, deleted) = kms.delete_imported(&caller, &name, None).await.unwrap();
    assert_eq!(deleted, Some(id.clone()));
    for kms in [kms, &fixture.reopened().await] {
        assert_eq!(state(kms, &name), KeyState::PendingImport);
        let error = kms.decrypt(&caller, &blob, None, &context()).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::InvalidState);
    }
    let other = import(kms, &name, &[8; 32], None).await.unwrap_err();
    assert_eq!(other.kind, KmsErrorKind::IncorrectKeyMaterial);
    assert_eq!(import(kms, &name, &[7; 32], None).await.unwrap(), id);
    let reopened = fixture.reopened().await;
    assert_eq!(reopened.decrypt(&caller, &blob, None, &context()).await.unwrap().plaintext.expose(), b"secret");
}

/// The id is what lets material be known again after it is gone: derived as another library derives it.
#[tokio::test]
async fn the_ids_of_materials_do_not_change() {
    let fixture = Fixture::new().await;
    let name = external(&fixture.kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let arn = fixture.kms.metadata(&direct(OWNER), &name, DESCRIBE).unwrap().arn;
    let key = uuid::Uuid::parse_str(arn.id()).unwrap();
    let salt = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, key.as_bytes());
    let mut expected = [0; 32];
    let derived = salt.extract(&[7; 32]);
    let derived = derived.expand(&[b"strongroom/kms/material-id"], ring::hkdf::HKDF_SHA256).unwrap();
    derived.fill(&mut expected).unwrap();
    assert_eq!(import(&fixture.kms, &name, &[7; 32], None).await.unwrap(), hex::encode(expected));
}

#[tokio::test]
async fn material_expires() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = external(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let end = |seconds: i64| Some(from_millis(fixture.clock.now().as_millisecond() + seconds * 1000));
    for wrong in [end(0), end(-1), end(366 * DAY)] {
        let import = Import { valid_to: wrong, ..wrapped(kms, &name, DIRECT, &[7; 32]).await };
        assert_eq!(kms.import(&caller, &name, import).await.unwrap_err().kind, KmsErrorKind::Validation);
    }
    let import = Import { valid_to: end(100), ..wrapped(kms, &name, DIRECT, &[7; 32]).await };
    kms.import(&caller, &name, import).await.unwrap();
    assert_eq!(kms.metadata(&caller, &name, DESCRIBE).unwrap().import, Some(end(100)));
    let blob = kms.encrypt(&caller, &name, b"secret", &context()).await.unwrap().blob;
    fixture.clock.advance(99);
    assert_eq!(kms.tend().await.unwrap(), Tended::default());
    let generation = kms.generation_of(&KeyRef::aws_s3());
    fixture.clock.advance(1);
    assert_ne!(kms.generation_of(&KeyRef::aws_s3()), generation, "caches of unwrapped keys must learn of it");
    let error = kms.decrypt(&caller, &blob, None, &context()).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidState, "expiry needs no tick");
    assert_eq!(kms.tend().await.unwrap().expired.len(), 1);
    assert_eq!(kms.tend().await.unwrap(), Tended::default());
    let id = kms.metadata(&caller, &name, DESCRIBE).unwrap().arn;
    let stored = fixture.store.get(Partition::KMS, &records::key_key(id.id())).await.unwrap().unwrap();
    let record: KeyRecord = records::from_value(&stored).unwrap();
    assert!(record.materials[0].sealed.is_empty(), "the sealed bytes are gone too");
    self::import(kms, &name, &[7; 32], None).await.unwrap();
    assert_eq!(kms.decrypt(&caller, &blob, None, &context()).await.unwrap().plaintext.expose(), b"secret");
}

#[tokio::test]
async fn a_key_is_enabled_when_its_material_is_back() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = external(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    import(kms, &name, &[7; 32], None).await.unwrap();
    kms.set_enabled(&caller, &name, false).await.unwrap();
    import(kms, &name, &[7; 32], None).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::Disabled, "it did not lack any");
    kms.delete_imported(&caller, &name, None).await.unwrap();
    import(kms, &name, &[7; 32], None).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::Enabled);

    kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    kms.delete_imported(&caller, &name, None).await.unwrap();
    assert_eq!(kms.cancel_deletion(&caller, &name).await.unwrap().state, KeyState::PendingImport);
    import(kms, &name, &[7; 32], None).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::Enabled);
}

/// "The earliest time at which any imported key material permanently associated with this KMS key expires." (KeyMetadata)
#[tokio::test]
async fn the_first_end_of_any_material_is_told() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = external(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let end = |seconds: i64| Some(from_millis(fixture.clock.now().as_millisecond() + seconds * 1000));
    let told = || kms.metadata(&caller, &name, DESCRIBE).unwrap().import;
    let first = Import { valid_to: end(100), ..wrapped(kms, &name, DIRECT, &[7; 32]).await };
    kms.import(&caller, &name, first).await.unwrap();
    let next = wrapped(kms, &name, DIRECT, &[8; 32]).await;
    let next = Import { valid_to: end(50), is_new: Some(true), ..next };
    kms.import(&caller, &name, next).await.unwrap();
    assert_eq!(told(), Some(end(100)), "what waits for its rotation is not the key's yet");
    kms.rotate_on_demand(&caller, &name).await.unwrap();
    assert_eq!(told(), Some(end(50)));
    let again = Import { is_new: Some(false), ..wrapped(kms, &name, DIRECT, &[8; 32]).await };
    kms.import(&caller, &name, again).await.unwrap();
    assert_eq!(told(), Some(end(100)), "the first one still expires");
}

#[tokio::test]
async fn new_material_waits_for_its_rotation() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = external(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let changes = [kms.enable_rotation(&caller, &name, 90).await, kms.disable_rotation(&caller, &name).await];
    for error in changes.map(Result::unwrap_err) {
        assert_eq!(error.kind, KmsErrorKind::UnsupportedOperation, "also while its material is pending");
    }
    assert_eq!(kms.rotate_on_demand(&caller, &name).await.unwrap_err().kind, KmsErrorKind::InvalidState);
    let first = import(kms, &name, &[7; 32], Some(true)).await.unwrap();
    let old = kms.encrypt(&caller, &name, b"old", &context()).await.unwrap();
    let error = kms.rotate_on_demand(&caller, &name).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::InvalidState);
    assert!(error.message.starts_with("No available key material pending rotation for the key: "), "{error}");
    let error = kms.enable_rotation(&caller, &name, 90).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::UnsupportedOperation);
    assert!(error.message.ends_with("origin is EXTERNAL which is not valid for this operation."), "{error}");

    let error = import(kms, &name, &[7; 32], Some(true)).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::IncorrectKeyMaterial, "it is not new");
    let second = import(kms, &name, &[8; 32], Some(true)).await.unwrap();
    let error = import(kms, &name, &[9; 32], Some(true)).await.unwrap_err();
    let told = format!(", because another key material (id: {second}) is pending rotation.");
    assert_eq!(error.kind, KmsErrorKind::InvalidState);
    assert!(error.message.starts_with("New key material (id: ") && error.message.ends_with(&told), "{error}");
    let before = kms.encrypt(&caller, &name, b"p", &context()).await.unwrap();
    assert_eq!(before.material_id, Some(first.clone()));
    kms.rotate_on_demand(&caller, &name).await.unwrap();
    let after = kms.encrypt(&caller, &name, b"p", &context()).await.unwrap();
    assert_eq!(after.material_id, Some(second.clone()));
    assert_eq!(kms.decrypt(&caller, &old.blob, None, &context()).await.unwrap().plaintext.expose(), b"old");

    kms.delete_imported(&caller, &name, Some(&first)).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::PendingImport, "each material that was used is needed");
    let listed = kms.materials(&caller, &name).unwrap();
    let present: Vec<bool> = listed.iter().map(|material| material.import.as_ref().unwrap().present).collect();
    assert_eq!(present, [false, true]);
    import(kms, &name, &[7; 32], None).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::Enabled);
    let third = import(kms, &name, &[9; 32], Some(true)).await.unwrap();
    kms.delete_imported(&caller, &name, Some(&third)).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::Enabled, "what waits is not needed");
    let error = kms.delete_imported(&caller, &name, Some(&third)).await.unwrap_err();
    assert_eq!(error.kind, KmsErrorKind::NotFound);
}

#[tokio::test]
async fn every_kind_of_material_can_be_imported() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = external(kms, KeySpec::Hmac384, KeyUsage::GenerateVerifyMac).await;
    import(kms, &name, &[7; 48], None).await.unwrap();
    let (_, tag) = kms.generate_mac(&caller, &name, MacAlgorithm::HmacSha384, b"message").unwrap();
    let key = crate::crypto::mac::MacKey::new(crate::crypto::mac::MacHash::Sha384, &[7; 48]).unwrap();
    assert_eq!(tag, key.tag(b"message"));
    for (spec, kind) in
        [(KeySpec::Rsa2048, PairKind::Rsa(RsaSize::Bits2048)), (KeySpec::EccSecgP256K1, PairKind::Ec(Curve::K256))]
    {
        let name = external(kms, spec, KeyUsage::SignVerify).await;
        let private = kind.generate().unwrap();
        let import = wrapped(kms, &name, BY_AES, private.expose()).await;
        kms.import(&caller, &name, import.clone()).await.unwrap();
        kms.import(&caller, &name, import).await.unwrap();
        let algorithm = spec.signing_algorithms()[0];
        let signed = kms.sign(&caller, &name, algorithm, Signable::Raw(b"message".to_vec())).await.unwrap().1;
        let purpose = crate::crypto::pair::Purpose::Sign;
        let pair = crate::crypto::pair::KeyPair::open(kind, purpose, private.expose()).unwrap();
        let message = crate::crypto::pair::Message::Raw(b"message");
        assert_eq!(pair.verify(algorithm.scheme(), message, &signed), Ok(()));
        let other = wrapped(kms, &name, BY_AES, kind.generate().unwrap().expose()).await;
        let error = kms.import(&caller, &name, other).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::IncorrectKeyMaterial, "a pair is never replaced");
        kms.delete_imported(&caller, &name, None).await.unwrap();
        let error = kms.sign(&caller, &name, SigningAlgorithm::EcdsaSha256, Signable::Raw(vec![1])).await.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::InvalidState);
    }
}

#[tokio::test]
async fn wrong_imports_are_refused() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = external(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let other = external(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let own = KeyRef::from(&fixture.key().await);
    let refused = async |name: &KeyRef, import: Import| kms.import(&caller, name, import).await.unwrap_err().kind;

    let good = wrapped(kms, &name, DIRECT, &[7; 32]).await;
    assert_eq!(refused(&own, good.clone()).await, KmsErrorKind::UnsupportedOperation);
    assert_eq!(refused(&other, good.clone()).await, KmsErrorKind::InvalidImportToken);
    let mut token = good.token.clone();
    token[40] ^= 1;
    assert_eq!(refused(&name, Import { token, ..good.clone() }).await, KmsErrorKind::InvalidImportToken);
    let garbled = Import { wrapped: vec![1; 256], ..good.clone() };
    assert_eq!(refused(&name, garbled).await, KmsErrorKind::InvalidCiphertext);
    let named = Import { id: Some("0".repeat(64)), ..good.clone() };
    assert_eq!(refused(&name, named).await, KmsErrorKind::IncorrectKeyMaterial);
    let existing = Import { is_new: Some(false), ..good.clone() };
    assert_eq!(refused(&name, existing).await, KmsErrorKind::IncorrectKeyMaterial);
    let short = wrapped(kms, &name, DIRECT, &[7; 31]).await;
    assert_eq!(refused(&name, short).await, KmsErrorKind::IncorrectKeyMaterial);
    for operation in [
        kms.import_parameters(&caller, &own, DIRECT).await.map(drop),
        kms.delete_imported(&caller, &own, None).await.map(drop),
    ] {
        let error = operation.unwrap_err();
        assert_eq!(error.kind, KmsErrorKind::UnsupportedOperation);
        assert!(error.message.ends_with("origin is AWS_KMS which is not valid for this operation."), "{error}");
    }
    fixture.clock.advance(DAY);
    assert_eq!(refused(&name, good).await, KmsErrorKind::ExpiredImportToken);
    kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    let pending = kms.import_parameters(&caller, &name, DIRECT).await.unwrap_err();
    assert_eq!(pending.kind, KmsErrorKind::InvalidState);
    assert_eq!(state(kms, &name), KeyState::PendingDeletion);
    kms.cancel_deletion(&caller, &name).await.unwrap();
    assert_eq!(state(kms, &name), KeyState::PendingImport);
    for toggle in [true, false] {
        let error = kms.set_enabled(&caller, &name, toggle).await.unwrap_err();
        assert!(error.message.ends_with(" is pending import."), "{error}");
    }
}
