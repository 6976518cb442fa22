//! The way of a request through the checks to its handler.

use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version};

use super::access::{CompiledPolicies, REQUEST_CHARGED};
use super::access_log::{self, Access, AccessLogs, Logging};
use super::bucket::BUCKET_REGION;
use super::buffer::BufferPool;
use super::call::{AuditNotes, Bucket, Call, Seen};
use super::configuration::Parsed;
use super::consequences::SharedOutboxes;
use super::cors::{Cors, CrossOrigin};
use super::error::{ErrorCode, Result, S3Error};
use super::lifecycle::ParsedRules;
use super::operation::{Offer, Operation};
use super::replication::Replication;
use super::request::{ObjectKey, Query, Target, may_name_bucket, virtual_bucket};
use super::website::{Shown, Website};
use super::{control, event, headers, presigned, render};
use crate::audit::SharedAudit;
use crate::clock::SharedClock;
use crate::config::ArnPattern;
use crate::crypto::SharedEntropy;
use crate::events::Subscriptions;
use crate::iam::{Account, Directory, Explanation, Identity, Permit};
use crate::jobs::lifecycle::Calendar;
use crate::kms::Caller;
use crate::policy::{Subject, is_account_id};
use crate::sigv4::{self, Head, Presented, Signed, SigningKeys, Verifier};
use crate::sse::{self, Sse};
use crate::store::schema::{BucketRecord, PublicAccessBlock};
use crate::store::{SharedStore, StoreError, commit};
use crate::wire::{Answered, Protocol, RequestBody, RequestContext, ResponseBody};

/// The S3 service of one region.
pub struct S3 {
    pub(super) store: SharedStore,
    pub(super) sse: Arc<Sse>,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: SharedClock,
    pub(super) entropy: SharedEntropy,
    pub(super) settings: Settings,
    pub(super) policies: CompiledPolicies,
    pub(super) lifecycles: ParsedRules,
    pub(super) subscriptions: Parsed<Subscriptions>,
    pub(super) replications: Parsed<Replication>,
    pub(super) outboxes: SharedOutboxes,
    pub(super) cors: Parsed<Cors>,
    pub(super) websites: Parsed<Website>,
    pub(super) loggings: Parsed<Logging>,
    pub(super) access_logs: Arc<AccessLogs>,
    pub(super) buffers: Arc<BufferPool>,
    pub(super) audit: SharedAudit,
    keys: Arc<SigningKeys>,
}

/// What the configuration decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region that signatures must name and locations show.
    pub region: String,
    /// The domains below which a host name's first labels name a bucket.
    pub base_domains: Vec<String>,
    /// The domains below which a host name's first labels name a bucket whose website is meant.
    pub website_domains: Vec<String>,
    /// Runs of at most this many sealed bytes are stored as values beside their record.
    pub inline_limit: usize,
    /// Whether a copy may share the sealed bytes of its source.
    pub share_on_copy: bool,
    /// The length of a day, as life cycles and inventory reports count.
    pub calendar: Calendar,
    /// How long a request's body may stall.
    pub body_timeout: std::time::Duration,
    /// Buckets that are reached at other servers, by their ARNs.
    pub remote_destinations: Vec<ArnPattern>,
}

/// Where a visitor without credentials is sent who asks for the list of buckets, as by a browser.
const PRODUCT_PAGE: &str = "https://aws.amazon.com/s3/";

/// What a policy may ask of these stands in their documents: they are permitted when those are read. So is an inventory.
const JUDGED_BY_DOCUMENT: &[Operation] = &[
    Operation::PutObjectLegalHold,
    Operation::PutObjectRetention,
    Operation::PutObjectTagging,
    Operation::UpdateObjectEncryption,
];

impl S3 {
    /// The service on `store`.
    pub fn new(
        settings: Settings,
        store: SharedStore,
        sse: Arc<Sse>,
        directory: Arc<Directory>,
        keys: Arc<SigningKeys>,
        (audit, outboxes): (SharedAudit, SharedOutboxes),
        (clock, entropy): (SharedClock, SharedEntropy),
    ) -> Self {
        Self {
            store,
            sse,
            directory,
            clock,
            entropy,
            settings,
            policies: CompiledPolicies::default(),
            lifecycles: ParsedRules::default(),
            subscriptions: Parsed::default(),
            replications: Parsed::default(),
            outboxes,
            cors: Parsed::default(),
            websites: Parsed::default(),
            loggings: Parsed::default(),
            access_logs: Arc::default(),
            buffers: Arc::default(),
            audit,
            keys,
        }
    }

