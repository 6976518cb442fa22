//! AWS's published vectors (`tests/vectors/sigv4`), and signing held against verifying.

use std::fs;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;
use serde::Deserialize;

use super::canonical::{self, PathForm};
use super::*;
use crate::crypto::digest::sha256;

const SUITE_SERVICE: Service = Service { name: "service", path: PathRule::NormalisedTwice };
const S3_KEY: (&str, &str) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
const SUITE_KEY: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");

/// One key, perhaps with a session token.
struct OneKey<'a>((&'a str, &'a str), Option<&'a str>);

impl Secrets for OneKey<'_> {
    fn find(&self, access_key_id: &str, session_token: Option<&str>, _: Timestamp) -> KeyLookup {
        match access_key_id == self.0.0 {
            false => KeyLookup::Unknown,
            true if session_token != self.1 => KeyLookup::InvalidToken,
            true => KeyLookup::Secret(Arc::new(SecretBytes::new(self.0.1.as_bytes().to_vec()))),
        }
    }
}

fn at(date: &str) -> Timestamp {
    AmzDate::parse(date).unwrap().timestamp()
}

fn suite_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sigv4")
}

/// A request of the suite: the text of an HTTP/1.1 request, with folded headers and paths no HTTP parser would take.
struct Raw {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
}

impl Raw {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let unfolded = head.replace("\n ", " ");
        let mut lines = unfolded.lines();
        let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
        let target = rest.strip_suffix(" HTTP/1.1").unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Self {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.to_owned(),
        }
    }

    fn head(&self) -> Head<'_> {
        Head { method: &self.method, path: &self.path, query: &self.query, headers: &self.headers, authority: None }
    }
}

#[test]
fn the_aws_test_suite_passes() {
    let mut passed = 0;
    let mut directories = vec![suite_directory().join("aws4_testsuite")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "req") {
                case_of_the_suite(&path);
                passed += 1;
            }
        }
    }
    assert_eq!(passed, 34, "cases are missing");
}

fn case_of_the_suite(path: &Path) {
    let name = path.display();
    let read = |extension| fs::read_to_string(path.with_extension(extension)).unwrap();
    let (canonical_request, authorization) = (read("creq"), read("authz"));
    let mut raw = Raw::parse(&read("req"));
    let token = canonical_request.lines().find_map(|line| line.strip_prefix("x-amz-security-token:"));
    if let Some(token) = token {
        raw.headers.insert("x-amz-security-token", HeaderValue::from_str(token).unwrap());
    }
    raw.headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
    let payload_hash = hex::encode(sha256(raw.body.as_bytes()));

    let presented = Presented::from_head(&raw.head()).unwrap().unwrap();
    let path_form = PathForm::Encoded(PathRule::NormalisedTwice);
    let canonical = canonical::request(&raw.head(), path_form, &presented.signed_headers, &payload_hash).unwrap();
    assert_eq!(String::from_utf8(canonical.clone()).unwrap(), canonical_request, "{name}");
    let to_sign = canonical::string_to_sign(&presented.date, &presented.scope, &canonical);
    assert_eq!(to_sign, read("sts"), "{name}");

    let verifier = Verifier {
        secrets: &OneKey(SUITE_KEY, token),
        region: "us-east-1",
        service: SUITE_SERVICE,
        now: at("20150830T123600Z"),
        keys: &SigningKeys::default(),
    };
    let signed = presented.verify(&raw.head(), &verifier, &payload_hash);
    assert!(signed.is_ok(), "{name}: {signed:?}");
}

#[derive(Deserialize)]
struct Example {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    signed_headers: Option<String>,
    payload_hash: String,
    signature: String,
    #[serde(default)]
    chunks: Vec<(usize, String)>,
    trailer: Option<(String, String)>,
}

