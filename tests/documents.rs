//! The documents say what is true: the reference of the configuration is the one that the program prints.

use std::fs;
use std::path::{Path, PathBuf};

const RENEW: &str = "LOCKGATE_RENEW_DOCUMENTS=1 cargo test --test documents";

#[test]
fn the_configuration_reference_is_the_one_of_the_schema() {
    let path = root().join("docs/configuration-reference.md");
    let expected = lockgate::config::reference();
    if std::env::var_os("LOCKGATE_RENEW_DOCUMENTS").is_some() {
        fs::write(&path, &expected).expect("writing the reference");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs =
        written.lines().zip(expected.lines()).find(|(written, expected)| written != expected);
    assert!(
        written == expected,
        "docs/configuration-reference.md is not what `lockgate schema --markdown` prints; first difference: \
         {differs:#?}. To renew it: {RENEW}"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
