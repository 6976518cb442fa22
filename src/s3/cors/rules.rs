//! CORS configurations: the rules, and which of them a request falls under.
//! (S3 user guide, "Using cross-origin resource sharing (CORS)"; API reference, PutBucketCors.)

use serde::Deserialize;

use crate::s3::configuration::PutDocument;
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::xml::{self, XmlWriter};

const ROOT: &str = "CORSConfiguration";
const MAX_RULES: usize = 100;
/// Longest id of a rule, in characters.
const MAX_ID: usize = 255;
/// The methods that a rule may allow, and that a preflight may ask for.
pub(super) const METHODS: &[&str] = &["GET", "PUT", "HEAD", "POST", "DELETE"];

/// A bucket's rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct Cors {
    #[serde(rename = "CORSRule", default)]
    rules: Vec<Rule>,
}

/// What some origins may do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "AllowedHeader", default)]
    headers: Vec<String>,
    #[serde(rename = "AllowedMethod", default)]
    pub methods: Vec<String>,
    #[serde(rename = "AllowedOrigin", default)]
    origins: Vec<String>,
    #[serde(rename = "ExposeHeader", default)]
    pub exposed: Vec<String>,
    #[serde(rename = "MaxAgeSeconds")]
    pub max_age: Option<u32>,
}

/// What a browser asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    pub origin: &'q str,
    pub method: &'q str,
    /// As in `Access-Control-Request-Headers`.
    pub headers: &'q str,
}

impl Question<'_> {
    /// The names of the headers, in lower case.
    pub fn header_names(&self) -> impl Iterator<Item = String> {
        self.headers.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty())
    }
}

/// Judges a document; its canonical form.
///
/// # Errors
/// `MalformedXML`, `InvalidRequest`, in AWS's words.
pub(in crate::s3) fn canonical(asked: &PutDocument<'_>) -> Result<String> {
    let Cors { rules } = xml::read(asked.document, ROOT)?;
    if rules.is_empty() {
        return Err(ErrorCode::MalformedXml.into());
    }
    if rules.len() > MAX_RULES {
        return Err(invalid(format!("The number of CORS rules should not exceed allowed limit of {MAX_RULES} rules.")));
    }
    rules.iter().try_for_each(Rule::check)?;
    Ok(XmlWriter::fragment(|xml| {
        for rule in &rules {
            rule.write(xml);
        }
    }))
}

fn invalid(message: String) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}

impl Cors {
    /// Reads what [`canonical`] made.
    pub fn read(contents: &str) -> Result<Self> {
        xml::read_fragment(contents, ROOT)
    }

    /// The first rule that allows what is asked, and the origin that it allows: the one that asks, or `*`.
    pub(super) fn judge<'c>(&'c self, question: &Question<'c>) -> Option<(&'c Rule, &'c str)> {
        self.rules.iter().find_map(|rule| {
            let pattern = rule.origins.iter().find(|pattern| matches(pattern, question.origin))?;
            let headers = || question.header_names().all(|name| rule.allows_header(&name));
            let allowed = rule.methods.iter().any(|method| method == question.method) && headers();
            let origin = if pattern == "*" { "*" } else { question.origin };
            allowed.then_some((rule, origin))
        })
    }
}

impl Rule {
    fn check(&self) -> Result<()> {
        if self.methods.is_empty() || self.origins.is_empty() {
            return Err(ErrorCode::MalformedXml.into());
        }
        if let Some(method) = self.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let message = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
            return Err(invalid(message));
        }
        for (element, patterns) in [("AllowedOrigin", &self.origins), ("AllowedHeader", &self.headers)] {
            if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches('*').count() > 1) {
                return Err(invalid(format!("{element} \"{pattern}\" can not have more than one wildcard.")));
            }
        }
        if let Some(exposed) = self.exposed.iter().find(|name| name.contains('*')) {
            return Err(invalid(format!(
                "ExposeHeader \"{exposed}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
            )));
        }
        match &self.id {
            Some(id) if id.chars().count() > MAX_ID => {
                Err(S3Error::argument("ID", id, format!("ID length should not exceed allowed limit of {MAX_ID}")))
            }
            _ => Ok(()),
        }
    }

    /// `name` is in lower case.
    fn allows_header(&self, name: &str) -> bool {
        self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name))
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.element("CORSRule", |xml| {
            xml.optional("ID", self.id.as_deref());
            let lists = [
                ("AllowedHeader", &self.headers),
                ("AllowedMethod", &self.methods),
                ("AllowedOrigin", &self.origins),
                ("ExposeHeader", &self.exposed),
            ];
            for (element, texts) in lists {
                for text in texts {
                    xml.text(element, text);
                }
            }
            xml.optional("MaxAgeSeconds", self.max_age);
        });
    }
}

