//! Parses command lines (RFC 959, 2228, 2389, 2428, 3659, 4217; X-forms of RFC 775).

use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::host_port::{self, Epsv, HostPortError};
use crate::op::escape::printable;
use crate::op::{Representation, WriteMode};

mod names;

pub use names::{COMMANDS, is_command_name, name_of};

/// A client's command. Path arguments are raw bytes without CR, LF, NUL or IAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    // Access control
    /// USER: the user's name (RFC 959 section 4.1.1).
    User(Vec<u8>),
    /// PASS: the password (RFC 959 section 4.1.1).
    Pass(Zeroizing<Vec<u8>>),
    /// ACCT: the account (RFC 959 section 4.1.1).
    Acct(Zeroizing<Vec<u8>>),
    /// QUIT: ends the session (RFC 959 section 4.1.1).
    Quit,
    /// REIN: logs out and keeps the connection (RFC 959 section 4.1.1).
    Rein,
    // Security (RFC 2228, 4217)
    /// AUTH: the security mechanism, in upper case (RFC 2228 section 3, RFC 4217 section 4).
    Auth(Vec<u8>),
    /// PBSZ: the protection buffer size, not kept: it is 0 for TLS (RFC 2228 section 3, RFC 4217).
    Pbsz,
    /// PROT: the protection level of data connections, in upper case (RFC 2228 section 3, RFC 4217).
    Prot(Vec<u8>),
    /// CCC: ends the protection of the control connection (RFC 2228 section 3, RFC 4217).
    Ccc,
    // Working directory
    /// CWD, XCWD: changes the working directory (RFC 959 section 4.1.1).
    Cwd(Vec<u8>),
    /// CDUP, XCUP: changes to the parent directory (RFC 959 section 4.1.1).
    Cdup,
    /// PWD, XPWD: reports the working directory (RFC 959 section 4.1.3).
    Pwd,
    // Transfer parameters
    /// TYPE: the representation; `None`: one that is not supported (RFC 959 section 4.1.2).
    Type(Option<Representation>),
    /// MODE: the transfer mode, an upper-case letter (RFC 959 section 4.1.2).
    Mode(u8),
    /// STRU: the file structure, an upper-case letter (RFC 959 section 4.1.2).
    Stru(u8),
    /// PASV: requests a passive data connection over IPv4 (RFC 959 section 4.1.2).
    Pasv,
    /// EPSV: requests a passive data connection over IPv4 or IPv6 (RFC 2428 section 3).
    Epsv(Epsv),
    /// PORT, EPRT: the client's address for data connections (RFC 959 section 4.1.2, RFC 2428 section 2).
    Port(SocketAddr),
    /// REST: the offset in bytes of the next transfer (RFC 959 section 4.1.3, RFC 3659 section 5).
    Rest(u64),
    /// ALLO: reserves space; the argument is ignored (RFC 959 section 4.1.3).
    Allo,
    // Transfers
    /// RETR: sends a file to the client (RFC 959 section 4.1.3).
    Retr(Vec<u8>),
    /// STOR, APPE: receives a file from the client (RFC 959 section 4.1.3).
    Store(Vec<u8>, Store),
    /// STOU: receives a file under a name that the server chooses (RFC 959 section 4.1.3).
    Stou,
    /// ABOR: aborts the transfer (RFC 959 section 4.1.3).
    Abor,
    // Listings; `None`: the working directory
    /// LIST: a listing for people, without `ls` options (RFC 959 section 4.1.3).
    List(Option<Vec<u8>>),
    /// NLST: a listing of names only, without `ls` options (RFC 959 section 4.1.3).
    Nlst(Option<Vec<u8>>),
    /// MLSD: a directory's entries as lines of facts (RFC 3659 section 7).
    Mlsd(Option<Vec<u8>>),
    /// MLST: the facts of one file or directory, in the reply (RFC 3659 section 7).
    Mlst(Option<Vec<u8>>),
    /// STAT: a listing in the reply; `None`: the server's status (RFC 959 section 4.1.3).
    Stat(Option<Vec<u8>>),
    // Facts
    /// SIZE: the size of a file in the current representation (RFC 3659 section 4).
    Size(Vec<u8>),
    /// MDTM: the modification time of a file (RFC 3659 section 3).
    Mdtm(Vec<u8>),
    /// `MDTM YYYYMMDDhhmmss name`, which sets the time unless a file named `whole` exists.
    MdtmWithTime {
        /// The whole argument, time included.
        whole: Vec<u8>,
        /// The modification time, in seconds since the epoch.
        seconds: i64,
        /// The file's path.
        path: Vec<u8>,
    },
    /// MFMT: sets the modification time (draft-somers-ftp-mfxx).
    Mfmt {
        /// The modification time, in seconds since the epoch.
        seconds: i64,
        /// The file's path.
        path: Vec<u8>,
    },
    /// SITE UTIME
    Utime {
        /// The modification time, in seconds since the epoch.
        seconds: i64,
        /// The file's path.
        path: Vec<u8>,
    },
    // Files and folders
    /// RNFR: the file to rename (RFC 959 section 4.1.3).
    Rnfr(Vec<u8>),
    /// RNTO: the new name of RNFR's file (RFC 959 section 4.1.3).
    Rnto(Vec<u8>),
    /// DELE: deletes a file (RFC 959 section 4.1.3).
    Dele(Vec<u8>),
    /// MKD, XMKD: creates a directory (RFC 959 section 4.1.3).
    Mkd(Vec<u8>),
    /// RMD, XRMD: removes a directory (RFC 959 section 4.1.3).
    Rmd(Vec<u8>),
    /// SITE CHMOD: sets the permissions; no RFC defines it.
    Chmod {
        /// The permission bits, up to 0o7777.
        mode: u32,
        /// The file's path.
        path: Vec<u8>,
    },
    // Miscellaneous
    /// FEAT: lists the extensions (RFC 2389 section 3).
    Feat,
    /// OPTS: a command and its options (RFC 2389 section 4).
    Opts(Vec<u8>),
    /// HELP: lists the commands; the argument is ignored (RFC 959 section 4.1.3).
    Help,
    /// SITE HELP: lists the SITE commands (RFC 959 section 4.1.3).
    SiteHelp,
    /// NOOP: does nothing (RFC 959 section 4.1.3).
    Noop,
    /// SYST: the server's operating system (RFC 959 section 4.1.3).
    Syst,
}

