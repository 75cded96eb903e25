//! Certificates, authentication methods, and certificates that the gateway signs.

use super::*;
use crate::auth::{Methods, User};
use crate::config::tests::base as ftp_base;
use crate::route::{AccountName, MintedAccount};

const LISTENER: &str = "host_keys: ssh_host_ed25519_key";
const ACCOUNT: &str = "login: { user: svc, private_key: exchange_key }";
const USER: &str = "    authorized_keys: alice.pub\n";
const ROUTE: &str = "    authenticate: gateway\n    backend: server\n";

/// The base with further keys of the listener, the user and the route.
fn text(listener: &str, user: &str, route: &str) -> String {
    with(LISTENER, &format!("{LISTENER}\n    {listener}"))
        .replacen(USER, &format!("{USER}{user}"), 1)
        .replacen(ROUTE, &format!("{ROUTE}{route}"), 1)
}

#[track_caller]
fn one(text: &str, position: &str, message: &str) {
    let output = report(text);
    assert!(output.ends_with("\n1 problem"), "{output}");
    assert!(output.starts_with(&format!("lockgate.yaml:{position}")), "{position} {output}");
    assert!(output.contains(message), "{message}\n{output}");
}

#[track_caller]
fn warned(text: &str, message: &str) {
    let output = compiled(text).warnings.to_string();
    assert!(output.ends_with("\n1 warning") && output.contains(message), "{message}\n{output}");
}

fn alice(config: &Compiled) -> &User {
    config.users.get(b"alice").unwrap()
}

fn minted(login: &str) -> MintedAccount {
    let config =
        compiled(&with(ACCOUNT, &format!("login: {{ certificate_authority: vault_ca{login} }}")));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let access = &config.routes.0[0].backends()[0].access;
    let Access::Gateway { account: Account::Minted(account), .. } = access else { panic!() };
    account.clone()
}

#[test]
fn certificates_and_methods_are_compiled() {
    let config = compiled(&text(
        "trusted_user_ca_keys: user_ca.pub\n    revoked_keys: [revoked]\n    methods: [publickey, password]\n",
        "    principals: [ops, deploy]\n    require: publickey\n",
        "    require: password\n",
    ));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let listener = &config.sftp_listeners[0];
    assert!(listener.key_trust.accepts_certificates());
    assert_eq!(listener.key_trust.revoked.len(), 1);
    assert_eq!(listener.methods, Methods::ALL);
    assert_eq!(alice(&config).principals, ["ops", "deploy"]);
    assert_eq!(alice(&config).required, Methods::PUBLIC_KEY);
    assert_eq!(config.routes.0[0].required, Methods::PASSWORD);
    // A user by certificate only.
    let config = compiled(&text("trusted_user_ca_keys: user_ca.pub", "  bob: { groups: x }\n", ""));
    assert!(config.users.get(b"bob").is_some_and(|bob| bob.principals.is_empty()));
    // Any one of both is what is accepted anyway.
    let config = compiled(&text("", "", "    methods: [password, publickey]\n"));
    assert_eq!(config.routes.0[0].required, Methods::NONE);
}

/// From the routes of the listener, and their users.
#[test]
fn methods_that_can_succeed_are_offered() {
    let only_gateway =
        |text: String| text.replace("  - authenticate: backend\n    backend: legacy\n", "");
    let hash = format!("    password_hash: \"{HASH}\"\n");
    let offered = |text: &str| compiled(text).sftp_listeners[0].methods;
    assert_eq!(offered(&base()), Methods::ALL);
    let no_hash = |text: String| text.replace(&hash, "");
    // The route with `authenticate: backend` needs passwords.
    assert_eq!(offered(&no_hash(base())), Methods::ALL);
    assert_eq!(offered(&only_gateway(no_hash(base()))), Methods::PUBLIC_KEY);
    let no_key = || base().replace(USER, "");
    assert_eq!(offered(&no_key()), Methods::PASSWORD);
    let certified =
        no_key().replace(LISTENER, &format!("{LISTENER}\n    trusted_user_ca_keys: user_ca.pub"));
    assert_eq!(offered(&only_gateway(certified)), Methods::ALL);
    let only_keys = only_gateway(text("", "", "    methods: publickey\n"));
    assert_eq!(offered(&only_keys), Methods::PUBLIC_KEY);
    // Pass-through needs the password, unless both are required.
    let through =
        |route: &str| only_gateway(text("", "", route)).replace(ACCOUNT, "login: pass-through");
    assert_eq!(offered(&through("")), Methods::PASSWORD);
    assert_eq!(offered(&through("    require: [publickey, password]\n")), Methods::ALL);
    // Routes of other listeners do not count.
    let elsewhere = base().replace(
        "  - authenticate: backend\n",
        "  - match: { listeners: [plain] }\n    authenticate: backend\n",
    );
    let elsewhere = no_hash(elsewhere).replace(
        "backends:",
        "  plain: { protocol: ftp, address: 127.0.0.1:0, active: { allowed: true } }\nbackends:",
    );
    assert_eq!(offered(&elsewhere), Methods::PUBLIC_KEY);
}

