//! FEAT, OPTS (RFC 2389), HELP, STAT without a name (RFC 959 section 4.1.3).

use crate::front::ftp::client::{Client, LoginState};
use crate::op::Representation;
use crate::wire::ftp::listing::FactSet;

const VERBS: [&str; 6] = [
    "ABOR ACCT ALLO APPE AUTH CDUP CWD DELE EPRT EPSV FEAT",
    "HELP LIST MDTM MFMT MKD MLSD MLST MODE NLST NOOP OPTS",
    "PASS PASV PBSZ PORT PROT PWD QUIT REIN REST RETR RMD",
    "RNFR RNTO SITE SIZE STAT STOR STOU STRU SYST TYPE USER",
    "XCUP XCWD XMKD XPWD XRMD",
    "SITE CHMOD, SITE HELP, SITE UTIME",
];

impl Client {
    pub(super) async fn feat(&mut self) {
        let mut lines = vec!["Features:".to_owned()];
        if self.shared.settings.tls.settings().is_some() {
            lines.extend([" AUTH TLS".into(), " PBSZ".into(), " PROT".into()]);
        }
        if self.shared.settings.active_allowed {
            lines.push(" EPRT".into());
        }
        if self.shared.pool.is_some() {
            lines.extend([" EPSV".into(), " PASV".into()]);
        }
        lines.push(format!(" {}", self.facts.feature()));
        lines.push(" MDTM".into());
        // Clients that are promised it take an upload whose time they cannot set for a failed one,
        // and remove it. Whether the backend has it is not known before the login.
        if let LoginState::In(logged_in) = &self.login
            && logged_in.session.abilities().modified
        {
            lines.push(" MFMT".into());
        }
        for feature in ["REST STREAM", "SIZE", "TVFS", "UTF8"] {
            lines.push(format!(" {feature}"));
        }
        lines.push("End".into());
        self.control.reply(211, &lines).await;
    }

    pub(super) async fn opts(&mut self, what: &[u8]) {
        let mut words = what.splitn(2, |b| *b == b' ');
        let feature = words.next().unwrap_or_default().to_ascii_uppercase();
        let value = words.next().unwrap_or_default();
        match feature.as_slice() {
            b"UTF8" | b"UTF-8" => match value.trim_ascii().to_ascii_uppercase().as_slice() {
                b"" | b"ON" | b"NLST" => {
                    self.answer(200, "names go through byte for byte, UTF-8 too").await;
                }
                _ => self.answer(504, "names go through byte for byte always").await,
            },
            b"MLST" => {
                self.facts = FactSet::parse(value);
                let text = format!("MLST OPTS {}", self.facts);
                self.answer(200, text.trim_end()).await;
            }
            _ => self.answer(501, "there are options for UTF8 and MLST only").await,
        }
    }

    pub(super) async fn help(&mut self) {
        let mut lines = vec!["lockgate knows these commands:"];
        lines.extend(VERBS);
        lines.push("End");
        self.control.reply(214, &lines).await;
    }

    pub(super) async fn status(&mut self) {
        let mut lines = vec!["lockgate FTP gateway".to_owned()];
        lines.push(format!(" Connected from {}", self.client_info.peer));
        lines.push(match &self.login {
            LoginState::In(_) => " Logged in".into(),
            _ => " Not logged in".into(),
        });
        let representation = match self.transfer.representation {
            Representation::Ascii => "ASCII",
            Representation::Image => "Image",
        };
        lines.push(format!(" TYPE {representation}, MODE Stream, STRU File"));
        lines.push(format!(
            " Control connection {}, data connections {}",
            if self.control.is_tls() { "under TLS" } else { "in clear" },
            if self.private { "under TLS" } else { "in clear" },
        ));
        lines.push("End of status".into());
        self.control.reply(211, &lines).await;
    }
}
