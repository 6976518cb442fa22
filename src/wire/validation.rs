//! What AWS's front ends say of members that break a service's model: IAM, STS and KMS share the words.

/// What a member that must be given is to be.
pub const NOT_NULL: &str = "not be null";

/// What a member breaks. `value` is repeated as it is given here, if it may be told.
pub fn fault(value: Option<&str>, member: &str, rule: &str) -> String {
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("Value{value} at '{}' failed to satisfy constraint: Member must {rule}", lower_first(member))
}

/// `2 validation errors detected: …`: all that a request breaks.
pub fn told(faults: &[String]) -> String {
    let errors = if faults.len() == 1 { "error" } else { "errors" };
    format!("{} validation {errors} detected: {}", faults.len(), faults.join("; "))
}

/// A member's name as AWS's validation and CloudTrail show it: with a lower-case first letter.
pub fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted() {
        let (first, second) = (fault(Some("''"), "KeyId", "be x"), fault(None, "Plaintext", NOT_NULL));
        let told_first = "Value '' at 'keyId' failed to satisfy constraint: Member must be x";
        assert_eq!(told(std::slice::from_ref(&first)), format!("1 validation error detected: {told_first}"));
        let told_second = "Value at 'plaintext' failed to satisfy constraint: Member must not be null";
        assert_eq!(told(&[first, second]), format!("2 validation errors detected: {told_first}; {told_second}"));
    }
}