/// Whether `text` is of the form of `pattern`, which may have one `*`, for any text or none.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::configuration::tests::bucket;

    fn put(rules: &str) -> Result<String> {
        let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</{ROOT}>");
        canonical(&PutDocument { bucket: &bucket("b"), id: "", document: document.as_bytes() })
    }

    fn rule(contents: &str) -> String {
        format!("<CORSRule>{contents}</CORSRule>")
    }

    const METHOD: &str = "<AllowedMethod>GET</AllowedMethod>";
    const ORIGIN: &str = "<AllowedOrigin>http://*.example.com</AllowedOrigin>";

    #[test]
    fn rules_come_back_as_they_went_in() {
        let rules = rule(&format!(
            "<ID>a</ID><AllowedHeader>x-AMZ-*</AllowedHeader>{METHOD}{ORIGIN}<ExposeHeader>ETag</ExposeHeader>\
             <MaxAgeSeconds>30</MaxAgeSeconds>"
        ));
        assert_eq!(put(&rules).unwrap(), rules);
        // In any order, and an origin may be empty.
        let shuffled = rule(&format!("<AllowedOrigin></AllowedOrigin>{METHOD}<AllowedHeader>a</AllowedHeader>"));
        let ordered = rule(&format!("<AllowedHeader>a</AllowedHeader>{METHOD}<AllowedOrigin></AllowedOrigin>"));
        assert_eq!(put(&shuffled).unwrap(), ordered);
        assert_eq!(put(&rules.repeat(100)).unwrap(), rules.repeat(100));
    }

    #[test]
    fn what_aws_refuses_is_refused_in_its_words() {
        let both = format!("{METHOD}{ORIGIN}");
        let cases = [
            (String::new(), ErrorCode::MalformedXml, ""),
            (rule(""), ErrorCode::MalformedXml, ""),
            (rule(METHOD), ErrorCode::MalformedXml, ""),
            (rule(ORIGIN), ErrorCode::MalformedXml, ""),
            (rule(&format!("{both}<MaxAgeSeconds>x</MaxAgeSeconds>")), ErrorCode::MalformedXml, ""),
            (
                rule(&format!("<AllowedMethod>PATCH</AllowedMethod>{ORIGIN}")),
                ErrorCode::InvalidRequest,
                "Found unsupported HTTP method in CORS config. Unsupported method is PATCH",
            ),
            (
                rule(&format!("<AllowedMethod></AllowedMethod>{ORIGIN}")),
                ErrorCode::InvalidRequest,
                "Found unsupported HTTP method in CORS config. Unsupported method is ",
            ),
            (
                rule(&format!("{METHOD}<AllowedOrigin>*a*</AllowedOrigin>")),
                ErrorCode::InvalidRequest,
                "AllowedOrigin \"*a*\" can not have more than one wildcard.",
            ),
            (
                rule(&format!("{both}<AllowedHeader>**</AllowedHeader>")),
                ErrorCode::InvalidRequest,
                "AllowedHeader \"**\" can not have more than one wildcard.",
            ),
            (
                rule(&format!("{both}<ExposeHeader>*</ExposeHeader>")),
                ErrorCode::InvalidRequest,
                "ExposeHeader \"*\" contains wildcard. We currently do not support wildcard for ExposeHeader.",
            ),
            (
                rule(&both).repeat(101),
                ErrorCode::InvalidRequest,
                "The number of CORS rules should not exceed allowed limit of 100 rules.",
            ),
        ];
        for (rules, code, message) in cases {
            let error = put(&rules).unwrap_err();
            assert_eq!(error.code, code, "{rules}");
            assert!(message.is_empty() || error.message == message, "{}", error.message);
        }
        assert_eq!(
            put(&rule(&format!("<ID>{}</ID>{both}", "i".repeat(256)))).unwrap_err().code,
            ErrorCode::InvalidArgument
        );
    }

    #[test]
    fn the_first_rule_that_allows_it_decides() {
        let cors = Cors::read(
            "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*suffix</AllowedOrigin></CORSRule>\
             <CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>start*end</AllowedOrigin></CORSRule>\
             <CORSRule><AllowedHeader>X-Amz-*</AllowedHeader><AllowedMethod>PUT</AllowedMethod>\
             <AllowedOrigin>*</AllowedOrigin></CORSRule>",
        )
        .unwrap();
        let ask = |origin, method, headers| {
            cors.judge(&Question { origin, method, headers }).map(|(_, origin)| origin.to_owned())
        };
        for origin in ["suffix", "foo.suffix", "startend", "start1end"] {
            assert_eq!(ask(origin, "GET", "").as_deref(), Some(origin));
        }
        for origin in ["foo.suffix.get", "0startend", "starten", ""] {
            assert_eq!(ask(origin, "GET", ""), None, "{origin}");
        }
        assert_eq!(ask("foo.suffix", "GET", "x-amz-date"), None, "a rule without headers allows none");
        assert_eq!(ask("foo.suffix", "PUT", "X-AMZ-Date,x-amz-meta-a").as_deref(), Some("*"));
        assert_eq!(ask("foo.suffix", "PUT", "x-amz-date, content-type"), None);
        assert_eq!(ask("foo.suffix", "DELETE", ""), None);
    }
}
