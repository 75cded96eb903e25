//! `user_at_backend`, `rewrite` and `greeting`: valid ones, and the messages about others.

use super::mistakes::one;
use super::*;
use crate::op::{Greeting, RemotePath};
use crate::route::{Access, Account, Backends, FolderSetting};

/// The base with this text instead of the first route's backend.
fn with(keys: &str) -> String {
    base().replacen("backend: folder", keys, 1)
}

/// Expects these warnings and no others.
#[track_caller]
pub(super) fn warned(text: &str, expected: &[&str]) {
    let warnings = compiled(text).warnings.to_string();
    assert_eq!(warnings.matches("warning: ").count(), expected.len(), "{warnings}");
    for expected in expected {
        assert!(warnings.contains(expected), "{expected}\n{warnings}");
    }
}

#[test]
fn user_at_backend_lists_what_clients_may_name() {
    let text = base().replacen("backend: folder", "user_at_backend: [folder, server]", 1).replacen(
        "- authenticate",
        "- match: { users: \"*@example.com\" }\n    authenticate",
        1,
    );
    let config = compiled(&text);
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let Backends::Named(backends) = &config.routes.0[0].backends else { panic!() };
    let [folder, server] = &backends[..] else { panic!() };
    assert_eq!((folder.name.as_str(), server.name.as_str()), ("folder", "server"));
    assert!(matches!(folder.access, Access::Gateway { account: Account::None, .. }));
    assert!(matches!(server.access, Access::Gateway { account: Account::PassThrough, .. }));
    // One name is enough; the route without `match` is for names that end in no other.
    let text =
        with("user_at_backend: folder").replace("- match: { groups: [staff] }\n    a", "- a");
    assert!(compiled(&text).warnings.is_empty());
}

