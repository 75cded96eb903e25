//! Which server has a user's interrupted upload: the client resumes it there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an upload may be resumed.
const RESUMABLE: Duration = Duration::from_secs(24 * 60 * 60);
/// The oldest is forgotten where more users have one.
const USERS_MAX: usize = 10_000;

/// The users of a backend with an interrupted upload. Bounded.
#[derive(Default)]
pub(super) struct Resumable {
    servers: Mutex<HashMap<Vec<u8>, (String, Instant)>>,
}

/// Notes for one session that an upload was interrupted.
pub struct ResumeNote {
    resumable: Arc<Resumable>,
    user: Vec<u8>,
    server: String,
}

impl Resumable {
    /// The server with the last interrupted upload of this user.
    pub(super) fn server_of(&self, user: &[u8], now: Instant) -> Option<String> {
        let servers = self.lock();
        let (server, at) = servers.get(user)?;
        (now.saturating_duration_since(*at) < RESUMABLE).then(|| server.clone())
    }

    fn note(&self, user: &[u8], server: &str, now: Instant) {
        let mut servers = self.lock();
        if servers.len() >= USERS_MAX && !servers.contains_key(user) {
            let oldest =
                servers.iter().min_by_key(|(_, (_, at))| *at).map(|(user, _)| user.clone());
            oldest.and_then(|user| servers.remove(&user));
        }
        servers.insert(user.to_owned(), (server.to_owned(), now));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, (String, Instant)>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResumeNote {
    pub(super) fn new(resumable: &Arc<Resumable>, user: &[u8], server: &str) -> Self {
        Self { resumable: resumable.clone(), user: user.to_owned(), server: server.to_owned() }
    }

    /// An upload of the session was interrupted: the user's next sessions get the same server.
    pub fn upload_interrupted(&self) {
        self.resumable.note(&self.user, &self.server, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_can_be_resumed_for_a_day_and_the_oldest_is_forgotten() {
        let (resumable, start) = (Resumable::default(), Instant::now());
        resumable.note(b"alice", "one", start);
        resumable.note(b"alice", "two", start + Duration::from_secs(1));
        assert_eq!(resumable.server_of(b"alice", start).as_deref(), Some("two"));
        assert_eq!(resumable.server_of(b"bob", start), None);
        assert_eq!(resumable.server_of(b"alice", start + 2 * RESUMABLE), None);
        let later = start + Duration::from_secs(2);
        for n in 0..USERS_MAX {
            resumable.note(n.to_string().as_bytes(), "one", later);
        }
        assert_eq!(resumable.lock().len(), USERS_MAX);
        assert_eq!(resumable.server_of(b"alice", later), None);
        assert_eq!(resumable.server_of(b"9", later).as_deref(), Some("one"));
    }
}
