//! Authorisation: the bucket's policy and public-access settings, and whose its objects are, asked about one request.
//!
//! What a policy may ask of a request's circumstances is in [`Circumstances`]: the global keys, and S3's own.
//! (Service authorization reference, "Condition keys for Amazon S3".)

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{REFERER, USER_AGENT};

use super::acl::ANONYMOUS;
use super::error::{ErrorCode, Result, S3Error};
use super::operation::Operation;
use super::request::ObjectKey;
use super::service::{Bucket, Call, S3};
use super::standing::{Asker, Standing};
use super::tags::{self, Tags};
use crate::clock::{Timestamp, iso8601};
use crate::iam::{self, Identity, Permit, Question};
use crate::kms::KeyRef;
use crate::policy::{Context, Found, Grant, Kind, MalformedPolicy, Policy};
use crate::sigv4;
use crate::sse::{self, Envelope, SseKind};
use crate::store::configuration::read_configuration;
use crate::store::schema::{ConfigurationKind, VersionId};

/// The policies of buckets, compiled; each as long as the bucket has it.
#[derive(Default)]
pub(super) struct CompiledPolicies(Mutex<HashMap<[u8; 16], Compiled>>);

struct Compiled {
    text: String,
    policy: Arc<Policy>,
}

/// Compiled policies kept at once.
const KEPT: usize = 4096;
/// Which KMS key an upload is going to be under: the full ARN, whatever the request names it by.
const EFFECTIVE_KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
const METHOD: &str = "s3:x-amz-server-side-encryption";
/// The values of the tags that the request gives, and that the object has.
const REQUEST_TAG: &str = "s3:requestobjecttag/";
const EXISTING_TAG: &str = "s3:existingobjecttag/";
/// The tags of the bucket, where it is under attribute-based access control.
const BUCKET_TAG: &str = "s3:buckettag/";
const RESOURCE_TAG: &str = "aws:resourcetag/";
/// The tags that a request gives a bucket.
const REQUEST_BUCKET_TAG: &str = "aws:requesttag/";
/// What a bucket's `AbacStatus` says then.
const UNDER_ABAC: &str = "<Status>Enabled</Status>";
const REQUEST_PAYER: &str = "x-amz-request-payer";
/// The header that says that the requester pays.
pub(super) const REQUEST_CHARGED: &str = "x-amz-request-charged";
/// What a configuration of request payment says where requesters pay.
const REQUESTER_PAYS: &str = "<Payer>Requester</Payer>";
/// The bucket owner's root may always mend the policy, and nobody of another account may see or change it, whatever it says.
/// (S3 API reference, GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy.)
const OWN_AFFAIRS: &[&str] = &["s3:DeleteBucketPolicy", "s3:GetBucketPolicy", "s3:PutBucketPolicy"];

/// What a question is about.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'r> {
    /// The object; `None` for the bucket.
    pub key: Option<&'r ObjectKey>,
    /// The version of it, if one is named.
    pub version: Option<VersionId>,
    /// The tags that the object is to be given; `None` for what the request's header says.
    pub tags: Option<&'r [(String, String)]>,
    /// The encryption that it is to be given; `None` for what the request's headers say.
    pub encryption: Option<&'r AskedEncryption>,
    /// The lock that it is to be given; `None` for what the request's headers say.
    pub lock: Option<&'r AskedLock>,
}

/// What is asked of a bucket that is to be made.
#[derive(Default)]
pub(super) struct Creation {
    /// Where.
    pub location: Option<String>,
    /// With which tags.
    pub tags: Tags,
}

impl<'r> About<'r> {
    /// The object that the request names, as it names it.
    ///
    /// # Errors
    /// What is wrong with the version's id.
    pub fn named(call: &Call<'_>, key: &'r ObjectKey) -> Result<Self> {
        Ok(Self { key: Some(key), version: call.version()?, ..Self::default() })
    }
}

impl Bucket {
    /// Whether public access is restricted to the bucket's account, which is not the caller's.
    pub(super) fn bars(&self, policy: Option<&Policy>, identity: Option<&Identity>) -> bool {
        self.public_access().restrict_public_buckets
            && policy.is_some_and(Policy::is_public)
            && identity.is_none_or(|caller| caller.account.id != self.record.account)
    }
}

