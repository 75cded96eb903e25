//! Valid configurations.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::auth::Credentials;
use crate::backend::ftp::{DataMode, PassiveCommand, TlsMode, UncheckedRename};
use crate::backend::{PartialUploads, SendProxyProtocol, UnsupportedAttributes};
use crate::config::{BackendSettings, LogFormat, LogLevel, load_str};
use crate::data::{Advertise, Host, Ports};
use crate::front::ftp::TlsPolicy;
use crate::net::DrainSettings;
use crate::op::RemotePath;
use crate::route::{Access, Account, Root, RootSetting};
use crate::session::Limits;

const MINIMAL: &str = "\
listeners:
  public: { protocol: ftp, address: 127.0.0.1:0, data_ports: pool }
data_ports:
  pool: { range: 50000 }
backends:
  server: { protocol: ftp, address: ftp.example.com }
routes:
  - { authenticate: backend, backend: server }
";

#[test]
fn a_minimal_configuration_has_safe_defaults() {
    let config = compiled(MINIMAL);
    assert!(config.warnings.is_empty());
    let listener = &config.listeners[0];
    assert_eq!(listener.name, "public");
    assert_eq!(listener.addresses, ["127.0.0.1:0".parse().unwrap()]);
    assert!(matches!(listener.tls, TlsPolicy::None));
    assert_eq!(listener.data_ports.as_deref(), Some("pool"));
    assert!(!listener.active_allowed);
    let pool = &config.pools[0];
    assert!(matches!(&pool.ports, Ports::Range(range) if *range == (50000..=50000)));
    // Its listener's address.
    assert_eq!(pool.listen, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert!(pool.advertise.is_empty());
    let BackendSettings::Ftp(server) = &config.backends[0].1 else { panic!() };
    assert_eq!(
        (server.name.as_str(), &*server.addresses),
        ("server", &["ftp.example.com:21".into()][..])
    );
    assert!(matches!(server.tls, TlsMode::None));
    assert_eq!(server.data_mode, DataMode::Passive);
    assert!(!server.trust_pasv_address);
    assert_eq!((server.passive_command, server.connects_at_once), (PassiveCommand::Auto, 8));
    assert_eq!(server.send_proxy_protocol, SendProxyProtocol::None);
    assert!(listener.proxy_protocol.is_empty() && pool.proxy_protocol.is_empty());
    assert_eq!(server.partial_uploads, PartialUploads::Keep);
    assert_eq!(server.unsupported_attributes, UnsupportedAttributes::Refuse);
    assert_eq!(server.tail_copy_max, 64 * 1024 * 1024);
    assert_eq!(server.connect_timeout, Duration::from_secs(10));
    assert_eq!(server.reply_timeout, Duration::from_secs(60));
    assert!(matches!(config.routes.0[0].backends()[0].access, Access::Backend));
    assert_eq!(config.routes.0[0].root, RootSetting::Same(Root::Path(RemotePath::root())));
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.drain, DrainSettings::default());
    assert!(!config.judges_sessions);
    assert_eq!(config.metrics, None);
    assert_eq!((config.log.format, config.log.level), (LogFormat::Text, LogLevel::Info));
    assert!(load_str(MINIMAL, "least").is_ok());
}

