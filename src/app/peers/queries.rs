//! What operators ask of the processes before this one: each answers over its link, in parts.

use std::io;
use std::sync::Arc;

use futures_util::future::join_all;
use prometheus::Registry;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout_at};

use super::Peers;
use crate::admin::{Answering, FromBefore, Link, Message, PeerRequest, ProcessBefore, answer_peer};
use crate::metrics::live_gauge;

/// For the answers. The command line waits three seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Who has said nothing for so long, not even how many sessions it has, is not asked. No longer than
/// [`ANSWER_TIMEOUT`]: who has not answered is waited for once.
const SILENCE_MAX: Duration = ANSWER_TIMEOUT;

/// What one of the two processes of a link has asked the other.
pub(super) struct Queries {
    heard: Instant,
    asked: Option<Asked>,
    answering: Option<(u64, Answering)>,
}

/// A request of this process.
struct Asked {
    number: u64,
    /// Until it is sent.
    request: Option<PeerRequest>,
    rows: Vec<Value>,
    done: oneshot::Sender<Answered>,
}

/// The rows, and how many there are in all.
type Answered = (Vec<Value>, usize);

impl Queries {
    pub(super) fn new() -> Self {
        Self { heard: Instant::now(), asked: None, answering: None }
    }

    /// The other process has said something.
    pub(super) fn note_heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Why it would not answer, in words.
    pub(super) fn silence(&self) -> Option<String> {
        let silent = self.heard.elapsed();
        let text = || format!("it has said nothing for {} s", silent.as_secs());
        (silent > SILENCE_MAX).then(text)
    }

    fn ask(&mut self, request: PeerRequest) -> oneshot::Receiver<Answered> {
        let (done, answered) = oneshot::channel();
        // The process before may still send parts for the one before this one.
        let (number, rows) = (rand::random(), Vec::new());
        self.asked = Some(Asked { number, request: Some(request), rows, done });
        answered
    }

