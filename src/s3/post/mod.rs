//! PostObject: an upload by a browser's form. (AWS: "POST Object", "Browser-based uploads using POST".)
//!
//! 1. the form's fields are read, in memory, up to the file;
//! 2. the policy's signature says who made it; a form without one comes from nobody;
//! 3. the transport is judged, and the maker authorised, as for a PUT;
//! 4. the policy is held against the fields: each must be allowed;
//! 5. the file is streamed in, as long as the policy allows, and committed as an object like any other.

mod feed;
mod form;
mod policy;

use http::header::LOCATION;
use http::{HeaderMap, HeaderName, Response, StatusCode, Uri};

use super::access::REQUEST_CHARGED;
use super::call::{Bucket, Call};
use super::checksum::Algorithm;
use super::checksum::render::write_headers;
use super::condition::Preconditions;
use super::error::Result;
use super::headers::{insert, insert_etag, read_form_attributes};
use super::lifecycle::insert_expiration;
use super::payload::PayloadPlan;
use super::put::{MAX_PUT, NewObject, insert_id};
use super::render;
use super::request::{ObjectKey, Target};
use super::service::S3;
use super::xml::XmlWriter;
use crate::iam::Permit;
use crate::sigv4::{self, Signed, SignedPolicy};
use crate::sse::{self, ObjectName};
use crate::wire::percent::percent_encode;
use crate::wire::{RequestBody, ResponseBody};

use form::{Fields, Form};
use policy::Policy;

/// The fields of a signature, of whichever version.
const OF_SIGNATURES: &[&str] =
    &["awsaccesskeyid", "signature", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];

impl S3 {
    pub(super) async fn post_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let Form { fields, file } = Form::read(&call.headers, body, self.settings.body_timeout).await?;
        let key = ObjectKey::of_path(fields.required("key", "key")?)?;
        let signed = self.authenticate_policy(call, &fields)?;
        let posted = Call::anonymous(call.cx, call.row, call.query.clone(), fields.to_headers()?, call.witness);
        let identity = signed.as_ref().map(|signed| self.identity_of(signed)).transpose()?;
        let posted = Call { identity, signed, ..posted };
        let target = Target::Object(bucket.name.clone(), key.clone());
        call.witness.see_request(posted.row, &posted.query, &target);
        call.witness.see_caller(posted.identity.as_ref(), posted.signed.as_ref());
        call.witness.see(self.event_of(&posted, &target));
        self.judge_transport(&posted, bucket, Some(&key)).await?;
        let is_charged = self.judge_payment(&posted, bucket).await?;
        let permit = self.authorize(&posted, posted.row.action, bucket, Some(&key)).await?;
        let place = self.location(call, bucket, &key);
        let mut response = self.store_form(&posted, bucket, &key, (Form { fields, file }, &place), permit).await?;
        if is_charged {
            insert(response.headers_mut(), HeaderName::from_static(REQUEST_CHARGED), "requester");
        }
        Ok(response)
    }

    async fn store_form(
        &self,
        posted: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        (Form { fields, file }, place): (Form, &str),
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let length = match fields.value("policy") {
            Some(text) => {
                let policy = Policy::parse(text)?;
                policy.judge(&fields, &bucket.name, self.clock.now())?;
                policy.length()
            }
            None => None,
        };

        let plan = Self::plan(posted, bucket, key)?;
        let attributes = read_form_attributes(&posted.headers)?;
        let markings = self.markings(posted, bucket, key).await?;
        let access = self.access_of_new(posted, bucket, key).await?;
        let required = self.data_requirements(plan.shows_md5(), Algorithm::Crc64Nvme);
        let (least, most) = length.unwrap_or((0, MAX_PUT));
        let payload = PayloadPlan::of_form(&posted.headers, &required, least..=most.min(MAX_PUT))?;
        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(&plan, &self.kms_caller(posted), name).await?;
        let (sealed, verified) = self.receive(payload, file, &object_key, 0).await?;
        let (envelope, object_key) = (&envelope, &object_key);
        let consequences = &self.consequences(posted, bucket, key.as_str()).await?;
        let (verified, origin) = (&verified, None);
        let new =
            NewObject { attributes, markings, access, envelope, object_key, sealed, verified, consequences, origin };
        let conditions = Preconditions::of_write(&posted.headers)?;
        let stored = self.store_object(bucket, key, new, &conditions).await?;

        let mut response = answer(place, bucket, key, &stored.etag, &fields);
        let headers = response.headers_mut();
        insert_etag(headers, &stored.etag);
        insert_id(headers, stored.version);
        insert_expiration(headers, stored.expires.as_deref());
        headers.extend(sse::headers::echo(envelope, false, plan.customer_key())?);
        write_headers(&verified.checksums, headers);
        Ok(response)
    }

    /// Who signed the form's policy; `None` for a form without one.
    fn authenticate_policy(&self, call: &Call<'_>, fields: &Fields) -> Result<Option<Signed>> {
        let Some(policy) = fields.value("policy") else { return Ok(None) };
        // A policy that nobody signed is judged as anyone's. (Recorded on AWS, `test_post_request_missing_fields`.)
        if OF_SIGNATURES.iter().all(|name| fields.value(name).is_none()) {
            return Ok(None);
        }
        if fields.value("x-amz-signature").is_none() && fields.value("awsaccesskeyid").is_some() {
            return Err(sigv4::Error::UnsupportedMechanism.into());
        }
        let presented = SignedPolicy {
            policy,
            algorithm: fields.required("x-amz-algorithm", "X-Amz-Algorithm")?,
            credential: fields.required("x-amz-credential", "X-Amz-Credential")?,
            date: fields.required("x-amz-date", "X-Amz-Date")?,
            signature: fields.required("x-amz-signature", "X-Amz-Signature")?,
            session_token: fields.non_empty("x-amz-security-token"),
        };
        let verifier = self.verifier();
        let key = presented.credential.split('/').next().unwrap_or_default();
        let verify = || presented.verify(&verifier);
        Ok(Some(self.directory.attempt(call.cx.client, key, verifier.now, verify)?))
    }
}

