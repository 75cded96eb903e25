//! `algorithms`: what is added to which base, and a warning of each that is broken.

use super::value;
use crate::config::algorithms::Algorithms as Given;
use crate::config::report::Problems;
use crate::net::ssh::{AddError, Algorithms, Base, Side, algorithm_by_name};

/// Facts about what `legacy` adds, the worst first.
const BROKEN: &str = "the 1024-bit group of diffie-hellman-group1-sha1 (Logjam, 2015), SHA-1 in key \
                      exchanges and `ssh-rsa` signatures (collisions since 2017; disabled in OpenSSH since 8.2 \
                      and 8.8), CBC ciphers (CVE-2008-5161; disabled in OpenSSH's server since 6.7) and 3des-cbc \
                      (Sweet32, 2016)";

pub(super) fn compile(given: &Option<Given>, side: Side, problems: &mut Problems) -> Algorithms {
    let base = given.as_ref().and_then(|given| value(&given.base)).copied().unwrap_or_default();
    let mut algorithms = Algorithms::new(side, base);
    let Some(given) = given else { return algorithms };
    if base == Base::Legacy {
        let at = given.base.as_ref().map_or(&given.at, |base| &base.at);
        problems.warning(at, legacy(side));
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
                problems.error(at, format!("\"{}\" adds nothing: {error}; take it out", name.0));
            }
            Err(error @ AddError::TooLarge) => {
                problems.error(at, format!("\"{}\" cannot be added: {error}", name.0));
            }
        }
    }
    algorithms
}

fn legacy(side: Side) -> String {
    let (who, meaning, instead) = match side {
        Side::Listener => (
            "clients",
            "what clients that agree on these send, passwords too, may be read or changed on the way. \
             Finite fields cost much before a login (CVE-2002-20001), which is bounded by address",
            "A listener of their own for old clients keeps the others apart",
        ),
        Side::Backend => (
            "the server",
            "what is sent to a server that agrees on these, passwords too, may be read or changed on the \
             way",
            "A server that is updated needs none of it",
        ),
    };
    format!(
        "takes from {who} what is broken: {BROKEN}; {meaning}. {instead}, and \
         `{{ base: modern, add: […] }}` takes no more than is needed"
    )
}
