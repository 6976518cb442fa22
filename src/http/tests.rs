//! The front end over real sockets, in front of a protocol that does what its paths say.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Addresses, Drained, Edge, Material, Protocols, Server, Tls, TrustedProxies};
use crate::audit::Audit;
use crate::clock::SystemClock;
use crate::config::Limits;
use crate::crypto::SystemEntropy;
use crate::telemetry::Metrics;
use crate::wire::{Answered, BoxError, Protocol, RequestBody, RequestContext, ResponseBody};

/// Longer than anything here takes, were the machine ever so slow.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Paths {
    /// Handlers of `/slow` that have come to their end.
    finished: Arc<AtomicUsize>,
}

#[async_trait]
impl Protocol for Paths {
    async fn call(&self, cx: &RequestContext, request: Request<RequestBody>) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::empty());
        match request.uri().path() {
            "/echo" => match request.into_body().collect().await {
                Ok(body) => *response.body_mut() = body.to_bytes().into(),
                Err(error) => {
                    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
                    *response.status_mut() = StatusCode::BAD_REQUEST;
                    *response.body_mut() = format!("{kind:?}").into();
                }
            },
            "/refuse" => {
                *response.status_mut() = StatusCode::FORBIDDEN;
                *response.body_mut() = "refused".into();
            }
            "/slow" => {
                sleep(Duration::from_millis(700)).await;
                self.finished.fetch_add(1, Ordering::SeqCst);
                *response.body_mut() = "slow but sure".into();
            }
            "/204" => {
                *response.status_mut() = StatusCode::NO_CONTENT;
                *response.body_mut() = "not to be sent".into();
            }
            "/304" => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = "not to be sent".into();
            }
            "/endless" => {
                let chunk = || Ok::<_, BoxError>(Bytes::from_static(&[7; 16 * 1024]));
                *response.body_mut() = ResponseBody::Chunked(Box::pin(stream::repeat_with(chunk)));
            }
            "/short" => {
                let half = stream::iter([Ok::<_, BoxError>(Bytes::from_static(b"half"))]);
                let end = stream::once(async {
                    sleep(Duration::from_millis(100)).await;
                    Err("the disk failed".into())
                });
                *response.body_mut() = ResponseBody::Stream { remaining: 8, stream: Box::pin(half.chain(end)) };
            }
            "/named" => {
                response.headers_mut().insert(http::header::ETAG, http::HeaderValue::from_static("\"e\""));
                response.headers_mut().insert("x-amz-meta-n", http::HeaderValue::from_static("v"));
            }
            "/panic" => panic!("as asked"),
            "/tls" => *response.body_mut() = format!("{:?}", cx.tls).into(),
            _ => *response.body_mut() = "hello".into(),
        }
        response.extensions_mut().insert(Answered { protocol: "s3", operation: "Test", ..Answered::default() });
        response
    }
}

struct Running {
    https: SocketAddr,
    http: SocketAddr,
    certificate: rcgen::Certificate,
    metrics: Arc<Metrics>,
    finished: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

async fn start(limits: Limits) -> Running {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = Tls::new(Material { chain: vec![made.cert.der().clone()], key }, limits.streams > 0).unwrap();
    let paths = Paths::default();
    let finished = Arc::clone(&paths.finished);
    let protocol: Arc<dyn Protocol> = Arc::new(paths);
    let metrics = Arc::new(Metrics::default());
    let protocols = Protocols {
        s3: Arc::clone(&protocol),
        kms: Arc::clone(&protocol),
        cloudtrail: Arc::clone(&protocol),
        query: Arc::clone(&protocol),
        admin: protocol,
    };
    let edge = Edge::new(
        protocols,
        TrustedProxies::default(),
        Arc::new(Audit::off()),
        Arc::clone(&metrics),
        Arc::new(SystemClock),
        Arc::new(SystemEntropy::new()),
    );
    let any = "127.0.0.1:0".parse().unwrap();
    let addresses = Addresses { https: any, http: Some(any) };
    let server = Server::bind(addresses, Arc::new(tls), Arc::new(edge), limits).await.unwrap();
    let addresses = server.addresses().unwrap();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running {
        https: addresses.https,
        http: addresses.http.unwrap(),
        certificate: made.cert,
        metrics,
        finished,
        stop,
        ended,
    }
}

impl Running {
    async fn tls(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = super::tls::provider();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.https).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    /// Runs curl against the HTTPS endpoint; its standard output, with the response's head.
    async fn curl(&self, arguments: &[&str], path: &str) -> String {
        let output = self.try_curl(arguments, path).await;
        assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same; it may fail.
    async fn try_curl(&self, arguments: &[&str], path: &str) -> Output {
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), self.certificate.pem()).unwrap();
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--max-time", "20", "--cacert"]).arg(ca.path());
        command.args(arguments).arg(format!("https://localhost:{}{path}", self.https.port()));
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }
}

