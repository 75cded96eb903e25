//! Commands for servers whose paths and extensions the gateway does not read (`dialect: opaque`): they are
//! relayed as the client wrote them (RFC 959 section 4.1.3, RFC 3659).

mod names;

use super::command::{CommandError, is_sendable};
use super::time::parse_time;
use crate::op::{Action, Direction, Effect, Effects, Extent, RemotePath};

/// The gateway serves these itself: logins, protection and data connections are its own (RFC 959, 2228, 2428).
const SERVED: [&str; 15] = [
    "USER", "PASS", "ACCT", "REIN", "QUIT", "AUTH", "PBSZ", "PROT", "CCC", "PORT", "EPRT", "PASV",
    "EPSV", "REST", "ABOR",
];

/// Nobody serves these: they would change the login or the protection of the connection to the server (RFC
/// 2228, 7151), or open data connections behind the gateway's back (RFC 1639; SPSV, CPSV and SSCN of servers
/// that copy to each other).
const REFUSED: [&str; 10] =
    ["ADAT", "MIC", "CONF", "ENC", "HOST", "LPRT", "LPSV", "SPSV", "CPSV", "SSCN"];

/// A client's command, with its argument as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayedCommand {
    /// In upper case.
    verb: String,
    /// `None`: the line ends after the verb.
    argument: Option<Vec<u8>>,
    kind: Kind,
    /// All of them must be allowed. Of no meaning where a rule must name the command.
    effects: Effects,
    /// For records: verb and argument.
    line: Vec<u8>,
    /// RNTO: the argument of the RNFR before it.
    renamed: Option<Vec<u8>>,
    offset: u64,
    form: DataForm,
}

/// What the server sends or receives on the data connection, as far as TYPE, STRU and MODE say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataForm {
    /// TYPE A or E: lines may be converted.
    pub is_text: bool,
    /// STRU F: nothing marks records.
    pub is_file: bool,
    /// MODE S: the bytes have no headers.
    pub is_stream: bool,
}

/// Of a session that has changed nothing (RFC 959 section 5.1).
impl Default for DataForm {
    fn default() -> Self {
        Self { is_text: true, is_file: true, is_stream: true }
    }
}

