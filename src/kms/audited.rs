//! A key service whose uses are audited: the calls that S3 makes on a client's behalf, with S3 as the one that asked.
//! (AWS: "Logging AWS KMS API calls with AWS CloudTrail", KMS developer guide.)
//!
//! Calls of the KMS API itself are the affair of `kms::api`, which knows the request.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::error::KmsErrorKind;
use super::{
    Caller, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, KmsError, Knowledge,
    SharedKms, WrappedKey,
};
use crate::audit::{
    Category, Event, Resource, ServiceOperation, SessionAttributes, SessionContext, SessionIssuer, SharedAudit,
    UserIdentity, WebIdFederationData,
};
use crate::clock::SharedClock;
use crate::crypto::{Secret, SharedEntropy};
use crate::policy::{Subject, SubjectKind};

/// The service that events about keys come from.
pub const EVENT_SOURCE: &str = "kms.amazonaws.com";

/// A key as events name it.
pub fn key_resource(arn: &KeyArn) -> Resource {
    Resource { account_id: Some(arn.account().to_owned()), kind: "AWS::KMS::Key", arn: arn.to_string() }
}

/// The keys that a request was found to be about: of ReEncrypt the source first. (KMS developer guide, "ReEncrypt".)
pub fn keys_seen(resources: &[(&'static str, String)]) -> Vec<KeyArn> {
    let of = |targets| resources.iter().filter(move |(action, _)| (*action == "kms:ReEncryptTo") == targets);
    of(false).chain(of(true)).filter_map(|(_, arn)| arn.parse().ok()).collect()
}

/// The name that events have for a refusal: one for want of permission has another than in its answer.
/// (So CloudTrail's records of calls that KMS refused have it, whatever its JSON protocol says.)
pub fn event_code(code: &'static str) -> &'static str {
    if code == KmsErrorKind::AccessDenied.code() { "AccessDenied" } else { code }
}

/// A principal as events name it, by one of its access keys if that is known.
/// (AWS: "CloudTrail userIdentity element", CloudTrail user guide.)
pub fn user_identity(subject: &Subject, access_key_id: Option<&str>) -> UserIdentity {
    let issuer = |kind, arn: &str, principal_id: &str| SessionIssuer {
        kind,
        principal_id: principal_id.to_owned(),
        arn: arn.to_owned(),
        account_id: subject.account.clone(),
        user_name: arn.rsplit('/').next().filter(|_| arn.contains('/')).map(str::to_owned),
    };
    let session = subject.session.as_ref().map(|session| SessionContext {
        session_issuer: match &subject.kind {
            SubjectKind::Role(arn) => Some(issuer("Role", arn, subject.id.split(':').next().unwrap_or_default())),
            SubjectKind::Federated(arn) if arn.ends_with(":root") => Some(issuer("Root", arn, &subject.account)),
            SubjectKind::Federated(arn) => {
                // AIDA...:NAME
                let id = subject.named.as_deref().and_then(|named| named.split(':').next());
                Some(issuer("IAMUser", arn, id.unwrap_or_default()))
            }
            SubjectKind::Anonymous
            | SubjectKind::Root
            | SubjectKind::User
            | SubjectKind::WebIdentity(_)
            | SubjectKind::Service(_) => None,
        },
        attributes: SessionAttributes::issued(session.issued),
        source_identity: session.source_identity.clone(),
        web_id_federation_data: session
            .provider
            .as_ref()
            .map(|provider| WebIdFederationData { federated_provider: provider.clone(), attributes: Map::new() }),
    });
    UserIdentity::of(&subject.account, &subject.arn, access_key_id).known_as(&subject.id, session)
}

/// A key service whose uses are audited.
pub struct AuditedKms {
    inner: SharedKms,
    audit: SharedAudit,
    region: String,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl AuditedKms {
    /// Audits the calls of `inner`, a key service in `region`.
    pub fn new(
        inner: SharedKms,
        audit: SharedAudit,
        region: String,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        Self { inner, audit, region, clock, entropy }
    }

    /// The event of a call of `name` that is to be made, where events are wanted; and the caller, as it is watched, with the
    /// ids of the event and of the request that it tells of: those the key's last use names.
    fn begin(&self, name: &'static str, caller: &Caller) -> (Caller, Option<Event>) {
        let mut caller = caller.watched();
        if !self.audit.wants(Category::Management) {
            return (caller, None);
        }
        let operation = ServiceOperation {
            source: EVENT_SOURCE,
            name,
            read_only: true,
            category: Category::Management,
            region: &self.region,
            entropy: &*self.entropy,
        };
        let event = Event::of_service_call(operation, self.clock.now(), user_identity(&caller.subject, None));
        caller.event_id = Some(event.id().to_owned());
        if let Some(id) = event.request_id() {
            id.clone_into(&mut caller.request_id);
        }
        (caller, Some(event))
    }

    /// Records what became of a call; if the audit is required, nothing is handed out without its event.
    async fn record<T>(
        &self,
        (caller, event): (Caller, Option<Event>),
        parameters: Map<String, Value>,
        result: Result<T, KmsError>,
        used: impl FnOnce(&T) -> Used<'_>,
    ) -> Result<T, KmsError> {
        let Some(mut event) = event else { return result };
        let seen = caller.witness.decisions();
        let keys = match &result {
            Ok(done) => {
                let (used, material) = used(done);
                if let Some((name, id)) = material {
                    event.add(name, id);
                }
                // As a rule there is no other.
                let is_alone = seen.resources.iter().all(|(_, arn)| arn == used.as_str());
                let mut keys = if is_alone { Vec::new() } else { keys_seen(&seen.resources) };
                if !keys.contains(used) {
                    keys.push(used.clone());
                }
                keys
            }
            Err(error) => {
                event.fail(event_code(error.kind.code()), error.message.as_str());
                keys_seen(&seen.resources)
            }
        };
        event.resources = keys.iter().map(key_resource).collect();
        // As of calls of the API itself: what is refused to a stranger is in its own log alone.
        let is_refused = result.as_ref().is_err_and(|error| error.kind == KmsErrorKind::AccessDenied);
        if !is_refused {
            event.tell_owners(&*self.entropy);
        }
        if keys.is_empty() {
            let names = ["keyId", "sourceKeyId", "destinationKeyId"].into_iter();
            let named = names.filter_map(|name| parameters.get(name)?.as_str()?.parse::<KeyArn>().ok());
            event.resources = named.map(|arn| key_resource(&arn)).collect();
        }
        event.request_parameters = Value::Object(parameters);
        event.judge(seen.decisive(is_refused).map(|decided| decided.told()));
        self.audit.record_surely(event).await.map_err(|error| KmsErrorKind::Unavailable.because("", error))?;
        result
    }
}

/// The key that a call used, and under which name which of its materials.
type Used<'u> = (&'u KeyArn, Option<(&'static str, String)>);

/// Request parameters: `members`, and the context if there is one.
fn parameters(members: Value, context: (&str, &EncryptionContext)) -> Map<String, Value> {
    let Value::Object(mut members) = members else { return Map::new() };
    members.retain(|_, value| !value.is_null());
    if !context.1.pairs().is_empty() {
        members.insert(context.0.to_owned(), json!(context.1.pairs()));
    }
    members
}

/// The key that wrapped.
fn wrapped_by<'w>(wrapped: &'w WrappedKey, name: &'static str) -> Used<'w> {
    (&wrapped.key_arn, wrapped.material_id.clone().map(|id| (name, id)))
}

const CONTEXT: &str = "encryptionContext";
const MATERIAL: &str = "keyMaterialId";

#[async_trait]
impl Kms for AuditedKms {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        let call = self.begin("GenerateDataKey", caller);
        let result = self.inner.generate_data_key(&call.0, key, context).await;
        let parameters = parameters(json!({"keyId": key.to_string(), "keySpec": "AES_256"}), (CONTEXT, context));
        self.record(call, parameters, result, |made| wrapped_by(&made.wrapped, MATERIAL)).await
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        let call = self.begin("Decrypt", caller);
        let result = self.inner.decrypt(&call.0, blob, key, context).await;
        let key = key.map(ToString::to_string);
        let parameters =
            parameters(json!({"keyId": key, "encryptionAlgorithm": "SYMMETRIC_DEFAULT"}), (CONTEXT, context));
        let material = |opened: &Decrypted| opened.material_id.clone().map(|id| (MATERIAL, id));
        self.record(call, parameters, result, |opened| (&opened.key_arn, material(opened))).await
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let call = self.begin("Encrypt", caller);
        let result = self.inner.encrypt(&call.0, key, plaintext, context).await;
        let parameters = parameters(
            json!({"keyId": key.to_string(), "encryptionAlgorithm": "SYMMETRIC_DEFAULT"}),
            (CONTEXT, context),
        );
        self.record(call, parameters, result, |wrapped| wrapped_by(wrapped, MATERIAL)).await
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        // What a copy asks of AWS KMS.
        let call = self.begin("GenerateDataKey", caller);
        let result = self.inner.wrap_data_key(&call.0, key, data_key, context).await;
        let parameters = parameters(json!({"keyId": key.to_string(), "keySpec": "AES_256"}), (CONTEXT, context));
        self.record(call, parameters, result, |wrapped| wrapped_by(wrapped, MATERIAL)).await
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        let call = self.begin("ReEncrypt", caller);
        let result = self.inner.re_encrypt(&call.0, blob, from, to).await;
        let members = json!({
            "sourceKeyId": from.0.map(ToString::to_string),
            "sourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "destinationKeyId": to.0.to_string(),
            "destinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        });
        let mut members = parameters(members, ("sourceEncryptionContext", from.1));
        members.extend(parameters(json!({}), ("destinationEncryptionContext", to.1)));
        self.record(call, members, result, |wrapped| wrapped_by(wrapped, "destinationKeyMaterialId")).await
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        // S3 asks it of itself alone, to name a key: AWS's S3 asks nothing there.
        self.inner.describe(caller, key).await
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self.inner.knowledge()
    }
}