impl CompiledPolicies {
    fn obtain(&self, bucket: &Bucket, text: &str, compile: impl FnOnce(&str) -> Result<Policy>) -> Result<Arc<Policy>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = kept.get(&bucket.record.id).filter(|compiled| compiled.text == text) {
            return Ok(Arc::clone(&compiled.policy));
        }
        let policy = Arc::new(compile(text)?);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(bucket.record.id, Compiled { text: text.to_owned(), policy: Arc::clone(&policy) });
        Ok(policy)
    }
}

impl S3 {
    /// Whether the caller may do `action` to the bucket, or to its object `key`.
    ///
    /// # Errors
    /// `AccessDenied`; callers of the owner's account are told why.
    pub(super) async fn authorize(
        &self,
        call: &Call<'_>,
        action: &'static str,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
    ) -> Result<Permit> {
        let about = About { key, version: call.version().ok().flatten(), ..About::default() };
        self.authorize_about(call, action, bucket, about).await
    }

    /// The same, where the object is not simply the one that the request names.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub(super) async fn authorize_about(
        &self,
        call: &Call<'_>,
        action: &'static str,
        bucket: &Bucket,
        about: About<'_>,
    ) -> Result<Permit> {
        let standing = if bucket.has_acls() {
            self.standing(Asker::Request(call), action, bucket, about).await?
        } else {
            Standing::PLAIN
        };
        self.judge(call, action, bucket, about, standing).await
    }

    /// Refuses whoever does not say that they pay for their request, where that is for requesters to do; whether they do pay.
    /// (S3 user guide, "Using Requester Pays general purpose buckets for storage transfers and usage".)
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) async fn judge_payment(&self, call: &Call<'_>, bucket: &Bucket) -> Result<bool> {
        let kind = ConfigurationKind::RequestPayment;
        let is_owners = call.identity.as_ref().is_some_and(|caller| caller.account.id == bucket.record.account);
        if is_owners || !bucket.record.may_have(kind) {
            return Ok(false);
        }
        let configured = read_configuration(&*self.store, &bucket.record, kind, None).await?;
        if !configured.is_some_and(|record| record.document.contains(REQUESTER_PAYS)) {
            return Ok(false);
        }
        let asked = call.header(REQUEST_PAYER).or(call.query.value(REQUEST_PAYER));
        match &call.identity {
            Some(_) if asked == Some("requester") => Ok(true),
            _ => Err(ErrorCode::AccessDenied.into()),
        }
    }

    /// Whether policies may ask for the bucket's tags. (S3 user guide, "Enabling ABAC in general purpose buckets".)
    pub(super) async fn is_under_abac(&self, bucket: &Bucket) -> Result<bool> {
        let kind = ConfigurationKind::Abac;
        if !bucket.record.may_have(kind) {
            return Ok(false);
        }
        let configured = read_configuration(&*self.store, &bucket.record, kind, None).await?;
        Ok(configured.is_some_and(|record| record.document.contains(UNDER_ABAC)))
    }

    /// Whether the caller may give a list to the object that it is about to write, and that will belong to `owner`.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub(super) async fn authorize_acl_of_new(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        owner: &str,
    ) -> Result<Permit> {
        let foreign = Some(owner).filter(|owner| *owner != bucket.record.account);
        let acl = if foreign == Some(ANONYMOUS) { Grant::Everybody } else { Grant::None };
        let standing = Standing { owner: foreign.map(str::to_owned), acl };
        let about = About { key: Some(key), ..About::default() };
        self.judge(call, "s3:PutObjectAcl", bucket, about, standing).await
    }

    /// What conditions may ask of a request about the bucket.
    pub(super) fn circumstances<'r>(&'r self, call: &'r Call<'r>, bucket: &'r Bucket) -> Circumstances<'r> {
        Circumstances::new(self, call, Some(bucket))
    }

    /// Asks `question`, and tells the audit what decided.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) fn ask(call: &Call<'_>, question: &Question<'_>) -> Result<Permit> {
        match iam::authorize(question) {
            Ok(permit) => {
                permit.explanation().into_iter().for_each(|explanation| call.witness.see_decision(explanation));
                Ok(permit)
            }
            Err(denied) => {
                call.witness.see_decision(&denied.explanation);
                Err(denied.into())
            }
        }
    }

    /// Judges the caller by the bucket's policy, and by `standing`.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) async fn judge(
        &self,
        call: &Call<'_>,
        action: &'static str,
        bucket: &Bucket,
        about: About<'_>,
        standing: Standing,
    ) -> Result<Permit> {
        let About { key, version, tags, encryption, lock } = about;
        let resource = key.map_or_else(|| bucket.arn(), |key| bucket.arn_of(key));
        let owner = standing.owner.as_deref().unwrap_or(&bucket.record.account);
        let question = Question {
            policy_only_denies: standing.owner.is_some(),
            acl: standing.acl,
            ..Question::new(call.identity.as_ref(), action, &resource, Some(owner))
        };
        let policy = self.policy_on(bucket, action, call.identity.as_ref())?;
        let policy = policy.as_deref();
        let is_owners = call.identity.as_ref().is_some_and(|caller| caller.account.id == bucket.record.account);
        if bucket.bars(policy, call.identity.as_ref()) {
            return Err(ErrorCode::AccessDenied.into());
        }
        // What is costly to know is found out where somebody asks for it.
        let asked = |wanted: &dyn Fn(&str) -> bool| {
            let subject = call.identity.as_ref().map(|identity| &identity.subject);
            policy.is_some_and(|policy| policy.asks_for_some(wanted))
                || subject.is_some_and(|subject| subject.asks_for_some(wanted))
        };
        let encryption = match encryption {
            Some(given) => given.clone(),
            None if asked(&|key| matches!(key, METHOD | EFFECTIVE_KEY)) => {
                self.asked_encryption(call, bucket, key).await?
            }
            None => AskedEncryption::default(),
        };
        let request_tags = match tags {
            Some(tags) => tags.to_vec(),
            None => tags::of_write(call).unwrap_or_default(),
        };
        let existing_tags = match key {
            Some(key) if asked(&|key| key.starts_with(EXISTING_TAG)) => {
                self.find(bucket, key, version).await.map(|record| record.tags).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let asks_bucket = || asked(&|key| key.starts_with(BUCKET_TAG) || key.starts_with(RESOURCE_TAG));
        let by_tags = !bucket.record.tags.is_empty() && asks_bucket() && self.is_under_abac(bucket).await?;
        let of_bucket = Circumstances::new(self, call, Some(bucket));
        let lock = lock.cloned().unwrap_or_else(|| AskedLock::of_headers(call));
        let context = Circumstances { encryption, lock, request_tags, existing_tags, by_tags, ..of_bucket };
        let permit = Self::ask(call, &Question { policy, context: &context, ..question })?;
        if OWN_AFFAIRS.contains(&action) && !is_owners {
            let method = call.row.method.as_str();
            return Err(ErrorCode::MethodNotAllowed.with("Method", method).with("ResourceType", "BUCKETPOLICY"));
        }
        Ok(permit)
    }

    /// The policy by which `action` on the bucket is judged.
    pub(super) fn policy_on(
        &self,
        bucket: &Bucket,
        action: &str,
        identity: Option<&Identity>,
    ) -> Result<Option<Arc<Policy>>> {
        let of_owner = |caller: &Identity| caller.subject.is_root() && caller.account.id == bucket.record.account;
        if OWN_AFFAIRS.contains(&action) && identity.is_some_and(of_owner) {
            return Ok(None);
        }
        self.policy_of(bucket)
    }

    /// Whether the caller may create a bucket; `action` is that, or what its request asks for beside it.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) fn authorize_creation(
        &self,
        call: &Call<'_>,
        action: &'static str,
        name: &str,
        creation: &Creation,
    ) -> Result<Permit> {
        let resource = format!("arn:aws:s3:::{name}");
        let context = Circumstances { creation: Some(creation), ..Circumstances::new(self, call, None) };
        Self::ask(
            call,
            &Question { context: &context, ..Question::new(call.identity.as_ref(), action, &resource, None) },
        )
    }

    /// Whether the caller may do what is no bucket's affair yet, such as to list buckets.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) fn authorize_in_account(&self, call: &Call<'_>, resource: &str) -> Result<Permit> {
        let context = Circumstances::new(self, call, None);
        let question = Question::new(call.identity.as_ref(), call.row.action, resource, None);
        Self::ask(call, &Question { context: &context, ..question })
    }

    /// A bucket's policy, with the accounts that it names by canonical id.
    fn compiled(&self, bucket: &Bucket, text: &str) -> Result<Arc<Policy>> {
        self.policies.obtain(bucket, text, |text| {
            let mut policy = Policy::parse(text, Kind::Bucket(&bucket.arn())).map_err(S3Error::internal)?;
            // Whose account is gone is nobody.
            let _ = policy.resolve(|id| self.account_of(id));
            Ok(policy)
        })
    }

    /// Reads a policy that the bucket with this ARN is to have.
    ///
    /// # Errors
    /// [`MalformedPolicy`].
    pub(super) fn read_policy(&self, bucket: &str, text: &str) -> Result<Policy, MalformedPolicy> {
        let mut policy = Policy::parse(text, Kind::Bucket(bucket))?;
        policy.check_principals(Kind::Bucket(bucket))?;
        policy.check_conditions(bucket)?;
        policy.resolve(|id| self.account_of(id))?;
        Ok(policy)
    }

    /// The id of the account with this canonical id.
    fn account_of(&self, canonical_id: &str) -> Option<String> {
        self.directory.account_by_canonical_id(canonical_id).map(|account| account.id.clone())
    }

    /// The bucket's policy, compiled.
    ///
    /// # Errors
    /// `InternalError` if it cannot be read.
    pub(super) fn policy_of(&self, bucket: &Bucket) -> Result<Option<Arc<Policy>>> {
        bucket.record.policy.as_ref().map(|text| self.compiled(bucket, text)).transpose()
    }

    /// The encryption that a write asks for by its headers; of a part, its upload's. The bucket's default is none of it.
    async fn asked_encryption(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
    ) -> Result<AskedEncryption> {
        use Operation::{CompleteMultipartUpload, UploadPart, UploadPartCopy};
        if let (UploadPart | UploadPartCopy | CompleteMultipartUpload, Some(key)) = (call.row.operation, key) {
            let Ok(upload) = self.upload(call, bucket, key).await else { return Ok(AskedEncryption::default()) };
            let envelope = Envelope::from_bytes(&upload.record.envelope)?;
            let key = envelope.key_arn().map(ToString::to_string);
            return Ok(AskedEncryption { method: method_of(envelope.kind()), key });
        }
        let method = call.header(sse::headers::METHOD).map(str::to_owned);
        let named = call.header(sse::headers::KEY_ID);
        if !method.as_deref().is_some_and(|method| method.starts_with("aws:kms")) {
            return Ok(AskedEncryption { method, key: named.map(str::to_owned) });
        }
        Ok(AskedEncryption { method, key: self.effective_key(call, named).await })
    }

    /// The ARN of the key called `named`; without a name, of S3's own.
    pub(super) async fn effective_key(&self, call: &Call<'_>, named: Option<&str>) -> Option<String> {
        let reference = named.map_or_else(KeyRef::aws_s3, KeyRef::parse);
        // A key that cannot be found is refused later; until then it is what it was named.
        let arn = self.sse.key_arn(&self.kms_caller(call), &reference).await.ok().map(|arn| arn.to_string());
        arn.or_else(|| named.map(str::to_owned))
    }
}

