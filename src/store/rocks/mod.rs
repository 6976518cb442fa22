//! placeholder: the RocksDB backend
