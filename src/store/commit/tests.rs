//! The protocols against the in-memory store: what they count is what a scan finds, whatever they are asked, and by how
//! many at once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::crypto::random::SeededEntropy;
use crate::store::memory::MemoryStore;
use crate::store::schema::{
    Attributes, Body, BucketRecord, Claim, MarkerRecord, PartRecord, PartSpan, Protection, Record as _, SseKind,
    StoredEtag, UploadRecord, Version, VersionId,
};
use crate::store::tally::read_tallies;
use crate::store::{KeyRange, Skip};

mod versions;

const BUCKET: Partition = Partition([9; 16]);

/// What a client may do. Keys, uploads and protections are few, so that steps meet.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { key: u8, size: u16, under: u8 },
    Delete { key: u8 },
    Reprotect { key: u8, under: u8 },
    Begin { upload: u8, under: u8 },
    Part { upload: u8, number: u16, size: u16 },
    Complete { upload: u8, first: u16 },
    Abort { upload: u8 },
    DeleteVersion { key: u8, nth: u8 },
    Copy { from: u8, nth: u8, key: u8 },
    Keep { versions: bool },
    Replicate { key: u8, order: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let (key, upload, under, size) = (0..3_u8, 0..3_u8, 0..4_u8, 0..5_000_u16);
    prop_oneof![
        (key.clone(), size.clone(), under.clone()).prop_map(|(key, size, under)| Step::Write { key, size, under }),
        key.clone().prop_map(|key| Step::Delete { key }),
        (key, under.clone()).prop_map(|(key, under)| Step::Reprotect { key, under }),
        (upload.clone(), under).prop_map(|(upload, under)| Step::Begin { upload, under }),
        (upload.clone(), 1..4_u16, size).prop_map(|(upload, number, size)| Step::Part { upload, number, size }),
        (upload.clone(), 1..3_u16).prop_map(|(upload, first)| Step::Complete { upload, first }),
        upload.prop_map(|upload| Step::Abort { upload }),
        (0..3_u8, 0..4_u8).prop_map(|(key, nth)| Step::DeleteVersion { key, nth }),
        (0..3_u8, 0..4_u8, 0..3_u8).prop_map(|(from, nth, key)| Step::Copy { from, nth, key }),
        prop::bool::weighted(0.7).prop_map(|versions| Step::Keep { versions }),
        (0..3_u8, 0..8_u8).prop_map(|(key, order)| Step::Replicate { key, order }),
    ]
}

fn protection(under: u8) -> Protection {
    let kind = SseKind::of_tag(under).unwrap();
    Protection { kind, key: matches!(kind, SseKind::Kms | SseKind::Dsse).then(|| "arn:key".to_owned()) }
}

fn run_ref(id: [u8; 16]) -> RunRef {
    RunRef { id, header: vec![1].into(), inline: true }
}

fn object(size: u64, protection: Protection, body: Body) -> ObjectRecord {
    ObjectRecord::new(0, (size, StoredEtag::Clear("e".to_owned())), (vec![0].into(), protection), body, [0; 16])
}

/// The ids of the uploads that steps name by number. An id is never used twice.
type Slots = Mutex<[Option<[u8; 16]>; 3]>;

/// An upload as it is begun.
fn upload_record() -> UploadRecord {
    UploadRecord {
        initiated: 0,
        attributes: Attributes::default(),
        envelope: vec![0].into(),
        checksum_algorithm: None,
        checksum_type: None,
        account: "1".to_owned(),
        protection: protection(0),
        tags: Vec::new(),
        retention: None,
        legal_hold: None,
        replica_of: None,
        owner: None,
        acl: None,
        initiator: None,
        found_object: false,
    }
}

/// A bucket with the index in [`BUCKET`].
async fn bucket(store: &MemoryStore, versioning: Versioning) {
    let record = BucketRecord { versioning, ..BucketRecord::new(BUCKET.0, "1", 0, "r") };
    assert_eq!(create_bucket(store, "b", &record).await.unwrap(), None);
}

/// The nth version of a key, the newest first.
async fn nth(store: &MemoryStore, key: &str, nth: u8) -> Option<Version> {
    let all = read_versions(store, BUCKET, key, None, usize::MAX).await.unwrap();
    all.into_iter().filter(|found| found.key == key).nth(usize::from(nth)).map(|found| found.version)
}