/// What a request asks for of encryption.
#[derive(Clone, Debug, Default)]
pub(super) struct AskedEncryption {
    pub method: Option<String>,
    /// The effective key's ARN.
    pub key: Option<String>,
}

/// What a request asks for of locks, as it says it.
#[derive(Clone, Debug, Default)]
pub(super) struct AskedLock {
    pub mode: Option<String>,
    pub until: Option<String>,
    pub hold: Option<String>,
}

impl AskedLock {
    fn of_headers(call: &Call<'_>) -> Self {
        let header = |name| call.header(name).map(str::to_owned);
        Self {
            mode: header("x-amz-object-lock-mode"),
            until: header("x-amz-object-lock-retain-until-date"),
            hold: header("x-amz-object-lock-legal-hold"),
        }
    }

    /// For how many days from `now`, begun ones whole, a version is to be held.
    fn remaining_days(&self, now: Timestamp) -> Option<i64> {
        let until: Timestamp = self.until.as_ref()?.trim().parse().ok()?;
        Some((until.as_millisecond() - now.as_millisecond()).div_euclid(86_400_000) + 1)
    }
}

/// The method as the header has it; customer-provided keys go by another.
pub(super) fn method_of(kind: SseKind) -> Option<String> {
    let method = match kind {
        SseKind::S3 => "AES256",
        SseKind::Kms => "aws:kms",
        SseKind::Dsse => "aws:kms:dsse",
        SseKind::Customer => return None,
    };
    Some(method.to_owned())
}

