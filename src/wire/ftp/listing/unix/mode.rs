//! The first column of `ls -l`; RFC 959 section 4.1.3 leaves the format to the server.

use super::Column;
use crate::op::EntryKind;

/// The first column: kind and permissions.
pub(super) struct Mode {
    pub kind: EntryKind,
    pub device: bool,
    pub netware: bool,
    pub permissions: Option<u32>,
    /// The number of columns that it takes.
    pub columns: usize,
}

impl Mode {
    /// `None` for another format.
    pub(super) fn parse(columns: &[Column<'_>]) -> Option<Self> {
        let (first, rest) = columns.split_first().filter(|(first, _)| first.start == 0)?;
        let (letter, bits) = first.text.split_first()?;
        let kind = match letter {
            b'-' | b'C' => EntryKind::File,
            b'd' => EntryKind::Directory,
            b'l' => EntryKind::Symlink(None),
            b'b' | b'c' | b'p' | b's' | b'D' => EntryKind::Other,
            _ => return None,
        };
        // Netware: `d [RWCEAFMS] owner …`, rights that a Unix mode cannot express.
        let rights = rest.first().map_or(&b""[..], |rights| rights.text);
        if bits.is_empty() && rights.starts_with(b"[") && rights.ends_with(b"]") {
            return Some(Self {
                kind,
                device: false,
                netware: true,
                permissions: None,
                columns: 2,
            });
        }
        let (bits, marks) = bits.split_at_checked(9)?;
        marks.iter().all(|mark| b"+.@".contains(mark)).then_some(())?;
        Some(Self {
            kind,
            device: matches!(letter, b'b' | b'c'),
            netware: false,
            permissions: match bits {
                // SFTP servers write this for an unknown mode.
                b"?????????" => None,
                bits => Some(permissions(bits)?),
            },
            columns: 1,
        })
    }
}

fn permissions(bits: &[u8]) -> Option<u32> {
    let mut mode = 0;
    for (class, bits) in bits.chunks_exact(3).enumerate() {
        let [read, write, execute] = bits else { return None };
        let read = on(*read, b'r')?;
        let write = on(*write, b'w')?;
        let (execute, special) = match execute {
            b'-' => (0, 0),
            b'x' => (1, 0),
            b's' | b't' => (1, 1),
            // l and L: Solaris' mandatory locking, which is setgid without x.
            b'S' | b'T' | b'l' | b'L' => (0, 1),
            _ => return None,
        };
        mode |= (read << 2 | write << 1 | execute) << (6 - 3 * class) | special << (11 - class);
    }
    Some(mode)
}

fn on(bit: u8, letter: u8) -> Option<u32> {
    match bit {
        b'-' => Some(0),
        bit if bit == letter => Some(1),
        _ => None,
    }
}
