//! Naming a key: id, key ARN, alias name or alias ARN.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The full ARN of a key: `arn:aws:kms:REGION:ACCOUNT:key/ID`. The id is a UUID; of a key of a further key service that has
/// no ARNs of its own, `SERVICE/NAME`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyArn {
    text: Arc<str>,
    /// Where the region, the account and the id begin in it: they are asked for several times a request.
    starts: [usize; 3],
}

/// What stands between an ARN's account and the key's id.
const KEY: &str = ":key/";

impl KeyArn {
    /// The ARN of key `id` of `account` in `region`.
    pub fn new(region: &str, account: &str, id: &str) -> Self {
        let text = resource_arn(region, account, &format!("{}{id}", &KEY[1..]));
        Self::of(text.into(), account.len(), id.len())
    }

    /// An ARN whose account and id have these lengths.
    fn of(text: Arc<str>, account: usize, id: usize) -> Self {
        let id_start = text.len() - id;
        let account_start = id_start - KEY.len() - account;
        let region_start = text[..account_start - 1].rfind(':').map_or(0, |colon| colon + 1);
        Self { text, starts: [region_start, account_start, id_start] }
    }

    /// The ARN's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key's region.
    pub fn region(&self) -> &str {
        &self.text[self.starts[0]..self.starts[1] - 1]
    }

    /// The 12-digit id of the account that owns the key.
    pub fn account(&self) -> &str {
        &self.text[self.starts[1]..self.starts[2] - KEY.len()]
    }

    /// The key's id: what follows `key/`.
    pub fn id(&self) -> &str {
        &self.text[self.starts[2]..]
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The ARN of `account`'s `resource` in `region`: `key/ID`, `alias/NAME`, or a pattern of those.
pub fn resource_arn(region: &str, account: &str, resource: &str) -> String {
    format!("arn:{}:kms:{region}:{account}:{resource}", partition(region))
}

/// The partition that a region belongs to. (AWS: general reference, "Amazon Resource Names".)
fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The text is not the ARN of a key.
#[derive(Debug, thiserror::Error)]
#[error("not the ARN of a KMS key")]
pub struct NotAKeyArn;

impl FromStr for KeyArn {
    type Err = NotAKeyArn;

    fn from_str(text: &str) -> Result<Self, NotAKeyArn> {
        match KeyRef::parse(text) {
            KeyRef::KeyArn(arn) => Ok(arn),
            _ => Err(NotAKeyArn),
        }
    }
}

/// How a client names a key. Any text parses: what names no key is found out by looking it up, as AWS does.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KeyRef {
    /// A bare id: a UUID, or text that will turn out to be no key.
    Id(String),
    /// `arn:aws:kms:REGION:ACCOUNT:key/ID`.
    KeyArn(KeyArn),
    /// `alias/NAME`, in the caller's account.
    Alias(String),
    /// `arn:aws:kms:REGION:ACCOUNT:alias/NAME`.
    AliasArn {
        /// The ARN's region.
        region: String,
        /// The ARN's account id.
        account: String,
        /// The alias with its `alias/`.
        alias: String,
    },
}

impl KeyRef {
    /// The alias of S3's AWS managed key.
    pub const AWS_S3: &'static str = "alias/aws/s3";

    /// Sorts `text` into its kind.
    pub fn parse(text: &str) -> Self {
        let mut fields = text.splitn(6, ':');
        let fields: [&str; 6] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        if let ["arn", named, "kms", region, account, resource] = fields
            && named == partition(region)
        {
            if let Some(id) = resource.strip_prefix("key/") {
                return Self::KeyArn(KeyArn::of(text.into(), account.len(), id.len()));
            }
            if resource.starts_with("alias/") {
                let [region, account, alias] = [region, account, resource].map(str::to_owned);
                return Self::AliasArn { region, account, alias };
            }
        }
        if text.starts_with("alias/") { Self::Alias(text.to_owned()) } else { Self::Id(text.to_owned()) }
    }

    /// S3's AWS managed key of the caller's account.
    pub fn aws_s3() -> Self {
        Self::Alias(Self::AWS_S3.to_owned())
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(text) | Self::Alias(text) => f.write_str(text),
            Self::KeyArn(arn) => f.write_str(arn.as_str()),
            Self::AliasArn { region, account, alias } => f.write_str(&resource_arn(region, account, alias)),
        }
    }
}

impl From<&KeyArn> for KeyRef {
    fn from(arn: &KeyArn) -> Self {
        Self::KeyArn(arn.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_told_apart() {
        let arn = "arn:aws:kms:us-east-1:000000000000:key/1234";
        assert!(matches!(KeyRef::parse(arn), KeyRef::KeyArn(arn) if arn.id() == "1234"));
        assert_eq!(arn.parse::<KeyArn>().unwrap().id(), "1234");
        let alias_arn = "arn:aws:kms:us-east-1:000000000000:alias/a/b";
        assert!(matches!(KeyRef::parse(alias_arn), KeyRef::AliasArn { alias, .. } if alias == "alias/a/b"));
        assert_eq!(KeyRef::parse("alias/aws/s3"), KeyRef::aws_s3());
        assert_eq!(KeyRef::parse("fake-key-id"), KeyRef::Id("fake-key-id".to_owned()));
        assert!("alias/x".parse::<KeyArn>().is_err());
    }

    #[test]
    fn partitions_and_ids_of_further_services_are_kept() {
        let gov = "arn:aws-us-gov:kms:us-gov-west-1:000000000000:key/1234";
        assert_eq!(KeyRef::parse(gov).to_string(), gov);
        assert_eq!(KeyArn::new("us-gov-west-1", "000000000000", "1234").as_str(), gov);
        let alias = resource_arn("cn-north-1", "000000000000", "alias/a");
        assert_eq!(alias, "arn:aws-cn:kms:cn-north-1:000000000000:alias/a");
        assert!(matches!(KeyRef::parse(&alias), KeyRef::AliasArn { .. }));
        assert!("arn:aws-us-gov:kms:us-east-1:000000000000:key/1234".parse::<KeyArn>().is_err());
        let named: KeyArn = "arn:aws:kms:us-east-1:000000000000:key/bao/payroll".parse().unwrap();
        assert_eq!((named.id(), named.region(), named.account()), ("bao/payroll", "us-east-1", "000000000000"));
        let empty: KeyArn = "arn:aws:kms:::key/".parse().unwrap();
        assert_eq!((empty.id(), empty.region(), empty.account()), ("", "", ""));
        assert_eq!(KeyArn::new("", "", ""), empty);
    }
}
