//! Carriers against the in-memory store: what fails holds up nothing but what must come behind it.

use std::collections::HashMap;

use super::*;
use crate::clock::{ManualClock, SharedClock, from_millis};
use crate::crypto::random::SeededEntropy;
use crate::store::MetaStore as _;
use crate::store::memory::MemoryStore;
use crate::store::outbox::{ReplicationAction, ReplicationRecord};

const BUCKET: Partition = Partition([7; 16]);
const DESTINATION: &str = "arn:aws:s3:::copies";
/// Longer than anything here is to take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails keys that begin with `poison`, and panics, fails once or takes its time for others, as their names say.
#[derive(Default)]
struct Fussy {
    tried: Mutex<HashMap<String, usize>>,
    carried: Mutex<Vec<String>>,
    /// Ends what takes its time.
    release: Notify,
}

#[async_trait]
impl Carrier for Fussy {
    type Entry = ReplicationRecord;

    const KIND: &'static str = "test";

    async fn carry(&self, _: Partition, _: &WatchRecord, waiting: &Waiting<ReplicationRecord>) -> Carried {
        let (key, version) = (waiting.entry.key.as_str(), waiting.entry.version.as_str());
        let name = format!("{key}/{version}");
        let tries = {
            let mut tried = self.tried.lock().unwrap();
            let tries = tried.entry(name.clone()).or_default();
            *tries += 1;
            *tries
        };
        if key.starts_with("poison") || (key.starts_with("late") && version == "1" && tries == 1) {
            return Carried::Later("refused".to_owned());
        }
        assert!(!key.starts_with("panics") || tries > 1, "on purpose");
        if key.starts_with("slow") && version == "1" {
            self.release.notified().await;
        }
        self.carried.lock().unwrap().push(name);
        Carried::Done
    }
}

struct Fixture {
    store: Arc<MemoryStore>,
    sequencer: Arc<Sequencer>,
    carriers: Arc<Carriers<Fussy>>,
}

