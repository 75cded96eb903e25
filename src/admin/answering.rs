//! Answers what the process that has taken over asks for an operator: in parts, so that what both tell each other
//! meanwhile does not wait.

use std::iter::Peekable;

use serde_json::Value;

use super::session_json::session;
use super::sessions::{end, selected};
use super::take_over::PeerRequest;
use super::transfers;
use crate::session::LiveSessions;

/// Of one part, in bytes, beyond its last row.
const PART_MAX: usize = 32 * 1024;
/// Of an answer, in bytes: 10,000 sessions have about 15 MiB. The rest of the rows is left out.
const ANSWER_MAX: usize = 32 * 1024 * 1024;

/// An answer whose rows are made as they are sent.
pub struct Answering {
    rows: Peekable<Box<dyn Iterator<Item = Value> + Send>>,
    count: usize,
    left: usize,
}

/// Answers a request about the sessions of this process. Those to be ended are ended when it returns.
pub fn answer_peer(request: PeerRequest, live: &LiveSessions) -> Answering {
    match request {
        PeerRequest::Sessions { selection, max } => {
            let meant = selected(live, selection.as_ref()).into_iter();
            let rows = meant.take(max.unwrap_or(usize::MAX)).map(|it| session(&it.view()));
            Answering::new(rows, live.len())
        }
        PeerRequest::Transfers => {
            let sessions: Vec<_> = live.all().iter().map(|it| it.view()).collect();
            let (rows, running) = transfers::rows(&sessions);
            Answering::new(rows.into_iter(), running)
        }
        PeerRequest::Kick { selection, after_transfers } => {
            let ended = end(live, &selection, after_transfers);
            let count = ended.len();
            Answering::new(ended.into_iter().map(Value::from), count)
        }
    }
}

impl Answering {
    fn new(rows: impl Iterator<Item = Value> + Send + 'static, count: usize) -> Self {
        let rows: Box<dyn Iterator<Item = Value> + Send> = Box::new(rows);
        Self { rows: rows.peekable(), count, left: ANSWER_MAX }
    }

    /// The next rows; with the last ones, how many there are in all.
    pub fn next_part(&mut self) -> (Vec<Value>, Option<usize>) {
        let (mut part, mut length) = (Vec::new(), 0);
        while length < PART_MAX
            && let Some(row) = self.rows.next()
        {
            let row_length = row.to_string().len();
            if row_length > self.left {
                return (part, Some(self.count));
            }
            self.left -= row_length;
            length += row_length;
            part.push(row);
        }
        let is_last = self.rows.peek().is_none();
        (part, is_last.then_some(self.count))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::super::selection::Selection;
    use super::*;
    use crate::net::{Drain, Endpoints};
    use crate::session::ClientInfo;

    /// The lengths of the parts, all rows, and the count.
    fn parts(mut answering: Answering) -> (Vec<usize>, Vec<Value>, usize) {
        let (mut lengths, mut all) = (Vec::new(), Vec::new());
        loop {
            let (rows, count) = answering.next_part();
            lengths.push(rows.iter().map(|row| row.to_string().len()).sum());
            all.extend(rows);
            if let Some(count) = count {
                return (lengths, all, count);
            }
        }
    }

    #[test]
    fn long_answers_have_parts_and_an_end() {
        let rows = |count: usize, length: usize| {
            (0..count).map(move |it| Value::from("x".repeat(length - 1) + &(it % 10).to_string()))
        };
        for (count, length) in [(0, 1), (1, 1), (10_000, 1500), (3, PART_MAX * 2)] {
            let (lengths, all, told) = parts(Answering::new(rows(count, length), count + 1));
            assert!(all.iter().cloned().eq(rows(count, length)), "{count} of {length}");
            assert_eq!(told, count + 1);
            assert!(lengths.iter().all(|it| *it < PART_MAX + length + 10), "{lengths:?}");
            assert!(lengths.len() <= 1 + lengths.iter().sum::<usize>() / PART_MAX, "{lengths:?}");
        }
        let (lengths, all, told) = parts(Answering::new(rows(50_000, 1000), 50_000));
        assert!(lengths.iter().sum::<usize>() <= ANSWER_MAX && all.len() > 30_000);
        assert_eq!(told, 50_000);
    }

    #[tokio::test]
    async fn who_is_not_here_is_not_ended() {
        let live = LiveSessions::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let tcp = TcpStream::connect(local).await.unwrap();
        let endpoints = Endpoints { peer: tcp.local_addr().unwrap(), local };
        let session = ClientInfo::new("public", "ftp", endpoints, &Drain::new()).live;
        let _registered = live.register(&session, &tcp);
        let kick = |selection| {
            let request = PeerRequest::Kick { selection, after_transfers: true };
            let (_, rows, count) = parts(answer_peer(request, &live));
            (rows.len(), count)
        };
        let another = Selection::Session(session.number() + 1);
        for other in [another, Selection::User("alice".into())] {
            assert_eq!(kick(other), (0, 0));
            assert_eq!(session.view().ending, None);
        }
        assert_eq!(kick(Selection::Session(session.number())), (1, 1));
        assert!(session.view().ending.is_some());
    }
}
