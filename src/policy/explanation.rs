//! What decided, for the audit and, where that is wanted, for whoever was refused.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::evaluate::{Decision, Grounds};

/// What an explanation calls a list that allows.
const BY_LIST: &str = "access control list";

/// What decided on a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The IAM action that was judged.
    pub action: &'static str,
    /// `Allow`, `Deny` (a statement denies it) or `ImplicitDeny` (nothing allows it).
    pub decision: &'static str,
    /// The kind of policy that decided, or whose allowance is missing: `resource-based policy`; beside AWS's four kinds
    /// `access control list`, `initiation` (of an upload), `ownership` and `grant`.
    pub source: &'static str,
    /// The statement's `Sid`, or `statement 2` if it has none; a grant's id; `None` where neither decided.
    pub statement: Option<Arc<str>>,
}

impl Explanation {
    /// What `decision` on `action` rests on.
    pub fn of(decision: Decision<'_>, action: &'static str) -> Self {
        let (verdict, source) = match decision {
            Decision::Allowed(Grounds::Statement(source, _)) => ("Allow", source.as_str()),
            Decision::Allowed(Grounds::AccessControlList) => ("Allow", BY_LIST),
            Decision::Allowed(Grounds::Initiation) => ("Allow", "initiation"),
            Decision::Allowed(Grounds::Ownership) => ("Allow", "ownership"),
            Decision::Denied(source, _) => ("Deny", source.as_str()),
            Decision::NotAllowed(source) => ("ImplicitDeny", source.as_str()),
        };
        let statement = decision.statement().map(|statement| Arc::clone(&statement.label));
        Self { action, decision: verdict, source, statement }
    }

    /// The grant of a KMS key that lets `action` happen.
    pub fn by_grant(action: &'static str, id: &str) -> Self {
        Self { action, decision: "Allow", source: "grant", statement: Some(Arc::from(id)) }
    }

    /// Whether it was allowed.
    pub fn is_allowance(&self) -> bool {
        self.decision == "Allow"
    }

    /// Whether an access control list was what allowed it.
    pub fn is_by_list(&self) -> bool {
        self.source == BY_LIST
    }

    /// As events tell it, under `authorization`.
    pub fn told(&self) -> Value {
        let mut told = json!({"action": self.action, "decision": self.decision, "policyType": self.source});
        if let Some(statement) = &self.statement {
            told["statement"] = Value::from(&**statement);
        }
        told
    }

    /// What follows AWS's sentence where the statement that denied is named; nothing where none did.
    pub fn suffix(&self) -> String {
        let statement = self.statement.as_ref().filter(|_| !self.is_allowance());
        statement.map(|statement| format!(" (statement: {statement})")).unwrap_or_default()
    }
}

/// What let a request in, first of all, and what was refused to it, last; and what it turned out to be about.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// What let it in.
    pub allowed: Option<Explanation>,
    /// What was refused to it.
    pub denied: Option<Explanation>,
    /// The ARNs of the resources that it was found to be about, each with the IAM action that was asked of it first.
    pub resources: Vec<(&'static str, String)>,
    /// What the service tells of it beside its answer, by name.
    pub notes: Vec<(&'static str, String)>,
}

impl Decisions {
    /// It was judged so.
    pub fn see(&mut self, explanation: Explanation) {
        if explanation.is_allowance() {
            self.allowed.get_or_insert(explanation);
        } else {
            self.denied = Some(explanation);
        }
    }

    /// What decided: of a request that was refused for want of permission what refused it. What was refused on the way to one
    /// that was not, and did not matter, decided nothing.
    pub fn decisive(self, is_refused: bool) -> Option<Explanation> {
        if is_refused { self.denied.or(self.allowed) } else { self.allowed }
    }
}

/// Sees how a request is judged, for its event. Clones see the same; by default it sees nothing. Who watches makes no request
/// another one: all are equal.
#[derive(Clone, Default)]
pub struct DecisionRecorder(Option<Arc<Mutex<Decisions>>>);

impl DecisionRecorder {
    /// One that sees.
    pub fn watching() -> Self {
        Self(Some(Arc::default()))
    }

    /// The request was judged so.
    pub fn see(&self, explanation: impl FnOnce() -> Explanation) {
        if let Some(decisions) = &self.0 {
            decisions.lock().unwrap_or_else(PoisonError::into_inner).see(explanation());
        }
    }

    /// The request is about the resource `arn`, of which `action` is asked: one that its caller may know of.
    pub fn see_resource(&self, action: &'static str, arn: &str) {
        if let Some(decisions) = &self.0 {
            let seen = &mut decisions.lock().unwrap_or_else(PoisonError::into_inner).resources;
            if seen.iter().all(|(_, other)| other != arn) {
                seen.push((action, arn.to_owned()));
            }
        }
    }

    /// Something is to be told of the request.
    pub fn note(&self, name: &'static str, value: impl Into<String>) {
        if let Some(decisions) = &self.0 {
            decisions.lock().unwrap_or_else(PoisonError::into_inner).notes.push((name, value.into()));
        }
    }

    /// What it has seen.
    pub fn decisions(&self) -> Decisions {
        let decisions = self.0.as_ref().map(|seen| seen.lock().unwrap_or_else(PoisonError::into_inner).clone());
        decisions.unwrap_or_default()
    }
}

impl PartialEq for DecisionRecorder {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for DecisionRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecisionRecorder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(decision: &'static str, statement: Option<&str>) -> Explanation {
        Explanation { action: "s3:GetObject", decision, source: "grant", statement: statement.map(Arc::from) }
    }

    #[test]
    fn the_first_allowance_and_the_last_refusal_are_kept() {
        let (one, other) = (explanation("Allow", Some("a")), explanation("Allow", None));
        let (deny, missing) = (explanation("Deny", Some("d")), explanation("ImplicitDeny", None));
        let witness = DecisionRecorder::watching();
        for seen in [&one, &deny, &other, &missing] {
            witness.clone().see(|| seen.clone());
        }
        assert_eq!(witness.decisions().decisive(false), Some(one));
        assert_eq!(witness.decisions().decisive(true), Some(missing));
        for arn in ["k1", "k2", "k1"] {
            witness.see_resource("kms:Decrypt", arn);
        }
        let seen: Vec<String> = witness.decisions().resources.into_iter().map(|(_, arn)| arn).collect();
        assert_eq!(seen, ["k1", "k2"]);
        let blind = DecisionRecorder::default();
        blind.see(|| deny.clone());
        blind.see_resource("kms:Decrypt", "k1");
        assert_eq!(blind.decisions().decisive(true), None);
    }

    #[test]
    fn denials_alone_are_named_to_whom_they_hit() {
        assert_eq!(explanation("Deny", Some("NoKeys")).suffix(), " (statement: NoKeys)");
        assert_eq!(explanation("ImplicitDeny", None).suffix(), "");
        assert_eq!(explanation("Allow", Some("a")).suffix(), "");
        let told = json!({"action": "s3:GetObject", "decision": "Deny", "policyType": "grant", "statement": "x"});
        assert_eq!(explanation("Deny", Some("x")).told(), told);
        assert_eq!(explanation("ImplicitDeny", None).told().get("statement"), None);
    }
}
