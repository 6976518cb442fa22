//! What a request presents as its signature: the `Authorization` header or a presigned query, parsed and not yet believed.

use http::header::{AUTHORIZATION, DATE};

use super::canonical::decoded;
use super::{ALGORITHM, AmzDate, Error, Head, Scope, TERMINATOR, UNSIGNED_PAYLOAD};
use crate::clock;

/// The longest a presigned request may be good for: seven days, in seconds.
const MAX_LIFETIME: u32 = 604_800;

/// How a signature is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// In the `Authorization` header.
    Header,
    /// In the query.
    Presigned {
        /// How long the request is good for from its date on, seconds.
        lifetime: u32,
    },
}

/// A signature as it was presented: well-formed, nothing more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presented {
    pub(super) access_key_id: String,
    pub(super) scope: Scope,
    pub(super) date: AmzDate,
    pub(super) kind: Kind,
    pub(super) session_token: Option<String>,
    /// The list as the client gives it, separated by semicolons.
    pub(super) signed_headers: String,
    pub(super) signature: String,
}

impl Presented {
    /// Reads what the request presents; `None` if it presents nothing, that is, if it is anonymous.
    ///
    /// # Errors
    /// What is presented is not well-formed, of a version that is not spoken, or presented twice.
    pub fn from_head(head: &Head<'_>) -> Result<Option<Self>, Error> {
        let authorization = authorization(head)?;
        let query = Query::of(head.query);
        match (authorization, query) {
            (Some(authorization), Some(_)) => Err(Error::OneMechanismOnly { authorization }),
            (Some(authorization), None) => Self::from_header(head, &authorization).map(Some),
            (None, Some(Query::V2)) => Err(Error::UnsupportedMechanism),
            (None, Some(Query::V4)) => Self::from_query(head.query).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Who claims to have signed.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// How the signature is sent.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What stands for the body's hash in an S3 request: the `x-amz-content-sha256` header or, if the request is presigned,
    /// the query parameter or else `UNSIGNED-PAYLOAD`.
    ///
    /// # Errors
    /// [`Error::MissingContentSha256`].
    pub fn s3_payload_hash(&self, head: &Head<'_>) -> Result<String, Error> {
        const NAME: &str = "x-amz-content-sha256";
        let header = head.header(NAME).map(str::to_owned);
        match self.kind {
            Kind::Header => header.ok_or(Error::MissingContentSha256),
            Kind::Presigned { .. } => Ok(pairs(head.query)
                .find(|(key, _)| key.eq_ignore_ascii_case(NAME))
                .map(|(_, value)| value)
                .or(header)
                .unwrap_or_else(|| UNSIGNED_PAYLOAD.to_owned())),
        }
    }

    fn from_header(head: &Head<'_>, authorization: &str) -> Result<Self, Error> {
        let malformed =
            |message: &str| Error::AuthorizationHeaderMalformed { message: message.to_owned(), region: None };
        let (scheme, rest) = authorization.split_once([' ', '\t']).unwrap_or((authorization, ""));
        match scheme {
            ALGORITHM => {}
            "AWS" => return Err(Error::UnsupportedMechanism),
            "AWS4-ECDSA-P256-SHA256" => return Err(Error::SigV4aNotImplemented),
            _ => {
                return Err(Error::UnsupportedType { authorization: authorization.to_owned() });
            }
        }
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for component in rest.split(',').map(str::trim) {
            let slot = match component.split_once('=') {
                Some(("Credential", value)) => (&mut credential, value),
                Some(("SignedHeaders", value)) => (&mut signed_headers, value),
                Some(("Signature", value)) => (&mut signature, value),
                _ => continue,
            };
            *slot.0 = Some(slot.1.trim()).filter(|value| !value.is_empty());
        }
        let (Some(credential), Some(signed_headers), Some(signature)) = (credential, signed_headers, signature) else {
            return Err(malformed(
                "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
            ));
        };
        let (access_key_id, scope) = credential_parts(credential).map_err(|message| malformed(&message))?;
        let date = header_date(head).ok_or(Error::MissingDate)?;
        if scope.date != date.day() {
            return Err(malformed(&other_day(&scope, &date)));
        }
        Ok(Self {
            access_key_id,
            scope,
            date,
            kind: Kind::Header,
            session_token: head.header("x-amz-security-token").map(str::to_owned),
            signed_headers: signed_headers.to_owned(),
            signature: signature.to_owned(),
        })
    }

    fn from_query(query: &str) -> Result<Self, Error> {
        let malformed =
            |message: &str| Error::AuthorizationQueryParametersError { message: message.to_owned(), region: None };
        let parameter = |name: &str| {
            let mut values = pairs(query).filter(|(key, _)| key == name).map(|(_, value)| value);
            let value = values.next().filter(|value| !value.is_empty());
            if values.next().is_some() { None } else { value }
        };
        let required = |name: &str| parameter(name).ok_or_else(|| malformed(QUERY_PARAMETERS));
        match required("X-Amz-Algorithm")?.as_str() {
            ALGORITHM => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(Error::SigV4aNotImplemented),
            _ => {
                return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\""));
            }
        }
        let credential = required("X-Amz-Credential")?;
        let signature = required("X-Amz-Signature")?;
        let date = required("X-Amz-Date")?;
        let signed_headers = required("X-Amz-SignedHeaders")?;
        let lifetime = required("X-Amz-Expires")?;
        let in_credential =
            |message: String| malformed(&format!("Error parsing the X-Amz-Credential parameter; {message}"));
        let (access_key_id, scope) = credential_parts(&credential).map_err(in_credential)?;
        let date = AmzDate::parse(&date)
            .ok_or_else(|| malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
        if scope.date != date.day() {
            return Err(in_credential(other_day(&scope, &date)));
        }
        let lifetime = match lifetime.parse::<i64>().map(u32::try_from) {
            Ok(Ok(lifetime)) if lifetime <= MAX_LIFETIME => lifetime,
            Ok(Err(_)) if lifetime.starts_with('-') => return Err(malformed("X-Amz-Expires must be non-negative")),
            Ok(_) => {
                return Err(malformed(
                    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less \
                     than 604800 seconds",
                ));
            }
            Err(_) => return Err(malformed("X-Amz-Expires should be a number")),
        };
        Ok(Self {
            access_key_id,
            scope,
            date,
            kind: Kind::Presigned { lifetime },
            session_token: parameter("X-Amz-Security-Token"),
            signed_headers,
            signature,
        })
    }
}

const QUERY_PARAMETERS: &str = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                                X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";

/// Which version a query is presigned with.
enum Query {
    V2,
    V4,
}

impl Query {
    fn of(query: &str) -> Option<Self> {
        // Most queries hold neither, and then nothing needs decoding.
        if !query.contains("Amz") && !query.contains("Signature") {
            return None;
        }
        let has = |name: &str| pairs(query).any(|(key, _)| key == name);
        if has("X-Amz-Algorithm") || has("X-Amz-Credential") || has("X-Amz-Signature") {
            Some(Self::V4)
        } else if has("AWSAccessKeyId") && has("Signature") {
            Some(Self::V2)
        } else {
            None
        }
    }
}

/// The decoded pairs of a query. What is not UTF-8 is replaced: it can match no name and no well-formed value.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |text: &str| match String::from_utf8(decoded(text, b' ').collect()) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    query.split('&').map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn authorization(head: &Head<'_>) -> Result<Option<String>, Error> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    if values.next().is_some() {
        return Err(Error::UnsupportedType { authorization: text });
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// When a request with an `Authorization` header says it was signed.
fn header_date(head: &Head<'_>) -> Option<AmzDate> {
    if let Some(date) = head.header("x-amz-date") {
        return AmzDate::parse(date);
    }
    let date = head.header(DATE.as_str())?;
    AmzDate::parse(date).or_else(|| clock::parse_http_date(date).map(AmzDate::at))
}

/// Splits `AKID/YYYYMMDD/REGION/SERVICE/aws4_request`, from the right, for a key id may hold slashes.
pub(super) fn credential_parts(credential: &str) -> Result<(String, Scope), String> {
    let mut parts = credential.rsplitn(5, '/');
    let (Some(terminator), Some(service), Some(region), Some(date), Some(access_key_id)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".".to_owned()
        );
    };
    if access_key_id.is_empty() {
        return Err("a non-empty Access Key (AKID) must be provided in the credential.".to_owned());
    }
    if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
        ));
    }
    if terminator != TERMINATOR {
        return Err(format!("incorrect terminal \"{terminator}\". This endpoint uses \"{TERMINATOR}\"."));
    }
    let scope = Scope { date: date.to_owned(), region: region.to_owned(), service: service.to_owned() };
    Ok((access_key_id.to_owned(), scope))
}

