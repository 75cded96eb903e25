//! Status codes (draft-ietf-secsh-filexfer-02 section 7).

/// The outcome of a request. Servers of later versions send codes above 8, which are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusCode(pub u32);

impl StatusCode {
    /// Success.
    pub const OK: Self = Self(0);
    /// The end of the file in READ, of the directory in READDIR.
    pub const EOF: Self = Self(1);
    /// The file or directory does not exist.
    pub const NO_SUCH_FILE: Self = Self(2);
    /// The user may not do this.
    pub const PERMISSION_DENIED: Self = Self(3);
    /// Any failure without a code of its own.
    pub const FAILURE: Self = Self(4);
    /// The packet is malformed.
    pub const BAD_MESSAGE: Self = Self(5);
    /// Used inside clients, never sent by a server.
    pub const NO_CONNECTION: Self = Self(6);
    /// Used inside clients, never sent by a server.
    pub const CONNECTION_LOST: Self = Self(7);
    /// The server does not support this request.
    pub const OP_UNSUPPORTED: Self = Self(8);

    /// For logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OK => "OK",
            Self::EOF => "EOF",
            Self::NO_SUCH_FILE => "NO_SUCH_FILE",
            Self::PERMISSION_DENIED => "PERMISSION_DENIED",
            Self::FAILURE => "FAILURE",
            Self::BAD_MESSAGE => "BAD_MESSAGE",
            Self::NO_CONNECTION => "NO_CONNECTION",
            Self::CONNECTION_LOST => "CONNECTION_LOST",
            Self::OP_UNSUPPORTED => "OP_UNSUPPORTED",
            _ => "unknown status",
        }
    }
}

impl std::fmt::Display for StatusCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}
