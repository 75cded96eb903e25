//! FEAT, OPTS (RFC 2389), HELP, STAT without a name (RFC 959 section 4.1.3).

use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::LoginState;
use crate::front::ftp::reply::Reply;
use crate::op::Representation;
use crate::wire::ftp::command::Command;
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
        lines.extend(self.own_features().into_iter().map(str::to_owned));
        lines.push(format!(" {}", self.facts.feature()));
        lines.push(" MDTM".into());
        // Where it is announced and fails, some clients treat the upload as failed and remove it.
        // Whether the backend supports it is not known before the login.
        if let LoginState::LoggedIn(logged_in) = &self.login
            && logged_in.session.abilities().modified
        {
            lines.push(" MFMT".into());
        }
        for feature in ["REST STREAM", "SIZE", "TVFS", "UTF8"] {
            lines.push(format!(" {feature}"));
        }
        lines.push("End".into());
        self.control.reply_lines(211, &lines).await;
    }

    /// Whether the login decides whose answers a client gets: an opaque server's are its own.
    pub(super) fn awaits_server(&self) -> bool {
        !matches!(self.login, LoginState::LoggedIn(_))
            && self.shared.gateway.may_be_opaque(&self.client_info.listener)
    }

    /// FEAT, OPTS and SYST then: clients ask again after the login. Before TLS they look for AUTH in FEAT.
    pub(super) async fn before_server(&mut self, command: &Command) {
        let offers_tls = self.shared.settings.tls.settings().is_some() && !self.control.is_tls();
        if *command != Command::Feat || !offers_tls {
            return self.reply(Reply::NOT_LOGGED_IN).await;
        }
        let mut lines = vec!["Features:"];
        lines.extend(self.own_features());
        lines.push("End");
        self.control.reply_lines(211, &lines).await;
    }

    /// Those of the listener, whatever the backend is.
    pub(super) fn own_features(&self) -> Vec<&'static str> {
        let mut lines = Vec::new();
        if self.shared.settings.tls.settings().is_some() {
            lines.extend([" AUTH TLS", " PBSZ", " PROT"]);
        }
        if self.shared.settings.active_allowed {
            lines.push(" EPRT");
        }
        if self.shared.pool.is_some() {
            lines.extend([" EPSV", " PASV"]);
        }
        lines
    }

    pub(super) async fn opts(&mut self, argument: &[u8]) {
        let mut parts = argument.splitn(2, |b| *b == b' ');
        let feature = parts.next().unwrap_or_default().to_ascii_uppercase();
        let value = parts.next().unwrap_or_default();
        match feature.as_slice() {
            b"UTF8" | b"UTF-8" => match value.trim_ascii().to_ascii_uppercase().as_slice() {
                b"" | b"ON" | b"NLST" => {
                    self.reply(Reply::UTF8).await;
                }
                _ => self.reply(Reply::UTF8_OFF).await,
            },
            b"MLST" => {
                self.facts = FactSet::parse(value);
                let text = format!("MLST OPTS {}", self.facts);
                self.reply(Reply::new(200, text.trim_end())).await;
            }
            _ => self.reply(Reply::UNKNOWN_OPTION).await,
        }
    }

    pub(super) async fn help(&mut self) {
        let mut lines = vec!["The following commands are recognized."];
        lines.extend(VERBS);
        lines.push("Help OK.");
        self.control.reply_lines(214, &lines).await;
    }

    pub(super) async fn status(&mut self) {
        let mut lines = vec!["FTP server status:".to_owned()];
        lines.push(format!(" Connected from {}", self.client_info.peer));
        lines.push(match &self.login {
            LoginState::LoggedIn(_) => " Logged in".into(),
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
        self.control.reply_lines(211, &lines).await;
    }
}
