//! `login_hooks` and `authenticate: http`.

use std::time::Duration;

use super::mistakes::one;
use super::*;
use crate::auth::hook::Server;
use crate::route::{Access, Account, Authenticator};

/// Replaces the second route by one with a hook.
const ROUTE: &str = "  - authenticate: backend\n    backend: server\n";

fn with(hooks: &str, route: &str) -> String {
    let route = format!("  - {{ authenticate: http, backend: server{route} }}\n");
    base().replacen(ROUTE, &format!("{route}login_hooks:\n{hooks}"), 1)
}

#[test]
fn a_hook_has_defaults_and_routes_find_the_only_one() {
    let config = compiled(&with("  directory: { url: \"https://login.example.com/a?b=c\" }\n", ""));
    let [hook] = &config.login_hooks[..] else { panic!("one hook") };
    assert_eq!((hook.name.as_str(), hook.endpoint.path.as_str()), ("directory", "/a?b=c"));
    assert_eq!((hook.timeout, hook.requests_at_once), (Duration::from_secs(10), 32));
    assert_eq!(hook.cache_max, Duration::from_secs(300));
    assert!(hook.token.is_none());
    let Server::Tcp { address, authority, tls } = &hook.endpoint.server else { panic!("a URL") };
    assert_eq!(
        (address.as_str(), authority.as_str()),
        ("login.example.com:443", "login.example.com")
    );
    assert!(tls.is_some());
    let Access::Gateway { by: Authenticator::Hook(name), account: Account::PassThrough } =
        &config.routes.0[1].backends()[0].access
    else {
        panic!("the hook decides, and the backend gets the password")
    };
    assert_eq!(&**name, "directory");
    // For answers that name them.
    assert!(matches!(config.accounts["folder"], Account::None));
    assert_eq!(config.accounts.len(), 2);
    assert!(compiled(&base()).accounts.is_empty());
}

#[test]
fn a_hook_may_listen_on_a_socket_and_a_route_may_name_it() {
    let hooks = "  one: { socket: one.sock, path: /login, token_file: login-hook.token, timeout: 3s, \
                 requests_at_once: 4, cache_max: 0s }\n  \
                 two: { url: \"http://127.0.0.1:8080\", danger_clear_text: true }\n";
    let text = with(hooks, ", login_hook: two");
    let text = text.replacen(
        "  - { authenticate: http",
        "  - { match: { users: \"a*\" }, authenticate: http, login_hook: one, backend: folder }\n  \
         - { authenticate: http",
        1,
    );
    let config = compiled(&text);
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let [one, two] = &config.login_hooks[..] else { panic!("two hooks") };
    let Server::Socket(path) = &one.endpoint.server else { panic!("a socket") };
    assert!(path.ends_with("one.sock") && path.is_absolute());
    assert!(one.token.is_some() && one.cache_max.is_zero() && one.endpoint.path == "/login");
    assert!(matches!(two.endpoint.server, Server::Tcp { tls: None, .. }));
    assert!(matches!(
        config.routes.0[1].backends()[0].access,
        Access::Gateway { by: Authenticator::Hook(_), account: Account::None }
    ));
}

