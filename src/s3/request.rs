//! Reading a request's line: host, path and query become a [`Target`] and a [`Query`].

use std::fmt;

use super::error::{ErrorCode, Result, S3Error};
use crate::wire::percent::percent_decode;

/// Longest key, in bytes of UTF-8. (AWS: "Naming Amazon S3 objects".)
pub const MAX_KEY_BYTES: usize = 1024;

/// What kind of thing a request names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetKind {
    /// The service: `/`.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
    /// The tags of a resource, by its ARN.
    ResourceTags,
    /// The public access that an account blocks.
    AccountBlock,
    /// What else S3 Control is asked about.
    Control,
}

impl TargetKind {
    /// What refusals call it.
    pub const fn resource_type(self) -> &'static str {
        match self {
            Self::Service => "SERVICE",
            Self::Bucket => "BUCKET",
            Self::Object => "OBJECT",
            Self::ResourceTags => "RESOURCETAGS",
            Self::AccountBlock => "ACCOUNTBLOCK",
            Self::Control => "CONTROL",
        }
    }
}

/// What a request names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// The service: `/`.
    Service,
    /// A bucket, whose name has not been judged yet: operations differ in what they answer to a bad one.
    Bucket(String),
    /// An object.
    Object(String, ObjectKey),
    /// The tags of the resource with this ARN.
    ResourceTags(String),
    /// The public access that an account blocks.
    AccountBlock,
    /// What else S3 Control is asked about.
    Control,
}

impl Target {
    /// The target of a raw path and the request's host. `bases` are the domains below which a host name's first labels
    /// name a bucket (virtual-host style); any other host means path style.
    ///
    /// # Errors
    /// `InvalidURI` for a path that is not percent-encoded UTF-8, `KeyTooLongError`.
    pub fn parse(host: Option<&str>, path: &str, bases: &[String]) -> Result<Self> {
        let path = percent_decode(path, false).ok_or(ErrorCode::InvalidUri)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        if let Some(bucket) = host.and_then(|host| virtual_bucket(host, bases)) {
            return Self::in_bucket(&bucket, path);
        }
        match path.split_once('/') {
            // "GET //" is how some browser clients ask for the list of buckets.
            _ if path.is_empty() || path == "/" => Ok(Self::Service),
            None => Ok(Self::Bucket(path.to_owned())),
            Some((bucket, key)) => Self::in_bucket(bucket, key),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Service => TargetKind::Service,
            Self::Bucket(_) => TargetKind::Bucket,
            Self::Object(..) => TargetKind::Object,
            Self::ResourceTags(_) => TargetKind::ResourceTags,
            Self::AccountBlock => TargetKind::AccountBlock,
            Self::Control => TargetKind::Control,
        }
    }

    /// The bucket's name, if one is named.
    pub fn bucket(&self) -> Option<&str> {
        match self {
            Self::Service | Self::ResourceTags(_) | Self::AccountBlock | Self::Control => None,
            Self::Bucket(bucket) | Self::Object(bucket, _) => Some(bucket),
        }
    }

    /// What an operation on a `kind` is about: at a key's path it may be the bucket.
    #[must_use]
    pub fn of_kind(self, kind: TargetKind) -> Self {
        match (self, kind) {
            (Self::Object(bucket, _), TargetKind::Bucket) => Self::Bucket(bucket),
            (target, _) => target,
        }
    }

    fn in_bucket(bucket: &str, key: &str) -> Result<Self> {
        Ok(match key {
            "" => Self::Bucket(bucket.to_owned()),
            key => Self::Object(bucket.to_owned(), ObjectKey::of_path(key)?),
        })
    }
}

/// Whether `..` leads out of the bucket somewhere on the way from the left to the right of a key.
/// (S3 user guide, "Naming Amazon S3 objects".)
fn climbs_out(key: &str) -> bool {
    let mut depth = 0_usize;
    key.split('/').any(|segment| {
        match segment {
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            "." => {}
            _ => depth += 1,
        }
        false
    })
}