/// How data travels for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Not at all.
    None,
    /// From the server.
    Receive,
    /// To the server.
    Send,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of no effect on files.
    Session,
    /// Without data, under this name in records.
    Operation(&'static str),
    Listing,
    Download,
    Upload(&'static str),
    Site,
    /// The gateway does not know what it does.
    Other,
}

impl RelayedCommand {
    /// The command of a line; `None` if the gateway serves it itself. A single space separates verb and argument.
    ///
    /// # Errors
    /// A line that is no command, that FTP cannot carry, or that is never relayed.
    pub fn parse(line: &[u8]) -> Result<Option<Self>, CommandError> {
        let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (verb, argument) = (&line[..end], line.get(end + 1..));
        if verb.is_empty() || verb.len() > 8 || !verb.iter().all(u8::is_ascii_alphabetic) {
            return Err(CommandError::NotACommand);
        }
        let verb: String = verb.iter().map(|b| char::from(b.to_ascii_uppercase())).collect();
        if SERVED.contains(&verb.as_str()) {
            return Ok(None);
        }
        if REFUSED.contains(&verb.as_str()) {
            return Err(CommandError::NeverRelayed(verb));
        }
        if !argument.is_none_or(is_sendable) {
            return Err(CommandError::Name);
        }
        let (kind, effects) = kind(&verb, argument.unwrap_or_default());
        Ok(Some(Self {
            argument: argument.map(<[u8]>::to_vec),
            line: [verb.as_bytes(), &line[end..]].concat(),
            verb,
            kind,
            effects: Effects::of(effects),
            renamed: None,
            offset: 0,
            form: DataForm::default(),
        }))
    }

    /// For a transfer: from which byte on (REST), and in which form.
    pub fn with_transfer(self, offset: u64, form: DataForm) -> Self {
        // RFC 3659 section 5.3: only RETR and STOR start elsewhere.
        let offset = if matches!(self.verb.as_str(), "RETR" | "STOR") { offset } else { 0 };
        Self { offset, form, ..self }
    }

    /// For RNTO: the argument of the RNFR before it.
    pub fn with_renamed(self, renamed: Option<Vec<u8>>) -> Self {
        Self { renamed, ..self }
    }

    /// In upper case.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// As the client wrote it; `None`: the line ends after the verb.
    pub fn argument(&self) -> Option<&[u8]> {
        self.argument.as_deref()
    }

    /// The byte at which a transfer starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How data travels.
    pub fn data(&self) -> Data {
        match self.kind {
            Kind::Listing | Kind::Download => Data::Receive,
            Kind::Upload(_) => Data::Send,
            Kind::Session | Kind::Operation(_) | Kind::Site | Kind::Other => Data::None,
        }
    }

    /// Whether the offset of an earlier REST still applies after it.
    pub fn keeps_restart(&self) -> bool {
        self.kind == Kind::Session || matches!(self.verb.as_str(), "SIZE" | "MDTM")
    }

    /// The form of data after the server has accepted it: TYPE, STRU and MODE change it.
    pub fn form_after(&self, form: DataForm) -> DataForm {
        let argument = self.argument.as_deref().unwrap_or_default().trim_ascii_start();
        let first = argument.first().map(u8::to_ascii_uppercase);
        match self.verb.as_str() {
            "TYPE" => DataForm { is_text: matches!(first, Some(b'A' | b'E')), ..form },
            "STRU" => DataForm { is_file: first == Some(b'F'), ..form },
            "MODE" => DataForm { is_stream: first == Some(b'S'), ..form },
            _ => form,
        }
    }

    /// Whether it needs a rule that names it: what it does is not known, or only the server knows.
    pub fn needs_named_rule(&self) -> bool {
        matches!(self.kind, Kind::Site | Kind::Other)
    }

    /// The effects that must be allowed.
    pub fn known_effects(&self) -> Effects {
        self.effects
    }

    /// Its names for rules: of SITE one for each of its words ("SITE LRECL", "SITE RECFM"), since one line sets
    /// several parameters.
    pub fn names(&self) -> Vec<String> {
        match self.kind {
            Kind::Site => names::of_site(self.argument().unwrap_or_default()),
            _ => vec![super::command::name_of(self.verb.as_bytes())],
        }
    }
}

/// What a command does, and which effects must be allowed for it.
fn kind(verb: &str, argument: &[u8]) -> (Kind, &'static [Effect]) {
    use Effect as E;
    use Kind::{Download, Listing, Operation, Other, Session, Site, Upload};
    match verb {
        "ALLO" | "CLNT" | "FEAT" | "HELP" | "LANG" | "MODE" | "NOOP" | "OPTS" | "PWD" | "STRU"
        | "SYST" | "TYPE" | "XPWD" => (Session, &[]),
        "STAT" if argument.is_empty() => (Session, &[]),
        "RETR" => (Download, &[E::Read]),
        // Which of the two it is only the server knows.
        "STOR" => (Upload("write"), &[E::Create, E::Overwrite]),
        "APPE" => (Upload("append"), &[E::Create, E::Append]),
        "STOU" => (Upload("write"), &[E::Create]),
        "LIST" | "NLST" | "MLSD" => (Listing, &[E::List]),
        "CWD" | "XCWD" | "CDUP" | "XCUP" => (Operation("enter"), &[E::List]),
        "MDTM" if sets_time(argument) => {
            (Operation("set-attributes"), &[E::List, E::SetAttributes])
        }
        "MLST" | "STAT" | "MDTM" => (Operation("stat"), &[E::List]),
        "SIZE" => (Operation("size"), &[E::List]),
        "MFMT" | "MFCT" | "MFF" => (Operation("set-attributes"), &[E::SetAttributes]),
        "DELE" => (Operation("remove"), &[E::Delete]),
        "MKD" | "XMKD" => (Operation("make-directory"), &[E::MakeDirectory]),
        "RMD" | "XRMD" => (Operation("remove-directory"), &[E::RemoveDirectory]),
        "RNFR" => (Operation("rename-from"), &[E::Rename]),
        "RNTO" => (Operation("rename"), &[E::Rename, E::Overwrite]),
        "SITE" if names::sets_attributes(argument) => (Site, &[E::SetAttributes]),
        "SITE" => (Site, &[]),
        _ => (Other, &[]),
    }
}

/// Servers that set the time by MDTM take a time and a name; for others the whole is a name.
fn sets_time(argument: &[u8]) -> bool {
    let space = argument.iter().position(|b| *b == b' ');
    space.is_some_and(|space| parse_time(&argument[..space]).is_some())
}

impl Action for RelayedCommand {
    fn effects(&self) -> Effects {
        if self.needs_named_rule() { Effects::all() } else { self.effects }
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Session => "session-command",
            Kind::Operation(name) | Kind::Upload(name) => name,
            Kind::Listing => "list",
            Kind::Download => "read",
            Kind::Site => "site",
            Kind::Other => "other-command",
        }
    }

    fn path(&self) -> &[u8] {
        match self.kind {
            Kind::Session | Kind::Other => &self.line,
            _ => self.renamed.as_deref().or(self.argument()).unwrap_or_default(),
        }
    }

    fn other_path(&self) -> Option<&[u8]> {
        self.renamed.as_ref()?;
        self.argument()
    }

    fn direction(&self) -> Option<Direction> {
        match self.kind {
            Kind::Download => Some(Direction::Download),
            Kind::Upload(_) => Some(Direction::Upload),
            _ => None,
        }
    }

    fn extent(&self) -> Extent {
        let is_whole = self.offset == 0 && self.verb != "APPE";
        // With STRU R or MODE B the bytes are not those of the file.
        if is_whole && self.form.is_file && self.form.is_stream {
            Extent::Whole
        } else {
            Extent::Part
        }
    }

    fn is_text(&self) -> bool {
        self.form.is_text
    }

    fn is_listing(&self) -> bool {
        self.kind == Kind::Listing
    }

    /// It has no paths that the gateway reads.
    fn map_paths<E>(self, _: impl FnMut(RemotePath) -> Result<RemotePath, E>) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> RelayedCommand {
        RelayedCommand::parse(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_line_is_kept_as_it_was_written() {
        for (line, verb, argument) in [
            ("RETR 'USER.DATA(MEMBER)'", "RETR", Some("'USER.DATA(MEMBER)'")),
            ("cwd ..", "CWD", Some("..")),
            ("CWD  two spaces ", "CWD", Some(" two spaces ")),
            ("LIST -la //x//../y", "LIST", Some("-la //x//../y")),
            ("LIST", "LIST", None),
            ("LIST ", "LIST", Some("")),
            ("site lrecl=80  recfm=fb", "SITE", Some("lrecl=80  recfm=fb")),
            ("DELE DISK$USER:[SMITH.LOGS]A.TXT;3", "DELE", Some("DISK$USER:[SMITH.LOGS]A.TXT;3")),
            ("RCMD DLTF FILE(QGPL/X)", "RCMD", Some("DLTF FILE(QGPL/X)")),
        ] {
            let command = command(line);
            assert_eq!((command.verb(), command.argument()), (verb, argument.map(str::as_bytes)));
        }
        assert_eq!(command("rcmd DLTF X").path(), b"RCMD DLTF X");
        assert_eq!(command("SITE LRECL=80").path(), b"LRECL=80");
        assert_eq!(command("LIST").path(), b"");
        let renamed = command("RNTO B").with_renamed(Some(b"A".to_vec()));
        assert_eq!((renamed.path(), renamed.other_path()), (&b"A"[..], Some(&b"B"[..])));
    }

    #[test]
    fn what_the_gateway_serves_and_what_nobody_does_is_not_relayed() {
        for verb in SERVED {
            for line in [verb.to_owned(), format!("{verb} x"), verb.to_ascii_lowercase()] {
                assert_eq!(RelayedCommand::parse(line.as_bytes()), Ok(None), "{line}");
            }
        }
        for verb in REFUSED {
            let refused = Err(CommandError::NeverRelayed(verb.to_owned()));
            assert_eq!(RelayedCommand::parse(verb.to_ascii_lowercase().as_bytes()), refused);
        }
        for line in ["", " PORT 1", "PORT\t1,2,3,4,5,6", "P0RT x", "TOOLONGVERB x", "\u{fc}SER x"] {
            let refused = Err(CommandError::NotACommand);
            assert_eq!(RelayedCommand::parse(line.as_bytes()), refused, "{line:?}");
        }
        for line in [&b"CWD a\rPORT 1"[..], b"CWD a\0b", b"CWD \xff", b"XYZ a\nb"] {
            assert_eq!(RelayedCommand::parse(line), Err(CommandError::Name));
        }
    }

    #[test]
    fn all_that_a_command_may_do_must_be_allowed() {
        use Effect as E;
        for (line, effects, name) in [
            ("STOR x", &[E::Create, E::Overwrite][..], "write"),
            ("APPE x", &[E::Create, E::Append], "append"),
            ("STOU", &[E::Create], "write"),
            ("RNTO x", &[E::Rename, E::Overwrite], "rename"),
            ("MDTM 20260102030405 x", &[E::List, E::SetAttributes], "set-attributes"),
            ("MDTM x", &[E::List], "stat"),
            ("XCUP", &[E::List], "enter"),
            ("STAT x", &[E::List], "stat"),
            ("STAT", &[], "session-command"),
            ("TYPE E", &[], "session-command"),
            ("SITE CHMOD 600 x", &[E::SetAttributes], "site"),
        ] {
            let command = command(line);
            assert_eq!((command.known_effects(), command.name()), (Effects::of(effects), name));
        }
        for line in ["SITE", "SITE HELP", "XCRC x", "RCMD x"] {
            assert!(command(line).needs_named_rule(), "{line}");
            assert_eq!(command(line).effects(), Effects::all());
        }
    }

    #[test]
    fn bytes_with_record_marks_are_not_the_file() {
        let extent = |lines: &[&str], transfer: &str, offset| {
            let form =
                lines.iter().fold(DataForm::default(), |it, line| command(line).form_after(it));
            let transfer = command(transfer).with_transfer(offset, form);
            (transfer.extent(), transfer.is_text())
        };
        for (lines, expected) in [
            (&[][..], (Extent::Whole, true)),
            (&["TYPE I"], (Extent::Whole, false)),
            (&["TYPE L 8", "MODE s", "STRU f"], (Extent::Whole, false)),
            (&["TYPE E"], (Extent::Whole, true)),
            (&["TYPE I", "MODE B"], (Extent::Part, false)),
            (&["TYPE I", "STRU R"], (Extent::Part, false)),
            (&["STRU R", "STRU F"], (Extent::Whole, true)),
        ] {
            assert_eq!(extent(lines, "RETR x", 0), expected, "{lines:?}");
        }
        assert_eq!(extent(&[], "RETR x", 5).0, Extent::Part);
        assert_eq!(extent(&[], "APPE x", 0).0, Extent::Part);
        // An offset is for RETR and STOR.
        assert_eq!(command("LIST").with_transfer(5, DataForm::default()).offset(), 0);
    }
}