/// The circumstances of a request.
pub(super) struct Circumstances<'r> {
    s3: &'r S3,
    call: &'r Call<'r>,
    /// `None`: it is about to be made.
    bucket: Option<&'r Bucket>,
    /// How a bucket is to be made.
    creation: Option<&'r Creation>,
    encryption: AskedEncryption,
    lock: AskedLock,
    now: Timestamp,
    /// What the request gives.
    request_tags: Tags,
    /// What the object has.
    existing_tags: Tags,
    /// Whether the bucket's tags count.
    by_tags: bool,
}

impl<'r> Circumstances<'r> {
    fn new(s3: &'r S3, call: &'r Call<'r>, bucket: Option<&'r Bucket>) -> Self {
        let (encryption, lock) = (AskedEncryption::default(), AskedLock::default());
        let (request_tags, existing_tags) = (Tags::new(), Tags::new());
        let (creation, by_tags, now) = (None, false, s3.clock.now());
        Self { s3, call, bucket, creation, encryption, lock, now, request_tags, existing_tags, by_tags }
    }

    /// Whether the request itself makes an object, which an upload's beginning and its parts do not.
    fn creates_object(&self) -> Option<&'static str> {
        match self.call.row.operation {
            Operation::PutObject
            | Operation::PostObject
            | Operation::CopyObject
            | Operation::CompleteMultipartUpload => Some("true"),
            Operation::CreateMultipartUpload | Operation::UploadPart | Operation::UploadPartCopy => Some("false"),
            _ => None,
        }
    }

    /// Whether the tags of the request are a bucket's.
    fn changes_tags_of_bucket(&self) -> bool {
        matches!(self.call.row.operation, Operation::TagResource | Operation::UntagResource)
    }

    fn tags_of_new_bucket(&self) -> &[(String, String)] {
        self.creation.map(|creation| &creation.tags[..]).unwrap_or_default()
    }

    fn of_bucket_tag(&self, key: &str) -> Found<'_> {
        match self.bucket {
            Some(bucket) if self.by_tags => of_tag(&bucket.record.tags, key),
            _ => Found::None,
        }
    }

    fn of_principal(&self, key: &str) -> Found<'_> {
        match (&self.call.identity, key) {
            (Some(identity), key) => identity.subject.find(key),
            (None, "aws:principaltype") => Found::of(Some("Anonymous")),
            (None, "aws:userid") => Found::of(Some("anonymous")),
            (None, _) => Found::None,
        }
    }

    fn of_signature(&self, key: &str) -> Found<'_> {
        let signed = self.call.signed.as_ref();
        match key {
            "s3:signatureversion" => Found::of(signed.map(|_| sigv4::ALGORITHM)),
            "s3:authtype" => Found::of(signed.map(|signed| match signed.kind() {
                _ if self.call.row.operation == Operation::PostObject => "POST",
                sigv4::Kind::Header => "REST-HEADER",
                sigv4::Kind::Presigned { .. } => "REST-QUERY-STRING",
            })),
            "s3:signatureage" => Found::of(signed.map(|signed| {
                let age = self.now.as_millisecond() - signed.date().timestamp().as_millisecond();
                age.max(0).to_string()
            })),
            _ => Found::None,
        }
    }
}

