//! What the answer to PWD says (RFC 959 section 4.1.1, appendix II), as servers give it.

use crate::backend::home::absolute;
use crate::op::{PeerReply, RemotePath};
use crate::wire::ftp::command::is_carriable;

/// What may follow an unquoted path: words of old servers, in small letters.
const COMMENTS: [&[u8]; 4] = [b" is current", b" is the current", b" is working", b" is cwd"];

/// Where the server is, where it says so beyond doubt: an absolute path, quoted as it has to be or
/// alone. Its last line counts first.
pub(super) fn directory(answer: &PeerReply) -> Option<RemotePath> {
    if answer.code / 100 != 2 {
        return None;
    }
    answer.lines.iter().rev().find_map(|line| {
        let told = if line.contains(&b'"') { quoted(line)? } else { unquoted(line).to_vec() };
        absolute(&told).filter(|path| is_carriable(path.as_bytes()))
    })
}

/// Between quotes, quotes in it doubled. A server that does not double them leaves open where the path
/// ends: `None` then.
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

/// The path without what is said about it. With other blanks in it nobody knows where it ends: what is
/// returned is no absolute path then.
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
    fn an_absolute_path_is_taken_and_all_else_is_not() {
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
            // Where the path ends is open.
            (257, &["/home/my files"], None),
            (257, &["\"/a\"b\" is the current directory"], None),
            (257, &["\"/a\" b\" is the current directory"], None),
            (257, &["\"/a\"\" is the current directory"], None),
            (257, &["\"/open"], None),
            // No path of this kind.
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
            let told = directory(&PeerReply { code, lines: lines.clone() });
            let told = told.as_ref().map(RemotePath::as_bytes);
            assert_eq!(told, expected.map(str::as_bytes), "{code} {lines:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_a_path_where_ftp_carries_them() {
        let told = |line: &[u8]| directory(&PeerReply { code: 257, lines: vec![line.to_vec()] });
        assert_eq!(told(b"\"/m\xfcller\"").unwrap().as_bytes(), b"/m\xfcller");
        // A Telnet command for most servers.
        assert_eq!(told(b"\"/m\xffller\""), None);
    }
}