#[test]
fn contradictions_of_user_at_backend_are_reported() {
    let wrong = |keys: &str, position: &str, message: &str| {
        one("backend: folder", keys, position, message);
    };
    let both = "backend: folder\n    user_at_backend: [server]";
    wrong(both, "26:5: routes[0].user_at_backend", "cannot be used with `backend`");
    wrong("root: /x", "23:5: routes[0].backend", "is missing; or `user_at_backend`");
    wrong("user_at_backend: []", "25:5", "is an empty list");
    wrong("user_at_backend: [folder, servr]", "25:31", r#"did you mean "server"?"#);
    wrong("user_at_backend: [ftp.example.com]", "25:23", "there is no backend \"ftp.example.com\"");
    wrong("user_at_backend: [folder, folder]", "25:31", "lists \"folder\" twice");
    let named = base().replacen("backend: server\nl", "user_at_backend: [server, folder]\nl", 1);
    let output = report(&named);
    assert!(
        output.contains("26:19: routes[1].authenticate: backend \"folder\" is a local"),
        "{output}"
    );
    assert!(output.ends_with("\n1 problem"), "{output}");
    // All of a later route's backends are taken.
    let all = with("user_at_backend: [folder, server]")
        .replace("- match: { groups: [staff] }\n    a", "- a");
    let twice = all.replace(
        "authenticate: backend\n    backend: server",
        "authenticate: gateway\n    user_at_backend: server",
    );
    let output = report(&twice);
    assert!(output.contains("25:5: routes[1]: is never reached: earlier routes"), "{output}");
    assert!(output.ends_with("\n1 problem"), "{output}");
    let other = twice.replace("user_at_backend: [folder, server]", "user_at_backend: folder");
    assert!(compiled(&other).warnings.is_empty());
}

#[test]
fn names_in_the_form_of_user_at_backend_are_warnings() {
    let pattern = base().replacen(
        "authenticate: backend\n    backend: server",
        "match: { users: [\"a*@server\", \"b*@example.com\"] }\n    authenticate: backend\n    user_at_backend: server",
        1,
    );
    let message = "routes[1].match.users[0]: matches the name before the last `@`";
    warned(&pattern, &[message]);
    let user = |keys: &str| with(keys).replace("  alice:", "  al@folder:");
    warned(&user("backend: folder"), &[]);
    let message =
        "users.al@folder: the route in line 23 (user_at_backend) takes this name for user \"al\"";
    warned(&user("user_at_backend: folder"), &[message]);
}

#[test]
fn rewrites_are_compiled_in_order() {
    let text = with(
        "backend: folder\n    root: home\n    rewrite:\n      - { from: /in/, to: /data//in }\n      \
         - { from: /in/urgent, to: \"/fast/{user}\" }",
    );
    let config = compiled(&text);
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let path = |text: &str| RemotePath::resolve(&RemotePath::root(), text.as_bytes()).unwrap();
    let [first, second] = &config.routes.0[0].rewrites[..] else { panic!() };
    assert_eq!((&first.from, &first.to), (&path("/in"), &FolderSetting::Same(path("/data/in"))));
    assert_eq!(second.of(b"alice").unwrap().to, path("/fast/alice"));
    assert!(second.of(b"..").is_err());
    assert!(config.routes.0[1].rewrites.is_empty());
}

#[test]
fn contradictions_of_rewrites_are_reported() {
    // The first entry is in line 27.
    let wrong = |entries: &str, position: &str, message: &str| {
        let entries: Vec<_> = entries.lines().map(|it| format!("      - {{ {it} }}")).collect();
        let keys = format!("backend: folder\n    rewrite:\n{}", entries.join("\n"));
        one("backend: folder", &keys, position, message);
    };
    wrong("from: in, to: /b", "27:17: routes[0].rewrite[0].from", r#"did you mean "/in"?"#);
    wrong("from: /a, to: b", "27:25: routes[0].rewrite[0].to", r#"did you mean "/b"?"#);
    wrong("from: /a", "27:9: routes[0].rewrite[0].to", "is missing");
    wrong("to: /a", "27:9: routes[0].rewrite[0].from", "is missing");
    wrong("from: /a, to: /../b", "27:25", "must not contain \"..\"");
    wrong("from: /a/.., to: /b", "27:17", "must not contain \"..\"");
    wrong("from: /a, to: home", "27:25", "a path below the route's `root`");
    wrong("from: /a, to: \"/{group}\"", "27:25", "`{group}` is not replaced");
    wrong("from: /, to: /b", "27:17", "use `root` for that");
    wrong("from: /a, to: /", "27:25", "use `root` for that");
    wrong("from: /a, to: /a/", "27:25", "is the same as `from`");
    wrong("from: /a, to: /b\nfrom: /a, to: /c", "28:17", "is a duplicate (first in line 27)");
    wrong("from: /a, to: /b\nfrom: /c, to: /b", "28:25", "leads to the folder of /a (line 27)");
    wrong(
        "from: /a, to: /b\nfrom: /b/c, to: /d",
        "28:17",
        "is in /b, which clients see as /a only; write /a/c",
    );
    wrong("from: /b/c, to: /b", "27:17", "is in /b, which is hidden as it is in a `to`");
    wrong("from: /a, to: /b, with: x", "27:29", "unknown key; known are: from, to");
    one(
        "backend: folder",
        "backend: folder\n    rewrite: []",
        "26:5",
        "is empty; write at least one",
    );
    one("backend: folder", "backend: folder\n    rewrite: /a", "26:14", "expected a list");
    let many: Vec<_> = (0..33).map(|n| format!("from: /a{n}, to: /b{n}")).collect();
    wrong(&many.join("\n"), "26:5: routes[0].rewrite", "has 33 entries; at most 32");
    // Swapped, nested and moved down.
    let fine = with(
        "backend: folder\n    rewrite: [{ from: /a, to: /b }, { from: /b, to: /a }, { from: /a/x, to: /c }, \
         { from: /d, to: /d/e }, { from: /f, to: /a/g }]",
    );
    warned(&fine, &[]);
}

#[test]
fn placeholders_of_rewrites_and_users_without_a_folder_are_warnings() {
    let rewrite = |from: &str, to: &str| {
        with(&format!("backend: folder\n    rewrite: [{{ from: {from:?}, to: {to:?} }}]"))
    };
    warned(&rewrite("/{user}", "/b"), &["routes[0].rewrite[0].from: `{user}` is taken literally"]);
    warned(
        &rewrite("/a", "/%u"),
        &["routes[0].rewrite[0].to: `%u` is taken literally: only `{user}`"],
    );
    warned(&rewrite("/a", "/{user}"), &[]);
    let text = rewrite("/a", "/{user}").replace("  alice:", "  \"a/b\":");
    warned(
        &text,
        &["this name cannot replace `{user}` in the `root` or `rewrite` of the user's routes"],
    );
}

const GREETING: &str = "greeting: |\n      Example Ltd.\n      Authorized use only.\n";

#[test]
fn greetings_have_lines() {
    let listener = format!("data_ports: pool\n    {GREETING}data_ports:\n  p");
    let text = base().replacen("data_ports: pool\ndata_ports:\n  p", &listener, 1);
    let text = text.replacen(
        "backend: folder",
        &format!("backend: folder\n    {}", GREETING.trim_end()),
        1,
    );
    let config = compiled(&text);
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let expected = Greeting::new("Example Ltd.\nAuthorized use only.").unwrap();
    assert_eq!(config.listeners[0].greeting.as_ref(), Some(&expected));
    assert_eq!(config.routes.0[0].greeting.as_deref(), Some(&expected));
    assert_eq!(config.routes.0[1].greeting, None);
}

#[test]
fn greetings_that_clients_could_not_read_are_reported() {
    let wrong = |greeting: &str, message: &str| {
        let keys = format!("data_ports: pool\n    greeting: {greeting}\n");
        one("data_ports: pool\n", &keys, "7:15: listeners.public.greeting", message);
        let keys = format!("backend: folder\n    greeting: {greeting}\n");
        one("backend: folder\n", &keys, "26:15: routes[0].greeting", message);
    };
    wrong("\"\"", "is empty");
    wrong("\" \\n\"", "is empty");
    wrong("\"a\\rb\"", "contains a control or format character in line 1 (`\\r`)");
    wrong("\"a\\n\\e[2J\"", "in line 2 (`\\u{1b}`)");
    wrong(&format!("\"{}\"", "x".repeat(501)), "more than 500 bytes in line 1; break the line");
    wrong(&format!("\"{}\"", "x\\n".repeat(3000)), "has more than 8192 bytes");
    wrong("[a, b]", "not a list");
    one("data_ports: pool\n", "data_ports: pool\n    banner: x\n", "7:5", "write greeting");
    one(
        "backend: folder\n",
        "backend: folder\n    banner: x\n",
        "26:5",
        "write greeting: FTP clients",
    );
    let text = with("backend: folder\n    greeting: \"Welcome, {user}\"");
    warned(&text, &["routes[0].greeting: `{user}` is taken literally: nothing in a greeting"]);
}

/// SSH has no text after the login.
#[test]
fn a_greeting_of_a_route_for_sftp_only_is_a_warning() {
    let sftp = "  ssh:\n    protocol: sftp\n    address: \"0.0.0.0:22\"\n    host_keys: ssh_host_ed25519_key\n    greeting: x\n";
    let text = |listeners: &str| {
        with("backend: folder\n    greeting: Welcome")
            .replacen(
                "{ groups: [staff]",
                &format!("{{ groups: [staff], listeners: {listeners}"),
                1,
            )
            .replacen("data_ports:\n", &format!("{sftp}data_ports:\n"), 1)
    };
    let config = compiled(&text("[ssh]"));
    assert_eq!(config.sftp_listeners[0].greeting, Some(Greeting::new("x").unwrap()));
    warned(
        &text("[ssh]"),
        &["routes[0].greeting: no client reads it: all listeners of this route"],
    );
    warned(&text("[ssh, public]"), &[]);
}
