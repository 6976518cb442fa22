//! The Security Token Service: temporary credentials, and who somebody is.

pub(super) mod assume;
mod credentials;
pub(super) mod federation;
pub(super) mod identity;
pub(super) mod issuer;
pub(super) mod web_identity;
