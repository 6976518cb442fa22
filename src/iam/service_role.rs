//! Roles that AWS's services act by: passed by whoever configures the service, and assumed by the service.
//! (IAM user guide, "Grant a user permissions to pass a role to an AWS service".)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::store::Compiled;
use super::store::records::RoleRecord;
use super::{Account, Directory, Identity, arn, authorize_service};
use crate::policy::{Context, Grant, Subject};

/// Milliseconds that a service goes by one session of a role.
const SESSION: i64 = 3_600_000;
/// Sessions kept at once.
const KEPT: usize = 1024;

/// A role, as a service finds it.
pub struct ServiceRole {
    account: Arc<Account>,
    compiled: Arc<Compiled>,
    record: Arc<RoleRecord>,
    arn: String,
}

/// The sessions that services have, by role and name. A service keeps one session for a while, as it does on AWS: what is kept
/// for a session, such as S3's bucket keys, would else serve once.
#[derive(Default)]
pub(super) struct ServiceSessions(Mutex<HashMap<(String, String), CachedSession>>);

struct CachedSession {
    /// Of the role's account: a policy that has changed asks for another session.
    generation: u64,
    issued: i64,
    subject: Arc<Subject>,
}

impl Directory {
    /// The role with this ARN, if there is one.
    pub fn service_role(&self, role_arn: &str) -> Option<ServiceRole> {
        let (account, resource) = arn::split(role_arn)?;
        let name = resource.strip_prefix("role/").map(|_| arn::name_of(role_arn))?;
        let account = Arc::clone(self.account(account)?);
        let compiled = self.compiled(&account.id);
        let record = Arc::clone(compiled.state.roles.get(name)?);
        let arn = compiled.role(name).filter(|view| view.arn == role_arn)?.arn.clone();
        Some(ServiceRole { account, compiled, record, arn })
    }
}

impl ServiceRole {
    /// Its account.
    pub fn account(&self) -> &str {
        &self.account.id
    }

    /// Its tags.
    pub fn tags(&self) -> &[(String, String)] {
        &self.record.tags
    }

    /// `service`, such as `s3.amazonaws.com`, as a session of the role called `session`; `None` if the role's trust policy does
    /// not let it be.
    pub fn assumed(
        &self,
        directory: &Directory,
        service: &str,
        session: &str,
        context: &dyn Context,
    ) -> Option<Identity> {
        let trust = self.compiled.role(&self.record.name).map(|view| &*view.trust);
        let at = (self.arn.as_str(), self.account.id.as_str());
        authorize_service(service, "sts:AssumeRole", at, (trust, Grant::None), context).ok()?;
        let (now, generation) = (directory.now()?, self.compiled.state.record.generation);
        let mut sessions = directory.service_sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.arn.clone(), session.to_owned());
        if let Some(kept) = sessions.get(&key)
            && kept.generation == generation
            && (kept.issued..kept.issued + SESSION).contains(&now)
        {
            return Some(Identity::new(&self.account, &kept.subject, ""));
        }
        let subject = directory.session_of(&self.compiled, &self.account.id, &self.record.name, session)?;
        if sessions.len() >= KEPT {
            sessions.clear();
        }
        let identity = Identity::new(&self.account, &subject, "");
        sessions.insert(key, CachedSession { generation, issued: now, subject });
        Some(identity)
    }
}
