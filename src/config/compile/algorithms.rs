//! `algorithms`: a base and additions; warns of weak ones.

use super::value;
use crate::config::algorithms::Algorithms as Given;
use crate::config::report::Problems;
use crate::net::ssh::{AddError, Algorithms, Base, Side, algorithm_by_name};

/// The weaknesses of what `legacy_warning` adds, the worst first.
const WEAKNESSES: &str = "the 1024-bit group of diffie-hellman-group1-sha1 (Logjam, 2015), SHA-1 in key \
                      exchanges and `ssh-rsa` signatures (collisions since 2017; disabled in OpenSSH since 8.2 \
                      and 8.8), CBC ciphers (CVE-2008-5161; disabled in OpenSSH's server since 6.7) and 3des-cbc \
                      (Sweet32, 2016)";

pub(super) fn compile(given: &Option<Given>, side: Side, problems: &mut Problems) -> Algorithms {
    let base = given.as_ref().and_then(|given| value(&given.base)).copied().unwrap_or_default();
    let mut algorithms = Algorithms::new(side, base);
    let Some(given) = given else { return algorithms };
    if base == Base::Legacy {
        let at = given.base.as_ref().map_or(&given.at, |base| &base.at);
        problems.warning(at, legacy_warning(side));
    }
    for (at, name) in given.add.iter().flat_map(|list| list.values()) {
        let Some(algorithm) = algorithm_by_name(&name.0) else { continue };
        match algorithms.add(&algorithm) {
            Ok(()) => {
                if let Some(weakness) = algorithm.weakness() {
                    problems.warning(at, format!("\"{}\": {weakness}", name.0));
                }
            }
            Err(error @ (AddError::InBase | AddError::Twice)) => {
                problems.error(at, format!("\"{}\" adds nothing: {error}; remove it", name.0));
            }
            Err(error @ AddError::TooLarge) => {
                problems.error(at, format!("\"{}\" cannot be added: {error}", name.0));
            }
        }
    }
    algorithms
}

fn legacy_warning(side: Side) -> String {
    let (peers, meaning, instead) = match side {
        Side::Listener => (
            "clients",
            "data and passwords of clients that negotiate these may be read or changed in transit. \
             Finite fields are costly before a login (CVE-2002-20001), which is limited per address",
            "Give old clients a separate listener",
        ),
        Side::Backend => (
            "the server",
            "data and passwords sent to a server that negotiates these may be read or changed in transit",
            "Update the server if possible",
        ),
    };
    format!(
        "accepts broken algorithms from {peers}: {WEAKNESSES}; {meaning}. {instead}; `{{ base: modern, \
         add: […] }}` accepts only those that are needed"
    )
}
