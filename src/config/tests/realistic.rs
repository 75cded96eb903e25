//! Realistic mistakes, with whole reports.

use super::*;

/// From memory of another server's configuration.
#[test]
fn keys_of_another_servers_configuration_are_reported() {
    let text = "\
listeners:
  ftps:
    protocol: ftps
    address: 0.0.0.0
    port: 990
    certificate: /etc/ssl/tls.crt
    passive_ports: 50000-50100
backends:
  nas:
    protocol: ftp
    host: 10.0.0.9
    timeout: 30
routes:
  - listener: ftps
    backend: nas
";
    insta::assert_snapshot!(report(text), @r#"
    lockgate.yaml:2:3: listeners.ftps: cannot transfer data: set `data_ports` to a pool (passive mode), or write `active: { allowed: true }`
        2 |   ftps:
          |   ^^^^
    lockgate.yaml:3:15: listeners.ftps.protocol: "ftps" is ambiguous: write `protocol: ftp` with `tls.mode: required` (AUTH TLS, usually port 21), or with `tls.mode: implicit` (TLS from the first byte, usually port 990)
        3 |     protocol: ftps
          |               ^^^^
    lockgate.yaml:4:14: listeners.ftps.address: "0.0.0.0" has no port: write 0.0.0.0:21 for FTP, 0.0.0.0:22 for SFTP
        4 |     address: 0.0.0.0
          |              ^^^^^^^
    lockgate.yaml:5:5: listeners.ftps.port: unknown key: the port is part of `address`
        5 |     port: 990
          |     ^^^^
    lockgate.yaml:6:5: listeners.ftps.certificate: belongs one level deeper, under `tls`
        6 |     certificate: /etc/ssl/tls.crt
          |     ^^^^^^^^^^^
    lockgate.yaml:7:5: listeners.ftps.passive_ports: unknown key: passive ports are defined in a pool; name it with `data_ports`
        7 |     passive_ports: 50000-50100
          |     ^^^^^^^^^^^^^
    lockgate.yaml:9:3: backends.nas.address: is missing: write the server's address
        9 |   nas:
          |   ^^^
    lockgate.yaml:11:5: backends.nas.host: unknown key: the host is part of `address`
       11 |     host: 10.0.0.9
          |     ^^^^
    lockgate.yaml:12:5: backends.nas.timeout: unknown key: write connect_timeout or reply_timeout
       12 |     timeout: 30
          |     ^^^^^^^
    lockgate.yaml:14:5: routes[0].listener: unknown key (did you mean "match.listeners"?)
       14 |   - listener: ftps
          |     ^^^^^^^^
    lockgate.yaml:14:5: routes[0].authenticate: is missing
       14 |   - listener: ftps
          |     ^
    11 problems
    "#);
}

/// A service account, and partners who are let through to it.
#[test]
fn a_shared_account_without_authentication_is_reported() {
    let text = "\
listeners:
  public: { protocol: ftp, address: \"0.0.0.0:21\", data_ports: main }
data_ports:
  main: { range: 50000-50099 }
  spare: { range: 50050-50149 }
backends:
  exchange:
    protocol: ftp
    address: 10.20.0.8
    login:
      user: svc
      password_file: secrets/exchange
routes:
  - match: { groups: [partner] }
    authenticate: backend
    backend: exchange
";
    insta::assert_snapshot!(report(text), @r#"
    lockgate.yaml:5:19: data_ports.spare.range: 0.0.0.0:50050-50149 overlaps with 0.0.0.0:50000-50099 of data_ports.main (line 4)
        5 |   spare: { range: 50050-50149 }
          |                   ^^^^^^^^^^^
    lockgate.yaml:12:22: backends.exchange.login.password_file: cannot read secrets/exchange: No such file or directory (os error 2)
       12 |       password_file: secrets/exchange
          |                      ^^^^^^^^^^^^^^^^
    lockgate.yaml:14:14: routes[0].match.groups: groups match only users that the gateway authenticates, but this route has `authenticate: backend`
       14 |   - match: { groups: [partner] }
          |              ^^^^^^
    lockgate.yaml:15:19: routes[0].authenticate: backend "exchange" uses an account of the gateway (its `login`), which must never be reachable with an unchecked password (did you mean "gateway"?)
       15 |     authenticate: backend
          |                   ^^^^^^^
    4 problems
    "#);
}

/// Copied twice, indented wrongly, and switched `on`.
#[test]
fn copied_and_misindented_sections_are_reported() {
    let text = "\
listeners:
  public:
    protocol: ftp
    address: \"0.0.0.0:21\"
    tls: on
    data_ports: public
    active: no
  public:
    protocol: ftp
    address: \"0.0.0.0:990\"
    data_ports: public
data_ports:
  public:
  range: 50000-50099
backends:
  files:
    protocol: local
    folder: /srv/does-not-exist
    tls: { mode: none }
routes:
  - match:
    listeners: public
    authenticate: yes
    backend: file
limits:
  idle_timeout: 300
";
    insta::assert_snapshot!(report(text), @r#"
    lockgate.yaml:5:10: listeners.public.tls: expected a mapping with the keys mode, certificate, key, certificates, data_sessions, require_close_notify, client_certificate, client_ca, client_crl, certificate_user
        5 |     tls: on
          |          ^^
    lockgate.yaml:7:13: listeners.public.active: expected a mapping with the keys allowed, source_ports
        7 |     active: no
          |             ^^
    lockgate.yaml:8:3: listeners.public: is a duplicate (first in line 2)
        8 |   public:
          |   ^^^^^^
    lockgate.yaml:13:3: data_ports.public: has no keys; it requires range
       13 |   public:
          |   ^^^^^^
    lockgate.yaml:14:10: data_ports.range: expected a mapping with the keys range, listen, advertise, client_match, reservations_per_address, wait, proxy_protocol, slice
       14 |   range: 50000-50099
          |          ^^^^^^^^^^^
    lockgate.yaml:18:13: backends.files.folder: cannot open the folder /srv/does-not-exist: No such file or directory (os error 2)
       18 |     folder: /srv/does-not-exist
          |             ^^^^^^^^^^^^^^^^^^^
    lockgate.yaml:19:5: backends.files.tls: belongs to `protocol: ftp`; a backend of `protocol: local` has folder, partial_uploads
       19 |     tls: { mode: none }
          |     ^^^
    lockgate.yaml:21:5: routes[0].match: has no keys; remove it, or indent its keys
       21 |   - match:
          |     ^^^^^
    lockgate.yaml:22:5: routes[0].listeners: belongs one level deeper, under `match`
       22 |     listeners: public
          |     ^^^^^^^^^
    lockgate.yaml:23:19: routes[0].authenticate: "yes" is not one of backend, gateway, http, anonymous
       23 |     authenticate: yes
          |                   ^^^
    lockgate.yaml:24:14: routes[0].backend: there is no backend "file" (did you mean "files"?)
       24 |     backend: file
          |              ^^^^
    lockgate.yaml:26:17: limits.idle_timeout: a duration needs a unit (did you mean "300s"?)
       26 |   idle_timeout: 300
          |                 ^^^
    12 problems
    "#);
}
