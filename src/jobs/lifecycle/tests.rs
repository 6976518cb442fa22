//! Life cycles against the in-memory store, by a clock that moves when told.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::time::timeout;

use super::*;
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::crypto::random::SeededEntropy;
use crate::store::commit::{
    Deletion, FoundVersion, NewRun, Place, Silent, Standing, configure_bucket, create_bucket, create_upload,
    delete_object, delete_version, read_bucket, read_object, read_uploads, read_version, read_versions, update_version,
    write_object,
};
use crate::store::configuration::{delete_configuration, put_configuration};
use crate::store::memory::MemoryStore;
use crate::store::schema::{
    Body, ConfigurationRecord, DestinationState, Ended as EndedReplication, MarkerRecord, ObjectRecord, Record,
    ReplicationState, Retention, RetentionMode, RunRef, UploadRecord, Version, VersionId, Versioning,
};

const DAY: i64 = 86_400;
/// Ten o'clock in the morning.
const START: &str = "2026-11-25T10:00:00Z";

struct Fixture {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    life: Lifecycle,
    written: AtomicUsize,
}

/// Rules by their names: the kept document of a test is the name of one.
fn named_rules(name: &str) -> Option<Rules> {
    let rule = Rule {
        id: name.to_owned(),
        enabled: true,
        filter: Filter::default(),
        expiration: None,
        noncurrent: None,
        abort_after: None,
        transitions: Vec::new(),
        noncurrent_transitions: Vec::new(),
    };
    let of_any_size = Filter { larger_than: Some(0), ..Filter::default() };
    let below = |prefix: &str| Filter { prefix: Some(prefix.to_owned()), ..Filter::default() };
    let rule = match name {
        "a day" => Rule { expiration: Some(Expiration::Days(1)), ..rule },
        "a day below a/" => Rule { expiration: Some(Expiration::Days(1)), filter: below("a/"), ..rule },
        "tagged" => Rule {
            expiration: Some(Expiration::Days(1)),
            filter: Filter { tags: vec![("go".to_owned(), "1".to_owned())], ..Filter::default() },
            ..rule
        },
        "noncurrent" => Rule { noncurrent: Some(Noncurrent { days: 1, keep: Some(1) }), ..rule },
        "a day, and to glacier" => Rule {
            expiration: Some(Expiration::Days(1)),
            transitions: vec![Transition { when: When::Days(1), class: TransitionClass::Glacier }],
            filter: of_any_size,
            ..rule
        },
        "to glacier at once" => Rule {
            transitions: vec![Transition { when: When::Days(0), class: TransitionClass::Glacier }],
            filter: of_any_size,
            ..rule
        },
        "markers" => Rule { expiration: Some(Expiration::LoneMarkers(true)), ..rule },
        "uploads below a/" => Rule { abort_after: Some(1), filter: below("a/"), ..rule },
        "to glacier" => Rule {
            transitions: vec![Transition { when: When::Days(1), class: TransitionClass::Glacier }],
            filter: of_any_size,
            ..rule
        },
        "noncurrent to glacier" => Rule {
            noncurrent_transitions: vec![NoncurrentTransition {
                days: 1,
                keep: Some(1),
                class: TransitionClass::Glacier,
            }],
            filter: of_any_size,
            ..rule
        },
        _ => return None,
    };
    Some(Rules { rules: vec![rule], varies_by_storage_class: false })
}

/// A record as it is stored: what it says beside what a test is about is all the same.
fn golden<R: Record>(name: &str) -> R {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema").join(name);
    R::from_value(&std::fs::read(path).unwrap()).unwrap()
}