impl Context for Circumstances<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        let call = self.call;
        let header = |name: &str| Found::of(call.header(name));
        // Of a browser's own affairs, texts that are no ASCII have no value.
        let text = |name: http::HeaderName| Found::of(call.headers.get(name).and_then(|value| value.to_str().ok()));
        match key {
            "aws:securetransport" => Found::of(Some(if call.cx.is_secure() { "true" } else { "false" })),
            "aws:sourceip" => Found::of(Some(call.cx.client.to_string())),
            "aws:useragent" => text(USER_AGENT),
            "aws:referer" => text(REFERER),
            "aws:currenttime" => Found::of(Some(iso8601(self.now))),
            "aws:epochtime" => Found::of(Some(self.now.as_second().to_string())),
            "aws:requestedregion" => Found::of(Some(self.s3.settings.region.as_str())),
            "aws:viaawsservice" => Found::of(Some("false")),
            "aws:resourceaccount" | "s3:resourceaccount" => {
                Found::of(self.bucket.map(|bucket| bucket.record.account.as_str()))
            }
            "s3:tlsversion" => Found::of(call.cx.tls.map(|tls| tls.version.trim_start_matches("TLSv"))),
            METHOD => Found::of(self.encryption.method.as_deref()),
            EFFECTIVE_KEY => Found::of(self.encryption.key.as_deref()),
            "s3:prefix" | "s3:delimiter" | "s3:max-keys" => {
                Found::of(call.query.value(key.trim_start_matches("s3:")).map(Cow::Borrowed))
            }
            "s3:versionid" => Found::of(call.query.value("versionId")),
            "s3:locationconstraint" => Found::of(self.creation.and_then(|creation| creation.location.as_deref())),
            "s3:objectcreationoperation" => Found::of(self.creates_object()),
            "s3:object-lock-remaining-retention-days" => {
                Found::of(self.lock.remaining_days(self.now).map(|days| days.to_string()))
            }
            "s3:object-lock-mode" => Found::of(self.lock.mode.as_deref()),
            "s3:object-lock-retain-until-date" => Found::of(self.lock.until.as_deref()),
            "s3:object-lock-legal-hold" => Found::of(self.lock.hold.as_deref()),
            "s3:if-match"
            | "s3:if-none-match"
            | "s3:x-amz-acl"
            | "s3:x-amz-bucket-namespace"
            | "s3:x-amz-content-sha256"
            | "s3:x-amz-copy-source"
            | "s3:x-amz-grant-full-control"
            | "s3:x-amz-grant-read"
            | "s3:x-amz-grant-read-acp"
            | "s3:x-amz-grant-write"
            | "s3:x-amz-grant-write-acp"
            | "s3:x-amz-metadata-directive"
            | "s3:x-amz-object-ownership"
            | "s3:x-amz-server-side-encryption-customer-algorithm"
            | "s3:x-amz-storage-class"
            | "s3:x-amz-website-redirect-location" => header(key.trim_start_matches("s3:")),
            "s3:requestobjecttagkeys" => all_keys(&self.request_tags),
            "aws:tagkeys" if self.changes_tags_of_bucket() => all_keys(&self.request_tags),
            "aws:tagkeys" => all_keys(self.tags_of_new_bucket()),
            _ if key.starts_with(REQUEST_BUCKET_TAG) && call.row.operation == Operation::TagResource => {
                of_tag(&self.request_tags, &key[REQUEST_BUCKET_TAG.len()..])
            }
            _ if key.starts_with(REQUEST_BUCKET_TAG) => {
                of_tag(self.tags_of_new_bucket(), &key[REQUEST_BUCKET_TAG.len()..])
            }
            _ if key.starts_with(REQUEST_TAG) => of_tag(&self.request_tags, &key[REQUEST_TAG.len()..]),
            _ if key.starts_with(EXISTING_TAG) => of_tag(&self.existing_tags, &key[EXISTING_TAG.len()..]),
            _ if key.starts_with(BUCKET_TAG) => self.of_bucket_tag(&key[BUCKET_TAG.len()..]),
            _ if key.starts_with(RESOURCE_TAG) => self.of_bucket_tag(&key[RESOURCE_TAG.len()..]),
            _ if key.starts_with("s3:") => self.of_signature(key),
            _ => self.of_principal(key),
        }
    }
}

fn all_keys(tags: &[(String, String)]) -> Found<'_> {
    match tags {
        [] => Found::None,
        tags => Found::Many(tags.iter().map(|(key, _)| Cow::Borrowed(key.as_str())).collect()),
    }
}

/// The value of a tag whose key is `key`, in lower case as condition keys are.
fn of_tag<'t>(tags: &'t [(String, String)], key: &str) -> Found<'t> {
    Found::of(tags.iter().find(|(name, _)| name.to_lowercase() == key).map(|(_, value)| value.as_str()))
}
