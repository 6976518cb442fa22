//! The log: on standard error, for people or as one JSON object a line.
//!
//! Messages are lower case with fields. No secret goes into either: types that hold one show nothing in `Debug`, and
//! the access log redacts what signs a request in its query (see [`redact_query`]).
//!
//! A thread of its own writes it, all lines that have come meanwhile at once, so that no request waits for whoever reads it.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::json::JsonLines;
use crate::clock::{Clock as _, SystemClock};

/// Lines that may wait to be written; beyond, whoever has something to say waits.
const WAITING: usize = 10_000;
/// How long lines gather before they are written: waking the log's thread for one, and writing it, costs more than the line.
const GATHERING: Duration = Duration::from_millis(2);
/// Bytes that are written at once.
const BUFFER: usize = 64 * 1024;

/// The form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people, in colour on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// [`Format::Human`] if standard error is a terminal.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// The filter could not be read, or a log had been started already.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// See `RUST_LOG` in the documentation of tracing-subscriber.
    #[error("log.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A process has one log.
    #[error("the log was started twice")]
    Started(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// The log that was started. What was said is written when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Log(#[expect(dead_code, reason = "held for what its end does")] WorkerGuard);

/// Starts the log, and sends panics to it.
///
/// # Errors
/// [`LogError`].
pub fn start(filter: &str, format: Format) -> Result<Log, LogError> {
    let filter = EnvFilter::try_new(filter)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(false)
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(Gathering(BufWriter::with_capacity(BUFFER, io::stderr())));
    let builder = tracing_subscriber::fmt().with_timer(Utc).with_writer(writer).with_env_filter(filter);
    match format {
        Format::Human => {
            let builder = builder.with_ansi(io::stderr().is_terminal()).with_target(false);
            tracing::subscriber::set_global_default(builder.finish())?;
        }
        Format::Json => {
            tracing::subscriber::set_global_default(builder.event_format(JsonLines(Utc)).finish())?;
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(place, "panicked: {}", message.unwrap_or("no message"));
    }));
    Ok(Log(guard))
}

/// A writer that lets some time pass when it is flushed, in which more may come. The log's thread writes all lines that are there,
/// then flushes.
struct Gathering<W>(W);

impl<W: Write> Write for Gathering<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        thread::sleep(GATHERING);
        self.0.flush()
    }
}

/// The time of a line, UTC to the microsecond: `2006-02-03T16:45:09.000000Z`.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        line.write_str(&PRINTER.timestamp_to_string(&SystemClock.now()))
    }
}

/// A query string as the log may show it: without the values that sign a request, stand for somebody, or are keys. All
/// others are shown, since clients may put what they like into a query to find it again in S3's access logs.
pub fn redact_query(query: &str) -> String {
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=REDACTED"),
        _ => pair.to_owned(),
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

/// Whether the value of the parameter `name` is not to be shown.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 9] = [
        "signature",
        "token",
        "credential",
        "customer-key",
        "encryption-context",
        "assertion",
        "password",
        "secret",
        "authorization",
    ];
    // Places in a listing.
    const HARMLESS: [&str; 2] = ["continuation-token", "nexttoken"];
    let name = name.to_ascii_lowercase();
    // Whatever its case or its escapes, a signature must not pass for something else.
    name.contains('%') || !HARMLESS.contains(&&*name) && SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signs_a_query_is_not_shown() {
        assert_eq!(
            redact_query("list-type=2&X-Amz-Signature=abc&x-amz-security-token=t&X-Amz-Expires=60&uploads"),
            "list-type=2&X-Amz-Signature=REDACTED&x-amz-security-token=REDACTED&X-Amz-Expires=60&uploads"
        );
        assert_eq!(redact_query("X%2DAmz-Signature=abc"), "X%2DAmz-Signature=REDACTED");
        for name in [
            "WebIdentityToken",
            "SAMLAssertion",
            "TokenCode",
            "SecurityToken",
            "X-Amz-Credential",
            "x-amz-server-side-encryption-customer-key",
            "X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key",
            "X-AMZ-SERVER-SIDE-ENCRYPTION-CONTEXT",
            "NewPassword",
        ] {
            assert_eq!(redact_query(&format!("a=b&{name}=c2VjcmV0=&d")), format!("a=b&{name}=REDACTED&d"));
        }
        let harmless =
            "prefix=a%2Fb&continuation-token=abc&versionId=1&x-custom=seen&X-Amz-SignedHeaders=host&Action=A";
        assert_eq!(redact_query(harmless), harmless);
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused() {
        assert!(matches!(start("strongroom=loudest", Format::Json), Err(LogError::Filter(_))));
    }
}
