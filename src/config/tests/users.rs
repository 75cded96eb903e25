//! `users_file`, hashes of other servers and `login_guard`.

use std::time::Duration;

use super::mistakes::one;
use super::*;
use crate::auth::GuardSettings;
use crate::config::Stamps;

/// Of `open sesame`.
const MD5: &str = "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/";
const LIMITS: &str = "limits:\n";

/// The base with `users_file`, and a folder with that file.
fn with_file(content: &str) -> (tempfile::TempDir, String) {
    let folder = folder();
    write(&folder, content);
    (folder, base().replacen(LIMITS, "users_file: users.yaml\nlimits:\n", 1))
}

fn write(folder: &tempfile::TempDir, content: &str) {
    let path = folder.path().join("users.yaml");
    fs::write(&path, content).unwrap();
    mode(&path, 0o600);
}

fn user(name: &str, more: &str) -> String {
    format!("users:\n  {name}: {{ password_hash: '{HASH}'{more} }}\n")
}

/// The report about a users_file, without folders.
fn file_report(content: &str) -> String {
    let (folder, text) = with_file(content);
    let report = load_beside(folder.path(), &text).err().expect("errors").to_string();
    report.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn users_of_a_file_are_users() {
    let (folder, text) = with_file(&user("bob", ", groups: staff, authorized_keys: alice.pub"));
    let compiled = load_beside(folder.path(), &text).unwrap_or_else(|report| panic!("{report}"));
    // The checks of users see them.
    let warnings = compiled.warnings.to_string();
    assert!(
        warnings.contains("users.bob.authorized_keys: keys are for SFTP, but no"),
        "{warnings}"
    );
    assert!(warnings.ends_with("\n1 warning"), "{warnings}");
    assert_eq!(compiled.users.iter().len(), 2);
    let bob = compiled.users.get(b"bob").unwrap();
    assert_eq!(bob.groups, ["staff"]);
    assert!(!bob.keys.is_empty());
    // A file without users may get some.
    let (folder, text) = with_file("users: {}\n");
    let alice = text.find("users:\n  alice").unwrap();
    let text = format!("{}{}", &text[..alice], &text[text.find("routes:").unwrap()..]);
    let compiled = load_beside(folder.path(), &text).unwrap_or_else(|report| panic!("{report}"));
    assert!(compiled.users.is_empty());
    let warnings = compiled.warnings.to_string();
    assert!(warnings.contains("there is no user with the group \"staff\" yet"), "{warnings}");
}

#[test]
fn mistakes_in_a_file_of_users_name_its_lines() {
    for (content, expected) in [
        (user("bob", ", grups: staff"), "users.yaml:2:123: users.bob.grups: unknown key"),
        (
            user("alice", ""),
            "users.yaml:2:3: users.alice: is a duplicate of users.alice in line 19",
        ),
        (
            "users:\n  bob: { password_hash: x }".into(),
            "users.yaml:2:25: users.bob.password_hash: is not",
        ),
        ("users:\n  bob: { groups: a }".into(), "users.yaml:2:3: users.bob: has neither"),
        (
            user("bob", ", authorized_keys: none.pub"),
            "users.bob.authorized_keys: cannot read none.pub: No such file",
        ),
        ("listeners: {}\n".into(), "users.yaml:1:1: listeners: unknown key"),
        ("listeners: {}\n".into(), "users.yaml: users: is missing"),
        (String::new(), "users.yaml: is empty; for no users, write `users: {}`"),
        ("users: [\n".into(), "users.yaml:1:8: this is not YAML"),
    ] {
        let report = file_report(&content);
        assert!(report.contains(expected), "{content}\n{report}");
    }
    one(LIMITS, "users_file: none.yaml\nlimits:\n", "28:13: users_file", "cannot read");
    one(LIMITS, "users_file: []\nlimits:\n", "28:1: users_file", "is an empty list");
}

#[test]
fn a_file_of_users_that_all_may_change_or_read_is_told() {
    let (folder, text) = with_file(&user("bob", ", groups: staff"));
    mode(&folder.path().join("users.yaml"), 0o644);
    let compiled = load_beside(folder.path(), &text).unwrap();
    let warnings = compiled.warnings.to_string();
    assert!(warnings.contains("users_file: ") && warnings.contains("chmod 600 it"), "{warnings}");
}

#[test]
fn a_changed_file_is_read_again_once_it_has_settled() {
    let (folder, text) = with_file(&user("bob", ""));
    let compiled = load_beside(folder.path(), &text).unwrap();
    let mut files = compiled.users_files.unwrap();
    let mut seen: Option<Stamps> = None;
    let look = |files: &crate::config::UsersFiles, seen: &mut _| files.has_settled_change(seen);
    assert!(!look(&files, &mut seen) && !look(&files, &mut seen));
    write(&folder, &user("carol", ", authorized_keys: alice.pub"));
    // Changed, but maybe still being written.
    assert!(!look(&files, &mut seen));
    assert!(look(&files, &mut seen));
    let users = files.read_again().unwrap_or_else(|report| panic!("{report}"));
    assert!(users.get(b"carol").is_some() && users.get(b"bob").is_none());
    assert!(users.get(b"alice").is_some(), "the configuration's own");
    assert!(!look(&files, &mut seen) && !look(&files, &mut seen));
    // A broken file is read once.
    write(&folder, &user("alice", ""));
    assert!(!look(&files, &mut seen) && look(&files, &mut seen));
    let report = files.read_again().err().expect("an error").summary();
    assert!(report.contains("users.alice: is one of the configuration's own `users`"), "{report}");
    assert!(!look(&files, &mut seen) && !look(&files, &mut seen));
    write(&folder, "users: {");
    assert!(!look(&files, &mut seen) && look(&files, &mut seen));
    assert!(files.read_again().is_err());
    // A file takes its place.
    fs::write(folder.path().join("new"), user("dave", ", authorized_keys: alice.pub")).unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("users.yaml")).unwrap();
    assert!(!look(&files, &mut seen) && look(&files, &mut seen));
    assert!(files.read_again().unwrap().get(b"dave").is_some());
    // Its keys change.
    fs::write(folder.path().join("alice.pub"), "\n").unwrap();
    assert!(!look(&files, &mut seen) && look(&files, &mut seen));
    assert!(files.read_again().err().expect("an error").summary().contains("contains no key"));
    // Without the file nothing changes.
    fs::remove_file(folder.path().join("users.yaml")).unwrap();
    assert!(!look(&files, &mut seen) && look(&files, &mut seen));
    assert!(files.read_again().err().expect("an error").summary().contains("cannot read"));
}

