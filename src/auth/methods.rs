//! Sets of authentication methods.

use std::fmt;
use std::ops::BitOr;

/// Authentication methods of a login (RFC 4252 section 5). `keyboard-interactive` counts as a password.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Methods {
    /// A public key, or the key of a certificate.
    pub publickey: bool,
    /// A password.
    pub password: bool,
}

impl Methods {
    /// No method.
    pub const NONE: Self = Self { publickey: false, password: false };
    /// A public key only.
    pub const PUBLIC_KEY: Self = Self { publickey: true, password: false };
    /// A password only.
    pub const PASSWORD: Self = Self { publickey: false, password: true };
    /// Both.
    pub const ALL: Self = Self { publickey: true, password: true };

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Those that are not in `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self {
            publickey: self.publickey && !others.publickey,
            password: self.password && !others.password,
        }
    }

    /// Those that are in `others`, too.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self {
            publickey: self.publickey && others.publickey,
            password: self.password && others.password,
        }
    }
}

impl BitOr for Methods {
    type Output = Self;

    fn bitor(self, others: Self) -> Self {
        Self {
            publickey: self.publickey || others.publickey,
            password: self.password || others.password,
        }
    }
}

/// As in RFC 4252: `publickey,password`.
impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.publickey, self.password) {
            (true, true) => "publickey,password",
            (true, false) => "publickey",
            (false, true) => "password",
            (false, false) => "",
        })
    }
}