    /// At start: takes up what a crash cut off.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recover(&self) -> Result<(), StoreError> {
        commit::empty_gone(&*self.store).await?;
        let mut after = String::new();
        loop {
            let page = commit::read_buckets(&*self.store, &after, 1000).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (_, record) in &page {
                commit::revive_bucket(&*self.store, record).await?;
            }
        }
    }

    async fn answer(
        &self,
        cx: &RequestContext,
        parts: Parts,
        body: RequestBody,
        answered: &mut Answered,
        witness: &AuditNotes,
    ) -> Result<Response<ResponseBody>> {
        let head = Head::of_parts(&parts);
        let host = head.host()?.map(String::from_utf8_lossy);
        if host.is_none() && parts.version == Version::HTTP_11 {
            // RFC 9112, section 3.2.
            return Err(S3Error::new(ErrorCode::BadRequest, "The request must have a Host header."));
        }
        let target = match control::target(head.path, head.headers) {
            Some(target) => target?,
            None => Target::parse(host.as_deref(), head.path, &self.settings.base_domains)?,
        };
        headers::check_size(head.headers, head.query)?;
        if head.method == Method::OPTIONS {
            answered.operation = "Preflight";
            return self.preflight(&target, head.headers, witness).boxed().await;
        }
        let query = Query::parse(head.query)?;
        let extended = presigned::with_parameters(head.headers, &query)?;
        let row = Operation::route(head.method, target.kind(), &query, extended.as_ref().unwrap_or(head.headers))?;
        let target = target.of_kind(row.target);
        answered.operation = row.name;
        witness.see_request(row, &query, &target);
        let signed = match self.authenticate(cx, &head) {
            Err(sigv4::Error::UnsupportedMechanism) => {
                let refusal = S3Error::from(sigv4::Error::UnsupportedMechanism);
                let call = Call::anonymous(cx, row, query, parts.headers, witness);
                return Err(self.refuse_mechanism(&call, &target, refusal).boxed().await);
            }
            signed => signed?,
        };
        let host = host.map(std::borrow::Cow::into_owned);
        let headers = extended.unwrap_or(parts.headers);
        answered.access_key_id = signed.as_ref().map(|signed| signed.access_key_id().to_owned());
        let identity = signed.as_ref().map(|signed| self.identity_of(signed)).transpose()?;
        witness.see_caller(identity.as_ref(), signed.as_ref());
        let call = Call { host, identity, signed, ..Call::anonymous(cx, row, query, headers, witness) };
        witness.see(self.event_of(&call, &target));
        self.dispatch(&call, target, body).await
    }

    /// Who signed the request, if anybody did.
    fn authenticate(&self, cx: &RequestContext, head: &Head<'_>) -> Result<Option<Signed>, sigv4::Error> {
        let Some(presented) = Presented::from_head(head)? else {
            return Ok(None);
        };
        let hash = presented.s3_payload_hash(head)?;
        let (key, verifier) = (presented.access_key_id().to_owned(), self.verifier());
        let verify = || presented.verify(head, &verifier, &hash);
        self.directory.attempt(cx.client, &key, verifier.now, verify).map(Some)
    }

    /// What signatures are held against.
    pub(super) fn verifier(&self) -> Verifier<'_> {
        Verifier {
            secrets: &*self.directory,
            region: &self.settings.region,
            service: sigv4::Service::S3,
            now: self.clock.now(),
            keys: &self.keys,
        }
    }

    /// Whom the key that signed speaks for.
    ///
    /// # Errors
    /// It has gone since the signature was verified.
    pub(super) fn identity_of(&self, signed: &Signed) -> Result<Identity, sigv4::Error> {
        let gone = || sigv4::Error::InvalidAccessKeyId { access_key_id: signed.access_key_id().to_owned() };
        self.directory.identify(signed).ok_or_else(gone)
    }

    async fn dispatch(&self, call: &Call<'_>, target: Target, body: RequestBody) -> Result<Response<ResponseBody>> {
        if headers::has_overrides(&call.query) && call.signed.is_none() {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        let (name, key) = match target {
            Target::Service if call.row.operation == Operation::ListBuckets && call.signed.is_none() => {
                let mut response = render::empty(StatusCode::TEMPORARY_REDIRECT);
                headers::insert(response.headers_mut(), http::header::LOCATION, PRODUCT_PAGE);
                return Ok(response);
            }
            Target::Service => {
                let permit = self.authorize_in_account(call, "arn:aws:s3:::*")?;
                return self.on_service(call, permit).boxed().await;
            }
            Target::Bucket(name) => (name, None),
            Target::Object(name, key) => (name, Some(key)),
            Target::ResourceTags(arn) => return self.on_resource_tags(call, &arn, body).boxed().await,
            Target::AccountBlock => return self.on_account_block(call, body).boxed().await,
            // No row of the table leads here.
            Target::Control => return Err(ErrorCode::MethodNotAllowed.into()),
        };
        if call.row.operation == Operation::CreateBucket {
            return self.create_bucket(call, &name, body).boxed().await;
        }
        let bucket = self.bucket(call, name).await?;
        if call.row.operation == Operation::PostObject {
            // Who asks, and for which key, stands in the form.
            return self.post_object(call, &bucket, body).boxed().await;
        }
        self.judge_transport(call, &bucket, key.as_ref()).await?;
        let is_charged = self.judge_payment(call, &bucket).await?;
        let mut response = self.carry_out(call, bucket, key, body).await?;
        if is_charged {
            headers::insert(response.headers_mut(), HeaderName::from_static(REQUEST_CHARGED), "requester");
        }
        Ok(response)
    }

    async fn carry_out(
        &self,
        call: &Call<'_>,
        bucket: Bucket,
        key: Option<ObjectKey>,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        Self::refuse_unsigned(call)?;
        // Each of its keys is judged by itself.
        if call.row.operation == Operation::DeleteObjects {
            return self.delete_objects(call, &bucket, body).boxed().await;
        }
        if call.row.operation == Operation::PutBucketInventoryConfiguration {
            return self.put_inventory(call, &bucket, body).boxed().await;
        }
        if let Some(key) = &key
            && JUDGED_BY_DOCUMENT.contains(&call.row.operation)
        {
            let answer = match call.row.operation {
                Operation::PutObjectLegalHold => self.put_object_legal_hold(call, &bucket, key, body).boxed(),
                Operation::PutObjectRetention => self.put_object_retention(call, &bucket, key, body).boxed(),
                Operation::PutObjectTagging => self.put_object_tagging(call, &bucket, key, body).boxed(),
                _ => self.update_encryption(call, &bucket, key, body).boxed(),
            };
            return self.hide_absence(call, &bucket, answer.await).await;
        }
        let permit = self.authorize(call, call.action(), &bucket, key.as_ref()).await?;
        if call.row.offer == Offer::Refused {
            return Err(S3Error::new(
                ErrorCode::NotImplemented,
                format!("{} is not implemented by this server.", call.row.name),
            ));
        }
        match key {
            Some(key) => {
                let answer = self.on_object(call, &bucket, &key, permit, body).await;
                self.hide_absence(call, &bucket, answer).await
            }
            None => self.on_bucket(call, &bucket, permit, body).boxed().await,
        }
    }

    /// Whether a key exists is the affair of those who may list the bucket that it would be in. (API reference, GetObject.)
    pub(super) async fn hide_absence<T>(&self, call: &Call<'_>, bucket: &Bucket, answer: Result<T>) -> Result<T> {
        match answer {
            Err(error) if error.code == ErrorCode::NoSuchKey && !error.is_permitted => {
                self.authorize(call, "s3:ListBucket", bucket, None).await?;
                Err(S3Error { is_permitted: true, ..error })
            }
            answer => answer,
        }
    }

    async fn on_service(&self, call: &Call<'_>, permit: Permit) -> Result<Response<ResponseBody>> {
        match call.row.operation {
            Operation::ListBuckets => self.list_buckets(call, permit).await,
            _ => Err(ErrorCode::NotImplemented.into()),
        }
    }

    async fn on_bucket(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        match call.row.operation {
            Operation::DeleteBucket => self.delete_bucket(bucket, permit).await,
            Operation::DeleteBucketOwnershipControls => self.delete_ownership_controls(bucket, permit).await,
            Operation::DeleteBucketPolicy => self.delete_bucket_policy(bucket, permit).await,
            Operation::DeletePublicAccessBlock => self.delete_public_access_block(bucket, permit).await,
            Operation::GetBucketAcl => Ok(self.bucket_acl(bucket, permit)),
            Operation::GetBucketOwnershipControls => Self::ownership_controls(bucket, permit),
            Operation::GetBucketPolicy => self.bucket_policy(bucket, permit),
            Operation::GetBucketPolicyStatus => Self::bucket_policy_status(bucket, permit),
            Operation::GetPublicAccessBlock => Self::public_access_block(bucket, permit),
            Operation::PutBucketAcl => self.put_bucket_acl(call, bucket, permit, body).await,
            Operation::PutBucketOwnershipControls => self.put_ownership_controls(call, bucket, permit, body).await,
            Operation::PutBucketPolicy => self.put_bucket_policy(call, bucket, permit, body).await,
            Operation::PutPublicAccessBlock => self.put_public_access_block(call, bucket, permit, body).await,
            Operation::DeleteBucketLifecycle => self.delete_lifecycle(bucket, permit).await,
            Operation::GetBucketLifecycleConfiguration => self.lifecycle(bucket, permit).await,
            Operation::PutBucketLifecycleConfiguration => self.put_lifecycle(call, bucket, permit, body).await,
            Operation::DeleteBucketEncryption => self.delete_bucket_encryption(bucket, permit).await,
            Operation::GetBucketEncryption => Ok(Self::bucket_encryption(bucket, permit)),
            Operation::DeleteBucketTagging => self.delete_bucket_tagging(call, bucket, permit).await,
            Operation::GetBucketTagging => Self::bucket_tagging(bucket, permit),
            Operation::PutBucketTagging => self.put_bucket_tagging(call, bucket, permit, body).await,
            Operation::GetObjectLockConfiguration => Self::object_lock_configuration(bucket, permit),
            Operation::PutObjectLockConfiguration => {
                self.put_object_lock_configuration(call, bucket, permit, body).await
            }
            Operation::GetBucketVersioning => Ok(Self::bucket_versioning(bucket, permit)),
            Operation::PutBucketVersioning => self.put_bucket_versioning(call, bucket, permit, body).await,
            Operation::ListObjectVersions => self.list_object_versions(call, bucket, permit).await,
            Operation::GetBucketLocation => Ok(Self::bucket_location(bucket, permit)),
            Operation::HeadBucket => Ok(Self::head_bucket(bucket, permit)),
            Operation::ListMultipartUploads => self.list_uploads(call, bucket, permit).await,
            Operation::ListObjects => Ok(in_region(bucket, self.list_objects_v1(call, bucket, permit).await?)),
            Operation::ListObjectsV2 => Ok(in_region(bucket, self.list_objects_v2(call, bucket, permit).await?)),
            Operation::PutBucketNotificationConfiguration => self.put_notification(call, bucket, permit, body).await,
            Operation::PutBucketReplication => self.put_replication(call, bucket, permit, body).await,
            Operation::PutBucketLogging => self.put_logging(call, bucket, permit, body).await,
            Operation::PutBucketEncryption => self.put_bucket_encryption(call, bucket, permit, body).await,
            _ => self.on_configuration(call, bucket, permit, body).await,
        }
    }

    async fn on_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        if matches!(call.row.operation, Operation::GetObject | Operation::HeadObject) {
            headers::check_overrides(&call.query)?;
        }
        // A future is as large as the largest that it may wait for, and is moved with all of it: each of these has its own room.
        let answer = match call.row.operation {
            Operation::AbortMultipartUpload => self.abort_upload(call, bucket, key, permit).boxed(),
            Operation::CompleteMultipartUpload => self.complete_upload(call, bucket, key, permit, body).boxed(),
            Operation::CopyObject => self.copy_object(call, bucket, key, permit).boxed(),
            Operation::CreateMultipartUpload => self.create_upload(call, bucket, key, permit).boxed(),
            Operation::DeleteObject => self.delete_object(call, bucket, key, permit).boxed(),
            Operation::GetObject | Operation::HeadObject => self.get_object(call, bucket, key, permit).boxed(),
            Operation::GetObjectAcl => self.object_acl(call, bucket, key, permit).boxed(),
            Operation::GetObjectAttributes => self.object_attributes(call, bucket, key, permit).boxed(),
            Operation::DeleteObjectTagging => self.delete_object_tagging(call, bucket, key, permit).boxed(),
            Operation::GetObjectLegalHold => self.object_legal_hold(call, bucket, key, permit).boxed(),
            Operation::GetObjectRetention => self.object_retention(call, bucket, key, permit).boxed(),
            Operation::GetObjectTagging => self.object_tagging(call, bucket, key, permit).boxed(),
            Operation::ListParts => self.list_parts(call, bucket, key, permit).boxed(),
            Operation::PutObject => self.put_object(call, bucket, key, permit, body).boxed(),
            Operation::PutObjectAcl => self.put_object_acl(call, bucket, key, permit, body).boxed(),
            Operation::UploadPart => self.upload_part(call, bucket, key, permit, body).boxed(),
            Operation::UploadPartCopy => self.upload_part_copy(call, bucket, key, permit).boxed(),
            _ => ready(Err(ErrorCode::NotImplemented.into())).boxed(),
        };
        answer.await
    }

    /// The bucket called `name`.
    ///
    /// # Errors
    /// `NoSuchBucket`; `InvalidBucketName` if none can have that name; `AccessDenied` if it is not the account's that the
    /// caller expects.
    pub(super) async fn bucket(&self, call: &Call<'_>, name: String) -> Result<Bucket> {
        let absent = || {
            if may_name_bucket(&name) {
                no_such_bucket(&name)
            } else {
                ErrorCode::InvalidBucketName.with("BucketName", &name)
            }
        };
        let bucket = self.find_bucket(&name).await?.ok_or_else(absent)?;
        call.witness.see_bucket(&bucket);
        check_expected_owner(call, "x-amz-expected-bucket-owner", &bucket.record.account)?;
        Ok(bucket)
    }

    /// The bucket called `name`, whoever asks, if it exists.
    pub(super) async fn find_bucket(&self, name: &str) -> Result<Option<Bucket>> {
        let record = commit::read_bucket(&*self.store, name).await?;
        Ok(record.map(|record| self.bucket_of(name.to_owned(), record)))
    }

    /// The bucket with this name and record.
    pub(super) fn bucket_of(&self, name: String, record: BucketRecord) -> Bucket {
        let account_block = self.directory.public_access(&record.account).unwrap_or(PublicAccessBlock::NONE);
        Bucket { name, record: Arc::new(record), account_block }
    }

    /// The account that owns `bucket`, if it is still configured.
    pub(super) fn owner(&self, bucket: &Bucket) -> Option<&Arc<Account>> {
        self.directory.account(&bucket.record.account)
    }

    /// The caller, as the KMS and its audit see it.
    pub(super) fn kms_caller(&self, call: &Call<'_>) -> Caller {
        let subject = call
            .identity
            .as_ref()
            .map_or_else(|| Arc::new(Subject::anonymous()), |identity| Arc::clone(&identity.subject));
        let via_service = Some(format!("s3.{}.amazonaws.com", self.settings.region));
        let is_told_statements = call.identity.as_ref().is_some_and(|identity| identity.is_told_statements);
        let caller = Caller::new(&subject, via_service, call.cx.id.id.as_str());
        Caller { is_told_statements, replicates: call.replicates, ..caller }
    }

    /// SSE-KMS data is not given to callers on plain HTTP, nor to unsigned requests.
    pub(super) fn require_transport(call: &Call<'_>, envelope: &sse::Envelope) -> Result<()> {
        if envelope.uses_kms() {
            sse::headers::require_transport_for_kms(call.cx.is_secure(), call.signed.is_some())?;
        }
        Ok(())
    }
}

