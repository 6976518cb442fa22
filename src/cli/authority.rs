//! The server's own certificate authority, for operators who bring no certificate.
//!
//! The first start makes the authority: `tls/ca.pem`, which clients trust, and `tls/ca.key`, which nobody else may read.
//! The server's certificate is issued anew at every start (and monthly while the server runs), for the names that the
//! configuration then has; it is never written anywhere, so that nothing can go stale.

use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::data_dir::{DataDir, DataDirError, Readers};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::Material;

/// Where the authority's certificate stands, in the data directory.
pub(super) const CERTIFICATE: &str = "tls/ca.pem";
const KEY: &str = "tls/ca.key";

/// How often a running server has itself a new certificate issued: long before [`VALID_DAYS`] are over.
pub(super) const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a certificate is valid: what the strictest clients accept at most is 398 days.
const VALID_DAYS: i64 = 397;
const AUTHORITY_YEARS: i64 = 20;

/// The authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// The authority, or its certificate, cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    /// Its files cannot be read or written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its certificate is there, and its key is not.
    #[error(
        "{KEY} is missing from the data directory; restore it, or remove {CERTIFICATE} to have a new authority made"
    )]
    KeyMissing,
    /// A file is damaged, or a name cannot stand in a certificate.
    #[error("the certificate authority in the data directory's tls/: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl Authority {
    /// The authority in `directory`, made now if there is none.
    pub(super) fn obtain(directory: &DataDir, clock: &dyn Clock) -> Result<Self, AuthorityError> {
        let certificate = directory.read(CERTIFICATE)?;
        let key = match directory.read(KEY)? {
            Some(pem) => KeyPair::from_pem(&pem)?,
            None if certificate.is_some() => return Err(AuthorityError::KeyMissing),
            None => {
                let key = KeyPair::generate()?;
                directory.write(KEY, &key.serialize_pem(), Readers::Owner)?;
                key
            }
        };
        let certificate = if let Some(pem) = certificate {
            pem
        } else {
            let pem = authority(clock).self_signed(&key)?.pem();
            directory.write(CERTIFICATE, &pem, Readers::Everyone)?;
            pem
        };
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&certificate, key)? })
    }

    /// A fresh certificate for `names`.
    pub(super) fn issue(&self, names: &[String], clock: &dyn Clock) -> Result<Material, AuthorityError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = subject("Strongroom");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let (yesterday, today) = days(clock);
        valid(&mut params, yesterday, today.saturating_add(VALID_DAYS.days()));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Material { chain: vec![certificate.der().clone()], key })
    }
}

/// The names under which clients reach a server so configured: its addresses, its base domains and the buckets in front
/// of them, and AWS's own names for the region, for clients that DNS or a proxy sends here.
pub(super) fn names(config: &Config) -> Vec<String> {
    let region = &config.region;
    let mut names: Vec<String> = ["127.0.0.1", "::1"].map(ToOwned::to_owned).into();
    for address in std::iter::once(config.listen).chain(config.http_listen) {
        if !address.ip().is_unspecified() {
            names.push(address.ip().to_string());
        }
    }
    for domain in config.virtual_host_domains() {
        names.push(format!("*.{domain}"));
        names.push(domain);
    }
    // As clients of S3 Control say whose account they mean; and OpenSSL takes no star in front of a single label.
    let accounts = std::iter::once(&config.root.account_id).chain(config.accounts.iter().map(|account| &account.id));
    names.extend(accounts.map(|account| format!("{account}.localhost")));
    names.extend(config.website_domains().iter().map(|domain| format!("*.{domain}")));
    for service in ["cloudtrail", "kms", "sts", "iam"] {
        names.push(format!("{service}.amazonaws.com"));
        names.push(format!("{service}.{region}.amazonaws.com"));
    }
    names.extend(config.tls.names.iter().map(ToString::to_string));
    names.sort_unstable();
    names.dedup();
    names
}

fn authority(clock: &dyn Clock) -> CertificateParams {
    let mut params = CertificateParams::default();
    let (yesterday, today) = days(clock);
    // The day tells the authorities of several data directories apart.
    params.distinguished_name = subject(&format!("Strongroom authority of {today}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut params, yesterday, today.saturating_add(AUTHORITY_YEARS.years()));
    params
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Strongroom");
    subject.push(DnType::CommonName, name);
    subject
}

/// Yesterday, because clients' clocks differ, and today.
fn days(clock: &dyn Clock) -> (Date, Date) {
    let today = TimeZone::UTC.to_datetime(clock.now()).date();
    (today.saturating_sub(1.day()), today)
}

fn valid(params: &mut CertificateParams, from: Date, to: Date) {
    let part = |part: i8| u8::try_from(part).unwrap_or(1);
    let midnight = |date: Date| rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()));
    params.not_before = midnight(from);
    params.not_after = midnight(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::Tls;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_not_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        let obtain = || Authority::obtain(&directory, &SystemClock);
        obtain().unwrap();
        let (certificate, key) = (directory.read(CERTIFICATE).unwrap(), directory.read(KEY).unwrap());
        assert!(certificate.is_some());
        obtain().unwrap();
        assert_eq!((directory.read(CERTIFICATE).unwrap(), directory.read(KEY).unwrap()), (certificate, key));
        std::fs::remove_file(directory.path().join(KEY)).unwrap();
        assert!(matches!(obtain(), Err(AuthorityError::KeyMissing)));
    }

    #[test]
    fn the_names_follow_the_configuration() {
        let config = Config {
            region: "eu-west-1".to_owned().try_into().unwrap(),
            base_domains: vec!["s3.example.com".to_owned().try_into().unwrap()],
            listen: "192.0.2.7:9000".parse().unwrap(),
            tls: Tls { names: vec!["storage.example.com".to_owned().try_into().unwrap()], ..Tls::default() },
            ..Config::default()
        };
        let names = names(&config);
        for name in [
            "localhost",
            "000000000000.localhost",
            "127.0.0.1",
            "::1",
            "192.0.2.7",
            "*.s3.localhost",
            "s3.example.com",
            "*.s3.example.com",
            "storage.example.com",
            "*.s3.eu-west-1.amazonaws.com",
            "kms.eu-west-1.amazonaws.com",
            "cloudtrail.eu-west-1.amazonaws.com",
        ] {
            assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
        }
        let parent = tempfile::tempdir().unwrap();
        let directory = DataDir::open(parent.path()).unwrap();
        let authority = Authority::obtain(&directory, &SystemClock).unwrap();
        assert_eq!(authority.issue(&names, &SystemClock).unwrap().chain.len(), 1);
    }
}
