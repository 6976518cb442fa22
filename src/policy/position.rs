//! Where statements stand in a document, as IAM's simulations tell it: a statement begins right behind what is in front of it,
//! which is the bracket of the list, the statement before, or, where it stands by itself, its own brace; and ends behind its
//! closing brace. (AWS CLI reference, the examples of `simulate-custom-policy` and `simulate-principal-policy`.)

/// A place in a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// From where to where a statement stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Where it begins.
    pub start: Position,
    /// The place behind it.
    pub end: Position,
}

/// The statements of `text`, which is a policy, in order.
pub(super) fn spans(text: &str) -> Vec<Span> {
    let (mut spans, mut depth, mut at) = (Vec::new(), 0_usize, Position { line: 1, column: 1 });
    // What the member of the document that is being read is called, and where a string began.
    let (mut member, mut string, mut escaped) = (None::<String>, None::<usize>, false);
    // How deep the next statement lies, and from where.
    let (mut level, mut start) = (0, at);
    for (index, char) in text.char_indices() {
        at = match char {
            '\n' => Position { line: at.line + 1, column: 1 },
            _ => Position { column: at.column + 1, ..at },
        };
        if let Some(begun) = string {
            match char {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    string = None;
                    if depth == 1 && member.is_none() {
                        member = serde_json::from_str(&text[begun..=index]).ok();
                    }
                }
                _ => {}
            }
            continue;
        }
        let is_statement = member.as_deref() == Some("Statement");
        match char {
            '"' => string = Some(index),
            ',' if depth == 1 => member = None,
            '{' | '[' => {
                depth += 1;
                if is_statement && depth == 2 {
                    (level, start) = (if char == '[' { 3 } else { 2 }, at);
                }
            }
            '}' | ']' => {
                if is_statement && char == '}' && depth == level {
                    spans.push(Span { start, end: at });
                    start = at;
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<[usize; 4]> {
        let told = |Span { start, end }: &Span| [start.line, start.column, end.line, end.column];
        spans(text).iter().map(told).collect()
    }

    /// The examples of the AWS CLI's reference, whose answers are AWS's own.
    #[test]
    fn statements_are_where_aws_says() {
        let one = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}"#;
        assert_eq!(told(one), [[1, 38, 1, 167]]);
        let list = "{\n    \"Version\": \"2012-10-17\",\n    \"Statement\": [\n        {\n            \"Effect\": \"Allow\",\n            \
                    \"Action\": \"codecommit:ListRepositories\",\n            \"Resource\": \"*\"\n        }\n    ]\n}";
        assert_eq!(told(list), [[3, 19, 8, 10]]);
    }

    #[test]
    fn what_is_in_strings_is_no_structure() {
        let text = r#"{"Id": "Statement: [{", "St\u0061tement": [{"Sid": "a}\"]"}, {"Sid": "ü", "Condition": {"x": {}}}], "Version": "x"}"#;
        let found = told(text);
        let at = |[_, from, _, to]: [usize; 4]| text.chars().skip(from - 1).take(to - from).collect::<String>();
        assert_eq!(found.len(), 2);
        assert_eq!(at(found[0]), r#"{"Sid": "a}\"]"}"#);
        assert_eq!(at(found[1]), r#", {"Sid": "ü", "Condition": {"x": {}}}"#);
        assert_eq!(told(r#"{"Version": "x"}"#), [[0; 4]; 0]);
    }
}
