//! Positive answers that a login hook lets the gateway reuse (`cache_for`), in memory only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::time::Instant;

use super::answer::Answer;

/// Answers kept for one hook.
const ENTRIES_MAX: usize = 10_000;
/// How often the expired ones are dropped, with the passwords that they may have.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The answers by question. A question has a password: only its HMAC is kept, with a key that does not leave
/// this process.
pub(super) struct Cache {
    key: hmac::Key,
    /// `Duration::ZERO`: nothing is kept.
    max: Duration,
    entries_max: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Digest, Entry>,
    next_sweep: Option<Instant>,
}

/// Of a question.
pub(super) type Digest = [u8; 32];

struct Entry {
    answer: Arc<Answer>,
    until: Instant,
}

impl Cache {
    /// `max`: the longest time that an answer is kept.
    pub(super) fn new(max: Duration) -> Self {
        Self::with_capacity(max, ENTRIES_MAX)
    }

    fn with_capacity(max: Duration, entries_max: usize) -> Self {
        let mut secret = [0; 32];
        rand::fill(&mut secret);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Self { key, max, entries_max, table: Mutex::default() }
    }

    pub(super) fn digest(&self, question: &[u8]) -> Digest {
        let mut digest = Digest::default();
        digest.copy_from_slice(hmac::sign(&self.key, question).as_ref());
        digest
    }

    pub(super) fn get(&self, question: &Digest) -> Option<Arc<Answer>> {
        let mut table = self.lock();
        let entry = table.entries.get(question)?;
        if entry.until > Instant::now() {
            return Some(entry.answer.clone());
        }
        table.entries.remove(question);
        None
    }

    /// Keeps the answer as long as it says, if it may be kept.
    pub(super) fn insert(&self, question: Digest, answer: &Arc<Answer>) {
        let time = answer.cache_for.min(self.max);
        if time.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut table = self.lock();
        let is_full = table.entries.len() >= self.entries_max;
        if is_full || table.next_sweep.is_none_or(|next| next <= now) {
            table.entries.retain(|_, entry| entry.until > now);
            table.next_sweep = Some(now + SWEEP_INTERVAL);
        }
        if table.entries.len() >= self.entries_max {
            let first = table.entries.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(first) = first.map(|(question, _)| *question) {
                table.entries.remove(&first);
            }
        }
        table.entries.insert(question, Entry { answer: answer.clone(), until: now + time });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Parsed;
    use super::*;

    fn answer(cache_for: u64) -> Arc<Answer> {
        let text = format!("{{\"allow\": true, \"cache_for\": {cache_for}}}");
        match Parsed::parse(text.as_bytes()).unwrap() {
            Parsed::Allowed(answer) => Arc::new(answer),
            Parsed::Refused(_) => unreachable!("it is allowed"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_kept_as_long_as_they_say_and_the_setting_allows() {
        let cache = Cache::new(Duration::from_secs(60));
        let [none, short, long] = [b"none", b"shrt", b"long"].map(|it| cache.digest(it));
        cache.insert(none, &answer(0));
        cache.insert(short, &answer(10));
        cache.insert(long, &answer(3600));
        let kept = || [none, short, long].map(|it| cache.get(&it).is_some());
        assert_eq!(kept(), [false, true, true]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(kept(), [false, false, true]);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(kept(), [false, false, false]);
        assert_eq!(cache.lock().entries.len(), 0);
        let off = Cache::new(Duration::ZERO);
        off.insert(short, &answer(3600));
        assert!(off.get(&short).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn their_number_is_limited_and_the_expired_ones_are_dropped() {
        let cache = Cache::with_capacity(Duration::from_secs(600), 3);
        let all = [1_u8, 2, 3, 4].map(|n| cache.digest(&[n]));
        for (question, time) in all.iter().zip([300, 30, 500, 500]) {
            cache.insert(*question, &answer(time));
        }
        // The one that would have expired first.
        assert_eq!(all.map(|it| cache.get(&it).is_some()), [true, false, true, true]);
        tokio::time::advance(Duration::from_secs(301)).await;
        cache.insert(all[1], &answer(30));
        assert_eq!(cache.lock().entries.len(), 3);
    }

    /// The key is another in each process, so that nothing can be computed before.
    #[test]
    fn each_cache_has_a_key_of_its_own() {
        let [one, two] = [(); 2].map(|()| Cache::new(Duration::ZERO));
        assert_eq!(one.digest(b"question"), one.digest(b"question"));
        assert_ne!(one.digest(b"question"), one.digest(b"question."));
        assert_ne!(one.digest(b"question"), two.digest(b"question"));
    }
}
