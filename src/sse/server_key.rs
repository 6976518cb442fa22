//! The SSE-S3 server key: wraps the data keys of SSE-S3 objects and seals their entity tags.
//!
//! 256 bits, drawn on the first start and kept in the store, sealed under the root key. No API shows or uses it. The
//! record holds numbered keys, of which the last wraps and all unwrap, and every blob names its key, so that rotation
//! only adds one. Layouts in `FORMAT.md`, "Server key".

use std::sync::Arc;

use async_trait::async_trait;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::wrap::{self, Purpose};
use super::{ObjectName, SseError};
use crate::crypto::aead::Aes256GcmSiv;
use crate::crypto::{Entropy, Secret, SecretBytes, SharedEntropy, Unauthentic, kdf, random};
use crate::kms::DataKey;
use crate::kms::root::RootKey;
use crate::kms::root::rotation::{Reseal, ResealError};
use crate::store::schema::{Record, Table, key_of};
use crate::store::{Batch, MetaStore, Outcome, Partition, StoreError};

/// The version byte of wrapped keys and sealed entity tags.
const VERSION: u8 = 1;
/// What the record is called.
const RECORD: &[u8] = b"sse-s3";
/// The number of the key that the first start draws.
const FIRST: u32 = 1;

/// What seals the server key at rest: the root key.
pub trait RootSeal: Send + Sync {
    /// Seals `plaintext`, bound to `label`.
    fn seal(&self, entropy: &dyn Entropy, label: &str, plaintext: &[u8]) -> Vec<u8>;

    /// Opens what [`Self::seal`] returned for `label`.
    ///
    /// # Errors
    /// [`Unauthentic`] if it was altered, or sealed by another root key or for another label.
    fn open(&self, label: &str, sealed: &[u8]) -> Result<SecretBytes, Unauthentic>;
}

/// The server's keys for SSE-S3, in clear.
pub struct ServerKey {
    /// In the order they were drawn; never empty.
    keys: Vec<NumberedKey>,
}

struct NumberedKey {
    number: u32,
    wrapping: Secret<32>,
    etags: Aes256GcmSiv,
}

/// Which entity tag: what a sealed one is bound to.
#[derive(Clone, Copy, Debug)]
pub struct EtagScope<'a> {
    /// The bucket's id.
    pub bucket: &'a [u8; 16],
    /// Whose tag.
    pub of: EtagOf<'a>,
    /// Tells this write from every other: an object's generation, a part's run id.
    pub write: &'a [u8; 16],
}

/// Whose entity tag.
#[derive(Clone, Copy, Debug)]
pub enum EtagOf<'a> {
    /// The object with this key.
    Object(&'a str),
    /// A part.
    Part {
        /// The upload's id.
        upload: &'a [u8; 16],
        /// The part's number.
        number: u16,
    },
}

impl RootSeal for RootKey {
    fn seal(&self, entropy: &dyn Entropy, label: &str, plaintext: &[u8]) -> Vec<u8> {
        Self::seal(self, entropy, label, plaintext)
    }

    fn open(&self, label: &str, sealed: &[u8]) -> Result<SecretBytes, Unauthentic> {
        Self::open(self, label, sealed).map_err(|_| Unauthentic)
    }
}

impl ServerKey {
    /// Whether `store` holds a server key that some root key has sealed.
    ///
    /// # Errors
    /// As [`MetaStore::get`].
    pub async fn exists(store: &dyn MetaStore) -> Result<bool, StoreError> {
        Ok(store.get(Partition::GLOBAL, &key_of(Table::Server, RECORD)).await?.is_some())
    }

