//! Files, YAML, and the lines that a report shows.

use super::*;

#[test]
fn texts_that_are_not_a_configuration_are_errors() {
    let all = "listeners: is missing";
    for (text, message) in [
        ("", "lockgate.yaml: is empty\n1 problem"),
        ("# nothing\n", "lockgate.yaml: is empty\n1 problem"),
        ("---\n", "lockgate.yaml: has no keys; it requires listeners, backends, routes\n1"),
        ("{}", "lockgate.yaml: has no keys"),
        ("log: { level: info }", all),
        ("hello", "expected a mapping with the keys listeners, data_ports, backends"),
        ("- a\n- b\n", "expected a mapping with the keys"),
        ("listeners: {}", "listeners: is empty; it needs at least one entry"),
        ("routes: []", "routes: is empty; without a route no user can log in"),
        ("a: 1\n---\nb: 2\n", "3:1: a second document"),
        ("a: *b\n", "this is not YAML"),
        ("a: &x [*x]\n", "this alias is inside the value that it repeats"),
        ("a: !secret b\n", "YAML tags"),
        ("listeners:\n\tpublic:\n", "this is not YAML"),
        ("listeners: [a\nb: c", "this is not YAML"),
        ("a: \"password: x\n", "this is not YAML"),
    ] {
        let output = report(text);
        assert!(output.contains(message), "{text}\n{output}");
    }
}

#[test]
fn an_unreadable_file_is_reported() {
    let folder = folder();
    let output = load(&folder.path().join("no.yaml")).err().unwrap().to_string();
    assert!(output.contains("no.yaml: cannot be read: No such file"), "{output}");
    fs::write(folder.path().join("latin1.yaml"), b"a: 1\nb: \xe9\n").unwrap();
    let output = load(&folder.path().join("latin1.yaml")).err().unwrap().to_string();
    assert!(output.contains("latin1.yaml: line 2 is not UTF-8 text"), "{output}");
}

#[test]
fn misplaced_secrets_are_masked() {
    let output = report(&base().replace(HASH, "hunter2"));
    assert!(
        !output.contains("hunter2") && output.contains("password_hash: (not shown)"),
        "{output}"
    );
    let output =
        report(&base().replace("login: pass-through", "login: { user: a, password: hunter2 }"));
    assert!(!output.contains("hunter2") && output.contains("use password_file"), "{output}");
    let output =
        report(&base().replace(
            "login: pass-through",
            "login:\n      user: a\n      password:\n        hunter2",
        ));
    assert!(!output.contains("hunter2"), "{output}");
}

/// Whatever is wrong with the URL of a login hook.
#[test]
fn passwords_of_misplaced_urls_are_masked() {
    for hook in [
        "h: { ulr: \"u:hunter2@h\" }",
        "h:\n    ulr: \"u:hunter2@h\"",
        "h: \"https:/u:hunter2@h\"",
        "h: [ \"u:hunter2@h\" ]",
        "h:\n    url:\n      - http:u:hunter2@h",
        "h:\n    url:\n      \"http:u:hunter2@h\"",
        "h:\n    - http:u:hunter2@h",
    ] {
        let output = report(&format!("{}login_hooks:\n  {hook}\n", base()));
        assert!(output.contains("login_hooks.h"), "{output}");
        assert!(!output.contains("hunter2") && output.contains("(not shown)"), "{output}");
    }
}