#[async_trait]
impl Protocol for S3 {
    /// A bucket's host, or its website's.
    fn owns_host(&self, host: &str) -> bool {
        let Settings { base_domains, website_domains, .. } = &self.settings;
        [base_domains, website_domains].into_iter().any(|domains| virtual_bucket(host, domains).is_some())
    }

    async fn call(&self, cx: &RequestContext, request: Request<RequestBody>) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        let mut answered = Answered { protocol: "s3", operation: "Unknown", access_key_id: None, error_code: None };
        let witness = AuditNotes::default();
        let log_head = access_log::Head::of(&parts);
        let of_control = control::is_asked(parts.uri.path(), &parts.headers);
        let cross_origin = CrossOrigin::of(&parts.method, &parts.headers).filter(|_| parts.method != Method::OPTIONS);
        let site = self.site_of(&parts);
        let website = site.is_some();
        let Shown { mut response, failure } = match site {
            Some(name) => {
                answered.operation = "VisitWebsite";
                self.visit(cx, name, parts, &witness).boxed().await
            }
            None => match self.answer(cx, parts, body, &mut answered, &witness).await {
                Ok(response) => response.into(),
                Err(error) if of_control => {
                    Shown { response: render::control_error(&error, &cx.id), failure: Some(error) }
                }
                Err(error) => Shown { response: render::error(&error, &cx.id), failure: Some(error) },
            },
        };
        if let Some(error) = &failure {
            answered.error_code = Some(error.code.as_str());
            if error.code.status().is_server_error() && error.code != ErrorCode::NotImplemented {
                let cause = error.source.as_deref().map(tracing::field::debug);
                tracing::error!(request_id = %cx.id, operation = answered.operation, code = error.code.as_str(), cause, "request failed");
            }
        }
        let Seen { mut event, name, bucket, asked, asides, decisions } = witness.into_seen();
        // A request that failed before its bucket was looked for is the bucket's affair all the same.
        let bucket = match (bucket, name) {
            (None, Some(name)) if failure.is_some() => self.find_bucket(&name).await.ok().flatten(),
            (bucket, _) => bucket,
        };
        if let (Some(bucket), Some(error)) = (&bucket, &failure) {
            tell_region(bucket, error, asked.as_ref(), response.headers_mut());
        }
        let by_list = failure.is_none() && decisions.allowed.as_ref().is_some_and(Explanation::is_by_list);
        if let Some(event) = &mut event {
            let owner = bucket.as_ref().map(|bucket| bucket.record.account.as_str());
            let is_refused = failure.as_ref().is_some_and(|error| error.code == ErrorCode::AccessDenied);
            let decision = decisions.decisive(is_refused);
            let result = failure.as_ref().map_or_else(|| Ok(response.headers()), Err);
            event::end(event, &*self.entropy, owner, decision.as_ref(), result);
        }
        if let Some(bucket) = &bucket {
            if let Some(asked) = &cross_origin {
                self.allow_origin(asked, bucket, response.headers_mut()).await;
            }
            let access = Access { cx, head: &log_head, bucket, asked: asked.as_ref(), by_list };
            self.log_access(access, website, failure.as_ref(), &mut response).await;
            self.log_asides(access, asides).await;
        }
        response.extensions_mut().insert(answered);
        if let Some(event) = event {
            response.extensions_mut().insert(event);
        }
        response
    }
}

