//! Keys under another root key.

use super::*;
use crate::kms::root::custody::{Custody, PlainFile};
use crate::kms::root::rotation::Rotation;

#[tokio::test]
async fn keys_of_every_kind_outlive_their_root_key() {
    let dir = tempfile::tempdir().unwrap();
    let custody: Arc<dyn Custody> = Arc::new(PlainFile(dir.path().join("root.key")));
    let entropy = Arc::new(SystemEntropy::new());
    let store = Arc::new(MemoryStore::new(Arc::clone(&entropy) as _));
    let clock = Arc::new(ManualClock::new(from_millis(1_700_000_000_000)));
    let root = Arc::new(RootKey::load(Arc::clone(&custody), true, &*entropy).await.unwrap());
    let old = std::fs::read(dir.path().join("root.key")).unwrap();
    let kms = Arc::new(open(&store, &root, &clock).await.unwrap());
    let caller = direct(OWNER);
    let arn = kms.create_key(&caller, NewKey::default()).await.unwrap().arn;
    let name = KeyRef::from(&arn);
    let before = kms.encrypt(&caller, &name, b"before", &context()).await.unwrap().blob;
    kms.rotate_on_demand(&caller, &name).await.unwrap();
    let spec = crate::kms::KeySpec::Hmac256;
    let mac = NewKey { spec, usage: KeyUsage::GenerateVerifyMac, ..NewKey::default() };
    kms.create_key(&caller, mac).await.unwrap();
    let external = NewKey { external: true, ..NewKey::default() };
    kms.create_key(&caller, external).await.unwrap();

    let rotation = Rotation::new(root, vec![Arc::clone(&kms) as _], entropy);
    let report = rotation.rotate().await.unwrap();
    assert_eq!(report.resealed, [("KMS keys", 2)], "one has no material yet");
    let late = kms.create_key(&caller, NewKey::default()).await.unwrap().arn;

    let fresh = Arc::new(RootKey::parse(&std::fs::read(dir.path().join("root.key")).unwrap()).unwrap());
    let reopened = open(&store, &fresh, &clock).await.unwrap();
    for kms in [&*kms, &reopened] {
        let opened = kms.decrypt(&caller, &before, None, &context()).await.unwrap();
        assert_eq!(opened.plaintext.expose(), b"before");
        kms.encrypt(&caller, &KeyRef::from(&late), b"p", &context()).await.unwrap();
    }
    let old = Arc::new(RootKey::parse(&old).unwrap());
    assert!(matches!(open(&store, &old, &clock).await, Err(OpenError::Root(RootKeyError::WrongKey))));
}

#[tokio::test]
async fn damage_ends_a_rotation_and_names_the_key() {
    let fixture = Fixture::new().await;
    let arn = fixture.key().await;
    let texts = [2, 1].map(|byte| {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [byte; 32]);
        format!("{text} ")
    });
    let both = Arc::new(RootKey::parse(texts.concat().as_bytes()).unwrap());
    let kms = Arc::new(open(&fixture.store, &both, &fixture.clock).await.unwrap());
    {
        let mut ring = kms.ring_mut();
        let key = ring.keys.get(arn.id()).cloned().unwrap();
        let mut record = key.record.clone();
        record.materials[0].sealed[40] ^= 1;
        let damaged = Key {
            arn: key.arn.clone(),
            raw_id: key.raw_id,
            spec: key.spec,
            usage: key.usage,
            stored_state: key.stored_state,
            record,
            policy: key.policy.clone(),
            materials: Vec::new(),
        };
        ring.insert(damaged);
    }
    let rotation = Rotation::new(both, vec![kms as _], Arc::new(SystemEntropy::new()));
    let error = rotation.resume().await.unwrap_err().to_string();
    assert!(error.contains(arn.id()) && error.contains("damaged"), "{error}");
}