    /// The store's server key, drawn now if there is none yet. Safe to run from several servers at once.
    ///
    /// # Errors
    /// [`SseError::WrongRootKey`] if `root` does not open it, [`SseError::Store`] if the store fails.
    pub async fn load_or_create(
        store: &dyn MetaStore,
        root: &dyn RootSeal,
        entropy: &dyn Entropy,
    ) -> Result<Self, SseError> {
        let at = key_of(Table::Server, RECORD);
        loop {
            if let Some(value) = store.get(Partition::GLOBAL, &at).await? {
                return Self::from_record(&ServerKeyRecord::from_value(&value)?, root);
            }
            let key = Secret::<32>::filled(|out| entropy.fill(out));
            let sealed = root.seal(entropy, &label(FIRST), key.expose()).into();
            let record = ServerKeyRecord { keys: vec![SealedKey { number: FIRST, sealed }] };
            let batch = Batch::new().expect(at.clone(), None).put(at.clone(), record.to_value());
            match store.commit(Partition::GLOBAL, batch).await? {
                Outcome::Applied => {
                    return Ok(Self { keys: vec![NumberedKey::new(FIRST, key)] });
                }
                // Another server was first: take its key.
                Outcome::Conflict { .. } => {}
            }
        }
    }

    /// A fresh data key for `object`, and its wrapped form.
    pub(super) fn generate(&self, entropy: &dyn Entropy, object: ObjectName<'_>) -> (DataKey, Vec<u8>) {
        let key = Secret::filled(|out| entropy.fill(out));
        let wrapped = self.wrap(entropy, &key, object);
        (DataKey::new(key), wrapped)
    }

    /// The wrapped form of `key`, the data key of `object`.
    pub(super) fn wrap(&self, entropy: &dyn Entropy, key: &Secret<32>, object: ObjectName<'_>) -> Vec<u8> {
        let current = self.current();
        current.named(&wrap::wrap(&current.wrapping, Purpose::Server, &object.arn(), entropy, key))
    }

    /// The data key in what [`Self::generate`] returned for `object`.
    pub(super) fn unwrap(&self, wrapped: &[u8], object: ObjectName<'_>) -> Result<DataKey, SseError> {
        let (key, blob) = self.naming(wrapped)?;
        wrap::unwrap(&key.wrapping, Purpose::Server, &object.arn(), blob)
            .map(DataKey::new)
            .map_err(|_| SseError::corrupt("a data key wrapped by the server key did not authenticate"))
    }

    /// Seals the entity tag `etag`, which is an MD5 form and so tells of the plaintext.
    pub(super) fn seal_etag(&self, entropy: &dyn Entropy, scope: EtagScope<'_>, etag: &str) -> Vec<u8> {
        let current = self.current();
        current.named(&current.etags.seal(random::bytes(entropy), &scope.aad(), etag.as_bytes()))
    }

    /// Opens what [`Self::seal_etag`] returned for `scope`.
    pub(super) fn open_etag(&self, scope: EtagScope<'_>, sealed: &[u8]) -> Result<String, SseError> {
        let (key, blob) = self.naming(sealed)?;
        let etag = key.etags.open(&scope.aad(), blob).ok();
        etag.and_then(|etag| String::from_utf8(etag.expose().to_vec()).ok())
            .ok_or_else(|| SseError::corrupt("a sealed entity tag did not authenticate"))
    }

    fn from_record(record: &ServerKeyRecord, root: &dyn RootSeal) -> Result<Self, SseError> {
        let open = |sealed: &SealedKey| {
            let key = root.open(&label(sealed.number), &sealed.sealed).map_err(|_| SseError::WrongRootKey)?;
            let key = Secret::from_slice(key.expose())
                .ok_or_else(|| SseError::corrupt("server key record: not a 256-bit key"))?;
            Ok(NumberedKey::new(sealed.number, key))
        };
        let keys: Vec<_> = record.keys.iter().map(open).collect::<Result<_, SseError>>()?;
        if keys.is_empty() {
            return Err(SseError::corrupt("server key record: no key"));
        }
        Ok(Self { keys })
    }

    fn current(&self) -> &NumberedKey {
        self.keys.last().expect("there is always a key")
    }

