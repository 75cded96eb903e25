//! The program's allocator, jemalloc, and how soon it gives back to the system what was freed.

use std::hint::black_box;

use anyhow::Context;
use tikv_jemalloc_ctl::{Access, AsName, background_thread};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// In milliseconds, until all of what is not used again is given back. A transfer uses its buffers again
/// much earlier; with jemalloc's own 10 s, transfers hold more than they are allowed.
const DECAY: isize = 500;
/// Larger than what jemalloc takes for oversize, 8 MiB.
const OVERSIZE: usize = 16 << 20;

/// To be called while the program has no other thread.
pub fn set_up() -> anyhow::Result<()> {
    let set = || {
        // The arena that is there, and those to come.
        b"arena.0.dirty_decay_ms\0".name().write(DECAY)?;
        b"arenas.dirty_decay_ms\0".name().write(DECAY)?;
        // What is oversize has an arena of its own, which gives back at once what is freed if it was made
        // before there were background threads. The memory of a password's check must not stay.
        drop(black_box(Vec::<u8>::with_capacity(OVERSIZE)));
        // They see to it while nothing happens.
        background_thread::write(true)
    };
    set().context("the allocator cannot be set up")
}