impl Fixture {
    async fn new(versioning: Versioning) -> Self {
        let entropy: SharedEntropy = Arc::new(SeededEntropy::new(1));
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy)));
        let clock = Arc::new(ManualClock::new(START.parse::<Timestamp>().unwrap()));
        let life = Lifecycle::new(
            Arc::clone(&store) as SharedStore,
            (Arc::clone(&clock) as SharedClock, entropy),
            Arc::default(),
            named_rules,
            Calendar::default(),
            Rates { examined_per_second: u32::MAX, removed_per_second: u32::MAX },
        );
        let bucket = BucketRecord { versioning, ..golden("bucket.bin") };
        assert_eq!(create_bucket(&*store, "b", &bucket).await.unwrap(), None);
        Self { store, clock, life, written: AtomicUsize::new(0) }
    }

    async fn bucket(&self) -> BucketRecord {
        read_bucket(&*self.store, "b").await.unwrap().unwrap()
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    async fn configure(&self, name: &str) {
        let record = ConfigurationRecord { document: name.to_owned(), modified: self.now() };
        let bucket = self.bucket().await;
        let kind = ConfigurationKind::Lifecycle;
        put_configuration(&*self.store, ("b", &bucket), kind, None, 1, &record).await.unwrap();
    }

    fn unique(&self) -> [u8; 16] {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        id
    }

    async fn write(&self, key: &str) -> Option<VersionId> {
        let id = self.unique();
        let record = ObjectRecord {
            modified: self.now(),
            size: 5,
            body: Body::Run(RunRef { id, header: vec![1].into(), inline: true }),
            generation: id,
            ..golden("object-run.bin")
        };
        let run = NewRun::Inline(id, Bytes::from_static(b"sealed"));
        let place = self.place(key).await;
        write_object(&*self.store, place, &record, run, |_| Ok::<_, Infallible>(())).await.unwrap()
    }

    async fn place<'k>(&self, key: &'k str) -> Place<'k> {
        let bucket = self.bucket().await;
        Place { bucket: bucket.partition(), versioning: bucket.versioning, key, tell: &Silent }
    }

    async fn delete(&self, key: &str) -> Deletion {
        let marker = MarkerRecord::new(self.now(), self.unique());
        let place = self.place(key).await;
        delete_object(&*self.store, place, &marker, |_| Ok::<_, Infallible>(())).await.unwrap()
    }

    /// All versions, as `key` or, of delete markers, `-key`; the current ones with `*`.
    async fn versions(&self) -> Vec<String> {
        let found = read_versions(&*self.store, self.bucket().await.partition(), "", None, 10_000).await.unwrap();
        let show = |found: &FoundVersion| {
            let (marker, current) = (found.version.object().is_none(), found.is_current);
            format!("{}{}{}", if marker { "-" } else { "" }, found.key, if current { "*" } else { "" })
        };
        found.iter().map(show).collect()
    }

    /// The storage classes of all versions.
    async fn classes(&self) -> Vec<String> {
        let found = read_versions(&*self.store, self.bucket().await.partition(), "", None, 10_000).await.unwrap();
        let class = |found: &FoundVersion| found.version.object().map(|object| object.attributes.storage_class.clone());
        found.iter().filter_map(class).collect()
    }

    async fn pass_days(&self, days: i64) {
        for _ in 0..days {
            self.clock.advance(DAY);
            self.life.tend().await.unwrap();
        }
    }
}

#[tokio::test]
async fn objects_expire_at_the_midnight_after_their_days() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("a/1").await;
    fixture.write("b").await;
    fixture.configure("a day below a/").await;
    fixture.life.tend().await.unwrap();
    // Written at ten, due at the midnight behind ten o'clock of the next day.
    fixture.clock.advance(38 * 3600 - 1);
    fixture.life.tend().await.unwrap();
    assert_eq!(fixture.versions().await, ["a/1*", "b*"]);
    fixture.clock.advance(1);
    fixture.life.tend().await.unwrap();
    assert_eq!(fixture.versions().await, ["b*"]);
}

