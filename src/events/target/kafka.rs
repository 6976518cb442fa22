//! Kafka: each message is a record of the configured topic, and is safe when all replicas that are in sync have it (`acks=all`).
//!
//! A record's key is `BUCKET/KEY`, so that what is told of an object is told in one partition, in its order; which one that is,
//! is what Kafka's own producers would choose.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rskafka::BackoffConfig;
use rskafka::chrono::DateTime;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, timeout};

use super::{Address, Message, PATIENCE, Target, TargetError, required, text};
use crate::config::{NotificationTarget, SaslMechanism};

/// Longest name of a topic, in characters. (Kafka, `Topic.MAX_NAME_LENGTH`.)
const LONGEST_TOPIC: usize = 249;
/// How old what is known of the topic's partitions may be. (Kafka's producers: `metadata.max.age.ms`.)
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// How long one exchange is tried again, before the attempt has failed.
const TRIED_FOR: Duration = Duration::from_secs(5);

/// A topic of a Kafka cluster.
pub struct Kafka {
    /// The brokers that are asked first, each `HOST:PORT`.
    brokers: Vec<String>,
    topic: String,
    /// Whose certificates are believed, where TLS is spoken.
    trusted: Option<RootCertStore>,
    sasl: Option<SaslConfig>,
    link: Mutex<Option<Arc<Link>>>,
}

/// A connection with the cluster.
struct Link {
    client: Client,
    /// By number; each is connected to when it is first needed.
    partitions: Vec<OnceCell<PartitionClient>>,
    opened: Instant,
}

impl Kafka {
    /// As `options` say. The URL may name several brokers, with commas between them.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn new(options: &NotificationTarget) -> Result<Self, String> {
        let (scheme, brokers) = options.url.split_once("://").ok_or("the url has no scheme")?;
        let brokers = brokers.trim_end_matches('/').split(',').map(broker).collect::<Result<_, _>>()?;
        let topic = required(options.subject.as_ref(), "subject")?.clone();
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty()
            || topic.len() > LONGEST_TOPIC
            || topic == "."
            || topic == ".."
            || !topic.chars().all(is_legal)
        {
            return Err(format!("subject must be a topic: at most {LONGEST_TOPIC} letters, digits, '.', '_' and '-'"));
        }
        let trusted = (scheme == "kafka+tls").then(|| trusted(options)).transpose()?;
        let sasl = match (&options.username, &options.password) {
            (Some(name), Some(password)) => {
                let credentials = Credentials::new(name.clone(), text(password));
                Some(match options.mechanism {
                    SaslMechanism::Plain => SaslConfig::Plain(credentials),
                    SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                    SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
                })
            }
            (None, None) => None,
            _ => return Err("username and password belong together".to_owned()),
        };
        Ok(Self { brokers, topic, trusted, sasl, link: Mutex::default() })
    }

    async fn connect(&self) -> Result<Link, TargetError> {
        let failed = |error: &dyn std::fmt::Display| TargetError::of("Kafka could not be reached", error);
        let mut builder = ClientBuilder::new(self.brokers.clone())
            .client_id("strongroom")
            .backoff_config(BackoffConfig { deadline: Some(TRIED_FOR), ..BackoffConfig::default() });
        if let Some(trusted) = &self.trusted {
            let provider = CryptoProvider::get_default().ok_or_else(|| TargetError::new("TLS is not set up"))?;
            let config = ClientConfig::builder_with_provider(Arc::clone(provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| failed(&error))?
                .with_root_certificates(trusted.clone())
                .with_no_client_auth();
            builder = builder.tls_config(Arc::new(config));
        }
        if let Some(sasl) = &self.sasl {
            builder = builder.sasl_config(sasl.clone());
        }
        let client = builder.build().await.map_err(|error| failed(&error))?;
        let topics = client.list_topics().await.map_err(|error| failed(&error))?;
        let topic = topics.into_iter().find(|topic| topic.name == self.topic);
        let count = topic.map_or(0, |topic| topic.partitions.len());
        if count == 0 {
            return Err(TargetError::new(format!("Kafka has no topic {}", self.topic)));
        }
        let partitions = (0..count).map(|_| OnceCell::new()).collect();
        Ok(Link { client, partitions, opened: Instant::now() })
    }

    async fn link(&self) -> Result<Arc<Link>, TargetError> {
        let mut kept = self.link.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| link.opened.elapsed() < MAX_AGE) {
            return Ok(Arc::clone(link));
        }
        Ok(Arc::clone(kept.insert(Arc::new(self.connect().await?))))
    }

    /// The next message begins with a new connection, if it would use this one.
    async fn forget(&self, link: &Arc<Link>) {
        let mut kept = self.link.lock().await;
        drop(kept.take_if(|kept| Arc::ptr_eq(kept, link)));
    }

    async fn produce(&self, link: &Link, message: Message<'_>) -> Result<(), TargetError> {
        let key = (!message.key.is_empty()).then(|| format!("{}/{}", message.bucket, message.key).into_bytes());
        let number = key.as_ref().map_or(0, |key| partition_of(key, link.partitions.len()));
        let failed = |error| TargetError::of("Kafka did not take the message", error);
        let connect = || {
            let number = i32::try_from(number).unwrap_or_default();
            link.client.partition_client(self.topic.as_str(), number, UnknownTopicHandling::Error)
        };
        let partition = link.partitions[number].get_or_try_init(connect).await.map_err(failed)?;
        let record = Record {
            key,
            value: Some(message.body),
            headers: [("content-type".to_owned(), b"application/json".to_vec())].into(),
            timestamp: DateTime::from_timestamp_millis(message.at).unwrap_or_default(),
        };
        partition.produce(vec![record], Compression::NoCompression).await.map(drop).map_err(failed)
    }
}

