//! placeholder: the write protocols
