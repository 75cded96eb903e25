//! Logins at the backend: mapped accounts, the gateway's own users, and a route's root.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use tempfile::TempDir;

use super::{greeted, ports};
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::scripted::Scripted;
use crate::support::{PASSWORD, argon2_hash};

const SERVICE: &str = "svc-exchange";
const SERVICE_PASSWORD: &str = "only the gateway knows";

/// A gateway with the user alice, whose password is [`PASSWORD`], and this backend. With `mapped` the
/// gateway logs in as the service account.
struct Setup {
    gateway: Gateway,
    _folder: TempDir,
}

impl Setup {
    fn new(backend: &Scripted, mapped: bool, routes: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the password");
        let file = folder.path().join("password");
        std::fs::write(&file, format!("{SERVICE_PASSWORD}\n")).expect("writing the password");
        let login = if mapped {
            format!("{{ user: {SERVICE}, password_file: {file:?} }}")
        } else {
            "pass-through".to_owned()
        };
        let mut yaml = ports(&["back"], 4);
        write!(
            yaml,
            "backends:\n  back: {{ protocol: ftp, address: \"{}\", login: {login} }}\n\
             users:\n  alice: {{ password_hash: \"{}\", groups: [partners] }}\nroutes:\n",
            backend.address,
            argon2_hash()
        )
        .expect("writing to a string");
        for route in routes {
            writeln!(yaml, "  - {{ {route}, backend: back }}").expect("writing to a string");
        }
        Self { gateway: Gateway::start(&yaml), _folder: folder }
    }

    fn client(&self) -> Raw {
        greeted(&self.gateway, "back")
    }

    fn alice(&self) -> Raw {
        let mut client = self.client();
        client.login("alice", PASSWORD);
        client
    }

    fn refuses(&self, user: &str, password: &str) {
        let mut client = self.client();
        client.expect(&format!("USER {user}"), 331);
        let reply = client.expect(&format!("PASS {password}"), 530);
        assert_eq!(reply.text, "530 Login incorrect.\r\n", "{user}");
    }
}

fn obliging() -> Scripted {
    Scripted::start(|peer| {
        peer.greet()?;
        peer.serve()
    })
}

#[test]
fn a_mapped_login_uses_the_gateways_password() {
    let backend = obliging();
    let setup = Setup::new(&backend, true, &["authenticate: gateway"]);
    setup.alice().expect("CWD /a", 250);
    backend.assert_saw(&format!("USER {SERVICE}"));
    backend.assert_saw(&format!("PASS {SERVICE_PASSWORD}"));
    let lines = backend.lines().concat();
    assert!(!lines.contains("alice") && !lines.contains(PASSWORD), "{lines}");
    let log = setup.gateway.log_tail(1000);
    assert!(!log.contains(SERVICE_PASSWORD) && !log.contains(PASSWORD), "{log}");
}

#[test]
fn a_wrong_password_is_not_sent_to_the_backend() {
    let backend = obliging();
    let setup = Setup::new(&backend, true, &["authenticate: gateway"]);
    for (user, password) in
        [("alice", "wrong"), ("bob", PASSWORD), (SERVICE, SERVICE_PASSWORD), ("ALICE", PASSWORD)]
    {
        setup.refuses(user, password);
    }
    setup.refuses("alice", "");
    assert_eq!(backend.connections(), 0, "{:?}", backend.lines());
    // The server would have seen it.
    drop(setup.alice());
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_user_of_the_gateway_does_not_match_a_later_route() {
    let backend = obliging();
    let setup = Setup::new(
        &backend,
        false,
        &["match: { sources: [192.0.2.0/24] }, authenticate: gateway", "authenticate: backend"],
    );
    setup.refuses("alice", PASSWORD);
    setup.refuses("alice", "the backend's password of alice");
    assert_eq!(backend.connections(), 0, "{:?}", backend.lines());
    setup.client().login("bob", "of the backend");
    backend.assert_saw("USER bob");
    backend.assert_saw("PASS of the backend");
}

#[test]
fn a_refused_mapped_account_is_not_reported_as_a_wrong_password() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("PASS", "530 svc-exchange is locked");
        peer.serve()
    });
    let setup = Setup::new(&backend, true, &["authenticate: gateway"]);
    let mut client = setup.client();
    client.expect("USER alice", 331);
    let reply = client.expect(&format!("PASS {PASSWORD}"), 421);
    assert!(!reply.text.contains(SERVICE), "the reply names the account: {}", reply.text);
    assert!(client.at_end());
}