#[test]
fn every_key_is_compiled() {
    let config = compiled(&format!(
        r#"
listeners:
  a:
    protocol: ftp
    address: ["127.0.0.1:21", "[::1]:21"]
    tls: {{ mode: optional, certificate: tls.crt, key: tls.key, data_sessions: resumed, require_close_notify: false }}
    active: {{ allowed: true, source_ports: 20 }}
  b:
    protocol: ftp
    address: 127.0.0.1:990
    tls: {{ mode: implicit, certificate: tls.crt, key: tls.key }}
    data_ports: pool
    proxy_protocol: [10.0.0.0/8, "2001:db8::/32"]
data_ports:
  pool:
    range: "50000-50099"
    proxy_protocol: 10.0.0.7
    listen: ["127.0.0.1", "::1"]
    advertise:
      - {{ clients: 10.0.0.7, address: 10.0.0.5 }}
      - {{ clients: 192.0.2.0/24, address: ftp.example.com, port_offset: -100 }}
      - {{ clients: 198.51.100.0/24, ports: 60000-60099 }}
      - {{ address: "2001:db8::7" }}
    slice: {{ of: 3, index_env: LOCKGATE_REPLICA }}
  servers:
    range: 20000-20009
    listen: 127.0.0.1
backends:
  mapped:
    protocol: ftp
    address: ["ftp.example.com", "[2001:db8::1]:2121"]
    tls: {{ mode: implicit, ca: exchange-ca.crt, session_reuse: none }}
    data_mode: active
    data_ports: servers
    trust_pasv_address: true
    send_proxy_protocol: control
    login_folder: /data/
    unchecked_rename: refuse
    partial_uploads: temporary-name
    tail_copy_max: 1GiB
    unsupported_attributes: ignore
    login: {{ user: svc, password_file: exchange.password }}
    connect_timeout: 1m30s
    reply_timeout: 5s
  from-env:
    protocol: ftp
    address: 10.0.0.1
    tls: {{ mode: required, danger_accept_any: true }}
    passive_command: pasv
    connects_at_once: 5
    login: {{ user: svc, password_env: CARGO_PKG_NAME }}
  through: {{ protocol: ftp, address: a, login: pass-through, send_proxy_protocol: all, passive_command: epsv }}
  files: {{ protocol: local, folder: files, partial_uploads: delete }}
users:
  alice: {{ password_hash: "{HASH}", groups: staff }}
  null: {{ password_hash: "{HASH}" }}
routes:
  - {{ match: {{ listeners: [a, b], users: ["al*"], groups: [staff], sources: [10.0.0.0/8] }}, authenticate: gateway, backend: mapped, root: /srv/x }}
  - {{ match: {{ users: alice }}, authenticate: gateway, backend: from-env, root: home }}
  - {{ match: {{ users: alice }}, authenticate: gateway, backend: through }}
  - {{ authenticate: gateway, backend: files }}
limits: {{ sessions: 1, sessions_per_address: 2, login_attempts: 3, login_timeout: 4s, idle_timeout: 5s, data_connect_timeout: 6s, stall_timeout: 7s }}
drain: {{ accept_for: 1m, timeout: 0s }}
on_reload: judge
metrics: {{ address: 127.0.0.1:9640 }}
log: {{ format: json, level: trace }}
"#
    ));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let TlsPolicy::Optional(tls) = &config.listeners[0].tls else { panic!() };
    assert!(tls.require_resumed_data && !tls.require_close_notify);
    assert!(config.listeners[0].active_allowed && config.listeners[0].addresses.len() == 2);
    let TlsPolicy::Implicit(tls) = &config.listeners[1].tls else { panic!() };
    assert!(!tls.require_resumed_data && tls.require_close_notify);
    assert!(config.listeners[0].proxy_protocol.is_empty());
    assert_eq!(
        config.listeners[1].proxy_protocol,
        ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]
    );
    assert_eq!(config.pools[0].proxy_protocol, ["10.0.0.7/32".parse().unwrap()]);
    assert_eq!(config.listeners[0].active_source_ports, Some(20..=20));
    pool(&config);
    backends(&config);
    routes(&config);
    let seconds = Duration::from_secs;
    let limits = Limits {
        sessions: 1,
        sessions_per_address: 2,
        login_attempts: 3,
        login_timeout: seconds(4),
        idle_timeout: seconds(5),
        data_connect_timeout: seconds(6),
        stall_timeout: seconds(7),
    };
    assert_eq!(config.limits, limits);
    let drain = DrainSettings { accept_for: seconds(60), timeout: seconds(0) };
    assert_eq!(config.drain, drain);
    assert!(config.judges_sessions);
    assert_eq!(config.metrics, Some("127.0.0.1:9640".parse().unwrap()));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, LogLevel::Trace));
    assert_eq!(config.users.get(b"alice").unwrap().groups, ["staff"]);
    let hash = config.users.get(b"null").unwrap().password_hash.as_ref().unwrap();
    assert_eq!(hash.as_str(), HASH);
}

fn pool(config: &Compiled) {
    let ip = |text: &str| Some(Host::Ip(text.parse().unwrap()));
    let advertise = |clients: &str, address, port_offset| {
        let clients = clients.parse().ok();
        Advertise { clients, address, port_offset }
    };
    let name = Some(Host::Name("ftp.example.com".into()));
    let expected = [
        advertise("10.0.0.7/32", ip("10.0.0.5"), 0),
        advertise("192.0.2.0/24", name, -100),
        advertise("198.51.100.0/24", None, 10000),
        advertise("", ip("2001:db8::7"), 0),
    ];
    assert_eq!(config.pools[0].advertise, expected);
    // The last of three slices of a hundred ports; `ports` maps the whole range.
    let Ports::Range(ports) = &config.pools[0].ports else { panic!() };
    assert_eq!(*ports, 50067..=50099);
}

