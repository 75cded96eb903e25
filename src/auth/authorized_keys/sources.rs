//! `from="…"`: the addresses that a key may be used from.

use std::net::IpAddr;

use globset::{GlobBuilder, GlobMatcher};
use ipnet::IpNet;

/// The patterns of `from="…"` (ssh_config(5), PATTERNS), over addresses: names are not looked up.
#[derive(Clone)]
pub(super) struct Sources {
    text: String,
    patterns: Vec<Pattern>,
}

#[derive(Clone)]
struct Pattern {
    negated: bool,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    Network(IpNet),
    /// `192.0.2.*`, matched against the address as text.
    Text(GlobMatcher),
}

impl Sources {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let patterns = text.split(',').map(|pattern| {
            let (negated, bare) = match pattern.strip_prefix('!') {
                Some(bare) => (true, bare),
                None => (false, pattern),
            };
            Ok(Pattern { negated, matcher: matcher(bare)? })
        });
        Ok(Self { text: text.to_owned(), patterns: patterns.collect::<Result<_, String>>()? })
    }

    /// One pattern must match, and none of the negated ones.
    pub(super) fn admit(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        let matching = || self.patterns.iter().filter(|pattern| pattern.matcher.covers(source));
        matching().any(|pattern| !pattern.negated) && !matching().any(|pattern| pattern.negated)
    }
}

/// Whether both have the same patterns, as written.
impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Sources {}

impl Matcher {
    fn covers(&self, source: IpAddr) -> bool {
        match self {
            Matcher::Network(network) => network.contains(&source),
            Matcher::Text(pattern) => pattern.is_match(source.to_string()),
        }
    }
}

fn matcher(text: &str) -> Result<Matcher, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Matcher::Network(address.to_canonical().into()));
    }
    if text.contains('/') {
        let network = text.parse::<IpNet>().ok().filter(|network| network.trunc() == *network);
        // Clients' addresses are canonical, so an IPv4-mapped network would never match.
        let mapped = |network: &IpNet| network.addr() != network.addr().to_canonical();
        return network.filter(|network| !mapped(network)).map(Matcher::Network).ok_or_else(|| {
            format!("has \"{text}\" in `from`, which is not a network such as 192.0.2.0/24")
        });
    }
    let address = |b: u8| b.is_ascii_hexdigit() || matches!(b, b'.' | b':' | b'*' | b'?');
    // Letters are hexadecimal digits in IPv6 only: "*.cafe" is a name.
    let numeric = text.contains(':') || !text.bytes().any(|b| b.is_ascii_alphabetic());
    if text.is_empty() || !text.bytes().all(address) || !numeric {
        return Err(format!(
            "has \"{text}\" in `from`; names are not looked up, so write addresses, networks or \
             patterns such as 192.0.2.*"
        ));
    }
    let pattern = GlobBuilder::new(&text.to_ascii_lowercase()).build();
    pattern
        .map(|pattern| Matcher::Text(pattern.compile_matcher()))
        .map_err(|e| format!("has \"{text}\" in `from`: {}", e.kind()))
}
