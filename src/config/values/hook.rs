//! The address of a login hook.

use hyper::Uri;
use serde_json::{Value as Json, json};

use super::net::is_host;
use crate::config::leaf::{Invalid, Value};
use crate::config::secret_url::{is_secret_url, shown_url};

/// "https://login.example.com/lockgate", or with http.
#[derive(Clone)]
pub(in crate::config) struct HookUrl {
    pub is_https: bool,
    /// Without brackets.
    pub host: String,
    /// Host and port as written.
    pub authority: String,
    /// With brackets around an IPv6 address, and the usual port if there was none.
    pub address: String,
    /// With the query.
    pub path: String,
}

/// "/login": the path of a request, perhaps with a query.
#[derive(Clone)]
pub(in crate::config) struct HookPath(pub String);

impl Value for HookUrl {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let shown = shown_url(text);
        let is_https = text.starts_with("https://");
        if !is_https && !text.starts_with("http://") {
            let message =
                format!("\"{shown}\" is not a URL such as https://login.example.com/lockgate");
            let is_host = !text.contains("://") && !is_secret_url(text);
            let suggestion = is_host.then(|| format!("https://{text}"));
            return Err(Invalid { message, suggestion });
        }
        if text.contains('@') {
            return Invalid::new(
                "must not have a name or password (@): write a token with `token_file`; in a path or query, \
                 write %40",
            );
        }
        if text.contains('#') {
            return Invalid::new("must not have a fragment (#), which is never sent");
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return Invalid::new(format!("\"{shown}\" is not a valid URL"));
        };
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else {
            return Invalid::new(format!("\"{shown}\" has no host"));
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.len() == host.len() && !is_host(host) {
            return Invalid::new(format!("\"{host}\" is not a host name or address"));
        }
        let port = match uri.port() {
            None if authority.as_str().len() > host.len() => {
                return Invalid::new("has no port from 1 to 65535 after the host");
            }
            port => port.map_or(if is_https { 443 } else { 80 }, |port| port.as_u16()),
        };
        if port == 0 {
            return Invalid::new("has port 0, which nothing listens on");
        }
        Ok(Self {
            is_https,
            host: bare.into(),
            authority: authority.as_str().into(),
            address: format!("{host}:{port}"),
            path: uri.path_and_query().map_or_else(|| "/".into(), ToString::to_string),
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a URL", "format": "uri", "pattern": "^https?://[^#@]+$" })
    }
}

impl Value for HookPath {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if !text.starts_with('/') {
            let message = "must be absolute, starting with a slash";
            let suggestion = (!is_secret_url(text)).then(|| format!("/{text}"));
            return Err(Invalid { message: message.into(), suggestion });
        }
        match text.parse::<Uri>() {
            Ok(uri) if uri.path_and_query().is_some_and(|path| path.as_str() == text) => {
                Ok(Self(text.into()))
            }
            _ => Invalid::new(format!("\"{}\" is not a path of a URL", shown_url(text))),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a path", "format": "uri-reference", "pattern": "^/" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        for (text, expected) in [
            ("https://login.example.com", ("login.example.com", "login.example.com:443", "/")),
            ("https://10.1.2.3:8443/a?b=c", ("10.1.2.3", "10.1.2.3:8443", "/a?b=c")),
            ("https://[2001:db8::1]/a", ("2001:db8::1", "[2001:db8::1]:443", "/a")),
            ("http://localhost:8080/", ("localhost", "localhost:8080", "/")),
        ] {
            let url = HookUrl::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
            let HookUrl { host, address, path, .. } = &url;
            assert_eq!((host.as_str(), address.as_str(), path.as_str()), expected);
            assert_eq!(url.is_https, text.starts_with("https"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (text, suggestion) in [
            ("login.example.com/x", Some("https://login.example.com/x")),
            ("ftp://login.example.com", None),
            ("HTTPS://login.example.com", None),
            ("unix:/run/hook.sock", Some("https://unix:/run/hook.sock")),
            ("https://", None),
            ("https:///path", None),
            ("https://user:secret@login.example.com/", None),
            ("https://login.example.com/#part", None),
            ("https://login.example.com:0/", None),
            ("https://login.example.com:/", None),
            ("https://login.example.com:99999/", None),
            ("https://10.1.2.300/", None),
            ("https://a b/", None),
        ] {
            let Err(wrong) = HookUrl::parse(text) else { panic!("{text}") };
            assert_eq!(wrong.suggestion.as_deref(), suggestion, "{text}: {}", wrong.message);
        }
        for text in [
            "h/?k=hunter2",
            "https://h h/?k=hunter2",
            "https:///?k=hunter2",
            "https://u:hunter2@h/",
            "https://u:7/hunter2@h/",
            "https://u:7?hunter2@h/",
            "https://u:hunter2#@h/",
            "https://u:hunter2",
            "u:hunter2@h/",
        ] {
            let Err(wrong) = HookUrl::parse(text) else { panic!("{text}") };
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
        for text in ["a?k=hunter2", "/a b?k=hunter2", "/a#hunter2", "u:hunter2@h"] {
            let wrong = HookPath::parse(text).err().unwrap();
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
        for text in ["", "login", "/a b", "/a#b"] {
            assert!(HookPath::parse(text).is_err(), "{text}");
        }
        assert!(HookPath::parse("/login?from=lockgate").is_ok());
    }
}