#[tokio::test]
async fn a_new_configuration_is_gone_by_at_once() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("a/1").await;
    fixture.configure("uploads below a/").await;
    fixture.pass_days(5).await;
    assert_eq!(fixture.versions().await, ["a/1*"]);
    fixture.clock.advance(1);
    fixture.configure("a day").await;
    fixture.life.tend().await.unwrap();
    assert!(fixture.versions().await.is_empty());
}

#[tokio::test]
async fn a_pass_is_made_once_a_day() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.configure("a day").await;
    fixture.pass_days(1).await;
    let examined = || fixture.life.metrics.lifecycle_examined.get();
    fixture.write("k").await;
    fixture.life.tend().await.unwrap();
    assert_eq!(examined(), 0, "it was done before");
    fixture.pass_days(1).await;
    assert_eq!(examined(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_second_sees_more_removed_than_it_may() {
    let mut fixture = Fixture::new(Versioning::Never).await;
    fixture.life.rates.removed_per_second = 100;
    for n in 0..250 {
        fixture.write(&format!("{n:03}")).await;
    }
    fixture.configure("a day").await;
    fixture.clock.advance(2 * DAY);
    let mut pass = pin!(fixture.life.tend());
    for left in [150, 50] {
        assert!(timeout(Duration::from_millis(990), &mut pass).await.is_err());
        assert_eq!(fixture.versions().await.len(), left);
    }
    timeout(Duration::from_secs(2), pass).await.unwrap().unwrap();
    assert_eq!(fixture.versions().await, Vec::<String>::new());
}

#[tokio::test]
async fn tags_are_looked_at_when_the_object_goes() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("k").await;
    fixture.configure("tagged").await;
    fixture.pass_days(4).await;
    assert_eq!(fixture.versions().await, ["k*"]);
    let partition = fixture.bucket().await.partition();
    let tag = |record: &mut ObjectRecord| {
        record.tags = vec![("go".to_owned(), "1".to_owned())];
        Ok::<_, Infallible>(())
    };
    update_version(&*fixture.store, partition, "k", None, &Silent, tag).await.unwrap();
    fixture.pass_days(1).await;
    assert!(fixture.versions().await.is_empty());
}

#[tokio::test]
async fn in_a_bucket_with_versions_a_marker_comes_upon_the_current_one_once() {
    let fixture = Fixture::new(Versioning::Enabled).await;
    fixture.write("k").await;
    fixture.configure("a day").await;
    fixture.pass_days(9).await;
    assert_eq!(fixture.versions().await, ["-k*", "k"]);
}

#[tokio::test]
async fn noncurrent_versions_go_a_day_after_they_became_so_but_the_newest() {
    let fixture = Fixture::new(Versioning::Enabled).await;
    for _ in 0..4 {
        fixture.write("k").await;
    }
    fixture.configure("noncurrent").await;
    fixture.pass_days(1).await;
    assert_eq!(fixture.versions().await.len(), 4);
    fixture.pass_days(1).await;
    assert_eq!(fixture.versions().await, ["k*", "k"]);
    // Long after it was written, the current one becomes noncurrent: from then on its day counts.
    fixture.pass_days(30).await;
    fixture.write("k").await;
    fixture.write("k").await;
    fixture.pass_days(1).await;
    assert_eq!(fixture.versions().await.len(), 3, "the oldest is gone, the other two stand for a day");
    fixture.pass_days(1).await;
    assert_eq!(fixture.versions().await, ["k*", "k"]);
}

#[tokio::test]
async fn many_versions_of_one_key_are_counted_across_pages() {
    let fixture = Fixture::new(Versioning::Enabled).await;
    for _ in 0..2_500 {
        fixture.write("k").await;
    }
    fixture.configure("noncurrent").await;
    fixture.pass_days(2).await;
    assert_eq!(fixture.versions().await, ["k*", "k"]);
}

#[tokio::test]
async fn lone_markers_go_and_others_stay() {
    let fixture = Fixture::new(Versioning::Enabled).await;
    fixture.delete("lone").await;
    fixture.write("covered").await;
    fixture.delete("covered").await;
    fixture.write("kept").await;
    fixture.configure("markers").await;
    fixture.life.tend().await.unwrap();
    assert_eq!(fixture.versions().await, ["-covered*", "covered", "kept*"]);
}

#[tokio::test]
async fn locked_versions_stay_until_their_lock_ends() {
    let fixture = Fixture::new(Versioning::Enabled).await;
    let first = fixture.write("k").await;
    fixture.write("k").await;
    fixture.write("k").await;
    let partition = fixture.bucket().await.partition();
    let until = fixture.now() + 5 * DAY * 1000;
    let lock = |record: &mut ObjectRecord| {
        record.retention = Some(Retention { mode: RetentionMode::Governance, until });
        Ok::<_, Infallible>(())
    };
    update_version(&*fixture.store, partition, "k", first, &Silent, lock).await.unwrap();
    fixture.configure("noncurrent").await;
    fixture.pass_days(3).await;
    assert_eq!(fixture.versions().await, ["k*", "k", "k"]);
    let labels = crate::telemetry::metrics::LifecycleLabels { action: "expire_noncurrent", outcome: "locked" };
    assert!(fixture.life.metrics.lifecycle_actions.get_or_create(&labels).get() >= 1);
    fixture.pass_days(4).await;
    assert_eq!(fixture.versions().await, ["k*", "k"]);
}

#[tokio::test]
async fn old_uploads_are_aborted_below_their_prefix() {
    let fixture = Fixture::new(Versioning::Never).await;
    let upload = UploadRecord { initiated: fixture.now(), ..golden("upload.bin") };
    for key in ["a/1", "a/1", "a/2", "b"] {
        let place = fixture.place(key).await;
        create_upload::<Infallible>(&*fixture.store, place, fixture.unique(), &upload).await.unwrap();
    }
    fixture.configure("uploads below a/").await;
    fixture.pass_days(1).await;
    let open = async || {
        let uploads = read_uploads(&*fixture.store, fixture.bucket().await.partition(), 9).await.unwrap();
        uploads.into_iter().map(|upload| upload.key).collect::<Vec<_>>()
    };
    assert_eq!(open().await.len(), 4);
    fixture.pass_days(1).await;
    assert_eq!(open().await, ["b"]);
}

#[tokio::test]
async fn an_interrupted_pass_goes_on_behind_its_cursor() {
    let fixture = Fixture::new(Versioning::Never).await;
    for key in ["a", "b", "c"] {
        fixture.write(key).await;
    }
    fixture.configure("a day").await;
    fixture.clock.advance(3 * DAY);
    let (now, bucket) = (fixture.now(), fixture.bucket().await);
    let configured = now - 3 * DAY * 1000;
    // As a crash left it, behind "b".
    let cut = Pass { after: "b".to_owned(), ..Pass::begin(now, configured) };
    put_cursor(&*fixture.store, &bucket, CursorKind::Lifecycle, "", &cut).await.unwrap();
    fixture.life.tend().await.unwrap();
    assert_eq!(fixture.versions().await, ["a*", "b*"]);
    let pass: Pass = read_cursor(&*fixture.store, &bucket, CursorKind::Lifecycle, "").await.unwrap().unwrap();
    assert_eq!(pass.stage, Stage::Done);
    fixture.pass_days(1).await;
    assert!(fixture.versions().await.is_empty());
}

#[tokio::test]
async fn a_bucket_with_much_to_do_lets_others_have_their_turn() {
    let mut fixture = Fixture::new(Versioning::Never).await;
    fixture.life.slice = Duration::ZERO;
    for n in 0..2_500 {
        fixture.write(&format!("{n:04}")).await;
    }
    fixture.configure("a day").await;
    fixture.clock.advance(3 * DAY);
    assert!(fixture.life.take_turns().await.unwrap(), "it needs another turn");
    assert_eq!(fixture.versions().await.len(), 1_500);
    fixture.life.tend().await.unwrap();
    assert!(fixture.versions().await.is_empty());
    assert!(!fixture.life.take_turns().await.unwrap());
}

#[tokio::test]
async fn on_a_full_store_what_is_due_goes_all_the_same() {
    let fixture = Fixture::new(Versioning::Never).await;
    let long = "a-name-that-makes-the-cursor-longer/".repeat(5);
    for n in 0..3 {
        fixture.write(&format!("{long}{n}")).await;
    }
    fixture.configure("a day").await;
    fixture.clock.advance(3 * DAY);
    fixture.store.set_full(true);
    fixture.life.tend().await.unwrap();
    assert!(fixture.versions().await.is_empty());
    let bucket = fixture.bucket().await;
    let pass: Pass = read_cursor(&*fixture.store, &bucket, CursorKind::Lifecycle, "").await.unwrap().unwrap();
    assert_eq!(pass.stage, Stage::Done);
}

#[tokio::test]
async fn what_was_written_meanwhile_does_not_die_for_its_predecessor() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("k").await;
    fixture.configure("a day").await;
    fixture.clock.advance(3 * DAY);
    let bucket = fixture.bucket().await;
    let judged = read_object(&*fixture.store, bucket.partition(), "k").await.unwrap().unwrap();
    fixture.write("k").await;
    let rules = named_rules("a day").unwrap();
    let sweep = sweep::Sweep::new(&fixture.life, ("bucket", &bucket), &rules, Pass::begin(fixture.now(), 0));
    assert!(!sweep.expires("k", &judged).await);
    assert_eq!(fixture.versions().await, ["k*"]);
    let present = read_object(&*fixture.store, bucket.partition(), "k").await.unwrap().unwrap();
    assert!(sweep.expires("k", &present).await);
    assert!(fixture.versions().await.is_empty());
}

