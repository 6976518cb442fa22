use super::super::memory::MemoryStore;
use super::*;
use crate::store::Outcome;

const BUCKET: Partition = Partition([7; 16]);

fn event(key: &str, destination: &str) -> EventRecord {
    EventRecord {
        name: "ObjectCreated:Put".to_owned(),
        at: 1_700_000_000_123,
        destination: destination.to_owned(),
        configuration: "c".to_owned(),
        principal: "111122223333".to_owned(),
        source: "192.0.2.1".to_owned(),
        request_id: "D82B88E5F771F645".to_owned(),
        host_id: "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=".to_owned(),
        key: key.to_owned(),
        version: Some("096fKKXTRTtl3on89fVO.nfljtsv6qko".to_owned()),
        size: Some(1024),
        etag: Some(StoredEtag::Clear("d41d8cd98f00b204e9800998ecf8427e".to_owned())),
        generation: [5; 16],
        reason: "PutObject".to_owned(),
        replication: None,
        transitioned: None,
        requester: None,
    }
}

fn replication(key: &str) -> ReplicationRecord {
    ReplicationRecord {
        action: ReplicationAction::Put,
        at: 1_700_000_000_123,
        destination: "arn:aws:s3:::copies".to_owned(),
        rule: "r".to_owned(),
        key: key.to_owned(),
        version: "096fKKXTRTtl3on89fVO.nfljtsv6qko".to_owned(),
        size: 1 << 30,
        progress: None,
        facet: None,
        due: None,
    }
}

/// Holds a record's stored form to the golden file `name`.
fn hold<R: Record + Eq + std::fmt::Debug>(name: &str, record: &R) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema").join(name);
    if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, record.to_value()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(&R::from_value(&golden).unwrap(), record, "{name} reads differently");
    assert_eq!(record.to_value(), golden, "{name} is written differently");
}

#[test]
fn stored_forms_do_not_change() {
    hold("outbox-watch.bin", &WatchRecord { bucket: "b".to_owned(), account: "111122223333".to_owned() });
    hold("event.bin", &event("k", "arn:aws:sns:us-east-1:111122223333:t"));
    let requester = Some("444455556666".to_owned());
    hold("event-requester.bin", &EventRecord { requester, ..event("k", "arn:aws:sns:us-east-1:111122223333:t") });
    let facts = ReplicationFacts {
        rule: "r".to_owned(),
        destination: "arn:aws:s3:::copies".to_owned(),
        operation: "OBJECT_PUT".to_owned(),
        requested: 1_700_000_000_000,
        failure: Some("AssumeRoleNotPermitted".to_owned()),
        threshold: None,
        replicated: None,
    };
    let (threshold, replicated) = (Some(15), Some(1_700_000_960_000));
    let late = ReplicationFacts { failure: None, threshold, replicated, ..facts.clone() };
    let about = EventRecord {
        name: "Replication:OperationFailedReplication".to_owned(),
        replication: Some(facts),
        version: None,
        ..event("k", "arn:aws:sqs:us-east-1:111122223333:q")
    };
    hold("event-replication.bin", &about);
    hold("event-replication-late.bin", &EventRecord { replication: Some(late), ..about });
    let transitioned = EventRecord {
        name: "LifecycleTransition".to_owned(),
        transitioned: Some("GLACIER_IR".to_owned()),
        ..event("k", "arn:aws:sqs:us-east-1:111122223333:q")
    };
    hold("event-transition.bin", &transitioned);
    hold("replication.bin", &replication("k"));
    hold("replication-due.bin", &ReplicationRecord { due: Some(15), ..replication("k") });
    let parts = vec!["\"e1\"".to_owned()];
    let progress = ReplicationProgress { upload: "u".to_owned(), parts, part: None, as_source: false };
    let as_source = ReplicationProgress { as_source: true, ..progress.clone() };
    let sized = ReplicationProgress { part: Some(64 << 20), ..progress.clone() };
    hold("replication-progress.bin", &ReplicationRecord { progress: Some(progress), ..replication("k") });
    hold("replication-progress-part.bin", &ReplicationRecord { progress: Some(sized), ..replication("k") });
    hold("replication-progress-source.bin", &ReplicationRecord { progress: Some(as_source), ..replication("k") });
    let (action, facet) = (ReplicationAction::Change, Some(Facet::Retention));
    hold("replication-change.bin", &ReplicationRecord { action, facet, size: 0, ..replication("k") });
    let key = entry_key(Table::Event, Lane([1; 8]), 0x0102);
    assert_eq!(hex::encode(&key), "4501010101010101010000000000000102");
    assert_eq!(read_key(&key).unwrap(), (Lane([1; 8]), 0x0102));
    assert!(read_key(&key[..16]).is_err() && read_key(b"").is_err());
}

#[tokio::test]
async fn lanes_hold_what_was_entered_until_it_is_removed() {
    let store = MemoryStore::new(std::sync::Arc::new(crate::crypto::random::SeededEntropy::new(1)));
    let (a, b) = ("arn:aws:sns:us-east-1:111122223333:a", "arn:aws:sns:us-east-1:111122223333:b");
    let batch = [(3, "y", a), (1, "x", b), (2, "x", a)]
        .into_iter()
        .fold(Batch::new(), |batch, (sequence, key, to)| enter(batch, sequence, &event(key, to)));
    let batch = enter(batch, 4, &replication("x"));
    assert_eq!(store.commit(BUCKET, batch).await.unwrap(), Outcome::Applied);

    let lanes = read_lanes(&store, BUCKET, Table::Event).await.unwrap();
    let mut expected = vec![Lane::to(a), Lane::to(b)];
    expected.sort_unstable();
    assert_eq!(lanes, expected);
    let waiting = read_waiting(&store, BUCKET, Table::Event).await.unwrap();
    assert_eq!((waiting.objects, waiting.bytes), (3, 3 * 1024));
    let waiting = read_waiting(&store, BUCKET, Table::Replication).await.unwrap();
    assert_eq!((waiting.objects, waiting.bytes), (1, 1 << 30));

    let lane = read_lane::<EventRecord>(&store, BUCKET, Lane::to(a), None, 10).await.unwrap();
    let order: Vec<_> = lane.iter().map(|waiting| (waiting.sequence, waiting.entry.key.as_str())).collect();
    assert_eq!(order, [(2, "x"), (3, "y")]);
    let behind = read_lane::<EventRecord>(&store, BUCKET, Lane::to(a), Some(2), 10).await.unwrap();
    assert_eq!(behind.iter().map(|waiting| waiting.sequence).collect::<Vec<_>>(), [3]);
    assert_eq!(store.commit(BUCKET, remove(Batch::new(), &lane)).await.unwrap(), Outcome::Applied);
    assert_eq!(read_lanes(&store, BUCKET, Table::Event).await.unwrap(), [Lane::to(b)]);
    assert_eq!(read_waiting(&store, BUCKET, Table::Event).await.unwrap().objects, 1);
}

#[tokio::test]
async fn watches_come_and_go() {
    let store = MemoryStore::new(std::sync::Arc::new(crate::crypto::random::SeededEntropy::new(1)));
    let record = WatchRecord { bucket: "b".to_owned(), account: "111122223333".to_owned() };
    watch(&store, BUCKET, &record).await.unwrap();
    watch(&store, BUCKET, &record).await.unwrap();
    assert_eq!(read_watches(&store).await.unwrap(), [(BUCKET, record)]);
    unwatch(&store, BUCKET).await.unwrap();
    assert_eq!(read_watches(&store).await.unwrap(), []);
}