/// Takes `step`; `unique` names its run.
async fn take(store: &MemoryStore, slots: &Slots, step: Step, unique: u64) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&unique.to_be_bytes());
    let inline = NewRun::Inline(id, Bytes::from_static(b"sealed"));
    let name = |key: u8| format!("key-{key}");
    // What a writer knows may be out of date.
    let stale = read_versioning(store, BUCKET).await.unwrap().unwrap();
    let stale = if unique.is_multiple_of(3) { Versioning::Never } else { stale };
    let admit = |_: Option<&ObjectRecord>| Ok::<_, Infallible>(());
    let open = async |upload: u8| {
        let id = slots.lock().unwrap()[usize::from(upload)]?;
        read_upload(store, BUCKET, &name(upload), id).await.unwrap()
    };
    match step {
        Step::Write { key, size, under } => {
            let mut record = object(size.into(), protection(under), Body::Run(run_ref(id)));
            record.generation = id;
            let place = Place { bucket: BUCKET, versioning: stale, key: &name(key), tell: &Silent };
            write_object(store, place, &record, inline, admit).await.unwrap();
        }
        Step::Delete { key } => {
            let place = Place { bucket: BUCKET, versioning: stale, key: &name(key), tell: &Silent };
            delete_object(store, place, &MarkerRecord::new(0, id), admit).await.unwrap();
        }
        Step::DeleteVersion { key, nth: n } => {
            if let Some(version) = nth(store, &name(key), n).await {
                let claim = Claim { now: 0, bypass: false };
                let admit = |_: &Version, _| Ok::<_, Infallible>(());
                delete_version(store, BUCKET, &name(key), version.id(), claim, &Silent, admit).await.unwrap();
            }
        }
        Step::Copy { from, nth: n, key } => {
            let Some(Version::Object(source)) = nth(store, &name(from), n).await else { return };
            let Body::Run(run) = &source.body else { return };
            // As a sharing copy does of an inline run: its value under a name of the copy's own.
            let Some(value) = store.get(BUCKET, &data_key(run.id)).await.unwrap() else { return };
            let shared = SharedRuns { runs: Vec::new(), values: vec![(data_key(id), value)] };
            let mut record = object(source.size, source.protection.clone(), Body::Run(run_ref(id)));
            record.generation = id;
            let place = Place { bucket: BUCKET, versioning: stale, key: &name(key), tell: &Silent };
            write_object(store, place, &record, NewRun::Shared(shared), admit).await.unwrap();
        }
        Step::Keep { versions } => {
            let to = if versions { Versioning::Enabled } else { Versioning::Suspended };
            let change = |record: &mut BucketRecord| {
                record.versioning = to;
                Ok::<_, Infallible>(())
            };
            assert!(configure_bucket(store, "b", change).await.unwrap());
        }
        Step::Replicate { key, order } => {
            let order = Some(order.into());
            let mut record = object(1, protection(0), Body::Run(run_ref(id)));
            (record.generation, record.order, record.has_id) = (id, order, true);
            let place = Place { bucket: BUCKET, versioning: stale, key: &name(key), tell: &Silent };
            let written =
                write_replica::<Infallible>(store, place, Version::Object(Box::new(record)), Some(inline)).await;
            assert!(matches!(written, Ok(true) | Err(WriteError::NoBucket | WriteError::PartsChanged)), "{written:?}");
        }
        Step::Reprotect { key, under } => {
            if let Some(Version::Object(judged)) = nth(store, &name(key), under % 3).await {
                let (key, bytes, to) = (name(key), unique.to_be_bytes().to_vec(), protection(under));
                replace_envelope::<Infallible>(store, BUCKET, &key, &judged, bytes, to).await.unwrap();
            }
        }
        Step::Begin { upload, under } => {
            if open(upload).await.is_none() {
                let record = UploadRecord { protection: protection(under), ..upload_record() };
                let place = Place { bucket: BUCKET, versioning: stale, key: &name(upload), tell: &Silent };
                create_upload::<Infallible>(store, place, id, &record).await.unwrap();
                slots.lock().unwrap()[usize::from(upload)] = Some(id);
            }
        }
        Step::Part { upload, number, size } => {
            if let Some(upload) = open(upload).await {
                let part = PartRecord {
                    modified: 0,
                    size: size.into(),
                    etag: StoredEtag::Clear("e".to_owned()),
                    run: run_ref(id),
                    checksums: None,
                };
                let _ = write_part::<Infallible>(store, BUCKET, &upload, number, &part, inline).await;
            }
        }
        Step::Complete { upload, first } => {
            let Some(upload) = open(upload).await else { return };
            let parts = read_parts(store, BUCKET, upload.id, 0, usize::MAX).await.unwrap();
            let chosen = |number: u16| number >= first;
            let named: Vec<_> = parts.iter().filter(|part| chosen(part.number)).collect();
            let span = |part: &&Part| PartSpan { first: part.number, count: 1, size: part.record.size };
            let body = Body::Parts { upload: upload.id, spans: named.iter().map(span).collect() };
            let size = named.iter().map(|part| part.record.size).sum();
            let mut record = object(size, upload.record.protection.clone(), body);
            // Begun before and behind others.
            (record.generation, record.modified) = (id, i64::from(first % 3));
            let place = Place { bucket: BUCKET, versioning: stale, key: "", tell: &Silent };
            let admit = |_: Option<&Version>| Ok::<_, Infallible>(());
            let _ = complete_upload(store, place, &upload, &parts, chosen, &record, admit).await;
        }
        Step::Abort { upload } => {
            if let Some(upload) = open(upload).await {
                abort_upload(store, BUCKET, &upload).await.unwrap();
            }
        }
    }
}

