//! The program's allocator, jemalloc, and how soon it returns freed memory to the system.

use std::hint::black_box;

use anyhow::Context;
use tikv_jemalloc_ctl::{Access, AsName, background_thread};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// In milliseconds, until unused memory returns to the system. A transfer reuses its buffers much earlier;
/// with jemalloc's default of 10 s, transfers would hold more memory than they are allowed.
const DECAY_TIME: isize = 500;
/// Larger than jemalloc's threshold for oversize allocations, 8 MiB.
const OVERSIZE_ALLOCATION_SIZE: usize = 16 << 20;

/// To be called before the program starts other threads.
pub(crate) fn set_up() -> anyhow::Result<()> {
    let set = || {
        // The existing arena, and later ones.
        b"arena.0.dirty_decay_ms\0".name().write(DECAY_TIME)?;
        b"arenas.dirty_decay_ms\0".name().write(DECAY_TIME)?;
        // Oversize allocations have an arena of their own, which returns freed memory at once if it was
        // created before the background threads. The memory of a password check must not remain.
        drop(black_box(Vec::<u8>::with_capacity(OVERSIZE_ALLOCATION_SIZE)));
        // They return memory while the program is idle.
        background_thread::write(true)
    };
    set().context("the allocator cannot be set up")
}
