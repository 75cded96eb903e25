//! `login_hooks`: programs that decide about logins.

use std::time::Duration;

use crate::config::leaf::Leaf;
use crate::config::read::section;
use crate::config::values::{FileName, HookPath, HookUrl, PathName, Positive, UpTo};

section! {
    /// A program that decides about logins, asked over HTTP.
    LoginHook {
        /// Where it is asked: https://HOST/PATH, with a port unless it is 443.
        url: Leaf<HookUrl>,
        /// Instead of url: the Unix socket where it is asked, over HTTP.
        socket: Leaf<PathName>,
        /// With socket: the path of the request. Default: /.
        path: Leaf<HookPath>,
        /// PEM file with the certificate authorities to trust. Absent: the system's.
        ca: Leaf<FileName>,
        /// A file that contains only the token that the gateway shows: "Authorization: Bearer TOKEN". Absent:
        /// none.
        token_file: Leaf<FileName>,
        /// For one answer, from the connection to its last byte. Default: 10s.
        timeout: Leaf<Positive>,
        /// Requests at once, from 1 to 1000; further logins wait. Default: 32.
        requests_at_once: Leaf<UpTo<1000>>,
        /// The longest time that an answer with `cache_for` is reused for the same login. 0s: none is.
        /// Default: 5m.
        cache_max: Leaf<Duration>,
        /// Allows a url with http: anyone between the gateway and the program can read passwords, and let
        /// anybody in. Default: false.
        danger_clear_text: Leaf<bool>,
    }
    hints [
        "address" => "write url, with https:// before it",
        "token" => "secrets do not belong in this file; use token_file",
        "tls" => "TLS comes from the url (https://); the authority's certificate is `ca`",
    ]
}
