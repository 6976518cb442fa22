//! The events: CloudTrail's records, with its field names and values.
//! (AWS: "CloudTrail record contents for management, data, and network activity events"; CloudTrail user guide.)

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::{Timestamp, iso8601_seconds};
use crate::crypto::random::{self, Entropy};
use crate::wire::{RequestContext, Said};

/// The version of the record's contents that these are.
const VERSION: &str = "1.11";
/// Bytes of most events and more, as JSON.
const USUAL: usize = 2048;
/// Most bytes of what was asked and of what changed. "This field has a maximum size of 100 KB; content exceeding that limit is
/// truncated": here, as there, it is left out as a whole. (CloudTrail user guide, record contents.)
const MAX_DOCUMENT: usize = 100 * 1024;
/// Most bytes of an error's text and of the user agent. (The same.)
const MAX_TEXT: usize = 1024;
/// What stands for the address and the agent of a service's own calls.
const INTERNAL: &str = "AWS Internal";
/// The account of whoever did not sign.
const ANONYMOUS: &str = "anonymous";
/// The member of what the service adds that tells what decided.
const AUTHORIZATION: &str = "authorization";

/// One event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are CloudTrail's own")]
pub struct Event {
    event_version: &'static str,
    /// Who asked.
    pub user_identity: UserIdentity,
    /// When, to the second.
    event_time: String,
    /// The service: `kms.amazonaws.com`.
    event_source: &'static str,
    /// The operation.
    pub event_name: &'static str,
    aws_region: String,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Cow<'static, str>,
    user_agent: Cow<'static, str>,
    /// The error's code, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The error's text, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// What the service adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_event_data: Option<Value>,
    #[serde(rename = "requestID", skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(rename = "eventID")]
    event_id: String,
    /// Whether it changed nothing.
    pub read_only: bool,
    /// What it was done to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    event_type: &'static str,
    management_event: bool,
    /// The account whose resource it was.
    pub recipient_account_id: String,
    /// What the events of several accounts about the same operation have in common.
    #[serde(rename = "sharedEventID", skip_serializing_if = "Option::is_none")]
    shared_event_id: Option<String>,
    event_category: Category,
    /// What a service did of its own accord.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_event_details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_details: Option<TlsDetails>,
    // The client's own words last: who cuts what is too long for a datagram loses nothing else.
    /// What was asked, without secrets and data; null if there is nothing to say.
    pub request_parameters: Value,
    /// What changed, without secrets; null of operations that change nothing.
    pub response_elements: Value,
    /// Whether the service tells how many bytes of bodies went in and out.
    #[serde(skip)]
    pub tells_bytes: bool,
    /// Further accounts that get an event about it, and those events' ids.
    #[serde(skip)]
    copies: Vec<(String, String)>,
}

/// Whether an event is about a resource's management or its data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Category {
    /// Recorded always, and looked up by `LookupEvents`.
    Management,
    /// Recorded if the operator wants it.
    Data,
}

/// Who asked.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserIdentity {
    /// `Root`, `IAMUser`, `AssumedRole`, `AWSAccount`, `WebIdentityUser`; none of a service.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arn: Option<String>,
    /// Empty of whom no account knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    account_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    /// Who vouches for a web identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_context: Option<SessionContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoked_by: Option<&'static str>,
}

/// What temporary credentials are of.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionContext {
    /// Who issued them: the role, or the user who asked; none of a user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_issuer: Option<SessionIssuer>,
    /// When, and whether a second factor was there.
    pub attributes: SessionAttributes,
    /// `SourceIdentity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
    /// Who vouched for a web identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_id_federation_data: Option<WebIdFederationData>,
}

/// Who issued temporary credentials.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionIssuer {
    /// `Role`, `IAMUser` or `Root`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its unique id.
    pub principal_id: String,
    /// Its ARN.
    pub arn: String,
    /// Its account.
    pub account_id: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
}

/// When temporary credentials were issued, and how.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionAttributes {
    creation_date: String,
    mfa_authenticated: &'static str,
}

/// Who vouched for a web identity.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebIdFederationData {
    /// The provider's ARN.
    pub federated_provider: String,
    /// What providers of AWS's own choice say of a user: ours say nothing.
    pub attributes: serde_json::Map<String, Value>,
}

impl SessionAttributes {
    /// Issued at this time, without a second factor.
    pub fn issued(at: Timestamp) -> Self {
        Self { creation_date: iso8601_seconds(at), mfa_authenticated: "false" }
    }
}

