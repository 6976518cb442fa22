//! Rotations that end after each of their steps, and what the next start makes of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::custody::{Custody, PlainFile, RootKeys};
use super::*;
use crate::crypto::Secret;
use crate::crypto::random::SystemEntropy;

const LABEL: &str = "thing";

/// Sealed things in memory.
#[derive(Default)]
struct Things(std::sync::Mutex<BTreeMap<u8, Vec<u8>>>);

impl Things {
    fn seal(&self, root: &RootKey, things: std::ops::Range<u8>) {
        let mut sealed = self.0.lock().unwrap();
        for thing in things {
            sealed.insert(thing, root.seal(&SystemEntropy::new(), LABEL, &[thing]));
        }
    }

    fn all_open(&self, root: &RootKey) -> bool {
        self.0
            .lock()
            .unwrap()
            .iter()
            .all(|(thing, sealed)| root.open(LABEL, sealed).is_ok_and(|plain| plain.expose() == [*thing]))
    }
}

#[async_trait]
impl Reseal for Things {
    fn name(&self) -> &'static str {
        "things"
    }

    async fn reseal(&self, root: &RootKey) -> Result<usize, ResealError> {
        let mut count = 0;
        for sealed in self.0.lock().unwrap().values_mut() {
            let fresh = root.reseal(&SystemEntropy::new(), LABEL, sealed);
            if let Some(fresh) = fresh.map_err(|error| ResealError::new("a thing", &error))? {
                *sealed = fresh;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// A root key in a file, and two holders.
struct Server {
    custody: Arc<dyn Custody>,
    holders: [Arc<Things>; 2],
}

impl Server {
    fn new(dir: &Path) -> Self {
        Self { custody: Arc::new(PlainFile(dir.join("root.key"))), holders: [Arc::default(), Arc::default()] }
    }

    async fn start(&self) -> Rotation {
        let root = RootKey::load(Arc::clone(&self.custody), true, &SystemEntropy::new()).await.unwrap();
        let holders = self.holders.iter().map(|things| Arc::clone(things) as Arc<dyn Reseal>).collect();
        Rotation::new(Arc::new(root), holders, Arc::new(SystemEntropy::new()))
    }

    async fn kept(&self) -> Vec<[u8; 32]> {
        self.custody.load().await.unwrap().unwrap().0.iter().map(|key| *key.expose()).collect()
    }

    /// A server that knows the first of the kept keys alone.
    async fn with_current_only(&self) -> RootKey {
        let current = self.kept().await[0];
        RootKey::parse(RootKeys(vec![Secret::new(current)]).to_text().as_bytes()).unwrap()
    }
}

#[tokio::test]
async fn after_a_rotation_the_old_key_is_not_needed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path());
    let rotation = server.start().await;
    server.holders[0].seal(rotation.root(), 0..5);
    server.holders[1].seal(rotation.root(), 5..7);
    let before = server.kept().await;
    let report = rotation.rotate().await.unwrap();
    assert_eq!(report.resealed, [("things", 5), ("things", 2)]);
    assert_eq!(report.current, rotation.root().id());
    let after = server.kept().await;
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    let fresh = server.with_current_only().await;
    assert!(server.holders.iter().all(|things| things.all_open(&fresh)));
    assert!(!rotation.root().is_rotating());
    assert_eq!(rotation.resume().await.unwrap(), None);
    rotation.rotate().await.unwrap();
    assert!(server.holders.iter().all(|things| things.all_open(rotation.root())), "as often as one likes");
}

#[tokio::test]
async fn a_crash_after_any_step_loses_nothing_and_is_made_good() {
    let steps = [Step::BothKept, Step::Installed, Step::Resealed(1), Step::Resealed(2), Step::Checked, Step::OneKept];
    for last in steps {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new(dir.path());
        let rotation = server.start().await;
        server.holders[0].seal(rotation.root(), 0..5);
        server.holders[1].seal(rotation.root(), 5..7);
        let stop = |step| if step == last { Err(RotationError::Stopped) } else { Ok(()) };
        assert!(matches!(rotation.run(&stop).await, Err(RotationError::Stopped)), "{last:?}");
        drop(rotation);

        // What the next start finds opens everything, before anything is made good.
        let rotation = server.start().await;
        assert!(server.holders.iter().all(|things| things.all_open(rotation.root())), "{last:?}");
        // What is sealed meanwhile is under the fresh key.
        server.holders[0].seal(rotation.root(), 10..11);
        let resumed = rotation.resume().await.unwrap();
        assert_eq!(resumed.is_some(), last != Step::OneKept, "{last:?}");
        assert_eq!(server.kept().await.len(), 1, "{last:?}");
        let fresh = server.with_current_only().await;
        assert!(server.holders.iter().all(|things| things.all_open(&fresh)), "{last:?}");
    }
}

#[tokio::test]
async fn an_interrupted_rotation_is_ended_before_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path());
    let rotation = server.start().await;
    server.holders[0].seal(rotation.root(), 0..5);
    let stop = |step| if step == Step::Installed { Err(RotationError::Stopped) } else { Ok(()) };
    assert!(rotation.run(&stop).await.is_err());
    rotation.rotate().await.unwrap();
    assert_eq!(server.kept().await.len(), 1);
    assert!(server.holders[0].all_open(&server.with_current_only().await));
}

#[tokio::test]
async fn a_holder_that_fails_ends_it_and_both_keys_stay() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(dir.path());
    let rotation = server.start().await;
    server.holders[0].seal(rotation.root(), 0..2);
    server.holders[1].0.lock().unwrap().insert(9, vec![1; 60]);
    assert!(matches!(rotation.rotate().await, Err(RotationError::Reseal(_))));
    assert_eq!(server.kept().await.len(), 2);
    assert!(server.holders[0].all_open(rotation.root()));
    server.holders[1].0.lock().unwrap().clear();
    assert!(rotation.resume().await.unwrap().is_some());
    assert_eq!(server.kept().await.len(), 1);
}

#[tokio::test]
async fn a_key_of_the_environment_is_its_owners_to_change() {
    let text = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| RootKeys(vec![Secret::new([*byte; 32])]).to_text().to_string()).collect()
    };
    let things = Arc::new(Things::default());
    let old = RootKey::parse(text(&[1]).as_bytes()).unwrap();
    things.seal(&old, 0..3);
    let holders = || vec![Arc::clone(&things) as Arc<dyn Reseal>];
    let rotation = Rotation::new(Arc::new(old), holders(), Arc::new(SystemEntropy::new()));
    assert!(matches!(rotation.rotate().await, Err(RotationError::Root(RootKeyError::NotKept))));
    assert!(things.all_open(rotation.root()), "nothing has changed");
    let both = RootKey::parse(text(&[2, 1]).as_bytes()).unwrap();
    let rotation = Rotation::new(Arc::new(both), holders(), Arc::new(SystemEntropy::new()));
    assert_eq!(rotation.resume().await.unwrap().unwrap().resealed, [("things", 3)]);
    assert!(things.all_open(&RootKey::parse(text(&[2]).as_bytes()).unwrap()));
}
