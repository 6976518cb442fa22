//! Cross-origin requests: preflights, which no browser signs, and the headers on answers to requests from other origins.
//!
//! What browsers are refused here is only told to them: a request that no rule allows is carried out all the same, and its
//! answer lacks the headers that would let a script read it. (S3 user guide, "How does Amazon S3 evaluate the CORS
//! configuration on a bucket?"; Fetch standard, "CORS protocol".)

mod rules;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Response, StatusCode};

use super::call::{AuditNotes, Bucket};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{insert, text};
use super::render;
use super::request::Target;
use super::service::S3;
use crate::store::schema::ConfigurationKind;
use crate::wire::ResponseBody;

pub(super) use rules::{Cors, canonical};
use rules::{METHODS, Question, Rule};

const VARIES_BY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
const NOT_ALLOWED: &str = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of \
                           Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are \
                           not whitelisted by the resource's CORS spec.";

/// What an actual request from another origin says about itself.
pub(super) struct CrossOrigin {
    origin: String,
    method: String,
    headers: String,
}

impl CrossOrigin {
    /// `None` if no origin is named.
    pub fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let origin = text(headers, ORIGIN)?.to_owned();
        let method = text(headers, ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str()).to_owned();
        let headers = text(headers, ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default().to_owned();
        Some(Self { origin, method, headers })
    }
}

impl S3 {
    /// Answers a preflight.
    ///
    /// # Errors
    /// `BadRequest` for what is none; `AccessForbidden`, in AWS's words.
    pub(super) async fn preflight(
        &self,
        target: &Target,
        headers: &HeaderMap,
        witness: &AuditNotes,
    ) -> Result<Response<ResponseBody>> {
        let Some(origin) = text(headers, ORIGIN) else {
            return Err(S3Error::new(ErrorCode::BadRequest, "Insufficient information. Origin request header needed."));
        };
        let method = text(headers, ACCESS_CONTROL_REQUEST_METHOD);
        let refused = |message: &'static str, on: &str| {
            S3Error::new(ErrorCode::AccessForbidden, message)
                .with("Method", method.unwrap_or("OPTIONS"))
                .with("ResourceType", on)
        };
        let bucket = match target.bucket() {
            Some(name) => self.find_bucket(name).await?,
            None => None,
        };
        let Some(bucket) = bucket else { return Err(refused("CORSResponse: Bucket not found", "BUCKET")) };
        witness.see_bucket(&bucket);
        let Some(cors) = self.cors_of(&bucket).await? else {
            return Err(refused("CORSResponse: CORS is not enabled for this bucket.", "BUCKET"));
        };
        let Some(asked) = method.filter(|method| METHODS.contains(method)) else {
            let message = format!("Invalid Access-Control-Request-Method: {}", method.unwrap_or("null"));
            return Err(S3Error::new(ErrorCode::BadRequest, message));
        };
        let headers = text(headers, ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let question = Question { origin, method: asked, headers };
        let Some((rule, allowed)) = cors.judge(&question) else {
            let on = if matches!(target, Target::Object(..)) { "OBJECT" } else { "BUCKET" };
            return Err(refused(NOT_ALLOWED, on));
        };
        let mut response = render::empty(StatusCode::OK);
        write(rule, allowed, &question, response.headers_mut());
        Ok(response)
    }

    /// Adds to an answer what the browser must know to show it to the script that asked. An answer is given whether or not
    /// the rules can be read.
    pub(super) async fn allow_origin(&self, asked: &CrossOrigin, bucket: &Bucket, headers: &mut HeaderMap) {
        let Ok(Some(cors)) = self.cors_of(bucket).await else { return };
        let question = Question { origin: &asked.origin, method: &asked.method, headers: &asked.headers };
        if let Some((rule, allowed)) = cors.judge(&question) {
            write(rule, allowed, &question, headers);
        }
    }

    async fn cors_of(&self, bucket: &Bucket) -> Result<Option<std::sync::Arc<Cors>>> {
        self.configured(bucket, ConfigurationKind::Cors, &self.cors, Cors::read).await
    }
}

fn write(rule: &Rule, origin: &str, question: &Question<'_>, headers: &mut HeaderMap) {
    insert(headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if origin != "*" {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    insert(headers, ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    let asked: Vec<String> = question.header_names().collect();
    if !asked.is_empty() {
        insert(headers, ACCESS_CONTROL_ALLOW_HEADERS, &asked.join(", "));
    }
    if !rule.exposed.is_empty() {
        insert(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
    }
    if let Some(seconds) = rule.max_age {
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
    }
    headers.insert(VARY, VARIES_BY);
}
