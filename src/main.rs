//! The `strongroom` command. All of it is in the library, see `strongroom::cli`.

use std::process::ExitCode;

/// RocksDB and the request path fragment the system's allocator; they share this one.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc reads its options here when the process starts: freed pages go back to the system within a second, by a thread
/// of its own, so that a burst of requests does not stay resident. A thread's cache is looked through after each MiB that the
/// thread has allocated, which is some ten requests: by default after 64 KiB, so that each request paid for it.
#[expect(unsafe_code, reason = "a symbol that jemalloc looks up; it holds a NUL-terminated string, as it must")]
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &[u8; 89] =
    b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,tcache_gc_incr_bytes:1048576\0";

fn main() -> ExitCode {
    strongroom::cli::main()
}