/// Refuses a bucket that is not the account's that the caller expects.
///
/// # Errors
/// `AccessDenied`; `InvalidBucketOwnerAWSAccountID` for what is no account's id.
pub(super) fn check_expected_owner(call: &Call<'_>, header: &str, owner: &str) -> Result<()> {
    match call.header(header) {
        Some(expected) if !is_account_id(expected) => {
            let message =
                format!("The value of the expected bucket owner parameter must be an AWS Account ID... [{expected}]");
            Err(S3Error::new(ErrorCode::InvalidBucketOwner, message))
        }
        Some(expected) if expected != owner => Err(ErrorCode::AccessDenied.into()),
        _ => Ok(()),
    }
}

/// Who looks into a bucket is told where it is.
fn in_region(bucket: &Bucket, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    headers::insert(response.headers_mut(), HeaderName::from_static(BUCKET_REGION), &bucket.record.region);
    response
}

/// Who may not look into a bucket is told where it is all the same. (API reference, HeadBucket.)
fn tell_region(bucket: &Bucket, error: &S3Error, asked: Option<&access_log::LoggedRequest>, headers: &mut HeaderMap) {
    let looks_into = |asked: &access_log::LoggedRequest| {
        matches!(asked.operation(), Operation::HeadBucket | Operation::ListObjects | Operation::ListObjectsV2)
    };
    if error.code.status() == StatusCode::FORBIDDEN && asked.is_some_and(looks_into) {
        headers::insert(headers, HeaderName::from_static(BUCKET_REGION), &bucket.record.region);
    }
}

/// `NoSuchBucket`, naming it.
pub(super) fn no_such_bucket(name: &str) -> S3Error {
    ErrorCode::NoSuchBucket.with("BucketName", name)
}

/// 204.
pub(super) fn no_content() -> Response<ResponseBody> {
    render::empty(StatusCode::NO_CONTENT)
}