#[test]
fn the_worked_examples_of_s3_pass() {
    let text = fs::read_to_string(suite_directory().join("s3-examples.json")).unwrap();
    let examples: Vec<Example> = serde_json::from_str(&text).unwrap();
    assert_eq!(examples.len(), 7);
    for example in examples {
        let name = &example.name;
        let mut headers = HeaderMap::new();
        for (name, value) in &example.headers {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        if let Some(signed_headers) = &example.signed_headers {
            let authorization = format!(
                "{ALGORITHM} Credential={}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed_headers},Signature={}",
                S3_KEY.0, example.signature
            );
            headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        }
        let method = example.method.parse().unwrap();
        let head =
            Head { method: &method, path: &example.path, query: &example.query, headers: &headers, authority: None };
        let presented = Presented::from_head(&head).unwrap().unwrap();
        assert_eq!(presented.s3_payload_hash(&head).unwrap(), example.payload_hash, "{name}");
        let verifier = Verifier {
            secrets: &OneKey(S3_KEY, None),
            region: "us-east-1",
            service: Service::S3,
            now: at("20130524T000000Z"),
            keys: &SigningKeys::default(),
        };
        let signed = presented.verify(&head, &verifier, &example.payload_hash);
        let mut chunks = signed.unwrap_or_else(|error| panic!("{name}: {error:?}")).chunks();
        for (size, signature) in &example.chunks {
            chunks.verify_chunk(sha256(&vec![b'a'; *size]), signature).unwrap();
        }
        if let Some((trailer, signature)) = &example.trailer {
            chunks.verify_trailer(sha256(format!("{trailer}\n").as_bytes()), signature).unwrap();
        }
    }
}

const NOW: &str = "20261124T120000Z";

fn signer(service: Service) -> Signer<'static> {
    Signer {
        access_key_id: S3_KEY.0,
        secret: S3_KEY.1.as_bytes(),
        session_token: None,
        region: "eu-central-1",
        service,
    }
}

fn signed_request(uri: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(Method::PUT).uri(uri).body(()).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    signer(Service::S3).sign(&mut request, UNSIGNED_PAYLOAD, at(NOW)).unwrap();
    request
}

fn verify<B>(request: &Request<B>, service: Service, now: &str) -> Result<Signed, Error> {
    verify_with(request, service, at(now), &OneKey(S3_KEY, None))
}

fn verify_with<B>(
    request: &Request<B>,
    service: Service,
    now: Timestamp,
    secrets: &dyn Secrets,
) -> Result<Signed, Error> {
    let head = Head::of(request);
    let presented = Presented::from_head(&head)?.unwrap();
    let payload_hash = match service {
        Service::S3 => presented.s3_payload_hash(&head)?,
        _ => EMPTY_SHA256.to_owned(),
    };
    let verifier = Verifier { secrets, region: "eu-central-1", service, now, keys: &SigningKeys::default() };
    presented.verify(&head, &verifier, &payload_hash)
}

#[test]
fn a_signature_shows_what_was_signed_if_it_does_not_match() {
    let mut request = signed_request("https://b.example.com/k", &[]);
    *request.method_mut() = Method::DELETE;
    let Err(Error::SignatureDoesNotMatch(mismatch)) = verify(&request, Service::S3, NOW) else { panic!() };
    assert_eq!(mismatch.access_key_id, S3_KEY.0);
    assert!(mismatch.canonical_request.starts_with(b"DELETE\n/k\n\nhost:b.example.com\n"));
    let hash = hex::encode(sha256(&mismatch.canonical_request));
    let scope = "20261124/eu-central-1/s3/aws4_request";
    assert_eq!(mismatch.string_to_sign, format!("{ALGORITHM}\n{NOW}\n{scope}\n{hash}"));
    assert_eq!(mismatch.signature_provided.len(), 64);
    assert!(!format!("{mismatch:?}").contains("example.com"));
}

#[test]
fn s3_requests_must_name_their_payloads_hash() {
    let mut request = signed_request("https://b.example.com/k", &[]);
    request.headers_mut().remove("x-amz-content-sha256");
    assert!(matches!(verify(&request, Service::S3, NOW), Err(Error::MissingContentSha256)));
}

