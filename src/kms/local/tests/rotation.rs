//! Rotation by the calendar and on demand, and what else is changed and noted over a key's life.

use super::*;
use crate::kms::KeySpec;

fn states(kms: &LocalKms, name: &KeyRef) -> Vec<(MaterialState, Option<bool>)> {
    let materials = kms.materials(&direct(OWNER), name).unwrap();
    materials.iter().map(|material| (material.state, material.rotated.map(|(_, on_demand)| on_demand))).collect()
}

async fn current(kms: &LocalKms, name: &KeyRef) -> Option<String> {
    kms.encrypt(&direct(OWNER), name, b"p", &context()).await.unwrap().material_id
}

#[tokio::test]
async fn the_calendar_rotates_and_old_material_decrypts_for_ever() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    assert!(kms.rotation_status(&caller, &name).unwrap().schedule.is_none());
    kms.enable_rotation(&caller, &name, 90).await.unwrap();
    let (period, next) = kms.rotation_status(&caller, &name).unwrap().schedule.unwrap();
    assert_eq!((period, next.as_millisecond()), (90, fixture.clock.now().as_millisecond() + 90 * DAY * 1000));
    let mut blobs = vec![kms.encrypt(&caller, &name, b"0", &context()).await.unwrap().blob];
    let mut materials = vec![current(kms, &name).await];
    for round in 1..4_u8 {
        fixture.clock.advance(90 * DAY - 1);
        assert_eq!(kms.tend().await.unwrap(), Tended::default());
        fixture.clock.advance(1);
        assert_eq!(kms.tend().await.unwrap().rotated.len(), 1);
        assert_eq!(kms.tend().await.unwrap(), Tended::default(), "once");
        let made = current(kms, &name).await;
        assert!(!materials.contains(&made));
        materials.push(made);
        blobs.push(kms.encrypt(&caller, &name, &[round], &context()).await.unwrap().blob);
    }
    for kms in [kms, &fixture.reopened().await] {
        for (blob, material) in blobs.iter().zip(&materials) {
            let opened = kms.decrypt(&caller, blob, None, &context()).await.unwrap();
            assert_eq!(&opened.material_id, material);
        }
        assert_eq!(current(kms, &name).await, materials[3]);
        let mut expected = vec![(MaterialState::NonCurrent, None)];
        expected.extend([(MaterialState::NonCurrent, Some(false)); 2]);
        expected.push((MaterialState::Current, Some(false)));
        assert_eq!(states(kms, &name), expected);
    }
    kms.disable_rotation(&caller, &name).await.unwrap();
    fixture.clock.advance(1000 * DAY);
    assert_eq!(kms.tend().await.unwrap(), Tended::default());
}

#[tokio::test]
async fn a_disabled_key_rotates_when_it_is_enabled_again() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    kms.enable_rotation(&caller, &name, 90).await.unwrap();
    kms.set_enabled(&caller, &name, false).await.unwrap();
    fixture.clock.advance(300 * DAY);
    assert_eq!(kms.tend().await.unwrap(), Tended::default());
    for refused in [
        kms.enable_rotation(&caller, &name, 90).await,
        kms.disable_rotation(&caller, &name).await,
        kms.rotate_on_demand(&caller, &name).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind, KmsErrorKind::Disabled);
    }
    kms.set_enabled(&caller, &name, true).await.unwrap();
    assert_eq!(kms.tend().await.unwrap().rotated.len(), 1);
    let (_, next) = kms.rotation_status(&caller, &name).unwrap().schedule.unwrap();
    assert_eq!(next.as_millisecond(), fixture.clock.now().as_millisecond() + 90 * DAY * 1000);
}