#[tokio::test]
async fn objects_become_of_another_class_and_stay_what_they_are() {
    for versioning in [Versioning::Never, Versioning::Enabled] {
        let fixture = Fixture::new(versioning).await;
        fixture.write("k").await;
        let partition = fixture.bucket().await.partition();
        let before = read_object(&*fixture.store, partition, "k").await.unwrap().unwrap();
        fixture.configure("to glacier").await;
        fixture.pass_days(1).await;
        assert_eq!(fixture.classes().await, ["STANDARD"]);
        fixture.pass_days(1).await;
        let mut after = read_object(&*fixture.store, partition, "k").await.unwrap().unwrap();
        assert_eq!(after.attributes.storage_class, "GLACIER");
        after.attributes.storage_class.clone_from(&before.attributes.storage_class);
        assert_eq!(after, before);
        fixture.pass_days(2).await;
        let labels = crate::telemetry::metrics::LifecycleLabels { action: "transition", outcome: "done" };
        assert_eq!(fixture.life.metrics.lifecycle_actions.get_or_create(&labels).get(), 1);
    }
}

#[tokio::test]
async fn noncurrent_versions_transition_but_the_newest_and_locked_ones_too() {
    let fixture = Fixture::new(Versioning::Enabled).await;
    let first = fixture.write("k").await;
    fixture.write("k").await;
    fixture.write("k").await;
    let partition = fixture.bucket().await.partition();
    let lock = |record: &mut ObjectRecord| {
        record.legal_hold = Some(true);
        Ok::<_, Infallible>(())
    };
    update_version(&*fixture.store, partition, "k", first, &Silent, lock).await.unwrap();
    fixture.configure("noncurrent to glacier").await;
    fixture.pass_days(2).await;
    assert_eq!(fixture.classes().await, ["STANDARD", "STANDARD", "GLACIER"]);
    assert_eq!(fixture.versions().await, ["k*", "k", "k"]);
}