/// How [`Command::Store`] writes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// STOR: replaces the file, or writes from the offset of REST.
    Replace,
    /// APPE: appends to the file; the offset of REST is ignored.
    Append,
}

/// Why a line is not a valid command; fault: the client's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// 500
    #[error("not an FTP command")]
    NotACommand,
    /// 500
    #[error("{0}: command not understood")]
    Unknown(String),
    /// 502
    #[error("SITE {0} is not supported; SITE HELP lists the commands that are")]
    UnknownSite(String),
    /// 502
    #[error(
        "{0} is not relayed to the server: logins, protection and data connections are the gateway's"
    )]
    NeverRelayed(String),
    /// 501
    #[error("{0}")]
    Argument(&'static str),
    /// 504
    #[error("{0}")]
    Parameter(&'static str),
    /// 553
    #[error("a name with CR, LF, NUL or 0xFF cannot be sent over FTP")]
    Name,
    /// 522 (RFC 2428)
    #[error("network protocol not supported, use (1,2)")]
    Protocol,
}

use Command as C;
use CommandError as E;

/// Parses one line. A single space separates the verb from its argument, which includes any further
/// leading and trailing spaces.
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (verb, argument) = (&line[..end], line.get(end + 1..).unwrap_or_default());
    if verb.is_empty() || verb.len() > 8 || !verb.iter().all(u8::is_ascii_alphabetic) {
        return Err(E::NotACommand);
    }
    let verb: String = verb.iter().map(|b| char::from(b.to_ascii_uppercase())).collect();
    Ok(match verb.as_str() {
        "USER" => C::User(name(argument)?),
        "PASS" => C::Pass(Zeroizing::new(secret(argument)?)),
        "ACCT" => C::Acct(Zeroizing::new(secret(argument)?)),
        "QUIT" => C::Quit,
        "REIN" => C::Rein,
        "AUTH" => C::Auth(argument.trim_ascii().to_ascii_uppercase()),
        "PBSZ" if numeric(argument) => C::Pbsz,
        "PBSZ" => return Err(E::Argument("PBSZ needs a number, which is 0 for TLS")),
        "PROT" => C::Prot(argument.trim_ascii().to_ascii_uppercase()),
        "CCC" => C::Ccc,
        "CWD" | "XCWD" => C::Cwd(name(argument)?),
        "CDUP" | "XCUP" => C::Cdup,
        "PWD" | "XPWD" => C::Pwd,
        "TYPE" => C::Type(representation(argument)?),
        "MODE" => C::Mode(letter(argument)?),
        "STRU" => C::Stru(letter(argument)?),
        "PASV" => C::Pasv,
        "EPSV" => C::Epsv(host_port::parse_epsv(argument).map_err(bad_address)?),
        "PORT" => C::Port(host_port::parse_port(argument).map_err(bad_address)?.into()),
        "EPRT" => C::Port(host_port::parse_eprt(argument).map_err(bad_address)?),
        "REST" => C::Rest(number(argument).ok_or(E::Argument("REST needs a number of bytes"))?),
        "ALLO" => C::Allo,
        "RETR" => C::Retr(name(argument)?),
        "STOR" => C::Store(name(argument)?, Store::Replace),
        "APPE" => C::Store(name(argument)?, Store::Append),
        "STOU" => C::Stou,
        "ABOR" => C::Abor,
        "LIST" => C::List(without_options(argument)?),
        "NLST" => C::Nlst(without_options(argument)?),
        "MLSD" => C::Mlsd(optional(argument)?),
        "MLST" => C::Mlst(optional(argument)?),
        "STAT" => C::Stat(without_options(argument)?),
        "SIZE" => C::Size(name(argument)?),
        "MDTM" => mdtm(argument)?,
        "MFMT" => mfmt(argument)?,
        "RNFR" => C::Rnfr(name(argument)?),
        "RNTO" => C::Rnto(name(argument)?),
        "DELE" => C::Dele(name(argument)?),
        "MKD" | "XMKD" => C::Mkd(name(argument)?),
        "RMD" | "XRMD" => C::Rmd(name(argument)?),
        "SITE" => site(argument)?,
        "FEAT" => C::Feat,
        "OPTS" => C::Opts(argument.to_vec()),
        "HELP" => C::Help,
        "NOOP" => C::Noop,
        "SYST" => C::Syst,
        _ => return Err(E::Unknown(verb)),
    })
}