fn other_day(scope: &Scope, date: &AmzDate) -> String {
    format!("Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\".", scope.date, date.day())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-date,\
                        Signature=00";
    const GOOD_QUERY: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20150830%2Fus-east-1%2Fs3%2F\
                              aws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&\
                              X-Amz-Signature=00";

    fn present(query: &str, headers: &[(&'static str, &str)]) -> Result<Option<Presented>, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Presented::from_head(&Head { method: &Method::GET, path: "/", query, headers: &map, authority: None })
    }

    fn header_message(authorization: &str, date: &str) -> String {
        match present("", &[("authorization", authorization), ("x-amz-date", date)]) {
            Err(Error::AuthorizationHeaderMalformed { message, region: None }) => message,
            other => panic!("{other:?}"),
        }
    }

    fn query_message(query: &str) -> String {
        match present(query, &[]) {
            Err(Error::AuthorizationQueryParametersError { message, region: None }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_forms_are_read() {
        let header = present("", &[("authorization", GOOD), ("x-amz-date", "20150830T123600Z")]).unwrap().unwrap();
        assert_eq!(header.access_key_id(), "AKID");
        assert_eq!(header.scope.to_string(), "20150830/us-east-1/s3/aws4_request");
        assert_eq!(header.kind, Kind::Header);
        let query = present(GOOD_QUERY, &[]).unwrap().unwrap();
        assert_eq!(query.scope, header.scope);
        assert_eq!(query.kind, Kind::Presigned { lifetime: 60 });
    }

    #[test]
    fn a_date_header_will_do() {
        for date in ["Sun, 30 Aug 2015 12:36:00 GMT", "Sun, 30 Aug 2015 12:36:00 -0000", "20150830T123600Z"] {
            let headers = [("authorization", GOOD), ("date", date)];
            assert_eq!(present("", &headers).unwrap().unwrap().date.as_str(), "20150830T123600Z");
        }
    }

    #[test]
    fn nothing_presented_is_anonymous_and_an_empty_header_is_nothing() {
        assert_eq!(present("list-type=2&prefix=Signature", &[]).unwrap(), None);
        assert_eq!(present("", &[("authorization", " ")]).unwrap(), None);
    }

    #[test]
    fn other_mechanisms_are_refused() {
        assert!(matches!(present("", &[("authorization", "AWS AKID:sig")]), Err(Error::UnsupportedMechanism)));
        assert!(matches!(present("AWSAccessKeyId=A&Signature=b&Expires=1", &[]), Err(Error::UnsupportedMechanism)));
        let sigv4a = "AWS4-ECDSA-P256-SHA256 Credential=a";
        assert!(matches!(present("", &[("authorization", sigv4a)]), Err(Error::SigV4aNotImplemented)));
        assert!(matches!(present("", &[("authorization", "Bearer x")]), Err(Error::UnsupportedType { .. })));
        assert!(matches!(present(GOOD_QUERY, &[("authorization", GOOD)]), Err(Error::OneMechanismOnly { .. })));
        let twice = [("authorization", GOOD), ("authorization", GOOD)];
        assert!(matches!(present("", &twice), Err(Error::UnsupportedType { .. })));
    }

    #[test]
    fn a_date_is_required() {
        assert!(matches!(present("", &[("authorization", GOOD)]), Err(Error::MissingDate)));
        assert!(matches!(
            present("", &[("authorization", GOOD), ("x-amz-date", "yesterday")]),
            Err(Error::MissingDate)
        ));
    }

    #[test]
    fn edge_case_5_the_scopes_date_is_the_day_of_the_request() {
        assert_eq!(
            header_message(GOOD, "20150831T000000Z"),
            "Invalid credential date \"20150830\". This date is not the same as X-Amz-Date: \"20150831\"."
        );
        assert!(query_message(&GOOD_QUERY.replace("20150830T", "20150831T")).contains("Invalid credential date"));
    }

    #[test]
    fn malformed_headers_are_told_what_is_wrong() {
        let date = "20150830T123600Z";
        assert!(header_message("AWS4-HMAC-SHA256", date).contains("requires three components"));
        assert!(header_message(&GOOD.replace("AKID/", "/"), date).contains("non-empty Access Key (AKID)"));
        assert!(header_message(&GOOD.replace("/us-east-1/s3", ""), date).contains("is mal-formed; expecting"));
        assert!(
            header_message(&GOOD.replace("20150830", "2015083"), date).contains("incorrect date format \"2015083\"")
        );
        assert!(header_message(&GOOD.replace("aws4_request", "aws5"), date).contains("incorrect terminal \"aws5\""));
    }

    #[test]
    fn malformed_queries_are_told_what_is_wrong() {
        assert!(query_message("X-Amz-Algorithm=AWS4-HMAC-SHA256").starts_with("Query-string authentication version 4"));
        assert!(query_message(&GOOD_QUERY.replace("-HMAC-", "-HMUC-")).starts_with("X-Amz-Algorithm only supports"));
        assert!(query_message(&GOOD_QUERY.replace("AKID%2F", "%2F")).contains("non-empty Access Key"));
        assert!(query_message(&GOOD_QUERY.replace("T123600Z", "")).starts_with("X-Amz-Date must be in"));
        assert!(query_message(&GOOD_QUERY.replace("Expires=60", "Expires=x")).contains("should be a number"));
        assert!(query_message(&GOOD_QUERY.replace("Expires=60", "Expires=-1")).contains("non-negative"));
        assert!(query_message(&GOOD_QUERY.replace("Expires=60", "Expires=604801")).contains("less than a week"));
        assert!(query_message(&format!("{GOOD_QUERY}&X-Amz-Expires=9")).starts_with("Query-string"));
    }

    proptest! {
        #[test]
        fn no_input_panics(authorization in "(AWS4-HMAC-SHA256 )?[ -~]{0,80}", query in "[ -~]{0,120}") {
            let _ = present(&query, &[("authorization", &authorization), ("x-amz-date", &authorization)]);
            let _ = present(&format!("X-Amz-Signature=1&{query}"), &[]);
        }
    }
}