/// A mounted ConfigMap or Secret: `users.yaml` is a symlink into `..data`, a symlink that changes.
#[test]
fn a_file_of_kubernetes_is_read_again_when_its_symlink_changes() {
    use std::os::unix::fs::symlink;
    let (folder, text) = with_file("");
    let at = |name: &str| folder.path().join(name);
    fs::remove_file(at("users.yaml")).unwrap();
    for (version, name) in [("..1", "bob"), ("..2", "carol")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("users.yaml"), user(name, "")).unwrap();
        mode(&at(version).join("users.yaml"), 0o600);
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/users.yaml", at("users.yaml")).unwrap();
    let compiled = load_beside(folder.path(), &text).unwrap_or_else(|report| panic!("{report}"));
    assert!(compiled.users.get(b"bob").is_some());
    let mut files = compiled.users_files.unwrap();
    symlink("..2", at("..new")).unwrap();
    fs::rename(at("..new"), at("..data")).unwrap();
    let mut seen = None;
    assert!(!files.has_settled_change(&mut seen) && files.has_settled_change(&mut seen));
    assert!(files.read_again().unwrap().get(b"carol").is_some());
}

#[test]
fn weak_hashes_get_one_warning() {
    let more = format!("  bob: {{ password_hash: '{MD5}', groups: staff }}\n");
    let all = format!("{more}{}", more.replace("bob", "carol"));
    for (users, expected) in
        [(&more, "`lockgate hash-password`\n"), (&all, "(1 more users have such a hash)")]
    {
        let text = base().replacen("  alice:\n", &format!("{users}  alice:\n"), 1);
        let warnings = compiled(&text).warnings.to_string();
        assert!(warnings.contains("users.bob.password_hash: is an MD5 hash"), "{warnings}");
        assert!(warnings.contains(expected) && warnings.ends_with("1 warning"), "{warnings}");
        assert!(!warnings.contains("saltsalt"), "{warnings}");
    }
}

