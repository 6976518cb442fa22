//! Versions against a model of them, and under many hands.

use std::collections::{BTreeMap, HashSet};

use super::*;

/// What a key has, the newest first: ids, and whether each is a delete marker.
type Model = BTreeMap<u8, Vec<(VersionId, bool)>>;

#[derive(Clone, Copy, Debug)]
enum Act {
    Put(u8),
    Delete(u8),
    DeleteNth(u8, u8),
    DeleteNull(u8),
    Keep(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let key = 0..2_u8;
    prop_oneof![
        4 => key.clone().prop_map(Act::Put),
        2 => key.clone().prop_map(Act::Delete),
        3 => (key.clone(), 0..4_u8).prop_map(|(key, nth)| Act::DeleteNth(key, nth)),
        1 => key.prop_map(Act::DeleteNull),
        1 => any::<bool>().prop_map(Act::Keep),
    ]
}

fn name(key: u8) -> String {
    // One name is a prefix of the other.
    "k".repeat(usize::from(key) + 1)
}

/// From each version on, and from the beginning, what stands for a group is found if and only if some of the group is there, and
/// what is in no group is found as it is.
async fn assert_groups_are_found(store: &MemoryStore, all: &[FoundVersion]) {
    let starts = all.iter().map(|found| After::Version(found.key.clone(), found.version.order())).map(Some);
    for after in starts.chain([None]) {
        let left = read_versions(store, BUCKET, "", after.as_ref(), usize::MAX).await.unwrap();
        for group in ["k", "kk"] {
            let skip: Skip = Arc::new(move |key| {
                let (name, _) = schema::unescape(key)?;
                name.starts_with(group).then(|| schema::behind_prefix(key, group)).flatten()
            });
            let found = read_groups(store, BUCKET, ("", Some(&skip)), after.as_ref(), usize::MAX).await.unwrap();
            let merged = |versions: &[FoundVersion]| {
                let mut entries: Vec<_> = versions
                    .iter()
                    .map(|found| (!found.key.starts_with(group)).then(|| (found.key.clone(), found.version.id())))
                    .collect();
                entries.dedup();
                entries
            };
            assert_eq!(merged(&found), merged(&left), "{group} {after:?}");
            assert!(found.iter().filter(|found| found.key.starts_with(group)).count() <= 4);
        }
    }
}

fn unique(n: usize) -> [u8; 16] {
    u128::try_from(n).unwrap().to_be_bytes()
}

/// Writes an empty object; its id.
async fn put(store: &MemoryStore, key: &str, versioning: Versioning, n: usize) -> Option<VersionId> {
    let id = unique(n);
    let mut record = object(1, protection(0), Body::Run(run_ref(id)));
    record.generation = id;
    let place = Place { bucket: BUCKET, versioning, key, tell: &Silent };
    let run = NewRun::Inline(id, Bytes::from_static(b"sealed"));
    write_object(store, place, &record, run, |_| Ok::<_, Infallible>(())).await.unwrap()
}

async fn delete_by_id(store: &MemoryStore, key: &str, id: VersionId) -> Option<Version> {
    let claim = Claim { now: 0, bypass: false };
    delete_version(store, BUCKET, key, id, claim, &Silent, |_, _| Ok::<_, Infallible>(())).await.unwrap()
}

async fn keep(store: &MemoryStore, to: Versioning) {
    let change = |record: &mut BucketRecord| {
        record.versioning = to;
        Ok::<_, Infallible>(())
    };
    assert!(configure_bucket(store, "b", change).await.unwrap());
}

/// The model's own account of what a write does.
fn model_write(versions: &mut Vec<(VersionId, bool)>, versioning: Versioning, id: VersionId, is_marker: bool) {
    if id == VersionId::Null {
        versions.retain(|(id, _)| *id != VersionId::Null);
    }
    // Only a bucket that keeps versions has markers.
    if !is_marker || versioning.keeps_versions() {
        versions.insert(0, (id, is_marker));
    }
}

async fn agree(acts: Vec<Act>) {
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Never).await;
    let (mut model, mut versioning, mut given) = (Model::new(), Versioning::Never, HashSet::new());
    for (n, act) in acts.into_iter().enumerate() {
        match act {
            Act::Put(key) => {
                let id = put(&store, &name(key), versioning, n).await;
                assert_eq!(id.is_some(), versioning == Versioning::Enabled);
                assert!(id.is_none_or(|id| given.insert(id)), "an id is given once");
                model_write(model.entry(key).or_default(), versioning, id.unwrap_or(VersionId::Null), false);
            }
            Act::Delete(key) => {
                let place = Place { bucket: BUCKET, versioning, key: &name(key), tell: &Silent };
                let marker = MarkerRecord::new(0, unique(n));
                let versions = model.entry(key).or_default();
                let expected = versions.is_empty();
                match delete_object(&store, place, &marker, |_| Ok::<_, Infallible>(())).await.unwrap() {
                    Deletion::Marked(id) => {
                        assert!(id == VersionId::Null || given.insert(id));
                        assert_eq!(id != VersionId::Null, versioning == Versioning::Enabled);
                        model_write(versions, versioning, id, true);
                    }
                    other => {
                        assert!(!versioning.keeps_versions());
                        assert_eq!(other == Deletion::Nothing, expected);
                        versions.clear();
                    }
                }
            }
            Act::DeleteNth(key, nth) => {
                let versions = model.entry(key).or_default();
                if usize::from(nth) < versions.len() {
                    let (id, is_marker) = versions.remove(usize::from(nth));
                    let gone = delete_by_id(&store, &name(key), id).await.unwrap();
                    assert_eq!((gone.id(), gone.object().is_none()), (id, is_marker));
                    assert_eq!(delete_by_id(&store, &name(key), id).await, None);
                }
            }
            Act::DeleteNull(key) => {
                let versions = model.entry(key).or_default();
                let had = versions.iter().any(|(id, _)| *id == VersionId::Null);
                assert_eq!(delete_by_id(&store, &name(key), VersionId::Null).await.is_some(), had);
                versions.retain(|(id, _)| *id != VersionId::Null);
            }
            Act::Keep(enabled) => {
                versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
                keep(&store, versioning).await;
            }
        }
        let found = read_versions(&store, BUCKET, "", None, usize::MAX).await.unwrap();
        let listed: Vec<_> =
            found.iter().map(|f| (f.key.clone(), f.version.id(), f.version.object().is_none())).collect();
        let expected: Vec<_> = model
            .iter()
            .flat_map(|(key, versions)| versions.iter().map(|(id, is_marker)| (name(*key), *id, *is_marker)))
            .collect();
        assert_eq!(listed, expected);
        // A walk in small steps comes by the same.
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let page = read_versions(&store, BUCKET, "", after.as_ref(), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(After::Version(last.key.clone(), last.version.order()));
            walked.extend(page);
        }
        assert_eq!(walked, found);
        assert_groups_are_found(&store, &found).await;
        let objects = read_objects(&store, BUCKET, "", "", usize::MAX).await.unwrap();
        let current: Vec<_> = found.into_iter().filter(|f| f.is_current && f.version.object().is_some()).collect();
        assert_eq!(objects.len(), current.len(), "a listing shows the objects that are current");
        assert_heads_are_right(&store).await;
        assert_no_bytes_are_lost(&store).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn versions_are_those_of_the_model(acts in prop::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agree(acts));
    }
}