#[tokio::test]
async fn what_was_changed_meanwhile_does_not_transition() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("k").await;
    let bucket = fixture.bucket().await;
    let judged = read_object(&*fixture.store, bucket.partition(), "k").await.unwrap().unwrap();
    fixture.write("k").await;
    let rules = named_rules("to glacier").unwrap();
    let sweep = sweep::Sweep::new(&fixture.life, ("bucket", &bucket), &rules, Pass::begin(fixture.now(), 0));
    assert!(!sweep.transitions("k", &judged, TransitionClass::Glacier).await);
    assert_eq!(fixture.classes().await, ["STANDARD"]);
    let present = read_object(&*fixture.store, bucket.partition(), "k").await.unwrap().unwrap();
    assert!(sweep.transitions("k", &present, TransitionClass::Glacier).await);
    assert_eq!(fixture.classes().await, ["GLACIER"]);
}

#[tokio::test]
async fn a_noncurrent_version_that_was_replaced_or_is_current_again_stays() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("null").await;
    let keep = |versioning| {
        let change = move |record: &mut BucketRecord| {
            record.versioning = versioning;
            Ok::<_, Infallible>(())
        };
        configure_bucket(&*fixture.store, "b", change)
    };
    assert!(keep(Versioning::Enabled).await.unwrap());
    fixture.write("null").await;
    let first = fixture.write("k").await.unwrap();
    let Deletion::Marked(marker) = fixture.delete("k").await else { panic!("no marker") };
    assert!(keep(Versioning::Suspended).await.unwrap());
    let bucket = fixture.bucket().await;
    let partition = bucket.partition();
    let read = async |key, id| read_version(&*fixture.store, partition, key, Some(id)).await.unwrap();
    let (null, hidden) = (read("null", VersionId::Null).await.unwrap(), read("k", first).await.unwrap());
    let lone = read("k", marker).await.unwrap();
    let rules = named_rules("noncurrent").unwrap();
    let sweep = sweep::Sweep::new(&fixture.life, ("bucket", &bucket), &rules, Pass::begin(fixture.now(), 0));
    assert!(!sweep.removes("k", lone, Standing::Alone).await, "a version stands behind it");

    // Between judgement and action, the null version is replaced, and the marker upon the other one goes.
    fixture.write("null").await;
    let claim = crate::store::schema::Claim { now: 0, bypass: false };
    let admit = |_: &Version, _| Ok::<_, Infallible>(());
    delete_version(&*fixture.store, partition, "k", marker, claim, &Silent, admit).await.unwrap().unwrap();
    assert!(!sweep.removes("null", null, Standing::Noncurrent).await);
    assert!(!sweep.removes("k", hidden.clone(), Standing::Noncurrent).await);
    assert_eq!(fixture.versions().await, ["k*", "null*", "null"]);

    fixture.delete("k").await;
    assert!(sweep.removes("k", hidden, Standing::Noncurrent).await, "as it was judged");
    let lone = read("k", VersionId::Null).await.unwrap();
    assert!(sweep.removes("k", lone, Standing::Alone).await);
    assert_eq!(fixture.versions().await, ["null*", "null"]);
}

