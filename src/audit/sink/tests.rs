//! Lines on their way: in order, at least once, over failures, restarts and gaps; by real sockets.

use std::sync::Mutex;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

use super::super::chain::Link;
use super::super::segment::Segment;
use super::syslog::{Address, Syslog};
use super::webhook::{Webhook, WebhookOptions};
use super::*;
use crate::crypto::random::SeededEntropy;

/// A log that grows, and what follows it.
struct Growing {
    dir: tempfile::TempDir,
    head: watch::Sender<u64>,
    link: Mutex<Link>,
}

impl Growing {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), head: watch::Sender::new(0), link: Mutex::new(Link::START) }
    }

    fn write(&self, count: u64) {
        let mut link = self.link.lock().unwrap();
        let mut lines = Vec::new();
        for _ in 0..count {
            let event = format!(r#"{{"eventName":"E{}","eventTime":"2026-11-25T00:00:00Z"}}"#, link.sequence + 1);
            link.append(&mut lines, event.as_bytes());
        }
        let path = Segment::new(self.dir.path(), 1).path;
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(&lines).unwrap();
        self.head.send_replace(link.sequence);
    }

    /// The server begins anew: the same log, another head.
    fn restarted(self) -> Self {
        let last = self.link.lock().unwrap().sequence;
        Self { head: watch::Sender::new(last), ..self }
    }

    fn forwarder(&self, destination: impl Destination + 'static) -> Forwarder {
        let entropy = Arc::new(SeededEntropy::new(1));
        Forwarder::new(self.dir.path(), "test", Box::new(destination), self.head.subscribe(), entropy).unwrap()
    }

    fn cursor(&self) -> u64 {
        Cursor::open(self.dir.path(), "test").unwrap().position
    }
}

/// Remembers what came, and fails as often as it is told to.
#[derive(Clone, Default)]
struct Remembering {
    came: Arc<Mutex<Vec<u64>>>,
    failing: Arc<AtomicU64>,
}

