//! `admin`: the socket is among the mistakes; here the address, its certificate and its token.

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef\n";

/// The result of the base with this section, beside a file `token`.
fn result_of(admin: &str, token: &str) -> Result<Compiled, Report> {
    let folder = folder();
    let file = folder.path().join("token");
    fs::write(&file, token).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    load_beside(folder.path(), &format!("{}admin: {{ {admin} }}\n", base()))
}

#[test]
fn an_address_has_a_token_and_elsewhere_than_on_this_machine_tls() {
    let tls = "certificate: tls.crt, key: tls.key";
    for (address, more) in [
        ("127.0.0.1:9641", "token_file: token"),
        ("[::1]:9641", "token_file: token, hosts: [admin.example.com, 10.1.2.3, \"::1\"]"),
        ("0.0.0.0:9641", &*format!("token_file: token, {tls}")),
        ("127.0.0.1:9641", &*format!("token_file: token, socket: admin.sock, {tls}")),
    ] {
        let admin = format!("address: \"{address}\", {more}");
        let config = result_of(&admin, TOKEN).unwrap_or_else(|report| panic!("{admin} {report}"));
        let (bound, access) = config.admin_address.unwrap();
        assert_eq!(bound, address.parse().unwrap());
        assert_eq!(access.tls.is_some(), more.contains("tls.crt"), "{admin}");
        assert_eq!(
            access.hosts.get("exchange.example.com").is_some(),
            more.contains("tls.crt"),
            "{admin}"
        );
        assert!(config.warnings.is_empty(), "{}", config.warnings);
    }
}

#[test]
fn addresses_that_anybody_could_use_are_errors() {
    for (admin, token, message) in [
        ("address: \"127.0.0.1:9641\"", TOKEN, "admin.token_file: is missing"),
        (
            "address: \"0.0.0.0:9641\", token_file: token",
            TOKEN,
            "can be reached from other machines",
        ),
        (
            "address: \"192.0.2.1:9641\", token_file: token",
            TOKEN,
            "loopback address such as 127.0.0.1:9641",
        ),
        (
            "address: \"[::]:9641\", token_file: token, key: tls.key",
            TOKEN,
            "admin.certificate: is missing",
        ),
        (
            "address: \"127.0.0.1:1\", token_file: token, certificate: tls.crt",
            TOKEN,
            "admin.key: is missing",
        ),
        ("address: \"127.0.0.1:9641\", token_file: nowhere", TOKEN, "cannot read"),
        (
            "address: \"127.0.0.1:9641\", token_file: token",
            "short",
            "has 5 characters, and needs at least 32",
        ),
        ("address: \"127.0.0.1:9641\", token_file: token", "", "has 0 characters"),
        ("address: \"127.0.0.1:9641\", token_file: token", &"two lines\n".repeat(9), "on one line"),
        (
            "address: \"127.0.0.1:9641\", token_file: token, hosts: [\"https://a\"]",
            TOKEN,
            "without scheme",
        ),
        ("address: \"127.0.0.1:9641\", token_file: token, token: x", TOKEN, "use token_file"),
        ("address: \"127.0.0.1:21\", token_file: token", TOKEN, "overlaps with"),
        ("socket: admin.sock, token_file: token", TOKEN, "has no effect without `address`"),
        ("hosts: a", TOKEN, "needs `socket`, `address`, or both"),
    ] {
        let report = result_of(admin, token).err().unwrap_or_else(|| panic!("{admin}")).to_string();
        assert!(report.contains(message), "{admin}: {report}");
        assert!(!report.contains(TOKEN.trim_end()), "{report}");
    }
}

#[test]
fn a_token_that_others_can_read_is_a_warning() {
    let folder = folder();
    let file = folder.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!("{}admin: {{ address: \"127.0.0.1:9641\", token_file: token }}\n", base());
    let warnings = load_beside(folder.path(), &text).unwrap().warnings.to_string();
    assert!(warnings.contains("can be read by every user"), "{warnings}");
}
