//! Syslog messages (RFC 5424) over UDP (RFC 5426), TCP with octet counting (RFC 6587) or a socket of this machine.
//!
//! ```text
//! <PRI>1 EVENT-TIME HOST strongroom PID EVENT-NAME [meta sequenceId="N"] THE LOG'S LINE
//! ```
//!
//! The message is the log's own line, hash and all, so that a receiver can follow the chain. Severity is `warning` of what was
//! refused, `informational` otherwise. UDP has no receipts, and TCP none but the connection's: what the network had taken when
//! a connection broke may be lost.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};

use super::{DeliveryError, Destination};
use crate::audit::chain::Line;

/// Longest message that goes into a datagram.
const DATAGRAM: usize = 60_000;
/// How long a receiver may take to be reached, or to take a message.
const TIMEOUT: Duration = Duration::from_secs(30);
const WARNING: u32 = 4;
const INFORMATIONAL: u32 = 6;
/// The most that `sequenceId` counts to, before it begins anew at 1. (RFC 5424, 7.3.1)
const MOST_SEQUENCE: u64 = 2_147_483_647;

/// Where messages go.
#[derive(Clone, Debug)]
pub enum Address {
    /// Datagrams to `HOST:PORT`.
    Udp(String),
    /// A stream to `HOST:PORT`.
    Tcp(String),
    /// A socket of this machine: datagrams if it takes them, else a stream.
    Unix(PathBuf),
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
}

/// A syslog receiver.
pub struct Syslog {
    address: Address,
    facility: u32,
    host: String,
    connection: Option<Connection>,
}

/// What the header of a message says of its event.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HeaderFields {
    event_time: String,
    event_name: String,
    error_code: Option<String>,
}

impl Syslog {
    /// The receiver at `address`; messages are of `facility` (0 to 23) and from `host`.
    pub fn new(address: Address, facility: u32, host: &str) -> Self {
        Self { address, facility, host: token(host, 255), connection: None }
    }

    async fn connect(&self) -> io::Result<Connection> {
        match &self.address {
            Address::Udp(address) => {
                let peer = lookup_host(address).await?.next();
                let peer = peer.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))?;
                let own = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(own).await?;
                socket.connect(peer).await?;
                Ok(Connection::Udp(socket))
            }
            Address::Tcp(address) => TcpStream::connect(address).await.map(Connection::Tcp),
            Address::Unix(path) => {
                let datagram = UnixDatagram::unbound()?;
                match datagram.connect(path) {
                    Ok(()) => Ok(Connection::UnixDatagram(datagram)),
                    Err(_) => UnixStream::connect(path).await.map(Connection::UnixStream),
                }
            }
        }
    }

    /// The message of a line.
    fn message(&self, line: &[u8]) -> Vec<u8> {
        let line = line.trim_ascii_end();
        let parsed = Line::parse(line);
        let named: HeaderFields = parsed.and_then(|line| serde_json::from_slice(line.event).ok()).unwrap_or_default();
        let severity = if named.error_code.is_some() { WARNING } else { INFORMATIONAL };
        let sequence = parsed.map_or(1, |line| line.sequence.saturating_sub(1) % MOST_SEQUENCE + 1);
        let header = format!(
            "<{}>1 {} {} strongroom {} {} [meta sequenceId=\"{sequence}\"] ",
            self.facility * 8 + severity,
            token(&named.event_time, 32),
            self.host,
            std::process::id(),
            token(&named.event_name, 32),
        );
        [header.as_bytes(), line].concat()
    }
}

#[async_trait]
impl Destination for Syslog {
    async fn deliver(&mut self, lines: &[Vec<u8>]) -> Result<(), DeliveryError> {
        // Taken out: after an error it is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => in_time(self.connect()).await?,
        };
        for line in lines {
            let mut message = self.message(line);
            match &mut connection {
                Connection::Udp(socket) => {
                    message.truncate(DATAGRAM);
                    in_time(socket.send(&message)).await?;
                }
                Connection::UnixDatagram(socket) => {
                    message.truncate(DATAGRAM);
                    in_time(socket.send(&message)).await?;
                }
                Connection::Tcp(stream) => in_time(stream.write_all(&counted(&message))).await?,
                Connection::UnixStream(stream) => in_time(stream.write_all(&counted(&message))).await?,
            }
        }
        match &mut connection {
            Connection::Tcp(stream) => {
                stream.flush().await?;
                is_open(stream)?;
            }
            Connection::UnixStream(stream) => stream.flush().await?,
            Connection::Udp(_) | Connection::UnixDatagram(_) => {}
        }
        self.connection = Some(connection);
        Ok(())
    }
}

/// What `step` comes to, unless the receiver takes too long: one that has stopped reading is one that fails.
async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(TIMEOUT, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether the peer has closed the connection: a receiver says nothing else.
fn is_open(stream: &mut TcpStream) -> io::Result<()> {
    let mut nothing = [0];
    match stream.try_read(&mut nothing) {
        Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// A message behind its length. (RFC 6587, 3.4.1)
fn counted(message: &[u8]) -> Vec<u8> {
    [message.len().to_string().as_bytes(), b" ", message].concat()
}

/// A header's field: printable ASCII without spaces, or `-`. (RFC 5424, 6)
fn token(text: &str, most: usize) -> String {
    let token: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if token.is_empty() { "-".to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Link;

    #[test]
    fn messages_have_the_form_of_rfc_5424() {
        let syslog = Syslog::new(Address::Unix("/x".into()), 13, "a host");
        let mut log = Vec::new();
        let event = br#"{"eventTime":"2026-11-25T00:00:00Z","eventName":"Decrypt","errorCode":"AccessDenied"}"#;
        Link { sequence: 6, hash: [0; 32] }.append(&mut log, event);
        let message = String::from_utf8(syslog.message(&log)).unwrap();
        let head = format!(
            "<108>1 2026-11-25T00:00:00Z ahost strongroom {} Decrypt [meta sequenceId=\"7\"] {{\"sequence\":7,",
            std::process::id()
        );
        assert!(message.starts_with(&head), "{message}");
        assert!(message.ends_with("}}"), "one line: {message}");
        let garbage = String::from_utf8(syslog.message(b"garbage\n")).unwrap();
        assert!(garbage.starts_with("<110>1 - ahost strongroom") && garbage.ends_with("] garbage"), "{garbage}");
        assert_eq!(counted(b"abc"), b"3 abc");
    }
}
