//! Who may use the admin address: those who show its token, or a cookie that they got for it, from pages of
//! this address only.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};

use super::cookie::Cookies;
use super::error::ApiError;
use super::token::Token;
use crate::net::tls::{ServerNames, ServerTls};
use crate::op::escape::{printable, shortened};

/// Browsers send it only from scripts of the same origin: others must ask first, and nobody answers.
pub(super) const CHANGE_HEADER: HeaderName = HeaderName::from_static("x-lockgate");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Of a host name in a message.
const HOST_SHOWN_MAX: usize = 100;

/// How `admin.address` is protected.
pub struct Access {
    /// `None`: in clear, which only programs of this machine can reach.
    pub tls: Option<ServerTls>,
    /// Names and addresses by which it is called: `admin.hosts`, and those of the certificate.
    pub hosts: ServerNames<()>,
    /// The secret of operators.
    pub token: Token,
}

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The token.
    Token,
    /// A cookie that is valid for it.
    Cookie,
    /// Another token.
    WrongToken,
    /// Neither.
    Nothing,
}

impl Access {
    /// Whether the request was meant for this address, and comes from none of another origin.
    /// `address`: the one that is bound.
    pub(super) fn check(&self, request: &Parts, address: SocketAddr) -> Result<(), ApiError> {
        let host = self.check_host(request, address)?;
        if request.uri.query().is_some_and(has_token) {
            let message = "a token does not belong in a URL, which is kept in histories and logs: send it in \
                           the Authorization field (Bearer)";
            return Err(ApiError::bad_request(message));
        }
        let changes = request.method == Method::POST;
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        // The page itself holds nothing, and may be opened by a link.
        if !reads || request.uri.path() != "/" {
            self.check_origin(&request.headers, host)?;
        }
        let marks = request.headers.get_all(CHANGE_HEADER);
        if changes && !marks.iter().eq(["1"]) {
            let message =
                "a change needs the field \"X-Lockgate: 1\", which pages of others cannot send";
            return Err(ApiError::new(StatusCode::FORBIDDEN, message));
        }
        Ok(())
    }

