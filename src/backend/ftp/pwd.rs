//! Parses the reply to PWD (RFC 959 section 4.1.1, appendix II) in the forms that servers use.

use crate::backend::home::absolute;
use crate::op::{PeerReply, RemotePath};
use crate::wire::ftp::command::is_sendable;

/// Text that may follow an unquoted path at old servers, in lower case.
const COMMENTS: [&[u8]; 4] = [b" is current", b" is the current", b" is working", b" is cwd"];

/// The directory in the reply, if it is unambiguous: an absolute path, in quotes or alone. Later
/// lines take precedence.
pub(super) fn directory(reply: &PeerReply) -> Option<RemotePath> {
    if reply.code / 100 != 2 {
        return None;
    }
    reply.lines.iter().rev().find_map(|line| {
        let path = if line.contains(&b'"') { quoted(line)? } else { unquoted(line).to_vec() };
        absolute(&path).filter(|path| is_sendable(path.as_bytes()))
    })
}

/// A quoted path; quotes in it are doubled. `None` if the server does not double them, as the end
/// of the path is ambiguous.
fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let mut rest = line[line.iter().position(|b| *b == b'"')? + 1..].iter().peekable();
    let mut path = Vec::new();
    loop {
        match *rest.next()? {
            b'"' if rest.next_if(|b| **b == b'"').is_none() => break,
            byte => path.push(byte),
        }
    }
    let rest: Vec<u8> = rest.copied().collect();
    let ends = rest.first().is_none_or(|b| b" \t.,;:)".contains(b));
    let quotes = rest.iter().filter(|b| **b == b'"').count();
    (ends && quotes % 2 == 0).then_some(path)
}

/// A path without the comment after it. If it contains blanks, its end is ambiguous: the result is
/// not an absolute path then.
fn unquoted(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    let lower = line.to_ascii_lowercase();
    let comment = COMMENTS
        .iter()
        .filter_map(|comment| lower.windows(comment.len()).position(|reply| reply == *comment));
    let path = &line[..comment.min().unwrap_or(line.len())];
    if path.contains(&b' ') { b"" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unambiguous_absolute_paths_are_accepted() {
        for (code, lines, expected) in [
            (257, &["\"/\" is the current directory"][..], Some("/")),
            (257, &["\"/home/x\""], Some("/home/x")),
            (257, &["\"/home/x/\" is cwd"], Some("/home/x")),
            (257, &["Current directory is \"/home/x\"."], Some("/home/x")),
            (257, &["\"/a \"\"b\"\"\" x"], Some("/a \"b\"")),
            (257, &["\"/a\" is the \"current\" directory"], Some("/a")),
            (250, &["\"/home/x\" is the current directory"], Some("/home/x")),
            (257, &["/home/x"], Some("/home/x")),
            (257, &["/home/x "], Some("/home/x")),
            (257, &["/home/x is current directory."], Some("/home/x")),
            (257, &["/home/x is the current directory"], Some("/home/x")),
            (257, &["\"/home/x\" is current", "the end"], Some("/home/x")),
            (257, &["a \"friend\"", "\"/home/x\""], Some("/home/x")),
            (257, &["\"/C:/Users/x\""], Some("/C:/Users/x")),
            // The end of the path is ambiguous.
            (257, &["/home/my files"], None),
            (257, &["\"/a\"b\" is the current directory"], None),
            (257, &["\"/a\" b\" is the current directory"], None),
            (257, &["\"/a\"\" is the current directory"], None),
            (257, &["\"/open"], None),
            // Not an absolute path.
            (257, &["\"C:\\home\\x\""], None),
            (257, &["C:\\home\\x"], None),
            (257, &["'USER.DATA.'"], None),
            (257, &["\"'USER.DATA.'\" is the working directory"], None),
            (257, &["\"home/x\""], None),
            (257, &["\".\""], None),
            (257, &["\"\""], None),
            (257, &["\"//server/share\""], None),
            (257, &["no path"], None),
            (257, &[], None),
            (502, &["not here"], None),
            (550, &["\"/home/x\" is not for you"], None),
            (500, &["/home/x"], None),
        ] {
            let lines: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
            let path = directory(&PeerReply { code, lines: lines.clone() });
            let path = path.as_ref().map(RemotePath::as_bytes);
            assert_eq!(path, expected.map(str::as_bytes), "{code} {lines:?}");
        }
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_accepted_unless_it_contains_0xff() {
        let path = |line: &[u8]| directory(&PeerReply { code: 257, lines: vec![line.to_vec()] });
        assert_eq!(path(b"\"/m\xfcller\"").unwrap().as_bytes(), b"/m\xfcller");
        // A Telnet command at most servers.
        assert_eq!(path(b"\"/m\xffller\""), None);
    }
}
