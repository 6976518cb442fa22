//! Golden files: what the first version wrote, written again and read.
//!
//! A file that differs means that stored objects can no longer be read or that the format changed without a new version.
//! `STRONGROOM_GOLDEN=write` writes files that are missing, and never replaces one.

use std::path::PathBuf;

use super::kms::caller;
use super::unlock::{kms_plan, sse};
use super::{independent, object_key, plaintext, read_all, seal};
use crate::crypto::random::SeededEntropy;
use crate::sse::customer::tests::customer_key;
use crate::sse::{
    Envelope, EtagOf, EtagScope, ObjectName, Plan, RunHeader, Scope, ServerKey, SseRequest, open_checksums,
    seal_checksums,
};
use crate::store::schema::PartSpan;

const OBJECT: ObjectName<'_> = ObjectName { bucket: "golden", key: "dir/object" };

/// The golden file `name`, which must hold what was `written` just now.
pub(in crate::sse) fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sse").join(name);
    if !path.exists() && std::env::var("STRONGROOM_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, written).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(golden == written, "{name} is not what is written today");
    golden
}

#[test]
fn runs() {
    let key = object_key(0x42);
    for (name, part, length) in [("empty", 0, 0), ("small", 7, 100), ("two-frames", 0, 65_537)] {
        let (run, header) = seal(&key, part, 1, &plaintext(length));
        let run = golden(&format!("run-{name}.bin"), &run);
        let header = golden(&format!("run-{name}.header.bin"), &header.to_bytes());
        let read = read_all(&key, &RunHeader::from_bytes(&header).unwrap(), part, &run).unwrap();
        assert_eq!(read, plaintext(length));
        assert_eq!(independent::open_run(&[0x42; 32], &header, part, &run), Some(plaintext(length)));
    }
}

#[tokio::test]
async fn envelopes() {
    let context = r#"{"team":"red"}"#;
    let plans = [
        ("s3", Plan::decide(SseRequest::S3, None)),
        ("kms", kms_plan(None, false)),
        ("kms-context", kms_plan(Some(context), false)),
        ("kms-bucket-key", kms_plan(Some(context), true)),
        ("dsse", Plan::decide(SseRequest::Dsse { key: None, context: None }, None)),
        ("customer", Plan::decide(SseRequest::Customer(customer_key(9)), None)),
    ];
    for (name, plan) in plans {
        let sse = sse(1, 1);
        let (envelope, key) = sse.begin(&plan, &caller(), OBJECT).await.unwrap();
        let stored = golden(&format!("envelope-{name}.bin"), &envelope.to_bytes());
        let envelope = Envelope::from_bytes(&stored).unwrap();
        let customer = plan.customer_key();
        let unlocked = sse.unlock(&envelope, &caller(), OBJECT, customer).await.unwrap();
        assert_eq!(unlocked.secret().expose(), key.secret().expose());
    }
}

#[test]
fn checksums() {
    let (key, entropy) = (object_key(0x42), SeededEntropy::new(1));
    let header = seal(&key, 7, 1, &plaintext(100)).1;
    let spans = [PartSpan { first: 1, count: 2, size: 5 }, PartSpan { first: 3, count: 1, size: 4 }];
    let scopes =
        [("run", Scope::Run { part: 7, header: &header }), ("parts", Scope::Parts { size: 14, spans: &spans })];
    for (name, scope) in scopes {
        let blob = golden(&format!("checksums-{name}.bin"), &seal_checksums(&key, &entropy, scope, b"checksums"));
        assert_eq!(open_checksums(&key, scope, &blob).unwrap().expose(), b"checksums");
    }
}

#[test]
fn etags() {
    let (server, entropy) = (ServerKey::for_test([7; 32]), SeededEntropy::new(1));
    let etag = "d41d8cd98f00b204e9800998ecf8427e";
    let owners = [("object", EtagOf::Object("dir/object")), ("part", EtagOf::Part { upload: &[3; 16], number: 7 })];
    for (name, of) in owners {
        let scope = EtagScope { bucket: &[1; 16], of, write: &[2; 16] };
        let sealed = golden(&format!("etag-{name}.bin"), &server.seal_etag(&entropy, scope, etag));
        assert_eq!(server.open_etag(scope, &sealed).unwrap(), etag);
    }
}
