//! `dialect: opaque`, and what does not go with it.

use super::*;
use crate::backend::ftp::Dialect;
use crate::config::BackendSettings;

/// An FTP and an SFTP listener, a mainframe and a file server. `backend`: more keys of the mainframe; `route`: of
/// its route, in line 9; `rest` begins in line 12.
fn with(backend: &str, route: &str, rest: &str) -> String {
    format!(
        r#"listeners:
  public: {{ protocol: ftp, address: "0.0.0.0:21", active: {{ allowed: true }} }}
  jobs: {{ protocol: ftp, address: "0.0.0.0:2121", active: {{ allowed: true }} }}
  sftp: {{ protocol: sftp, address: "0.0.0.0:22", host_keys: ssh_host_ed25519_key }}
backends:
  mainframe: {{ protocol: ftp, address: 10.1.2.3, dialect: opaque{backend} }}
  server: {{ protocol: ftp, address: 10.1.2.4 }}
routes:
  - {{ match: {{ listeners: jobs }}, authenticate: backend, backend: mainframe{route} }}
  - authenticate: backend
    backend: server
{rest}"#
    )
}

/// One mistake in this line.
#[track_caller]
fn one(text: &str, line: usize, message: &str) {
    let output = report(text);
    assert!(output.contains(&format!("lockgate.yaml:{line}:")), "{line}\n{output}");
    assert!(output.contains(message), "{message}\n{output}");
    assert!(output.ends_with("\n1 problem"), "{output}");
}

fn rules(rules: &[&str]) -> String {
    let rules: Vec<_> = rules.iter().map(|rule| format!("    - {{ {rule} }}\n")).collect();
    format!("policy:\n  rules:\n{}", rules.concat())
}

#[test]
fn a_server_with_its_rules_is_accepted() {
    let rest = rules(&[
        "name: jobs, match: { groups: operators }, allow: [SITE FILETYPE, SITE LRECL, RCMD]",
        "name: no-site, match: { backends: mainframe }, deny: SITE",
        "name: files, match: { backends: server, paths: \"/in/**\" }, allow: all",
        "name: others, match: { listeners: public, extensions: exe }, deny: create",
        "name: sftp, match: { protocols: sftp }, hide: list",
        "name: all, allow: all",
    ]) + "  uploads:\n    - { name: small, match: { backends: server }, max_size: 1MiB }\n\
          users:\n  op: { password_hash: \"HASH\", groups: operators }\n";
    let rest = rest.replace("HASH", HASH);
    let compiled = compiled(&with(", partial_uploads: keep", ", root: /", &rest));
    let dialects = compiled.backends.iter().map(|(_, settings)| match settings {
        BackendSettings::Ftp(ftp) => ftp.dialect,
        _ => panic!("an FTP server"),
    });
    assert_eq!(dialects.collect::<Vec<_>>(), [Dialect::Opaque, Dialect::Unix]);
    let policy = compiled.policy.unwrap();
    assert_eq!(policy.rules()[0].commands, ["SITE FILETYPE", "SITE LRECL", "RCMD"]);
}

#[test]
fn keys_of_the_backend_that_need_paths_are_refused() {
    one(&with("", "", "").replace("opaque", "mvs"), 6, "\"mvs\" is not one of unix, opaque");
    for (keys, message) in [
        ("partial_uploads: temporary-name", "cannot name a temporary file there"),
        ("partial_uploads: delete", "does not know which file it would delete"),
        ("names: windows", "has no effect with `dialect: opaque`: paths go to the server"),
        ("login_folder: /x", "has no effect with `dialect: opaque`: paths go to the server"),
        ("connections: 2", "a session has one control connection"),
        ("tail_copy_max: 1MiB", "it is for SFTP clients"),
        ("unchecked_rename: refuse", "it is for SFTP clients"),
        ("unsupported_attributes: ignore", "the server's own reply is relayed"),
    ] {
        one(&with(&format!(", {keys}"), "", ""), 6, message);
    }
    let sftp = with("", "", "").replace(
        "server: { protocol: ftp, address: 10.1.2.4",
        "server: { protocol: sftp, address: 10.1.2.4, danger_accept_any_host_key: true, dialect: unix",
    );
    one(&sftp, 7, "belongs to `protocol: ftp`");
}

