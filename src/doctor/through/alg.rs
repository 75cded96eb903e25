//! Whether a firewall on the way changes FTP: an application-level gateway (ALG, "FTP inspection", "fixup") reads
//! PASV and PORT in clear, rewrites addresses in them and opens ports for them. Under TLS it cannot, so the two
//! are compared.

use std::net::IpAddr;

use super::Protocol;
use super::observed::{Observed, Outcome, Passive};
use crate::doctor::finding::Findings;
use crate::op::PeerReply;

const OFF: &str = "switch the inspection of FTP off for this gateway (Linux: no nf_conntrack_ftp; Cisco ASA: no `inspect \
                   ftp`; FortiGate: no session helper for FTP), and open the data ports instead: deploy/firewall.md";

/// Compares what was seen in clear with what was seen under TLS.
pub(super) fn judge(
    clear: Option<&Observed>,
    tls: Option<&Observed>,
    protocol: Protocol,
    findings: &mut Findings,
) {
    let before = findings.count();
    if let Some(seen) = tls {
        judge_auth(seen, findings);
    }
    for seen in [clear, tls].into_iter().flatten() {
        if is_masked(&seen.greeting) {
            findings.problem("the greeting is masked with asterisks, as ALGs do it", OFF);
        }
    }
    if let Some(pasv) = clear.and_then(|seen| seen.pasv.as_ref()) {
        judge_form(pasv, findings);
    }
    match (clear.filter(|it| it.is_complete()), tls.filter(|it| it.is_complete())) {
        (Some(clear), Some(tls)) => {
            compare(clear, tls, findings);
            if findings.count() == before {
                findings.ok("the replies in clear and under TLS agree: nothing rewrites them");
            }
        }
        (Some(seen), None) | (None, Some(seen)) => {
            judge_address(seen, findings);
            if findings.count() == before {
                not_compared(tls.is_some(), clear.is_some(), protocol, findings);
            }
        }
        (None, None) if findings.count() == before => {
            findings.skipped("there is nothing to compare", "see above");
        }
        (None, None) => {}
    }
}

fn judge_auth(seen: &Observed, findings: &mut Findings) {
    let Some(auth) = &seen.auth else { return };
    if seen.announces_auth && auth.code != 234 {
        findings.problem(
            format!("the gateway announces AUTH TLS (FEAT), but the answer to it is {auth}: an ALG refuses or \
                     garbles AUTH"),
            OFF,
        );
    }
}

fn is_masked(greeting: &PeerReply) -> bool {
    greeting.lines.iter().any(|line| {
        let stars = line.iter().filter(|byte| **byte == b'*').count();
        stars >= 8 && stars * 2 > line.len()
    })
}

/// lockgate and most servers write the numbers of a 227 in parentheses; an ALG that shortens or lengthens them may
/// lose the end.
fn judge_form(pasv: &Passive, findings: &mut Findings) {
    let Some(text) = pasv.reply.lines.last().filter(|_| pasv.reply.code == 227) else { return };
    if text.contains(&b'(') != text.contains(&b')') {
        findings.problem(format!("the reply to PASV is cut: {}", pasv.reply), OFF);
    }
}

fn compare(clear: &Observed, tls: &Observed, findings: &mut Findings) {
    if let (Some(in_clear), Some(under_tls)) = (ip(&clear.pasv), ip(&tls.pasv)) {
        if in_clear != under_tls {
            let helped = connected(&clear.pasv) && !connected(&tls.pasv);
            let remedy = if helped {
                format!(
                    "it hides that `advertise` names another address than that of the control connection: set it to \
                         {in_clear}, then {OFF}"
                )
            } else {
                OFF.to_owned()
            };
            findings.problem(
                format!("an ALG rewrites the reply to PASV: in clear it names {in_clear}, under TLS {under_tls}"),
                remedy,
            );
        } else if words(&clear.pasv) != words(&tls.pasv) {
            findings.problem(
                format!(
                    "an ALG writes the reply to PASV anew: in clear {}, under TLS {}",
                    shown(&clear.pasv),
                    shown(&tls.pasv)
                ),
                OFF,
            );
        }
    }
    for (verb, in_clear, under_tls) in
        [("PASV", &clear.pasv, &tls.pasv), ("EPSV", &clear.epsv, &tls.epsv)]
    {
        let (Some(before), Some(after)) = (in_clear, under_tls) else { continue };
        if before.address.is_none() && after.address.is_some() {
            findings.problem(
                format!(
                    "{verb} works under TLS, but is answered {} in clear: an ALG refuses it",
                    before.reply
                ),
                OFF,
            );
        } else if connected(in_clear) && is_not_connected(under_tls) {
            findings.problem(
                format!("after {verb} the data port can be reached in clear, but not under TLS: the firewall opens \
                         ports for the replies that it can read"),
                "open the whole range of `data_ports` for clients: under TLS nobody can read the replies",
            );
        }
    }
    if let (Some(in_clear), Some(under_tls)) = (&clear.port, &tls.port)
        && in_clear.code / 100 != under_tls.code / 100
    {
        findings.problem(
            format!(
                "an ALG changes PORT: it is answered {in_clear} in clear, and {under_tls} under TLS"
            ),
            format!("active mode works for one of the two only, if at all; {OFF}"),
        );
    }
    judge_address(tls, findings);
}

