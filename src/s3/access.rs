//! Authorisation: the bucket's policy and public-access settings, and whose its objects are, asked about one request.
//!
//! What is judged is an [`About`]: an object, a version of it, and what it is to be given. What a policy may ask of it and of
//! the request is in [`Circumstances`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::acl::ANONYMOUS;
use super::call::{Bucket, Call};
use super::circumstances::{BUCKET_TAG, Circumstances, EFFECTIVE_KEY, EXISTING_TAG, METHOD, RESOURCE_TAG};
use super::error::{ErrorCode, Result, S3Error};
use super::markings::parse_until;
use super::operation::Operation;
use super::request::ObjectKey;
use super::service::S3;
use super::standing::{Asker, Standing};
use super::tags::{self, Tags};
use crate::clock::{Timestamp, from_millis, iso8601};
use crate::iam::{self, Identity, Permit, Question};
use crate::kms::KeyRef;
use crate::policy::{Grant, Kind, MalformedPolicy, Policy, has_existing_tags};
use crate::sse::{self, Envelope, SseKind};
use crate::store::configuration::read_configuration;
use crate::store::schema::{ConfigurationKind, ObjectRecord, VersionId};

/// The policies of buckets, compiled; each as long as the bucket has it.
#[derive(Default)]
pub(super) struct CompiledPolicies(Mutex<HashMap<[u8; 16], Compiled>>);

struct Compiled {
    text: String,
    policy: Arc<Policy>,
}

/// Compiled policies kept at once.
const KEPT: usize = 4096;
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

/// What nobody may do without a signature, whatever policies and lists give, as AWS words it. (The text about uploads:
/// awsdocs/amazon-s3-userguide#91; the others as versitygw's `PublicBucket_*` tests and castoro have them from AWS.)
const SIGNED_ALONE: &[(&[Operation], &str)] = {
    use Operation::{
        CopyObject, CreateBucket, CreateMultipartUpload, DeleteBucketOwnershipControls, GetBucketOwnershipControls,
        PutBucketAcl, PutBucketOwnershipControls, PutObjectAcl,
    };
    &[
        (&[CopyObject], "Anonymous users cannot copy objects.  Please authenticate."),
        (&[CreateMultipartUpload], "Anonymous users cannot initiate multipart uploads.  Please authenticate."),
        (&[CreateBucket, PutBucketAcl, PutObjectAcl], "Anonymous users cannot invoke this API. Please authenticate."),
        (&[GetBucketOwnershipControls], "s3:GetBucketOwnershipControls does not support Anonymous requests!"),
        (
            &[DeleteBucketOwnershipControls, PutBucketOwnershipControls],
            "s3:PutBucketOwnershipControls does not support Anonymous requests!",
        ),
    ]
};

