//! Answers in the query protocol's XML. A handler answers a JSON tree: objects are structures, arrays lists, and an object
//! of the one member [`ENTRIES`] is a map.

use std::fmt::Write as _;

use serde_json::Value;

use super::failure::Failure;
use super::operation::Service;

/// The member that makes an object a map.
pub(super) const ENTRIES: &str = "$entries";

/// A success of the operation `name`.
pub(super) fn success(service: Service, name: &str, answer: &Value, request_id: &str) -> String {
    let mut xml = format!("<{name}Response xmlns=\"{}\">\n", service.namespace());
    if !answer.is_null() {
        element(&mut xml, &format!("{name}Result"), answer);
        xml.push('\n');
    }
    // Writing to a string cannot fail.
    let _ =
        write!(xml, "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\n</{name}Response>\n");
    xml
}

/// A refusal.
pub(super) fn failure(service: Service, failure: &Failure, request_id: &str) -> String {
    let fault = if failure.status.is_server_error() { "Receiver" } else { "Sender" };
    let mut xml = format!(
        "<ErrorResponse xmlns=\"{}\">\n<Error><Type>{fault}</Type><Code>{}</Code><Message>",
        service.namespace(),
        failure.code
    );
    escape(&mut xml, &failure.message);
    let _ = write!(xml, "</Message></Error>\n<RequestId>{request_id}</RequestId>\n</ErrorResponse>\n");
    xml
}

fn element(xml: &mut String, name: &str, value: &Value) {
    let _ = write!(xml, "<{name}>");
    match value {
        Value::Null => {}
        Value::Object(members) => match members.get(ENTRIES) {
            Some(Value::Object(entries)) => {
                for (key, value) in entries {
                    xml.push_str("<entry>");
                    element(xml, "key", &Value::String(key.clone()));
                    element(xml, "value", value);
                    xml.push_str("</entry>");
                }
            }
            _ => {
                for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                    element(xml, name, value);
                }
            }
        },
        Value::Array(items) => {
            for item in items {
                element(xml, "member", item);
            }
        }
        Value::String(text) => escape(xml, text),
        other => {
            let _ = write!(xml, "{other}");
        }
    }
    let _ = write!(xml, "</{name}>");
}

fn escape(xml: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#13;"),
            // What XML 1.0 has no form for.
            control if control < ' ' && control != '\t' && control != '\n' => xml.push('\u{fffd}'),
            other => xml.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn trees_become_structures_lists_and_maps() {
        let answer = json!({
            "User": {"UserName": "a<b", "Tags": [{"Key": "k"}], "Boundary": null},
            "IsTruncated": false,
            "SummaryMap": {ENTRIES: {"Users": 1}},
        });
        let xml = success(Service::Iam, "GetUser", &answer, "R");
        assert_eq!(
            xml,
            "<GetUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\n<GetUserResult>\
             <IsTruncated>false</IsTruncated>\
             <SummaryMap><entry><key>Users</key><value>1</value></entry></SummaryMap>\
             <User><Tags><member><Key>k</Key></member></Tags><UserName>a&lt;b</UserName></User>\
             </GetUserResult>\n<ResponseMetadata><RequestId>R</RequestId></ResponseMetadata>\n</GetUserResponse>\n"
        );
        assert!(!success(Service::Iam, "DeleteUser", &Value::Null, "R").contains("Result>"));
    }
}