#[async_trait]
impl Destination for Remembering {
    async fn deliver(&mut self, lines: &[Vec<u8>]) -> Result<(), DeliveryError> {
        let mut came = self.came.lock().unwrap();
        came.extend(lines.iter().map(|line| Line::parse(line).unwrap().sequence));
        let left = self.failing.load(Ordering::Relaxed);
        if left > 0 {
            self.failing.store(left - 1, Ordering::Relaxed);
            return Err(DeliveryError::Refused("not now".to_owned()));
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_comes_again_and_the_place_is_kept() {
    let log = Growing::new();
    let destination = Remembering::default();
    log.write(3);
    destination.failing.store(2, Ordering::Relaxed);
    let forwarder = log.forwarder(destination.clone());
    let figures = forwarder.figures();
    assert_eq!(figures.behind(), 3);
    let running = tokio::spawn(forwarder.run());
    while figures.delivered() < 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(*destination.came.lock().unwrap(), [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    assert_eq!((figures.failures(), figures.behind(), figures.is_failing()), (2, 0, false));
    log.write(2);
    while figures.delivered() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while log.cursor() < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It fails for ever, and the server ends.
    destination.failing.store(u64::MAX, Ordering::Relaxed);
    log.write(1);
    while !figures.is_failing() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.abort();
    let log = log.restarted();
    assert_eq!(log.cursor(), 5);
    destination.came.lock().unwrap().clear();
    destination.failing.store(0, Ordering::Relaxed);
    log.write(1);
    let forwarder = log.forwarder(destination.clone());
    let figures = forwarder.figures();
    drop(log.head);
    forwarder.run().await;
    assert_eq!(*destination.came.lock().unwrap(), [6, 7], "what was not sent is, and nothing else");
    assert_eq!(figures.skipped(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_logs_limits_removed_is_counted() {
    let log = Growing::new();
    log.write(5);
    let first = Segment::new(log.dir.path(), 1).path;
    let text = fs::read_to_string(&first).unwrap();
    let rest: String = text.split_inclusive('\n').skip(3).collect();
    fs::write(Segment::new(log.dir.path(), 4).path, rest).unwrap();
    fs::remove_file(first).unwrap();
    let destination = Remembering::default();
    let forwarder = log.forwarder(destination.clone());
    let figures = forwarder.figures();
    drop(log.head);
    forwarder.run().await;
    assert_eq!(*destination.came.lock().unwrap(), [4, 5]);
    assert_eq!((figures.skipped(), figures.delivered()), (3, 2));
}

#[tokio::test]
async fn another_log_in_the_same_place_is_sent_from_its_start() {
    let log = Growing::new();
    Cursor::open(log.dir.path(), "test").unwrap().advance(1000).unwrap();
    log.write(2);
    let destination = Remembering::default();
    let forwarder = log.forwarder(destination.clone());
    drop(log.head);
    forwarder.run().await;
    assert_eq!(*destination.came.lock().unwrap(), [1, 2]);
}

/// The messages in a stream with octet counting.
fn framed(mut stream: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(space) = stream.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&stream[..space]).unwrap().parse().unwrap();
        messages.push(String::from_utf8(stream[space + 1..][..length].to_vec()).unwrap());
        stream = &stream[space + 1 + length..];
    }
    messages
}

fn lines(count: u64) -> Vec<Vec<u8>> {
    let mut link = Link::START;
    let line = |number: u64| {
        let mut line = Vec::new();
        link.append(&mut line, format!(r#"{{"eventName":"E{number}"}}"#).as_bytes());
        line
    };
    (1..=count).map(line).collect()
}

#[tokio::test]
async fn syslog_arrives_by_every_socket() {
    let dir = tempfile::tempdir().unwrap();
    let is_second = |message: &str| {
        assert!(
            message.starts_with("<110>1 - h strongroom ") && message.contains(" E2 [meta sequenceId=\"2\"] {"),
            "{message}"
        );
    };
    let mut buffer = vec![0; 65536];

    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Udp(udp.local_addr().unwrap().to_string());
    Syslog::new(address, 13, "h").deliver(&lines(2)).await.unwrap();
    udp.recv(&mut buffer).await.unwrap();
    let length = udp.recv(&mut buffer).await.unwrap();
    is_second(std::str::from_utf8(&buffer[..length]).unwrap());

    let path = dir.path().join("datagrams");
    let unix = UnixDatagram::bind(&path).unwrap();
    Syslog::new(Address::Unix(path), 13, "h").deliver(&lines(2)).await.unwrap();
    unix.recv(&mut buffer).await.unwrap();
    let length = unix.recv(&mut buffer).await.unwrap();
    is_second(std::str::from_utf8(&buffer[..length]).unwrap());

    let path = dir.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    Syslog::new(Address::Unix(path), 13, "h").deliver(&lines(2)).await.unwrap();
    let mut stream = Vec::new();
    listener.accept().await.unwrap().0.read_to_end(&mut stream).await.unwrap();
    is_second(&framed(&stream)[1]);

    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut syslog = Syslog::new(Address::Tcp(tcp.local_addr().unwrap().to_string()), 13, "h");
    syslog.deliver(&lines(2)).await.unwrap();
    let (accepted, _) = tcp.accept().await.unwrap();
    drop(accepted);
    // The receiver goes: that is found out, and a new connection is made.
    while syslog.deliver(&lines(1)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    syslog.deliver(&lines(2)).await.unwrap();
    let mut accepted = tcp.accept().await.unwrap().0;
    drop(syslog);
    let mut stream = Vec::new();
    accepted.read_to_end(&mut stream).await.unwrap();
    is_second(&framed(&stream)[1]);
}

#[tokio::test]
async fn a_hook_is_told_of_many_events_at_once_and_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in?token=secret", listener.local_addr().unwrap());
    let authorization = Some(b"Bearer t".to_vec());
    let mut webhook = Webhook::new(WebhookOptions { url, authorization, ca: None }).unwrap();
    let answers = [
        "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Elsewhere\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ];
    let receiver = tokio::spawn(async move {
        let mut requests = Vec::new();
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let mut request = String::new();
            while !request.ends_with("]}") {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
            requests.push(request);
        }
        requests
    });
    let wait = webhook.deliver(&lines(2)).await.unwrap_err();
    assert!(matches!(wait, DeliveryError::Later(wait) if wait == Duration::from_secs(7)), "{wait}");
    let refused = webhook.deliver(&lines(2)).await.unwrap_err().to_string();
    assert!(refused.contains("302"), "{refused}");
    webhook.deliver(&lines(2)).await.unwrap();
    let request = &receiver.await.unwrap()[2].to_ascii_lowercase();
    assert!(request.starts_with("post /in?token=secret http/1.1"), "{request}");
    for header in ["content-type: application/json", "authorization: bearer t", "x-strongroom-sequence: 1-2"] {
        assert!(request.contains(header), "{header} is not in {request}");
    }
    assert!(request.ends_with(r#"{"records":[{"eventname":"e1"},{"eventname":"e2"}]}"#), "{request}");
    let gone = webhook.deliver(&lines(1)).await.unwrap_err().to_string();
    assert!(!gone.contains("secret"), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_has_stopped_reading_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut syslog = Syslog::new(Address::Tcp(listener.local_addr().unwrap().to_string()), 13, "host");
    // More than what the kernel keeps for the two ends.
    let line = vec![b'x'; 64 << 20];
    let error = syslog.deliver(&[line]).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut), "{error}");
}