#[tokio::test]
async fn on_demand_has_its_limit_and_leaves_the_calendar_alone() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let arn = fixture.key().await;
    let name = KeyRef::from(&arn);
    kms.enable_rotation(&caller, &name, 365).await.unwrap();
    let next = kms.rotation_status(&caller, &name).unwrap().schedule;
    let blob = kms.encrypt(&caller, &name, b"old", &context()).await.unwrap().blob;
    let generation = kms.changes();
    for _ in 0..25 {
        kms.rotate_on_demand(&caller, &name).await.unwrap();
    }
    assert!(kms.changes() > generation);
    let error = kms.rotate_on_demand(&caller, &name).await.unwrap_err();
    let told = format!(
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
         performed for this key: {arn}"
    );
    assert_eq!((error.kind, error.message), (KmsErrorKind::LimitExceeded, told));
    assert_eq!(kms.rotation_status(&caller, &name).unwrap().schedule, next);
    assert_eq!(kms.decrypt(&caller, &blob, None, &context()).await.unwrap().plaintext.expose(), b"old");
    assert_eq!(states(kms, &name).iter().filter(|(_, on_demand)| *on_demand == Some(true)).count(), 25);
}

#[tokio::test]
async fn the_managed_key_rotates_every_year_by_itself() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let wrapped = kms.generate_data_key(&via_s3(OWNER), &KeyRef::aws_s3(), &context()).await.unwrap().wrapped;
    let name = KeyRef::from(&wrapped.key_arn);
    assert_eq!(kms.rotation_status(&caller, &name).unwrap().schedule.unwrap().0, 365);
    for refused in [
        kms.enable_rotation(&caller, &name, 90).await,
        kms.disable_rotation(&caller, &name).await,
        kms.rotate_on_demand(&caller, &name).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind, KmsErrorKind::AccessDenied);
    }
    for _ in 0..2 {
        fixture.clock.advance(365 * DAY);
        assert_eq!(kms.tend().await.unwrap().rotated, std::slice::from_ref(&wrapped.key_arn));
    }
    let again = kms.generate_data_key(&via_s3(OWNER), &KeyRef::aws_s3(), &context()).await.unwrap().wrapped;
    assert_ne!(again.material_id, wrapped.material_id);
    kms.decrypt(&via_s3(OWNER), &wrapped.blob, None, &context()).await.unwrap();
}

#[tokio::test]
async fn only_symmetric_keys_rotate() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let new = NewKey { spec: KeySpec::EccNistP256, usage: KeyUsage::SignVerify, ..NewKey::default() };
    let name = KeyRef::from(&kms.create_key(&caller, new).await.unwrap().arn);
    for refused in [
        kms.enable_rotation(&caller, &name, 90).await,
        kms.rotate_on_demand(&caller, &name).await.map(drop),
        kms.rotation_status(&caller, &name).map(drop),
        kms.materials(&caller, &name).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::UnsupportedOperation, ""));
    }
    kms.disable_rotation(&caller, &name).await.expect("it is off");
    kms.set_enabled(&caller, &name, false).await.unwrap();
    for refused in [
        kms.enable_rotation(&caller, &name, 90).await,
        kms.disable_rotation(&caller, &name).await,
        kms.rotate_on_demand(&caller, &name).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind, KmsErrorKind::Disabled, "the state is told first");
    }
}

#[tokio::test]
async fn tags_and_descriptions_change() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    kms.tag(&caller, &name, vec![tag("a", "1"), tag("b", "2")]).await.unwrap();
    kms.tag(&caller, &name, vec![tag("b", "3")]).await.unwrap();
    kms.untag(&caller, &name, &["a", "missing"]).await.unwrap();
    kms.set_description(&caller, &name, "new".to_owned()).await.unwrap();
    let many = (0..50).map(|n| tag(&n.to_string(), "")).collect();
    let error = kms.tag(&caller, &name, many).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (KmsErrorKind::Tag, "Too many tags"));
    for kms in [kms, &fixture.reopened().await] {
        let key = kms.metadata(&caller, &name, DESCRIBE).unwrap();
        assert_eq!((key.tags, key.description.as_str()), (vec![tag("b", "3")], "new"));
    }
    kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    for refused in [
        kms.tag(&caller, &name, vec![tag("c", "1")]).await,
        kms.untag(&caller, &name, &["b"]).await,
        kms.set_description(&caller, &name, String::new()).await,
        kms.rotate_on_demand(&caller, &name).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind, KmsErrorKind::InvalidState);
    }
}