impl UserIdentity {
    /// The principal `arn` of `account`, by one of its access keys if that is known.
    pub fn of(account: &str, arn: &str, access_key_id: Option<&str>) -> Self {
        // arn:aws:iam::ACCOUNT:user/path/name, arn:aws:sts::ACCOUNT:assumed-role/role/session, arn:aws:iam::ACCOUNT:root
        let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
        let (kind, name) = match resource.split_once('/') {
            Some(("user", path)) => ("IAMUser", path.rsplit('/').next()),
            Some(("assumed-role", _)) => ("AssumedRole", None),
            Some(("federated-user", _)) => ("FederatedUser", None),
            _ if resource == "root" => ("Root", None),
            _ => return Self::anonymous(),
        };
        Self {
            kind: Some(kind),
            principal_id: Some(name.unwrap_or(account).to_owned()),
            arn: Some(arn.to_owned()),
            account_id: account.to_owned(),
            access_key_id: access_key_id.map(str::to_owned),
            user_name: name.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Somebody who brings a token: whom `provider`, by its ARN, vouches for by the application `audience` and the name `user`, if
    /// the token was found to be its. (CloudTrail user guide, "Values for AWS STS APIs with SAML and web identity federation".)
    pub fn web_identity(proven: Option<(&str, &str, &str)>) -> Self {
        let bare = Self { kind: Some("WebIdentityUser"), ..Self::default() };
        let Some((provider, audience, user)) = proven else { return bare };
        Self {
            principal_id: Some(format!("{provider}:{audience}:{user}")),
            user_name: Some(user.to_owned()),
            identity_provider: Some(provider.to_owned()),
            ..bare
        }
    }

    /// As the event for `account` names it.
    fn told_to(&self, account: &str) -> Self {
        if self.account_id == account || self.account_id.is_empty() { self.clone() } else { self.seen_from_afar() }
    }

    /// As the events of other accounts name it. (The same page: "`AWSAccount` – The request was made by another AWS account", and the
    /// example below "AWS STS source identity".)
    fn seen_from_afar(&self) -> Self {
        Self {
            kind: self.kind.map(|_| "AWSAccount"),
            principal_id: self.principal_id.clone(),
            account_id: self.account_id.clone(),
            invoked_by: self.invoked_by,
            ..Self::default()
        }
    }

    /// The same, with its unique id (`AIDA...`, `AROA...:SESSION`), and its session if it has temporary credentials.
    #[must_use]
    pub fn known_as(self, principal_id: &str, session: Option<SessionContext>) -> Self {
        let principal_id = self.principal_id.map(|_| principal_id.to_owned());
        Self { principal_id, session_context: session, ..self }
    }

    /// `Root`, `IAMUser` and the like; `None` of a service.
    pub fn kind(&self) -> Option<&'static str> {
        self.kind
    }

    /// Whether it is of no account: a web identity.
    pub fn is_of_nobody(&self) -> bool {
        self.account_id.is_empty()
    }

    /// Nobody who signed.
    pub fn anonymous() -> Self {
        Self { kind: Some("AWSAccount"), account_id: ANONYMOUS.to_owned(), ..Self::default() }
    }

    /// The same, where a service asks on its behalf.
    fn by_service(self) -> Self {
        Self { invoked_by: Some(INTERNAL), ..self }
    }
}

/// A resource that an event is about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Resource {
    /// The account that owns it.
    #[serde(rename = "accountId", skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Its type: `AWS::KMS::Key`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its ARN.
    #[serde(rename = "ARN")]
    pub arn: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsDetails {
    tls_version: &'static str,
    cipher_suite: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_provided_host_header: Option<String>,
}

/// Which operation of which service in which region an event is of.
#[derive(Clone, Copy)]
pub struct ServiceOperation<'d> {
    /// `kms.amazonaws.com`.
    pub source: &'static str,
    /// The operation, as AWS's model names it.
    pub name: &'static str,
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Management or data.
    pub category: Category,
    /// The region.
    pub region: &'d str,
    /// Where the event's id is drawn from.
    pub entropy: &'d dyn Entropy,
}

impl Event {
    /// A client's request, by `identity`.
    pub fn of_request(
        operation: ServiceOperation<'_>,
        cx: &RequestContext,
        said: Said<'_>,
        identity: UserIdentity,
    ) -> Self {
        Self {
            source_ip_address: Cow::Owned(cx.client.to_string()),
            user_agent: Cow::Owned(beginning(said.user_agent.unwrap_or_default().to_owned())),
            request_id: Some(cx.id.id.clone()),
            tls_details: cx.tls.map(|tls| TlsDetails {
                tls_version: tls.version,
                cipher_suite: tls.cipher_suite,
                client_provided_host_header: said.host.map(str::to_owned),
            }),
            ..Self::new(operation, cx.received, identity)
        }
    }

    /// A call that one service makes of another on behalf of `identity`.
    pub fn of_service_call(operation: ServiceOperation<'_>, at: Timestamp, identity: UserIdentity) -> Self {
        let request_id = Some(random::uuid(random::identifier(operation.entropy)));
        Self { request_id, ..Self::new(operation, at, identity.by_service()) }
    }

    /// What a service does of its own accord to a resource of `account`.
    pub fn of_service(operation: ServiceOperation<'_>, at: Timestamp, account: &str) -> Self {
        let identity = UserIdentity { account_id: account.to_owned(), ..UserIdentity::default() }.by_service();
        Self { event_type: "AwsServiceEvent", ..Self::new(operation, at, identity) }
    }