#[test]
fn unknown_keys_other_regions_and_other_services_are_told_so() {
    let request = signed_request("https://b.example.com/k", &[]);
    let unknown = verify_with(&request, Service::S3, at(NOW), &OneKey(SUITE_KEY, None));
    assert!(matches!(unknown, Err(Error::InvalidAccessKeyId { access_key_id }) if access_key_id == S3_KEY.0));
    let head = Head::of(&request);
    let verifier = Verifier {
        secrets: &OneKey(S3_KEY, None),
        region: "us-west-2",
        service: Service::S3,
        now: at(NOW),
        keys: &SigningKeys::default(),
    };
    let presented = Presented::from_head(&head).unwrap().unwrap();
    let Err(Error::AuthorizationHeaderMalformed { message, region }) =
        presented.verify(&head, &verifier, UNSIGNED_PAYLOAD)
    else {
        panic!()
    };
    assert_eq!(message, "the region 'eu-central-1' is wrong; expecting 'us-west-2'");
    assert_eq!(region.as_deref(), Some("us-west-2"));
    let Err(Error::AuthorizationHeaderMalformed { message, .. }) = verify(&request, Service::KMS, NOW) else {
        panic!()
    };
    assert_eq!(message, "incorrect service \"s3\". This endpoint belongs to \"kms\".");
}

#[test]
fn session_tokens_must_be_those_of_the_key() {
    let mut request = Request::builder().uri("https://b.example.com/").body(()).unwrap();
    let signer = Signer { session_token: Some("token"), ..signer(Service::S3) };
    signer.sign(&mut request, EMPTY_SHA256, at(NOW)).unwrap();
    assert!(verify_with(&request, Service::S3, at(NOW), &OneKey(S3_KEY, Some("token"))).is_ok());
    for wrong in [None, Some("other")] {
        let answer = verify_with(&request, Service::S3, at(NOW), &OneKey(S3_KEY, wrong));
        assert!(matches!(answer, Err(Error::InvalidToken)));
    }
    let long_term = signed_request("https://b.example.com/k", &[]);
    let answer = verify_with(&long_term, Service::S3, at(NOW), &OneKey(S3_KEY, Some("token")));
    assert!(matches!(answer, Err(Error::InvalidToken)));
}

#[test]
fn edge_case_3_amz_headers_must_be_signed() {
    let mut request = signed_request("https://b.example.com/k", &[]);
    request.headers_mut().insert("x-amz-copy-source", HeaderValue::from_static("b/other"));
    request.headers_mut().insert("x-amz-server-side-encryption", HeaderValue::from_static("AES256"));
    request.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
    let Err(Error::HeadersNotSigned { mut names }) = verify(&request, Service::S3, NOW) else { panic!() };
    names.sort();
    assert_eq!(names, ["x-amz-copy-source", "x-amz-server-side-encryption"]);

    let uri = "https://b.example.com/k".parse().unwrap();
    let uri = signer(Service::S3).presign(&Method::PUT, &uri, &HeaderMap::new(), 60, at(NOW)).unwrap();
    let presigned = |name: &'static str, value: &'static str| {
        let request = Request::builder().method(Method::PUT).uri(&uri).header(name, value).body(()).unwrap();
        verify(&request, Service::S3, NOW)
    };
    assert!(presigned("x-amz-content-sha256", UNSIGNED_PAYLOAD).is_ok());
    assert!(matches!(presigned("x-amz-copy-source", "b/k"), Err(Error::HeadersNotSigned { .. })));
}

#[test]
fn edge_case_4_reserved_characters_may_be_signed_as_they_are() {
    let sign_raw = |path: &str| {
        let mut request = signed_request(&format!("https://b.example.com{path}"), &[]);
        let presented = Presented::from_head(&Head::of(&request)).unwrap().unwrap();
        let head = Head::of(&request);
        let canonical = canonical::request(&head, PathForm::Raw, &presented.signed_headers, UNSIGNED_PAYLOAD).unwrap();
        let key = SigningKey::derive(S3_KEY.1.as_bytes(), &presented.scope);
        let signature = key.sign(&canonical::string_to_sign(&presented.date, &presented.scope, &canonical));
        let header = request.headers()["authorization"].to_str().unwrap().replace(&presented.signature, &signature);
        request.headers_mut().insert("authorization", HeaderValue::from_str(&header).unwrap());
        verify(&request, Service::S3, NOW)
    };
    assert!(sign_raw("/env:/terraform.tfstate").is_ok());
    // Nothing reserved stands unencoded, so there is no second attempt with the path as sent.
    assert!(matches!(sign_raw("/env%3a/terraform.tfstate"), Err(Error::SignatureDoesNotMatch(_))));
}