#[tokio::test]
async fn last_uses_are_noted_and_written_down() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let arn = fixture.key().await;
    let name = KeyRef::from(&arn);
    assert!(kms.last_usage(&caller, &name).unwrap().last.is_none());
    let wrapped = kms.encrypt(&caller, &name, b"p", &context()).await.unwrap();
    fixture.clock.advance(5);
    kms.decrypt(&caller, &wrapped.blob, None, &EncryptionContext::new()).await.unwrap_err();
    let last = kms.last_usage(&caller, &name).unwrap().last.unwrap();
    let (operation, at) = (last.operation.as_str(), last.at.as_millisecond());
    assert_eq!((operation, at, last.request_id.as_str()), ("Encrypt", 1_700_000_000_000, "R"));
    assert_eq!(last.event_id, None);
    let audited = Caller { event_id: Some("E".to_owned()), ..caller.clone() };
    kms.decrypt(&audited, &wrapped.blob, None, &context()).await.unwrap();
    assert!(fixture.reopened().await.last_usage(&caller, &name).unwrap().last.is_none(), "not yet written");
    kms.tend().await.unwrap();
    let last = fixture.reopened().await.last_usage(&caller, &name).unwrap().last.unwrap();
    assert_eq!((last.operation.as_str(), last.at.as_millisecond()), ("Decrypt", 1_700_000_005_000));
    assert_eq!(last.event_id.as_deref(), Some("E"));
    kms.schedule_deletion(&caller, &name, 7).await.unwrap();
    fixture.clock.advance(7 * DAY);
    assert_eq!(kms.tend().await.unwrap().destroyed, [arn]);
    let left = fixture.store.scan(Partition::KMS, &KeyRange { start: vec![], end: vec![0xff] }, 100).await.unwrap();
    assert!(left.is_empty(), "nothing is left of a destroyed key");
}

#[tokio::test]
async fn a_failing_store_changes_no_key() {
    let fixture = Fixture::new().await;
    let (kms, caller) = (&fixture.kms, direct(OWNER));
    let name = KeyRef::from(&fixture.key().await);
    kms.enable_rotation(&caller, &name, 90).await.unwrap();
    kms.encrypt(&caller, &name, b"p", &context()).await.unwrap();
    fixture.clock.advance(90 * DAY);
    let state = || format!("{:?} {:?}", kms.metadata(&caller, &name, DESCRIBE).unwrap(), states(kms, &name));
    let before = state();
    fixture.store.set_full(true);
    let terms = GrantTerms {
        grantee: Grantee::Service("s3.amazonaws.com".to_owned()),
        retiring: None,
        operations: vec![crate::kms::spec::GrantOperation::Decrypt],
        constraints: GrantConstraints::default(),
        name: None,
    };
    for refused in [
        kms.rotate_on_demand(&caller, &name).await.map(drop),
        kms.tag(&caller, &name, vec![("a".to_owned(), "b".repeat(200))]).await,
        kms.create_grant(&caller, &name, terms, false).await.map(drop),
        kms.tend().await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind, KmsErrorKind::Unavailable);
    }
    assert_eq!(state(), before);
    assert!(kms.grants(&caller, &name).unwrap().is_empty());
    fixture.store.set_full(false);
    assert_eq!(kms.tend().await.unwrap().rotated.len(), 1, "what was due stays due");
    fixture.store.set_full(true);
    kms.disable_rotation(&caller, &name).await.expect("it makes nothing longer");
    fixture.store.set_full(false);
    let reopened = fixture.reopened().await;
    assert!(reopened.last_usage(&caller, &name).unwrap().last.is_some());
}
