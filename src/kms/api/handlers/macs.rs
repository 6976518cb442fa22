//! HMAC.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::fields::Fields;
use super::unless_dry;
use crate::kms::Caller;
use crate::kms::local::LocalKms;
use crate::kms::spec::MacAlgorithm;

pub(super) fn generate(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let message = fields.required_blob("Message")?;
    let algorithm = algorithm(fields)?;
    let (arn, tag) = kms.generate_mac(caller, &fields.key("KeyId")?, algorithm, &message)?;
    unless_dry(fields)?;
    Ok(json!({"Mac": STANDARD.encode(tag), "MacAlgorithm": algorithm.as_str(), "KeyId": arn.as_str()}))
}

pub(super) fn verify(kms: &LocalKms, caller: &Caller, fields: Fields<'_>) -> Result<Value, Failure> {
    let message = fields.required_blob("Message")?;
    let algorithm = algorithm(fields)?;
    let tag = fields.required_blob("Mac")?;
    let arn = kms.verify_mac(caller, &fields.key("KeyId")?, algorithm, &message, &tag)?;
    unless_dry(fields)?;
    Ok(json!({"MacValid": true, "MacAlgorithm": algorithm.as_str(), "KeyId": arn.as_str()}))
}

fn algorithm(fields: Fields<'_>) -> Result<MacAlgorithm, Failure> {
    Ok(MacAlgorithm::parse(fields.required_text("MacAlgorithm")?).unwrap_or_default())
}