/// `root` is put before every path; `..` does not leave it, and the client sees none of it.
#[test]
fn a_root_is_hidden_and_cannot_be_left() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("PWD", "257 \"/srv/exchange/in \"\"box\"\"\" is current");
        peer.answer("MKD", "257 \"/srv/exchange/in \"\"box\"\"/new\" created");
        loop {
            match peer.until("STOR") {
                Ok(_) => peer.take().map(drop)?,
                Err(error) => return Err(error),
            }
        }
    });
    let setup = Setup::new(&backend, true, &["authenticate: gateway, root: /srv/exchange"]);
    let mut client = setup.alice();
    let where_is = |client: &mut Raw| client.expect("PWD", 257).text;
    assert!(
        where_is(&mut client).starts_with("257 \"/in \"\"box\"\"\" "),
        "{}",
        where_is(&mut client)
    );
    let made = client.expect("MKD new", 257);
    assert!(made.text.starts_with("257 \"/in \"\"box\"\"/new\" "), "{}", made.text);
    backend.assert_saw("MKD /srv/exchange/in \"box\"/new");
    client.expect("DELE ../../../../etc/passwd", 250);
    backend.assert_saw("DELE /srv/exchange/etc/passwd");
    client.expect("CWD /../..", 250);
    backend.assert_saw("CWD /srv/exchange");
    assert!(where_is(&mut client).starts_with("257 \"/\" "));
    client.expect("CDUP", 250);
    client.expect("DELE x/../../../../y", 250);
    backend.assert_saw("DELE /srv/exchange/y");
    client.expect("TYPE I", 200);
    assert_eq!(client.upload("STOR ../z", b"z").code, 226);
    backend.assert_saw("STOR /srv/exchange/z");
    let outside = backend.lines().into_iter().filter(|line| line.contains(" /"));
    let outside: Vec<_> = outside.filter(|line| !line.contains(" /srv/exchange")).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// The backend's replies name its own paths.
#[test]
fn a_root_is_hidden_in_the_backends_replies() {
    const REFUSAL: &str = "550 /srv/x/in/y: No such file";
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("CWD", "250 CWD to /srv/x/in ok");
        for verb in ["DELE", "SIZE", "MKD", "RMD"] {
            peer.answer(verb, REFUSAL);
        }
        peer.until("RETR")?;
        peer.reply(REFUSAL)?;
        peer.until("RETR")?;
        peer.reply("150 opening /srv/x/in/y")?;
        peer.data()?.write_all(b"bytes")?;
        peer.reply("226 /srv/x/in/y is sent")?;
        peer.until("RETR")?;
        peer.reply("150 opening /srv/x/in/y")?;
        peer.data()?.write_all(b"a part")?;
        peer.reply("451 /srv/x/in/y: input/output error")?;
        peer.until("STOR")?;
        peer.reply("553 /srv/x/in/y: read-only")?;
        peer.serve()
    });
    let setup = Setup::new(&backend, true, &["authenticate: gateway, root: /srv/x"]);
    let mut client = setup.alice();
    let mut replies = vec![client.expect("TYPE I", 200), client.expect("CWD in", 250)];
    for line in ["DELE y", "SIZE y", "MKD y", "RMD y"] {
        replies.push(client.expect(line, 550));
    }
    let _unused = client.passive();
    replies.push(client.expect("RETR y", 550));
    let (bytes, last) = client.download("RETR y");
    assert_eq!((bytes.as_slice(), last.code), (&b"bytes"[..], 226));
    replies.push(last);
    let tcp = client.passive();
    replies.push(client.expect("RETR y", 150));
    // The reply has the outcome.
    let _ = std::io::copy(&mut client.data(tcp), &mut std::io::sink());
    replies.push(client.read());
    assert!(matches!(replies.last(), Some(reply) if reply.code == 451 || reply.code == 426));
    let _unused = client.passive();
    replies.push(client.command("STOR y"));
    for reply in replies {
        assert!(!reply.text.contains("srv"), "{}", reply.text);
    }
    // The operator sees the paths.
    for (operation, expected) in [
        ("remove", "/srv/x/in/y: No such file"),
        ("read", "/srv/x/in/y: No such file"),
        ("read", "/srv/x/in/y: input/output error"),
        ("write", "/srv/x/in/y: read-only"),
    ] {
        setup.gateway.await_log(
            |event| {
                event["operation"] == operation
                    && event["reason"].as_str().is_some_and(|reason| reason.contains(expected))
            },
            Duration::from_secs(15),
        );
    }
}

#[test]
fn a_session_starts_in_the_backends_login_folder() {
    for (pwd, root, expected) in [
        ("257 \"/home/alice\" is current", "/", "/home/alice"),
        ("257 \"/srv/exchange/alice\"", "/srv/exchange", "/alice"),
        // A path outside the root, in an unknown format.
        ("257 \"/srv/exchanged\"", "/srv/exchange", "/"),
        ("257 \"C:\\\\files\"", "/", "/"),
        ("550 nowhere", "/", "/"),
    ] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.answer("PWD", pwd);
            peer.serve()
        });
        let route = format!("authenticate: gateway, root: {root}");
        let setup = Setup::new(&backend, true, &[&route]);
        let reply = setup.alice().expect("PWD", 257);
        assert!(reply.text.starts_with(&format!("257 \"{expected}\" ")), "{pwd}: {}", reply.text);
    }
}