    fn new(operation: ServiceOperation<'_>, at: Timestamp, user_identity: UserIdentity) -> Self {
        Self {
            event_version: VERSION,
            recipient_account_id: user_identity.account_id.clone(),
            user_identity,
            event_time: iso8601_seconds(at),
            event_source: operation.source,
            event_name: operation.name,
            aws_region: operation.region.to_owned(),
            source_ip_address: Cow::Borrowed(INTERNAL),
            user_agent: Cow::Borrowed(INTERNAL),
            error_code: None,
            error_message: None,
            request_parameters: Value::Null,
            response_elements: Value::Null,
            additional_event_data: None,
            request_id: None,
            event_id: random::uuid(random::identifier(operation.entropy)),
            read_only: operation.read_only,
            resources: Vec::new(),
            event_type: "AwsApiCall",
            management_event: operation.category == Category::Management,
            event_category: operation.category,
            service_event_details: None,
            tls_details: None,
            tells_bytes: false,
            shared_event_id: None,
            copies: Vec::new(),
        }
    }

    /// Whether it is about a resource's management or its data.
    pub fn category(&self) -> Category {
        self.event_category
    }

    /// Its id, by which it is looked up.
    pub fn id(&self) -> &str {
        &self.event_id
    }

    /// The id of the request that it is about.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// It is told to the accounts that own its resources, and to the caller's: each has an event of its own.
    /// (AWS: "sharedEventID example", CloudTrail user guide.)
    pub fn tell_owners(&mut self, entropy: &dyn Entropy) {
        let mut accounts: Vec<&String> = Vec::new();
        let owners = self.resources.iter().filter_map(|resource| resource.account_id.as_ref());
        for account in owners.chain([&self.user_identity.account_id]) {
            if !accounts.contains(&account) && account != ANONYMOUS && !account.is_empty() {
                accounts.push(account);
            }
        }
        let mut accounts = accounts.into_iter().cloned();
        if let Some(first) = accounts.next() {
            self.recipient_account_id = first;
        }
        self.copies = accounts.map(|account| (account, random::uuid(random::identifier(entropy)))).collect();
        self.shared_event_id = (!self.copies.is_empty()).then(|| random::uuid(random::identifier(entropy)));
    }

    /// Adds a member to what the service adds.
    pub fn add(&mut self, name: &str, value: impl Into<Value>) {
        let data = self.additional_event_data.get_or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Value::Object(members) = data {
            members.insert(name.to_owned(), value.into());
        }
    }

    /// Adds what decided whether it might happen, if something did: AWS's event has no such member.
    pub fn judge(&mut self, decided: Option<Value>) {
        if let Some(decided) = decided {
            self.add(AUTHORIZATION, decided);
        }
    }

    /// Adds how many bytes of bodies went in and out, if the service tells that.
    pub fn transferred(&mut self, received: u64, sent: u64) {
        if self.tells_bytes {
            self.add("bytesTransferredIn", received);
            self.add("bytesTransferredOut", sent);
        }
    }

    /// It failed.
    pub fn fail(&mut self, code: impl Into<String>, message: impl Into<String>) {
        self.error_code = Some(code.into());
        self.error_message = Some(beginning(message.into())).filter(|message| !message.is_empty());
    }

    /// The events as they are written: one for each account that it is told to.
    pub(super) fn into_json(mut self) -> Vec<Vec<u8>> {
        let copies = std::mem::take(&mut self.copies);
        let mut texts = Vec::with_capacity(1 + copies.len());
        let is_shared = !copies.is_empty() || self.recipient_account_id != self.user_identity.account_id;
        let own = is_shared.then(|| self.user_identity.clone());
        let tell = |event: &mut Self| {
            if let Some(own) = &own {
                event.user_identity = own.told_to(&event.recipient_account_id);
            }
        };
        tell(&mut self);
        let mut text = self.as_json();
        if text.len() > MAX_DOCUMENT {
            omit(&mut self.request_parameters, "requestParameters");
            omit(&mut self.response_elements, "responseElements");
            text = self.as_json();
        }
        texts.push(text);
        for (account, id) in copies {
            (self.recipient_account_id, self.event_id) = (account, id);
            tell(&mut self);
            // The statement that decided is of a policy of the first one.
            if let Some(Value::Object(members)) = &mut self.additional_event_data {
                members.remove(AUTHORIZATION);
            }
            self.additional_event_data.take_if(|data| *data == Value::Object(serde_json::Map::new()));
            texts.push(self.as_json());
        }
        texts
    }

    fn as_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(USUAL);
        // Only a map with keys that are no strings could fail, and there is none.
        let _ = serde_json::to_writer(&mut json, self);
        json
    }
}

/// Puts in the place of a document that is too long what CloudTrail does.
fn omit(document: &mut Value, name: &str) {
    let size = document.to_string().len();
    if size > MAX_DOCUMENT {
        *document = json!({"omitted": true, "originalSize": size, "reason": format!("{name} too large")});
    }
}

/// As much of a text as an event has.
fn beginning(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}