/// Sends a request as it stands.
async fn send(stream: &mut (impl AsyncWrite + Unpin), request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads one response: its head, and as much body as its length says.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    loop {
        let mut byte = [0];
        if timeout(PATIENCE, stream.read(&mut byte)).await.unwrap().unwrap() == 0 {
            break;
        }
        text.push(byte[0]);
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(text).unwrap();
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.unwrap().unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn header<'t>(response: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = response.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": "));
    lines.find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// How long until the server closes `stream`.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server must close");
    start.elapsed()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

fn limits() -> Limits {
    Limits { idle_seconds: 60, header_seconds: 60, stall_seconds: 60, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_http_versions_answer_with_the_common_headers() {
    let server = start(limits()).await;
    for (version, status) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
        let response = server.curl(&[version, "--data-binary", "ping"], "/echo").await;
        assert!(response.starts_with(status), "{response}");
        assert!(response.ends_with("ping"), "{response}");
        assert_eq!(header(&response, "server"), Some("Strongroom"));
        assert_eq!(header(&response, "x-amz-request-id").unwrap().len(), 16);
        assert_eq!(header(&response, "x-amz-id-2").unwrap().len(), 76);
        assert!(header(&response, "date").unwrap().ends_with(" GMT"));
    }
    let tls = server.curl(&["--tls-max", "1.2"], "/tls").await;
    assert!(tls.contains("TLSv1.2") && tls.contains("TLS_ECDHE_ECDSA_WITH_AES_"), "{tls}");
    assert!(server.curl(&[], "/tls").await.contains("\"TLS_AES_128_GCM_SHA256\""));
    let mut plain = server.plain().await;
    send(&mut plain, &get("/tls")).await;
    assert!(receive(&mut plain).await.ends_with("None"));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_spells_names_as_aws_does() {
    let server = start(limits()).await;
    let mut plain = server.plain().await;
    for path in ["/named", "/", "/endless"] {
        send(&mut plain, &get(path)).await;
        let mut head = vec![0; 1024];
        let read = timeout(PATIENCE, plain.read(&mut head)).await.unwrap().unwrap();
        let head = String::from_utf8_lossy(&head[..read]);
        let head = head.split("\r\n\r\n").next().unwrap();
        let mut names: Vec<_> = head.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
        names.sort_unstable();
        let wanted: &[_] = match path {
            "/named" => &["Content-Length", "Date", "ETag", "Server", "x-amz-id-2", "x-amz-meta-n", "x-amz-request-id"],
            "/" => &["Content-Length", "Date", "Server", "x-amz-id-2", "x-amz-request-id"],
            _ => &["Date", "Server", "Transfer-Encoding", "x-amz-id-2", "x-amz-request-id"],
        };
        assert_eq!(names, wanted, "{path}");
    }
    assert!(server.curl(&["--http2"], "/named").await.contains("\netag: \"e\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_streams_http_2_is_not_offered() {
    let server = start(Limits { streams: 0, ..limits() }).await;
    let response = server.curl(&["--http2"], "/named").await;
    assert!(response.starts_with("HTTP/1.1 200") && response.contains("\nETag: \"e\""), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_under_a_name_no_bucket_can_have() {
    let server = start(limits()).await;
    assert!(server.curl(&[], "/_/health/live").await.starts_with("HTTP/2 200"));
    assert!(server.curl(&[], "/_/health/ready").await.starts_with("HTTP/2 200"));
    assert!(server.curl(&[], "/_/elsewhere").await.starts_with("HTTP/2 404"));
    assert!(server.curl(&["-X", "PUT"], "/_").await.starts_with("HTTP/2 404"));
    server.curl(&["--data-binary", "12345"], "/echo").await;
    let metrics = server.curl(&[], "/_/metrics").await;
    assert!(header(&metrics, "content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in [
        "strongroom_requests_total{protocol=\"s3\",operation=\"Test\",status=\"2xx\"} 1",
        "strongroom_received_bytes_total{protocol=\"s3\",operation=\"Test\"} 5",
        "strongroom_sent_bytes_total{protocol=\"s3\",operation=\"Test\"} 5",
        "strongroom_requests_total{protocol=\"internal\",operation=\"Health\",status=\"2xx\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handshake_blocks_nobody_and_is_cut_off() {
    let server = start(Limits { handshake_seconds: 1, ..limits() }).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.https).await.unwrap());
    }
    let mut prompt = timeout(Duration::from_millis(900), server.tls()).await.expect("others must not wait");
    send(&mut prompt, &get("/")).await;
    assert!(receive(&mut prompt).await.ends_with("hello"));
    assert!(closed(&mut silent[0]).await < Duration::from_secs(5));
    assert!(server.metrics.encode().contains("strongroom_tls_handshakes_total{outcome=\"timeout\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_in_size_and_time() {
    let server = start(Limits { header_bytes: 16 * 1024, header_seconds: 1, ..limits() }).await;
    let mut large = server.plain().await;
    send(&mut large, &format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n", "x".repeat(17 * 1024))).await;
    assert!(receive(&mut large).await.starts_with("HTTP/1.1 431"));
    let mut fitting = server.plain().await;
    send(&mut fitting, &format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n", "x".repeat(15 * 1024)))
        .await;
    assert!(receive(&mut fitting).await.starts_with("HTTP/1.1 200"));
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<Vec<_>>().concat();
    let mut numerous = server.plain().await;
    send(&mut numerous, &format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", many(900))).await;
    assert!(receive(&mut numerous).await.starts_with("HTTP/1.1 200"));
    let mut too_many = server.plain().await;
    send(&mut too_many, &format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", many(1100))).await;
    assert!(receive(&mut too_many).await.starts_with("HTTP/1.1 431"));
    let mut slow = server.plain().await;
    send(&mut slow, "GET / HTTP/1.1\r\nhost: loc").await;
    let took = closed(&mut slow).await;
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let server = start(Limits { idle_seconds: 1, header_seconds: 1, stall_seconds: 1, ..limits() }).await;
    let mut connection = server.tls().await;
    for _ in 0..3 {
        sleep(Duration::from_millis(500)).await;
        send(&mut connection, &get("/slow")).await;
        assert!(receive(&mut connection).await.ends_with("slow but sure"));
    }
    assert!(closed(&mut connection).await >= Duration::from_millis(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_is_sent_only_when_a_handler_wants_the_body() {
    let server = start(limits()).await;
    let request = |path: &str| {
        format!("PUT {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
    };
    let mut refused = server.tls().await;
    send(&mut refused, &request("/refuse")).await;
    let response = receive(&mut refused).await;
    assert!(response.starts_with("HTTP/1.1 403") && response.ends_with("refused"), "{response}");

    let mut wanted = server.tls().await;
    send(&mut wanted, &request("/echo")).await;
    assert!(receive(&mut wanted).await.starts_with("HTTP/1.1 100"));
    send(&mut wanted, "body").await;
    let response = receive(&mut wanted).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("body"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_hears_why() {
    let server = start(limits()).await;
    for _ in 0..5 {
        let mut upload = server.plain().await;
        let length = 8 * 1024 * 1024;
        send(&mut upload, &format!("PUT /refuse HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"))
            .await;
        let (mut reader, mut writer) = upload.into_split();
        let writing = tokio::spawn(async move { writer.write_all(&vec![0; length]).await });
        writing.await.unwrap().expect("the server must not reset the connection while we send");
        let response = receive(&mut reader).await;
        assert!(response.starts_with("HTTP/1.1 403") && response.ends_with("refused"), "{response}");
    }
    for size in [10, 2_000_000] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'x'; size]).unwrap();
        let response = server.curl(&["--http2", "-T", file.path().to_str().unwrap()], "/refuse").await;
        assert!(response.starts_with("HTTP/2 403") && response.ends_with("refused"), "{response}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_answered_and_harms_nobody() {
    let server = start(limits()).await;
    let mut connection = server.tls().await;
    send(&mut connection, &get("/panic")).await;
    let response = receive(&mut connection).await;
    assert!(response.starts_with("HTTP/1.1 500"), "{response}");
    let id = header(&response, "x-amz-request-id").unwrap();
    assert!(response.contains("<Code>InternalError</Code>") && response.contains(&format!("<RequestId>{id}<")));
    send(&mut connection, &get("/")).await;
    assert!(receive(&mut connection).await.ends_with("hello"));
    assert!(server.metrics.encode().contains("strongroom_panics_total 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn some_responses_have_no_body_whatever_the_handler_says() {
    let server = start(limits()).await;
    let mut connection = server.plain().await;
    for path in ["/204", "/304"] {
        send(&mut connection, &get(path)).await;
        let response = receive(&mut connection).await;
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
    send(&mut connection, "HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut head = vec![0; 4096];
    let read = connection.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]);
    assert_eq!(header(&head, "content-length"), Some("5"));
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    for path in ["/204", "/304"] {
        assert!(server.curl(&["--http2"], path).await.ends_with("\r\n\r\n"));
    }
    assert!(server.curl(&["--http2", "--head"], "/").await.contains("content-length: 5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_whole_cuts_the_connection() {
    let server = start(limits()).await;
    let mut connection = server.plain().await;
    send(&mut connection, &get("/short")).await;
    let mut response = Vec::new();
    timeout(PATIENCE, connection.read_to_end(&mut response)).await.unwrap().unwrap();
    let response = String::from_utf8(response).unwrap();
    assert_eq!(header(&response, "content-length"), Some("8"));
    assert!(response.ends_with("half"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_are_let_go() {
    let server = start(Limits { stall_seconds: 1, ..limits() }).await;
    let mut deaf = server.tls().await;
    send(&mut deaf, &get("/endless")).await;
    let mut mute = server.tls().await;
    send(&mut mute, "PUT /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nab").await;
    let response = receive(&mut mute).await;
    assert!(response.starts_with("HTTP/1.1 400") && response.ends_with("Some(TimedOut)"), "{response}");
    let start = Instant::now();
    while server.metrics.in_flight.get() > 0 {
        assert!(start.elapsed() < PATIENCE, "the deaf client's response must be given up");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(server.metrics.encode().contains("status=\"aborted\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_told_from_one_that_stalls() {
    let server = start(limits()).await;
    let mut leaving = server.plain().await;
    send(&mut leaving, "PUT /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nab").await;
    leaving.shutdown().await.unwrap();
    let start = Instant::now();
    while server.metrics.in_flight.get() > 0 || !server.metrics.encode().contains("strongroom_requests_total{") {
        assert!(start.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait() {
    let server = start(Limits { connections: 1, ..limits() }).await;
    let mut first = server.plain().await;
    send(&mut first, &get("/")).await;
    receive(&mut first).await;
    let mut second = server.plain().await;
    send(&mut second, &get("/")).await;
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(300), second.read(&mut byte)).await.is_err(), "the limit is one connection");
    drop(first);
    assert!(receive(&mut second).await.ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_was_begun_and_nothing_else() {
    let server = start(limits()).await;
    let mut idle = server.tls().await;
    send(&mut idle, &get("/")).await;
    receive(&mut idle).await;
    let mut busy = server.tls().await;
    send(&mut busy, &get("/slow")).await;
    sleep(Duration::from_millis(200)).await;
    server.stop.send(()).unwrap();
    assert!(closed(&mut idle).await < Duration::from_millis(450), "an idle connection is not waited for");
    assert!(TcpStream::connect(server.https).await.is_err(), "the listener is closed");
    let response = receive(&mut busy).await;
    assert!(response.ends_with("slow but sure"), "{response}");
    assert_eq!(timeout(PATIENCE, server.ended).await.unwrap().unwrap(), Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished_though_the_client_has_gone() {
    let server = start(Limits { connections: 1, ..limits() }).await;
    let mut gone = server.plain().await;
    send(&mut gone, &get("/slow")).await;
    sleep(Duration::from_millis(200)).await;
    drop(gone);
    // The handler keeps its connection's place, so that nobody has more at work than connections.
    let mut next = server.plain().await;
    send(&mut next, &get("/")).await;
    assert!(receive(&mut next).await.ends_with("hello"));
    assert_eq!(server.finished.load(Ordering::SeqCst), 1);
    assert!(server.metrics.encode().contains("status=\"aborted\"} 1"));
    drop(next);
    // By HTTP/2, whose client resets the stream or closes the connection.
    let output = server.try_curl(&["--http2", "--max-time", "0.4"], "/slow").await;
    assert_eq!(output.status.code(), Some(28), "it has not waited for the answer");
    server.stop.send(()).unwrap();
    assert_eq!(timeout(PATIENCE, server.ended).await.unwrap().unwrap(), Drained::Clean);
    assert_eq!(server.finished.load(Ordering::SeqCst), 2, "draining waits for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_ends_when_draining_begins() {
    let server = start(limits()).await;
    let mut busy = server.plain().await;
    // A head that is not complete: the connection has no request yet when the drain begins, and one right after.
    send(&mut busy, "GET /_/health/ready HTTP/1.1\r\n").await;
    sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    sleep(Duration::from_millis(100)).await;
    send(&mut busy, "host: localhost\r\n\r\n").await;
    let response = receive(&mut busy).await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    assert_eq!(timeout(PATIENCE, server.ended).await.unwrap().unwrap(), Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_even_if_a_client_does_not() {
    let server = start(Limits { drain_seconds: 1, ..limits() }).await;
    let mut deaf = server.tls().await;
    send(&mut deaf, &get("/endless")).await;
    sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    assert_eq!(timeout(PATIENCE, server.ended).await.unwrap().unwrap(), Drained::Cut);
}
