//! Certificates: those of listeners, TLS and SSH, and those that servers present.

use russh::keys::{Certificate, HashAlg};

use super::finding::Findings;
use crate::config::Compiled;
use crate::net::tls::{CertificateSummary, Chain, ChainEnd, SystemAuthorities, calendar_date};
use crate::op::Timestamp;

const DAY: i64 = 24 * 60 * 60;
/// Warns this long before a certificate expires, as `check` does.
const EXPIRY_WARNING_PERIOD: i64 = 30 * DAY;

/// Where a certificate stands between its dates.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    NotYetValid,
    Valid,
    /// In so many days.
    ExpiresSoon(i64),
    Expired,
}

/// `from` and `until` in seconds since the epoch.
fn age(from: i64, until: i64, now: i64) -> Age {
    if until < now {
        Age::Expired
    } else if from > now {
        Age::NotYetValid
    } else if until - now <= EXPIRY_WARNING_PERIOD {
        Age::ExpiresSoon((until - now) / DAY)
    } else {
        Age::Valid
    }
}

/// Those of the listeners.
pub(super) fn examine(config: &Compiled) -> Findings {
    let mut all = Findings::new("");
    let now = Timestamp::now();
    let mut known = None;
    for listener in &config.listeners {
        let Some(tls) = listener.tls.settings() else { continue };
        let known = known.get_or_insert_with(SystemAuthorities::load);
        let mut findings = Findings::new(format!("listener \"{}\"", listener.name));
        for chain in tls.tls.chains(known) {
            judge_chain(&chain, now, &mut findings);
        }
        all.append(findings);
    }
    for listener in &config.sftp_listeners {
        let mut findings = Findings::new(format!("listener \"{}\"", listener.name));
        for key in &listener.host_keys {
            let fingerprint = key.public_key().fingerprint(HashAlg::Sha256);
            let algorithm = key.algorithm();
            findings.ok(format!("host key {} {fingerprint}", algorithm.as_str()));
        }
        for certificate in &listener.host_certificates {
            judge_host_certificate(certificate, now, &mut findings);
        }
        all.append(findings);
    }
    all
}

fn judge_chain(chain: &Chain, now: i64, findings: &mut Findings) {
    let Some(certificate) = chain.certificates.first() else {
        return findings.warning("its certificate cannot be parsed".to_owned());
    };
    let remedies = Remedies {
        soon: "replace it before: clients refuse it then",
        expired: "clients refuse it: replace it",
    };
    judge_age(&describe(certificate), certificate, now, &remedies, findings);
    for issuer in &chain.certificates[1..] {
        if age(issuer.from, issuer.until, now) != Age::Valid {
            let what = format!("the chain's certificate \"{}\"", issuer.display_name());
            let remedies = Remedies {
                soon: "replace it before: clients refuse the chain then",
                expired: "clients refuse the chain: replace it",
            };
            judge_age(&what, issuer, now, &remedies, findings);
        }
    }
    let subject = certificate.display_name();
    match &chain.end {
        ChainEnd::Complete => {}
        ChainEnd::SelfSigned => findings.warning_with(
            format!("the certificate \"{subject}\" is signed with its own key"),
            "clients must be given it, or ask their users to accept it; an authority's certificate spares that",
        ),
        ChainEnd::Unknown { issuer } => findings.warning_with(
            format!("this machine does not know the authority \"{issuer}\" of the certificate \"{subject}\""),
            "if it is an intermediate authority, append its certificate to the file of `tls.certificate`: clients \
             refuse the chain without it. If it is your own, clients must know it",
        ),
        ChainEnd::Broken { issuer } => findings.problem(
            format!("the certificates that follow \"{subject}\" are out of order: that of \"{issuer}\" is missing in its place"),
            "write the listener's certificate first, then each issuer's",
        ),
    }
}

/// That a server presented, and that was accepted.
pub(super) fn judge_server(certificate: &CertificateSummary, now: i64, findings: &mut Findings) {
    let what = format!("its {}", describe(certificate));
    let remedy = "tell the server's operator";
    let remedies = Remedies { soon: remedy, expired: remedy };
    judge_age(&what, certificate, now, &remedies, findings);
}

fn describe(certificate: &CertificateSummary) -> String {
    let names = certificate.names.join(", ");
    let names = if names.is_empty() { names } else { format!(" for {names}") };
    let (subject, issuer) = (certificate.display_name(), &certificate.issuer);
    format!("certificate \"{subject}\"{names}, issued by \"{issuer}\"")
}