/// What a question is about.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'r> {
    /// The object; `None` for the bucket.
    pub key: Option<&'r ObjectKey>,
    /// The version of it, if one is named.
    pub version: Option<VersionId>,
    /// Its record, where that has been read: it is judged by this very one. `None`: by what is there.
    pub record: Option<&'r ObjectRecord>,
    /// The entity tag that the entry of a batch of deletions wants it to have.
    pub etag: Option<&'r str>,
    /// The tags that the object is to be given; `None` for what the request's header says.
    pub tags: Option<&'r [(String, String)]>,
    /// The encryption that it is to be given; `None` for what the request's headers say.
    pub encryption: Option<&'r AskedEncryption>,
    /// The lock that it is to be given; `None` for what the request's headers say.
    pub lock: Option<&'r AskedLock>,
    /// The optional fields that an inventory of the bucket is to have.
    pub inventory_fields: &'r [String],
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
    /// Refuses what takes a signature to whoever did not sign.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) fn refuse_unsigned(call: &Call<'_>) -> Result<()> {
        let refused = SIGNED_ALONE.iter().find(|(operations, _)| operations.contains(&call.row.operation));
        match refused {
            Some((_, message)) if call.identity.is_none() => Err(S3Error::new(ErrorCode::AccessDenied, *message)),
            _ => Ok(()),
        }
    }

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
        let version = key.and_then(|_| call.version().ok().flatten());
        self.authorize_about(call, action, bucket, About { key, version, ..About::default() }).await
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
        let standing = if self.began_upload(call, action, bucket, about).await? {
            Standing { owner: None, acl: Grant::Initiator }
        } else if bucket.has_acls() {
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
        let is_owners = call.identity.as_ref().is_some_and(|caller| caller.account.id == bucket.record.account);
        if is_owners || !self.is_requester_pays(bucket).await? {
            return Ok(false);
        }
        let asked = call.header(REQUEST_PAYER).or(call.query.value(REQUEST_PAYER));
        match &call.identity {
            Some(_) if asked == Some("requester") => Ok(true),
            _ => Err(ErrorCode::AccessDenied.into()),
        }
    }

    /// Whether other accounts pay for what they ask of the bucket.
    pub(super) async fn is_requester_pays(&self, bucket: &Bucket) -> Result<bool> {
        let kind = ConfigurationKind::RequestPayment;
        if !bucket.record.may_have(kind) {
            return Ok(false);
        }
        let configured = read_configuration(&*self.store, &bucket.record, kind, None).await?;
        Ok(configured.is_some_and(|record| record.document.contains(REQUESTER_PAYS)))
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
        self.circumstances_of(call, Some(bucket))
    }

    fn circumstances_of<'r>(&'r self, call: &'r Call<'r>, bucket: Option<&'r Bucket>) -> Circumstances<'r> {
        Circumstances::new(call, &self.settings.region, self.clock.now(), bucket)
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
        let About { key, version, record, tags, encryption, lock, .. } = about;
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
            None => tags::that_take_effect(call),
        };
        let existing_tags = match key {
            Some(key) if has_existing_tags(action) && asked(&|key| key.starts_with(EXISTING_TAG)) => {
                call.asks_for_tags.store(true, Ordering::Relaxed);
                let present =
                    async { self.find(bucket, key, version).await.map(|record| record.tags).unwrap_or_default() };
                existing_tags(record.map(|record| &record.tags[..]), present).await
            }
            _ => Tags::new(),
        };
        let asks_bucket = || asked(&|key| key.starts_with(BUCKET_TAG) || key.starts_with(RESOURCE_TAG));
        let by_tags = !bucket.record.tags.is_empty() && asks_bucket() && self.is_under_abac(bucket).await?;
        let of_bucket = self.circumstances(call, bucket);
        let lock = lock.cloned().unwrap_or_else(|| AskedLock::of_headers(call));
        let context = Circumstances { about, encryption, lock, request_tags, existing_tags, by_tags, ..of_bucket };
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
        let context = Circumstances { creation: Some(creation), ..self.circumstances_of(call, None) };
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
        let context = self.circumstances_of(call, None);
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

    /// Until when a version is to be held. It can be written in more ways than conditions can read, and is shown in one; what
    /// cannot be read at all is refused later.
    pub fn shown_until(&self) -> Option<Cow<'_, str>> {
        let given = self.until.as_deref()?;
        Some(self.until().map_or(Cow::Borrowed(given), |until| Cow::Owned(iso8601(until))))
    }

    /// Until when a version is to be held, read as the operation reads it.
    fn until(&self) -> Option<Timestamp> {
        parse_until(self.until.as_ref()?.trim()).map(from_millis)
    }

    /// For how many days from `now`, begun ones whole, a version is to be held.
    pub fn remaining_days(&self, now: Timestamp) -> Option<i64> {
        let until = self.until()?;
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

/// The tags by which an object is judged: those of the very record that was read, if one was, else of what is `present`.
async fn existing_tags(read: Option<&[(String, String)]>, present: impl Future<Output = Tags>) -> Tags {
    match read {
        Some(tags) => tags.to_vec(),
        None => present.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_read_is_judged_by_its_own_tags() {
        let tags = |value: &str| vec![("class".to_owned(), value.to_owned())];
        let present = async || tags("public");
        assert_eq!(existing_tags(Some(&tags("secret")), present()).await, tags("secret"));
        assert_eq!(existing_tags(Some(&[]), present()).await, Tags::new());
        assert_eq!(existing_tags(None, present()).await, tags("public"));
    }

    #[test]
    fn dates_are_shown_to_conditions_in_one_form() {
        let lock = |until: &str| AskedLock { until: Some(until.to_owned()), ..AskedLock::default() };
        for until in ["2099-12-01T00:00:00Z", "20991201T000000Z", "2099-12-01 00:00:00Z", " 2099-12-01T01:00:00+01:00 "]
        {
            assert_eq!(lock(until).shown_until().as_deref(), Some("2099-12-01T00:00:00.000Z"), "{until}");
        }
        assert_eq!(lock("soon").shown_until().as_deref(), Some("soon"));
        assert_eq!(AskedLock::default().shown_until(), None);
        assert_eq!(lock("19700101T120000Z").remaining_days(from_millis(0)), Some(1));
        // What lies behind the last time that there is here is held for very long, and not for no time that is known.
        let for_ever = lock("9999-12-31T23:59:59Z");
        assert_eq!(for_ever.shown_until(), lock("9999-12-30T22:00:00.999Z").shown_until());
        assert!(for_ever.remaining_days(from_millis(0)).is_some_and(|days| days > 2_900_000));
    }
}
