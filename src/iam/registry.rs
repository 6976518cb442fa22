//! Whom policies may name: the accounts, and their users, roles and identity providers.

use super::{Directory, arn};
use crate::policy::Registry;

impl Registry for Directory {
    fn has_account(&self, id: &str) -> bool {
        self.account(id).is_some()
    }

    fn has_provider(&self, provider: &str) -> bool {
        arn::split(provider).is_some_and(|(account, resource)| {
            let name = resource.strip_prefix("oidc-provider/");
            name.is_some_and(|name| self.compiled(account).state.providers.get(name).is_some())
        })
    }

    fn id_of(&self, principal: &str) -> Option<String> {
        let (account, resource) = arn::split(principal)?;
        self.account(account)?;
        let (compiled, name) = (self.compiled(account), arn::name_of(principal));
        let state = &compiled.state;
        match resource.split_once('/')? {
            ("user", _) => {
                let user = state.users.get(name)?;
                (arn::user(account, &user.path, &user.name) == principal).then(|| user.id.clone())
            }
            ("role", _) => {
                let role = state.roles.get(name)?;
                (arn::role(account, &role.path, &role.name) == principal).then(|| role.id.clone())
            }
            ("assumed-role", rest) => {
                let (name, session) = rest.split_once('/').filter(|(_, session)| !session.contains('*'))?;
                let role = state.roles.get(name).filter(|role| role.name == name && !session.is_empty())?;
                Some(format!("{}:{session}", role.id))
            }
            _ => None,
        }
    }

    fn arn_of(&self, id: &str) -> Option<String> {
        let (id, session) = id.split_once(':').map_or((id, None), |(id, session)| (id, Some(session)));
        self.account_ids().find_map(|account| {
            let compiled = self.compiled(account);
            if id.starts_with("AIDA") {
                let user = compiled.user_by_id(id)?;
                return Some(arn::user(account, &user.path, &user.name));
            }
            let role = compiled.role_by_id(id)?;
            Some(match session {
                Some(session) => arn::session(account, &role.name, session),
                None => arn::role(account, &role.path, &role.name),
            })
        })
    }
}