/// Wherever the problem is, and however the secret is written.
#[test]
fn lines_with_secrets_are_masked() {
    for users in [
        "bob: { password_hash:\n      \"hunter2\", bogus: 1 }",
        "bob: { password_hash: 'hunter2', bogus: 1 }",
        "bob: { bogus: 1, password_hash: hunter2 }",
        "{ a: { password_hash: hunter2 }, b: { bogus: 1, password_hash: hunter2 } }",
        "bob:\n    password_hash: |\n      hunter2\n    bogus: 1",
        "bob:\n    password_hash: |2\n     hunter2\n    password_hash: x",
        "bob:\n    password_hash: >-\n      x\n      hunter2\n    bogus: 1",
        "bob:\n    password_hash: \"x\n      hunter2\"\n    bogus: 1",
        "bob: { bogus: 1, password_hash: x\n      hunter2, bogus: 1 }",
        "bob: { bogus: &a hunter2, password_hash: *a }",
        "bob: { ? password_hash\n      : hunter2, bogus: 1 }",
        "bob: { password_hash: [\n      hunter2, { hunter2: hunter2 }], bogus: 1 }",
        // Not YAML.
        "bob: { password_hash:\n      \"hunter2\", bogus 1: }",
        "bob: { password_hash:\n      \"hunter2\", bogus: : ]",
        "bob:\n    password_hash:\n      \"hunter2\" x",
        "bob:\n    password_hash: \"hunter2\" x",
        "bob:\n    url: \"https://u:7#hunter2@h\" x",
        "bob:\n    url: \"u:hunter2@h\" x",
        "bob:\n    url:\n      https://u:\n      hunter2@h: : ]",
    ] {
        let text =
            format!("users:\n  {users}\nlogin_hooks: {{ a: {{ url: \"x://h?k=hunter2\" }} }}\n");
        let output = report(&text);
        assert!(!output.contains("hunter2"), "{text}{output}");
    }
    let url = "login_hooks:\n  a: { url: \"https://h/?k=hunter2\", bogus: 1 }\n  \
               b: { path: \"/?hunter2\", bogus: 1 }\n  c: { url: \"http://u:hunter2@h\" }\n  \
               d: { bogus: 1, url: \"https://h/?\n       hunter2\" }\n  \
               e: { url: \"https://u:7/hunter2@h\", bogus: 1 }\n  f: { url: \"u:hunter2@h\" }\n  \
               g: { url: \"https://u:7#hunter2\" }\n";
    let output = report(url);
    assert!(!output.contains("hunter2") && output.contains("(not shown)"), "{output}");
    let output = report("listeners: { l: { bogus: 1 } }\n");
    assert!(output.contains("| listeners: { l: { bogus: 1 } }"), "{output}");
}

#[test]
fn unprintable_characters_are_escaped() {
    let name = "ser\u{202e}\u{2028}ver";
    let output = report(&base().replace("  server:\n", &format!("  \"{name}\":\n")));
    let shown = "ser\\u{202e}\\u{2028}ver";
    assert!(
        output.contains(&format!("backends.{shown}: a name may contain only letters, digits")),
        "{output}"
    );
    assert!(output.contains(&format!(" |   \"{shown}\":\n")), "{output}");
    let carets = "^".repeat(shown.len());
    assert!(
        output
            .lines()
            .any(|line| line.trim_start_matches([' ', '|', '^']).is_empty()
                && line.contains(&carets)),
        "{output}"
    );
    let output = report(&base().replace("protocol: local", "protocol: \"\\x9b\""));
    assert!(output.contains("\"\\u{9b}\" is not a protocol"), "{output}");
    assert!(!output.contains('\u{9b}'), "{output}");
}

#[test]
fn nested_aliases_are_limited() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    assert!(report(&text).contains("the aliases (*name) make the file too big"));
}

proptest::proptest! {
    /// Any change to a configuration yields a result or a report.
    #[test]
    fn mutated_configurations_do_not_panic(at in 0..600usize, length in 0..40usize, put in "[ \\-:{}\\[\\]\"'#&*!|>\t\r\na-zé0-9]{0,6}") {
        let mut text: Vec<char> = base().chars().collect();
        let end = (at + length).min(text.len());
        text.splice(at.min(end)..end, put.chars());
        let text: String = text.into_iter().collect();
        if let Err(report) = crate::config::load_str(&text, "is an invalid password hash") {
            proptest::prop_assert!(!report.to_string().is_empty() && !report.is_empty());
        }
    }
}
