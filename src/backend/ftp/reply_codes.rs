//! Which replies are possible for which command (RFC 959 section 5.4, RFC 2228, 2389, 2428, 3659).
//! Other replies are surplus.

use super::pwd;
use crate::op::PeerReply;

/// Any error reply can answer any command. A success must be one of this command's.
pub(super) fn can_answer(verb: &str, reply: &PeerReply) -> bool {
    let transfers = ["RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD"];
    let is_any_of = |verbs: &[&str]| verbs.contains(&verb);
    match reply.code {
        100..=199 => is_any_of(&transfers),
        200..=399 => match verb {
            "USER" => matches!(reply.code, 230 | 232 | 331 | 332 | 336) || is_plain(reply.code),
            "PASS" => matches!(reply.code, 230 | 232 | 332) || is_plain(reply.code),
            "ACCT" => matches!(reply.code, 230 | 232) || is_plain(reply.code),
            "AUTH" => reply.code == 234 || is_plain(reply.code),
            "FEAT" => reply.code == 211,
            "SYST" => reply.code == 215 || is_plain(reply.code),
            "PWD" => matches!(reply.code, 250 | 257) || pwd::directory(reply).is_some(),
            "EPSV" => reply.code == 229,
            "PASV" => reply.code == 227,
            "RNFR" | "REST" => reply.code == 350,
            "SIZE" | "MDTM" => is_plain(reply.code) || reply.code == 213,
            "STAT" => matches!(reply.code, 211..=213) || is_plain(reply.code),
            "MKD" => reply.code == 257 || is_plain(reply.code),
            "MFMT" => reply.code == 213 || is_plain(reply.code),
            // Some servers end an empty listing like that without 1xx; it counts if no other reply
            // follows.
            verb if transfers.contains(&verb) => false,
            "ABOR" => ends_transfer(reply.code),
            "SITE" => matches!(reply.code, 211..=214) || is_plain(reply.code),
            _ => is_plain(reply.code),
        },
        _ => true,
    }
}

/// Whether this code can be the last success reply to a transfer.
pub(super) fn ends_transfer(code: u16) -> bool {
    matches!(code, 225 | 226) || is_plain(code)
}

/// A success code that is not specific to one command.
fn is_plain(code: u16) -> bool {
    matches!(code, 200..=299) && !matches!(code, 211..=215 | 220..=234 | 257)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_of_another_command_cannot_answer() {
        for (verb, fitting, others) in [
            ("USER", &[230, 331, 332][..], &[220, 226, 257][..]),
            ("PASS", &[202, 230, 332], &[220, 331, 350]),
            ("FEAT", &[211], &[200, 230, 257]),
            ("OPTS", &[200, 202], &[211, 230, 257, 331]),
            ("PWD", &[257, 250], &[200, 211, 230, 226]),
            ("TYPE", &[200], &[211, 226, 230, 257]),
            ("EPSV", &[229], &[200, 226, 227, 350]),
            ("PASV", &[227], &[200, 226, 229]),
            ("STOR", &[125, 150], &[200, 226, 250, 350]),
            ("RETR", &[125, 150], &[200, 226, 250, 350]),
            ("LIST", &[125, 150], &[213, 226, 250, 257, 350]),
            ("RNFR", &[350], &[200, 226, 250]),
            ("RNTO", &[200, 250], &[226, 257, 350]),
            ("DELE", &[200, 250], &[150, 226, 350]),
            ("SIZE", &[213, 200], &[150, 226, 229, 257]),
            ("MKD", &[257, 250], &[150, 226, 350]),
        ] {
            let can_answer =
                |code| can_answer(verb, &PeerReply { code, lines: vec![b"words".to_vec()] });
            for &code in fitting.iter().chain(&[421, 450, 500, 502, 550]) {
                assert!(can_answer(code), "{verb} {code}");
            }
            for &code in others {
                assert!(!can_answer(code), "{verb} {code}");
            }
        }
    }
}