/// PASV names a private address, though the control connection goes to a public one.
fn judge_address(seen: &Observed, findings: &mut Findings) {
    let Some(ip) = ip(&seen.pasv) else { return };
    let control = seen.server.ip().to_canonical();
    if is_private(ip) && !is_private(control) {
        findings.problem(
            format!(
                "PASV names the private address {ip}; the control connection goes to {control}"
            ),
            format!("set `advertise` to the address that clients reach, probably {control}"),
        );
    }
}

fn not_compared(has_tls: bool, has_clear: bool, protocol: Protocol, findings: &mut Findings) {
    let (message, remedy) = match (has_tls, has_clear, protocol) {
        (_, _, Protocol::ImplicitTls) => {
            ("TLS from the first byte on: nothing on the way can rewrite replies", None)
        }
        (true, true, _) => {
            ("only one of the two sessions got replies to PASV or EPSV", Some("see above"))
        }
        (true, false, _) => (
            "nothing was changed under TLS; whether replies in clear are rewritten was not tried",
            Some("--clear tries it: the password is sent in clear"),
        ),
        (false, ..) => (
            "without a session under TLS, rewritten replies can be recognized only if they are wrong",
            Some("leave --protocol out to compare with TLS"),
        ),
    };
    match remedy {
        None => findings.ok(message),
        Some(remedy) => findings.skipped(message, remedy),
    }
}

fn ip(passive: &Option<Passive>) -> Option<IpAddr> {
    Some(passive.as_ref()?.address?.ip())
}

fn connected(passive: &Option<Passive>) -> bool {
    let outcome = passive.as_ref().and_then(|passive| passive.outcome.as_ref());
    matches!(outcome, Some(Outcome::Listed(_) | Outcome::Failed(_)))
}

fn is_not_connected(passive: &Option<Passive>) -> bool {
    let outcome = passive.as_ref().and_then(|passive| passive.outcome.as_ref());
    matches!(outcome, Some(Outcome::NotConnected(_)))
}

/// The text of a reply without its numbers.
fn words(passive: &Option<Passive>) -> Vec<u8> {
    let lines = passive.iter().flat_map(|passive| &passive.reply.lines).flatten();
    lines.filter(|byte| !byte.is_ascii_digit()).copied().collect()
}

