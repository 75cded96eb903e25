//! The samples in `config/` and in the documents are valid.

use std::fs;
use std::path::Path;

use super::*;

/// Every sample in `config/` is valid, beside the files that it names, without warnings.
#[test]
fn every_sample_is_valid() {
    let samples = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("config")).unwrap();
    let mut seen = 0;
    for sample in samples {
        let path = sample.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let compiled = load_beside(folder().path(), &text)
            .unwrap_or_else(|report| panic!("{}:\n{report}", path.display()));
        assert!(compiled.warnings.is_empty(), "{}:\n{}", path.display(), compiled.warnings);
        seen += 1;
    }
    assert!(seen >= 5);
}

/// A copied sample must accept every client.
#[test]
fn no_sample_requires_data_connections_to_resume_their_session() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let samples = fs::read_dir(folder.join("config")).unwrap().map(|it| it.unwrap().path());
    let pages = ["README.md", "deploy/firewall.md", "docs/old-clients.md", "docs/sftp.md"]
        .map(|page| folder.join(page));
    for path in samples.chain(pages) {
        let text = fs::read_to_string(&path).unwrap();
        let yaml: String = if path.extension().is_some_and(|it| it == "md") {
            text.split("```").filter(|block| block.starts_with("yaml\n")).collect()
        } else {
            text
        };
        assert!(yaml.contains("listeners:"), "{}", path.display());
        assert!(!yaml.contains("data_sessions: resumed"), "{}", path.display());
    }
}

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let page = fs::read_to_string(page).unwrap();
    let yaml = page.split("```").find_map(|block| block.strip_prefix("yaml\n")).unwrap();
    let compiled = load_beside(folder().path(), yaml).unwrap_or_else(|report| panic!("{report}"));
    assert!(compiled.warnings.is_empty(), "{}", compiled.warnings);
}

/// Completed with a backend.
#[test]
fn the_listeners_for_old_clients_are_valid() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/old-clients.md");
    let page = fs::read_to_string(page).unwrap();
    let yaml = page.split("```").find_map(|block| block.strip_prefix("yaml\n")).unwrap();
    let yaml = yaml.replace("ssh_host_ecdsa_key", "ecdsa");
    let rest = "backends:\n  files: { protocol: sftp, address: a, danger_accept_any_host_key: true }\n\
                routes:\n  - { authenticate: backend, backend: files }\n";
    let compiled = load_beside(folder().path(), &format!("{yaml}{rest}"))
        .unwrap_or_else(|report| panic!("{report}"));
    let warnings = compiled.warnings.to_string();
    assert!(
        warnings.contains("listeners.scanners.algorithms: accepts broken algorithms from clients"),
        "{warnings}"
    );
    assert!(warnings.ends_with("\n1 warning"), "{warnings}");
}

/// The description of every key is part of the JSON Schema.
#[test]
fn the_schema_describes_every_key() {
    fn walk(schema: &serde_json::Value, path: &str) {
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            assert!(below["description"].as_str().is_some_and(|d| !d.is_empty()), "{path}");
            assert!(!key.starts_with("r#"));
            for inner in
                [below, &below["additionalProperties"], &below["items"], &below["anyOf"][1]]
            {
                walk(inner, &path);
            }
        }
    }
    let schema = crate::config::json_schema();
    assert_eq!(schema["required"], serde_json::json!(["listeners", "backends", "routes"]));
    assert!(schema["properties"]["routes"]["items"]["properties"]["match"].is_object());
    walk(&schema, "");
}