fn backends(config: &Compiled) {
    let BackendSettings::Ftp(mapped) = &config.backends[0].1 else { panic!() };
    assert_eq!(mapped.addresses, ["ftp.example.com:990"]);
    let BackendSettings::Ftp(second) = &config.backends[1].1 else { panic!() };
    assert_eq!(second.addresses, ["[2001:db8::1]:2121"]);
    assert!(matches!(mapped.tls, TlsMode::Implicit(_)) && mapped.trust_pasv_address);
    assert_eq!(
        (mapped.data_mode, mapped.data_ports.as_deref()),
        (DataMode::Active, Some("servers"))
    );
    assert_eq!(mapped.send_proxy_protocol, SendProxyProtocol::Control);
    assert_eq!(mapped.partial_uploads, PartialUploads::TemporaryName);
    assert_eq!(mapped.unsupported_attributes, UnsupportedAttributes::Ignore);
    assert_eq!(mapped.tail_copy_max, 1 << 30);
    assert_eq!(mapped.unchecked_rename, UncheckedRename::Refuse);
    assert_eq!(mapped.login_folder.as_ref().map(RemotePath::as_bytes), Some(&b"/data"[..]));
    assert_eq!((mapped.connect_timeout.as_secs(), mapped.reply_timeout.as_secs()), (90, 5));
    let BackendSettings::Ftp(from_env) = &config.backends[2].1 else { panic!() };
    assert!(matches!(from_env.tls, TlsMode::Explicit(_)) && from_env.login_folder.is_none());
    assert_eq!((from_env.passive_command, from_env.connects_at_once), (PassiveCommand::Pasv, 5));
    let BackendSettings::Ftp(through) = &config.backends[3].1 else { panic!() };
    assert_eq!(through.send_proxy_protocol, SendProxyProtocol::All);
    assert_eq!(through.passive_command, PassiveCommand::Epsv);
    assert_eq!(through.unchecked_rename, UncheckedRename::Allow);
    let (name, BackendSettings::Local(files)) = &config.backends[4] else { panic!() };
    assert_eq!((name.as_str(), files.partial_uploads), ("files", PartialUploads::Delete));
    assert!(files.folder.is_absolute() && files.folder.ends_with("files"));
}

fn routes(config: &Compiled) {
    let [mapped, from_env, through, files] = &config.routes.0[..] else { panic!() };
    let password = |access: &Access| match access {
        Access::Gateway { account: Account::Mapped(account), .. } => {
            let Credentials { user, password, account: None, .. } = account else { panic!() };
            assert_eq!(user, b"svc");
            String::from_utf8(password.to_vec()).unwrap()
        }
        _ => panic!(),
    };
    // Without the line end of the file.
    assert_eq!(password(&mapped.backends()[0].access), "open sesame");
    assert_eq!(password(&from_env.backends()[0].access), "lockgate");
    assert!(matches!(
        through.backends()[0].access,
        Access::Gateway { account: Account::PassThrough, .. }
    ));
    assert!(matches!(files.backends()[0].access, Access::Gateway { account: Account::None, .. }));
    assert_eq!(
        (mapped.backends()[0].name.as_str(), mapped.root.to_string().as_str()),
        ("mapped", "/srv/x")
    );
    assert_eq!(from_env.root, RootSetting::Same(Root::Home));
    let source = "10.9.9.9".parse().unwrap();
    let staff = ["staff".to_owned()];
    assert!(mapped.matches.covers("b", source, None, b"alice", Some(&staff)));
    assert!(!mapped.matches.covers("b", source, None, b"bob", Some(&staff)));
    assert!(!mapped.matches.covers("b", source, None, b"alice", None));
    assert!(!mapped.matches.covers("b", "11.0.0.1".parse().unwrap(), None, b"alice", Some(&staff)));
    assert!(files.matches.covers("a", source, None, b"anybody", None));
}

/// Aliases repeat a value; a quoted number is a number; JSON is YAML.
#[test]
fn yaml_as_generated_by_templates_is_accepted() {
    compiled(&MINIMAL.replace("50000", "\"50000\"").replace('\n', "\r\n"));
    compiled(&format!("\u{feff}---\n{MINIMAL}...\n"));
    let text = MINIMAL.replace(
        "data_ports: pool }",
        "data_ports: pool }\n  b: { protocol: ftp, address: *a, data_ports: pool }",
    );
    let config = compiled(&text.replacen("127.0.0.1:0", "&a [127.0.0.1:0]", 1));
    assert_eq!(config.listeners[1].addresses, config.listeners[0].addresses);
    let json = r#"{"listeners": {"a": {"protocol": "ftp", "address": "127.0.0.1:0", "active": {"allowed": true}}},
        "backends": {"b": {"protocol": "ftp", "address": "h"}}, "routes": [{"authenticate": "backend", "backend": "b"}]}"#;
    compiled(json);
}
