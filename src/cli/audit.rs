//! `strongroom audit`: the log as its operator and its auditor read it, from the files, whether or not the server runs.
//!
//! Exit codes: 0 when it was done and all is in order; 1 when it could not be done; 2 when it was asked wrongly; 3 when the
//! log is not as it was written.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::{self, PemObject as _};
use serde_json::{Value, json};

use super::audit_log;
use super::key_services::Surroundings;
use super::operate::show;
use super::root_custody;
use super::settings::{self, ServeArgs, SettingsError};
use crate::audit::chain::Line;
use crate::audit::digest::PUBLIC_KEY_FILE;
use crate::audit::mark::{KeepMark as _, KeptMark, Mark};
use crate::audit::search::{Attribute, Filter, resources, search, username};
use crate::audit::segment::{Follower, Segment};
use crate::audit::verify::{Anchors, Report, verify};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::crypto::pair::Ed25519Public;
use crate::crypto::{SharedEntropy, SystemEntropy};
use crate::telemetry::Metrics;

/// The log is not as it was written.
const TAMPERED: u8 = 3;
/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(250);
/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Check every event and digest, and name what was removed, changed or moved.
    ///
    /// Exits with 0 if the log is as it was written, with 1 if it could not be verified, with 2 if it was asked wrongly, and with 3
    /// if it is not as it was written.
    Verify {
        #[command(flatten)]
        place: Place,
        /// The public key that the digests are held against, a PEM file [default: public.pem beside the log].
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// A digest that was noted down, and so must be there: the last one, as an earlier verification showed it.
        #[arg(long, value_name = "NUMBER:HASH")]
        expect: Option<Mark>,
    },
    /// Print the last events, and those that follow.
    Tail {
        #[command(flatten)]
        place: Place,
        /// How many of the last events.
        #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
        lines: u64,
        /// End with the last event that is there.
        #[arg(long)]
        no_follow: bool,
    },
    /// Print the events that match, newest first.
    Search {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        wanted: Wanted,
    },
}

#[derive(Args)]
pub(super) struct Place {
    /// The server's config file.
    #[arg(long, env = "STRONGROOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data directory [default: strongroom-data].
    #[arg(long, env = "STRONGROOM_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Wanted {
    /// Of this operation, such as `GenerateDataKey`.
    #[arg(long, value_name = "NAME")]
    event_name: Option<String>,
    /// Of this service, such as `kms.amazonaws.com`.
    #[arg(long, value_name = "SERVICE")]
    event_source: Option<String>,
    /// With this id.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// By this user, role session, or `root`.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// By this access key.
    #[arg(long, value_name = "ID")]
    access_key_id: Option<String>,
    /// About this key, bucket or object: its ARN, or the name at its end.
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// About resources of this type, such as `AWS::KMS::Key`.
    #[arg(long, value_name = "TYPE")]
    resource_type: Option<String>,
    /// Not before this time, such as `2026-11-24T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Not after this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// How many at most.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    limit: usize,
}

/// It could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("there is no audit log in {}", .0.display())]
    NoLog(PathBuf),
    #[error("{}: {source}", path.display())]
    PublicKey { path: PathBuf, source: pem::Error },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: there is no Ed25519 public key (-----BEGIN PUBLIC KEY-----) in it", .0.display())]
    OtherKey(PathBuf),
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

/// Does what was asked.
pub(super) fn run(command: AuditCommand) -> Result<ExitCode, AuditError> {
    match command {
        AuditCommand::Verify { place, public_key, expect } => {
            let config = place.config()?;
            let dir = existing(&config)?;
            let path = public_key.unwrap_or_else(|| dir.join(PUBLIC_KEY_FILE));
            let key = read_key(&path)?;
            // Before the digests: those only become more.
            let (kept, without_mark) = match kept_mark(&config) {
                Ok(kept) => (Some(kept), None),
                Err(reason) => (None, Some(reason)),
            };
            let digest_interval = Some(Duration::from_secs(config.audit.digest_seconds.into()));
            let report = verify(&dir, &key, &Anchors { kept, noted: expect, digest_interval })?;
            if report.is_empty() {
                return Err(AuditError::NoLog(dir));
            }
            show_report(&report, without_mark.as_deref(), place.json)?;
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(TAMPERED) })
        }
        AuditCommand::Tail { place, lines, no_follow } => tail(&place, lines, !no_follow),
        AuditCommand::Search { place, wanted } => find(&place, wanted),
    }
}

impl Place {
    fn config(&self) -> Result<Config, AuditError> {
        let as_served =
            ServeArgs { config: self.config.clone(), data_dir: self.data_dir.clone(), ..ServeArgs::default() };
        Ok(settings::settle(as_served, |name| std::env::var(name).ok())?)
    }

    fn dir(&self) -> Result<PathBuf, AuditError> {
        existing(&self.config()?)
    }
}

fn existing(config: &Config) -> Result<PathBuf, AuditError> {
    let dir = audit_log::directory(config);
    if dir.is_dir() { Ok(dir) } else { Err(AuditError::NoLog(dir)) }
}

