//! What this server has none of: passwords, second factors, certificates and the like. It answers as AWS does of accounts and users
//! that have none, since clients that list or tidy up ask for them (Terraform's `aws_iam_user` with `force_destroy`).

use serde_json::{Value, json};

use super::{paged, users};
use crate::iam::api::Call;
use crate::iam::api::failure::{Failure, Result, no_such_entity};
use crate::iam::api::params::Params;

macro_rules! lists {
    ($($function:ident $member:literal $(, $check:expr)?;)*) => {
        $(pub(super) async fn $function(call: &Call<'_>) -> Result<Value> {
            $(let check: fn(&Params) -> Result<()> = $check;
            check(call.params)?;)?
            // Of some only users have any; the user must be there.
            if call.params.text("UserName").is_some() {
                users::find(&call.state(), &users::name(call)?)?;
            }
            paged(call, $member, std::iter::empty())
        })*
    };
}

lists! {
    mfa_devices "MFADevices";
    server_certificates "ServerCertificateMetadataList";
    service_credentials "ServiceSpecificCredentials", |params| params.flag("AllUsers").map(drop);
    signing_certificates "Certificates";
    ssh_keys "SSHPublicKeys";
    virtual_mfa_devices "VirtualMFADevices",
        |params| params.choice("AssignmentStatus", &["Assigned", "Unassigned", "Any"]).map(drop);
}

/// Which has no pages.
pub(super) async fn saml_providers(_: &Call<'_>) -> Result<Value> {
    Ok(json!({"SAMLProviderList": []}))
}

pub(super) async fn password_policy(call: &Call<'_>) -> Result<Value> {
    Err(no_such_entity(format!("The Password Policy with domain name {} cannot be found.", call.account())))
}

pub(super) async fn password_policy_to_delete(_: &Call<'_>) -> Result<Value> {
    Err(no_such_entity("The account policy with name PasswordPolicy cannot be found."))
}

pub(super) async fn login_profile(call: &Call<'_>) -> Result<Value> {
    let name = users::name(call)?;
    let missing = |name: &str| -> Failure { no_such_entity(format!("Login Profile for User {name} cannot be found.")) };
    Err(users::find(&call.state(), &name).map_or_else(|absent| absent, |user| missing(&user.name)))
}