fn shown(passive: &Option<Passive>) -> String {
    passive.as_ref().map(|passive| passive.reply.to_string()).unwrap_or_default()
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::doctor::reach::Attempt;

    fn reply(code: u16, text: &str) -> PeerReply {
        PeerReply { code, lines: vec![text.as_bytes().to_vec()] }
    }

    fn pasv(text: &str, outcome: Outcome) -> Passive {
        let reply = reply(227, text);
        let address = crate::wire::ftp::host_port::parse_pasv_reply(&reply.lines).unwrap();
        Passive { reply, address: Some(address.into()), outcome: Some(outcome) }
    }

    fn epsv(port: u16, outcome: Outcome) -> Passive {
        let address = SocketAddr::new("198.51.100.1".parse().unwrap(), port);
        let reply = reply(229, &format!("Entering Extended Passive Mode (|||{port}|)"));
        Passive { reply, address: Some(address), outcome: Some(outcome) }
    }

    fn seen(pasv: Option<Passive>, epsv: Option<Passive>) -> Observed {
        let server = "198.51.100.1:21".parse().unwrap();
        let greeting = reply(220, "ready");
        Observed { announces_auth: true, pasv, epsv, ..Observed::new(server, greeting) }
    }

    fn judged(clear: Option<&Observed>, tls: Option<&Observed>) -> String {
        let mut findings = Findings::new("t");
        judge(clear, tls, Protocol::ExplicitTls, &mut findings);
        findings.text()
    }

    const GOOD: &str = "Entering Passive Mode (198,51,100,1,195,80).";
    const INNER: &str = "Entering Passive Mode (10,0,0,5,195,80).";
    const SILENT: Outcome = Outcome::NotConnected(Attempt::Silent);

    #[test]
    fn equal_replies_are_well() {
        let one =
            seen(Some(pasv(GOOD, Outcome::Listed(1))), Some(epsv(50_000, Outcome::Listed(1))));
        let other = "Entering Passive Mode (198,51,100,1,195,99).";
        let two =
            seen(Some(pasv(other, Outcome::Listed(1))), Some(epsv(50_001, Outcome::Listed(1))));
        assert!(
            judged(Some(&one), Some(&two))
                .starts_with("ok the replies in clear and under TLS agree")
        );
        assert!(judged(None, Some(&two)).starts_with("skipped nothing was changed under TLS"));
    }

    #[test]
    fn a_rewritten_address_is_an_alg() {
        let clear = seen(Some(pasv(GOOD, Outcome::Listed(1))), None);
        let tls = seen(Some(pasv(INNER, Outcome::OtherHost)), None);
        let text = judged(Some(&clear), Some(&tls));
        assert!(text.starts_with("problem an ALG rewrites the reply to PASV: in clear it names 198.51.100.1, under TLS 10.0.0.5"), "{text}");
        assert!(text.contains("set it to 198.51.100.1"), "{text}");
    }

    #[test]
    fn a_changed_port_is_an_alg() {
        let mut clear = seen(Some(pasv(GOOD, Outcome::Listed(1))), None);
        let mut tls = clear.clone();
        (clear.port, tls.port) = (Some(reply(200, "ok")), Some(reply(501, "not yours")));
        assert!(judged(Some(&clear), Some(&tls)).starts_with("problem an ALG changes PORT"));
        clear.port = Some(reply(504, "no"));
        assert!(judged(Some(&clear), Some(&tls)).starts_with("ok"));
    }

    #[test]
    fn a_reply_with_other_words_is_an_alg() {
        let clear = seen(
            Some(pasv("Entering Passive Mode (198,51,100,1,195,80)", Outcome::Listed(1))),
            None,
        );
        let tls = seen(Some(pasv(GOOD, Outcome::Listed(1))), None);
        assert!(judged(Some(&clear), Some(&tls)).starts_with("problem an ALG writes the reply"));
    }

    #[test]
    fn ports_that_open_only_in_clear_are_an_alg() {
        let clear = seen(Some(pasv(GOOD, Outcome::Listed(1))), None);
        let tls = seen(Some(pasv(GOOD, SILENT)), None);
        assert!(judged(Some(&clear), Some(&tls)).contains("reached in clear, but not under TLS"));
    }

    #[test]
    fn a_refused_epsv_or_auth_is_an_alg_only_if_the_gateway_has_it() {
        let refused = Passive { reply: reply(500, "?"), address: None, outcome: None };
        let clear = seen(None, Some(refused.clone()));
        let tls = seen(None, Some(epsv(50_000, Outcome::Listed(1))));
        assert!(judged(Some(&clear), Some(&tls)).starts_with("problem EPSV works under TLS, but"));
        let both = seen(None, Some(refused));
        assert!(judged(Some(&both), Some(&both)).starts_with("ok"));
        let mut stripped = seen(None, None);
        stripped.auth = Some(reply(500, "XXXX"));
        assert!(
            judged(None, Some(&stripped)).starts_with("problem the gateway announces AUTH TLS")
        );
        stripped.announces_auth = false;
        assert!(judged(None, Some(&stripped)).starts_with("skipped"));
    }

    #[test]
    fn an_unreachable_private_address_is_advertises_fault() {
        let tls = seen(Some(pasv(INNER, Outcome::OtherHost)), None);
        let text = judged(None, Some(&tls));
        assert!(text.starts_with("problem PASV names the private address 10.0.0.5"), "{text}");
        // A public one is told where it was seen.
        let other = "Entering Passive Mode (198,51,100,2,195,80).";
        let tls = seen(Some(pasv(other, Outcome::OtherHost)), None);
        assert!(!judged(None, Some(&tls)).contains("problem"));
        assert_eq!(tls.data_address(), None);
    }

    #[test]
    fn masked_greetings_and_cut_replies_are_noticed() {
        let mut clear = seen(
            Some(pasv("Entering Passive Mode (198,51,100,1,195,80", Outcome::Listed(1))),
            None,
        );
        clear.greeting = reply(220, "****************");
        let text = judged(Some(&clear), None);
        assert!(text.contains("masked") && text.contains("PASV is cut"), "{text}");
    }
}
