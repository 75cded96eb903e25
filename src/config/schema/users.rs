//! `users`, and the files of `users_file`.

use crate::auth::{PasswordHash, UserCertificate};
use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::{Named, section};
use crate::config::values::{FileName, Method, Text};

section! {
    /// A user whom the gateway authenticates.
    User {
        /// The output of `lockgate hash-password` ("$argon2id$…"), or a hash of another server: PBKDF2,
        /// bcrypt, SHA-256-crypt, SHA-512-crypt, scrypt, yescrypt; MD5-crypt with a warning. Absent: no
        /// login with a password.
        password_hash: Leaf<PasswordHash>,
        /// A file with public keys in OpenSSH's authorized_keys format, or a list of files: SFTP clients
        /// with one of these keys need no password.
        authorized_keys: OneOrMore<FileName>,
        /// Principals of certificates (`trusted_user_ca_keys` of a listener) that are accepted for this user,
        /// instead of the name: one, or a list.
        principals: OneOrMore<Text>,
        /// Methods that are all required, in any order: publickey, password, or both in a list. Absent: any
        /// one.
        require: OneOrMore<Method>,
        /// What a TLS client certificate that names this user is for: sufficient (no password is needed),
        /// or required (a password counts only together with it). Absent: the password alone counts, and a
        /// listener's client_certificate comes on top.
        certificate: Leaf<UserCertificate>,
        /// Groups that routes, rules and limits can match. Absent: none.
        groups: OneOrMore<Text>,
    }
    hints ["password" => "write the hash that `lockgate hash-password` prints, as password_hash"]
}

section! {
    /// A file of users (`users_file`).
    UsersFile {
        /// Users whom the gateway authenticates, by name.
        [required] users: Named<User>,
    }
}