#[test]
fn a_check_tells_where_clients_can_find_out_names() {
    let checked = |text: &str| {
        let folder = folder();
        let path = folder.path().join("lockgate.yaml");
        fs::write(&path, text).unwrap();
        let compiled = load_file(&path, &check_only()).unwrap_or_else(|report| panic!("{report}"));
        compiled.warnings.to_string()
    };
    let warnings = checked(&base());
    let expected =
        "26:19: warning: routes[1].authenticate: backend \"server\" answers names like \"alice\"";
    assert!(warnings.contains(expected), "{warnings}");
    let second = "  - authenticate: backend\n";
    for apart in [
        "  - match: { users: \"ftp-*\" }\n    authenticate: backend\n",
        "  - match: { listeners: other }\n    authenticate: backend\n",
    ] {
        let listeners =
            "listeners:\n  other: { protocol: ftp, address: \"0.0.0.0:2121\", data_ports: pool }\n";
        let text = base().replacen(second, apart, 1).replacen("listeners:\n", listeners, 1);
        let text = text.replacen("groups: [staff] }", "groups: [staff], listeners: public }", 1);
        let warnings = checked(&text);
        assert!(!warnings.contains("answers names like"), "{warnings}");
    }
}

#[test]
fn the_guard_has_defaults_and_spares_proxies() {
    assert_eq!(compiled(&base()).login_guard, GuardSettings::default());
    let proxied = base().replacen(
        "    data_ports: pool\n",
        "    data_ports: pool\n    proxy_protocol: [10.0.0.0/8]\n",
        1,
    );
    let guard =
        "login_guard: { max_failures: 5, find_time: 1m, ban_time: 0s, never_ban: 192.0.2.0/24 }\n";
    let text = proxied.replacen(LIMITS, &format!("{guard}limits:\n  login_timeout: 8s\n"), 1);
    let settings = compiled(&text).login_guard;
    assert_eq!((settings.max_failures, settings.find_time), (5, Duration::from_secs(60)));
    assert_eq!((settings.ban_time, settings.delay_max), (Duration::ZERO, Duration::from_secs(2)));
    let exempt: Vec<_> = settings.exempt.iter().map(ToString::to_string).collect();
    assert_eq!(exempt, ["192.0.2.0/24", "10.0.0.0/8"]);
    let all = base().replacen(LIMITS, "login_guard: { never_ban: 0.0.0.0/0 }\nlimits:\n", 1);
    let warnings = compiled(&all).warnings.to_string();
    assert!(warnings.contains("is every address: nobody is banned"), "{warnings}");
}

#[test]
fn invalid_guards_are_errors() {
    let wrong = |keys: &str, position: &str, message: &str| {
        one(LIMITS, &format!("login_guard: {{ {keys} }}\nlimits:\n"), position, message);
    };
    wrong("max_failures: 0", "28:30", "must be at least 1");
    wrong("max_failures: 101", "28:30", "must be at most 100");
    wrong("find_time: 0s", "28:27", "longer than zero");
    wrong("ban_time: 15", "28:26", "needs a unit");
    wrong("never_ban: 10.0.0.1/33", "28:27", "10.0.0.1/33");
    wrong("maxretry: 3", "28:16", "write max_failures");
    wrong("bantime: 1h", "28:16", "write ban_time");
    wrong("findtime: 1h", "28:16", "write find_time");
    wrong("ignoreip: 10.0.0.1", "28:16", "write never_ban");
    wrong("", "28:1", "has no keys");
}