impl Store {
    /// The write mode of STOR or APPE after `REST offset`.
    pub fn mode(self, offset: u64) -> WriteMode {
        match self {
            Store::Replace => WriteMode::From { offset },
            Store::Append => WriteMode::Append,
        }
    }
}

/// Whether FTP can send a name: no byte ends the line or starts a Telnet command.
pub fn is_sendable(name: &[u8]) -> bool {
    !name.iter().any(|b| matches!(b, b'\r' | b'\n' | 0 | 255))
}

fn name(argument: &[u8]) -> Result<Vec<u8>, CommandError> {
    optional(argument)?.ok_or(E::Argument("a name is missing"))
}

fn optional(argument: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    match argument {
        b"" => Ok(None),
        name if is_sendable(name) => Ok(Some(name.to_vec())),
        _ => Err(E::Name),
    }
}

fn secret(argument: &[u8]) -> Result<Vec<u8>, CommandError> {
    if argument.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(E::Argument("a password with CR, LF or NUL cannot be sent over FTP"));
    }
    Ok(argument.to_vec())
}

/// Removes `ls` options such as `-la` from the argument of LIST, NLST and STAT.
fn without_options(mut argument: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    while let Some(option) = argument.strip_prefix(b"-") {
        let end = option.iter().position(|b| *b == b' ').unwrap_or(option.len());
        if !option[..end].iter().all(u8::is_ascii_alphanumeric) {
            break;
        }
        argument = option.get(end + 1..).unwrap_or_default();
    }
    optional(argument)
}

fn representation(argument: &[u8]) -> Result<Option<Representation>, CommandError> {
    match argument.trim_ascii().to_ascii_uppercase().as_slice() {
        b"A" | b"A N" => Ok(Some(Representation::Ascii)),
        b"I" | b"L 8" => Ok(Some(Representation::Image)),
        b"" => Err(E::Argument("TYPE needs A, I or L 8")),
        _ => Ok(None),
    }
}

