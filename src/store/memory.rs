//! placeholder: the in-memory reference backend
