//! A TLS connection's bytes, by rustls's unbuffered interface.
//!
//! rustls's own buffers take 4 KiB from the socket at a time, and give each record a buffer that grows, is cleared and shrinks
//! again: most of what receiving costs. Here both directions have one buffer of [`BUFFER`] bytes, lent by a pool while there is
//! something in it, so that idle connections hold none.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a buffer: four of the longest records, and what a handshake may need at once.
const BUFFER: usize = 72 * 1024;
/// Plaintext bytes sealed at once: as many whole records as a buffer holds.
const SEALED_AT_ONCE: usize = 4 * RECORD;
/// The most plaintext of a record (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;
/// Buffers kept for reuse: a fresh one has to be cleared.
const POOLED: usize = 64;

/// The server's side of a TLS connection over `S`.
pub struct TlsStream<S> {
    socket: S,
    connection: UnbufferedServerConnection,
    incoming: Buffer,
    outgoing: Buffer,
    /// Plaintext that came and has not been taken.
    plaintext: Plaintext,
    /// What the peer may still say.
    peer: Peer,
    /// Whether our own goodbye is said.
    said_goodbye: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Speaking,
    /// It said that no more comes.
    Finished,
}

/// What is to be done before a connection can go on.
enum Next {
    /// All that came has been looked at: more must come from the peer.
    Receive,
    /// Plaintext has come.
    Taken,
    /// The peer has closed.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands on `socket`.
    ///
    /// # Errors
    /// What the socket or TLS says; the peer has been told the latter.
    pub async fn accept(socket: S, config: Arc<ServerConfig>, pool: Arc<BufferPool>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = Self {
            socket,
            connection,
            incoming: Buffer::new(Arc::clone(&pool)),
            outgoing: Buffer::new(pool),
            plaintext: Plaintext::default(),
            peer: Peer::Speaking,
            said_goodbye: false,
        };
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    /// What the handshake agreed on.
    pub fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }

    /// Bytes of buffers that the connection holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.incoming.memory.len() + self.outgoing.memory.len() + self.plaintext.bytes.capacity()
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.is_handshaking() {
            match self.advance(None) {
                Ok(Next::Taken) => {}
                Ok(Next::Closed) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(Next::Receive) => {
                    ready!(self.poll_send(cx))?;
                    if ready!(self.poll_receive(cx))? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                Err(error) => {
                    // The alert that says what is wrong; whether it arrives is the peer's affair.
                    let _ = self.poll_send(cx);
                    return Poll::Ready(Err(error));
                }
            }
        }
        match self.poll_send(cx) {
            // Tickets that the socket does not take now go with the first data: the client may speak before it reads them.
            Poll::Pending if self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) => {
                Poll::Ready(Ok(()))
            }
            sent => sent,
        }
    }

    /// Looks at what has come, until plaintext has, or no more can be done with it. Plaintext goes to `into`; what has no room
    /// there waits.
    fn advance(&mut self, mut into: Option<&mut ReadBuf<'_>>) -> io::Result<Next> {
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(self.incoming.filled_mut());
            let next = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        self.plaintext.pass(record.map_err(invalid)?.payload, into.as_deref_mut());
                    }
                    Some(Next::Taken)
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    match data.encode(self.outgoing.room(0)) {
                        Ok(written) => self.outgoing.fill(written),
                        Err(EncodeError::InsufficientSize(needed)) => {
                            let written = data.encode(self.outgoing.room(needed.required_size)).map_err(invalid)?;
                            self.outgoing.fill(written);
                        }
                        Err(error @ EncodeError::AlreadyEncoded) => return Err(invalid(error)),
                    }
                    None
                }
                // It is in the outgoing buffer, which keeps the order.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Some(Next::Receive),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.peer = Peer::Finished;
                    Some(Next::Closed)
                }
                // Early data is not offered.
                Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
                Err(error) => {
                    self.incoming.discard(discard);
                    self.encode_alert();
                    return Err(invalid(error));
                }
            };
            self.incoming.discard(discard);
            if let Some(next) = next {
                return Ok(next);
            }
        }
    }

    /// After an error: what rustls has to tell the peer of it.
    fn encode_alert(&mut self) {
        while let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), .. } =
            self.connection.process_tls_records(&mut [])
        {
            match data.encode(self.outgoing.room(RECORD)) {
                Ok(written) => self.outgoing.fill(written),
                Err(_) => return,
            }
        }
    }

    /// Sends the outgoing buffer.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, self.outgoing.filled()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.discard(sent);
        }
        self.outgoing.rest();
        Poll::Ready(Ok(()))
    }

    /// Fills the incoming buffer; 0: the socket has ended.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.incoming.filled().len() >= BUFFER {
            // Neither a record nor a message of a handshake may be as long as that.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let mut into = ReadBuf::new(self.incoming.room(1));
        let received = Pin::new(&mut self.socket).poll_read(cx, &mut into);
        let length = into.filled().len();
        self.incoming.fill(length);
        received.map_ok(|()| length)
    }

    /// Seals plaintext into the outgoing buffer.
    fn seal(&mut self, plaintext: &[u8]) -> io::Result<()> {
        loop {
            // What came stays for the reader: with nothing to look at, the connection can only be ready to send.
            match self.connection.process_tls_records(&mut []).state.map_err(invalid)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let sealed = match traffic.encrypt(plaintext, self.outgoing.room(0)) {
                        Err(EncryptError::InsufficientSize(needed)) => {
                            traffic.encrypt(plaintext, self.outgoing.room(needed.required_size))
                        }
                        sealed => sealed,
                    };
                    self.outgoing.fill(sealed.map_err(invalid)?);
                    return Ok(());
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let written = data.encode(self.outgoing.room(RECORD)).map_err(invalid)?;
                    self.outgoing.fill(written);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.peer = Peer::Finished,
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        self.plaintext.pass(record.map_err(invalid)?.payload, None);
                    }
                }
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    fn say_goodbye(&mut self) {
        if std::mem::replace(&mut self.said_goodbye, true) {
            return;
        }
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = self.connection.process_tls_records(&mut []).state
            && let Ok(written) = traffic.queue_close_notify(self.outgoing.room(RECORD))
        {
            self.outgoing.fill(written);
        }
    }
}

