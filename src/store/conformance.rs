//! placeholder: conformance