fn letter(argument: &[u8]) -> Result<u8, CommandError> {
    match argument.trim_ascii() {
        [letter] => Ok(letter.to_ascii_uppercase()),
        _ => Err(E::Argument("the argument must be one letter")),
    }
}

/// The argument is a name unless its first word is a time.
fn mdtm(argument: &[u8]) -> Result<Command, CommandError> {
    let whole = name(argument)?;
    Ok(match time_and_name(&whole) {
        Some((seconds, path)) => C::MdtmWithTime { seconds, path: path.to_vec(), whole },
        None => C::Mdtm(whole),
    })
}

fn time_and_name(argument: &[u8]) -> Option<(i64, &[u8])> {
    let space = argument.iter().position(|b| *b == b' ')?;
    let (time, name) = (super::time::parse_time(&argument[..space])?, &argument[space + 1..]);
    (!name.is_empty()).then_some((time, name))
}

/// `YYYYMMDDhhmm[ss] name`, or `name`, the times of access, change and creation, and `UTC`.
fn utime(argument: &[u8]) -> Result<Command, CommandError> {
    const USAGE: CommandError = E::Argument(
        "SITE UTIME needs YYYYMMDDhhmmss and a name, or a name, three such times and UTC",
    );
    let three = three_times(argument);
    let to_the_minute = || {
        let space = argument.iter().position(|b| *b == b' ').filter(|at| *at == 12)?;
        let time = super::time::parse_time(&[&argument[..space], b"00"].concat())?;
        Some((time, &argument[space + 1..]))
    };
    let one = || time_and_name(argument).or_else(to_the_minute);
    let (seconds, path) = three.or_else(one).ok_or(USAGE)?;
    Ok(C::Utime { seconds, path: name(path)? })
}

fn three_times(argument: &[u8]) -> Option<(i64, &[u8])> {
    let mut words = argument.rsplitn(5, |b| *b == b' ');
    let zone = words.next()?;
    let _created = super::time::parse_time(words.next()?)?;
    let changed = super::time::parse_time(words.next()?)?;
    let _read = super::time::parse_time(words.next()?)?;
    let name = words.next().filter(|name| !name.is_empty())?;
    zone.eq_ignore_ascii_case(b"UTC").then_some((changed, name))
}

fn mfmt(argument: &[u8]) -> Result<Command, CommandError> {
    const USAGE: CommandError = E::Argument("MFMT needs YYYYMMDDHHMMSS and a name");
    let space = argument.iter().position(|b| *b == b' ').ok_or(USAGE)?;
    let seconds = super::time::parse_time(&argument[..space]).ok_or(USAGE)?;
    Ok(C::Mfmt { seconds, path: name(&argument[space + 1..])? })
}

fn site(argument: &[u8]) -> Result<Command, CommandError> {
    let end = argument.iter().position(|b| *b == b' ').unwrap_or(argument.len());
    let verb = argument[..end].to_ascii_uppercase();
    let rest = argument.get(end + 1..).unwrap_or_default();
    match verb.as_slice() {
        b"CHMOD" => {
            const USAGE: CommandError = E::Argument("SITE CHMOD needs an octal mode and a name");
            let space = rest.iter().position(|b| *b == b' ').ok_or(USAGE)?;
            let mode = std::str::from_utf8(&rest[..space]).map_err(|_| USAGE)?;
            let mode = u32::from_str_radix(mode, 8).map_err(|_| USAGE)?;
            if mode > 0o7777 {
                return Err(USAGE);
            }
            Ok(C::Chmod { mode, path: name(&rest[space + 1..])? })
        }
        b"UTIME" => utime(rest),
        b"HELP" => Ok(C::SiteHelp),
        verb => Err(E::UnknownSite(printable(verb).to_string())),
    }
}

fn number(argument: &[u8]) -> Option<u64> {
    if !numeric(argument) {
        return None;
    }
    std::str::from_utf8(argument.trim_ascii()).ok()?.parse().ok()
}

fn numeric(argument: &[u8]) -> bool {
    let argument = argument.trim_ascii();
    !argument.is_empty() && argument.iter().all(u8::is_ascii_digit)
}

fn bad_address(error: HostPortError) -> CommandError {
    match error {
        HostPortError::Syntax => E::Argument("not an address and port"),
        HostPortError::Protocol => E::Protocol,
    }
}

#[cfg(test)]
mod tests;
