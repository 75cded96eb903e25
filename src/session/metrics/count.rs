//! Counts what happens.

use std::time::Duration;

use prometheus::IntCounter;

use super::Metrics;
use crate::net::{Protection, Stream};
use crate::op::Direction;
use crate::session::client_refusal::ClientRefusal;
use crate::session::live::ByteCounters;
use crate::session::outcome_class::OutcomeClass;

/// The label of what is not known.
const UNKNOWN: &str = "unknown";

/// A connection of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A control connection.
    Control,
    /// A data connection.
    Data,
}

/// Whose operations and transfers are counted.
#[derive(Debug, Clone, Copy)]
pub struct SessionLabels<'a> {
    /// By name.
    pub listener: &'a str,
    /// `ftp`, `ftps`, `sftp`.
    pub protocol: &'a str,
    /// By name; empty without a route.
    pub backend: &'a str,
    /// In bytes, as in records.
    pub user: &'a [u8],
}

/// A transfer that has ended, or was refused.
pub struct EndedTransfer<'a> {
    /// Of the file's bytes.
    pub direction: Direction,
    /// As in its record.
    pub outcome: &'a str,
    /// Whether it moved a byte, or ended well.
    pub began: bool,
    /// From the command to its end.
    pub duration: Duration,
    /// To the first byte, if there was one.
    pub first_byte: Option<Duration>,
}

impl Metrics {
    /// Counts connections refused because of their PROXY protocol header.
    pub(in crate::session) fn proxy_refused(&self, listener: &str) -> IntCounter {
        self.proxy_refused.with_label_values(&[listener])
    }

    /// Counts a refused client.
    pub(in crate::session) fn client_refused(&self, listener: &str, kind: ClientRefusal) {
        self.clients_refused.with_label_values(&[listener, kind.as_str()]).inc();
    }

    /// Counts a connection that ended before a login and was not refused.
    pub(in crate::session) fn ended_without_login(&self, listener: &str) {
        self.without_login.with_label_values(&[listener]).inc();
    }

    /// Counts the TLS handshake of a connection; nothing if it is in clear.
    pub(in crate::session) fn tls_handshake(
        &self,
        listener: &str,
        channel: Channel,
        stream: &Stream,
    ) {
        let Some(protection) = stream.protection() else { return };
        let version = match protection.version {
            Some("1.3") => "TLSv1.3",
            Some("1.2") => "TLSv1.2",
            _ => UNKNOWN,
        };
        let channel = match channel {
            Channel::Control => "control",
            Channel::Data => "data",
        };
        // A session of TLS 1.2 that is resumed has none.
        let key_exchange = protection.key_exchange.as_deref().unwrap_or("none");
        let resumed = if stream.resumed_tls() { "true" } else { "false" };
        let labels = [listener, channel, version, key_exchange, resumed];
        self.tls_handshakes.with_label_values(&labels).inc();
    }

    /// Counts the first key exchange of an SSH connection.
    pub(in crate::session) fn ssh_key_exchange(&self, listener: &str, protection: &Protection) {
        let key_exchange = protection.key_exchange.as_deref().unwrap_or(UNKNOWN);
        let cipher = protection.cipher.as_deref().unwrap_or(UNKNOWN);
        self.ssh_key_exchanges.with_label_values(&[listener, key_exchange, cipher]).inc();
    }

    /// Counts a public key that was refused; it ends no login.
    pub(in crate::session) fn key_offer(
        &self,
        of: &SessionLabels<'_>,
        method: &str,
        outcome: &str,
    ) {
        self.logins.with_label_values(&[of.listener, of.protocol, method, outcome]).inc();
    }

    /// Counts a login that ended after `duration`, with its outcome in the record.
    pub(in crate::session) fn login_ended(
        &self,
        of: &SessionLabels<'_>,
        method: &str,
        outcome: &str,
        duration: Duration,
    ) {
        self.logins.with_label_values(&[of.listener, of.protocol, method, outcome]).inc();
        let counted = match outcome {
            "ok" => self.users.logged_in(of.user),
            _ => self.users.get(of.user),
        };
        let outcome = OutcomeClass::of(outcome);
        counted.into_iter().for_each(|user| user.logins().count(outcome));
        // The rest of the login follows.
        if outcome != OutcomeClass::Partial {
            let labels = [of.protocol, outcome.as_str()];
            self.login_seconds.with_label_values(&labels).observe(duration.as_secs_f64());
        }
    }

    /// How many logins were counted.
    #[cfg(test)]
    pub(in crate::session) fn logins(
        &self,
        listener: &str,
        protocol: &str,
        method: &str,
        outcome: &str,
    ) -> u64 {
        self.logins.with_label_values(&[listener, protocol, method, outcome]).get()
    }

    /// The seconds of all logins with this outcome.
    #[cfg(test)]
    pub(in crate::session) fn login_seconds(&self, protocol: &str, outcome: &str) -> f64 {
        self.login_seconds.with_label_values(&[protocol, outcome]).get_sample_sum()
    }

    /// Counts an operation or a transfer that ended.
    pub fn operation(&self, of: &SessionLabels<'_>, operation: &str, outcome: &str, fault: &str) {
        let labels = [of.protocol, of.backend, operation, outcome, fault];
        self.operations.with_label_values(&labels).inc();
    }

    /// What counts the bytes of a transfer.
    pub fn bytes(&self, of: &SessionLabels<'_>) -> ByteCounters {
        let in_direction = |direction| self.bytes_in(of, direction);
        ByteCounters {
            uploaded: in_direction(Direction::Upload),
            downloaded: in_direction(Direction::Download),
            user: self.users.get(of.user),
        }
    }

    /// What counts bytes in one direction; those of copies within a backend do not pass through here.
    pub(in crate::session) fn bytes_in(
        &self,
        of: &SessionLabels<'_>,
        direction: Direction,
    ) -> IntCounter {
        let labels = [of.listener, of.protocol, of.backend, direction.as_str()];
        self.bytes.with_label_values(&labels)
    }

    /// Counts a transfer.
    pub fn transfer(&self, of: &SessionLabels<'_>, ended: &EndedTransfer<'_>) {
        let direction = ended.direction.as_str();
        let labels = [of.listener, of.protocol, of.backend, direction, ended.outcome];
        self.transfers.with_label_values(&labels).inc();
        let labels = [of.protocol, of.backend, direction];
        if ended.began {
            let seconds = ended.duration.as_secs_f64();
            self.transfer_seconds.with_label_values(&labels).observe(seconds);
        }
        if let Some(time) = ended.first_byte {
            self.first_byte_seconds.with_label_values(&labels).observe(time.as_secs_f64());
        }
        if let Some(user) = self.users.get(of.user)
            && let Some(transfers) = user.transfers(ended.direction)
        {
            transfers.count(OutcomeClass::of(ended.outcome));
        }
    }
}