    /// The host that the request names. A name of another's that leads to this address (DNS rebinding) is
    /// refused: a browser would let its pages read everything.
    fn check_host<'r>(&self, request: &'r Parts, address: SocketAddr) -> Result<&'r str, ApiError> {
        let refused = |message: String| ApiError::new(StatusCode::MISDIRECTED_REQUEST, message);
        let mut hosts = request.headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            _ => return Err(refused("the request needs one Host field".to_owned())),
        };
        let in_uri = request.uri.authority().map(Authority::as_str);
        for named in [Some(host), in_uri].into_iter().flatten() {
            if !self.is_own(named, address) {
                let named = shortened(&printable(named.as_bytes()).to_string(), HOST_SHOWN_MAX);
                return Err(refused(format!(
                    "this is not \"{named}\": name it in admin.hosts if it is to lead here"
                )));
            }
        }
        Ok(host)
    }

    fn is_own(&self, host: &str, address: SocketAddr) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        if self.hosts.get(bare).is_some() {
            return true;
        }
        let bound = address.ip().to_canonical();
        let here = bound.is_loopback() || bound.is_unspecified();
        match bare.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            // Nobody rebinds an address.
            Ok(ip) => {
                bound.is_unspecified() || ip == bound || bound.is_loopback() && ip.is_loopback()
            }
            Err(_) => here && bare.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Browsers say where a request comes from; other programs do not.
    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), ApiError> {
        let foreign = || {
            let message = "the request comes from a page of another origin";
            Err(ApiError::new(StatusCode::FORBIDDEN, message))
        };
        for site in headers.get_all(FETCH_SITE) {
            if site != "same-origin" && site != "none" {
                return foreign();
            }
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let secure = origin.strip_prefix("https://");
            // A proxy before a loopback address may speak TLS.
            let clear = self.tls.is_none().then(|| origin.strip_prefix("http://")).flatten();
            if !secure.or(clear).is_some_and(|origin| origin.eq_ignore_ascii_case(host)) {
                return foreign();
            }
        }
        Ok(())
    }

    /// What the request shows, at this time (seconds since 1970).
    pub(super) fn shown(&self, headers: &HeaderMap, cookies: &Cookies, now: u64) -> Shown {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        match (fields.next(), fields.next()) {
            (Some(field), None) => match bearer(field.as_bytes()) {
                Some(token) if self.token.is(token) => Shown::Token,
                _ => Shown::WrongToken,
            },
            (Some(_), Some(_)) => Shown::WrongToken,
            (None, _) => {
                let mut values = self.cookie_values(headers);
                let is_valid = values.any(|value| cookies.is_valid(value, &self.token, now));
                if is_valid { Shown::Cookie } else { Shown::Nothing }
            }
        }
    }

    /// The values of the gateway's own cookie, valid or not.
    pub(super) fn cookie_values<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> impl Iterator<Item = &'h [u8]> + use<'h> {
        let fields = headers.get_all(COOKIE).iter();
        let cookies = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
        let name = self.cookie_name(headers);
        cookies.filter_map(move |cookie| {
            cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
        })
    }

    /// With the port by which the browser calls it: cookies do not tell ports apart, and several gateways may
    /// be one host's.
    pub(super) fn cookie_name(&self, headers: &HeaderMap) -> String {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let port = host.and_then(|host| host.parse::<Authority>().ok()?.port_u16());
        let port = port.map_or(String::new(), |port| format!("-{port}"));
        // The prefix: only pages of exactly this host, under TLS, can set it (RFC 6265bis section 4.1.3.2).
        let prefix = if self.tls.is_some() { "__Host-" } else { "" };
        format!("{prefix}lockgate{port}")
    }
}

