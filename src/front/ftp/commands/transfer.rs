//! RETR, STOR, APPE, STOU (RFC 959 section 4.1.3), and how a transfer of either direction ends.

use std::io;
use std::time::Duration;

use super::Outcome;
use crate::data::{RelayError, Side, Sink, Source, relay};
use crate::front::ftp::client::{Client, Flow};
use crate::front::ftp::control::{Cut, TOO_MANY_COMMANDS};
use crate::front::ftp::data_connection::{self, DataConnection, Protection, RequestedConnection};
use crate::front::ftp::shared::Shared;
use crate::net::tls::{ControlTls, Direction};
use crate::op::{Failure, FailureKind, Fault, PeerReply, RemotePath, WriteMode};
use crate::session::{SessionEnd, Upload};
use crate::wire::ftp::command::Store;

/// For the data connection of a client that has gone to end.
const GONE_TIMEOUT: Duration = Duration::from_secs(1);

impl Client {
    pub(super) async fn retr(&mut self, given: &[u8]) -> Outcome {
        let offset = std::mem::take(&mut self.transfer.restart);
        let path = self.path(given)?;
        let asked = self.take_requested()?;
        let representation = self.transfer.representation;
        let mut download = self.logged_in()?.session.read(path, offset, representation).await?;
        self.answer(150, "here it comes").await;

        let limits = self.shared.gateway.limits.clone();
        let progress = download.progress();
        let end = {
            let opening = open(&self.shared, &self.tls, self.private, asked, Direction::Download);
            let source = download.source();
            let work = async {
                let DataConnection { stream, active: _active } = opening.await?;
                let mut sink = Sink::Socket(stream);
                if let Err(error) = relay(source, &mut sink, &progress, limits.stall_timeout).await
                {
                    // Many servers end TLS without close_notify; whether that was all, the
                    // backend's last reply says.
                    if !matches!(source, Source::Socket(s) if s.is_tls()) || !is_bare_end(&error) {
                        return Err(download_failure(error));
                    }
                }
                Ok((sink, _active))
            };
            self.control.during(work, &progress, false, &self.shared.drain).await
        };
        match end {
            Ok((sink, _active)) => {
                // The client's data ends as whole only when the backend has said so; else dropping
                // the connection is a reset.
                let gone = self.control.ended_without_quit().await;
                let ending = end_download(sink, gone, limits.stall_timeout);
                let words = download.finish(ending).await?;
                self.answer_with(226, "transfer complete", words).await;
                Ok(Flow::Continue)
            }
            Err(cut) => {
                let failure = download.abort(failure_of(&cut)).await;
                Ok(self.answer_cut(cut, &failure).await)
            }
        }
    }

    pub(super) async fn store(&mut self, given: &[u8], store: Store) -> Outcome {
        let mode = store.mode(std::mem::take(&mut self.transfer.restart));
        let path = self.path(given)?;
        self.receive(path, mode).await
    }

    pub(super) async fn stou(&mut self) -> Outcome {
        let directory = self.logged_in()?.directory.clone();
        self.transfer.restart = 0;
        self.receive(directory, WriteMode::Unique).await
    }

    async fn receive(&mut self, path: RemotePath, mode: WriteMode) -> Outcome {
        let asked = self.take_requested()?;
        let representation = self.transfer.representation;
        let folder = path.clone();
        let mut upload = self.logged_in()?.session.write(path, mode, representation).await?;
        let begin = match mode {
            WriteMode::Unique => begin_unique(&upload, &folder),
            _ => b"ready for the data".to_vec(),
        };
        self.control.reply(150, &[begin]).await;

        let limits = self.shared.gateway.limits.clone();
        let progress = upload.progress();
        let demand_close_notify = self
            .shared
            .settings
            .tls
            .settings()
            .is_some_and(|settings| settings.require_close_notify);
        let end = {
            let opening = open(&self.shared, &self.tls, self.private, asked, Direction::Upload);
            let work = async {
                let DataConnection { stream, active: _active } = opening.await?;
                upload.begin().await?;
                let sink = upload.sink();
                let mut source = Source::Socket(stream);
                let moved = relay(&mut source, sink, &progress, limits.stall_timeout).await;
                match moved {
                    Err(error) if demand_close_notify || !is_bare_end(&error) => {
                        return Err(upload_failure(error));
                    }
                    _ => {}
                }
                // All that it sent is here, however its connection ends.
                if let Source::Socket(stream) = source
                    && let Err(error) = stream.complete(limits.stall_timeout).await
                {
                    tracing::debug!(%error, "closing the client's data connection");
                }
                Ok(())
            };
            self.control.during(work, &progress, true, &self.shared.drain).await
        };
        let end = match end {
            Ok(()) => {
                let settling = upload.settle();
                self.control.confirm_upload(settling, &progress, &self.shared.drain).await
            }
            cut => cut,
        };
        match end {
            Ok(()) => {
                let words = upload.finish().await?;
                self.answer_with(226, "transfer complete", words).await;
                Ok(Flow::Continue)
            }
            Err(cut) => {
                let failure = upload.abort(failure_of(&cut)).await;
                Ok(self.answer_cut(cut, &failure).await)
            }
        }
    }

    /// The data connection that was asked for, once; judged before the backend is asked anything.
    pub(super) fn take_requested(&mut self) -> Result<RequestedConnection, Failure> {
        let taken = self.judge_requested();
        if let Ok(RequestedConnection::Passive(reservation)) = &taken {
            reservation.hold();
        }
        self.note_refusal("transfer", taken)
    }

