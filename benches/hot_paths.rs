//! What every request pays for behind HTTP: its signature, its data key, sealing and opening.
//!
//! ```sh
//! cargo bench --bench hot_paths               # times
//! python3 benches/instructions.py             # instructions of one call, which no noise changes
//! ```

use std::hint::black_box;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use http::Request;
use strongroom::clock::{Clock as _, SystemClock, Timestamp};
use strongroom::crypto::SecretBytes;
use strongroom::crypto::random::SeededEntropy;
use strongroom::kms::local::{LocalKms, NewKey};
use strongroom::kms::root::RootKey;
use strongroom::kms::{Caller, EncryptionContext, KeyRef, Kms};
use strongroom::sigv4::{Head, KeyLookup, Presented, Secrets, Service, Signer, SigningKeys, Verifier};
use strongroom::sse::{ObjectKey, ObjectName, Opener, Plan, RunHeader, Sealer, ServerKey, Sse, SseRequest};
use strongroom::store::memory::MemoryStore;
use tokio::runtime::Runtime;

const ROOT_KEY: &[u8] = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SIZES: [(&str, usize); 2] = [("4 KiB", 4 << 10), ("1 MiB", 1 << 20)];
/// As many frames as the server reads at once.
const FRAMES: NonZeroU64 = NonZeroU64::new(3).unwrap();
/// Plaintext bytes of a frame.
const FRAME_SIZE: usize = 64 << 10;

struct OneKey(Arc<SecretBytes>);

impl Secrets for OneKey {
    fn find(&self, access_key_id: &str, _session_token: Option<&str>, _now: Timestamp) -> KeyLookup {
        if access_key_id == ACCESS_KEY_ID { KeyLookup::Secret(Arc::clone(&self.0)) } else { KeyLookup::Unknown }
    }
}

/// A GET as an SDK sends it.
fn signed_request(now: Timestamp) -> Request<()> {
    let mut request = Request::get("https://bucket.s3.example.com/some/key/of/usual/length.bin?x-id=GetObject")
        .header("amz-sdk-invocation-id", "2f1cd3c9-9c1e-4d9e-b9a5-3a3f6a3c1f43")
        .header("amz-sdk-request", "attempt=1; max=3")
        .header("user-agent", "Boto3/1.40 md/Botocore#1.40 ua/2.1 os/linux lang/python")
        .header("x-amz-checksum-mode", "ENABLED")
        .body(())
        .expect("a request");
    let signer = Signer {
        access_key_id: ACCESS_KEY_ID,
        secret: SECRET,
        session_token: None,
        region: "us-east-1",
        service: Service::S3,
    };
    signer.sign(&mut request, "UNSIGNED-PAYLOAD", now).expect("it names a host");
    request
}

/// One path: `prepare` makes ready what a call consumes, and returns the call.
struct Path {
    name: String,
    /// Bytes that a call goes through.
    bytes: Option<usize>,
    prepare: Box<dyn Fn() -> Call>,
}

type Call = Box<dyn FnOnce()>;

/// The verification of a GET's signature whose signing key is at hand, as from the second request of a day on.
fn signature() -> Path {
    let now = SystemClock.now();
    let held =
        Arc::new((OneKey(Arc::new(SecretBytes::new(SECRET.to_vec()))), SigningKeys::new(16), signed_request(now)));
    let prepare = move || -> Call {
        let held = Arc::clone(&held);
        Box::new(move || {
            let (secrets, keys, request) = &*held;
            let verifier = Verifier { secrets, region: "us-east-1", service: Service::S3, now, keys };
            let head = Head::of(request);
            let presented = Presented::from_head(&head).expect("it is well formed").expect("it is signed");
            let hash = presented.s3_payload_hash(&head).expect("it names its payload");
            black_box(presented.verify(&head, &verifier, &hash).expect("the signature is right"));
        })
    };
    Path { name: "verify a signature".to_owned(), bytes: None, prepare: Box::new(prepare) }
}

fn seal(key: &Arc<ObjectKey>, entropy: &Arc<SeededEntropy>, (name, size): (&str, usize)) -> Path {
    let (key, entropy, plaintext) = (Arc::clone(key), Arc::clone(entropy), Arc::new(vec![7; size]));
    let prepare = move || -> Call {
        let (key, entropy, plaintext) = (Arc::clone(&key), Arc::clone(&entropy), Arc::clone(&plaintext));
        Box::new(move || drop(black_box(seal_run(&key, &entropy, &plaintext))))
    };
    Path { name: format!("seal {name}"), bytes: Some(size), prepare: Box::new(prepare) }
}

fn seal_run(key: &ObjectKey, entropy: &SeededEntropy, plaintext: &[u8]) -> (Vec<u8>, RunHeader) {
    let mut sealer = Sealer::new(key, 0, entropy);
    let mut sealed = vec![0; plaintext.len() + 32 * (plaintext.len() / FRAME_SIZE + 1)];
    let mut at = 0;
    for mut received in plaintext.chunks(FRAME_SIZE) {
        while !received.is_empty() {
            let taken = sealer.fill(&mut sealed[at..], received);
            received = &received[taken..];
            if taken == 0 {
                at += sealer.seal(&mut sealed[at..]).expect("the frame is full");
            }
        }
    }
    let (last, header) = sealer.finish(&mut sealed[at..]);
    sealed.truncate(at + last);
    (sealed, header)
}

