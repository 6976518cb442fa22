//! What conditions may ask of any request, whatever its service: the global condition keys.
//! (IAM user guide, "AWS global condition context keys".)

use super::Identity;
use crate::clock::{Timestamp, iso8601};
use crate::policy::{Context, Found};
use crate::wire::RequestContext;

/// A request's circumstances. What `more` knows comes first, then the global keys, then those of the principal.
#[derive(Clone, Copy)]
pub struct Circumstances<'r> {
    /// The connection.
    pub cx: &'r RequestContext,
    /// Who asks.
    pub identity: Option<&'r Identity>,
    /// The region that is asked.
    pub region: &'r str,
    /// The time.
    pub now: Timestamp,
    /// `User-Agent`.
    pub user_agent: Option<&'r str>,
    /// What the service knows besides.
    pub more: &'r dyn Context,
}

impl Context for Circumstances<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        match self.more.find(key) {
            Found::None => {}
            found => return found,
        }
        match key {
            "aws:currenttime" => Found::of(Some(iso8601(self.now))),
            "aws:epochtime" => Found::of(Some(self.now.as_second().to_string())),
            // What is asked of these services is the caller's account's, where `more` knows no better.
            "aws:resourceaccount" => Found::of(self.identity.map(|identity| identity.account.id.as_str())),
            "aws:requestedregion" => Found::of(Some(self.region)),
            "aws:securetransport" => Found::of(Some(if self.cx.is_secure() { "true" } else { "false" })),
            "aws:sourceip" => Found::of(Some(self.cx.client.to_string())),
            "aws:useragent" => Found::of(self.user_agent),
            "aws:viaawsservice" => Found::of(Some("false")),
            _ => match self.identity {
                Some(identity) => identity.subject.find(key),
                None => Found::None,
            },
        }
    }
}