#[tokio::test]
async fn a_configuration_that_is_deleted_or_replaced_ends_the_pass() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("k").await;
    fixture.configure("a day").await;
    let configured = fixture.now();
    fixture.clock.advance(3 * DAY);
    let (bucket, rules) = (fixture.bucket().await, named_rules("a day").unwrap());
    let work = async || {
        let pass = Pass::begin(fixture.now(), configured);
        sweep::Sweep::new(&fixture.life, ("b", &bucket), &rules, pass).work().await.unwrap()
    };
    fixture.configure("uploads below a/").await;
    assert_eq!(work().await, Worked::Gone);
    assert!(delete_configuration(&*fixture.store, &bucket, ConfigurationKind::Lifecycle, None).await.unwrap());
    assert_eq!(work().await, Worked::Gone);
    assert_eq!(fixture.versions().await, ["k*"]);
    let record = ConfigurationRecord { document: "a day".to_owned(), modified: configured };
    put_configuration(&*fixture.store, ("b", &bucket), ConfigurationKind::Lifecycle, None, 1, &record).await.unwrap();
    assert_eq!(work().await, Worked::Done);
    assert!(fixture.versions().await.is_empty());
}

#[tokio::test]
async fn what_is_not_replicated_stays_as_it_is() {
    for name in ["a day", "to glacier", "noncurrent", "noncurrent to glacier"] {
        let fixture = Fixture::new(Versioning::Enabled).await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(fixture.write("k").await);
        }
        let partition = fixture.bucket().await.partition();
        let state = |ended: Option<EndedReplication<'static>>| {
            let mut state =
                ReplicationState { is_replica: false, destinations: vec![DestinationState::pending("a", "r")] };
            if let Some(ended) = ended {
                state.note("a", 1, ended);
            }
            let change = move |record: &mut ObjectRecord| {
                record.replication = Some(state.clone());
                Ok::<_, Infallible>(())
            };
            let (store, ids) = (&fixture.store, &ids);
            async move {
                for id in ids {
                    update_version(&**store, partition, "k", *id, &Silent, &change).await.unwrap().unwrap();
                }
            }
        };
        fixture.configure(name).await;
        let (versions, classes) = (fixture.versions().await, fixture.classes().await);
        for ended in [None, Some(EndedReplication::NotWritten)] {
            state(ended).await;
            fixture.pass_days(4).await;
            assert_eq!(
                (fixture.versions().await, fixture.classes().await),
                (versions.clone(), classes.clone()),
                "{name}"
            );
        }
        state(Some(EndedReplication::Written(None))).await;
        fixture.pass_days(1).await;
        assert_ne!((fixture.versions().await, fixture.classes().await), (versions, classes), "{name}");
    }
}

