//! The re-wrap job over the in-memory store and the embedded key service. The objects' runs do not exist: whoever read
//! object data would fail.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::SystemClock;
use crate::crypto::random::SeededEntropy;
use crate::kms::local::{LocalKms, NewKey};
use crate::kms::root::RootKey;
use crate::kms::{Caller, KeyRef, SharedKms};
use crate::sse::{Envelope, KmsProtection, ObjectName, Plan, ServerKey, SseRequest};
use crate::store::memory::MemoryStore;
use crate::store::schema::{Body, BucketRecord, ObjectRecord, Protection, RunRef, SseKind, StoredEtag, Versioning};
use crate::store::tally::read_tallies;
use crate::store::{MetaStore, Tally, commit};

const ACCOUNT: &str = "111122223333";
const BUCKET: [u8; 16] = [5; 16];

struct Fixture {
    store: SharedStore,
    memory: Arc<MemoryStore>,
    sse: Arc<Sse>,
    kms: Arc<LocalKms>,
    from: String,
    to: String,
}

fn caller() -> Caller {
    Caller::root_of(ACCOUNT, None, "R")
}

impl Fixture {
    async fn new() -> Self {
        let entropy: SharedEntropy = Arc::new(SeededEntropy::new(1));
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy)));
        let root = Arc::new(RootKey::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap());
        let server_key = ServerKey::load_or_create(&*store, &*root, &*entropy).await.unwrap();
        let (meta, clock) = (Arc::clone(&store) as Arc<dyn MetaStore>, Arc::new(SystemClock));
        let region = "us-east-1".to_owned();
        let kms = LocalKms::open(meta, root, Arc::clone(&clock) as SharedClock, Arc::clone(&entropy), region).await;
        let kms = Arc::new(kms.unwrap());
        let key = async || kms.create_key(&caller(), NewKey::default()).await.unwrap().arn.to_string();
        let (from, to) = (key().await, key().await);
        let sse = Arc::new(Sse::new(Arc::clone(&kms) as SharedKms, server_key, clock, entropy));
        let bucket = BucketRecord::new(BUCKET, ACCOUNT, 0, "us-east-1");
        assert_eq!(commit::create_bucket(&*store, "b", &bucket).await.unwrap(), None);
        Self { memory: Arc::clone(&store), store, sse, kms, from, to }
    }

    fn jobs(&self) -> Jobs {
        let entropy = Arc::new(SeededEntropy::new(2));
        Jobs::new(
            Arc::clone(&self.store),
            Arc::clone(&self.sse),
            Arc::default(),
            (Arc::new(SystemClock), entropy),
            "us-east-1".to_owned(),
        )
    }

    fn order(&self) -> Order {
        Order {
            bucket: "b".to_owned(),
            bucket_id: BUCKET,
            prefix: String::new(),
            from: Protection { kind: SseKind::Kms, key: Some(self.from.clone()) },
            to: self.to.clone(),
            rate: None,
            dry_run: false,
        }
    }

    async fn put(&self, key: &str, request: SseRequest) {
        let plan = Plan::decide(request, None);
        let (envelope, _) = self.sse.begin(&plan, &caller(), ObjectName { bucket: "b", key }).await.unwrap();
        let body = Body::Run(RunRef { id: [1; 16], header: vec![0].into(), inline: false });
        let under = (envelope.to_bytes().into(), envelope.summary());
        let record = ObjectRecord::new(7, (10, StoredEtag::Clear("e".to_owned())), under, body, [3; 16]);
        let run = commit::NewRun::Shared(commit::SharedRuns::default());
        let admit = |_: Option<&ObjectRecord>| Ok::<_, std::convert::Infallible>(());
        let versioning = self.bucket().await.versioning;
        let place = commit::Place { bucket: Partition(BUCKET), versioning, key, tell: &commit::Silent };
        commit::write_object(&*self.store, place, &record, run, admit).await.unwrap();
    }

    /// Objects of each kind, `count` of each: half of those under KMS keys have a bucket key.
    async fn fill(&self, count: usize) {
        let key = |arn: &String| Some(arn.clone());
        for n in 0..count {
            let bucket_key = Some(n % 2 == 0);
            let kms = |arn| SseRequest::Kms { key: key(arn), context: None, bucket_key };
            self.put(&format!("kms/{n}"), kms(&self.from)).await;
            self.put(&format!("other/{n}"), kms(&self.to)).await;
            self.put(&format!("dsse/{n}"), SseRequest::Dsse { key: key(&self.from), context: None }).await;
            self.put(&format!("s3/{n}"), SseRequest::S3).await;
        }
    }

    async fn start(&self, jobs: &Jobs, order: Order) -> JobId {
        jobs.start(order, ACCOUNT.to_owned(), caller().principal).await.unwrap()
    }

    async fn bucket(&self) -> BucketRecord {
        commit::read_bucket(&*self.store, "b").await.unwrap().unwrap()
    }

    async fn tally(&self, kind: SseKind, key: Option<&String>) -> i64 {
        let wanted = Protection { kind, key: key.cloned() };
        let tallies = read_tallies(&*self.store, Partition(BUCKET)).await.unwrap();
        tallies.iter().find(|(protection, _)| *protection == wanted).map_or(0, |(_, tally): &(_, Tally)| tally.objects)
    }

    async fn object(&self, key: &str) -> (ObjectRecord, Envelope) {
        let record = commit::read_object(&*self.store, Partition(BUCKET), key).await.unwrap().unwrap();
        let envelope = Envelope::from_bytes(&record.envelope).unwrap();
        (record, envelope)
    }
}