/// Many writers and deleters of one key, and one who deletes versions: no version that was acknowledged is lost, and each
/// walk comes by every version that is there all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_version_is_lost_under_many_hands() {
    const EACH: usize = 60;
    let store = Arc::new(MemoryStore::new(Arc::new(SeededEntropy::new(1))));
    bucket(&store, Versioning::Enabled).await;
    let mut steady = HashSet::new();
    for n in 0..5 {
        steady.extend(put(&store, "k", Versioning::Enabled, 1_000_000 + n).await);
    }
    let mut writers = Vec::new();
    for lane in 0..4 {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            let (mut kept, mut deleted) = (HashSet::new(), 0);
            for n in 0..EACH {
                // What the writer knows of the bucket is out of date at times.
                let known = if n.is_multiple_of(5) { Versioning::Never } else { Versioning::Enabled };
                let id = put(&store, "k", known, lane * 1000 + n).await.expect("the bucket gives ids");
                match n % 3 {
                    0 => {
                        assert!(delete_by_id(&store, "k", id).await.is_some());
                        deleted += 1;
                    }
                    1 => {
                        let place = Place { bucket: BUCKET, versioning: known, key: "k", tell: &Silent };
                        let marker = MarkerRecord::new(0, unique(500_000 + lane * 1000 + n));
                        let marked = delete_object(&*store, place, &marker, |_| Ok::<_, Infallible>(())).await.unwrap();
                        let Deletion::Marked(marker) = marked else { panic!("{marked:?}") };
                        assert!(delete_by_id(&store, "k", marker).await.is_some(), "nobody else deletes it");
                        kept.insert(id);
                    }
                    _ => drop(kept.insert(id)),
                }
            }
            (kept, deleted)
        }));
    }
    let mut walks = 0;
    while writers.iter().any(|writer| !writer.is_finished()) || walks == 0 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = read_versions(&*store, BUCKET, "", after.as_ref(), 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(After::Version(last.key.clone(), last.version.order()));
            seen.extend(page.iter().map(|found| found.version.id()));
            tokio::task::yield_now().await;
        }
        let distinct: HashSet<VersionId> = seen.iter().copied().collect();
        assert_eq!(distinct.len(), seen.len(), "no version is come by twice");
        assert!(steady.is_subset(&distinct), "a version that was there all the while was passed over");
        for id in &steady {
            assert!(read_version(&*store, BUCKET, "k", Some(*id)).await.unwrap().is_some());
        }
        walks += 1;
    }
    let mut expected = steady;
    for writer in writers {
        let (kept, deleted) = writer.await.unwrap();
        assert_eq!(kept.len() + deleted, EACH);
        expected.extend(kept);
    }
    let found = read_versions(&*store, BUCKET, "", None, usize::MAX).await.unwrap();
    let ids: HashSet<VersionId> = found.iter().map(|found| found.version.id()).collect();
    assert_eq!(ids, expected);
    assert_heads_are_right(&store).await;
    assert_no_bytes_are_lost(&store).await;
}