#[test]
fn a_login_with_a_signed_certificate_has_safe_defaults() {
    let account = minted("");
    assert_eq!(account.user, AccountName::new("{user}"));
    assert_eq!(account.principal, account.user);
    assert_eq!(account.valid_for, Duration::from_secs(300));
    assert_eq!(account.force_command.as_deref(), Some("internal-sftp"));
    assert!(account.source_addresses.is_empty());
    let account = minted(
        ", user: svc, principal: \"p-{user}\", valid_for: 1m, source_address: [192.0.2.1, 10.0.0.0/8], \
         force_command: none",
    );
    assert_eq!(account.user.of(b"alice").unwrap(), "svc");
    assert_eq!(account.principal.of(b"alice").unwrap(), "p-alice");
    assert_eq!((account.valid_for.as_secs(), account.force_command), (60, None));
    assert_eq!(account.source_addresses.len(), 2);
    assert_eq!(minted(", user: svc").principal, AccountName::new("svc"));
}

#[test]
fn invalid_files_of_keys_are_errors() {
    for (key, position, message) in [
        (
            "trusted_user_ca_keys: exchange_key",
            "6:27",
            "contains a private key, which the gateway does not need",
        ),
        ("trusted_user_ca_keys: revoked", "6:27", "contains no key"),
        ("trusted_user_ca_keys: exchange.password", "6:27", "line 1 contains an invalid key"),
        ("trusted_user_ca_keys: none.pub", "6:27", "cannot read none.pub"),
        ("trusted_user_ca_keys: acme.keys", "6:27", "line 2"),
        ("revoked_keys: exchange_key", "6:19", "contains a private key"),
        ("revoked_keys: exchange.password", "6:19", "line 1 is neither a public key nor"),
        ("revoked_keys: none", "6:19", "cannot read none"),
        (
            "host_certificates: user_ca.pub",
            "6:24",
            "contains a plain public key; name its certificate",
        ),
        ("host_certificates: exchange.password", "6:24", "contains no OpenSSH certificate"),
        ("host_certificates: exchange_key", "6:24", "contains a private key"),
        ("methods: certificate", "6:14", r#"did you mean "publickey"?"#),
        ("methods: keyboard-interactive", "6:14", r#"did you mean "password"?"#),
        ("methods: none", "6:14", "is not one of publickey, password"),
        ("host_certificate: x", "6:5", "write host_certificates"),
    ] {
        one(&text(key, "", ""), position, message);
    }
    let ftp = |key: &str| {
        ftp_base().replacen(
            "    data_ports: pool\n",
            &format!("    data_ports: pool\n    {key}\n"),
            1,
        )
    };
    one(&ftp("methods: publickey"), "7:5", "FTP clients have passwords only");
    one(&ftp("trusted_user_ca_keys: user_ca.pub"), "7:5", "belongs to `protocol: sftp`");
    one(&ftp("host_certificates: x"), "7:5", "set `tls.certificate`");
}

#[test]
fn methods_that_exclude_each_other_are_errors() {
    let hash = format!("    password_hash: \"{HASH}\"\n");
    one(
        &text("", "", "    methods: publickey\n    require: password\n"),
        "25:5",
        "cannot be used with `methods`",
    );
    one(
        &with("    backend: legacy", "    backend: legacy\n    require: publickey"),
        "25:5",
        "needs `authenticate: gateway`",
    );
    one(
        &text("methods: publickey", "", "    require: [publickey, password]\n"),
        "6:5",
        "requires password, too",
    );
    one(
        &text("", "    require: password\n", "").replace(&hash, ""),
        "19:14",
        "the user has no `password_hash`",
    );
    one(
        &text("", "    require: [password, publickey]\n", "").replace(USER, ""),
        "19:25",
        "the user has no `authorized_keys`",
    );
    let through = text("", "", "    methods: publickey\n").replace(ACCOUNT, "login: pass-through");
    let output = report(&through);
    assert!(output.contains("write `require: [publickey, password]`"), "{output}");
    let unlisted = text("", "    principals: ops\n", "");
    warned(&unlisted, "which no listener accepts: set `trusted_user_ca_keys`");
    let plain =
        "  plain: { protocol: ftp, address: 127.0.0.1:0, active: { allowed: true } }\nbackends:";
    let by_ftp = text("", "", "    require: publickey\n").replace("backends:", plain);
    warned(&by_ftp, "FTP clients of this route can never log in");
    let useless = text("methods: [publickey, password]", "", "").replace(&hash, "");
    let useless = useless.replace("  - authenticate: backend\n    backend: legacy\n", "");
    let output = compiled(&useless).warnings.to_string();
    assert!(output.contains("can log in by password"), "{output}");
}

#[test]
fn invalid_signed_logins_are_errors() {
    let login = |keys: &str| with(ACCOUNT, &format!("login: {{ {keys} }}"));
    let ca = "certificate_authority: vault_ca";
    for (keys, message) in [
        ("certificate_authority: user_ca.pub", "contains a public key; name the private one"),
        ("certificate_authority: none", "cannot read none"),
        ("certificate_authority: locked", "is encrypted: set `passphrase_file`"),
        ("certificate_authority: weak_rsa", "RSA key of 1024 bits"),
        (
            "certificate_authority: vault_ca, private_key: exchange_key",
            "is set, too; keep one of them",
        ),
        ("certificate_authority: vault_ca, password_file: exchange.password", "is set, too"),
        ("certificate_authority: vault_ca, valid_for: 10s", "is not between 30s and 24h"),
        ("certificate_authority: vault_ca, valid_for: 2d", "is not between 30s and 24h"),
        ("certificate_authority: vault_ca, user: \"{name}\"", "`{name}` is not replaced"),
        ("certificate_authority: vault_ca, principal: \"${user}\"", "`${user}` is not replaced"),
        ("certificate_authority: vault_ca, source_address: gateway", "is not a network"),
        (
            "user: svc, private_key: exchange_key, principal: x",
            "has no effect without `certificate_authority`",
        ),
        (
            "user: svc, private_key: exchange_key, force_command: x",
            "has no effect without `certificate_authority`",
        ),
        (
            "user: \"{user}\", private_key: exchange_key",
            "is replaced with `certificate_authority` only",
        ),
        ("private_key: exchange_key", "is missing"),
    ] {
        one(&login(keys), "11:", message);
    }
    let unchecked = login(ca).replace("authenticate: gateway", "authenticate: backend");
    let output = report(&unchecked);
    assert!(output.contains("only for users whom it has authenticated itself"), "{output}");
    let ftp =
        with("    address: 10.1.2.9\n", &format!("    address: 10.1.2.9\n    login: {{ {ca} }}\n"));
    let output = report(&ftp);
    assert!(output.contains("FTP has no certificates of SSH"), "{output}");
}

#[test]
fn an_authority_stands_for_the_keys_of_a_server() {
    let folder = folder();
    let text = with(&format!("host_key: \"{FINGERPRINT}\""), "known_hosts: authorities");
    for (names, expected) in [("*.example.com", true), ("*.example.org", false)] {
        fs::write(
            folder.path().join("authorities"),
            format!("@cert-authority {names} {PUBLIC_KEY}"),
        )
        .unwrap();
        let loaded = load_beside(folder.path(), &text);
        assert_eq!(loaded.is_ok(), expected, "{names}");
        if let Err(report) = loaded {
            assert!(report.to_string().contains("and no @cert-authority for it"), "{report}");
        }
    }
}
