//! Payloads as clients send them, and as they must not.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::crypto::SecretBytes;
use crate::crypto::digest::sha256;
use crate::s3::checksum::{Algorithm, Checksum};
use crate::s3::error::S3Error;
use crate::sigv4::{AmzDate, Head, KeyLookup, Presented, Secrets, Service, Signed, Signer, SigningKeys, Verifier};
use crate::wire::{BoxError, RequestBody};

const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_CHUNKS_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

const REQUIRED: Requirements = Requirements {
    max_length: 1 << 20,
    md5: false,
    tells_hex: false,
    checksum: None,
    also: None,
    stall: Duration::from_secs(5),
};

struct OneKey;

impl Secrets for OneKey {
    fn find(&self, access_key_id: &str, _: Option<&str>, _: Timestamp) -> KeyLookup {
        match access_key_id {
            ACCESS_KEY => KeyLookup::Secret(Arc::new(SecretBytes::new(SECRET.to_vec()))),
            _ => KeyLookup::Unknown,
        }
    }
}

fn body(pieces: Vec<Bytes>) -> RequestBody {
    let frames = pieces.into_iter().map(|bytes| Ok::<_, BoxError>(Frame::data(bytes)));
    StreamBody::new(stream::iter(frames.collect::<Vec<_>>())).boxed_unsync()
}