async fn ended(jobs: &Jobs, id: JobId) -> JobRecord {
    for _ in 0..1000 {
        let record = jobs.find(id).await.unwrap().unwrap();
        if record.state != JobState::Running {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the job does not end");
}

#[tokio::test]
async fn all_that_depends_on_a_key_is_re_wrapped_and_nothing_else_changes() {
    let fixture = Fixture::new().await;
    fixture.fill(600).await;
    let jobs = fixture.jobs();
    let (before, _) = fixture.object("kms/1").await;
    let record = ended(&jobs, fixture.start(&jobs, fixture.order()).await).await;
    assert_eq!(record.state, JobState::Completed);
    let Report { total, examined, rewrapped, bytes, failed, .. } = record.report;
    assert_eq!((total, examined, rewrapped, bytes, failed), (Some(2400), 2400, 1200, 12_000, 0));
    assert!(record.ended.is_some());

    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await, 0);
    assert_eq!(fixture.tally(SseKind::Dsse, Some(&fixture.from)).await, 0);
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.to)).await, 1200);
    assert_eq!(fixture.tally(SseKind::Dsse, Some(&fixture.to)).await, 600);
    assert_eq!(fixture.tally(SseKind::S3, None).await, 600);
    let (after, _) = fixture.object("kms/1").await;
    let changed = ObjectRecord { envelope: after.envelope.clone(), protection: after.protection.clone(), ..before };
    assert_eq!(after, changed, "only the protection changes");

    // The old key is not needed any more, and bucket keys stay what they were.
    fixture.kms.set_enabled(&caller(), &KeyRef::parse(&fixture.from), false).await.unwrap();
    for key in ["kms/0", "kms/1", "dsse/5", "other/3"] {
        let (_, envelope) = fixture.object(key).await;
        fixture.sse.unlock(&envelope, &caller(), ObjectName { bucket: "b", key }, None).await.unwrap();
        assert_eq!(envelope.kms().is_some_and(KmsProtection::uses_bucket_key), key == "kms/0", "{key}");
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_a_prefix_bounds_the_work() {
    let fixture = Fixture::new().await;
    fixture.fill(20).await;
    let jobs = fixture.jobs();
    let dry = Order { dry_run: true, prefix: "kms/1".to_owned(), ..fixture.order() };
    let report = ended(&jobs, fixture.start(&jobs, dry.clone()).await).await.report;
    assert_eq!((report.total, report.examined, report.rewrapped), (None, 11, 11));
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await, 20);
    ended(&jobs, fixture.start(&jobs, Order { dry_run: false, ..dry }).await).await;
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await, 9);
}

#[tokio::test]
async fn objects_of_the_servers_own_key_can_be_put_under_a_kms_key() {
    let fixture = Fixture::new().await;
    fixture.fill(3).await;
    let jobs = fixture.jobs();
    let order = Order { from: Protection { kind: SseKind::S3, key: None }, ..fixture.order() };
    assert_eq!(ended(&jobs, fixture.start(&jobs, order).await).await.report.rewrapped, 3);
    assert_eq!(fixture.tally(SseKind::S3, None).await, 0);
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.to)).await, 6);
}

