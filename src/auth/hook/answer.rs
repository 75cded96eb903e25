//! What a login hook answers: a JSON object (docs/login-hook.schema.json). Unknown keys, duplicate keys and
//! `null` are refused: a misspelled `root` or `groups` would otherwise give more than was meant.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::error::HookError;
use super::question::{USER_MAX, is_name};
use crate::auth::Credentials;
use crate::data::{BANDWIDTH_MAX, BANDWIDTH_MIN};

/// Groups of one answer: directories have users in hundreds of them.
const GROUPS_MAX: usize = 1000;
/// Bytes of a group's name.
const GROUP_MAX: usize = 255;
/// Bytes of `reason`; what is longer is cut.
const REASON_MAX: usize = 500;
/// Bytes of an account's password.
const PASSWORD_MAX: usize = 16 * 1024;
/// The longest `cache_for`, in seconds: a day.
const CACHE_FOR_MAX: u64 = 24 * 60 * 60;

/// What an allowed login gets. Names and paths have no control characters; they are not checked further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The user's name for policy, groups and `{user}`, if it is another than the one asked about.
    pub user: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// A backend's name in the configuration, instead of the route's.
    pub backend: Option<String>,
    /// As a route's `root`, instead of it.
    pub root: Option<String>,
    /// Further limits of the user.
    pub limits: AnsweredLimits,
    /// The account at the backend, instead of the configured one.
    pub account: Option<BackendAccount>,
    /// How long the answer may be reused for the same question.
    pub(super) cache_for: Duration,
}

/// Limits of a user, in the units of `policy.limits`: bytes a second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnsweredLimits {
    /// Sessions open at once.
    #[serde(deserialize_with = "given")]
    pub sessions: Option<u32>,
    /// Uploads and downloads at once.
    #[serde(deserialize_with = "given")]
    pub transfers: Option<u32>,
    /// Uploads and downloads together.
    #[serde(deserialize_with = "given")]
    pub bandwidth: Option<u64>,
    /// Uploads.
    #[serde(deserialize_with = "given")]
    pub upload_bandwidth: Option<u64>,
    /// Downloads.
    #[serde(deserialize_with = "given")]
    pub download_bandwidth: Option<u64>,
}

/// A name and a password for the backend.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendAccount {
    user: String,
    #[serde(deserialize_with = "secret")]
    password: Zeroizing<String>,
}

/// The parsed answer.
#[derive(Debug)]
pub(super) enum Parsed {
    Allowed(Answer),
    /// With the hook's reason, for the log.
    Refused(Option<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    allow: bool,
    #[serde(default, deserialize_with = "given")]
    reason: Option<String>,
    #[serde(default, deserialize_with = "given")]
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    backend: Option<String>,
    #[serde(default, deserialize_with = "given")]
    root: Option<String>,
    #[serde(default)]
    limits: AnsweredLimits,
    #[serde(default, deserialize_with = "given")]
    account: Option<BackendAccount>,
    #[serde(default)]
    cache_for: u64,
}

impl Parsed {
    pub(super) fn parse(text: &[u8]) -> Result<Self, HookError> {
        let document: Document = serde_json::from_slice(text).map_err(|error| {
            HookError::malformed(format!(
                "its answer is not as expected: {}",
                without_values(&error)
            ))
        })?;
        document.check().map_err(|wrong| HookError::malformed(format!("its answer: {wrong}")))?;
        if !document.allow {
            return Ok(Self::Refused(document.reason.map(|reason| cut(reason, REASON_MAX))));
        }
        let Document { user, groups, backend, root, limits, account, cache_for, .. } = document;
        let cache_for = Duration::from_secs(cache_for);
        Ok(Self::Allowed(Answer { user, groups, backend, root, limits, account, cache_for }))
    }
}

impl Document {
    fn check(&self) -> Result<(), &'static str> {
        let names = self.user.iter().chain(&self.backend).chain(&self.root).chain(&self.groups);
        let account = self.account.iter().map(|account| &account.user);
        if !names.chain(account).all(|name| is_name(name)) {
            return Err("a name or path is empty or has a control character");
        }
        if self.user.as_ref().is_some_and(|user| user.len() > USER_MAX) {
            return Err("`user` is longer than 512 bytes");
        }
        if self.groups.len() > GROUPS_MAX || self.groups.iter().any(|it| it.len() > GROUP_MAX) {
            return Err("`groups` has more than 1000 names, or one longer than 255 bytes");
        }
        if let Some(BackendAccount { user, password }) = &self.account {
            if user.len() > USER_MAX || password.is_empty() || password.len() > PASSWORD_MAX {
                return Err("`account` has a name or a password that is empty or too long");
            }
            if password.contains(['\r', '\n', '\0']) {
                return Err("`account.password` has a line end or NUL");
            }
        }
        let AnsweredLimits { sessions, transfers, bandwidth, upload_bandwidth, download_bandwidth } =
            self.limits;
        if [sessions, transfers].into_iter().flatten().any(|n| n == 0) {
            return Err("`limits` has a zero; to refuse a login, answer `allow: false`");
        }
        let bandwidths = [bandwidth, upload_bandwidth, download_bandwidth];
        if bandwidths.into_iter().flatten().any(|n| !(BANDWIDTH_MIN..=BANDWIDTH_MAX).contains(&n)) {
            return Err(
                "`limits` has a bandwidth that is not from 8000 bytes to 1024 GiB a second",
            );
        }
        if self.cache_for > CACHE_FOR_MAX {
            return Err("`cache_for` is longer than a day (86400)");
        }
        Ok(())
    }
}

impl BackendAccount {
    /// For the backend's login.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            user: self.user.clone().into_bytes(),
            password: Zeroizing::new(self.password.as_bytes().to_vec()),
            account: None,
            sent: Default::default(),
            key: None,
        }
    }
}

/// Without the password.
impl std::fmt::Debug for BackendAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendAccount").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A key that is present has a value: `null` is no value.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// An answer may contain a password: of a wrong value only what was expected is told.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let tells_value = text.starts_with("invalid type") || text.starts_with("invalid value");
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if tells_value => format!("expected {expected}"),
        _ => text,
    }
}

fn cut(mut text: String, max: usize) -> String {
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.truncate(end);
    text
}