/// Of many writers that want to be the first, one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_first_writers_wins() {
    for versioning in [Versioning::Never, Versioning::Enabled, Versioning::Suspended] {
        let store = Arc::new(MemoryStore::new(Arc::new(SeededEntropy::new(1))));
        bucket(&store, versioning).await;
        let writers = (0..100).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let id = unique(n);
                let record = object(1, protection(0), Body::Run(run_ref(id)));
                let place = Place { bucket: BUCKET, versioning, key: "k", tell: &Silent };
                let run = NewRun::Inline(id, Bytes::from_static(b"sealed"));
                let absent = |present: Option<&ObjectRecord>| if present.is_some() { Err(()) } else { Ok(()) };
                write_object(&*store, place, &record, run, absent).await.is_ok()
            })
        });
        let mut won = 0;
        for writer in writers.collect::<Vec<_>>() {
            won += usize::from(writer.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn locked_versions_stay() {
    use crate::store::schema::{Retention, RetentionMode};
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Enabled).await;
    let id = put(&store, "k", Versioning::Enabled, 1).await.unwrap();
    put(&store, "k", Versioning::Enabled, 2).await.unwrap();
    let mark = async |retention, legal_hold| {
        let change = |record: &mut ObjectRecord| {
            (record.retention, record.legal_hold) = (retention, legal_hold);
            Ok::<_, Infallible>(())
        };
        update_version(&store, BUCKET, "k", Some(id), &Silent, change).await.unwrap().unwrap();
    };
    let delete = async |now, bypass| {
        delete_version(&store, BUCKET, "k", id, Claim { now, bypass }, &Silent, |_, _| Ok::<_, Infallible>(())).await
    };
    let until = |mode| Some(Retention { mode, until: 100 });
    mark(until(RetentionMode::Governance), None).await;
    assert!(matches!(delete(99, false).await, Err(WriteError::Locked)));
    mark(until(RetentionMode::Compliance), None).await;
    assert!(matches!(delete(99, true).await, Err(WriteError::Locked)));
    mark(None, Some(true)).await;
    assert!(matches!(delete(200, true).await, Err(WriteError::Locked)));
    mark(until(RetentionMode::Governance), Some(false)).await;
    assert_eq!(delete(99, true).await.unwrap().map(|gone| gone.id()), Some(id));
}

#[tokio::test]
async fn a_deletion_of_nothing_leaves_a_marker_where_versions_are_kept_by_now() {
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Never).await;
    let admit = |_: Option<&ObjectRecord>| Ok::<_, Infallible>(());
    let place = Place { bucket: BUCKET, versioning: Versioning::Never, key: "k", tell: &Silent };
    let marker = MarkerRecord::new(0, unique(1));
    assert_eq!(delete_object(&store, place, &marker, admit).await.unwrap(), Deletion::Nothing);
    keep(&store, Versioning::Enabled).await;
    assert!(matches!(delete_object(&store, place, &marker, admit).await.unwrap(), Deletion::Marked(_)));
}

/// Tells of removals, by a value of its own.
struct Removals;

