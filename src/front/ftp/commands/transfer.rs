//! RETR, STOR, APPE, STOU (RFC 959 section 4.1.3), and the end of transfers.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Outcome;
use crate::data::{Progress, RelayError, Side, Sink, Source, relay};
use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::Flow;
use crate::front::ftp::control::{Interruption, Phase};
use crate::front::ftp::data_connection::{self, DataConnection, Protection, RequestedConnection};
use crate::front::ftp::reply::Reply;
use crate::front::ftp::shared::Shared;
use crate::net::tls::{ControlTls, Direction};
use crate::op::{Failure, FailureKind, Fault, RemotePath, Representation, WriteMode};
use crate::session::{Channel, Download, SessionEnd, Upload};
use crate::wire::ftp::command::Store;

/// For the end of the data connection of a client whose control connection has ended.
const DATA_END_TIMEOUT: Duration = Duration::from_secs(1);

impl Client {
    pub(super) async fn retr(&mut self, given: &[u8]) -> Outcome {
        let offset = std::mem::take(&mut self.transfer.restart);
        let path = self.path(given)?;
        let requested = self.take_requested()?;
        let representation = self.transfer.representation;
        let opened = self.logged_in()?.session.read(path, offset, representation).await;
        let (requested, download) = requested.with(opened)?;
        self.reply(opening(representation, given)).await;
        self.send_download(requested, download).await
    }

    /// The data connection of a download or a listing, unless the client gives up before it is there.
    pub(super) async fn connect_download(
        &mut self,
        requested: RequestedConnection,
        progress: &Progress,
    ) -> Result<DataConnection, Interruption> {
        let connection =
            establish(&self.shared, &self.tls, self.private, requested, Direction::Download);
        let live = &self.client_info.live;
        self.control.run_transfer(connection, progress, Phase::Connecting, live).await
    }