#[test]
fn edge_case_5_clocks_may_differ_by_fifteen_minutes() {
    let request = signed_request("https://b.example.com/k", &[]);
    for now in ["20261124T114500Z", "20261124T121500Z"] {
        assert!(verify(&request, Service::S3, now).is_ok());
    }
    for now in ["20261124T114459Z", "20261124T121501Z"] {
        let Err(Error::RequestTimeTooSkewed { request_time, server_time, max_skew_millis }) =
            verify(&request, Service::S3, now)
        else {
            panic!()
        };
        assert_eq!((request_time.as_str(), server_time, max_skew_millis), (NOW, at(now), 900_000));
    }
}

#[test]
fn edge_case_5_presigned_requests_are_good_for_their_lifetime() {
    let uri = "https://b.example.com/k?response-content-type=text%2Fplain".parse().unwrap();
    let uri = signer(Service::S3).presign(&Method::GET, &uri, &HeaderMap::new(), 604_800, at(NOW)).unwrap();
    let request = Request::builder().uri(uri).body(()).unwrap();
    for now in ["20261124T114500Z", NOW, "20261201T120000Z"] {
        assert!(verify(&request, Service::S3, now).is_ok(), "{now}");
    }
    let Err(Error::Expired(window)) = verify(&request, Service::S3, "20261201T120001Z") else { panic!() };
    assert_eq!((window.lifetime, window.expires), (604_800, at("20261201T120000Z")));
    assert!(matches!(verify(&request, Service::S3, "20261124T114459Z"), Err(Error::NotYetValid(_))));
}

#[test]
fn header_values_with_a_plus_and_queries_in_any_order_round_trip() {
    let request = signed_request("https://b.example.com/a+b?z=1&a=x%2By&a", &[("x-amz-meta-a", "1+1"), ("range", "b")]);
    assert!(verify(&request, Service::S3, NOW).is_ok());
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_nothing_else(
        path in "(/[a-zA-Z0-9!$&'()*+,:;=@._~-]{0,8}){1,4}",
        query in "([a-zA-Z0-9+%2B._~-]{0,6}(=[a-zA-Z0-9+:/._~-]{0,6})?&?){0,4}",
        meta in "[ -~]{0,30}",
        kms in any::<bool>(),
        other in "[a-z]{1,4}",
    ) {
        let service = if kms { Service::KMS } else { Service::S3 };
        let uri: Uri = format!("https://b.example.com{path}?{query}").parse().unwrap();
        let mut request = Request::builder().uri(uri.clone()).header("x-amz-meta-a", &meta).body(()).unwrap();
        signer(service).sign(&mut request, EMPTY_SHA256, at(NOW)).unwrap();
        prop_assert!(verify(&request, service, NOW).is_ok());
        request.headers_mut().append("x-amz-meta-a", HeaderValue::from_str(&other).unwrap());
        prop_assert!(matches!(verify(&request, service, NOW), Err(Error::SignatureDoesNotMatch(_))));

        let presigned = signer(Service::S3).presign(&Method::GET, &uri, &HeaderMap::new(), 60, at(NOW)).unwrap();
        let mut request = Request::builder().uri(&presigned).body(()).unwrap();
        prop_assert!(verify(&request, Service::S3, NOW).is_ok());
        *request.uri_mut() = format!("{presigned}&{other}").parse().unwrap();
        prop_assert!(matches!(verify(&request, Service::S3, NOW), Err(Error::SignatureDoesNotMatch(_))));
    }
}
