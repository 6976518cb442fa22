//! What a person at a terminal sees when the server is ready: the endpoint, and the lines that make `aws` work.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::http::Addresses;

/// What the lines say.
pub(super) struct Banner<'a> {
    pub(super) addresses: Addresses,
    pub(super) region: &'a str,
    /// The authority's certificate, if clients must be told to trust it.
    pub(super) authority: Option<PathBuf>,
    /// Where the credentials are; `None` if the operator gave them.
    pub(super) credentials: Option<PathBuf>,
}

impl Banner<'_> {
    /// The text.
    pub(super) fn render(&self) -> String {
        let mut text = format!("Strongroom {} serves S3 and KMS at {}", env!("CARGO_PKG_VERSION"), self.endpoint());
        if let Some(http) = self.addresses.http {
            // Writing to a string cannot fail.
            let _ = write!(text, " (and http://{})", reachable(http));
        }
        text.push_str("\nIn another terminal:\n\n");
        let mut export = |name: &str, value: &str| {
            let _ = writeln!(text, "  export {name}={value}");
        };
        export("AWS_ENDPOINT_URL", &self.endpoint());
        if let Some(path) = &self.authority {
            export("AWS_CA_BUNDLE", &quoted(path));
        }
        match &self.credentials {
            Some(path) => export("AWS_SHARED_CREDENTIALS_FILE", &quoted(path)),
            None => export("AWS_ACCESS_KEY_ID", "... AWS_SECRET_ACCESS_KEY=...   # the root's, as you configured them"),
        }
        // botocore, and with it boto3 and aws-cli 1, knows only the second.
        export("AWS_REGION", &format!("{0} AWS_DEFAULT_REGION={0}", self.region));
        text.push_str("\n  aws s3 mb s3://example\n  aws s3 cp FILE s3://example --sse aws:kms\n\n");
        text
    }

    fn endpoint(&self) -> String {
        format!("https://{}", reachable(self.addresses.https))
    }
}

/// The address as a client on this machine would say it.
pub(super) fn reachable(address: SocketAddr) -> String {
    match address.ip() {
        ip if !ip.is_unspecified() => address.to_string(),
        IpAddr::V4(_) => format!("127.0.0.1:{}", address.port()),
        IpAddr::V6(_) => format!("[::1]:{}", address.port()),
    }
}

/// A path as a POSIX shell reads it back.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@%:,".contains(&b));
    if plain { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_make_aws_work() {
        let banner = Banner {
            addresses: Addresses { https: "0.0.0.0:9000".parse().unwrap(), http: None },
            region: "us-east-1",
            authority: Some("/var/lib/strong room/tls/ca.pem".into()),
            credentials: Some("/var/lib/it's/credentials".into()),
        };
        let text = banner.render();
        for line in [
            "export AWS_ENDPOINT_URL=https://127.0.0.1:9000",
            "export AWS_CA_BUNDLE='/var/lib/strong room/tls/ca.pem'",
            r"export AWS_SHARED_CREDENTIALS_FILE='/var/lib/it'\''s/credentials'",
            "export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1",
        ] {
            assert!(text.lines().any(|l| l.trim() == line), "{line} is not in\n{text}");
        }
    }
}