    /// Sends a file, or a listing as the server made it, after the 1xx reply.
    pub(super) async fn send_download(
        &mut self,
        requested: RequestedConnection,
        mut download: Download,
    ) -> Outcome {
        let _transferring = self.transferring().await;
        let limits = self.shared.gateway.limits.clone();
        let (progress, throttle) = (download.progress(), download.throttle());
        let end = match self.connect_download(requested, &progress).await {
            Err(interruption) => Err(interruption),
            Ok(DataConnection { stream, active }) => {
                let source = download.source();
                let work = async {
                    let mut sink = Sink::Socket(stream);
                    let (stall, throttle) = (limits.stall_timeout, throttle.as_deref());
                    if let Err(error) = relay(source, &mut sink, &progress, stall, throttle).await {
                        // Many servers end TLS without close_notify; the backend's last reply decides
                        // whether the file is complete.
                        if !matches!(source, Source::Socket(s) if s.is_tls())
                            || !is_missing_close_notify(&error)
                        {
                            return Err(download_failure(error));
                        }
                    }
                    Ok((sink, active))
                };
                let live = &self.client_info.live;
                self.control.run_transfer(work, &progress, Phase::Download, live).await
            }
        };
        match end {
            Ok((sink, _active)) => {
                // The client's data ends as complete only when the backend has confirmed it;
                // otherwise dropping the connection resets it.
                let disconnected = self.control.ended_without_quit().await;
                let sent = &mut self.transfer.sent;
                let ending = async {
                    *sent = end_download(sink, disconnected, limits.stall_timeout).await?;
                    Ok(())
                };
                let reply = download.finish(ending).await?;
                self.reply_done(Reply::TRANSFER_COMPLETE, reply).await;
                Ok(Flow::Continue)
            }
            Err(interruption) => {
                let failure = download.abort(failure_of(&interruption)).await;
                Ok(self.reply_interrupted(interruption, &failure).await)
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
        let requested = self.take_requested()?;
        let representation = self.transfer.representation;
        let directory = path.clone();
        // With the opening: the server may have made the file already.
        let _transferring = self.transferring().await;
        let opened = self.logged_in()?.session.write(path, mode, representation).await;
        let (requested, upload) = requested.with(opened)?;
        self.reply(match mode {
            WriteMode::Unique => opening_unique(&upload, &directory),
            _ => Reply::OK_TO_SEND,
        })
        .await;
        self.receive_upload(requested, upload).await
    }

    /// Receives a file after the 1xx reply.
    pub(super) async fn receive_upload(
        &mut self,
        requested: RequestedConnection,
        mut upload: Upload,
    ) -> Outcome {
        let limits = self.shared.gateway.limits.clone();
        let (progress, throttle) = (upload.progress(), upload.throttle());
        let require_close_notify = self
            .shared
            .settings
            .tls
            .settings()
            .is_some_and(|settings| settings.require_close_notify);
        let end = {
            let connection =
                establish(&self.shared, &self.tls, self.private, requested, Direction::Upload);
            let work = async {
                let DataConnection { stream, active: _active } = connection.await?;
                upload.begin().await?;
                let sink = upload.sink();
                let mut source = Source::Socket(stream);
                let (stall, throttle) = (limits.stall_timeout, throttle.as_deref());
                let relayed = relay(&mut source, sink, &progress, stall, throttle).await;
                match relayed {
                    Err(error) if require_close_notify || !is_missing_close_notify(&error) => {
                        return Err(upload_failure(error));
                    }
                    _ => {}
                }
                // All data has arrived, however the connection ends.
                if let Source::Socket(stream) = source
                    && let Err(error) = stream.complete(limits.stall_timeout).await
                {
                    tracing::debug!(%error, "closing the client's data connection");
                }
                Ok(())
            };
            self.control.run_transfer(work, &progress, Phase::Upload, &self.client_info.live).await
        };
        let end = match end {
            Ok(()) => {
                let settling = upload.settle();
                self.control.confirm_upload(settling, &progress, &self.client_info.live).await
            }
            interrupted => interrupted,
        };
        match end {
            Ok(()) => {
                let reply = upload.finish().await?;
                self.reply_done(Reply::TRANSFER_COMPLETE, reply).await;
                Ok(Flow::Continue)
            }
            Err(interruption) => {
                let failure = upload.abort(failure_of(&interruption)).await;
                Ok(self.reply_interrupted(interruption, &failure).await)
            }
        }
    }

    /// Takes the data connection that the client requested; checked before the backend is involved.
    pub(super) fn take_requested(&mut self) -> Result<RequestedConnection, Failure> {
        let private = self.private;
        self.logged_in()?.session.set_data_encrypted(private);
        let taken = self.check_requested();
        if let Ok(RequestedConnection::Passive(reservation)) = &taken {
            reservation.hold();
        }
        self.log_refusal("transfer", taken)
    }

    fn check_requested(&mut self) -> Result<RequestedConnection, Failure> {
        if self.tls_required() && !self.private {
            return Err(Reply::UNPROTECTED_DATA
                .failure(FailureKind::DataConnection, Fault::Policy)
                .with_detail("the listener has `tls.mode: required` or `implicit`"));
        }
        self.transfer.requested.take().ok_or_else(|| {
            let reply = Reply::NO_REQUESTED_CONNECTION;
            reply.failure(FailureKind::DataConnection, Fault::Client)
        })
    }

    /// Replies to a transfer that did not complete.
    pub(super) async fn reply_interrupted(
        &mut self,
        interruption: Interruption,
        failure: &Failure,
    ) -> Flow {
        if let Interruption::Ended(end) = &interruption {
            self.client_info.end.set(end.clone());
        } else if !matches!(interruption, Interruption::Abor | Interruption::Failed(_)) {
            self.client_info.end.set(SessionEnd::by(failure.fault, failure.message.clone()));
        }
        match interruption {
            Interruption::Abor => {
                self.reply(Reply::TRANSFER_ABORTED).await;
                self.reply(Reply::ABORTED).await;
                Flow::Continue
            }
            Interruption::ConnectionClosed => Flow::Close,
            Interruption::TooManyCommands => {
                self.fail(failure).await;
                self.reply(Reply::TOO_MANY_COMMANDS).await;
                Flow::Close
            }
            Interruption::Ended(end) => {
                self.fail(failure).await;
                self.end_early(end).await;
                Flow::Close
            }
            Interruption::Failed(_) => self.fail(failure).await,
        }
    }
}

/// Establishes the requested data connection, under the control connection's TLS with PROT P.
pub(super) fn establish<'a>(
    shared: &'a Shared,
    tls: &'a Option<ControlTls>,
    private: bool,
    requested: RequestedConnection,
    direction: Direction,
) -> impl Future<Output = Result<DataConnection, Failure>> + 'a {
    let require_resumed =
        shared.settings.tls.settings().is_some_and(|tls| tls.require_resumed_data);
    let tls = tls.as_ref().filter(|_| private);
    let protection = tls.map(|tls| Protection { tls, require_resumed });
    let limit = shared.gateway.limits.data_connect_timeout;
    // Boxed: a session that only waits for commands does not need its 12 KiB.
    Box::pin(async move {
        let established =
            data_connection::establish(requested, direction, protection, limit).await?;
        let (gateway, listener) = (&shared.gateway, &shared.settings.name);
        gateway.tls_established(listener, Channel::Data, &established.stream);
        Ok(established)
    })
}