impl Tell for Removals {
    fn tell(&self, batch: Batch, change: Change<'_>) -> Batch {
        match change {
            Change::Removed(None) => batch.put(b"told".to_vec(), &b"1"[..]),
            _ => batch,
        }
    }
}

#[tokio::test]
async fn a_deletion_of_nothing_is_told_of_where_somebody_wants_to_know() {
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Never).await;
    let admit = |_: Option<&ObjectRecord>| Ok::<_, Infallible>(());
    let place = Place { bucket: BUCKET, versioning: Versioning::Never, key: "k", tell: &Removals };
    let marker = MarkerRecord::new(0, unique(1));
    assert_eq!(delete_object(&store, place, &marker, admit).await.unwrap(), Deletion::Nothing);
    assert!(store.get(BUCKET, b"told").await.unwrap().is_some());
    keep(&store, Versioning::Enabled).await;
    assert!(matches!(delete_object(&store, place, &marker, admit).await.unwrap(), Deletion::Marked(_)));
}

#[tokio::test]
async fn a_bucket_with_versions_is_not_empty_and_its_state_survives_a_cut_off_deletion() {
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Never).await;
    let record = async || read_bucket(&store, "b").await.unwrap().unwrap();
    let live = async || store.get(BUCKET, &live_key()).await.unwrap().unwrap();
    put(&store, "k", Versioning::Never, 1).await;
    keep(&store, Versioning::Enabled).await;
    assert_eq!(live().await, Versioning::Enabled.live_value());
    let place = Place { bucket: BUCKET, versioning: Versioning::Never, key: "k", tell: &Silent };
    let marker = MarkerRecord::new(0, [1; 16]);
    let deletion = delete_object(&store, place, &marker, |_| Ok::<_, Infallible>(())).await.unwrap();
    let Deletion::Marked(id) = deletion else { panic!("{deletion:?}") };
    assert_eq!(delete_bucket(&store, "b", &record().await).await.unwrap(), BucketDeletion::NotEmpty);
    assert_eq!(live().await, Versioning::Enabled.live_value());
    assert!(delete_by_id(&store, "k", VersionId::Null).await.is_some());
    assert_eq!(delete_bucket(&store, "b", &record().await).await.unwrap(), BucketDeletion::NotEmpty, "a marker counts");
    // A deletion that a crash cut off behind its first step.
    let _ = store.commit(BUCKET, Batch::new().put(live_key(), schema::DELETING)).await.unwrap();
    revive_bucket(&store, &record().await).await.unwrap();
    assert_eq!(live().await, Versioning::Enabled.live_value());
    // A change of versioning that a crash cut off behind its first step.
    let _ = store.commit(BUCKET, Batch::new().put(live_key(), schema::LIVE)).await.unwrap();
    revive_bucket(&store, &record().await).await.unwrap();
    assert_eq!(live().await, Versioning::Enabled.live_value());
    assert!(delete_by_id(&store, "k", id).await.is_some());
    assert_eq!(delete_bucket(&store, "b", &record().await).await.unwrap(), BucketDeletion::Deleted);
}

#[tokio::test]
async fn a_replica_in_parts_stands_where_its_order_puts_it() {
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Enabled).await;
    let place = Place { bucket: BUCKET, versioning: Versioning::Enabled, key: "k", tell: &Silent };
    let complete = async |order: u64, n: usize| {
        let begun = UploadRecord { replica_of: Some((String::new(), 0)), ..upload_record() };
        create_upload::<Infallible>(&store, place, unique(n), &begun).await.unwrap();
        let upload = read_upload(&store, BUCKET, "k", unique(n)).await.unwrap().unwrap();
        let etag = StoredEtag::Clear("e".to_owned());
        let part = PartRecord { modified: 0, size: 7, etag, run: run_ref(unique(n)), checksums: None };
        let run = NewRun::Inline(unique(n), Bytes::from_static(b"sealed"));
        write_part::<Infallible>(&store, BUCKET, &upload, 1, &part, run).await.unwrap();
        let parts = read_parts(&store, BUCKET, upload.id, 0, usize::MAX).await.unwrap();
        let spans = vec![PartSpan { first: 1, count: 1, size: 7 }];
        let mut record = object(7, protection(0), Body::Parts { upload: upload.id, spans });
        record.generation = unique(usize::try_from(order).unwrap());
        (record.order, record.has_id) = (Some(order), true);
        let admit = |_: Option<&Version>| Ok::<_, Infallible>(());
        complete_upload(&store, place, &upload, &parts, |_| true, &record, admit).await
    };
    let id = |order: u64| VersionId::Own { order, generation: unique(usize::try_from(order).unwrap()) };
    let orders = async || {
        let found = read_versions(&store, BUCKET, "", None, usize::MAX).await.unwrap();
        found.iter().map(|found| (found.version.order(), found.is_current)).collect::<Vec<_>>()
    };
    assert_eq!(complete(20, 1).await.unwrap(), Some(id(20)));
    assert_eq!(complete(10, 2).await.unwrap(), Some(id(10)), "an older one comes late");
    assert_eq!(orders().await, [(20, true), (10, false)]);
    assert_eq!(complete(30, 3).await.unwrap(), Some(id(30)));
    for (order, n) in [(10, 4), (30, 5)] {
        assert_eq!(complete(order, n).await.unwrap(), Some(id(order)), "it is there");
        assert!(read_upload(&store, BUCKET, "k", unique(n)).await.unwrap().is_none(), "the upload has ended");
    }
    assert_eq!(orders().await, [(30, true), (20, false), (10, false)]);
    for order in [10, 20, 30] {
        assert!(read_version(&store, BUCKET, "k", Some(id(order))).await.unwrap().is_some());
    }
    assert_no_bytes_are_lost(&store).await;
    assert_heads_are_right(&store).await;
    keep(&store, Versioning::Suspended).await;
    assert!(matches!(complete(40, 6).await, Err(WriteError::NoBucket)), "no ids are given any more");
}

