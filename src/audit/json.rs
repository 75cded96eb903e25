//! A record as a JSON object, version 1 of the schema: docs/audit.md and docs/audit.schema.json.

use std::time::SystemTime;

use humantime::format_rfc3339_micros;

use super::event::{Account, Event, FileTransfer, Subject, What};
use super::object::Object;
use crate::auth::CertificateSummary;
use crate::net::Protection;

/// Changes when a field gets another meaning or is removed, not when one is added.
const VERSION: u64 = 1;

/// The record, without a line end. `hashes`: this output asks for the SHA-256 of transfers.
pub(super) fn record(instance: &str, now: SystemTime, event: &Event<'_>, hashes: bool) -> String {
    let mut text = String::with_capacity(1024);
    Object::write(&mut text, |object| {
        object.number("version", VERSION);
        object.text("time", &format_rfc3339_micros(now).to_string());
        object.text("event", event.name());
        object.text("instance", instance);
        subject(object, &event.subject);
        what(object, &event.what, hashes);
        object.text("outcome", event.outcome);
        object.optional("rule", event.rule);
        object.optional("fault", event.fault.map(|fault| fault.as_str()));
        object.optional("reason", event.reason);
        object.optional("detail", event.detail);
        if let Some(seconds) = event.seconds {
            object.seconds("seconds", seconds);
        }
    });
    text
}

fn subject(object: &mut Object<'_>, subject: &Subject<'_>) {
    object.number("session", subject.session);
    object.text("protocol", subject.protocol);
    object.text("listener", subject.listener);
    object.object("client", |client| {
        client.socket(subject.client);
        client.optional("software", subject.software);
    });
    object.object("gateway", |gateway| gateway.socket(subject.local));
    if let Some(given) = subject.protection {
        object.object("encryption", |encryption| protection(encryption, given));
    }
    object.optional("server_name", subject.server_name);
    if let Some(given) = subject.certificate {
        object.object("certificate", |certificate| {
            certificate.text("subject", given.subject);
            certificate.text("fingerprint", given.fingerprint);
        });
    }
    if let Some(given) = &subject.account {
        account(object, given);
    }
}

fn protection(object: &mut Object<'_>, protection: &Protection) {
    object.text("protocol", protection.protocol.as_str());
    object.optional("version", protection.version);
    object.optional("cipher", protection.cipher.as_deref());
    object.optional("key_exchange", protection.key_exchange.as_deref());
    if let Some(post_quantum) = protection.is_post_quantum() {
        object.boolean("post_quantum", post_quantum);
    }
}

fn account(object: &mut Object<'_>, account: &Account<'_>) {
    object.bytes("user", account.user);
    if let Some(name) = account.login_name {
        object.bytes("login_name", name);
    }
    if !account.groups.is_empty() {
        object.list("groups", account.groups);
    }
    object.object("authentication", |authentication| {
        authentication.text("method", account.method);
        authentication.optional("checked_by", account.checked_by);
        authentication.optional("hook", account.hook);
        authentication.optional("fingerprint", account.fingerprint);
        certificate(authentication, account.certificate);
    });
    if let Some(route) = account.route {
        object.number("route", route as u64);
    }
    if let Some(server) = &account.backend {
        object.object("backend", |backend| {
            backend.text("name", server.name);
            certificate(backend, server.certificate);
            let Some(peer) = server.peer else { return };
            backend.socket(peer.address);
            if let Some(given) = &peer.protection {
                backend.object("encryption", |encryption| protection(encryption, given));
            }
        });
    }
}

/// A serial may exceed what JSON's readers hold as a number.
fn certificate(object: &mut Object<'_>, certificate: Option<&CertificateSummary>) {
    let Some(CertificateSummary { serial, key_id, authority }) = certificate else { return };
    object.object("certificate", |object| {
        object.text("serial", &serial.to_string());
        object.text("key_id", key_id);
        object.text("authority", authority);
    });
}

fn what(object: &mut Object<'_>, what: &What<'_>, hashes: bool) {
    match what {
        What::Login => {}
        What::ClientRefused(refusal) => object.text("refusal", refusal),
        What::DataConnection(command) => object.text("operation", command),
        What::Operation { name, path, to } => {
            object.text("operation", name);
            object.bytes("path", path);
            if let Some(to) = to {
                object.bytes("to", to);
            }
        }
        What::Transfer(file) => transfer(object, file, hashes),
        What::SessionEnd(totals) => {
            object.number("uploads", totals.uploads);
            object.number("uploaded_bytes", totals.uploaded_bytes);
            object.number("downloads", totals.downloads);
            object.number("downloaded_bytes", totals.downloaded_bytes);
        }
    }
}

fn transfer(object: &mut Object<'_>, file: &FileTransfer<'_>, hashes: bool) {
    object.text("operation", file.name);
    object.text("direction", file.direction);
    object.bytes("path", file.path);
    if let Some(to) = file.to {
        object.bytes("to", to);
    }
    object.number("bytes", file.bytes);
    if file.bytes_read > 0 {
        object.number("bytes_read", file.bytes_read);
    }
    if let Some(size) = file.size {
        object.number("size", size);
    }
    if let Some(sha256) = file.sha256.filter(|_| hashes) {
        object.hexadecimal("sha256", &sha256);
    }
}