#[test]
fn routes_put_no_folder_before_its_paths_and_begin_at_ftp_listeners() {
    let folder = "so it cannot put a folder before them";
    for route in
        ["root: /x", "root: home", "root: \"/p/{user}\"", "rewrite: [{ from: /a, to: /b }]"]
    {
        one(&with("", &format!(", {route}"), ""), 9, folder);
    }
    let named = with("", "", "").replace("listeners: jobs", "listeners: [jobs, sftp]");
    one(
        &named,
        9,
        "clients of the SFTP listener \"sftp\" could come there: SFTP cannot name its files; remove it",
    );
    let by_users = with("", "", "").replace("listeners: jobs", "users: \"op-*\"");
    one(&by_users, 9, "name the FTP listeners in `match.listeners`");
    // SFTP clients send no server name.
    let by_name =
        with("", "", "").replace("listeners: jobs", "server_names: mvs.example.com").replace(
            "0.0.0.0:2121\"",
            "0.0.0.0:2121\", tls: { mode: required, certificate: tls.crt, key: tls.key }",
        );
    compiled(&by_name);
    let chosen = with("", "", "").replace(
        "{ match: { listeners: jobs }, authenticate: backend, backend: mainframe",
        "{ authenticate: backend, user_at_backend: [server, mainframe]",
    );
    one(&chosen, 9, "the SFTP listener \"sftp\"");
}

#[test]
fn rules_that_need_names_are_refused_where_they_can_apply() {
    for (rule, message) in [
        ("match: { paths: \"/in/**\" }, allow: list", "names of files"),
        ("match: { paths: \"/**\", users: bob }, deny: read", "names of files"),
        ("match: { extensions: exe }, deny: create", "names of files"),
        (
            "match: { backends: [server, mainframe], extensions: exe }, deny: create",
            "names of files",
        ),
        ("match: { listeners: jobs }, hide: [read, rename, link]", "listings"),
        ("match: { protocols: [sftp, ftp] }, hide: list", "listings"),
    ] {
        let rest = rules(&[&format!("name: x, {rule}"), "name: all, allow: all"]);
        let output = report(&with("", "", &rest));
        let applies = "applies to sessions at backend \"mainframe\", which has `dialect: opaque`";
        assert!(
            output.contains("lockgate.yaml:14:") && output.contains(applies),
            "{rule}\n{output}"
        );
        assert!(output.contains(&format!("does not read {message} there")), "{rule}\n{output}");
        assert!(output.ends_with("\n1 problem"), "{output}");
    }
    let uploads = rules(&["name: all, allow: all"])
        + "  uploads:\n    - { name: tables, allowed_names: \"*.csv\" }\n";
    one(&with("", "", &uploads), 16, "names and sizes of files");
    // An answer of a login hook may lead there.
    let hook =
        with("", "", &rules(&["name: x, match: { listeners: public, paths: /a }, allow: all"]))
            .replace(
                "  - authenticate: backend\n    backend: server",
                "  - authenticate: http\n    backend: server",
            )
            + "login_hooks:\n  h: { socket: hook.sock }\n";
    one(&hook, 14, "names of files");
}

#[test]
fn unknown_commands_are_for_opaque_servers() {
    let rest = rules(&["name: x, allow: SITE LRECL"]);
    compiled(&with("", "", &rest));
    let unix = with("", "", &rest).replace(", dialect: opaque", "");
    one(&unix, 14, "\"SITE LRECL\" is neither an operation nor an FTP command");
    for word in ["READ", "WRITE", "SITE", "X", "SITE 1", "TOOLONGCOMMAND", "SITE A B"] {
        let text = with("", "", &rules(&[&format!("name: x, allow: \"{word}\"")]));
        if word == "SITE" {
            compiled(&text);
        } else {
            one(&text, 14, "is neither an operation nor an FTP command");
        }
    }
}

#[test]
fn a_group_has_one_dialect() {
    let group = with("", "", "")
        .replace("routes:", "  both: { protocol: group, servers: [mainframe, server] }\nroutes:");
    one(&group, 8, "backends \"mainframe\" and \"server\" have different dialects");
    let two = with("", ", root: /x", "")
        .replace(
            "routes:",
            "  second: { protocol: ftp, address: 10.1.2.5, dialect: opaque }\n\
             \x20 both: { protocol: group, servers: [second, mainframe] }\nroutes:",
        )
        .replace("backend: mainframe", "backend: both");
    one(&two, 11, "cannot be used with backend \"both\"");
}