#[tokio::test]
async fn an_interrupted_job_goes_on_at_the_next_start() {
    let fixture = Fixture::new().await;
    fixture.fill(40).await;
    let jobs = fixture.jobs();
    // Ten a second, and it is interrupted well before the eighth second.
    let id = fixture.start(&jobs, Order { rate: Some(10), ..fixture.order() }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    jobs.close().await;
    let rested = jobs.find(id).await.unwrap().unwrap();
    assert_eq!((rested.state, rested.ended), (JobState::Running, None));
    assert!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await > 30);

    let hurried = JobRecord { order: Order { rate: None, ..rested.order.clone() }, ..rested };
    let _ = fixture.store.commit(Partition::GLOBAL, Batch::new().put(job_key(id), hurried.to_value())).await.unwrap();
    let jobs = fixture.jobs();
    jobs.resume().await.unwrap();
    let record = ended(&jobs, id).await;
    assert_eq!((record.state, record.report.examined), (JobState::Completed, 160));
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await, 0);
    assert_eq!(jobs.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_cancelled_job_ends() {
    let fixture = Fixture::new().await;
    fixture.fill(40).await;
    let jobs = fixture.jobs();
    let id = fixture.start(&jobs, Order { rate: Some(1), ..fixture.order() }).await;
    jobs.cancel(id).await.unwrap();
    let record = jobs.find(id).await.unwrap().unwrap();
    assert_eq!(record.state, JobState::Cancelled);
    jobs.resume().await.unwrap();
    jobs.cancel(id).await.unwrap();
    assert_eq!(jobs.find(id).await.unwrap().unwrap(), record);
}

#[tokio::test]
async fn a_job_without_a_worker_can_be_cancelled() {
    let fixture = Fixture::new().await;
    fixture.fill(1).await;
    let jobs = fixture.jobs();
    let id = fixture.start(&jobs, Order { rate: Some(1), ..fixture.order() }).await;
    jobs.close().await;
    assert_eq!(jobs.find(id).await.unwrap().unwrap().state, JobState::Running);
    fixture.memory.set_full(true);
    jobs.cancel(id).await.unwrap();
    let record = jobs.find(id).await.unwrap().unwrap();
    assert_eq!(record.state, JobState::Cancelled);
    assert!(record.ended.is_some());
    jobs.cancel([9; 16]).await.unwrap();
}

#[tokio::test]
async fn on_a_full_store_a_job_goes_on_and_ends() {
    let fixture = Fixture::new().await;
    fixture.fill(8).await;
    let jobs = fixture.jobs();
    // Pages of ten, so that there is more than one checkpoint, and the first pages are not done when the store is full.
    let id = fixture.start(&jobs, Order { rate: Some(10), ..fixture.order() }).await;
    fixture.memory.set_full(true);
    let record = ended(&jobs, id).await;
    assert_eq!((record.state, record.report.rewrapped, record.report.failed), (JobState::Completed, 16, 0));
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await, 0);

    fixture.memory.set_full(false);
    fixture.kms.set_enabled(&caller(), &KeyRef::parse(&fixture.to), false).await.unwrap();
    let back = Protection { kind: SseKind::Kms, key: Some(fixture.to.clone()) };
    let order = Order { from: back, to: fixture.from.clone(), rate: Some(20), ..fixture.order() };
    let id = fixture.start(&jobs, order).await;
    fixture.memory.set_full(true);
    let report = ended(&jobs, id).await.report;
    assert_eq!((report.failed, report.failures.len()), (24, 0), "there is no room for the reasons");
}

#[tokio::test]
async fn what_cannot_be_re_wrapped_is_named() {
    let fixture = Fixture::new().await;
    fixture.fill(4).await;
    fixture.kms.set_enabled(&caller(), &KeyRef::parse(&fixture.from), false).await.unwrap();
    let jobs = fixture.jobs();
    let report = ended(&jobs, fixture.start(&jobs, fixture.order()).await).await.report;
    assert_eq!((report.rewrapped, report.failed, report.failures.len()), (0, 8, 8));
    assert!(report.failures.iter().any(|failure| failure.key == "dsse/0" && failure.reason.contains("is disabled")));
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await, 4);
}

#[tokio::test]
async fn a_bucket_that_is_gone_fails_the_job() {
    let fixture = Fixture::new().await;
    let jobs = fixture.jobs();
    let order = Order { bucket_id: [6; 16], ..fixture.order() };
    let record = ended(&jobs, fixture.start(&jobs, order).await).await;
    assert_eq!(record.state, JobState::Failed);
    assert!(record.report.error.unwrap().contains("does not exist"));
}

