//! What `cargo test` alone leaves out, said where people look.

#[cfg(not(feature = "real-software"))]
#[test]
#[ignore = "real servers and clients: run `tests/run` (Debian, root), or `tests/install` and then \
            `cargo test --features real-software`"]
fn tests_with_real_software() {}
