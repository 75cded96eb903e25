//! The names of commands, for rules that name one.

/// Commands with two names (RFC 775), the old one first.
const OLD_NAMES: [(&str, &str); 5] =
    [("XCWD", "CWD"), ("XCUP", "CDUP"), ("XPWD", "PWD"), ("XMKD", "MKD"), ("XRMD", "RMD")];

/// The name of a command that [`parse`](super::parse) accepts, for rules: one for both names of a command, and for SITE
/// with that of its command ("SITE CHMOD").
pub fn name_of(line: &[u8]) -> String {
    let mut words =
        line.split(|b| *b == b' ').map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
    let verb = words.next().unwrap_or_default();
    if verb == "SITE" {
        return format!("SITE {}", words.next().unwrap_or_default());
    }
    OLD_NAMES.iter().find(|(old, _)| *old == verb).map_or(verb, |(_, name)| (*name).to_owned())
}

/// Whether a text has the form of a command's name in rules: a verb in upper case, or SITE with the name of one of
/// its commands ("SITE LRECL").
pub fn is_command_name(text: &str) -> bool {
    let is_upper = |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase());
    match text.split_once(' ') {
        None => (3..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase()),
        Some(("SITE", name)) => {
            let is_part = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            is_upper(name) && name.len() <= 32 && name.bytes().all(is_part)
        }
        Some(_) => false,
    }
}

/// All commands, under their usual names, for the check of rules that name one.
pub const COMMANDS: [&str; 47] = [
    "USER",
    "PASS",
    "ACCT",
    "QUIT",
    "REIN",
    "AUTH",
    "PBSZ",
    "PROT",
    "CCC",
    "CWD",
    "CDUP",
    "PWD",
    "TYPE",
    "MODE",
    "STRU",
    "PASV",
    "EPSV",
    "PORT",
    "EPRT",
    "REST",
    "ALLO",
    "RETR",
    "STOR",
    "APPE",
    "STOU",
    "ABOR",
    "LIST",
    "NLST",
    "MLSD",
    "MLST",
    "STAT",
    "SIZE",
    "MDTM",
    "MFMT",
    "RNFR",
    "RNTO",
    "DELE",
    "MKD",
    "RMD",
    "FEAT",
    "OPTS",
    "HELP",
    "NOOP",
    "SYST",
    "SITE",
    "SITE CHMOD",
    "SITE UTIME",
];