    /// The key that `blob` names, and what follows its name.
    fn naming<'b>(&self, blob: &'b [u8]) -> Result<(&NumberedKey, &'b [u8]), SseError> {
        let [VERSION, rest @ ..] = blob else {
            return Err(SseError::corrupt("sealed by the server key: unknown version"));
        };
        let named = rest.split_first_chunk().and_then(|(number, rest)| {
            let number = u32::from_be_bytes(*number);
            Some((self.keys.iter().find(|key| key.number == number)?, rest))
        });
        named.ok_or_else(|| SseError::corrupt("sealed by a server key that does not exist"))
    }
}

impl NumberedKey {
    fn new(number: u32, key: Secret<32>) -> Self {
        let etags = Aes256GcmSiv::new(&kdf::derive(key.expose(), &[], &[b"strongroom/etag"]));
        Self { number, wrapping: key, etags }
    }

    /// `blob` behind the version byte and the key's number.
    fn named(&self, blob: &[u8]) -> Vec<u8> {
        [&[VERSION], &self.number.to_be_bytes()[..], blob].concat()
    }
}

impl EtagScope<'_> {
    fn aad(&self) -> Vec<u8> {
        let mut aad = [&self.bucket[..], self.write].concat();
        match self.of {
            EtagOf::Object(key) => {
                aad.push(1);
                aad.extend_from_slice(key.as_bytes());
            }
            EtagOf::Part { upload, number } => {
                aad.push(2);
                aad.extend_from_slice(upload);
                aad.extend_from_slice(&number.to_be_bytes());
            }
        }
        aad
    }
}

/// A store's server keys as they lie in it, for the rotation of the root key.
pub struct StoredServerKeys {
    store: Arc<dyn MetaStore>,
    entropy: SharedEntropy,
}

impl StoredServerKeys {
    /// Those of `store`.
    pub fn new(store: Arc<dyn MetaStore>, entropy: SharedEntropy) -> Self {
        Self { store, entropy }
    }
}

#[async_trait]
impl Reseal for StoredServerKeys {
    fn name(&self) -> &'static str {
        "server keys"
    }

    async fn reseal(&self, root: &RootKey) -> Result<usize, ResealError> {
        let failed = |error: &dyn std::error::Error| ResealError::new("the server key", error);
        let at = key_of(Table::Server, RECORD);
        loop {
            let found = self.store.get(Partition::GLOBAL, &at).await.map_err(|error| failed(&error))?;
            let Some(value) = found else { return Ok(0) };
            let mut record = ServerKeyRecord::from_value(&value).map_err(|error| failed(&error))?;
            let mut count = 0;
            for key in &mut record.keys {
                let fresh = root.reseal(&*self.entropy, &label(key.number), &key.sealed);
                if let Some(fresh) = fresh.map_err(|error| failed(&error))? {
                    key.sealed = fresh.into();
                    count += 1;
                }
            }
            if count == 0 {
                return Ok(0);
            }
            let batch = Batch::new().expect(at.clone(), Some(value)).put(at.clone(), record.to_value());
            match self.store.commit(Partition::GLOBAL, batch).await.map_err(|error| failed(&error))? {
                Outcome::Applied => return Ok(count),
                // A key was added meanwhile.
                Outcome::Conflict { .. } => {}
            }
        }
    }
}

/// What the root key binds server key `number` to.
fn label(number: u32) -> String {
    format!("sse-s3 server key {number}")
}

#[derive(Debug, Decode, Encode)]
#[cbor(map)]
struct ServerKeyRecord {
    #[n(0)]
    keys: Vec<SealedKey>,
}

#[derive(Debug, Decode, Encode)]
#[cbor(map)]
struct SealedKey {
    #[n(0)]
    number: u32,
    #[n(1)]
    sealed: ByteVec,
}

impl Record for ServerKeyRecord {
    const NAME: &'static str = "server key record";
}