/// An object's key: 1 to 1 024 bytes of UTF-8.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// A key that a path can name.
    ///
    /// # Errors
    /// `InvalidURI` for one that leads out of its bucket; as [`Self::parse`].
    pub fn of_path(key: &str) -> Result<Self> {
        if climbs_out(key) { Err(ErrorCode::InvalidUri.into()) } else { Self::parse(key) }
    }

    /// # Errors
    /// `KeyTooLongError`; `InvalidArgument` if empty.
    pub fn parse(key: &str) -> Result<Self> {
        match key.len() {
            0 => Err(S3Error::argument("Key", "", "Object key must not be empty")),
            1..=MAX_KEY_BYTES => Ok(Self(key.to_owned())),
            size => Err(ErrorCode::KeyTooLong
                .with("Size", size.to_string())
                .with("MaxSizeAllowed", MAX_KEY_BYTES.to_string())),
        }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` may be given to a bucket. (AWS: "General purpose bucket naming rules".)
pub fn is_bucket_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|&b| allowed(b) || b == b'-' || b == b'.')
        && bytes.first().is_some_and(|&b| allowed(b))
        && bytes.last().is_some_and(|&b| allowed(b))
        && !["..", ".-", "-."].iter().any(|pair| name.contains(pair))
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|reserved| name.starts_with(reserved))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|reserved| name.ends_with(reserved))
}

/// Whether a bucket may be called `name`, however old it is: until 2018 names could be longer and of more characters.
/// (S3 user guide, "General purpose bucket naming rules".)
pub fn may_name_bucket(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (3..=255).contains(&name.len()) && name.bytes().all(allowed)
}

/// A query string: its keys and values, decoded, in the order in which they came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// `InvalidURI` for what is not percent-encoded UTF-8.
    pub fn parse(query: &str) -> Result<Self> {
        let decode = |text: &str| percent_decode(text, true).ok_or(ErrorCode::InvalidUri);
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_>>()?))
    }

    /// Whether `key` is there, with or without a value.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The first value of `key`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The first value of `key` unless it is empty.
    pub fn non_empty(&self, key: &str) -> Option<&str> {
        self.value(key).filter(|value| !value.is_empty())
    }

    /// All pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A number from 0 to 2 147 483 647.
    ///
    /// # Errors
    /// `InvalidArgument`, in AWS's words.
    pub fn number(&self, key: &'static str) -> Result<Option<u32>> {
        self.integer(key)?.map(|number| u32::try_from(number).map_err(|_| out_of_range(key, number))).transpose()
    }

    /// An integer of 32 bits: digits, perhaps behind a minus sign.
    ///
    /// # Errors
    /// `InvalidArgument`, in AWS's words.
    pub fn integer(&self, key: &'static str) -> Result<Option<i32>> {
        let Some(text) = self.non_empty(key) else {
            return Ok(None);
        };
        // Rust would take a plus sign as well.
        match text.parse() {
            Ok(number) if !text.starts_with('+') => Ok(Some(number)),
            _ => Err(S3Error::argument(key, text, format!("Provided {key} not an integer or within integer range"))),
        }
    }
}

/// `InvalidArgument` for a number below zero.
pub fn out_of_range(name: &'static str, number: i32) -> S3Error {
    let message = format!("Argument {name} must be an integer between 0 and 2147483647");
    S3Error::argument(name, number.to_string(), message)
}

/// The bucket that a virtual-host style `host` names: in lower case, as names of hosts know no case, and whether or not a dot ends it
/// (RFC 3986, section 3.2.2). The longest base wins, so that `s3.amazonaws.com` is never taken for a bucket `s3` below
/// `amazonaws.com`.
pub(super) fn virtual_bucket(host: &str, bases: &[String]) -> Option<String> {
    let host = if host.starts_with('[') { host } else { host.split_once(':').map_or(host, |(name, _)| name) };
    let host = host.strip_suffix('.').unwrap_or(host);
    let strip = |base: &String| {
        let split = host.len().checked_sub(base.len())?;
        let (head, tail) = (host.get(..split)?, host.get(split..)?);
        tail.eq_ignore_ascii_case(base).then_some((base.len(), head))
    };
    let (_, head) = bases.iter().filter_map(strip).max_by_key(|(length, _)| *length)?;
    head.strip_suffix('.').filter(|bucket| !bucket.is_empty()).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(host: &str, path: &str) -> Target {
        let bases = ["localhost", "s3.amazonaws.com", "s3.us-east-1.amazonaws.com"].map(str::to_owned);
        Target::parse(Some(host), path, &bases).unwrap()
    }

    fn object(bucket: &str, key: &str) -> Target {
        Target::Object(bucket.to_owned(), ObjectKey::parse(key).unwrap())
    }

    #[test]
    fn path_style() {
        assert_eq!(parse("localhost:9000", "/"), Target::Service);
        assert_eq!(parse("127.0.0.1:9000", "//"), Target::Service);
        assert_eq!(parse("[::1]:9000", "/b"), Target::Bucket("b".to_owned()));
        assert_eq!(parse("s3.amazonaws.com", "/b/"), Target::Bucket("b".to_owned()));
        assert_eq!(parse("localhost", "/b/a%20b/%2F+"), object("b", "a b//+"));
        assert_eq!(parse("localhost", "/b//k"), object("b", "/k"));
    }

    #[test]
    fn virtual_host_style() {
        assert_eq!(parse("my.bucket.localhost:9000", "/"), Target::Bucket("my.bucket".to_owned()));
        assert_eq!(parse("b.S3.us-east-1.amazonaws.com", "/k/l"), object("b", "k/l"));
        assert_eq!(parse("b.s3.amazonaws.com", "//k"), object("b", "/k"));
    }

    #[test]
    fn a_host_is_the_same_in_capitals_and_with_a_final_dot() {
        for host in ["BKT.localhost", "bkt.LocalHost.", "Bkt.localhost.:9000", "bKt.s3.amazonaws.com."] {
            assert_eq!(parse(host, "/K"), object("bkt", "K"), "{host}");
        }
        for host in ["localhost.", "LOCALHOST.:9000", "s3.amazonaws.com."] {
            assert_eq!(parse(host, "/b/k"), object("b", "k"), "{host}");
        }
        // One dot ends a name; no name has two.
        assert_eq!(parse("bkt.localhost..", "/b/k"), object("b", "k"));
    }

    #[test]
    fn bad_paths_are_refused() {
        let parse = |path: &str| Target::parse(None, path, &[]).unwrap_err().code;
        assert_eq!(parse("/b/%ff"), ErrorCode::InvalidUri);
        assert_eq!(parse("/b/%2"), ErrorCode::InvalidUri);
        assert_eq!(parse("/b/%zz"), ErrorCode::InvalidUri);
        for climbing in ["..", "../k", "a/../../k", "a/%2E%2E/../k", "./../k", "a/../.."] {
            assert_eq!(parse(&format!("/b/{climbing}")), ErrorCode::InvalidUri, "{climbing}");
        }
        for key in ["a/../k", "a/b/../../k", "a/..", "..k/..", "a/./../k", "...", "/../k"] {
            assert!(Target::parse(None, &format!("/b/{key}"), &[]).is_ok(), "{key}");
        }
        assert_eq!(parse(&format!("/b/{}", "k".repeat(1025))), ErrorCode::KeyTooLong);
    }

    #[test]
    fn bucket_names() {
        for good in ["abc", "a.b-c", "123", &"a".repeat(63)] {
            assert!(is_bucket_name(good), "{good}");
        }
        for bad in [
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            "a..b",
            "a.-b",
            "a-.b",
            "sthree-a",
            "amzn-s3-demo-a",
            "a-s3alias",
            "a--ol-s3",
            "a.mrap",
            "192.168.5.4",
            "xn--abc",
            "abc--x-s3",
            "_",
            &"a".repeat(64),
        ] {
            assert!(!is_bucket_name(bad), "{bad}");
        }
        for old in ["abc", "Old_Bucket", "a..b", &"a".repeat(255)] {
            assert!(may_name_bucket(old), "{old}");
        }
        for never in ["", "a", "ab", "_", "a b", "a,b", "bücket", &"a".repeat(256)] {
            assert!(!may_name_bucket(never), "{never}");
        }
    }

    #[test]
    fn numbers_in_queries() {
        let number = |query: &str| Query::parse(query).unwrap().number("max-keys").map_err(|error| error.message);
        assert_eq!(number("max-keys=12"), Ok(Some(12)));
        assert_eq!(number(&format!("max-keys={}5", "0".repeat(5000))), Ok(Some(5)));
        assert_eq!(number("max-keys=-0"), Ok(Some(0)));
        assert_eq!(number("max-keys="), Ok(None));
        assert!(number("max-keys=-01").unwrap_err().starts_with("Argument max-keys must be an integer between 0"));
        for bad in ["x", "%2B5", "%205", "2147483648", "-2147483649", "-"] {
            let message = number(&format!("max-keys={bad}")).unwrap_err();
            assert_eq!(message, "Provided max-keys not an integer or within integer range", "{bad}");
        }
    }
}
