//! Beginning and unlocking objects: what opens, and all that must not.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::kms::{OneKeyKms, caller};
use crate::clock::{ManualClock, from_millis};
use crate::crypto::random::SeededEntropy;
use crate::kms::error::KmsErrorKind;
use crate::kms::{KeyRef, KmsError};
use crate::sse::SseKind;
use crate::sse::customer::tests::customer_key;
use crate::sse::envelope::{Envelope, Protection};
use crate::sse::plan::Choice;
use crate::sse::{ClientContext, ObjectKey, ObjectName, Plan, Reprotection, ServerKey, Sse, SseError, SseRequest};

const OBJECT: ObjectName<'_> = ObjectName { bucket: "b", key: "k" };

pub(super) fn sse(kms_key: u8, seed: u64) -> Sse {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let kms = Arc::new(OneKeyKms::new(kms_key, entropy.clone()));
    Sse::new(kms, ServerKey::for_test([7; 32]), Arc::new(ManualClock::new(from_millis(0))), entropy)
}

pub(super) fn kms_plan(json: Option<&str>, bucket_key: bool) -> Plan {
    let context = json.map(|json| ClientContext::parse(&STANDARD.encode(json)).unwrap());
    Plan::decide(SseRequest::Kms { key: None, context, bucket_key: Some(bucket_key) }, None)
}