/// Ends the data as complete. The client's own end is not awaited: some clients end only after they
/// have read 226; the connection is returned until then. Where the client has `disconnected`, the end of
/// the data connection decides whether the client received everything: a reset means that it did not.
pub(super) async fn end_download(
    sink: Sink,
    disconnected: bool,
    limit: Duration,
) -> Result<Option<TcpStream>, Failure> {
    let Sink::Socket(stream) = sink else { return Ok(None) };
    let ended = if disconnected {
        stream.complete_and_read_to_end(DATA_END_TIMEOUT).await.map(|()| None)
    } else {
        stream.complete_and_keep(limit).await.map(Some)
    };
    ended.or_else(|error| {
        // Many clients close without close_notify.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Ok(None);
        }
        let message = "the data connection to the client broke before its end";
        Err(Failure::client(FailureKind::TransferCut, message).with_detail(error))
    })
}

/// Why a transfer did not complete.
pub(super) fn failure_of(interruption: &Interruption) -> Failure {
    match interruption {
        Interruption::Failed(failure) => failure.clone(),
        Interruption::Abor => {
            Failure::client(FailureKind::Aborted, "the client aborted the transfer")
        }
        Interruption::ConnectionClosed => Failure::client(
            FailureKind::Aborted,
            "the client's control connection ended before the transfer",
        ),
        Interruption::TooManyCommands => Failure::client(
            FailureKind::Aborted,
            "the client sent too many commands during the transfer",
        ),
        Interruption::Ended(end) => Failure::gateway(FailureKind::Aborted, end.reason()),
    }
}

/// The reply to RETR, as other servers word it.
fn opening(representation: Representation, name: &[u8]) -> Reply {
    let mode: &[u8] = match representation {
        Representation::Ascii => b"ASCII",
        Representation::Image => b"BINARY",
    };
    Reply::new(150, [b"Opening ", mode, b" mode data connection for ", name, b"."].concat())
}

/// The reply to STOU: the chosen name (RFC 1123 section 4.1.2.9), where the backend reports it.
fn opening_unique(upload: &Upload, directory: &RemotePath) -> Reply {
    match upload.path().name() {
        Some(name) if upload.path() != directory => Reply::new(150, [b"FILE: ", name].concat()),
        _ => Reply::OK_TO_SEND_UNNAMED,
    }
}

fn is_missing_close_notify(error: &RelayError) -> bool {
    matches!(error, RelayError::Source(e) if e.kind() == io::ErrorKind::UnexpectedEof)
}

fn download_failure(error: RelayError) -> Failure {
    match error {
        RelayError::Source(e) => Failure::backend(
            FailureKind::TransferCut,
            "the backend connection broke before the end of the file",
        )
        .with_detail(e),
        RelayError::Sink(e) => {
            Failure::client(FailureKind::TransferCut, "the data connection to the client broke")
                .with_detail(e)
        }
        RelayError::Stalled { .. } => stalled(&error, Fault::Backend, Fault::Client),
        RelayError::Limit(failure) => failure,
    }
}

fn upload_failure(error: RelayError) -> Failure {
    match error {
        RelayError::Source(e) if e.kind() == io::ErrorKind::UnexpectedEof => Failure::client(
            FailureKind::TransferCut,
            "the client ended the data connection without a TLS close_notify, so the upload may be \
             incomplete (tls.require_close_notify: true)",
        ),
        RelayError::Source(e) => {
            Failure::client(FailureKind::TransferCut, "the data connection from the client broke")
                .with_detail(e)
        }
        RelayError::Sink(e)
            if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
        {
            Failure::backend(FailureKind::NoSpace, "no space left on the backend")
        }
        RelayError::Sink(e) => Failure::backend(
            FailureKind::TransferCut,
            "the backend connection broke before the end of the file",
        )
        .with_detail(e),
        RelayError::Stalled { .. } => stalled(&error, Fault::Client, Fault::Backend),
        RelayError::Limit(failure) => failure,
    }
}

fn stalled(error: &RelayError, source: Fault, sink: Fault) -> Failure {
    let fault = match error {
        RelayError::Stalled { side: Side::Source, .. } => source,
        _ => sink,
    };
    let message = format_args!("{error} (limits.stall_timeout)");
    Failure::new(FailureKind::TransferCut, fault, message)
}
