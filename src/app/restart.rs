//! `lockgate restart`: this process starts the next one, with the program and the arguments that it was
//! started with, in its own control group.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::launcher::{Checked, Program};
use super::phase::Phase;
use super::reload::Reloader;
use crate::admin::RestartOutcome;

/// For the check of the configuration. All of this must be less than the time that the command line waits
/// (`admin::client::RESTART_TIMEOUT`).
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// For the new process, once its configuration was checked.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 45 });
/// For a hand-over that is under way then; more than all of its limits.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(90);
/// For the reason of a process that has ended.
const REASON_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts a process that takes over, and says how that went. Without success this process goes on.
pub(super) async fn restart(reloader: Arc<Reloader>) -> RestartOutcome {
    let process = reloader.process().clone();
    let hand_over = &process.hand_over;
    let (Some(program), Some(file)) = (reloader.program(), reloader.file()) else {
        return RestartOutcome::Failed("this gateway has no configuration file".into());
    };
    if process.drain.is_announced() || !hand_over.is(Phase::Serving) {
        let reason = "the gateway is stopping, or another process is taking over";
        return RestartOutcome::Failed(reason.into());
    }
    let failed = |reason: String| RestartOutcome::Failed(reason);
    let Some(_only) = hand_over.restart() else {
        return failed("another restart is under way".to_owned());
    };
    match program.check(&file, CHECK_TIMEOUT).await {
        Ok(Checked::Valid) => {}
        Ok(Checked::Invalid(problems)) => return RestartOutcome::Invalid(problems),
        Ok(Checked::TooSlow) => {
            return failed(format!(
                "{} has not checked the configuration within {CHECK_TIMEOUT:?}: is a file that it names on a \
                 network that does not answer?",
                program.path.display()
            ));
        }
        Err(error) => return failed(cannot_start(&program, &error)),
    }
    let launcher = match program.launch() {
        Ok(launcher) => launcher,
        Err(error) => return failed(cannot_start(&program, &error)),
    };
    let ending = launcher.ended.clone();
    let mut outcome = hand_over.expect(launcher);
    let wait = || {
        let (mut outcome, mut ending) = (outcome.clone(), ending.clone());
        async move {
            tokio::select! {
                // Its sender is there as long as the process.
                _ = outcome.wait_for(Option::is_some) => None,
                ended = next_ended(&mut ending) => ended,
            }
        }
    };
    let mut waited = timeout(START_TIMEOUT, wait()).await;
    if waited.is_err() && hand_over.is(Phase::HandingOver) {
        waited = timeout(HAND_OVER_TIMEOUT, wait()).await;
    }
    let Ok(ended) = waited else {
        if !hand_over.is(Phase::Serving) {
            return failed(
                "another process is taking over; `lockgate status` tells which".to_owned(),
            );
        }
        // It must not take over after that was denied.
        if let Some(launcher) = hand_over.launcher() {
            launcher.give_up().await;
        }
        let mut reason = format!("the new process has not taken over within {START_TIMEOUT:?}");
        if ending.borrow().is_some() {
            reason +=
                "; what started it was killed, so it may do so later: `lockgate status` tells";
        }
        return failed(reason);
    };
    if ended.is_some() {
        // It may have told its reason before it ended.
        let _ = timeout(REASON_TIMEOUT, outcome.wait_for(Option::is_some)).await.is_ok();
    }
    drop(hand_over.launcher());
    let known = outcome.borrow().clone();
    match known {
        Some(Ok(next)) => {
            let sessions = process.drain.sessions();
            RestartOutcome::TakenOver { process: next, sessions }
        }
        Some(Err(reason)) => failed(reason),
        None => failed(match ended {
            Some(status) => format!("the new process has ended with {status}; its log says why"),
            None => "the gateway is stopping".to_owned(),
        }),
    }
}

/// Resolves when the next process has ended, as its launcher says.
async fn next_ended(launcher: &mut watch::Receiver<Option<ExitStatus>>) -> Option<ExitStatus> {
    let ended = launcher.wait_for(Option::is_some).await.ok().and_then(|ended| *ended);
    if ended.is_some_and(|status| status.code().is_none()) {
        // Somebody has killed the launcher: the process that it has started may go on.
        std::future::pending::<()>().await;
    }
    ended
}

fn cannot_start(program: &Program, error: &std::io::Error) -> String {
    format!("{} cannot be started: {error}", program.path.display())
}
