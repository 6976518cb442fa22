//! The protocols against the in-memory store: what they count is what a scan finds, whatever they are asked, and by how
//! many at once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::crypto::random::SeededEntropy;
use crate::store::memory::MemoryStore;
use crate::store::schema::{Attributes, Body, PartSpan, SseKind, StoredEtag};
use crate::store::tally::read_tallies;

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
    ObjectRecord {
        modified: 0,
        size,
        etag: StoredEtag::Clear("e".to_owned()),
        attributes: Attributes::default(),
        envelope: vec![0].into(),
        protection,
        body,
        checksums: None,
        generation: [0; 16],
        checksum_kind: None,
        whole: false,
    }
}

/// The ids of the uploads that steps name by number. An id is never used twice.
type Slots = Mutex<[Option<[u8; 16]>; 3]>;

/// Takes `step`; `unique` names its run.
async fn take(store: &MemoryStore, slots: &Slots, step: Step, unique: u64) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&unique.to_be_bytes());
    let inline = NewRun::Inline(id, Bytes::from_static(b"sealed"));
    let name = |key: u8| format!("key-{key}");
    let open = async |upload: u8| {
        let id = slots.lock().unwrap()[usize::from(upload)]?;
        read_upload(store, BUCKET, &name(upload), id).await.unwrap()
    };
    match step {
        Step::Write { key, size, under } => {
            let record = object(size.into(), protection(under), Body::Run(run_ref(id)));
            write_object(store, BUCKET, &name(key), &record, inline, |_| Ok::<_, Infallible>(())).await.unwrap();
        }
        Step::Delete { key } => {
            delete_object(store, BUCKET, &name(key), |_| Ok::<_, Infallible>(())).await.unwrap();
        }
        Step::Reprotect { key, under } => {
            if let Some(judged) = read_object(store, BUCKET, &name(key)).await.unwrap() {
                let (key, bytes, to) = (name(key), unique.to_be_bytes().to_vec(), protection(under));
                replace_envelope::<Infallible>(store, BUCKET, &key, &judged, bytes, to).await.unwrap();
            }
        }
        Step::Begin { upload, under } => {
            if open(upload).await.is_none() {
                let record = UploadRecord {
                    initiated: 0,
                    attributes: Attributes::default(),
                    envelope: vec![0].into(),
                    checksum_algorithm: None,
                    checksum_type: None,
                    account: "1".to_owned(),
                    protection: protection(under),
                };
                create_upload::<Infallible>(store, BUCKET, &name(upload), id, &record).await.unwrap();
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
            let record = object(size, upload.record.protection.clone(), body);
            let admit = |_: Option<&ObjectRecord>| Ok::<_, Infallible>(());
            let _ = complete_upload(store, BUCKET, &upload, &parts, chosen, &record, admit).await;
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
    for (_, value) in store.scan(BUCKET, &KeyRange::prefix(b"O"), usize::MAX).await.unwrap() {
        let record = ObjectRecord::from_value(&value).unwrap();
        add(record.protection, Tally::object(record.size));
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

/// Inline runs that no record names.
async fn orphans(store: &MemoryStore) -> usize {
    let mut named = Vec::new();
    for (_, value) in store.scan(BUCKET, &KeyRange::prefix(b"O"), usize::MAX).await.unwrap() {
        if let Body::Run(run) = ObjectRecord::from_value(&value).unwrap().body {
            named.push(data_key(run.id));
        }
    }
    for (_, value) in store.scan(BUCKET, &KeyRange::prefix(b"P"), usize::MAX).await.unwrap() {
        named.push(data_key(PartRecord::from_value(&value).unwrap().run.id));
    }
    let stored = store.scan(BUCKET, &KeyRange::prefix(b"D"), usize::MAX).await.unwrap();
    stored.iter().filter(|(key, _)| !named.iter().any(|name| name[..] == key[..])).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tallies_are_those_of_a_full_scan(lanes in prop::collection::vec(prop::collection::vec(step(), 1..25), 1..4)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(MemoryStore::new(Arc::new(SeededEntropy::new(1))));
            let _ = store.commit(BUCKET, Batch::new().put(live_key(), LIVE)).await.unwrap();
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
            assert_eq!(orphans(&store).await, 0, "what no record names is gone");
        });
    }
}
