//! The sockets: accept loops, one task per connection, and draining.
//!
//! Accepting never waits for a client: the TLS handshake happens in the connection's own task, under a time limit. When
//! told to stop, the listeners close, idle connections close, and those with a request finish it, within a time limit.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt as _;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::activity::{Activity, Overdue, Patience};
use super::edge::{Edge, Origin};
use super::socket::Socket;
use super::spelling::spell;
use super::tls::{self, Tls, TlsStream};
use crate::config::Limits;
use crate::telemetry::metrics::{OutcomeLabel, TransportLabel};
use crate::wire::TlsInfo;

/// Bytes of request bodies that HTTP/2 peers may send ahead of their reader: per stream, and per connection.
const WINDOWS: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);
/// The largest HTTP/2 frame received, and the most that is buffered of a stream's response, in bytes.
const FRAME: u32 = 64 * 1024;
const SEND_BUFFER: usize = 256 * 1024;
/// The most that is buffered of an HTTP/1.1 connection, each way, in bytes.
const BUFFER: usize = 256 * 1024;
/// Most headers of an HTTP/1.1 request: more than the shortest entries of user metadata that fit into 8 KiB, the most that S3
/// takes of headers. While a head is parsed, hyper has two arrays of so many places, of 32 bytes each, on the heap, and writes
/// to all of them: a twentieth of what a GET of 4 KiB costs (benches/README.md). HTTP/2 has no such bound, for there each header
/// counts 32 bytes more.
const MAX_HEADERS: usize = 1024;
/// How long connections that outlived the drain have to notice.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Where to listen.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For HTTPS.
    pub https: SocketAddr,
    /// For plain HTTP, if at all.
    pub http: Option<SocketAddr>,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Drained {
    /// Every request was finished.
    Clean,
    /// The time was up with requests unfinished; they were cut off.
    Cut,
}

/// A server that listens.
pub struct Server {
    https: TcpListener,
    http: Option<TcpListener>,
    tls: Arc<Tls>,
    edge: Arc<Edge>,
    limits: Limits,
}

/// What a connection holds while it, or a handler of its requests, is at work.
pub(super) struct ConnectionSlot {
    _slot: OwnedSemaphorePermit,
    _waited_for: watch::Receiver<Phase>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Serving,
    Draining,
    Over,
}

impl Server {
    /// Listens on `addresses`; nothing is accepted yet.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(addresses: Addresses, tls: Arc<Tls>, edge: Arc<Edge>, limits: Limits) -> Result<Self, BindError> {
        let https = listen(addresses.https).await?;
        let http = match addresses.http {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        Ok(Self { https, http, tls, edge, limits })
    }

