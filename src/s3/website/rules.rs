//! Website configurations: index and error documents, and where requests are redirected to.
//! (S3 API reference, PutBucketWebsite; user guide, "Configuring a webpage redirect".)

use http::StatusCode;
use serde::Deserialize;

use crate::s3::configuration::PutDocument;
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::xml::{self, XmlWriter};

const ROOT: &str = "WebsiteConfiguration";
const MAX_RULES: usize = 50;

/// A bucket's website.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(in crate::s3) struct Website {
    pub(super) redirect_all_requests_to: Option<RedirectAll>,
    index_document: Option<IndexDocument>,
    error_document: Option<ErrorDocument>,
    routing_rules: Option<RoutingRules>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct RedirectAll {
    pub host_name: String,
    pub protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct IndexDocument {
    suffix: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ErrorDocument {
    key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoutingRules {
    #[serde(rename = "RoutingRule", default)]
    rules: Vec<RoutingRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RoutingRule {
    condition: Option<Condition>,
    redirect: Redirect,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Condition {
    http_error_code_returned_equals: Option<String>,
    key_prefix_equals: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct Redirect {
    host_name: Option<String>,
    http_redirect_code: Option<String>,
    protocol: Option<String>,
    replace_key_prefix_with: Option<String>,
    replace_key_with: Option<String>,
}

/// Where a request is sent instead.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Destination<'w> {
    pub status: StatusCode,
    /// Those of the request, where they are not named.
    pub protocol: Option<&'w str>,
    pub host: Option<&'w str>,
    pub key: String,
}

/// Judges a document; its canonical form.
///
/// # Errors
/// `MalformedXML`, `InvalidArgument`, `InvalidRequest`, in AWS's words.
pub(in crate::s3) fn canonical(asked: &PutDocument<'_>) -> Result<String> {
    let website: Website = xml::read(asked.document, ROOT)?;
    website.check()?;
    Ok(XmlWriter::fragment(|xml| website.write(xml)))
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, message)
}

fn check_protocol(protocol: Option<&str>) -> Result<()> {
    match protocol {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(invalid(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        )),
    }
}

impl Website {
    /// Reads what [`canonical`] made.
    pub fn read(contents: &str) -> Result<Self> {
        xml::read_fragment(contents, ROOT)
    }

    /// The name of the document that stands for a directory.
    pub(super) fn suffix(&self) -> &str {
        self.index_document.as_ref().map(|index| index.suffix.as_str()).unwrap_or_default()
    }

    /// The key of the document that is shown for errors, if one is.
    pub(super) fn error_key(&self) -> Option<&str> {
        self.error_document.as_ref().map(|error| error.key.as_str())
    }

    /// Where a request for `key` is sent by the first rule that fits: before the object is looked for (`failed` is `None`),
    /// or after it failed with this status.
    pub(super) fn route(&self, key: &str, failed: Option<StatusCode>) -> Option<Destination<'_>> {
        let rules = self.routing_rules.iter().flat_map(|rules| &rules.rules);
        rules.into_iter().find_map(|rule| rule.route(key, failed))
    }

    fn check(&self) -> Result<()> {
        if let Some(RedirectAll { host_name, protocol }) = &self.redirect_all_requests_to {
            if self.index_document.is_some() || self.error_document.is_some() || self.routing_rules.is_some() {
                return Err(S3Error::argument(
                    "RedirectAllRequestsTo",
                    "not null",
                    "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
                ));
            }
            if host_name.is_empty() {
                return Err(invalid("A host name must be provided to redirect all requests (e.g. \"example.com\")."));
            }
            return check_protocol(protocol.as_deref());
        }
        let Some(index) = &self.index_document else {
            return Err(S3Error::argument(
                "IndexDocument",
                "null",
                "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
            ));
        };
        if index.suffix.is_empty() || index.suffix.contains('/') {
            let message = "The IndexDocument Suffix is not well formed";
            return Err(S3Error::argument("IndexDocument", &index.suffix, message));
        }
        if self.error_key() == Some("") {
            return Err(S3Error::argument("ErrorDocument", "", "The ErrorDocument Key is not well formed"));
        }
        let Some(RoutingRules { rules }) = &self.routing_rules else { return Ok(()) };
        match rules.len() {
            0 => Err(ErrorCode::MalformedXml.into()),
            1..=MAX_RULES => rules.iter().try_for_each(RoutingRule::check),
            _ => Err(invalid(format!("The number of routing rules must not exceed {MAX_RULES}."))),
        }
    }

    fn write(&self, xml: &mut XmlWriter) {
        if let Some(all) = &self.redirect_all_requests_to {
            xml.element("RedirectAllRequestsTo", |xml| {
                xml.text("HostName", &all.host_name);
                xml.optional("Protocol", all.protocol.as_deref());
            });
        }
        if let Some(index) = &self.index_document {
            xml.element("IndexDocument", |xml| xml.text("Suffix", &index.suffix));
        }
        if let Some(error) = &self.error_document {
            xml.element("ErrorDocument", |xml| xml.text("Key", &error.key));
        }
        if let Some(RoutingRules { rules }) = &self.routing_rules {
            xml.element("RoutingRules", |xml| {
                for rule in rules {
                    rule.write(xml);
                }
            });
        }
    }
}

impl RoutingRule {
    fn route(&self, key: &str, failed: Option<StatusCode>) -> Option<Destination<'_>> {
        let condition = self.condition.as_ref();
        let prefix = condition.and_then(|condition| condition.key_prefix_equals.as_deref());
        let code = condition.and_then(|condition| condition.http_error_code_returned_equals.as_deref());
        let rest = key.strip_prefix(prefix.unwrap_or_default())?;
        if code != failed.as_ref().map(StatusCode::as_str) {
            return None;
        }
        let Redirect { host_name, http_redirect_code, protocol, replace_key_prefix_with, replace_key_with } =
            &self.redirect;
        let key = match (replace_key_with, replace_key_prefix_with) {
            (Some(whole), _) => whole.clone(),
            (None, Some(replacement)) => format!("{replacement}{rest}"),
            (None, None) => key.to_owned(),
        };
        let status = http_redirect_code.as_deref().and_then(|code| code.parse().ok());
        Some(Destination {
            status: status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
            protocol: protocol.as_deref(),
            host: host_name.as_deref(),
            key,
        })
    }

    fn check(&self) -> Result<()> {
        if let Some(Condition { http_error_code_returned_equals, key_prefix_equals }) = &self.condition {
            if http_error_code_returned_equals.is_none() && key_prefix_equals.is_none() {
                return Err(invalid(
                    "Condition cannot be empty. To redirect all requests without a condition, the condition element \
                     shouldn't be present.",
                ));
            }
            if let Some(code) = http_error_code_returned_equals {
                check_status(code, |code| (400..600).contains(&code), "error", "4XX or 5XX")?;
            }
        }
        let Redirect { http_redirect_code, protocol, replace_key_prefix_with, replace_key_with, .. } = &self.redirect;
        if replace_key_prefix_with.is_some() && replace_key_with.is_some() {
            return Err(invalid("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
        }
        if let Some(code) = http_redirect_code {
            check_status(code, |code| (301..400).contains(&code), "redirect", "3XX except 300")?;
        }
        check_protocol(protocol.as_deref())
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.element("RoutingRule", |xml| {
            if let Some(condition) = &self.condition {
                xml.element("Condition", |xml| {
                    xml.optional("HttpErrorCodeReturnedEquals", condition.http_error_code_returned_equals.as_deref());
                    xml.optional("KeyPrefixEquals", condition.key_prefix_equals.as_deref());
                });
            }
            xml.element("Redirect", |xml| {
                xml.optional("HostName", self.redirect.host_name.as_deref());
                xml.optional("HttpRedirectCode", self.redirect.http_redirect_code.as_deref());
                xml.optional("Protocol", self.redirect.protocol.as_deref());
                xml.optional("ReplaceKeyPrefixWith", self.redirect.replace_key_prefix_with.as_deref());
                xml.optional("ReplaceKeyWith", self.redirect.replace_key_with.as_deref());
            });
        });
    }
}

fn check_status(text: &str, valid: impl Fn(u16) -> bool, kind: &str, allowed: &str) -> Result<()> {
    let code: u16 = text.parse().map_err(|_| ErrorCode::MalformedXml)?;
    if valid(code) && StatusCode::from_u16(code).is_ok_and(|code| code.canonical_reason().is_some()) {
        return Ok(());
    }
    Err(invalid(format!("The provided HTTP {kind} code ({text}) is not valid. Valid codes are {allowed}.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::configuration::tests::bucket;

    fn put(contents: &str) -> Result<String> {
        let document = format!("<{ROOT} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{contents}</{ROOT}>");
        canonical(&PutDocument { bucket: &bucket("b"), id: "", document: document.as_bytes() })
    }

    const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

    fn rules(rules: &str) -> String {
        format!("{INDEX}<RoutingRules>{rules}</RoutingRules>")
    }

    #[test]
    fn configurations_come_back_as_they_went_in() {
        let all =
            "<RedirectAllRequestsTo><HostName>example.com</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>";
        let rule = "<RoutingRule><Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>\
            <KeyPrefixEquals>a/</KeyPrefixEquals></Condition><Redirect><HostName>h</HostName>\
            <HttpRedirectCode>302</HttpRedirectCode><Protocol>http</Protocol>\
            <ReplaceKeyPrefixWith>b/</ReplaceKeyPrefixWith></Redirect></RoutingRule>";
        let error = format!("{INDEX}<ErrorDocument><Key>e</Key></ErrorDocument>");
        for contents in [all, INDEX, &error, &rules(rule)] {
            assert_eq!(put(contents).unwrap(), contents);
        }
    }

    #[test]
    fn what_aws_refuses_is_refused() {
        let redirect = |contents: &str| rules(&format!("<RoutingRule>{contents}</RoutingRule>"));
        let cases = [
            (String::new(), ErrorCode::InvalidArgument),
            ("<IndexDocument><Suffix></Suffix></IndexDocument>".to_owned(), ErrorCode::InvalidArgument),
            ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>".to_owned(), ErrorCode::InvalidArgument),
            ("<IndexDocument/>".to_owned(), ErrorCode::MalformedXml),
            (format!("{INDEX}<ErrorDocument><Key></Key></ErrorDocument>"), ErrorCode::InvalidArgument),
            (
                format!("{INDEX}<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>"),
                ErrorCode::InvalidArgument,
            ),
            (
                "<RedirectAllRequestsTo><HostName></HostName></RedirectAllRequestsTo>".to_owned(),
                ErrorCode::InvalidRequest,
            ),
            (
                "<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>"
                    .to_owned(),
                ErrorCode::InvalidRequest,
            ),
            (rules(""), ErrorCode::MalformedXml),
            (redirect(""), ErrorCode::MalformedXml),
            (redirect("<Condition></Condition><Redirect/>"), ErrorCode::InvalidRequest),
            (
                redirect(
                    "<Redirect><ReplaceKeyPrefixWith>a</ReplaceKeyPrefixWith><ReplaceKeyWith>b</ReplaceKeyWith></Redirect>",
                ),
                ErrorCode::InvalidRequest,
            ),
            (redirect("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>"), ErrorCode::InvalidRequest),
            (redirect("<Redirect><HttpRedirectCode>x</HttpRedirectCode></Redirect>"), ErrorCode::MalformedXml),
            (
                redirect(
                    "<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect/>",
                ),
                ErrorCode::InvalidRequest,
            ),
            (rules(&"<RoutingRule><Redirect/></RoutingRule>".repeat(51)), ErrorCode::InvalidRequest),
        ];
        for (contents, code) in cases {
            assert_eq!(put(&contents).unwrap_err().code, code, "{contents}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let website = Website::read(&rules(
            "<RoutingRule><Condition><KeyPrefixEquals>docs/</KeyPrefixEquals></Condition>\
             <Redirect><ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
             <RoutingRule><Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
             <Redirect><HostName>h</HostName><HttpRedirectCode>307</HttpRedirectCode><ReplaceKeyWith>e</ReplaceKeyWith></Redirect>\
             </RoutingRule>",
        ))
        .unwrap();
        let moved = website.route("docs/a", None).unwrap();
        assert_eq!((moved.status.as_u16(), moved.host, moved.key.as_str()), (301, None, "documents/a"));
        assert_eq!(website.route("other", None), None);
        let missing = website.route("docs/a", Some(StatusCode::NOT_FOUND)).unwrap();
        assert_eq!((missing.status.as_u16(), missing.host, missing.key.as_str()), (307, Some("h"), "e"));
        assert_eq!(website.route("other", Some(StatusCode::FORBIDDEN)), None);
    }
}
