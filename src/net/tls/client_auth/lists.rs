//! The lists of revoked certificates in force. Their files are read again when they change: authorities replace
//! them every few days or hours.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use super::authorities::{Authority, AuthorityError, Crl};
use crate::files::FileStamp;

/// Between checks whether a file has changed; only handshakes check.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What verifies certificates, with the lists in force.
pub(super) struct Lists {
    authorities: Vec<Authority>,
    roots: Arc<RootCertStore>,
    is_required: bool,
    files: Vec<PathBuf>,
    check_interval: Duration,
    state: Mutex<State>,
}

struct State {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Of the files when they were read last.
    stamps: Vec<Option<FileStamp>>,
    checked: Instant,
}

/// Why files cannot be read again.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    File(#[from] AuthorityError),
    #[error("there is no list of \"{0}\", an authority of `client_ca`")]
    Missing(String),
    #[error("there is a list of \"{0}\", which is no authority of `client_ca`")]
    Foreign(String),
    #[error(transparent)]
    Unsupported(#[from] VerifierBuilderError),
}

impl Lists {
    /// `files`: from which the lists were read.
    pub(super) fn new(
        authorities: &[Authority],
        roots: RootCertStore,
        (crls, files): (&[Crl], Vec<PathBuf>),
        is_required: bool,
    ) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let state = State {
            verifier: verifier(&roots, crls, is_required)?,
            stamps: stamps(&files),
            checked: Instant::now(),
        };
        let authorities = authorities.to_vec();
        let check_interval = CHECK_INTERVAL;
        Ok(Self {
            authorities,
            roots,
            is_required,
            files,
            check_interval,
            state: Mutex::new(state),
        })
    }

    #[cfg(test)]
    pub(super) fn check_always(&mut self) {
        self.check_interval = Duration::ZERO;
    }

    /// With the lists of the files as they are now. If these are unusable, the earlier ones stay in force,
    /// and the log has a line.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.files.is_empty() && state.checked.elapsed() >= self.check_interval {
            state.checked = Instant::now();
            let stamps = stamps(&self.files);
            if stamps != state.stamps {
                state.stamps = stamps;
                match self.reload() {
                    Ok(verifier) => {
                        state.verifier = verifier;
                        tracing::info!(
                            files = self.files.len(),
                            "lists of revoked certificates read again"
                        );
                    }
                    Err(error) => tracing::warn!(
                        %error,
                        "the changed lists of revoked certificates (tls.client_crl) are unusable; the \
                         earlier ones stay in force"
                    ),
                }
            }
        }
        state.verifier.clone()
    }

    fn reload(&self) -> Result<Arc<dyn ClientCertVerifier>, ReloadError> {
        let mut crls = Vec::new();
        for file in &self.files {
            crls.extend(Crl::load(file)?);
        }
        let is_known = |crl: &&Crl| self.authorities.iter().any(|it| it.has_issued(crl));
        if let Some(foreign) = crls.iter().find(|crl| !is_known(crl)) {
            return Err(ReloadError::Foreign(foreign.name.clone()));
        }
        let has_list = |authority: &&Authority| crls.iter().any(|crl| authority.has_issued(crl));
        if let Some(without) = self.authorities.iter().find(|authority| !has_list(authority)) {
            return Err(ReloadError::Missing(without.name.clone()));
        }
        Ok(verifier(&self.roots, &crls, self.is_required)?)
    }
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists").field("files", &self.files).finish_non_exhaustive()
    }
}

fn verifier(
    roots: &Arc<RootCertStore>,
    crls: &[Crl],
    is_required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    // Of several lists of one issuer the first counts.
    let mut crls: Vec<&Crl> = crls.iter().collect();
    crls.sort_by_key(|crl| std::cmp::Reverse(crl.issued));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider)
        .with_crls(crls.into_iter().map(|crl| crl.der.clone()))
        .enforce_revocation_expiration();
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build()
}

fn stamps(files: &[PathBuf]) -> Vec<Option<FileStamp>> {
    files.iter().map(|file| FileStamp::of(file).ok()).collect()
}
