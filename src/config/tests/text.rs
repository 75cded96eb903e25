//! Before any key counts: files, YAML, and what of them is shown.

use super::*;

#[test]
fn what_is_no_configuration() {
    let all = "listeners: is missing";
    for (text, words) in [
        ("", "lockgate.yaml: holds no configuration\n1 problem"),
        ("# nothing\n", "lockgate.yaml: holds no configuration\n1 problem"),
        ("---\n", "lockgate.yaml: has nothing below it; it needs: listeners, backends, routes\n1"),
        ("{}", "lockgate.yaml: has nothing below it"),
        ("log: { level: info }", all),
        ("hello", "expected keys here: listeners, data_ports, backends"),
        ("- a\n- b\n", "expected keys here"),
        ("listeners: {}", "listeners: is empty; at least one is needed"),
        ("routes: []", "routes: is empty; without a route nobody can log in"),
        ("a: 1\n---\nb: 2\n", "3:1: a second document"),
        ("a: *b\n", "this is not YAML"),
        ("a: &x [*x]\n", "this alias stands inside of what it repeats"),
        ("a: !secret b\n", "YAML tags"),
        ("listeners:\n\tpublic:\n", "this is not YAML"),
        ("listeners: [a\nb: c", "this is not YAML"),
        ("a: \"password: x\n", "this is not YAML"),
    ] {
        let told = report(text);
        assert!(told.contains(words), "{text}\n{told}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_like_any_mistake() {
    let folder = folder();
    let told = load(&folder.path().join("no.yaml")).err().unwrap().to_string();
    assert!(told.contains("no.yaml: cannot be read: No such file"), "{told}");
    fs::write(folder.path().join("latin1.yaml"), b"a: 1\nb: \xe9\n").unwrap();
    let told = load(&folder.path().join("latin1.yaml")).err().unwrap().to_string();
    assert!(told.contains("latin1.yaml: line 2 is not UTF-8 text"), "{told}");
}

#[test]
fn secrets_in_the_wrong_place_are_not_shown() {
    let told = report(&base().replace(HASH, "hunter2"));
    assert!(!told.contains("hunter2") && told.contains("password_hash: (not shown)"), "{told}");
    let told =
        report(&base().replace("login: pass-through", "login: { user: a, password: hunter2 }"));
    assert!(!told.contains("hunter2") && told.contains("name it with password_file"), "{told}");
    let told =
        report(&base().replace(
            "login: pass-through",
            "login:\n      user: a\n      password:\n        hunter2",
        ));
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn unprintable_characters_are_told_as_escapes() {
    let name = "ser\u{202e}\u{2028}ver";
    let told = report(&base().replace("  server:\n", &format!("  \"{name}\":\n")));
    let shown = "ser\\u{202e}\\u{2028}ver";
    assert!(
        told.contains(&format!("backends.{shown}: a name is made of letters, digits")),
        "{told}"
    );
    assert!(told.contains(&format!(" |   \"{shown}\":\n")), "{told}");
    let carets = "^".repeat(shown.len());
    assert!(
        told.lines()
            .any(|line| line.trim_start_matches([' ', '|', '^']).is_empty()
                && line.contains(&carets)),
        "{told}"
    );
    let told = report(&base().replace("protocol: local", "protocol: \"\\x9b\""));
    assert!(told.contains("\"\\u{9b}\" is no protocol"), "{told}");
    assert!(!told.contains('\u{9b}'), "{told}");
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    assert!(report(&text).contains("the aliases (*name) make the file too big"));
}

proptest::proptest! {
    /// Whatever is cut out of a configuration or put into it, there is an answer.
    #[test]
    fn damage_never_panics(at in 0..600usize, length in 0..40usize, put in "[ \\-:{}\\[\\]\"'#&*!|>\t\r\na-zé0-9]{0,6}") {
        let mut text: Vec<char> = base().chars().collect();
        let end = (at + length).min(text.len());
        text.splice(at.min(end)..end, put.chars());
        let text: String = text.into_iter().collect();
        if let Err(report) = crate::config::load_str(&text, "damaged") {
            proptest::prop_assert!(!report.to_string().is_empty() && !report.is_empty());
        }
    }
}