fn plans() -> [Plan; 5] {
    let s3 = Plan::decide(SseRequest::S3, None);
    let dsse = Plan::decide(SseRequest::Dsse { key: None, context: None }, None);
    [
        s3,
        dsse,
        kms_plan(None, false),
        kms_plan(Some(r#"{"team":"red"}"#), false),
        kms_plan(Some(r#"{"team":"red"}"#), true),
    ]
}

fn material_id(envelope: &Envelope) -> Option<&str> {
    match &envelope.protection {
        Protection::Kms(kms) => kms.wrapped.material_id.as_deref(),
        Protection::Dsse(dsse) => dsse.inner.material_id.as_deref(),
        Protection::S3 { .. } | Protection::Customer { .. } => None,
    }
}

fn secret(key: &ObjectKey) -> [u8; 32] {
    *key.secret().expose()
}

#[tokio::test]
async fn what_was_begun_unlocks_from_its_stored_envelope() {
    let sse = sse(1, 1);
    for plan in plans() {
        let (envelope, key) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
        let (_, another) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
        assert_ne!(secret(&key), secret(&another), "every object has a data key of its own");
        let stored = envelope.to_bytes();
        assert!(!stored.windows(8).any(|bytes| bytes == &secret(&key)[..8]), "the data key lies in clear");
        let envelope = Envelope::from_bytes(&stored).unwrap();
        assert_eq!(envelope.shows_md5(), plan.shows_md5());
        let unlocked = sse.unlock(&envelope, &caller(), OBJECT, None).await.unwrap();
        assert_eq!(secret(&unlocked), secret(&key));
    }
}

#[tokio::test]
async fn an_envelope_moved_to_another_object_stays_shut() {
    let sse = sse(1, 1);
    for plan in plans() {
        let (envelope, _) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
        for object in [ObjectName { bucket: "b", key: "other" }, ObjectName { bucket: "c", key: "k" }] {
            assert!(sse.unlock(&envelope, &caller(), object, None).await.is_err(), "{plan:?} at {object:?}");
        }
    }
}

#[tokio::test]
async fn another_kms_key_or_server_key_does_not_unlock() {
    let (ours, mut theirs) = (sse(1, 1), sse(2, 1));
    theirs.server_key = ServerKey::for_test([8; 32]);
    for plan in plans() {
        let (envelope, _) = ours.begin(&plan, &caller(), OBJECT).await.unwrap();
        assert!(theirs.unlock(&envelope, &caller(), OBJECT, None).await.is_err());
    }
}

#[tokio::test]
async fn an_altered_envelope_never_unlocks() {
    let sse = sse(1, 1);
    for plan in plans() {
        let (envelope, key) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
        let stored = envelope.to_bytes();
        for at in 0..stored.len() {
            let mut altered = stored.clone();
            altered[at] ^= 1;
            let Ok(altered) = Envelope::from_bytes(&altered) else {
                continue;
            };
            match sse.unlock(&altered, &caller(), OBJECT, None).await {
                Err(_) => {}
                // The material id is for show: the KMS's blob names its material by itself.
                Ok(unlocked) => {
                    assert_eq!(secret(&unlocked), secret(&key));
                    assert_eq!(altered.key_arn(), envelope.key_arn(), "byte {at}");
                    assert_eq!(altered.client_context(), envelope.client_context(), "byte {at}");
                    assert_ne!(material_id(&altered), material_id(&envelope), "byte {at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn another_client_context_does_not_unlock() {
    let sse = sse(1, 1);
    for bucket_key in [false, true] {
        let (envelope, _) =
            sse.begin(&kms_plan(Some(r#"{"team":"red"}"#), bucket_key), &caller(), OBJECT).await.unwrap();
        for other in [None, Some("{}"), Some(r#"{"team":"blue"}"#), Some(r#"{"Team":"red"}"#)] {
            let mut altered = envelope.clone();
            let Protection::Kms(kms) = &mut altered.protection else { panic!("not KMS") };
            kms.client_context = other.map(|json| ClientContext::parse(&STANDARD.encode(json)).unwrap());
            let result = sse.unlock(&altered, &caller(), OBJECT, None).await;
            assert!(matches!(result, Err(SseError::Kms(KmsError { kind: KmsErrorKind::InvalidCiphertext, .. }))));
        }
    }
}

#[tokio::test]
async fn a_data_key_is_wrapped_anew_for_another_plan_and_object() {
    let sse = sse(1, 1);
    let copy = ObjectName { bucket: "c", key: "copy" };
    let is_dsse = |plan: &Plan| matches!(plan.0, Choice::Dsse { .. });
    for from in plans() {
        let (_, key) = sse.begin(&from, &caller(), OBJECT).await.unwrap();
        for to in plans() {
            let envelope = sse.rewrap(&key, &to, &caller(), copy).await.unwrap();
            assert_eq!(envelope.is_none(), is_dsse(&from) || is_dsse(&to), "two layers have two keys of their own");
            let Some(envelope) = envelope else { continue };
            assert_eq!(envelope.shows_md5(), to.shows_md5());
            assert_eq!(
                secret(&sse.unlock(&envelope, &caller(), copy, None).await.unwrap()),
                secret(&key),
                "{from:?} {to:?}"
            );
            assert!(sse.unlock(&envelope, &caller(), OBJECT, None).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_changed_protection_keeps_the_data_key_and_the_clients_context() {
    let sse = sse(1, 1);
    for plan in plans() {
        let (envelope, key) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
        if envelope.kind() == SseKind::Dsse {
            let to = Reprotection { key: KeyRef::aws_s3(), bucket_key: false };
            let changed = sse.reprotect(&envelope, &caller(), OBJECT, &to).await.unwrap();
            assert_eq!(changed.client_context(), envelope.client_context());
            assert_ne!(changed, envelope);
            let unlocked = sse.unlock(&changed, &caller(), OBJECT, None).await.unwrap();
            assert_eq!(secret(&unlocked), secret(&key), "both layers keep their keys");
            continue;
        }
        for bucket_key in [false, true] {
            let to = Reprotection { key: KeyRef::aws_s3(), bucket_key };
            let changed = sse.reprotect(&envelope, &caller(), OBJECT, &to).await.unwrap();
            let kms = changed.kms().unwrap();
            assert_eq!(kms.uses_bucket_key(), bucket_key);
            assert_eq!(kms.client_context, envelope.kms().and_then(|kms| kms.client_context.clone()));
            assert_eq!(secret(&sse.unlock(&changed, &caller(), OBJECT, None).await.unwrap()), secret(&key));
            assert_ne!(changed, envelope);
        }
        let to = Reprotection { key: KeyRef::parse("fake"), bucket_key: false };
        assert!(matches!(sse.reprotect(&envelope, &caller(), OBJECT, &to).await, Err(SseError::Kms(_))));
    }
}

#[tokio::test]
async fn a_customers_object_opens_with_its_key_alone() {
    let sse = sse(1, 1);
    let plan = Plan::decide(SseRequest::Customer(customer_key(1)), None);
    let (envelope, key) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
    let stored = envelope.to_bytes();
    for never_stored in [[1; 8], secret(&key)[..8].try_into().unwrap()] {
        assert!(!stored.windows(8).any(|bytes| bytes == never_stored), "a key lies in clear");
    }
    let (right, wrong) = (customer_key(1), customer_key(2));
    let unlock = async |object, customer| sse.unlock(&envelope, &caller(), object, customer).await;
    let opened = unlock(OBJECT, Some(&right)).await.unwrap();
    assert_eq!(secret(&opened), secret(&key));
    assert!(matches!(unlock(OBJECT, Some(&wrong)).await, Err(SseError::WrongCustomerKey)));
    assert!(matches!(unlock(OBJECT, None).await, Err(SseError::CustomerKeyRequired)));
    let elsewhere = ObjectName { bucket: "b", key: "other" };
    assert!(matches!(unlock(elsewhere, Some(&right)).await, Err(SseError::WrongCustomerKey)));
    for plan in plans() {
        let (envelope, _) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
        let with_a_key = sse.unlock(&envelope, &caller(), OBJECT, Some(&customer_key(1))).await;
        assert!(matches!(with_a_key, Err(SseError::CustomerKeyNotApplicable)));
    }
}

#[tokio::test]
async fn two_layers_have_independent_keys() {
    let sse = sse(1, 1);
    let plan = Plan::decide(SseRequest::Dsse { key: None, context: None }, None);
    let (envelope, key) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
    let outer = *key.outer_secret().unwrap().expose();
    assert_ne!(secret(&key), outer);
    let unlocked = sse.unlock(&envelope, &caller(), OBJECT, None).await.unwrap();
    assert_eq!((secret(&unlocked), *unlocked.outer_secret().unwrap().expose()), (secret(&key), outer));
}

#[tokio::test]
async fn objects_of_a_bucket_share_a_bucket_key() {
    let sse = sse(1, 1);
    let wrapped = async |bucket, key| {
        let (envelope, _) = sse.begin(&kms_plan(None, true), &caller(), ObjectName { bucket, key }).await.unwrap();
        envelope.kms().unwrap().wrapped.blob.clone()
    };
    let first = wrapped("b", "1").await;
    assert_eq!(wrapped("b", "2").await, first);
    assert_ne!(wrapped("c", "1").await, first);
}

#[tokio::test]
async fn refusals_reach_the_caller() {
    let sse = sse(1, 1);
    let unknown = SseRequest::Kms { key: Some("fake-key-id".to_owned()), context: None, bucket_key: None };
    let refused = sse.begin(&Plan::decide(unknown, None), &caller(), OBJECT).await;
    assert!(matches!(refused, Err(SseError::Kms(KmsError { kind: KmsErrorKind::NotFound, .. }))));
    let wrong_arn = kms_plan(Some(r#"{"aws:s3:arn":"arn:aws:s3:::b/other"}"#), false);
    let refused = sse.begin(&wrong_arn, &caller(), OBJECT).await;
    assert!(matches!(refused, Err(SseError::InvalidArgument { .. })));
}