/// `data` in pieces of the sizes given, over and over.
fn split(data: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut rest = data;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at((*size).min(rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = tail;
    }
    pieces
}

fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    headers.iter().map(pair).collect()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn read(plan: Result<PayloadPlan>, pieces: Vec<Bytes>) -> Result<(Bytes, Verified)> {
    block_on(read_all(PayloadStream::new(plan?, body(pieces)), 1 << 20))
}

/// Reads an unsigned payload.
fn receive(headers: &[(&'static str, &str)], data: &[u8]) -> Result<(Bytes, Verified)> {
    read(PayloadPlan::parse(&map(headers), None, &REQUIRED), vec![Bytes::copy_from_slice(data)])
}

fn refused(result: Result<(Bytes, Verified)>) -> S3Error {
    result.map(|(bytes, _)| bytes).unwrap_err()
}

fn detail<'a>(error: &'a S3Error, element: &str) -> &'a str {
    error.detail.iter().find(|(name, _)| *name == element).map_or("", |(_, value)| value)
}

/// The signature of a PUT whose body is framed as `payload_hash` says.
fn signature(payload_hash: &str) -> Signed {
    let mut request = Request::builder().method(Method::PUT).uri("https://b.example.com/k").body(()).unwrap();
    let signer =
        Signer { access_key_id: ACCESS_KEY, secret: SECRET, session_token: None, region: "r", service: Service::S3 };
    signer.sign(&mut request, payload_hash, Timestamp::UNIX_EPOCH).unwrap()
}

/// `data` in signed chunks of `size`, with a trailer if one is given.
fn signed_chunks(signed: &Signed, data: &[u8], size: usize, trailer: Option<&str>) -> Vec<u8> {
    let mut chain = signed.chunks();
    let mut out = Vec::new();
    for chunk in data.chunks(size).chain([&[][..]]) {
        let signature = chain.sign_chunk(sha256(chunk));
        out.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
        if !chunk.is_empty() {
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some(trailer) = trailer {
        let signature = chain.sign_trailer(sha256(format!("{trailer}\n").as_bytes()));
        out.extend_from_slice(format!("{trailer}\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn signed_plan(payload_hash: &str, length: usize, trailer: Option<&str>) -> (Signed, Result<PayloadPlan>) {
    let signed = signature(payload_hash);
    let mut headers = map(&[("x-amz-decoded-content-length", &length.to_string())]);
    if let Some(name) = trailer {
        headers.insert("x-amz-trailer", HeaderValue::from_str(name).unwrap());
    }
    let plan = PayloadPlan::parse(&headers, Some(&signed), &REQUIRED);
    (signed, plan)
}

#[test]
fn requests_of_botocore_are_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/payload");
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "http") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            for sizes in [&[1 << 20][..], &[1], &[7, 1, 300]] {
                captured(&name, &fs::read(&path).unwrap(), sizes);
            }
            names.push(name);
        }
    }
    assert_eq!(names.len(), 11);
}

fn captured(name: &str, request: &[u8], sizes: &[usize]) {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut lines = str::from_utf8(&request[..end]).unwrap().split("\r\n");
    let line: Vec<_> = lines.next().unwrap().split(' ').collect();
    let mut builder = Request::builder().method(line[0]).uri(line[1]);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    let request_head = builder.body(()).unwrap();
    let head = Head::of(&request_head);
    let presented = Presented::from_head(&head).unwrap().unwrap();
    let payload_hash = presented.s3_payload_hash(&head).unwrap();
    let verifier = Verifier {
        secrets: &OneKey,
        region: "us-east-1",
        service: Service::S3,
        now: AmzDate::parse(head.headers["x-amz-date"].to_str().unwrap()).unwrap().timestamp(),
        keys: &SigningKeys::default(),
    };
    let signed = presented.verify(&head, &verifier, &payload_hash).unwrap();
    let plan = PayloadPlan::parse(head.headers, Some(&signed), &REQUIRED);
    let (data, verified) = read(plan, split(&request[end + 4..], sizes)).unwrap_or_else(|e| panic!("{name}: {e:?}"));

    let expected = match name {
        "http-delete" => return assert!(data.starts_with(b"<Delete xmlns")),
        "https-empty" => Vec::new(),
        "https-md5" => b"data".to_vec(),
        _ => (0..10_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect(),
    };
    assert_eq!(data, expected, "{name}");
    assert_eq!(verified.length, expected.len() as u64);
    assert_eq!(verified.md5.is_some(), name == "https-md5");
    // `https-md5` brings a Content-MD5 beside its checksum.
    let named = name.split_once('-').map(|(_, name)| name).filter(|name| *name != "md5");
    let algorithm = named.and_then(Algorithm::from_name).unwrap_or(Algorithm::Crc32);
    assert_eq!(verified.checksums.by_algorithm(algorithm), Some(Checksum::of(algorithm, &expected)), "{name}");
}

/// The bodies of the API reference's examples; the test of `sigv4` holds their signatures against the same file.
#[test]
fn the_worked_examples_of_s3_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sigv4/s3-examples.json");
    let examples: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut read_so_far = 0;
    for example in examples.as_array().unwrap() {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let Some(chunks) = example["chunks"].as_array() else {
            continue;
        };
        let mut headers = HeaderMap::new();
        for pair in example["headers"].as_array().unwrap() {
            headers.insert(text(&pair[0]).parse::<HeaderName>().unwrap(), text(&pair[1]).parse().unwrap());
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={},Signature={}",
            text(&example["signed_headers"]),
            text(&example["signature"])
        );
        headers.insert("authorization", authorization.parse().unwrap());
        let path = text(&example["path"]);
        let head = Head { method: &Method::PUT, path: &path, query: "", headers: &headers, authority: None };
        let verifier = Verifier {
            secrets: &OneKey,
            region: "us-east-1",
            service: Service::S3,
            now: AmzDate::parse("20130524T000000Z").unwrap().timestamp(),
            keys: &SigningKeys::default(),
        };
        let presented = Presented::from_head(&head).unwrap().unwrap();
        let signed = presented.verify(&head, &verifier, &text(&example["payload_hash"])).unwrap();

        let mut sent = Vec::new();
        for chunk in chunks {
            let size = usize::try_from(chunk[0].as_u64().unwrap()).unwrap();
            sent.extend_from_slice(format!("{size:x};chunk-signature={}\r\n", text(&chunk[1])).as_bytes());
            if size > 0 {
                sent.extend_from_slice(&vec![b'a'; size]);
                sent.extend_from_slice(b"\r\n");
            }
        }
        if let Some(trailer) = example["trailer"].as_array() {
            // As the reference prints it: the header ends in a line feed, and an empty line goes before the signature.
            sent.extend_from_slice(format!("{}\n\r\n", text(&trailer[0])).as_bytes());
            sent.extend_from_slice(format!("x-amz-trailer-signature:{}\r\n", text(&trailer[1])).as_bytes());
        }
        sent.extend_from_slice(b"\r\n");
        if let Some(length) = headers.get("content-length") {
            assert_eq!(length.to_str().unwrap(), sent.len().to_string());
        }
        let plan = PayloadPlan::parse(&headers, Some(&signed), &REQUIRED);
        let (data, _) = read(plan, split(&sent, &[1000])).unwrap();
        assert_eq!(data, vec![b'a'; 66_560]);
        read_so_far += 1;
    }
    assert_eq!(read_so_far, 2);
}

#[test]
fn a_literal_sha256_is_held_against_the_body() {
    let hash = hex::encode(sha256(b"data"));
    let headers = [("content-length", "4"), ("x-amz-content-sha256", hash.as_str())];
    assert_eq!(receive(&headers, b"data").unwrap().0, "data");
    let error = refused(receive(&headers, b"dat4"));
    assert_eq!(error.code, ErrorCode::ContentSha256Mismatch);
    assert_eq!(detail(&error, "ClientComputedContentSHA256"), hash);
    assert_eq!(detail(&error, "S3ComputedContentSHA256"), hex::encode(sha256(b"dat4")));
}

#[test]
fn what_was_signed_decides_not_what_the_header_says() {
    let signed = signature(&hex::encode(sha256(b"data")));
    let headers = map(&[("content-length", "4"), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]);
    let plan = PayloadPlan::parse(&headers, Some(&signed), &REQUIRED);
    assert_eq!(refused(read(plan, split(b"dat4", &[4]))).code, ErrorCode::ContentSha256Mismatch);
}

#[test]
fn nonsense_for_a_hash_is_an_invalid_argument() {
    let error = refused(receive(&[("content-length", "0"), ("x-amz-content-sha256", "nonsense")], b""));
    assert_eq!((error.code, detail(&error, "ArgumentName")), (ErrorCode::InvalidArgument, "x-amz-content-sha256"));
    assert!(error.message.starts_with("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-"));
    let sigv4a = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD";
    assert_eq!(refused(receive(&[("x-amz-content-sha256", sigv4a)], b"")).code, ErrorCode::NotImplemented);
    assert_eq!(refused(receive(&[("x-amz-content-sha256", SIGNED_CHUNKS)], b"")).code, ErrorCode::AccessDenied);
}

#[test]
fn content_md5_is_held_against_the_body() {
    let headers = [("content-length", "4"), ("content-md5", "jXd/OF09/siBXSD3SWAm3A==")];
    let (_, verified) = receive(&headers, b"data").unwrap();
    assert_eq!(hex::encode(verified.md5.unwrap()), "8d777f385d3dfec8815d20f7496026dc");
    let error = refused(receive(&headers, b"dat4"));
    assert_eq!(error.code, ErrorCode::BadDigest);
    assert_eq!(error.message, "The Content-MD5 you specified did not match what we received.");
    assert_eq!(detail(&error, "ExpectedDigest"), "jXd/OF09/siBXSD3SWAm3A==");
    assert_ne!(detail(&error, "CalculatedDigest"), "");
    let plan = PayloadPlan::parse(&map(&headers), None, &Requirements { tells_hex: true, ..REQUIRED });
    let error = refused(read(plan, vec![Bytes::from_static(b"dat4")]));
    assert_eq!(detail(&error, "ExpectedDigest"), "8d777f385d3dfec8815d20f7496026dc");
    for bad in ["", "jXd/OF09", "%"] {
        let error = refused(receive(&[("content-length", "4"), ("content-md5", bad)], b"data"));
        assert_eq!(error.code, ErrorCode::InvalidDigest, "{bad}");
    }
}

#[test]
fn header_checksums_are_held_against_the_body() {
    for algorithm in Algorithm::ALL {
        let value = Checksum::of(algorithm, b"data").to_string();
        let headers = [("content-length", "4"), (algorithm.header(), value.as_str())];
        let (_, verified) = receive(&headers, b"data").unwrap();
        assert_eq!(verified.checksums.values().collect::<Vec<_>>(), [(algorithm, value.clone())]);
        let error = refused(receive(&headers, b"dat4"));
        let message = format!("The {algorithm} you specified did not match the calculated checksum.");
        assert_eq!((error.code, error.message.as_ref()), (ErrorCode::BadDigest, message.as_str()));
    }
}

#[test]
fn what_the_caller_needs_is_computed_and_nothing_else() {
    let headers = map(&[("content-length", "4")]);
    let plan = |required| PayloadPlan::parse(&headers, None, &required);
    let (_, verified) = read(plan(REQUIRED), split(b"data", &[1])).unwrap();
    assert_eq!((verified.md5, verified.checksums.is_empty()), (None, true));
    let required = Requirements { md5: true, checksum: Some(Algorithm::Crc64Nvme), ..REQUIRED };
    let (_, verified) = read(plan(required), split(b"data", &[1])).unwrap();
    assert_eq!(verified.md5, Some(crate::crypto::digest::md5(b"data")));
    let crc = Checksum::of(Algorithm::Crc64Nvme, b"data");
    assert_eq!(verified.checksums.by_algorithm(Algorithm::Crc64Nvme), Some(crc));
    let (_, verified) = read(Ok(PayloadPlan::internal(4, &required)), split(b"data", &[2])).unwrap();
    assert_eq!(verified.checksums.by_algorithm(Algorithm::Crc64Nvme), Some(crc));
}

#[test]
fn a_checksum_is_computed_beside_the_clients() {
    let crc64 = Checksum::of(Algorithm::Crc64Nvme, b"data");
    let required = Requirements { also: Some(Algorithm::Crc64Nvme), ..REQUIRED };
    for algorithm in Algorithm::ALL {
        let theirs = Checksum::of(algorithm, b"data");
        let headers = map(&[("content-length", "4"), (algorithm.header(), &theirs.to_string())]);
        let plan = PayloadPlan::parse(&headers, None, &required).unwrap();
        assert_eq!(plan.algorithm(), Some(algorithm));
        let (_, verified) = read(Ok(plan), split(b"data", &[3])).unwrap();
        assert_eq!(verified.checksums.by_algorithm(algorithm), Some(theirs));
        assert_eq!(verified.checksums.by_algorithm(Algorithm::Crc64Nvme), Some(crc64), "{algorithm}");
    }
}

#[test]
fn edge_case_8_no_content_length_is_an_empty_body() {
    let (data, verified) = receive(&[], b"").unwrap();
    assert_eq!((data.len(), verified.length), (0, 0));
    let plan = PayloadPlan::parse(&HeaderMap::new(), None, &REQUIRED);
    assert_eq!(read(plan, Vec::new()).unwrap().1.length, 0);
    assert_eq!(refused(receive(&[], b"data")).code, ErrorCode::MissingContentLength);
    let error = refused(receive(&[("transfer-encoding", "chunked")], b"data"));
    assert_eq!((error.code, detail(&error, "Header")), (ErrorCode::NotImplemented, "Transfer-Encoding"));
    let error = refused(receive(&[("content-length", "9"), ("x-amz-content-sha256", UNSIGNED_TRAILER)], b""));
    assert_eq!(error.code, ErrorCode::MissingContentLength);
}

#[test]
fn edge_case_7_empty_headers_are_absent() {
    let headers = [
        ("content-length", "4"),
        ("x-amz-content-sha256", ""),
        ("x-amz-trailer", ""),
        ("x-amz-sdk-checksum-algorithm", ""),
    ];
    assert_eq!(receive(&headers, b"data").unwrap().0, "data");
}

#[test]
fn edge_case_11_the_decoded_length_must_match_and_nothing_may_follow() {
    let framed = |length: &str, data: &[u8]| {
        let headers = [
            ("x-amz-content-sha256", UNSIGNED_TRAILER),
            ("x-amz-decoded-content-length", length),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        receive(&headers, data).map(|(data, _)| data)
    };
    let body = "4\r\ndata\r\n0\r\nx-amz-checksum-crc32:rfNPYQ==\r\n\r\n";
    let body = body.replace("rfNPYQ==", &Checksum::of(Algorithm::Crc32, b"data").to_string());
    assert_eq!(framed("4", body.as_bytes()).unwrap(), "data");
    for (length, body) in [
        ("3", body.clone()),
        ("5", body.clone()),
        ("4", format!("{body}x")),
        ("4", format!("{body}0\r\n\r\n")),
        ("4", body[..body.len() - 2].to_owned()),
        ("4", body[..9].to_owned()),
        ("4", body.replacen("4\r\n", "4\n", 1)),
        ("4", body.replacen("4\r\n", "+4\r\n", 1)),
        ("4", body.replacen("4\r\n", "fffffffffffffffff\r\n", 1)),
        ("4", body.replacen("data\r\n", "data", 1)),
        ("4", body.replacen("4\r\n", &format!("4;{}\r\n", "x".repeat(1100)), 1)),
        ("4", body.replacen("x-amz", &format!("{}x-amz", " ".repeat(17_000)), 1)),
    ] {
        assert_eq!(framed(length, body.as_bytes()).unwrap_err().code, ErrorCode::IncompleteBody, "{body}");
    }
    let early = "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n4\r\ndata\r\n0\r\n\r\n";
    assert_eq!(framed("4", early.as_bytes()).unwrap_err().code, ErrorCode::IncompleteBody);
}

#[test]
fn trailers_must_be_as_announced() {
    let framed = |trailer: &str| {
        let headers = [
            ("x-amz-content-sha256", UNSIGNED_TRAILER),
            ("x-amz-decoded-content-length", "4"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        refused(receive(&headers, format!("4\r\ndata\r\n0\r\n{trailer}\r\n").as_bytes()))
    };
    let good = format!("x-amz-checksum-crc32:{}\r\n", Checksum::of(Algorithm::Crc32, b"data"));
    for bad in ["", "x-amz-checksum-sha1:AAAA\r\n", "x-amz-checksum-crc32\r\n", &good.repeat(2), "x-amz-meta-a:b\r\n"] {
        assert_eq!(framed(bad).code, ErrorCode::MalformedTrailer, "{bad}");
    }
    let error = framed("x-amz-checksum-crc32:AAAA\r\n");
    assert_eq!(error.message, "Value for x-amz-checksum-crc32 trailing header is invalid.");
    let error = framed("x-amz-checksum-crc32:AAAAAA==\r\n");
    assert_eq!(error.message, "The CRC32 you specified did not match the calculated checksum.");
    let unframed = [("content-length", "4"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    assert_eq!(refused(receive(&unframed, b"data")).code, ErrorCode::MalformedTrailer);
}

#[test]
fn signed_chunks_must_be_signed() {
    let data = "0123456789".repeat(2_000);
    let (signed, plan) = signed_plan(SIGNED_CHUNKS, data.len(), None);
    let body = signed_chunks(&signed, data.as_bytes(), 8192, None);
    assert_eq!(read(plan, split(&body, &[3])).unwrap().0, data);
    let text = String::from_utf8(body).unwrap();
    let unsigned_end = text.rfind(";chunk").unwrap();
    for altered in [
        text.replacen("0123", "0124", 1),
        text.replacen("89", "98", 1),
        text.replacen(";chunk-signature=", ";chunk-signature=0", 1),
        format!("{}\r\n\r\n", &text[..unsigned_end]),
        "4\r\n0123\r\n".to_owned(),
    ] {
        let (_, plan) = signed_plan(SIGNED_CHUNKS, data.len(), None);
        let error = refused(read(plan, split(altered.as_bytes(), &[1000])));
        assert_eq!(error.code, ErrorCode::SignatureDoesNotMatch, "{altered}");
        assert_eq!(detail(&error, "AWSAccessKeyId"), ACCESS_KEY);
        assert!(detail(&error, "StringToSign").starts_with("AWS4-HMAC-SHA256-PAYLOAD\n"));
    }
    // Chunks in another order, and a chunk left out.
    let chunks: Vec<&str> = text.split_inclusive("\r\n").collect();
    for altered in [[&chunks[2..4], &chunks[..2], &chunks[4..]].concat(), [&chunks[..2], &chunks[4..]].concat()] {
        let (_, plan) = signed_plan(SIGNED_CHUNKS, data.len(), None);
        let error = refused(read(plan, split(altered.concat().as_bytes(), &[1000])));
        assert_eq!(error.code, ErrorCode::SignatureDoesNotMatch);
    }
}

#[test]
fn only_the_last_chunk_may_be_small() {
    let framed = |sizes: &[usize]| {
        let length = sizes.iter().sum::<usize>().to_string();
        let headers = [("x-amz-content-sha256", UNSIGNED_TRAILER), ("x-amz-decoded-content-length", length.as_str())];
        let chunk = |size: &usize| format!("{size:x}\r\n{}\r\n", "a".repeat(*size));
        let chunks = sizes.iter().map(chunk).collect::<Vec<_>>().concat();
        receive(&headers, format!("{chunks}0\r\n\r\n").as_bytes()).map(|(bytes, _)| bytes.len())
    };
    assert_eq!(framed(&[8192, 10_000, 1]).unwrap(), 18_193);
    let error = framed(&[8192, 8191, 1]).unwrap_err();
    assert_eq!((error.code.as_str(), error.code.status().as_u16()), ("InvalidChunkSizeError", 403));
    assert_eq!((detail(&error, "Chunk"), detail(&error, "BadChunkSize")), ("3", "8191"));
    // So AWS answers to STREAMING-AWS4-HMAC-SHA256-PAYLOAD too.
    let (signed, plan) = signed_plan(SIGNED_CHUNKS, 5, None);
    let error = refused(read(plan, split(&signed_chunks(&signed, b"hello", 3, None), &[1000])));
    assert_eq!((detail(&error, "Chunk"), detail(&error, "BadChunkSize")), ("2", "3"));
}

#[test]
fn signed_trailers_must_be_signed() {
    let trailer = format!("x-amz-checksum-sha256:{}", Checksum::of(Algorithm::Sha256, b"data"));
    let plan = || signed_plan(SIGNED_CHUNKS_TRAILER, 4, Some("x-amz-checksum-sha256"));
    let (signed, planned) = plan();
    let body = signed_chunks(&signed, b"data", 4, Some(&trailer));
    let (_, verified) = read(planned, split(&body, &[1])).unwrap();
    assert!(verified.checksums.by_algorithm(Algorithm::Sha256).is_some());
    let text = String::from_utf8(body).unwrap();
    let forged = text.replacen("trailer-signature:", "trailer-signature:0", 1);
    let error = refused(read(plan().1, split(forged.as_bytes(), &[1000])));
    assert_eq!(error.code, ErrorCode::SignatureDoesNotMatch);
    assert!(detail(&error, "StringToSign").starts_with("AWS4-HMAC-SHA256-TRAILER\n"));
    let unsigned = format!("{}\r\n", &text[..text.find("x-amz-trailer-signature").unwrap()]);
    assert_eq!(refused(read(plan().1, split(unsigned.as_bytes(), &[1000]))).code, ErrorCode::IncompleteBody);
}

#[test]
fn sizes_are_limited() {
    let required = Requirements { max_length: 3, ..REQUIRED };
    let error = PayloadPlan::parse(&map(&[("content-length", "4")]), None, &required).unwrap_err();
    assert_eq!((error.code, detail(&error, "ProposedSize")), (ErrorCode::EntityTooLarge, "4"));
    assert_eq!(detail(&error, "MaxSizeAllowed"), "3");
    let error = PayloadPlan::parse(&map(&[("content-length", "-4")]), None, &required).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    let plan = PayloadPlan::parse(&map(&[("content-length", "4")]), None, &REQUIRED).unwrap();
    let stream = PayloadStream::new(plan, body(split(b"data", &[2])));
    assert_eq!(refused(block_on(read_all(stream, 3))).code, ErrorCode::MaxMessageLengthExceeded);
}

#[test]
fn short_broken_and_stalled_bodies_are_errors() {
    assert_eq!(refused(receive(&[("content-length", "5")], b"data")).code, ErrorCode::IncompleteBody);
    assert_eq!(refused(receive(&[("content-length", "3")], b"data")).code, ErrorCode::IncompleteBody);
    let required = Requirements { stall: Duration::from_millis(10), ..REQUIRED };
    let plan = || PayloadPlan::parse(&map(&[("content-length", "4")]), None, &required).unwrap();
    let broken = StreamBody::new(stream::iter([Err::<Frame<Bytes>, BoxError>("reset".into())])).boxed_unsync();
    let error = refused(block_on(read_all(PayloadStream::new(plan(), broken), 9)));
    assert_eq!(error.code, ErrorCode::IncompleteBody);
    assert!(error.source.is_some());
    let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>()).boxed_unsync();
    let error = refused(block_on(read_all(PayloadStream::new(plan(), silent), 9)));
    assert_eq!(error.code, ErrorCode::RequestTimeout);
}

#[test]
fn only_a_payload_that_was_read_to_its_end_is_verified() {
    block_on(async {
        let plan = || PayloadPlan::parse(&map(&[("content-length", "4")]), None, &REQUIRED).unwrap();
        let unread = PayloadStream::new(plan(), body(split(b"data", &[2])));
        assert_eq!(unread.finish().await.unwrap_err().code, ErrorCode::InternalError);
        let mut read = PayloadStream::new(plan(), body(split(b"data", &[4])));
        assert_eq!(read.next().await.unwrap().unwrap(), "data");
        assert_eq!(read.finish().await.unwrap().length, 4);
        let mut failed = PayloadStream::new(plan(), body(split(b"too long", &[8])));
        assert!(failed.next().await.unwrap().is_err());
        assert!(failed.next().await.is_none());
        assert!(failed.finish().await.is_err());
    });
}

#[test]
fn data_is_not_copied() {
    block_on(async {
        let sent = Bytes::from_static(b"4\r\ndata\r\n0\r\n\r\n");
        let headers = map(&[("x-amz-content-sha256", UNSIGNED_TRAILER), ("x-amz-decoded-content-length", "4")]);
        let plan = PayloadPlan::parse(&headers, None, &REQUIRED).unwrap();
        let mut stream = PayloadStream::new(plan, body(vec![sent.clone()]));
        assert_eq!(stream.next().await.unwrap().unwrap().as_ptr(), sent[3..].as_ptr());
    });
}

proptest! {
    #[test]
    fn any_split_gives_the_same_bytes(
        pattern in prop::collection::vec(any::<u8>(), 1..600),
        length in prop_oneof![0_usize..600, 0_usize..40_000],
        chunk in 8192_usize..20_000,
        sizes in prop::collection::vec(1_usize..800, 1..8),
    ) {
        let data: Vec<u8> = pattern.into_iter().cycle().take(length).collect();
        let trailer = format!("x-amz-checksum-crc32c:{}", Checksum::of(Algorithm::Crc32c, &data));
        let (signed, plan) = signed_plan(SIGNED_CHUNKS_TRAILER, data.len(), Some("x-amz-checksum-crc32c"));
        let body = signed_chunks(&signed, &data, chunk, Some(&trailer));
        let (read_back, verified) = read(plan, split(&body, &sizes)).unwrap();
        prop_assert_eq!(&read_back, &data);
        prop_assert_eq!(verified.length, data.len() as u64);
    }

    #[test]
    fn a_flipped_bit_is_never_accepted(
        pattern in prop::collection::vec(any::<u8>(), 1..100),
        length in prop_oneof![1_usize..100, 8_000_usize..20_000],
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let data: Vec<u8> = pattern.into_iter().cycle().take(length).collect();
        let (signed, plan) = signed_plan(SIGNED_CHUNKS, data.len(), None);
        let mut body = signed_chunks(&signed, &data, 8192, None);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        // What does not change the meaning (the case of a size's digits) may pass, but only with the same bytes.
        if let Ok((read_back, _)) = read(plan, split(&body, &[64])) {
            prop_assert_eq!(read_back, data);
        }
    }

    #[test]
    fn garbage_never_panics_and_is_never_accepted(
        text in "([0-9a-f;:\r\n]|chunk-signature=|x-amz-checksum-crc32:){0,60}",
        sizes in prop::collection::vec(1_usize..9, 1..4),
    ) {
        for payload_hash in [UNSIGNED_TRAILER, SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER] {
            let (_, plan) = signed_plan(payload_hash, 1_000, None);
            prop_assert!(read(plan, split(text.as_bytes(), &sizes)).is_err());
        }
    }
}