/// What the server keeps of the last digest, or why that cannot be read: it takes the root key.
fn kept_mark(config: &Config) -> Result<KeptMark, String> {
    let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let root_key = runtime.map_err(|error| error.to_string())?.block_on(async {
        let surroundings = Surroundings { config, metrics: &Arc::new(Metrics::default()), entropy: &entropy };
        let remote = surroundings.remote_services().await.map_err(|error| error.to_string())?;
        root_custody::at_hand(config, &entropy, &remote).await.map_err(|error| error.to_string())
    })?;
    audit_log::Sealed::new(config, Arc::new(root_key), entropy).read().map_err(|error| error.to_string())
}

fn read_key(path: &Path) -> Result<Ed25519Public, AuditError> {
    let der = SubjectPublicKeyInfoDer::from_pem_file(path).map_err(|source| match source {
        pem::Error::Io(source) => AuditError::File { path: path.to_owned(), source },
        pem::Error::NoItemsFound => AuditError::OtherKey(path.to_owned()),
        source => AuditError::PublicKey { path: path.to_owned(), source },
    })?;
    Ed25519Public::from_der(&der).ok_or_else(|| AuditError::OtherKey(path.to_owned()))
}

fn show_report(report: &Report, without_mark: Option<&str>, as_json: bool) -> io::Result<()> {
    if as_json {
        return show::json(&json!(report));
    }
    let span = match (report.first, report.last) {
        (Some(first), Some(last)) => format!("events {first} to {last}"),
        _ => "no events".to_owned(),
    };
    show::line(&format!(
        "{span}, {} in {}, {}; {} after the last digest",
        counted(report.lines, "line"),
        counted(report.segments, "file"),
        counted(report.digests, "digest"),
        counted(report.unsigned, "event"),
    ))?;
    if let Some(digest) = &report.last_digest {
        show::line(&format!("the last digest: {digest}"))?;
    }
    if let Some(reason) = without_mark {
        show::line(&format!("the digests' end was not held against the server's own mark: {reason}"))?;
    }
    for finding in &report.findings {
        show::line(&format!("{}:{}: {}", finding.file, finding.line, finding.problem))?;
    }
    show::line(&match report.count {
        0 => "The log is as it was written.".to_owned(),
        count => format!("The log is NOT as it was written: {}.", counted(count, "finding")),
    })
}

/// So many of something.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn tail(place: &Place, lines: u64, follow: bool) -> Result<ExitCode, AuditError> {
    let dir = place.dir()?;
    let mut follower = Follower::after(&dir, last_sequence(&dir)?.saturating_sub(lines));
    loop {
        let read = follower.read(CHUNK)?;
        for line in &read {
            match Line::parse(line).and_then(|line| serde_json::from_slice(line.event).ok()) {
                Some(event) => show_event(&event, place.json)?,
                None => show::line("(a line that is no event)")?,
            }
        }
        if read.is_empty() {
            if !follow {
                return Ok(ExitCode::SUCCESS);
            }
            thread::sleep(POLL);
        }
    }
}

fn last_sequence(dir: &Path) -> io::Result<u64> {
    let Some(segment) = Segment::list(dir)?.pop() else { return Ok(0) };
    let mut follower = Follower::after(dir, segment.first - 1);
    while !follower.read(CHUNK)?.is_empty() {}
    Ok(follower.position())
}

fn find(place: &Place, wanted: Wanted) -> Result<ExitCode, AuditError> {
    let dir = place.dir()?;
    let attributes = [
        (Attribute::EventName, wanted.event_name),
        (Attribute::EventSource, wanted.event_source),
        (Attribute::EventId, wanted.event_id),
        (Attribute::Username, wanted.username),
        (Attribute::AccessKeyId, wanted.access_key_id),
        (Attribute::ResourceName, wanted.resource),
        (Attribute::ResourceType, wanted.resource_type),
    ];
    let attributes = attributes.into_iter().filter_map(|(attribute, value)| Some((attribute, value?))).collect();
    let filter = Filter { attributes, from: wanted.since, until: wanted.until, ..Filter::default() };
    let (mut before, mut left, mut rows) = (None, wanted.limit, Vec::new());
    loop {
        let page = search(&dir, &filter, before, left)?;
        for (event, _) in &page.events {
            if place.json {
                show::line(&event.to_string())?;
            } else {
                rows.push(told(event).to_vec());
            }
        }
        left -= page.events.len();
        before = page.next;
        if before.is_none() || left == 0 {
            break;
        }
    }
    if !place.json {
        let titles = ["TIME", "BY", "EVENT", "RESOURCE", "REFUSED"];
        show::line(&show::table(&titles, titles.len(), rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One event: its JSON on a line for scripts, or what is told of it.
fn show_event(event: &Value, as_json: bool) -> io::Result<()> {
    if as_json {
        return show::line(&event.to_string());
    }
    show::line(told(event).join("  ").trim_end())
}

/// What people are told of an event: when, who, what, on what, and how it was refused, if it was.
fn told(event: &Value) -> [String; 5] {
    let who = username(event).unwrap_or_else(|| show::text(&event["userIdentity"]["accountId"]));
    let via = if event["userIdentity"]["invokedBy"].is_string() { " (by a service)" } else { "" };
    let resource = resources(event).next().map_or("-", |(_, name)| name).to_owned();
    let refused = event["errorCode"].as_str().unwrap_or_default().to_owned();
    [show::text(&event["eventTime"]), format!("{who}{via}"), show::text(&event["eventName"]), resource, refused]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "file")), ["0 files", "1 file", "2 files"]);
    }
}