#[cfg(test)]
impl ServerKey {
    /// A server key that needs no store.
    pub(super) fn for_test(key: [u8; 32]) -> Self {
        Self { keys: vec![NumberedKey::new(FIRST, Secret::new(key))] }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::crypto::random::SeededEntropy;
    use crate::sse::tests::golden::golden;
    use crate::store::{Expectation, KeyRange, Mutation, Pair, Skip, StoreError};

    const OBJECT: ObjectName<'_> = ObjectName { bucket: "b", key: "k" };

    /// A store of one partition that knows absence and puts. The first commit loses to a rival's value, if there is one.
    #[derive(Default)]
    struct OneMap {
        values: Mutex<HashMap<Vec<u8>, Bytes>>,
        rival: Mutex<Option<Bytes>>,
    }

    impl OneMap {
        /// The only value.
        fn value(&self) -> Bytes {
            self.values.lock().unwrap().values().next().unwrap().clone()
        }
    }

    #[async_trait]
    impl MetaStore for OneMap {
        async fn get(&self, partition: Partition, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
            assert_eq!(partition, Partition::GLOBAL);
            Ok(self.values.lock().unwrap().get(key).cloned())
        }

        async fn scan(&self, _: Partition, _: &KeyRange, _: usize) -> Result<Vec<Pair>, StoreError> {
            unreachable!("the server key is not scanned for")
        }

        async fn scan_all(
            &self,
            _: Partition,
            _: &[KeyRange],
            _: Option<&Skip>,
            _: usize,
        ) -> Result<Vec<Vec<Pair>>, StoreError> {
            unreachable!("the server key is not scanned for")
        }

        async fn commit(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
            assert_eq!(partition, Partition::GLOBAL);
            let mut map = self.values.lock().unwrap();
            if let (Some(value), [Expectation::Absent(key)]) =
                (self.rival.lock().unwrap().take(), &batch.expectations[..])
            {
                map.insert(key.clone(), value);
                return Ok(Outcome::Conflict { expectation: 0, adopted: batch.adopted });
            }
            for expectation in &batch.expectations {
                assert!(matches!(expectation, Expectation::Absent(key) if !map.contains_key(key)));
            }
            for mutation in batch.mutations {
                let Mutation::Put(key, value) = mutation else { panic!("a put was expected") };
                map.insert(key, value);
            }
            Ok(Outcome::Applied)
        }
    }

    struct Root(Aes256GcmSiv);

    impl Root {
        fn new(key: u8) -> Self {
            Self(Aes256GcmSiv::new(&Secret::new([key; 32])))
        }
    }

    impl RootSeal for Root {
        fn seal(&self, entropy: &dyn Entropy, label: &str, plaintext: &[u8]) -> Vec<u8> {
            self.0.seal(random::bytes(entropy), label.as_bytes(), plaintext)
        }

        fn open(&self, label: &str, sealed: &[u8]) -> Result<SecretBytes, Unauthentic> {
            self.0.open(label.as_bytes(), sealed)
        }
    }

    #[tokio::test]
    async fn one_key_is_drawn_and_found_again() {
        let (store, entropy) = (OneMap::default(), SeededEntropy::new(1));
        let first = ServerKey::load_or_create(&store, &Root::new(1), &entropy).await.unwrap();
        let (key, wrapped) = first.generate(&entropy, OBJECT);
        assert_eq!(store.values.lock().unwrap().keys().collect::<Vec<_>>(), [b"Ssse-s3"]);
        let stored = store.value();
        let secret = first.keys[0].wrapping.expose();
        assert!(!stored.windows(16).any(|bytes| bytes == &secret[..16]), "the key lies in clear");

        let again = ServerKey::load_or_create(&store, &Root::new(1), &entropy).await.unwrap();
        assert_eq!(again.unwrap(&wrapped, OBJECT).unwrap().expose().expose(), key.expose().expose());
        let other = ServerKey::load_or_create(&store, &Root::new(2), &entropy).await;
        assert!(matches!(other, Err(SseError::WrongRootKey)));
    }

    #[tokio::test]
    async fn of_two_first_starts_one_wins() {
        let entropy = SeededEntropy::new(1);
        let winner_store = OneMap::default();
        let winner = ServerKey::load_or_create(&winner_store, &Root::new(1), &entropy).await.unwrap();
        let loser_store = OneMap { rival: Mutex::new(Some(winner_store.value())), ..OneMap::default() };
        let loser = ServerKey::load_or_create(&loser_store, &Root::new(1), &entropy).await.unwrap();
        assert_eq!(loser.keys[0].wrapping.expose(), winner.keys[0].wrapping.expose());
    }

    #[test]
    fn wrapped_keys_belong_to_an_object_and_a_server_key() {
        let (server, entropy) = (ServerKey::for_test([1; 32]), SeededEntropy::new(1));
        let (_, wrapped) = server.generate(&entropy, OBJECT);
        assert!(server.unwrap(&wrapped, OBJECT).is_ok());
        for other in [ObjectName { bucket: "b", key: "l" }, ObjectName { bucket: "c", key: "k" }] {
            assert!(matches!(server.unwrap(&wrapped, other), Err(SseError::Corrupt(_))));
        }
        assert!(ServerKey::for_test([2; 32]).unwrap(&wrapped, OBJECT).is_err());
        for at in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[at] ^= 1;
            assert!(server.unwrap(&flipped, OBJECT).is_err(), "byte {at}");
            assert!(server.unwrap(&wrapped[..at], OBJECT).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_record_is_what_it_was() {
        let record = |sealed| ServerKeyRecord { keys: vec![SealedKey { number: FIRST, sealed }] };
        let stored = golden("server-key.bin", &record(b"sealed".to_vec().into()).to_value());
        let read = ServerKeyRecord::from_value(&stored).unwrap();
        assert_eq!((read.keys.len(), read.keys[0].number, &read.keys[0].sealed[..]), (1, 1, &b"sealed"[..]));
        let none = ServerKeyRecord { keys: Vec::new() };
        assert!(matches!(ServerKey::from_record(&none, &Root::new(1)), Err(SseError::Corrupt(_))));
    }

    #[test]
    fn old_keys_still_unwrap_after_a_rotation() {
        let entropy = SeededEntropy::new(1);
        let mut server = ServerKey::for_test([1; 32]);
        let (old, wrapped) = server.generate(&entropy, OBJECT);
        server.keys.push(NumberedKey::new(2, Secret::new([2; 32])));
        let (_, newly_wrapped) = server.generate(&entropy, OBJECT);
        assert_eq!(server.unwrap(&wrapped, OBJECT).unwrap().expose().expose(), old.expose().expose());
        assert_eq!((wrapped[4], newly_wrapped[4]), (1, 2));
    }

    #[test]
    fn etags_open_only_where_they_belong() {
        let (server, entropy) = (ServerKey::for_test([1; 32]), SeededEntropy::new(1));
        let (one, two) = ([1; 16], [2; 16]);
        let scope = |bucket, of, write| EtagScope { bucket, of, write };
        let part = |upload, number| EtagOf::Part { upload, number };
        let scopes = [
            scope(&one, EtagOf::Object("k"), &one),
            scope(&one, EtagOf::Object("k"), &two),
            scope(&one, EtagOf::Object("l"), &one),
            scope(&two, EtagOf::Object("k"), &one),
            scope(&one, part(&one, 1), &one),
            scope(&one, part(&one, 2), &one),
            scope(&one, part(&two, 1), &one),
            scope(&one, part(&one, 1), &two),
        ];
        for (i, sealed_in) in scopes.into_iter().enumerate() {
            let sealed = server.seal_etag(&entropy, sealed_in, "d41d8cd98f00b204e9800998ecf8427e-2");
            for (j, opened_in) in scopes.into_iter().enumerate() {
                let opened = server.open_etag(opened_in, &sealed).ok();
                assert_eq!(opened, (i == j).then(|| "d41d8cd98f00b204e9800998ecf8427e-2".to_owned()));
            }
            for at in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1;
                assert!(server.open_etag(sealed_in, &flipped).is_err(), "byte {at}");
            }
        }
    }
}