/// What to do about a certificate that is near its end, or past it.
struct Remedies {
    soon: &'static str,
    expired: &'static str,
}

fn judge_age(
    what: &str,
    certificate: &CertificateSummary,
    now: i64,
    remedies: &Remedies,
    findings: &mut Findings,
) {
    let date = calendar_date(certificate.until);
    match age(certificate.from, certificate.until, now) {
        Age::Valid => findings.ok(format!("{what}, valid until {date}")),
        Age::ExpiresSoon(1) => {
            findings.warning_with(format!("{what}, expires in 1 day"), remedies.soon);
        }
        Age::ExpiresSoon(days) => {
            findings
                .warning_with(format!("{what}, expires on {date}, in {days} days"), remedies.soon);
        }
        Age::Expired => findings.problem(format!("{what}, expired on {date}"), remedies.expired),
        Age::NotYetValid => {
            let date = calendar_date(certificate.from);
            findings.problem(
                format!("{what}, is valid only from {date} on"),
                "is this machine's clock right?",
            );
        }
    }
}

/// The certificate of an SSH host key.
fn judge_host_certificate(certificate: &Certificate, now: i64, findings: &mut Findings) {
    let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let (from, until) = (seconds(certificate.valid_after()), seconds(certificate.valid_before()));
    let what = format!(
        "host certificate \"{}\" for {}",
        certificate.key_id(),
        certificate.valid_principals().join(", ")
    );
    let refuse = "clients that know only its authority refuse the listener";
    match age(from, until, now) {
        Age::Valid if until == i64::MAX => findings.ok(format!("{what}, valid for ever")),
        Age::Valid => findings.ok(format!("{what}, valid until {}", calendar_date(until))),
        Age::ExpiresSoon(days) => {
            let remedy = format!("issue it again before: {refuse} then");
            findings.warning_with(format!("{what}, expires in {days} days"), &remedy);
        }
        Age::Expired => {
            let remedy = format!("{refuse}: issue it again");
            findings.problem(format!("{what}, expired on {}", calendar_date(until)), &remedy);
        }
        Age::NotYetValid => findings.problem(
            format!("{what}, is valid only from {} on", calendar_date(from)),
            "is this machine's clock right?",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(from: i64, until: i64) -> CertificateSummary {
        CertificateSummary {
            subject: "CN=a".into(),
            issuer: "CN=ca".into(),
            names: vec!["a.example".into()],
            from,
            until,
        }
    }

    #[test]
    fn dates_are_judged() {
        let now = 1000 * DAY;
        assert_eq!(age(0, now - 1, now), Age::Expired);
        assert_eq!(age(now + 1, now + 900 * DAY, now), Age::NotYetValid);
        assert_eq!(age(0, now + 5 * DAY, now), Age::ExpiresSoon(5));
        assert_eq!(age(0, now + 31 * DAY, now), Age::Valid);
    }

    #[test]
    fn an_expired_chain_is_a_problem_and_an_unknown_issuer_a_warning() {
        let now = 1000 * DAY;
        let judged = |certificates, end| {
            let mut findings = Findings::new("t");
            judge_chain(&Chain { certificates, end }, now, &mut findings);
            findings.text()
        };
        let good = || summary(0, now + 400 * DAY);
        let text = judged(vec![good()], ChainEnd::Complete);
        assert_eq!(
            text,
            "ok certificate \"CN=a\" for a.example, issued by \"CN=ca\", valid until 1973-11-01 | \n"
        );
        let text = judged(vec![summary(0, now - DAY)], ChainEnd::Complete);
        assert!(text.starts_with("problem") && text.contains("expired on 1972-09-26"), "{text}");
        assert!(text.contains("| clients refuse it: replace it"), "{text}");
        let text = judged(vec![summary(0, now + 4 * DAY)], ChainEnd::Complete);
        assert!(text.contains("in 4 days | replace it before: clients refuse it then"), "{text}");
        let text = judged(vec![good(), summary(0, now - DAY)], ChainEnd::Complete);
        assert!(text.contains("problem the chain's certificate \"CN=a\", expired"), "{text}");
        let text = judged(vec![good()], ChainEnd::Unknown { issuer: "CN=middle".into() });
        assert!(text.contains("warning this machine does not know the authority \"CN=middle\""));
        let text = judged(vec![good()], ChainEnd::Broken { issuer: "CN=middle".into() });
        assert!(text.contains("problem the certificates that follow"), "{text}");
    }
}