fn has_token(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key.to_lowercase().contains("token"))
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1).
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = field.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;
    use crate::admin::cookie::LIFETIME;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn access() -> Access {
        let mut hosts = ServerNames::default();
        for name in ["*.example.com", "10.1.2.3"] {
            hosts.insert(name, ());
        }
        Access { tls: None, hosts, token: Token::new(TOKEN).unwrap() }
    }

    /// `METHOD URI` and fields, `Name: value`.
    fn request(line: &str, fields: &[&str]) -> Parts {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_own_names_and_addresses_lead_here() {
        let cases: [(&str, &[&str], &[&str]); 3] = [
            (
                "127.0.0.1:9641",
                &[
                    "127.0.0.1",
                    "127.0.0.1:9",
                    "[::1]:9641",
                    "LOCALHOST:1",
                    "a.example.com",
                    "10.1.2.3:9641",
                ],
                &[
                    "example.com",
                    "evil",
                    "localhost.evil",
                    "192.0.2.1",
                    "a@127.0.0.1",
                    "",
                    "127.0.0.1.evil",
                ],
            ),
            (
                "192.0.2.1:9641",
                &["192.0.2.1:9641", "a.EXAMPLE.com."],
                &["127.0.0.1", "localhost", "192.0.2.2"],
            ),
            (
                "[::]:9641",
                &["192.0.2.1:9641", "[2001:db8::1]:9641", "localhost"],
                &["evil", "[evil]", "a.b.example.com"],
            ),
        ];
        for (address, own, foreign) in cases {
            let check = |host: &str| {
                let host = format!("Host: {host}");
                access().check(&request("GET /status", &[&host]), address.parse().unwrap())
            };
            for host in own {
                assert_eq!(check(host), Ok(()), "{host} at {address}");
            }
            for host in foreign {
                let refused = check(host).expect_err(host);
                assert_eq!(refused.status, StatusCode::MISDIRECTED_REQUEST, "{host} at {address}");
            }
        }
    }

    #[test]
    fn requests_of_other_origins_and_unmarked_changes_are_refused() {
        let host = "Host: localhost:9641";
        let changing = "X-Lockgate: 1";
        let check = |line: &str, fields: &[&str]| {
            let fields: Vec<_> = fields.iter().filter(|field| !field.is_empty()).copied().collect();
            access().check(&request(line, &fields), "127.0.0.1:9641".parse().unwrap())
        };
        for (line, fields) in [
            ("GET /status", &[host][..]),
            ("GET /", &[host, "Sec-Fetch-Site: cross-site"]),
            ("GET http://localhost:9641/status", &[host]),
            ("POST /reload", &[host, changing]),
            ("POST /reload", &[host, changing, "Origin: http://localhost:9641"]),
            (
                "POST /reload",
                &[host, changing, "Origin: https://LOCALHOST:9641", "Sec-Fetch-Site: same-origin"],
            ),
        ] {
            assert_eq!(check(line, fields), Ok(()), "{line} {fields:?}");
        }
        for (line, fields, status) in [
            ("POST /reload", &[host][..], 403),
            ("POST /reload", &[host, "X-Lockgate: yes"], 403),
            ("POST /reload", &[host, changing, changing], 403),
            ("OPTIONS /", &[host, "Origin: http://evil"], 403),
            ("TRACE /status", &["Host: evil"], 421),
            ("GET /status", &[], 421),
            ("GET /status", &[host, "Host: localhost"], 421),
            ("GET http://evil/status", &[host], 421),
            ("GET /status", &[host, "Sec-Fetch-Site: cross-site"], 403),
            ("POST /reload", &[host, changing, "Sec-Fetch-Site: same-site"], 403),
            ("POST /reload", &[host, changing, "Origin: http://localhost:9642"], 403),
            ("POST /reload", &[host, changing, "Origin: null"], 403),
            (
                "POST /reload",
                &[host, changing, "Origin: http://localhost:9641", "Origin: http://evil"],
                403,
            ),
            ("GET /status?token=x", &[host], 400),
            ("GET /?a=b&Access%5Ftoken=x", &[host], 400),
        ] {
            let refused = check(line, fields).expect_err(line);
            assert_eq!(refused.status.as_u16(), status, "{line} {fields:?}");
        }
    }

    #[test]
    fn a_token_or_a_cookie_for_it_is_shown() {
        let access = access();
        let cookies = Cookies::default();
        let cookie = cookies.issue(&access.token, 1000);
        let shown = |fields: &[&str], now: u64| {
            access.shown(&request("GET /status", fields).headers, &cookies, now)
        };
        let bearer = format!("Authorization: bearer {TOKEN}");
        assert_eq!(shown(&[&bearer], 0), Shown::Token);
        let with_port = |name: &str| format!("Cookie: a=b; {name}={cookie}");
        for (name, host, now, expected) in [
            ("lockgate-9641", "localhost:9641", 1000, Shown::Cookie),
            ("lockgate-9641", "localhost:9641", 1000 + LIFETIME.as_secs(), Shown::Nothing),
            ("lockgate-9641", "localhost:9642", 1000, Shown::Nothing),
            ("lockgate", "localhost", 1000, Shown::Cookie),
            ("xlockgate", "localhost", 1000, Shown::Nothing),
        ] {
            let fields = [&*format!("Host: {host}"), &with_port(name)];
            assert_eq!(shown(&fields, now), expected, "{name} {host} {now}");
        }
        for wrong in [
            "Authorization: Bearer ",
            "Authorization: Bearer 0123456789abcdef0123456789abcdeF",
            "Authorization: Basic 0123456789abcdef0123456789abcdef",
            "Authorization: 0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(shown(&[wrong, &with_port("lockgate")], 1000), Shown::WrongToken, "{wrong}");
        }
        assert_eq!(shown(&[&bearer, &bearer], 0), Shown::WrongToken);
        assert_eq!(shown(&[], 0), Shown::Nothing);
    }
}