impl Fixture {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(SeededEntropy::new(1))));
        let record = WatchRecord { bucket: "b".to_owned(), account: "111122223333".to_owned() };
        outbox::watch(&*store, BUCKET, &record).await.unwrap();
        let clock: SharedClock = Arc::new(ManualClock::new(from_millis(1_700_000_000_000)));
        let sequencer = Arc::new(Sequencer::default());
        let limits = Limits { lanes: 4, at_once: 8, max_age: Duration::from_secs(3600), max_waiting: u64::MAX };
        let shared = Arc::clone(&store) as SharedStore;
        let carriers = Carriers::new(Fussy::default(), shared, clock, Arc::clone(&sequencer), Arc::default(), limits);
        Self { store, sequencer, carriers }
    }

    /// Enters one entry.
    async fn enter(&self, key: &str, version: &str) {
        self.enter_of(key, version, 1_700_000_000_000).await;
    }

    /// Enters one entry of a write at this time.
    async fn enter_of(&self, key: &str, version: &str, at: i64) {
        let entry = ReplicationRecord {
            action: ReplicationAction::Put,
            at,
            destination: DESTINATION.to_owned(),
            rule: "r".to_owned(),
            key: key.to_owned(),
            version: version.to_owned(),
            size: 1,
            progress: None,
            facet: None,
            due: None,
        };
        let batch = outbox::enter(Batch::new(), self.sequencer.next(from_millis(1_700_000_000_000)), &entry);
        let _ = self.store.commit(BUCKET, batch).await.unwrap();
    }

    fn call(&self) {
        self.carriers.call(BUCKET, Lane::to(DESTINATION));
    }

    fn carried(&self) -> Vec<String> {
        self.carriers.carrier().carried.lock().unwrap().clone()
    }

    /// Waits until so many were carried out.
    async fn wait_for(&self, count: usize) {
        let begun = Instant::now();
        while self.carried().len() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count}", self.carried().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many entries are left, and ends the lanes.
    async fn end_with(&self, left: i64) {
        self.wait_until_left(left).await;
        self.carriers.close().await;
    }

    /// Waits until so many entries are left.
    async fn wait_until_left(&self, left: i64) {
        let begun = Instant::now();
        loop {
            let waiting = outbox::read_waiting(&*self.store, BUCKET, Table::Replication).await.unwrap().objects;
            if waiting == left {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{waiting} are left");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn what_is_never_taken_holds_up_no_other_key() {
    let fixture = Fixture::new().await;
    for number in 0..200 {
        fixture.enter(&format!("poison-{number}"), "1").await;
    }
    for number in 0..300 {
        fixture.enter(&format!("good-{number}"), "1").await;
    }
    fixture.call();
    fixture.wait_for(300).await;
    // What comes later does not wait until the lane would look again at what it has.
    for number in 0..10 {
        let begun = Instant::now();
        fixture.enter(&format!("new-{number}"), "1").await;
        fixture.call();
        fixture.wait_for(301 + number).await;
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    fixture.end_with(200).await;
    let tried = fixture.carriers.carrier().tried.lock().unwrap();
    assert!((0..200).all(|number| tried.contains_key(&format!("poison-{number}/1"))));
}

#[tokio::test]
async fn the_entries_of_one_key_keep_their_order() {
    let fixture = Fixture::new().await;
    // More than a page between them.
    for version in ["1", "2", "3"] {
        fixture.enter("late", version).await;
        for number in 0..PAGE {
            fixture.enter(&format!("good-{number}"), version).await;
        }
    }
    fixture.call();
    fixture.wait_for(3 * PAGE + 3).await;
    let carried = fixture.carried();
    let of = |key: &str| {
        let versions = carried.iter().filter_map(|name| name.strip_prefix(&format!("{key}/")).map(str::to_owned));
        versions.collect::<Vec<_>>()
    };
    assert_eq!(of("late"), ["1", "2", "3"]);
    assert!((0..PAGE).all(|number| of(&format!("good-{number}")) == ["1", "2", "3"]));
    assert!(carried[carried.len() - 3..].iter().all(|name| name.starts_with("late/")), "the others went on meanwhile");
    fixture.end_with(0).await;
}

#[tokio::test]
async fn what_takes_long_holds_up_no_other_key() {
    let fixture = Fixture::new().await;
    for version in ["1", "2"] {
        fixture.enter("slow", version).await;
    }
    for number in 0..2 * PAGE {
        fixture.enter(&format!("good-{number}"), "1").await;
    }
    fixture.call();
    fixture.wait_for(2 * PAGE).await;
    // What was carried out is removed, and would not be carried out again after a crash.
    fixture.wait_until_left(2).await;
    for number in 0..3 {
        fixture.enter(&format!("new-{number}"), "1").await;
        fixture.enter("slow", &(3 + number).to_string()).await;
        fixture.call();
        fixture.wait_for(2 * PAGE + 1 + number).await;
    }
    // One that fails once has its turn again meanwhile.
    fixture.enter("late", "1").await;
    fixture.call();
    fixture.wait_for(2 * PAGE + 4).await;
    assert!(fixture.carried().iter().all(|name| !name.starts_with("slow")));
    fixture.carriers.carrier().release.notify_one();
    fixture.wait_for(2 * PAGE + 9).await;
    let carried = fixture.carried();
    assert_eq!(carried[2 * PAGE + 4..], ["slow/1", "slow/2", "slow/3", "slow/4", "slow/5"]);
    fixture.end_with(0).await;
    let tried = fixture.carriers.carrier().tried.lock().unwrap();
    let again: Vec<_> = tried.iter().filter(|(_, tries)| **tries > 1).map(|(name, _)| name.as_str()).collect();
    assert_eq!(again, ["late/1"], "nothing is carried out twice");
}

#[tokio::test]
async fn many_entries_behind_one_that_takes_long_keep_their_order() {
    let fixture = Fixture::new().await;
    let versions: Vec<String> = (1..=3 * PAGE).map(|number| number.to_string()).collect();
    for version in &versions {
        fixture.enter("slow", version).await;
    }
    fixture.enter("good", "1").await;
    fixture.call();
    fixture.wait_for(1).await;
    assert_eq!(fixture.carried(), ["good/1"]);
    fixture.carriers.carrier().release.notify_one();
    fixture.wait_for(1 + versions.len()).await;
    let expected: Vec<String> = versions.iter().map(|version| format!("slow/{version}")).collect();
    assert_eq!(fixture.carried()[1..], expected);
    fixture.end_with(0).await;
}

#[tokio::test]
async fn what_waited_for_long_is_not_given_up_at_its_first_failure() {
    let fixture = Fixture::new().await;
    fixture.enter_of("late", "1", 1_700_000_000_000 - 48 * 3_600_000).await;
    fixture.call();
    fixture.wait_for(1).await;
    assert_eq!(fixture.carried(), ["late/1"]);
    fixture.end_with(0).await;
}

#[tokio::test]
async fn a_carrier_that_panics_carries_on() {
    let fixture = Fixture::new().await;
    fixture.enter("panics", "1").await;
    fixture.enter("good", "1").await;
    fixture.call();
    fixture.wait_for(2).await;
    assert_eq!(fixture.carried(), ["good/1", "panics/1"]);
    fixture.end_with(0).await;
}

#[tokio::test]
async fn how_far_the_numbers_are_is_kept() {
    let fixture = Fixture::new().await;
    let looking = fixture.carriers.start();
    let begun = Instant::now();
    let later = loop {
        let later = Sequencer::default();
        later.recover(&*fixture.store).await.unwrap();
        let first = later.next(from_millis(0));
        if first > 1 {
            break first;
        }
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(later > fixture.sequencer.next(from_millis(1_700_000_000_000)));
    fixture.carriers.close().await;
    looking.await.unwrap();
}