fn open(key: &Arc<ObjectKey>, entropy: &SeededEntropy, (name, size): (&str, usize)) -> Path {
    let (sealed, header) = seal_run(key, entropy, &vec![7; size]);
    let key = Arc::clone(key);
    let prepare = move || -> Call {
        let (key, header) = (Arc::clone(&key), header.clone());
        let reads = Opener::new(&key, &header, 0).and_then(|opener| opener.reads(0..header.plaintext_len(), FRAMES));
        // As the store hands them over: each in memory of its own, in which it is opened.
        let mut rest = sealed.as_slice();
        let stored = reads.expect("the key is the run's").map(|read| {
            let (now, later) = rest.split_at(read.sealed_len());
            rest = later;
            (read, Bytes::copy_from_slice(now))
        });
        let stored: Vec<_> = stored.collect();
        Box::new(move || {
            let opener = Opener::new(&key, &header, 0).expect("the key is the run's");
            for (read, sealed) in stored {
                black_box(opener.open(&read, sealed).expect("it is as it was sealed"));
            }
        })
    };
    Path { name: format!("open {name}"), bytes: Some(size), prepare: Box::new(prepare) }
}

/// The embedded key service, as a GET asks it for the object's data key.
fn unwrap(runtime: &Arc<Runtime>, service: &Arc<LocalKms>) -> Path {
    let caller = caller();
    let context = EncryptionContext::new().with("aws:s3:arn", "arn:aws:s3:::bucket/some/key/of/usual/length.bin");
    let wrapped = runtime.block_on(async {
        let key = service.create_key(&caller, NewKey::default()).await.expect("a key").arn;
        service.generate_data_key(&caller, &KeyRef::from(&key), &context).await.expect("a data key").wrapped
    });
    let held = Arc::new((Arc::clone(runtime), Arc::clone(service), caller, wrapped, context));
    let prepare = move || -> Call {
        let held = Arc::clone(&held);
        Box::new(move || {
            let (runtime, service, caller, wrapped, context) = &*held;
            let opened = runtime.block_on(service.decrypt(caller, &wrapped.blob, None, context));
            black_box(opened.expect("it opens"));
        })
    };
    Path { name: "unwrap a data key".to_owned(), bytes: None, prepare: Box::new(prepare) }
}

fn caller() -> Caller {
    Caller::root_of("111122223333", Some("s3.us-east-1.amazonaws.com".to_owned()), "0123456789ABCDEF")
}

fn paths() -> Vec<Path> {
    let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));
    let entropy = Arc::new(SeededEntropy::new(1));
    let store = Arc::new(MemoryStore::new(Arc::clone(&entropy) as _));
    let root = Arc::new(RootKey::parse(ROOT_KEY).expect("it is base64 of 32 bytes"));
    let clock = Arc::new(SystemClock);
    let (service, key) = runtime.block_on(async {
        let server_key = ServerKey::load_or_create(&*store, &*root, &*entropy).await.expect("it is in memory");
        let region = "us-east-1".to_owned();
        let service = LocalKms::open(store, root, Arc::clone(&clock) as _, Arc::clone(&entropy) as _, region).await;
        let service = Arc::new(service.expect("it is in memory"));
        let sse = Sse::new(Arc::clone(&service) as _, server_key, clock, Arc::clone(&entropy) as _);
        let (plan, name) = (Plan::decide(SseRequest::S3, None), ObjectName { bucket: "bucket", key: "key" });
        let (_, key) = sse.begin(&plan, &caller(), name).await.expect("the server's own key is there");
        (service, Arc::new(key))
    });
    let mut paths = vec![signature(), unwrap(&runtime, &service)];
    for size in SIZES {
        paths.extend([seal(&key, &entropy, size), open(&key, &entropy, size)]);
    }
    paths
}

/// What callgrind counts.
#[inline(never)]
fn counted(call: Call) {
    call();
}

fn main() {
    let paths = paths();
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        // For `instructions.py`: the names, and one call of the path of that name, caches warm.
        Some("--names") => {
            let mut out = std::io::stdout().lock();
            for path in &paths {
                writeln!(out, "{}", path.name).expect("somebody reads it");
            }
        }
        Some("--count") => {
            let name = arguments.next().unwrap_or_default();
            let path = paths.iter().find(|path| path.name == name).expect("a path has that name");
            (path.prepare)()();
            counted((path.prepare)());
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for path in &paths {
                let mut group = criterion.benchmark_group("hot paths");
                if let Some(bytes) = path.bytes {
                    group.throughput(Throughput::Bytes(bytes as u64));
                }
                group.bench_function(&path.name, |bencher| {
                    bencher.iter_batched(&path.prepare, |call| call(), BatchSize::SmallInput);
                });
                group.finish();
            }
            criterion.final_summary();
        }
    }
}
