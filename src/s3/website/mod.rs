//! Static websites: what a bucket shows to browsers under its website's host name.
//!
//! A visitor is nobody: requests are anonymous, whatever they are signed with, and see what the bucket's policy lets anybody
//! see. Only GET and HEAD are served. Directories have index documents, errors have pages.
//! (S3 user guide, "Hosting a static website using Amazon S3" and "Website endpoints".)

mod page;
mod rules;

use std::sync::Arc;

use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LOCATION, RANGE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::call::{AuditNotes, Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{insert, text};
use super::operation::Operation;
use super::render;
use super::request::{ObjectKey, Query, Target, virtual_bucket};
use super::service::{S3, no_such_bucket};
use crate::sigv4::Head;
use crate::store::schema::ConfigurationKind;
use crate::wire::percent::{percent_decode, percent_encode};
use crate::wire::{RequestContext, ResponseBody};

use rules::{Destination, RedirectAll};
pub(super) use rules::{Website, canonical};

/// Where an object says that a visitor is to go instead.
const REDIRECT: &str = "x-amz-website-redirect-location";
/// What is asked of the page, and not of the error document that is shown in its place.
const CONDITIONS: &[HeaderName] = &[IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// What a visitor is shown, and the error that it is about, if it is about one.
pub(super) struct Shown {
    pub response: Response<ResponseBody>,
    pub failure: Option<S3Error>,
}

impl From<Response<ResponseBody>> for Shown {
    fn from(response: Response<ResponseBody>) -> Self {
        Self { response, failure: None }
    }
}

impl S3 {
    /// The bucket whose website the request's host names, if it names one.
    pub(super) fn site_of(&self, parts: &Parts) -> Option<String> {
        let head = Head::of_parts(parts);
        let host = std::str::from_utf8(head.host().ok()??).ok()?;
        virtual_bucket(host, &self.settings.website_domains)
    }

    /// Shows what a visitor of the website of the bucket `name` asks for.
    pub(super) async fn visit(&self, cx: &RequestContext, name: String, parts: Parts, witness: &AuditNotes) -> Shown {
        match self.try_to_show(cx, name, parts, witness).await {
            Ok(shown) => shown,
            Err(error) => Shown { response: page::of_error(&error, None, &cx.id), failure: Some(error) },
        }
    }

    async fn try_to_show(
        &self,
        cx: &RequestContext,
        name: String,
        parts: Parts,
        witness: &AuditNotes,
    ) -> Result<Shown> {
        let path = percent_decode(parts.uri.path(), false).ok_or(ErrorCode::InvalidUri)?;
        let key = path.strip_prefix('/').unwrap_or(&path).to_owned();
        let target = match &*key {
            "" => Target::Bucket(name.clone()),
            key => Target::Object(name.clone(), ObjectKey::parse(key)?),
        };
        let operation = match parts.method {
            Method::OPTIONS => return Ok(self.preflight(&target, &parts.headers, witness).await?.into()),
            Method::GET => Operation::GetObject,
            Method::HEAD => Operation::HeadObject,
            other => {
                return Err(ErrorCode::MethodNotAllowed
                    .with("Method", other.as_str())
                    .with("ResourceType", "OBJECT")
                    .with_header("allow", "HEAD, GET"));
            }
        };
        let visitor = Visitor {
            scheme: if cx.is_secure() { "https" } else { "http" },
            host: text(&parts.headers, http::header::HOST)
                .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
                .unwrap_or_default()
                .to_owned(),
            query: parts.uri.query().map(str::to_owned),
        };
        let query = Query::default();
        witness.see_request(operation.row(), &query, &target);
        let call = Call::anonymous(cx, operation.row(), query, parts.headers, witness);
        witness.see(self.event_of(&call, &target));
        let bucket = self.find_bucket(&name).await?.ok_or_else(|| no_such_bucket(&name))?;
        witness.see_bucket(&bucket);
        // Nobody pays who is not known: a website shows nothing where requesters do.
        self.judge_payment(&call, &bucket).await?;
        let website = self.website_of(&bucket).await?;
        if let Some(RedirectAll { host_name, protocol }) = &website.redirect_all_requests_to {
            let (host, protocol) = (Some(host_name.as_str()), protocol.as_deref());
            let destination = Destination { status: StatusCode::MOVED_PERMANENTLY, protocol, host, key };
            return Ok(visitor.redirect(&destination).into());
        }
        if let Some(destination) = website.route(&key, None) {
            return Ok(visitor.redirect(&destination).into());
        }
        match self.page(&call, &bucket, &website, &key).await {
            Ok(response) => Ok(response.into()),
            Err(error) => Ok(self.show_error(call, &bucket, &website, &key, &visitor, error).await),
        }
    }

    async fn website_of(&self, bucket: &Bucket) -> Result<Arc<Website>> {
        let website = self.configured(bucket, ConfigurationKind::Website, &self.websites, Website::read).await?;
        website.ok_or_else(|| ErrorCode::NoSuchWebsiteConfiguration.with("BucketName", &bucket.name))
    }

    /// The object that stands for `key`, or the way to it.
    async fn page(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        website: &Website,
        key: &str,
    ) -> Result<Response<ResponseBody>> {
        let directory = key.is_empty() || key.ends_with('/');
        let document = if directory { format!("{key}{}", website.suffix()) } else { key.to_owned() };
        let missing = match self.fetch(call, bucket, &document).await {
            Ok(response) => return Ok(elsewhere(&response).unwrap_or(response)),
            Err(error) if error.code == ErrorCode::NoSuchKey => error,
            Err(error) => return Err(error),
        };
        if !directory && self.has_index(call, bucket, website, key).await {
            let mut response = page::found(&call.cx.id);
            insert(response.headers_mut(), LOCATION, &format!("/{}/", percent_encode(key)));
            return Ok(response);
        }
        // Whether a key exists is the affair of those who may list the bucket.
        self.authorize(call, "s3:ListBucket", bucket, None).await?;
        Err(missing)
    }

    /// Whether there is a page for the directory `key`, whatever the visitor asks of the one that it named.
    async fn has_index(&self, call: &Call<'_>, bucket: &Bucket, website: &Website, key: &str) -> bool {
        let mut headers = call.headers.clone();
        without_conditions(&mut headers);
        let call = Call::anonymous(call.cx, call.row, call.query.clone(), headers, call.witness);
        self.fetch(&call, bucket, &format!("{key}/{}", website.suffix())).await.is_ok()
    }

    /// The object `key`, as anybody may read it.
    async fn fetch(&self, call: &Call<'_>, bucket: &Bucket, key: &str) -> Result<Response<ResponseBody>> {
        let key = ObjectKey::parse(key)?;
        self.judge_transport(call, bucket, Some(&key)).await?;
        let permit = self.authorize(call, "s3:GetObject", bucket, Some(&key)).await?;
        self.get_object(call, bucket, &key, permit).await
    }

    /// What is shown for `error`: a redirection, the website's error document, or a page of the server's own.
    async fn show_error(
        &self,
        mut call: Call<'_>,
        bucket: &Bucket,
        website: &Website,
        key: &str,
        visitor: &Visitor,
        error: S3Error,
    ) -> Shown {
        let status = error.code.status();
        if error.code == ErrorCode::NotModified {
            return render::error(&error, &call.cx.id).into();
        }
        if let Some(destination) = website.route(key, Some(status)) {
            return visitor.redirect(&destination).into();
        }
        let Some(document) = website.error_key().filter(|_| status.is_client_error()) else {
            return Shown { response: page::of_error(&error, None, &call.cx.id), failure: Some(error) };
        };
        without_conditions(&mut call.headers);
        let response = match self.fetch(&call, bucket, document).await {
            // One that redirects does so here as well, and the status is lost. (Recorded on AWS,
            // `test_object_website_redirect_location`.)
            Ok(mut response) => elsewhere(&response).unwrap_or_else(|| {
                *response.status_mut() = status;
                page::write_headers(&error, response.headers_mut());
                response
            }),
            Err(second) => page::of_error(&error, Some(&second), &call.cx.id),
        };
        Shown { response, failure: Some(error) }
    }
}

/// Where the object that `response` shows sends visitors instead, if it does.
fn elsewhere(response: &Response<ResponseBody>) -> Option<Response<ResponseBody>> {
    let location = text(response.headers(), REDIRECT)?;
    let mut redirection = render::empty(StatusCode::MOVED_PERMANENTLY);
    insert(redirection.headers_mut(), LOCATION, location);
    Some(redirection)
}

fn without_conditions(headers: &mut HeaderMap) {
    for name in CONDITIONS {
        headers.remove(name);
    }
}

/// How a visitor came.
struct Visitor {
    scheme: &'static str,
    /// With the port, if one was named.
    host: String,
    query: Option<String>,
}

impl Visitor {
    fn redirect(&self, destination: &Destination<'_>) -> Response<ResponseBody> {
        let scheme = destination.protocol.unwrap_or(self.scheme);
        let host = destination.host.unwrap_or(&self.host);
        let mut location = format!("{scheme}://{host}/{}", percent_encode(&destination.key));
        if let Some(query) = &self.query {
            location.push('?');
            location.push_str(query);
        }
        let mut response = render::empty(destination.status);
        insert(response.headers_mut(), LOCATION, &location);
        response
    }
}