    fn judge_requested(&mut self) -> Result<RequestedConnection, Failure> {
        if self.tls_required() && !self.private {
            return Err(Failure::new(
                FailureKind::DataConnection,
                Fault::Policy,
                "data connections must be protected here: PROT P first",
            )
            .with_detail("the listener has `tls.mode: required` or `implicit`")
            .with_peer(PeerReply {
                code: 521,
                lines: vec![b"data connections must be protected here: PROT P first".to_vec()],
            }));
        }
        self.transfer.asked.take().ok_or_else(|| {
            Failure::client(FailureKind::DataConnection, "EPSV, PASV, PORT or EPRT first")
        })
    }

    /// The replies to a transfer that did not come to its end.
    pub(super) async fn answer_cut(&mut self, cut: Cut, failure: &Failure) -> Flow {
        if !matches!(cut, Cut::Aborted | Cut::Failed(_)) {
            self.client_info.end.set(SessionEnd::by(failure.fault, failure.message.clone()));
        }
        match cut {
            Cut::Aborted => {
                self.answer(426, "transfer aborted").await;
                self.answer(226, "ABOR done").await;
                Flow::Continue
            }
            Cut::Gone => Flow::Close,
            Cut::TooManyCommands => {
                self.answer(426, &failure.message).await;
                self.answer(421, TOO_MANY_COMMANDS).await;
                Flow::Close
            }
            Cut::Forced => {
                self.answer(426, &failure.message).await;
                self.answer(421, "the gateway is shutting down; connect again").await;
                Flow::Close
            }
            Cut::Failed(_) => self.fail(failure).await,
        }
    }
}

/// Makes the data connection that was asked for, under the control session's TLS where PROT P is in
/// force.
pub(super) fn open<'a>(
    shared: &'a Shared,
    tls: &'a Option<ControlTls>,
    private: bool,
    asked: RequestedConnection,
    direction: Direction,
) -> impl Future<Output = Result<DataConnection, Failure>> + 'a {
    let resumed = shared.settings.tls.settings().is_some_and(|tls| tls.require_resumed_data);
    let tls = tls.as_ref().filter(|_| private);
    let protection = tls.map(|tls| Protection { tls, resumed });
    data_connection::open(asked, direction, protection, shared.gateway.limits.data_connect_timeout)
}

/// The end that means *complete*. Nobody waits for the client's: some end only after they have read 226.
/// Of one that has `gone`, only the end of its connection tells whether it took all: a reset says no.
pub(super) async fn end_download(sink: Sink, gone: bool, limit: Duration) -> Result<(), Failure> {
    let Sink::Socket(stream) = sink else { return Ok(()) };
    let ended = match gone {
        true => stream.complete_and_read_to_end(GONE_TIMEOUT).await,
        false => stream.complete(limit).await,
    };
    ended.or_else(|error| {
        // Many clients close without close_notify.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Ok(());
        }
        let message = "the data connection to the client broke before its end";
        Err(Failure::client(FailureKind::TransferCut, message).with_detail(error))
    })
}

/// Why a transfer did not come to its end.
pub(super) fn failure_of(cut: &Cut) -> Failure {
    match cut {
        Cut::Failed(failure) => failure.clone(),
        Cut::Aborted => Failure::client(FailureKind::Aborted, "the client aborted the transfer"),
        Cut::Gone => Failure::client(
            FailureKind::Aborted,
            "the client's control connection was gone before the transfer's end",
        ),
        Cut::TooManyCommands => Failure::client(
            FailureKind::Aborted,
            "the client sent more commands during the transfer than may wait",
        ),
        Cut::Forced => Failure::gateway(
            FailureKind::Aborted,
            "the transfer was cut because the gateway is shutting down",
        ),
    }
}

/// STOU: the name that was chosen (RFC 1123 section 4.1.2.9), where the backend has told it.
fn begin_unique(upload: &Upload, folder: &RemotePath) -> Vec<u8> {
    match upload.path().name() {
        Some(name) if upload.path() != folder => [b"FILE: ", name].concat(),
        _ => b"ready for the data; the backend does not tell the name it chose".to_vec(),
    }
}

fn is_bare_end(error: &RelayError) -> bool {
    matches!(error, RelayError::Source(e) if e.kind() == io::ErrorKind::UnexpectedEof)
}

fn download_failure(error: RelayError) -> Failure {
    match error {
        RelayError::Source(e) => Failure::backend(
            FailureKind::TransferCut,
            "the file could not be read to its end from the backend",
        )
        .with_detail(e),
        RelayError::Sink(e) => {
            Failure::client(FailureKind::TransferCut, "the data connection to the client broke")
                .with_detail(e)
        }
        RelayError::Stalled { .. } => stalled(&error, Fault::Backend, Fault::Client),
    }
}

fn upload_failure(error: RelayError) -> Failure {
    match error {
        RelayError::Source(e) if e.kind() == io::ErrorKind::UnexpectedEof => Failure::client(
            FailureKind::TransferCut,
            "the data connection ended without TLS close_notify: the upload counts as cut",
        )
        .with_detail("for clients that never send it: `tls.require_close_notify: false`"),
        RelayError::Source(e) => {
            Failure::client(FailureKind::TransferCut, "the data connection from the client broke")
                .with_detail(e)
        }
        RelayError::Sink(e)
            if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
        {
            Failure::backend(FailureKind::NoSpace, "the backend has no space left for the file")
        }
        RelayError::Sink(e) => Failure::backend(
            FailureKind::TransferCut,
            "the file could not be written to its end at the backend",
        )
        .with_detail(e),
        RelayError::Stalled { .. } => stalled(&error, Fault::Client, Fault::Backend),
    }
}

fn stalled(error: &RelayError, source: Fault, sink: Fault) -> Failure {
    let fault = match error {
        RelayError::Stalled { side: Side::Source, .. } => source,
        _ => sink,
    };
    Failure::new(FailureKind::TransferCut, fault, error).with_detail("see `limits.stall_timeout`")
}
