//! How RocksDB is set up, and why. Memory is bounded here: the block cache holds data, index and filter blocks; the
//! memtables of all column families together stay under [`MEMTABLES`].

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, Options, ReadOptions,
    ReadTier, WriteOptions,
};

use super::meta::Family;

/// Bytes of all memtables together.
const MEMTABLES: usize = 48 << 20;
/// Bytes of one memtable.
const MEMTABLE: usize = 16 << 20;
/// Bytes of a block: of metadata some twenty records, of small runs one or a few, as neighbours have nothing to do with each
/// other.
const BLOCK: usize = 8 * 1024;
/// The part of a memtable that its filter takes.
const MEMTABLE_FILTER: f64 = 0.02;
/// The least free space that RocksDB is to be left with, in bytes: it needs a memtable's worth to recover from a full disk.
pub(super) const LEAST_RESERVE: u64 = 32 << 20;
/// Free bytes that a start is to leave to what else the server writes then: the audit's log, keys, RocksDB's own next log.
pub(super) const ROOM_TO_START: u64 = 8 << 20;
/// Bytes of log after which the column family that holds the oldest of it is flushed.
const LOG: u64 = 128 << 20;
/// Open table files. Their index and filter blocks are in the block cache, so a handle is cheap.
const OPEN_TABLES: i32 = 512;

/// Options of the whole database.
pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(MEMTABLES);
    options.set_max_total_wal_size(LOG);
    // A log file that exists in full already needs no change of its size in the file system's journal at each sync.
    options.set_recycle_log_file_num(2);
    // That one of several logs is gone or was cut is seen at the next start; of the last one the mark tells (`mark`).
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_open_files(OPEN_TABLES);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    // Each start writes two.
    options.set_keep_log_file_num(8);
    options.set_max_log_file_size(4 << 20);
    options.set_skip_stats_update_on_db_open(true);
    options.set_avoid_unnecessary_blocking_io(true);
    options
}

/// The column families, sharing one block cache of `cache_bytes`.
pub(super) fn families(cache_bytes: usize) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(cache_bytes);
    Family::ALL
        .iter()
        .map(|&family| ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache)))
        .collect()
}

/// Options of a write that is durable before it returns.
pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

/// Options of a write whose loss in a crash is made good at the next start.
pub(super) fn unsynced() -> WriteOptions {
    WriteOptions::default()
}

/// Options of a read that fails as incomplete rather than wait for the disk.
pub(super) fn memory_only() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(ReadTier::BlockCache);
    options
}

fn family_options(family: Family, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_bloom_filter(10.0, false);
    // Index and filter of a table come in pieces of a block each: where they are larger than the cache, a read takes up one
    // piece of each rather than all of it.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_format_version(5);
    blocks.set_block_size(BLOCK);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(MEMTABLE);
    options.set_max_write_buffer_number(3);
    // Most reads are of what was flushed long ago: a filter says so before a memtable is searched.
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER);
    options.set_level_compaction_dynamic_level_bytes(true);
    match family {
        // Sealed bytes do not compress.
        Family::Data => options.set_compression_type(DBCompressionType::None),
        Family::Index | Family::Runs | Family::Space => {
            options.set_compression_type(DBCompressionType::Lz4);
            // A stretch of deleted keys slows every scan across it until it is compacted away.
            options.add_compact_on_deletion_collector_factory(1024, 512, 0.0);
        }
    }
    options
}