#[tokio::test]
async fn a_transition_goes_before_a_marker_and_after_an_end() {
    let fixture = Fixture::new(Versioning::Enabled).await;
    fixture.write("k").await;
    fixture.configure("a day, and to glacier").await;
    fixture.pass_days(2).await;
    assert_eq!(
        (fixture.versions().await, fixture.classes().await),
        (vec!["k*".to_owned()], vec!["GLACIER".to_owned()])
    );
    fixture.pass_days(1).await;
    assert_eq!(fixture.versions().await, ["-k*", "k"]);
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.write("k").await;
    fixture.configure("a day, and to glacier").await;
    fixture.pass_days(2).await;
    assert!(fixture.versions().await.is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_up_no_pass() {
    let fixture = Fixture::new(Versioning::Never).await;
    fixture.configure("a day").await;
    fixture.clock.advance(90 * DAY);
    fixture.life.tend().await.unwrap();
    fixture.clock.advance(-90 * DAY);
    fixture.write("k").await;
    fixture.pass_days(2).await;
    assert!(fixture.versions().await.is_empty());
}

#[tokio::test]
async fn times_that_no_clock_shows_do_not_end_the_life_of_others() {
    let fixture = Fixture::new(Versioning::Never).await;
    for (key, modified) in [("far", i64::MAX), ("old", i64::MIN)] {
        let id = fixture.unique();
        let record = ObjectRecord {
            modified,
            size: 5,
            body: Body::Run(RunRef { id, header: vec![1].into(), inline: true }),
            generation: id,
            ..golden("object-run.bin")
        };
        let run = NewRun::Inline(id, Bytes::from_static(b"sealed"));
        let place = fixture.place(key).await;
        write_object(&*fixture.store, place, &record, run, |_| Ok::<_, Infallible>(())).await.unwrap();
    }
    fixture.configure("to glacier at once").await;
    fixture.life.tend().await.unwrap();
    assert_eq!(fixture.classes().await, ["STANDARD", "GLACIER"]);
}