#[tokio::test]
async fn uploads_in_parts_stand_by_the_time_of_their_beginning() {
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Enabled).await;
    let place = |versioning| Place { bucket: BUCKET, versioning, key: "k", tell: &Silent };
    let admit = |_: Option<&Version>| Ok::<_, Infallible>(());
    let complete = async |begun: i64, n: usize, versioning| {
        create_upload::<Infallible>(&store, place(versioning), unique(n), &upload_record()).await.unwrap();
        let upload = read_upload(&store, BUCKET, "k", unique(n)).await.unwrap().unwrap();
        let mut record = object(0, protection(0), Body::Parts { upload: upload.id, spans: Vec::new() });
        (record.modified, record.generation) = (begun, unique(n));
        let id = complete_upload(&store, place(versioning), &upload, &[], |_| true, &record, admit).await.unwrap();
        let found = read_version(&store, BUCKET, "k", id).await.unwrap().unwrap();
        assert_eq!(id.unwrap_or(VersionId::Null), found.id(), "it is found by the id that is told");
    };
    let times = async || {
        let found = read_versions(&store, BUCKET, "", None, usize::MAX).await.unwrap();
        assert!(found.iter().enumerate().all(|(at, found)| found.is_current == (at == 0)));
        found.iter().map(|found| found.version.modified()).collect::<Vec<_>>()
    };
    let enabled = Versioning::Enabled;
    complete(200, 1, enabled).await;
    for n in [2, 3] {
        complete(100, n, enabled).await;
    }
    assert_eq!(times().await, [200, 100, 100], "the first was begun last");
    complete(200, 4, enabled).await;
    complete(150, 5, enabled).await;
    assert_eq!(times().await, [200, 200, 150, 100, 100]);
    // A deletion is no upload: what ends behind it is there.
    let marker = MarkerRecord::new(400, [1; 16]);
    let all = |_: Option<&ObjectRecord>| Ok::<_, Infallible>(());
    delete_object(&store, place(enabled), &marker, all).await.unwrap();
    complete(300, 6, enabled).await;
    assert_eq!(times().await[..2], [300, 400]);
    keep(&store, Versioning::Suspended).await;
    complete(50, 7, Versioning::Suspended).await;
    assert_eq!(times().await[..2], [50, 300], "no version of its own, no order");
    assert_heads_are_right(&store).await;
}

#[tokio::test]
async fn a_bucket_that_could_not_be_deleted_takes_writes_again() {
    let store = MemoryStore::new(Arc::new(SeededEntropy::new(1)));
    bucket(&store, Versioning::Never).await;
    let record = read_bucket(&store, "b").await.unwrap().unwrap();
    let damaged = Batch::new().put(upload_key("k", unique(1)), &b"not an upload"[..]);
    let _ = store.commit(BUCKET, damaged).await.unwrap();
    assert!(matches!(delete_bucket(&store, "b", &record).await, Err(StoreError::Corrupt(_))));
    assert!(put(&store, "k", Versioning::Never, 2).await.is_none());
    assert!(read_object(&store, BUCKET, "k").await.unwrap().is_some());
}