    /// Queues a request, and the next part of an answer.
    pub(super) fn tell(&mut self, link: &mut Link) -> io::Result<()> {
        if let Some(Asked { number, request, .. }) = &mut self.asked
            && let Some(request) = request.take()
        {
            link.queue(&Message::Ask { number: *number, request })?;
        }
        if let Some((number, answering)) = &mut self.answering
            && !link.is_congested()
        {
            let (rows, count) = answering.next_part();
            link.queue(&Message::Answer { number: *number, rows, count })?;
            if count.is_some() {
                self.answering = None;
            }
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, number: u64, rows: Vec<Value>, count: Option<usize>) {
        // Nobody waits for the others any more.
        let Some(mut asked) = self.asked.take_if(|asked| asked.number == number) else { return };
        asked.rows.extend(rows);
        match count {
            None => self.asked = Some(asked),
            // Who asked may have gone.
            Some(count) => drop(asked.done.send((asked.rows, count))),
        }
    }
}

impl Peers {
    /// What each process before this one answers.
    pub(in crate::app) async fn ask_before(&self, request: PeerRequest) -> Vec<FromBefore> {
        let before = self.before();
        if before.is_empty() {
            return Vec::new();
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        // One request at a time: what answers take in memory is limited so.
        let Ok(_only) = timeout_at(deadline, self.asking.lock()).await else {
            let waits = "an earlier request still waits for an answer";
            return before.into_iter().map(|process| failed(process, waits)).collect();
        };
        let asked = self.begin_asking(&request);
        self.changed.send_replace(());
        join_all(asked.into_iter().map(|(process, answered)| async move {
            let Some(answered) = answered else {
                return FromBefore { process, rows: Vec::new(), count: 0 };
            };
            match timeout_at(deadline, answered).await {
                Ok(Ok((rows, count))) => FromBefore { process, rows, count },
                Ok(Err(_)) => failed(process, "it has ended, or another process takes over"),
                Err(_) => failed(process, &format!("no answer within {ANSWER_TIMEOUT:?}")),
            }
        }))
        .await
    }

    /// Who is asked, and the answer to come of those that are not silent.
    fn begin_asking(
        &self,
        request: &PeerRequest,
    ) -> Vec<(ProcessBefore, Option<oneshot::Receiver<Answered>>)> {
        let mut state = self.state();
        let ids = state.before();
        let asked = ids.into_iter().filter_map(|id| {
            let peer = state.peers.get_mut(&id)?;
            let process = peer.view();
            let answered = process.error.is_none().then(|| peer.queries.ask(request.clone()));
            Some((process, answered))
        });
        asked.collect()
    }

    /// The next process asks.
    pub(super) fn asked(&self, id: u64, number: u64, request: PeerRequest) {
        let answering = answer_peer(request, &self.process.live);
        if let Some(peer) = self.state().peers.get_mut(&id) {
            peer.queries.answering = Some((number, answering));
        }
    }

    /// Of sessions that `lockgate_sessions` does not have.
    pub(in crate::app) fn register_metrics(
        self: &Arc<Self>,
        registry: &Registry,
    ) -> Result<(), prometheus::Error> {
        let peers = Arc::downgrade(self);
        let sessions = move || {
            let before = peers.upgrade().map(|peers| peers.before()).unwrap_or_default();
            before.iter().map(|it| it.sessions).sum::<usize>() as f64
        };
        live_gauge(
            registry,
            "lockgate_previous_process_sessions",
            "Open sessions of the processes from which this one has taken over",
            sessions,
        )?;
        let peers = Arc::downgrade(self);
        live_gauge(
            registry,
            "lockgate_took_over",
            "1 if this process has taken over from another, whose sessions went on",
            move || f64::from(u8::from(peers.upgrade().is_some_and(|it| it.took_over()))),
        )
    }
}

fn failed(process: ProcessBefore, reason: &str) -> FromBefore {
    let process = ProcessBefore { error: Some(reason.to_owned()), ..process };
    FromBefore { process, rows: Vec::new(), count: 0 }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::session::LiveSessions;

    fn links() -> (Link, Link) {
        let (one, other) = UnixStream::pair().unwrap();
        (Link::new(one, 1), Link::new(other, 2))
    }

    #[tokio::test]
    async fn parts_of_other_answers_are_left_out() {
        let mut queries = Queries::new();
        let mut first = queries.ask(PeerRequest::Transfers);
        let mut second = queries.ask(PeerRequest::Transfers);
        first.try_recv().unwrap_err();
        let number = queries.asked.as_ref().unwrap().number;
        queries.answered(number.wrapping_add(1), vec![Value::from(1)], Some(1));
        queries.answered(number, vec![Value::from(2)], None);
        second.try_recv().unwrap_err();
        queries.answered(number, vec![Value::from(3)], Some(7));
        assert_eq!(second.try_recv().unwrap(), (vec![Value::from(2), Value::from(3)], 7));
    }

    #[tokio::test]
    async fn a_request_is_sent_once_and_answered() {
        let (mut new, mut old) = links();
        let (mut asking, mut answering) = (Queries::new(), Queries::new());
        let mut answered = asking.ask(PeerRequest::Transfers);
        for _ in 0..2 {
            asking.tell(&mut new).unwrap();
        }
        new.send(&Message::Go).await.unwrap();
        let Some(Message::Ask { number, request }) = old.next().await.unwrap() else {
            panic!("no request");
        };
        assert!(matches!(old.next().await.unwrap(), Some(Message::Go)));
        answering.answering = Some((number, answer_peer(request, &LiveSessions::new())));
        answering.tell(&mut old).unwrap();
        old.send(&Message::Go).await.unwrap();
        let Some(Message::Answer { number, rows, count }) = new.next().await.unwrap() else {
            panic!("no answer");
        };
        asking.answered(number, rows, count);
        assert_eq!(answered.try_recv().unwrap(), (Vec::new(), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_silent() {
        let mut queries = Queries::new();
        assert_eq!(queries.silence(), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(queries.silence().as_deref(), Some("it has said nothing for 3 s"));
        queries.note_heard();
        assert_eq!(queries.silence(), None);
    }
}
