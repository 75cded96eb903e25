//! A login hook: asks, and keeps positive answers that may be kept.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::answer::{Answer, Parsed};
use super::cache::Cache;
use super::error::{HookError, HookFault};
use super::metrics::{HookMetrics, OfHook};
use super::question::{BadQuestion, Question};
use super::request::{Endpoint, Token};
use crate::auth::password_queue::PasswordQueue;
use crate::auth::source::Source;

/// One of the `login_hooks`, as configured.
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Where it is asked (`url` or `socket`).
    pub endpoint: Endpoint,
    /// What the gateway proves itself with (`token_file`).
    pub token: Option<Token>,
    /// For one request, from the connection to the end of the answer (`timeout`).
    pub timeout: Duration,
    /// Requests at once; further logins wait (`requests_at_once`).
    pub requests_at_once: usize,
    /// The longest time that an answer is reused (`cache_max`); zero: none is.
    pub cache_max: Duration,
}

/// Decides about logins.
pub struct LoginHook {
    settings: Settings,
    /// Sources take turns: guesses of one address do not delay the logins of others.
    queue: Arc<PasswordQueue>,
    cache: Cache,
    pub(super) metrics: OfHook,
}

/// A hook's decision.
pub enum Verdict<T> {
    /// The login is allowed, with what was made of the answer.
    Allowed(T),
    /// It is refused, with the hook's reason for the log.
    Refused(Option<String>),
}

/// Why a question was not asked, or not answered.
#[derive(Debug, thiserror::Error)]
pub enum NoVerdict {
    /// Fault: the client's.
    #[error(transparent)]
    Question(#[from] BadQuestion),
    /// Fault: the hook's, or of the network.
    #[error(transparent)]
    Hook(#[from] HookError),
}

impl LoginHook {
    /// Nothing is connected yet.
    pub fn new(settings: Settings, metrics: &HookMetrics) -> Self {
        Self {
            queue: PasswordQueue::new(settings.requests_at_once),
            cache: Cache::new(settings.cache_max),
            metrics: metrics.of(&settings.name),
            settings,
        }
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Requests that run.
    pub fn requests_running(&self) -> usize {
        self.queue.taken()
    }

    /// The most requests at once.
    pub fn requests_at_once(&self) -> usize {
        self.queue.places()
    }

    /// Asks about a login. Waits for a slot as long as the caller does; may be dropped at any time.
    /// `accept` checks an answer against the configuration and makes of it what the login needs; an answer
    /// that it does not accept, with its reason, is as malformed as one that is no JSON.
    pub async fn ask<T>(
        &self,
        question: &Question<'_>,
        accept: impl Fn(&Answer) -> Result<T, String>,
    ) -> Result<Verdict<T>, NoVerdict> {
        let source = question.source;
        let question = question.to_json()?;
        let digest = self.cache.digest(&question);
        if let Some(answer) = self.cache.get(&digest) {
            let accepted = accept(&answer).map_err(|wrong| self.failed(malformed(&wrong)))?;
            self.metrics.outcome("cached").inc();
            return Ok(Verdict::Allowed(accepted));
        }
        let answer =
            match self.request(source, question).await.map_err(|error| self.failed(error))? {
                Parsed::Allowed(answer) => Arc::new(answer),
                Parsed::Refused(reason) => {
                    self.metrics.outcome("refused").inc();
                    return Ok(Verdict::Refused(reason));
                }
            };
        let accepted = accept(&answer).map_err(|wrong| self.failed(malformed(&wrong)))?;
        self.cache.insert(digest, &answer);
        self.metrics.outcome("allowed").inc();
        Ok(Verdict::Allowed(accepted))
    }

    async fn request(
        &self,
        from: IpAddr,
        question: Zeroizing<Vec<u8>>,
    ) -> Result<Parsed, HookError> {
        let waiting = self.metrics.wait();
        let _place = self.queue.place(Source::of(from)).await;
        drop(waiting);
        let Settings { endpoint, token, timeout: limit, .. } = &self.settings;
        let start = Instant::now();
        let answer = timeout(*limit, endpoint.ask(token.as_ref(), question)).await;
        self.metrics.took(start.elapsed());
        let answer = answer.unwrap_or_else(|_| {
            let limit = humantime::format_duration(*limit);
            let text = format!("it did not answer completely within {limit} (`timeout`)");
            Err(HookError::new(HookFault::Timeout, text))
        })?;
        Parsed::parse(&answer)
    }

    fn failed(&self, error: HookError) -> HookError {
        self.metrics.outcome(error.fault.as_str()).inc();
        error
    }
}

fn malformed(wrong: &str) -> HookError {
    HookError::malformed(format!("its answer {wrong}"))
}