    /// The addresses listened on: with the real port where port 0 was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> io::Result<Addresses> {
        let http = self.http.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(Addresses { https: self.https.local_addr()?, http })
    }

    /// Serves until `stop` resolves, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Drained {
        let (phase, watching) = watch::channel(Phase::Serving);
        let connections = usize::try_from(self.limits.connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            edge: Arc::clone(&self.edge),
            slots: Arc::new(Semaphore::new(connections)),
            most: connections,
            patience: Patience::new(&self.limits),
            limits: self.limits.clone(),
        });
        tokio::spawn(Arc::clone(&shared).accept(self.https, Some(self.tls), watching.clone()));
        if let Some(http) = self.http {
            tokio::spawn(Arc::clone(&shared).accept(http, None, watching.clone()));
        }
        drop(watching);
        self.edge.readiness().set(true);
        stop.await;
        self.edge.readiness().set(false);
        // Every accept loop and connection holds receivers for as long as it lives.
        info!(connections = shared.connections(), "draining");
        phase.send_replace(Phase::Draining);
        let limit = Duration::from_secs(self.limits.drain_seconds.into());
        if timeout(limit, phase.closed()).await.is_ok() {
            return Drained::Clean;
        }
        warn!(connections = shared.connections(), "requests were cut off");
        phase.send_replace(Phase::Over);
        let _ = timeout(LAST_MOMENT, phase.closed()).await;
        Drained::Cut
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Resolves when the server is to stop.
async fn stopping(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// What all connections share.
struct Shared {
    edge: Arc<Edge>,
    /// For the connections that may be open at once.
    slots: Arc<Semaphore>,
    most: usize,
    patience: Patience,
    limits: Limits,
}

impl Shared {
    /// Connections that are open, and such as have handlers at work.
    fn connections(&self) -> usize {
        self.most.saturating_sub(self.slots.available_permits())
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, tls: Option<Arc<Tls>>, mut phase: watch::Receiver<Phase>) {
        loop {
            let accepted = async {
                // In this order: a slot taken beforehand would be kept from the other listener.
                let (stream, peer) = listener.accept().await?;
                let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((slot, stream, peer))
            };
            let accepted = tokio::select! {
                () = stopping(&mut phase) => return,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((slot, stream, peer)) => {
                    tokio::spawn(Arc::clone(&self).connection(stream, peer, tls.clone(), phase.clone(), slot));
                }
                // Out of file descriptors, most likely: others must close first.
                Err(error) => {
                    warn!(%error, "cannot accept connections");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<Tls>>,
        mut phase: watch::Receiver<Phase>,
        slot: OwnedSemaphorePermit,
    ) {
        let transport = TransportLabel { transport: if tls.is_some() { "https" } else { "http" } };
        self.edge.metrics().accepted.get_or_create(&transport).inc();
        let open = self.edge.metrics().connections.get_or_create_owned(&transport);
        open.inc();
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        match tls {
            None => self.serve(stream, peer, None, false, phase, slot).await,
            Some(tls) => {
                let handshake = self.handshake(&tls, stream, peer);
                let done = tokio::select! {
                    () = stopping(&mut phase) => None,
                    done = handshake => done,
                };
                if let Some(stream) = done {
                    let connection = stream.connection();
                    let multiplexed = connection.alpn_protocol() == Some(tls::H2);
                    let info = tls::info(connection);
                    self.serve(stream, peer, info, multiplexed, phase, slot).await;
                }
            }
        }
        open.dec();
    }

    async fn handshake(&self, tls: &Tls, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let limit = Duration::from_secs(self.limits.handshake_seconds.into());
        let (outcome, stream) = match timeout(limit, tls.accept(stream)).await {
            Ok(Ok(stream)) => ("ok", Some(stream)),
            Ok(Err(error)) => {
                debug!(%peer, %error, "the TLS handshake failed");
                ("failed", None)
            }
            Err(_) => ("timeout", None),
        };
        self.edge.metrics().handshakes.get_or_create(&OutcomeLabel { outcome }).inc();
        stream
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        peer: SocketAddr,
        tls: Option<TlsInfo>,
        multiplexed: bool,
        phase: watch::Receiver<Phase>,
        slot: OwnedSemaphorePermit,
    ) {
        let handlers = usize::try_from(self.limits.streams.max(1)).unwrap_or(Semaphore::MAX_PERMITS);
        let activity = Arc::new(Activity::new(multiplexed));
        let io = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
        let origin = Arc::new(Origin {
            peer,
            tls,
            activity: Arc::clone(&activity),
            stall: self.patience.stall,
            handlers: Arc::new(Semaphore::new(handlers)),
            _place: ConnectionSlot { _slot: slot, _waited_for: phase.clone() },
        });
        let edge = Arc::clone(&self.edge);
        let answer = move |request| Arc::clone(&edge).answer(Arc::clone(&origin), request);
        let header_bytes = self.limits.header_bytes;
        if multiplexed {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(self.limits.streams)
                .max_header_list_size(header_bytes)
                .initial_stream_window_size(WINDOWS.0)
                .initial_connection_window_size(WINDOWS.1)
                .max_frame_size(FRAME)
                .max_send_buf_size(SEND_BUFFER)
                .serve_connection(io, service_fn(answer));
            self.attend(connection, &activity, peer, phase).await;
        } else {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                // Activity times the head, and lets a connection idle for longer.
                .header_read_timeout(None)
                .max_header_size(usize::try_from(header_bytes).unwrap_or(usize::MAX))
                .max_headers(MAX_HEADERS)
                .max_buf_size(BUFFER)
                .serve_connection(io, service_fn(move |request| answer(request).map_ok(spell)));
            self.attend(connection, &activity, peer, phase).await;
        }
    }

    /// Drives a connection to its end, or to that of our patience.
    async fn attend(
        &self,
        connection: impl Connection,
        activity: &Activity,
        peer: SocketAddr,
        mut phase: watch::Receiver<Phase>,
    ) {
        let mut connection = pin!(connection);
        let mut ticks = interval(self.patience.tick());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut farewell = false;
        phase.mark_changed();
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    match ended {
                        // hyper has answered it, so that no request's record tells of it.
                        Err(error) if error.is_parse() => {
                            info!(target: "strongroom::access", %peer, %error, "no request could be read");
                        }
                        Err(error) => debug!(%peer, %error, "a connection failed"),
                        Ok(()) => {}
                    }
                    return;
                }
                changed = phase.changed() => match changed.map(|()| *phase.borrow_and_update()) {
                    Ok(Phase::Serving) => {}
                    Ok(Phase::Draining) => connection.as_mut().finish(),
                    Ok(Phase::Over) | Err(_) => return,
                },
                _ = ticks.tick() => match activity.overdue(&self.patience) {
                    None => farewell = false,
                    Some(Overdue::Idle) if !farewell => {
                        connection.as_mut().finish();
                        farewell = true;
                    }
                    Some(overdue) => {
                        debug!(%peer, ?overdue, "a connection took too long");
                        return;
                    }
                },
            }
        }
    }
}

/// A connection of either HTTP version.
trait Connection: Future<Output = hyper::Result<()>> {
    /// No further requests: finish those that are open, then close.
    fn finish(self: Pin<&mut Self>);
}

impl<S, B, T> Connection for http1::Connection<T, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B, T, E> Connection for http2::Connection<T, S, E>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