#[async_trait]
impl Target for Kafka {
    async fn send(&self, message: Message<'_>) -> Result<(), TargetError> {
        let sending = async {
            let link = self.link().await?;
            let produced = self.produce(&link, message).await;
            if produced.is_err() {
                self.forget(&link).await;
            }
            produced
        };
        timeout(PATIENCE, sending).await.unwrap_or_else(|_| Err(TargetError::new("Kafka did not answer in time")))
    }
}

/// `HOST:PORT` of a broker in the URL.
fn broker(text: &str) -> Result<String, String> {
    let Address { host, port, path } = Address::parse(&format!("kafka://{text}"), 9092)?;
    if !path.is_empty() {
        return Err("a broker's url has no path".to_owned());
    }
    Ok(if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// The authorities of `ca`, or else the system's.
fn trusted(options: &NotificationTarget) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &options.ca else {
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if added == 0 { Err("the system trusts nobody: ca must be given".to_owned()) } else { Ok(roots) };
    };
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() { Err(failed(&"there is no certificate in it")) } else { Ok(roots) }
}

/// The partition of a key, as Kafka's own producers choose it. (Kafka, `BuiltInPartitioner.partitionForKey`.)
fn partition_of(key: &[u8], partitions: usize) -> usize {
    let positive = murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff;
    usize::try_from(positive).unwrap_or_default() % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str, topic: &str) -> NotificationTarget {
        NotificationTarget {
            subject: Some(topic.to_owned()),
            ..NotificationTarget::new("arn:aws:sqs:us-east-1:000000000000:q", url)
        }
    }

    #[test]
    fn the_partition_is_that_of_kafkas_own_producers() {
        // Kafka, `UtilsTest.testMurmur2`: the hashes of these keys, as signed numbers.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            let expected = usize::try_from(hash & 0x7fff_ffff).unwrap();
            for partitions in [1, 7, 12, 1_000] {
                assert_eq!(partition_of(key.as_bytes(), partitions), expected % partitions, "{key}");
            }
        }
    }

    #[test]
    fn brokers_are_a_list() {
        let brokers = |url: &str| Kafka::new(&options(url, "t")).map(|kafka| kafka.brokers);
        let several = brokers("kafka://a,b:1,[::1]:2,[::1]").unwrap();
        assert_eq!(several, ["a:9092", "b:1", "[::1]:2", "[::1]:9092"]);
        assert_eq!(brokers("kafka://a/").unwrap(), ["a:9092"]);
        for bad in ["kafka://", "kafka://a,,b", "kafka://u:p@a", "kafka://a:x", "kafka://a/t"] {
            assert!(brokers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn topics_are_what_kafka_takes() {
        for (topic, good) in [("s3.created_v-1", true), ("", false), ("..", false), ("a b", false), ("ü", false)] {
            assert_eq!(Kafka::new(&options("kafka://h", topic)).is_ok(), good, "{topic}");
        }
        assert!(Kafka::new(&options("kafka://h", &"x".repeat(249))).is_ok());
        assert!(Kafka::new(&options("kafka://h", &"x".repeat(250))).is_err());
    }

    #[test]
    fn who_is_trusted_and_who_one_is_must_be_told_whole() {
        let missing = NotificationTarget { ca: Some("/nowhere/ca.pem".into()), ..options("kafka+tls://h", "t") };
        let error = Kafka::new(&missing).err().unwrap();
        assert!(error.starts_with("/nowhere/ca.pem: "), "{error}");
        let half = NotificationTarget { username: Some("u".to_owned()), ..options("kafka://h", "t") };
        assert_eq!(Kafka::new(&half).err().as_deref(), Some("username and password belong together"));
    }
}
