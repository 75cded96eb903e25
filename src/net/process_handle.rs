//! Another process, by a descriptor (pidfd_open(2)): a number can come to mean a third one.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use tokio::time::sleep;

/// Between two looks whether a process has ended.
const INTERVAL: Duration = Duration::from_millis(10);

/// A process, or one that has ended.
#[derive(Debug)]
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// The process with this id now.
    ///
    /// # Errors
    /// When there is none, or the kernel is older than Linux 5.3.
    pub fn open(id: u32) -> io::Result<Self> {
        let id = i32::try_from(id).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("its process id is not known"))?;
        Ok(Self(pidfd_open(id, PidfdFlags::empty())?))
    }

    /// This process, for another one that waits for its end: that may have another PID namespace.
    pub fn own() -> io::Result<OwnedFd> {
        Ok(pidfd_open(getpid(), PidfdFlags::empty())?)
    }

    /// What [`Self::own`] returned in another process.
    pub fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended, or may not be sent one.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.0, signal)?)
    }

    /// Resolves when it has ended: it will execute nothing more. For short waits.
    pub async fn ended(&self) {
        while !self.has_ended() {
            sleep(INTERVAL).await;
        }
    }

    fn has_ended(&self) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(rustix::event::poll(&mut polled, Some(&at_once)), Ok(1))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed_and_its_number_is_not_used_after_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let handle = ProcessHandle::open(child.id()).unwrap();
        assert!(timeout(Duration::from_millis(20), handle.ended()).await.is_err());
        handle.signal(Signal::KILL).unwrap();
        timeout(Duration::from_secs(20), handle.ended()).await.expect("it has not ended");
        child.wait().unwrap();
        handle.signal(Signal::KILL).unwrap_err();
        timeout(Duration::from_secs(20), handle.ended()).await.expect("its end is forgotten");
    }

    #[tokio::test]
    async fn a_process_that_is_not_visible_has_no_handle() {
        ProcessHandle::open(0).unwrap_err();
        ProcessHandle::open(u32::MAX).unwrap_err();
        let own = ProcessHandle::of(ProcessHandle::own().unwrap());
        assert!(timeout(Duration::from_millis(20), own.ended()).await.is_err());
    }
}
