//! The document of an inventory configuration. (API reference, PutBucketInventoryConfiguration.)

use serde::Deserialize;

use super::columns::{Column, NOT_OFFERED};
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::request::is_bucket_name;
use crate::s3::xml::{self, Empty, XmlWriter};

/// The root element.
pub(super) const ROOT: &str = "InventoryConfiguration";
/// Longest id, in characters.
const MAX_ID: usize = 64;

/// An inventory configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Inventory {
    pub id: String,
    pub enabled: bool,
    /// Keys that begin with this; all without one.
    pub prefix: Option<String>,
    pub all_versions: bool,
    /// The optional columns, as they came.
    pub optional: Vec<Column>,
    pub frequency: Frequency,
    pub destination: Destination,
}

/// Where reports go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Destination {
    pub account: Option<String>,
    /// The bucket's name.
    pub bucket: String,
    pub prefix: Option<String>,
    pub format: Format,
    pub encryption: Option<Encryption>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Frequency {
    Daily,
    Weekly,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Csv,
    Parquet,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Encryption {
    S3,
    /// Under this KMS key.
    Kms(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    destination: DestinationElement,
    is_enabled: bool,
    filter: Option<FilterElement>,
    id: String,
    included_object_versions: String,
    optional_fields: Option<OptionalFields>,
    schedule: Schedule,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DestinationElement {
    s3_bucket_destination: BucketDestination,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct BucketDestination {
    account_id: Option<String>,
    bucket: String,
    format: String,
    prefix: Option<String>,
    encryption: Option<EncryptionElement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncryptionElement {
    #[serde(rename = "SSE-S3")]
    s3: Option<Empty>,
    #[serde(rename = "SSE-KMS")]
    kms: Option<KmsElement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KmsElement {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct FilterElement {
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionalFields {
    #[serde(rename = "Field", default)]
    fields: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Schedule {
    frequency: String,
}

impl Frequency {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "Daily",
            Self::Weekly => "Weekly",
        }
    }
}

impl Format {
    /// In configurations and manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
        }
    }

    /// How the names of data files end.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Csv => ".csv.gz",
            Self::Parquet => ".parquet",
        }
    }
}

impl Inventory {
    /// Reads a configuration, which must have the id that the request names.
    ///
    /// # Errors
    /// `MalformedXML`, `InvalidArgument`; `NotImplemented` for reports and fields that there are none of here.
    pub fn read(document: &[u8], id: &str) -> Result<Self> {
        let document: Document = xml::read(document, ROOT)?;
        if document.id != id {
            return Err(ErrorCode::IdMismatch.into());
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if id.is_empty() || id.len() > MAX_ID || !id.chars().all(allowed) {
            return Err(S3Error::argument("Id", id, "The specified inventory configuration id is invalid."));
        }
        let malformed = || S3Error::from(ErrorCode::MalformedXml);
        let all_versions = match document.included_object_versions.as_str() {
            "All" => true,
            "Current" => false,
            _ => return Err(malformed()),
        };
        let frequency = match document.schedule.frequency.as_str() {
            "Daily" => Frequency::Daily,
            "Weekly" => Frequency::Weekly,
            _ => return Err(malformed()),
        };
        let names = document.optional_fields.map(|optional| optional.fields).unwrap_or_default();
        let optional = names.iter().map(|name| read_field(name)).collect::<Result<_>>()?;
        Ok(Self {
            id: document.id,
            enabled: document.is_enabled,
            prefix: document.filter.map(|filter| filter.prefix),
            all_versions,
            optional,
            frequency,
            destination: read_destination(document.destination.s3_bucket_destination)?,
        })
    }

    /// The optional fields that a document asks for, whether or not there are such; none of what is no configuration.
    pub fn asked_fields(document: &[u8]) -> Vec<String> {
        let asked = xml::read(document, ROOT).ok().and_then(|document: Document| document.optional_fields);
        asked.map(|optional| optional.fields).unwrap_or_default()
    }

    /// Reads what was kept of the configuration `id`.
    ///
    /// # Errors
    /// `InternalError`: it is damaged.
    pub fn read_kept(contents: &str, id: &str) -> Result<Self> {
        Self::read(format!("<{ROOT}>{contents}</{ROOT}>").as_bytes(), id).map_err(S3Error::internal)
    }

    /// Fills the element that shows it.
    pub fn write(&self, xml: &mut XmlWriter) {
        let Destination { account, bucket, prefix, format, encryption } = &self.destination;
        xml.element("Destination", |xml| {
            xml.element("S3BucketDestination", |xml| {
                xml.optional("AccountId", account.as_deref());
                xml.text("Bucket", format_args!("arn:aws:s3:::{bucket}"));
                xml.text("Format", format.as_str());
                xml.optional("Prefix", prefix.as_deref());
                if let Some(encryption) = encryption {
                    xml.element("Encryption", |xml| match encryption {
                        Encryption::S3 => xml.element("SSE-S3", |_| {}),
                        Encryption::Kms(key) => xml.element("SSE-KMS", |xml| xml.text("KeyId", key)),
                    });
                }
            });
        });
        xml.text("IsEnabled", self.enabled);
        if let Some(prefix) = &self.prefix {
            xml.element("Filter", |xml| xml.text("Prefix", prefix));
        }
        xml.text("Id", &self.id);
        xml.text("IncludedObjectVersions", if self.all_versions { "All" } else { "Current" });
        if !self.optional.is_empty() {
            xml.element("OptionalFields", |xml| {
                for column in &self.optional {
                    xml.text("Field", column.name());
                }
            });
        }
        xml.element("Schedule", |xml| xml.text("Frequency", self.frequency.as_str()));
    }
}

fn read_field(name: &str) -> Result<Column> {
    if NOT_OFFERED.contains(&name) {
        let message = format!("The inventory field {name} is not implemented by this server.");
        return Err(S3Error::new(ErrorCode::NotImplemented, message));
    }
    Column::optional(name).ok_or_else(|| ErrorCode::MalformedXml.into())
}

fn read_destination(element: BucketDestination) -> Result<Destination> {
    let format = match element.format.as_str() {
        "CSV" => Format::Csv,
        "Parquet" => Format::Parquet,
        "ORC" => {
            let message = "Inventory reports in ORC are not implemented by this server.";
            return Err(S3Error::new(ErrorCode::NotImplemented, message));
        }
        _ => return Err(ErrorCode::MalformedXml.into()),
    };
    let Some(bucket) = element.bucket.strip_prefix("arn:aws:s3:::").filter(|bucket| is_bucket_name(bucket)) else {
        return Err(S3Error::new(ErrorCode::InvalidS3DestinationBucket, "Invalid bucket ARN."));
    };
    let encryption = match element.encryption {
        None => None,
        Some(EncryptionElement { s3: Some(_), kms: None }) => Some(Encryption::S3),
        Some(EncryptionElement { s3: None, kms: Some(kms) }) if !kms.key_id.is_empty() => {
            Some(Encryption::Kms(kms.key_id))
        }
        Some(_) => return Err(ErrorCode::MalformedXml.into()),
    };
    Ok(Destination {
        account: element.account_id,
        bucket: bucket.to_owned(),
        prefix: element.prefix.filter(|prefix| !prefix.is_empty()),
        format,
        encryption,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESTINATION: &str = "<Destination><S3BucketDestination><AccountId>111122223333</AccountId>\
        <Bucket>arn:aws:s3:::reports</Bucket><Format>Parquet</Format><Prefix>p</Prefix>\
        <Encryption><SSE-KMS><KeyId>arn:aws:kms:us-east-1:111122223333:key/k</KeyId></SSE-KMS></Encryption>\
        </S3BucketDestination></Destination>";
    const REST: &str = "<IsEnabled>true</IsEnabled><Filter><Prefix>logs/</Prefix></Filter><Id>daily</Id>\
        <IncludedObjectVersions>All</IncludedObjectVersions><OptionalFields><Field>Size</Field><Field>ETag</Field>\
        </OptionalFields><Schedule><Frequency>Weekly</Frequency></Schedule>";

    fn read(contents: &str) -> Result<Inventory> {
        Inventory::read(format!("<{ROOT}>{contents}</{ROOT}>").as_bytes(), "daily")
    }

    #[test]
    fn a_configuration_comes_back_as_it_went_in() {
        let contents = format!("{DESTINATION}{REST}");
        let inventory = read(&contents).unwrap();
        assert_eq!((inventory.frequency, inventory.all_versions), (Frequency::Weekly, true));
        assert!(XmlWriter::document(ROOT, |xml| inventory.write(xml)).contains(&contents));
        let least = "<Destination><S3BucketDestination><Bucket>arn:aws:s3:::reports</Bucket><Format>CSV</Format>\
            <Encryption><SSE-S3></SSE-S3></Encryption></S3BucketDestination></Destination><IsEnabled>false</IsEnabled>\
            <Id>daily</Id><IncludedObjectVersions>Current</IncludedObjectVersions>\
            <Schedule><Frequency>Daily</Frequency></Schedule>";
        assert!(XmlWriter::document(ROOT, |xml| read(least).unwrap().write(xml)).contains(least));
    }

    #[test]
    fn fields_are_known_before_they_are_judged() {
        let asked = |contents: &str| Inventory::asked_fields(format!("<{ROOT}>{contents}</{ROOT}>").as_bytes());
        assert_eq!(asked(&format!("{DESTINATION}{REST}")), ["Size", "ETag"]);
        assert_eq!(asked(&format!("{DESTINATION}{REST}").replace("Size", "Weight")), ["Weight", "ETag"]);
        assert_eq!(asked(DESTINATION), [""; 0]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let contents = format!("{DESTINATION}{REST}");
        for (from, to, code) in [
            ("Parquet", "ORC", ErrorCode::NotImplemented),
            ("Parquet", "JSON", ErrorCode::MalformedXml),
            ("arn:aws:s3:::reports", "reports", ErrorCode::InvalidS3DestinationBucket),
            ("<Id>daily", "<Id>other", ErrorCode::IdMismatch),
            ("Weekly", "Hourly", ErrorCode::MalformedXml),
            (">All<", ">Some<", ErrorCode::MalformedXml),
            ("<Field>Size", "<Field>Weight", ErrorCode::MalformedXml),
            ("<Field>Size", "<Field>Key", ErrorCode::MalformedXml),
            ("<Field>Size", "<Field>ObjectAccessControlList", ErrorCode::NotImplemented),
            ("<IsEnabled>true</IsEnabled>", "", ErrorCode::MalformedXml),
            ("</SSE-KMS>", "</SSE-KMS><SSE-S3/>", ErrorCode::MalformedXml),
        ] {
            let changed = contents.replace(from, to);
            assert_ne!(changed, contents);
            assert_eq!(read(&changed).unwrap_err().code, code, "{from} -> {to}");
        }
        let bad_id = format!("<{ROOT}>{}</{ROOT}>", contents.replace("<Id>daily", "<Id>a/b"));
        assert_eq!(Inventory::read(bad_id.as_bytes(), "a/b").unwrap_err().code, ErrorCode::InvalidArgument);
    }
}
