//! What a page of a listing costs behind HTTP: a signed request to the S3 service over the embedded store, and its document.
//! `benches/listing.py` measures it from outside, in a bucket of a million objects.
//!
//! cargo bench --locked --bench listing

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use strongroom::audit::Audit;
use strongroom::clock::{SharedClock, SystemClock};
use strongroom::crypto::random::SeededEntropy;
use strongroom::crypto::{SecretBytes, SharedEntropy};

use strongroom::events::{Carriers, EventCarrier, Limits, Targets};
use strongroom::iam::{Account, Directory};
use strongroom::jobs::lifecycle::Calendar;
use strongroom::kms::local::LocalKms;
use strongroom::kms::root::RootKey;
use strongroom::s3::{Outboxes, S3, Settings};
use strongroom::sigv4::{Service, Signer, SigningKeys};
use strongroom::sse::{ServerKey, Sse};
use strongroom::store::outbox::Sequencer;
use strongroom::store::rocks::{Options, RocksStore};
use strongroom::store::{MetaStore, SharedStore};
use strongroom::telemetry::Metrics;
use strongroom::wire::{Protocol as _, RequestContext, RequestId, TlsInfo};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const ROOT_KEY: &[u8] = b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const REGION: &str = "us-east-1";
/// Objects in the bucket, below as many prefixes as a page has entries.
const OBJECTS: usize = 20_000;
const PREFIXES: usize = 1_000;
/// Objects put at once, so that they share a sync.
const AT_ONCE: usize = 64;

/// The S3 service, with one full bucket.
struct Bench {
    s3: S3,
    clock: SharedClock,
    entropy: SharedEntropy,
    _directory: TempDir,
}

impl Bench {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (clock, entropy): (SharedClock, SharedEntropy) = (Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)));
        let store = RocksStore::open(&Options::new(directory.path()), Arc::clone(&entropy)).expect("a store");
        let root = Arc::new(RootKey::parse(ROOT_KEY).expect("it is base64 of 32 bytes"));
        let server_key = ServerKey::load_or_create(&*store, &*root, &*entropy).await.expect("a server key");
        let (meta, region) = (Arc::clone(&store) as Arc<dyn MetaStore>, REGION.to_owned());
        let kms = LocalKms::open(meta, root, Arc::clone(&clock), Arc::clone(&entropy), region.clone()).await;
        let kms = Arc::new(kms.expect("a key service"));
        let sse = Arc::new(Sse::new(kms, server_key, Arc::clone(&clock), Arc::clone(&entropy)));
        let store: SharedStore = store;
        let s3 = S3::new(
            settings(),
            Arc::clone(&store),
            Arc::clone(&sse),
            Arc::new(accounts()),
            Arc::new(SigningKeys::new(16)),
            (Arc::new(Audit::off()), outboxes(store, sse, &clock)),
            (Arc::clone(&clock), Arc::clone(&entropy)),
        );
        let bench = Self { s3, clock, entropy, _directory: directory };
        bench.ask(Method::PUT, "/bucket", Bytes::new()).await;
        let keys: Vec<_> = (0..OBJECTS).map(|n| format!("/bucket/{:05}/{:05}", n % PREFIXES, n)).collect();
        for keys in keys.chunks(AT_ONCE) {
            join_all(keys.iter().map(|key| bench.ask(Method::PUT, key, Bytes::from_static(b"x")))).await;
        }
        bench
    }

    /// The body of the answer to a request that succeeds.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Bytes {
        let now = self.clock.now();
        let cx = RequestContext {
            id: RequestId::draw(&*self.entropy),
            received: now,
            peer: ([127, 0, 0, 1], 40_000).into(),
            client: [127, 0, 0, 1].into(),
            tls: Some(TlsInfo { version: "TLSv1.3", cipher_suite: "TLS_AES_256_GCM_SHA384" }),
            forwarded_over_tls: false,
        };
        let uri = format!("https://localhost{path}");
        let request = Request::builder().method(method).uri(uri).header("content-length", body.len());
        let mut request = request.body(Full::new(body).map_err(Into::into).boxed_unsync()).expect("a request");
        let signer = Signer {
            access_key_id: ACCESS_KEY_ID,
            secret: SECRET.as_bytes(),
            session_token: None,
            region: REGION,
            service: Service::S3,
        };
        signer.sign(&mut request, "UNSIGNED-PAYLOAD", now).expect("it names a host");
        let (head, body) = self.s3.call(&cx, request).await.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        assert_eq!(head.status, StatusCode::OK, "{path}: {body:?}");
        body
    }
}

fn settings() -> Settings {
    Settings {
        region: REGION.to_owned(),
        base_domains: Vec::new(),
        website_domains: Vec::new(),
        inline_limit: 32 << 10,
        share_on_copy: true,
        calendar: Calendar::default(),
        body_timeout: Duration::from_secs(10),
        remote_destinations: Vec::new(),
    }
}

fn accounts() -> Directory {
    let mut accounts = Directory::default();
    let account = Account {
        id: "111122223333".to_owned(),
        canonical_id: "1".repeat(64),
        display_name: "bench".to_owned(),
        email: "bench@example.com".to_owned(),
    };
    accounts.add_root(account, ACCESS_KEY_ID.to_owned(), SecretBytes::new(SECRET.as_bytes().to_vec()));
    accounts
}

/// Nobody is told anything.
fn outboxes(store: SharedStore, sse: Arc<Sse>, clock: &SharedClock) -> Arc<Outboxes> {
    let (targets, sequencer) = (Arc::new(Targets::default()), Arc::new(Sequencer::default()));
    let carrier = EventCarrier { targets: Arc::clone(&targets), sse, region: REGION.to_owned() };
    let limits = Limits { lanes: 1, at_once: 1, max_age: Duration::from_secs(1), max_waiting: 1 };
    let metrics = Arc::new(Metrics::default());
    let events = Carriers::new(carrier, store, Arc::clone(clock), Arc::clone(&sequencer), metrics, limits);
    Arc::new(Outboxes { targets, sequencer, events, replications: OnceLock::new() })
}

fn pages(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let bench = runtime.block_on(Bench::open());
    let mut group = criterion.benchmark_group("a page of 1 000");
    for (name, query, entry) in [
        ("keys", "list-type=2&start-after=00500%2F00500", "<Contents>"),
        ("versions", "versions&key-marker=00500%2F00500", "<Version>"),
        ("common prefixes", "list-type=2&delimiter=%2F", "<CommonPrefixes>"),
    ] {
        let path = format!("/bucket?{query}");
        let page = runtime.block_on(bench.ask(Method::GET, &path, Bytes::new()));
        assert_eq!(String::from_utf8_lossy(&page).matches(entry).count(), 1_000, "{name}");
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| async { black_box(bench.ask(Method::GET, &path, Bytes::new()).await) });
        });
    }
    group.finish();
}

criterion_group!(benches, pages);
criterion_main!(benches);
