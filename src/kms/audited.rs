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
            SubjectKind::Federated(arn) => Some(issuer("IAMUser", arn, "")),
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
            .map(|provider| WebIdFederationData { federated_provider: provider.clone() }),
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
        key: impl FnOnce(&T) -> Vec<&KeyArn>,
    ) -> Result<T, KmsError> {
        let Some(mut event) = event else { return result };
        match &result {
            Ok(done) => event.resources = key(done).into_iter().map(key_resource).collect(),
            Err(error) => {
                event.fail(error.kind.code(), error.message.as_str());
                let named = parameters.get("keyId").and_then(Value::as_str).and_then(|key| key.parse::<KeyArn>().ok());
                event.resources = named.iter().map(key_resource).collect();
            }
        }
        event.tell_owners(&*self.entropy);
        event.request_parameters = Value::Object(parameters);
        let is_refused = result.as_ref().is_err_and(|error| error.kind == KmsErrorKind::AccessDenied);
        event.judge(caller.witness.decisions().decisive(is_refused).map(|decided| decided.told()));
        self.audit.record_surely(event).await.map_err(|error| KmsErrorKind::Unavailable.because("", error))?;
        result
    }
}

/// Request parameters: `members`, and the context if there is one.
fn parameters(members: Value, context: (&str, &EncryptionContext)) -> Map<String, Value> {
    let Value::Object(mut members) = members else { return Map::new() };
    members.retain(|_, value| !value.is_null());
    if !context.1.pairs().is_empty() {
        members.insert(context.0.to_owned(), json!(context.1.pairs()));
    }
    members
}

const CONTEXT: &str = "encryptionContext";

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
        self.record(call, parameters, result, |made| vec![&made.wrapped.key_arn]).await
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
        self.record(call, parameters, result, |opened| vec![&opened.key_arn]).await
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
        self.record(call, parameters, result, |wrapped| vec![&wrapped.key_arn]).await
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
        self.record(call, parameters, result, |wrapped| vec![&wrapped.key_arn]).await
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
        self.record(call, members, result, |wrapped| vec![&wrapped.key_arn]).await
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        // S3 asks it of itself alone, to name a key: AWS's S3 asks nothing there.
        self.inner.describe(caller, key).await
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self.inner.knowledge()
    }
}