#[tokio::test]
async fn versions_are_re_wrapped_and_verified_too() {
    let fixture = Fixture::new().await;
    let request = || SseRequest::Kms { key: Some(fixture.from.clone()), context: None, bucket_key: None };
    fixture.put("a", request()).await;
    let enable = |record: &mut BucketRecord| {
        record.versioning = Versioning::Enabled;
        Ok::<_, std::convert::Infallible>(())
    };
    assert!(commit::configure_bucket(&*fixture.store, "b", enable).await.unwrap());
    for _ in 0..3 {
        fixture.put("a", request()).await;
    }
    fixture.put("b", request()).await;
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.from)).await, 5);
    let jobs = fixture.jobs();
    // Two objects a page, so that pages begin in the midst of a key's versions.
    let order = Order { rate: Some(2), ..fixture.order() };
    let report = ended(&jobs, fixture.start(&jobs, order).await).await.report;
    assert_eq!((report.total, report.examined, report.rewrapped), (Some(5), 5, 5));
    assert_eq!(fixture.tally(SseKind::Kms, Some(&fixture.to)).await, 5);
    let found = commit::read_versions(&*fixture.store, Partition(BUCKET), "", None, 10).await.unwrap();
    assert!(found.iter().all(|found| found.version.object().unwrap().protection.key.as_ref() == Some(&fixture.to)));

    // A head that is gone leaves versions of which none is current.
    let verification =
        verify::Verification { store: Arc::clone(&fixture.store), sse: None, region: "us-east-1".to_owned() };
    let head = crate::store::schema::escape(Table::Object, "a");
    let _ = fixture.store.commit(Partition(BUCKET), Batch::new().delete(head)).await.unwrap();
    let findings = verification.verify_bucket("b", &fixture.bucket().await, |_| {}).await;
    let problem = "it has versions, and none of them is current";
    assert!(findings.damages.iter().any(|damage| damage.what == "a" && damage.problem == problem));
}

#[tokio::test]
async fn verification_finds_what_is_missing_and_what_is_miscounted() {
    let fixture = Fixture::new().await;
    fixture.put("missing", SseRequest::S3).await;
    let verification = verify::Verification {
        store: Arc::clone(&fixture.store),
        sse: Some(Arc::clone(&fixture.sse)),
        region: "us-east-1".to_owned(),
    };
    let bucket = commit::read_bucket(&*fixture.store, "b").await.unwrap().unwrap();
    let findings = verification.verify_bucket("b", &bucket, |_| {}).await;
    assert_eq!(findings.damages.len(), 1);
    assert_eq!(findings.damages[0].what, "missing");
    let found = findings.protections[&Protection { kind: SseKind::S3, key: None }];
    assert_eq!((found.objects, found.bytes, found.opened, found.damaged), (1, 10, 0, 1));

    let key = crate::store::tally::tally_key(&Protection { kind: SseKind::S3, key: None });
    let _ = fixture.store.commit(Partition(BUCKET), Batch::new().count(key, Tally::object(1))).await.unwrap();
    let findings = verification.verify_bucket("b", &bucket, |_| {}).await;
    assert!(findings.damages.iter().any(|damage| damage.what == "the inventory by key"));
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_a_finding_and_what_comes_before_is_verified() {
    let fixture = Fixture::new().await;
    for n in 0..5 {
        fixture.put(&format!("a/{n}"), SseRequest::S3).await;
    }
    let damaged = Batch::new().put(crate::store::schema::escape(Table::Object, "b"), b"no record".to_vec());
    let _ = fixture.store.commit(Partition(BUCKET), damaged).await.unwrap();
    let verification =
        verify::Verification { store: Arc::clone(&fixture.store), sse: None, region: "us-east-1".to_owned() };
    let findings = verification.verify_bucket("b", &fixture.bucket().await, |_| {}).await;
    assert_eq!(findings.protections[&Protection { kind: SseKind::S3, key: None }].objects, 5);
    let index: Vec<_> = findings.damages.iter().filter(|damage| damage.what == "the index of objects").collect();
    assert_eq!(index.len(), 1);
    assert!(index[0].problem.starts_with("it cannot be read behind a/4: "), "{}", index[0].problem);
    assert!(!findings.damages.iter().any(|damage| damage.what == "the inventory by key"), "nobody knows");
}