fn invalid<E: std::error::Error + Send + Sync + 'static>(error: E) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        this.plaintext.give(into);
        while into.remaining() > 0 && this.peer == Peer::Speaking {
            match this.advance(Some(into)) {
                Ok(Next::Taken | Next::Closed) => {}
                Ok(Next::Receive) if into.filled().len() > before => break,
                Ok(Next::Receive) => {
                    // Answers to the peer's own messages, such as a change of keys, wait for nobody.
                    if let Poll::Ready(Err(error)) = this.poll_send(cx) {
                        return Poll::Ready(Err(error));
                    }
                    let Poll::Ready(received) = this.poll_receive(cx) else {
                        this.incoming.rest();
                        return Poll::Pending;
                    };
                    if received? == 0 {
                        // Without a goodbye, somebody else may have cut it short.
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                Err(error) => {
                    let _ = this.poll_send(cx);
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        // A head and the short body behind it are one record.
        let mut record = Vec::with_capacity(RECORD);
        let mut taken = 0;
        for slice in slices {
            let slice = &slice[..slice.len().min(SEALED_AT_ONCE - taken)];
            if record.len() + slice.len() > RECORD {
                this.seal(&record)?;
                record.clear();
            }
            if slice.len() > RECORD {
                this.seal(slice)?;
            } else {
                record.extend_from_slice(slice);
            }
            taken += slice.len();
        }
        this.seal(&record)?;
        // What the socket does not take now goes with the next write or flush.
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        this.say_goodbye();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// Plaintext that had no room in its reader's buffer when it came.
#[derive(Default)]
struct Plaintext {
    bytes: Vec<u8>,
    taken: usize,
}

impl Plaintext {
    /// Passes `bytes` on to `into`, behind what waits.
    fn pass(&mut self, mut bytes: &[u8], into: Option<&mut ReadBuf<'_>>) {
        if let Some(into) = into.filter(|_| self.bytes.is_empty()) {
            let (now, later) = bytes.split_at(bytes.len().min(into.remaining()));
            into.put_slice(now);
            bytes = later;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Hands out what waits.
    fn give(&mut self, into: &mut ReadBuf<'_>) {
        let rest = &self.bytes[self.taken..];
        let now = rest.len().min(into.remaining());
        into.put_slice(&rest[..now]);
        self.taken += now;
        if self.taken == self.bytes.len() {
            // Nothing is kept for a connection that may idle.
            *self = Self::default();
        }
    }
}

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub struct BufferPool(Mutex<Vec<Vec<u8>>>);

/// Bytes on their way. Holds memory of the pool's only while there are any.
struct Buffer {
    pool: Arc<BufferPool>,
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(pool: Arc<BufferPool>) -> Self {
        Self { pool, memory: Vec::new(), start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    /// Room behind the filled bytes: at least `least` bytes, and all that there is.
    fn room(&mut self, least: usize) -> &mut [u8] {
        if self.memory.is_empty() {
            let pooled = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            self.memory = pooled.unwrap_or_else(|| vec![0; BUFFER]);
        }
        if self.start > 0 && self.memory.len() - self.end < least.max(RECORD) {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.memory.len() - self.end < least {
            self.memory.resize(self.end + least, 0);
        }
        &mut self.memory[self.end..]
    }

    fn fill(&mut self, length: usize) {
        self.end += length;
    }

    fn discard(&mut self, length: usize) {
        self.start += length;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives the memory back if nothing is in it: to the pool, or for good if that is full or the memory is of another size.
    fn rest(&mut self) {
        if !self.is_empty() {
            return;
        }
        let memory = std::mem::take(&mut self.memory);
        if memory.len() == BUFFER {
            let mut pool = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.len() < POOLED {
                pool.push(memory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_buffer_holds_nothing_however_full_the_pool_is() {
        let pool = Arc::new(BufferPool::default());
        let mut buffers: Vec<Buffer> = (0..=POOLED).map(|_| Buffer::new(Arc::clone(&pool))).collect();
        buffers.push(Buffer::new(Arc::clone(&pool)));
        let last = buffers.len() - 1;
        for (at, buffer) in buffers.iter_mut().enumerate() {
            buffer.room(if at == last { BUFFER + 1 } else { 1 });
        }
        for buffer in &mut buffers {
            buffer.rest();
            assert_eq!(buffer.memory.capacity(), 0);
        }
        assert_eq!(pool.0.lock().unwrap().len(), POOLED);
    }
}