/// The tallies, by a scan of everything.
async fn count_all(store: &MemoryStore) -> BTreeMap<Protection, Tally> {
    let mut tallies: BTreeMap<Protection, Tally> = BTreeMap::new();
    let mut add = |protection: Protection, tally: Tally| {
        let sum = tallies.entry(protection).or_default();
        *sum = sum.plus(tally);
    };
    for found in read_versions(store, BUCKET, "", None, usize::MAX).await.unwrap() {
        if let Version::Object(record) = found.version {
            add(record.protection, Tally::object(record.size));
        }
    }
    for (key, value) in store.scan(BUCKET, &KeyRange::prefix(b"U"), usize::MAX).await.unwrap() {
        let upload = read_upload_pair(&key, value).unwrap();
        add(upload.record.protection.clone(), Tally::upload());
        for part in read_parts(store, BUCKET, upload.id, 0, usize::MAX).await.unwrap() {
            add(upload.record.protection.clone(), Tally::part(part.record.size));
        }
    }
    tallies
}

/// Holds that every inline run is named by exactly one record, and every part that is kept by one too.
async fn assert_no_bytes_are_lost(store: &MemoryStore) {
    let (mut named, mut uploads) = (Vec::new(), Vec::new());
    for found in read_versions(store, BUCKET, "", None, usize::MAX).await.unwrap() {
        match found.version {
            Version::Object(object) => match object.body {
                Body::Run(run) => named.push(data_key(run.id)),
                Body::Parts { upload, .. } => uploads.push(upload),
            },
            Version::Marker(_) => {}
        }
    }
    uploads.extend(read_uploads(store, BUCKET, usize::MAX).await.unwrap().iter().map(|upload| upload.id));
    for (key, value) in store.scan(BUCKET, &KeyRange::prefix(b"P"), usize::MAX).await.unwrap() {
        assert!(uploads.iter().any(|upload| key[1..17] == upload[..]), "a part of nothing");
        named.push(data_key(PartRecord::from_value(&value).unwrap().run.id));
    }
    named.sort();
    let stored = store.scan(BUCKET, &KeyRange::prefix(b"D"), usize::MAX).await.unwrap();
    let stored: Vec<Vec<u8>> = stored.into_iter().map(|(key, _)| key.to_vec()).collect();
    assert_eq!(stored, named, "what is kept is what is named, and once");
}

/// Holds the index to the rules of [`head`].
async fn assert_heads_are_right(store: &MemoryStore) {
    let found = read_versions(store, BUCKET, "", None, usize::MAX).await.unwrap();
    for of_key in found.chunk_by(|a, b| a.key == b.key) {
        let currents: Vec<bool> = of_key.iter().map(|found| found.is_current).collect();
        assert!(currents[0] && !currents[1..].contains(&true), "exactly one is current, and the newest: {of_key:?}");
        assert!(of_key.windows(2).all(|pair| pair[0].version.order() > pair[1].version.order()), "{of_key:?}");
        let nulls: Vec<&FoundVersion> = of_key.iter().filter(|found| found.version.id() == VersionId::Null).collect();
        assert!(nulls.len() < 2, "{of_key:?}");
        let null_at = nulls.first().filter(|found| !found.is_current).map(|found| found.version.order());
        assert_eq!(of_key[0].version.null_at(), null_at, "{of_key:?}");
        assert!(of_key[1..].iter().all(|found| found.version.null_at().is_none()));
        for found in of_key {
            let id = found.version.id();
            let read = read_version(store, BUCKET, &found.key, Some(id)).await.unwrap();
            assert_eq!(read.as_ref(), Some(&found.version));
        }
        let current = read_version(store, BUCKET, &of_key[0].key, None).await.unwrap();
        assert_eq!(current.as_ref(), Some(&of_key[0].version));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tallies_are_those_of_a_full_scan(lanes in prop::collection::vec(prop::collection::vec(step(), 1..25), 1..4)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(MemoryStore::new(Arc::new(SeededEntropy::new(1))));
            bucket(&store, Versioning::Never).await;
            let slots = Arc::new(Slots::default());
            let mut tasks = Vec::new();
            for (lane, steps) in lanes.into_iter().enumerate() {
                let (store, slots) = (Arc::clone(&store), Arc::clone(&slots));
                tasks.push(tokio::spawn(async move {
                    for (at, step) in steps.into_iter().enumerate() {
                        take(&store, &slots, step, (lane * 1000 + at) as u64).await;
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            let counted: BTreeMap<_, _> = read_tallies(&*store, BUCKET).await.unwrap().into_iter().collect();
            let mut scanned = count_all(&store).await;
            scanned.retain(|_, tally| !tally.is_zero());
            assert_eq!(counted, scanned);
            assert_no_bytes_are_lost(&store).await;
            assert_heads_are_right(&store).await;
        });
    }
}
