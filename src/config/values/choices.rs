//! Values of fixed sets of keywords.

use serde_json::{Value as Json, json};

use crate::auth::UserCertificate;
use crate::backend::ftp::{DataMode, Dialect, PassiveCommand, UncheckedRename};
use crate::backend::{PartialUploads, SendProxyProtocol, UnsupportedAttributes, group};
use crate::config::leaf::{Choice, Invalid, Value};
use crate::config::nearest::nearest;
use crate::config::{LogFormat, LogLevel};
use crate::data::ClientMatch;
use crate::net::ssh::Base;
use crate::net::tls::{CertificateUser, SessionReuse};

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum ListenerProtocol {
    Ftp,
    Sftp,
}

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum BackendProtocol {
    Ftp,
    Sftp,
    Local,
    Group,
}

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum ListenerTlsMode {
    None,
    Optional,
    Required,
    Implicit,
}

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum ClientCertificateMode {
    None,
    Optional,
    Required,
}

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum BackendTlsMode {
    None,
    Required,
    Implicit,
}

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum DataSessions {
    Any,
    Resumed,
}

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum OnReload {
    Keep,
    Judge,
}

impl Choice for OnReload {
    const ALL: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("judge", Self::Judge)];
}

#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum Authenticate {
    Backend,
    Gateway,
    Http,
    Anonymous,
}

/// A method of `methods` and `require`.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::config) enum Method {
    PublicKey,
    Password,
}

impl Value for Method {
    fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "publickey" => Ok(Self::PublicKey),
            "password" => Ok(Self::Password),
            "keyboard-interactive" => Invalid::with_suggestion(
                "\"keyboard-interactive\" asks for the password, and belongs to that method",
                "password",
            ),
            "certificate" | "key" | "public-key" | "publickeys" => {
                Invalid::with_suggestion(format!("\"{text}\" is not a method here"), "publickey")
            }
            _ => Err(Invalid {
                message: format!("\"{text}\" is not one of publickey, password"),
                suggestion: nearest(text, ["publickey", "password"]),
            }),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["publickey", "password"] })
    }
}

impl ListenerProtocol {
    const ALL: &[(&str, Self)] = &[("ftp", Self::Ftp), ("sftp", Self::Sftp)];

    pub(in crate::config) fn word(self) -> &'static str {
        word(Self::ALL, self)
    }
}

impl BackendProtocol {
    const ALL: &[(&str, Self)] =
        &[("ftp", Self::Ftp), ("sftp", Self::Sftp), ("local", Self::Local), ("group", Self::Group)];

    pub(in crate::config) fn word(self) -> &'static str {
        word(Self::ALL, self)
    }
}

impl Value for ListenerProtocol {
    fn parse(text: &str) -> Result<Self, Invalid> {
        protocol(text, Self::ALL)
    }

    fn schema() -> Json {
        words(Self::ALL)
    }
}

impl Value for BackendProtocol {
    fn parse(text: &str) -> Result<Self, Invalid> {
        protocol(text, Self::ALL)
    }

    fn schema() -> Json {
        words(Self::ALL)
    }
}

/// Protocols are not a [`Choice`]: "ftps" gets its own message.
fn protocol<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, Invalid> {
    if let Some((_, protocol)) = known.iter().find(|(word, _)| *word == text) {
        return Ok(*protocol);
    }
    match text {
        "ftps" | "ftpes" => Invalid::new(format!(
            "\"{text}\" is ambiguous: write `protocol: ftp` with `tls.mode: required` (AUTH TLS, usually \
             port 21), or with `tls.mode: implicit` (TLS from the first byte, usually port 990)"
        )),
        "ssh" | "scp" => {
            Invalid::with_suggestion(format!("\"{text}\" is not a protocol here"), "sftp")
        }
        _ => {
            let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
            let message = format!("\"{text}\" is not a protocol; write {}", words.join(" or "));
            Err(Invalid { message, suggestion: nearest(text, words) })
        }
    }
}

fn word<T: PartialEq>(known: &[(&'static str, T)], value: T) -> &'static str {
    known.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

fn words<T>(known: &[(&str, T)]) -> Json {
    json!({ "enum": known.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
}

impl Choice for group::Choice {
    const ALL: &'static [(&'static str, Self)] = &[
        ("failover", Self::Failover),
        ("round-robin", Self::RoundRobin),
        ("least-sessions", Self::LeastSessions),
        ("user", Self::User),
        ("source", Self::Source),
    ];
}

impl Choice for Base {
    const ALL: &'static [(&'static str, Self)] =
        &[("strict", Self::Strict), ("modern", Self::Modern), ("legacy", Self::Legacy)];
}

impl Choice for ListenerTlsMode {
    const ALL: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("optional", Self::Optional),
        ("required", Self::Required),
        ("implicit", Self::Implicit),
    ];
}

impl Choice for ClientCertificateMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Choice for CertificateUser {
    const ALL: &'static [(&'static str, Self)] = &[
        ("common-name", Self::CommonName),
        ("email", Self::Email),
        ("dns", Self::Dns),
        ("upn", Self::Upn),
        ("any", Self::Any),
    ];
}

impl Choice for UserCertificate {
    const ALL: &'static [(&'static str, Self)] =
        &[("required", Self::Required), ("sufficient", Self::Sufficient)];
}

impl Choice for BackendTlsMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("required", Self::Required), ("implicit", Self::Implicit)];
}

impl Choice for DataSessions {
    const ALL: &'static [(&'static str, Self)] = &[("any", Self::Any), ("resumed", Self::Resumed)];
}

impl Choice for Authenticate {
    const ALL: &'static [(&'static str, Self)] = &[
        ("backend", Self::Backend),
        ("gateway", Self::Gateway),
        ("http", Self::Http),
        ("anonymous", Self::Anonymous),
    ];
}

impl Choice for SessionReuse {
    const ALL: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("none", Self::None)];
}

impl Choice for Dialect {
    const ALL: &'static [(&'static str, Self)] = &[("unix", Self::Unix), ("opaque", Self::Opaque)];
}

impl Choice for DataMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("passive", Self::Passive), ("active", Self::Active)];
}

impl Choice for PassiveCommand {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("epsv", Self::Epsv), ("pasv", Self::Pasv)];
}

impl Choice for UncheckedRename {
    const ALL: &'static [(&'static str, Self)] =
        &[("allow", Self::Allow), ("refuse", Self::Refuse)];
}

impl Choice for ClientMatch {
    const ALL: &'static [(&'static str, Self)] =
        &[("address", Self::Address), ("network", Self::Network), ("session", Self::Session)];
}

impl Choice for PartialUploads {
    const ALL: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("delete", Self::Delete), ("temporary-name", Self::TemporaryName)];
}

impl Choice for UnsupportedAttributes {
    const ALL: &'static [(&'static str, Self)] =
        &[("refuse", Self::Refuse), ("ignore", Self::Ignore)];
}

impl Choice for SendProxyProtocol {
    const ALL: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("control", Self::Control), ("all", Self::All)];
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}
