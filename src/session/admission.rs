//! The limits of sessions, in all and by client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Limits;

/// Counts the sessions, in all and by client address.
pub struct Admission {
    sessions: usize,
    per_address: usize,
    open: Arc<Mutex<OpenSessions>>,
}

#[derive(Default)]
struct OpenSessions {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The permit of a session; released when dropped.
pub struct AdmissionPermit {
    admission: Arc<Admission>,
    address: IpAddr,
}

/// Why a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As many sessions are open as `limits.sessions` (the value) allows.
    #[error("too many sessions (limits.sessions: {0}); try again later")]
    Full(usize),
    /// The client's address has as many as `limits.sessions_per_address` (the value) allows.
    #[error(
        "too many sessions from your address (limits.sessions_per_address: {0}); close one and try again"
    )]
    AddressFull(usize),
}

impl Admission {
    /// Starts without sessions. Of `limits`, `sessions` and `sessions_per_address` apply.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            sessions: limits.sessions,
            per_address: limits.sessions_per_address,
            open: Arc::default(),
        })
    }

    /// Other limits for the same sessions.
    pub fn with_limits(&self, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            sessions: limits.sessions,
            per_address: limits.sessions_per_address,
            open: self.open.clone(),
        })
    }

    /// The sessions of the client address that has most.
    pub fn of_busiest_address(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_address.values().copied().max().unwrap_or_default()
    }

    /// Counts a session of this client address until the permit is dropped.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<AdmissionPermit, Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.sessions {
            return Err(Refusal::Full(self.sessions));
        }
        let of_address = open.by_address.entry(address).or_default();
        if *of_address >= self.per_address {
            return Err(Refusal::AddressFull(self.per_address));
        }
        *of_address += 1;
        open.all += 1;
        Ok(AdmissionPermit { admission: self.clone(), address })
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_limited_and_permits_are_released() {
        let limits = Limits { sessions: 3, sessions_per_address: 2, ..Limits::default() };
        let admission = Admission::new(&limits);
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert_eq!(admission.admit(a).err(), Some(Refusal::AddressFull(2)));
        let _third = admission.admit(b).unwrap();
        assert_eq!(admission.admit(b).err(), Some(Refusal::Full(3)));
        assert_eq!(admission.with_limits(&limits).of_busiest_address(), 2);
        drop(first);
        assert!(admission.admit(a).is_ok());
    }
}