#[test]
fn mistakes_of_hooks() {
    let good = "https://login.example.com/";
    for (hook, position, message) in [
        ("timeout: 3s", "url", "is missing; or `socket`"),
        (&format!("url: \"{good}\", socket: x.sock"), "socket", "`url` is set, too"),
        (&format!("url: \"{good}\", path: /x"), "path", "has no effect: the path is part of `url`"),
        ("socket: x.sock, ca: exchange-ca.crt", "ca", "has no effect: a Unix socket has no TLS"),
        ("socket: tls.crt", "socket", "tls.crt exists and is not a socket"),
        ("socket: x.sock, path: login", "path", "must be absolute"),
        ("url: \"http://127.0.0.1/\"", "url", "is http: anyone between"),
        ("url: \"http://127.0.0.1/\", danger_clear_text: false", "url", "is http: anyone between"),
        (
            &format!("url: \"{good}\", danger_clear_text: true"),
            "danger_clear_text",
            "has no effect",
        ),
        (
            "url: \"http://127.0.0.1/\", danger_clear_text: true, ca: exchange-ca.crt",
            "ca",
            "has no effect: the url is http",
        ),
        ("url: login.example.com", "url", "is not a URL such as https://"),
        (&format!("url: \"{good}\", ca: tls.key"), "ca", "tls.key"),
        (&format!("url: \"{good}\", token_file: missing"), "token_file", "cannot read missing"),
        (&format!("url: \"{good}\", token_file: lines.password"), "token_file", "on one line"),
        (&format!("url: \"{good}\", token_file: empty.password"), "token_file", "visible ASCII"),
        (&format!("url: \"{good}\", token: secret"), "token", "use token_file"),
        (&format!("url: \"{good}\", requests_at_once: 0"), "requests_at_once", "at least 1"),
        (&format!("url: \"{good}\", timeout: 0s"), "timeout", "longer than zero"),
    ] {
        let report = report(&with(&format!("  directory: {{ {hook} }}\n"), ""));
        let expected = format!("login_hooks.directory.{position}: ");
        assert!(report.contains(&expected) && report.contains(message), "{hook}:\n{report}");
        assert!(report.ends_with("\n1 problem"), "{hook}:\n{report}");
        assert!(!report.contains("token: secret"), "{report}");
    }
}

#[test]
fn mistakes_of_routes_with_hooks() {
    let two = "  one: { socket: one.sock }\n  two: { socket: two.sock }\n";
    for (hooks, route, expected) in [
        (two, "", "routes[1].login_hook: is missing: there are several `login_hooks`"),
        (
            two,
            ", login_hook: tow",
            "routes[1].login_hook: there is no login hook \"tow\" (did you mean \"two\"?)",
        ),
        ("", "", "routes[1].authenticate: there are no `login_hooks`"),
        (
            "  one: { socket: one.sock }\n",
            ", match: { groups: staff }",
            "routes[1].match.groups: never match: a login hook is asked after the route was chosen",
        ),
    ] {
        let report = report(&with(hooks, route).replace("login_hooks:\nlimits", "limits"));
        assert!(report.contains(expected), "{report}");
        assert!(report.ends_with("\n1 problem"), "{report}");
    }
    one(
        "authenticate: backend\n",
        "authenticate: backend\n    login_hook: one\n",
        "27:17: routes[1].login_hook",
        "has no effect without `authenticate: http`",
    );
}

/// An answer may have groups that no user has, and name a backend that no route leads to.
#[test]
fn what_an_answer_may_name_is_known() {
    let hooks = "  one: { socket: one.sock }\n";
    let policy = "policy:\n  rules:\n    - { name: all, match: { groups: others }, allow: all }\n";
    let text = with(hooks, "").replacen(
        "  - match: { groups: [staff] }\n    authenticate: gateway\n    backend: folder\n",
        "  - match: { groups: [staff] }\n    authenticate: gateway\n    backend: server\n",
        1,
    );
    let config = compiled(&format!("{text}{policy}"));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let report = report(&format!("{}{policy}", base()));
    assert!(report.contains("there is no user with the group \"others\""), "{report}");
}

#[test]
fn warnings_of_hooks() {
    let hooks = "  one: { socket: one.sock, timeout: 60s }\n  two: { socket: two.sock }\n";
    let warnings = compiled(&with(hooks, ", login_hook: one")).warnings.to_string();
    for expected in [
        "login_hooks.one.timeout: has no effect: a login ends after 1m (limits.login_timeout)",
        "login_hooks.two: no route has `authenticate: http` with this hook",
    ] {
        assert!(warnings.contains(expected), "{warnings}");
    }
    assert!(warnings.ends_with("\n2 warnings"), "{warnings}");
}
