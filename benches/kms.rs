//! What the embedded key service costs behind the HTTP layer: the operations that S3 and KMS clients ask of it, the key's
//! policy and the caller's own evaluated, and what the unwrap cache saves of them.
//!
//! ```sh
//! cargo bench --bench kms                     # reuses what `cargo build --release` has compiled
//! ```

#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use strongroom::clock::SystemClock;
use strongroom::crypto::SystemEntropy;
use strongroom::kms::cache::CachedKms;
use strongroom::kms::held::Limits;
use strongroom::kms::local::{LocalKms, NewKey};
use strongroom::kms::root::RootKey;
use strongroom::kms::{Caller, EncryptionContext, KeyRef, Kms};
use strongroom::policy::{Attached, Kind, Policy, Subject, SubjectKind};
use strongroom::store::memory::MemoryStore;

const ACCOUNT: &str = "111122223333";
const USER_POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:*", "kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*"}
]}"#;
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"},
    {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
     "Condition": {"StringNotLike": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::bucket*"}}}
]}"#;

/// S3, asking on behalf of a user of the account whose own policy decides.
fn caller() -> Caller {
    let mut user = Subject::new(SubjectKind::User, ACCOUNT, format!("arn:aws:iam::{ACCOUNT}:user/ann"), "AIDAEXAMPLE");
    user.name = Some("ann".to_owned());
    let policy = Policy::parse(USER_POLICY, Kind::Identity).expect("a policy");
    user.policies = vec![Attached { id: "work".to_owned(), policy: Arc::new(policy) }];
    Caller::new(&Arc::new(user), Some("s3.us-east-1.amazonaws.com".to_owned()), "0123456789ABCDEF")
}

fn root() -> Caller {
    Caller::root_of(ACCOUNT, None, "0123456789ABCDEF")
}

async fn service() -> LocalKms {
    let entropy = Arc::new(SystemEntropy::new());
    let store = Arc::new(MemoryStore::new(Arc::clone(&entropy) as _));
    let root =
        Arc::new(RootKey::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").expect("it is base64 of 32 bytes"));
    let opened = LocalKms::open(store, root, Arc::new(SystemClock), entropy, "us-east-1".to_owned()).await;
    opened.expect("the store is in memory")
}

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let kms = runtime.block_on(service());
    let caller = caller();
    let context = EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::bucket/some/key/of/usual/length.bin");
    let make = |policy: Option<&str>| {
        let new = NewKey { policy: policy.map(str::to_owned), ..NewKey::default() };
        KeyRef::from(&runtime.block_on(kms.create_key(&root(), new)).expect("a key").arn)
    };
    for (name, key) in [("default policy", make(None)), ("a policy with a condition", make(Some(POLICY)))] {
        let mut group = criterion.benchmark_group(name);
        let generate = || runtime.block_on(kms.generate_data_key(&caller, &key, &context)).expect("a data key");
        group.bench_function("GenerateDataKey", |bencher| bencher.iter(|| black_box(generate())));
        let blob = generate().wrapped.blob;
        let decrypt = || runtime.block_on(kms.decrypt(&caller, &blob, None, &context)).expect("it opens");
        group.bench_function("Decrypt", |bencher| bencher.iter(|| black_box(decrypt())));
        group.finish();
    }

    let key = make(None);
    let wrapped = runtime.block_on(kms.generate_data_key(&caller, &key, &context)).expect("a data key").wrapped;
    let limits = Limits::of_unwrapped(1000, 300, u32::MAX);
    let cached = CachedKms::new(Arc::new(kms), limits, Arc::new(SystemClock));
    let hit = || runtime.block_on(cached.decrypt(&caller, &wrapped.blob, Some(&key), &context)).expect("it opens");
    criterion.bench_function("Decrypt, from the unwrap cache", |bencher| bencher.iter(|| black_box(hit())));
}

criterion_group!(kms, bench);
criterion_main!(kms);
