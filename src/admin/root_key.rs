//! The root key: how it is kept, and its rotation.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::Admin;
use super::error::Failure;
use crate::iam::{self, Identity, Question};
use crate::kms::root::RootKeyError;
use crate::kms::root::rotation::RotationError;

pub(super) fn describe(admin: &Admin, identity: &Identity) -> Result<(StatusCode, Value), Failure> {
    authorize(admin, identity, "strongroom:GetRootKey")?;
    let root = admin.root_key.root();
    let document = json!({"id": root.id(), "protection": root.protection(), "rotating": root.is_rotating()});
    Ok((StatusCode::OK, document))
}

pub(super) async fn rotate(admin: &Admin, identity: &Identity) -> Result<(StatusCode, Value), Failure> {
    authorize(admin, identity, "strongroom:RotateRootKey")?;
    // It goes on to its end though the client leave.
    let rotation = Arc::clone(&admin.root_key);
    let ended = tokio::spawn(async move { rotation.rotate().await }).await;
    let report = ended.map_err(|error| failed(Box::new(error)))?.map_err(refuse)?;
    let resealed: Vec<Value> =
        report.resealed.iter().map(|(what, count)| json!({"what": what, "count": count})).collect();
    Ok((StatusCode::OK, json!({"id": report.current, "resealed": resealed})))
}

/// The server's own account alone.
fn authorize(admin: &Admin, identity: &Identity, action: &'static str) -> Result<(), Failure> {
    iam::authorize(&Question::new(Some(identity), action, "*", Some(&admin.operator)))?;
    if identity.account.id == admin.operator {
        return Ok(());
    }
    Err(Failure::new(StatusCode::FORBIDDEN, "AccessDenied", "The root key is the affair of the server's own account."))
}

fn refuse(error: RotationError) -> Failure {
    match error {
        RotationError::Root(RootKeyError::NotKept) => {
            Failure::new(StatusCode::CONFLICT, "RootKeyNotKept", RootKeyError::NotKept.to_string())
        }
        // What seals it is the operator's own: its words help them.
        RotationError::Root(error @ (RootKeyError::Unsealing { .. } | RootKeyError::Locked(_))) => {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "RootKeyNotSealed", error.to_string())
        }
        error => failed(Box::new(error)),
    }
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    Failure::because(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalError",
        "The root key was not rotated, or not wholly.",
        error,
    )
}
