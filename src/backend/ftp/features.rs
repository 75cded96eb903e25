//! The features that a server announces (FEAT, RFC 2389).

use crate::op::PeerReply;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// MLST and MLSD (RFC 3659 section 7): one feature for both.
    pub mlst: bool,
    pub size: bool,
    pub mdtm: bool,
    /// MFMT, which sets a file's time.
    pub mfmt: bool,
}

impl Features {
    /// Without FEAT, a server may still support SIZE and MDTM.
    pub(super) fn unknown() -> Self {
        Self { size: true, mdtm: true, ..Self::default() }
    }

    pub(super) fn parse(reply: &PeerReply) -> Self {
        let mut features = Self::default();
        for line in &reply.lines {
            let line = line.trim_ascii();
            let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
            match line[..end].to_ascii_uppercase().as_slice() {
                b"MLST" | b"MLSD" => features.mlst = true,
                b"SIZE" => features.size = true,
                b"MDTM" => features.mdtm = true,
                b"MFMT" => features.mfmt = true,
                _ => {}
            }
        }
        features
    }
}
