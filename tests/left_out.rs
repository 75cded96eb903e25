//! Shows in the output of `cargo test` which tests it does not run.

#[cfg(not(feature = "real-software"))]
#[test]
#[ignore = "real servers and clients: run `tests/run` (Debian, root), or `tests/install` and then \
            `cargo test --features real-software`"]
fn tests_with_real_software() {}