/// What the form asks to be answered: a redirect, or 200, 201 or 204.
fn answer(place: &str, bucket: &Bucket, key: &ObjectKey, etag: &str, fields: &Fields) -> Response<ResponseBody> {
    if let Some(target) = redirect(fields) {
        // What is added belongs to the query, which the fragment follows.
        let (target, fragment) = target.split_at(target.find('#').unwrap_or(target.len()));
        let separator = if target.contains('?') { '&' } else { '?' };
        let quoted = percent_encode(&format!("\"{etag}\""));
        let key = percent_encode(key.as_str()).replace('/', "%2F");
        let target = format!("{target}{separator}bucket={}&key={key}&etag={quoted}{fragment}", bucket.name);
        return with_location(render::empty(StatusCode::SEE_OTHER), &target);
    }
    let response = match fields.value("success_action_status") {
        Some("200") => render::empty(StatusCode::OK),
        Some("201") => {
            let mut response = render::document(XmlWriter::bare_document("PostResponse", |xml| {
                xml.text("Location", place);
                xml.text("Bucket", &bucket.name);
                xml.text("Key", key);
                xml.text("ETag", format_args!("\"{etag}\""));
            }));
            *response.status_mut() = StatusCode::CREATED;
            response
        }
        _ => render::empty(StatusCode::NO_CONTENT),
    };
    with_location(response, place)
}

/// Where the form wants its user sent; what is no web address is passed over, as AWS does.
fn redirect(fields: &Fields) -> Option<&str> {
    let target = fields.non_empty("success_action_redirect").or_else(|| fields.non_empty("redirect"))?;
    let uri: Uri = target.parse().ok()?;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(target)
}

fn with_location(mut response: Response<ResponseBody>, target: &str) -> Response<ResponseBody> {
    let headers: &mut HeaderMap = response.headers_mut();
    insert(headers, LOCATION, target);
    response
}
