//! Which parts of a URL are not shown: those that are secret, or may be in a URL that is not valid.

/// Whether a part of it is not shown.
pub(super) fn is_secret_url(url: &str) -> bool {
    shown_url(url) != url
}

/// The URL, or the path of one, without its query and fragment. With what may be a name and a password, nothing
/// but the scheme: a password that is not encoded may have `/`, `?`, `#` and `@`, and look like other parts.
pub(super) fn shown_url(url: &str) -> String {
    let (scheme, rest) = url.split_at(after_scheme(url));
    if has_credentials(scheme, rest) {
        return format!("{scheme}(secret)");
    }
    match rest.find(['?', '#']) {
        Some(at) => format!("{scheme}{}(secret)", &rest[..=at]),
        None => url.to_owned(),
    }
}

/// From where on a line with a URL is not shown.
pub(super) fn secret_of_url(line: &str) -> Option<usize> {
    let part = |from: usize| {
        let rest = &line[from..];
        let is_comment = |at: usize| rest[..at].ends_with(char::is_whitespace);
        let found =
            rest.match_indices(['?', '#']).find(|(at, mark)| *mark == "?" || !is_comment(*at));
        found.map(|(at, _)| from + at + 1)
    };
    let value = url_value(line);
    if let Some(at) = line.find("://") {
        let is_before = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '[' | '{' | ',');
        let mut before = line[..at].char_indices().rev();
        let word = before.find(|(_, c)| is_before(*c)).map_or(0, |(end, c)| end + c.len_utf8());
        let start = value.filter(|value| *value <= word).unwrap_or(word);
        if !is_scheme(&line[word..at]) || line[start..at].contains('@') {
            return Some(start);
        }
        let rest = at + 3;
        return if has_credentials("://", &line[rest..]) { Some(rest) } else { part(rest) };
    }
    match value {
        Some(value) if line[value..].contains('@') => Some(value),
        Some(value) => part(value),
        None => part(0).filter(|from| line[*from..].contains('=')),
    }
}

/// After the colon of a key for a URL.
pub(super) fn url_value(line: &str) -> Option<usize> {
    line.match_indices(':').find_map(|(colon, _)| {
        let key = line[..colon].trim_end().trim_end_matches(['"', '\'']);
        let word = key.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next();
        word.is_some_and(|word| word.eq_ignore_ascii_case("url")).then_some(colon + 1)
    })
}

/// After the first `://`, if that follows a scheme (RFC 3986 section 3.1).
fn after_scheme(url: &str) -> usize {
    let Some(at) = url.find("://") else { return 0 };
    let word = url[..at].rsplit(char::is_whitespace).next().unwrap_or_default();
    if is_scheme(word) && !url[..at].contains('@') { at + 3 } else { 0 }
}

fn is_scheme(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether a name and a password may be among it.
fn has_credentials(scheme: &str, rest: &str) -> bool {
    let is_path = scheme.is_empty() && rest.starts_with('/') && !rest.starts_with("//");
    // Without a scheme it is not known where the host begins.
    let host = match scheme {
        "" => rest,
        _ => rest.split(['/', '?', '#', '"', '\'', ',', ' ']).next().unwrap_or_default(),
    };
    !is_path && (rest.contains('@') || has_other_colon(host))
}

/// Whether a colon is there that no port follows.
fn has_other_colon(host: &str) -> bool {
    let host = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((_, after)) => after,
        None => host,
    };
    host.split(':').skip(1).any(|port| {
        let port = port.split(['/', '?', '#']).next().unwrap_or_default();
        !port.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_may_be_is_not_shown() {
        for (url, shown) in [
            ("https://h/login", "https://h/login"),
            ("https://[2001:db8::1]:8443/a:b", "https://[2001:db8::1]:8443/a:b"),
            ("https://h:99999/", "https://h:99999/"),
            ("/login@x", "/login@x"),
            ("unix:/run/hook.sock", "unix:/run/hook.sock"),
            ("https://h/login?key=x", "https://h/login?(secret)"),
            ("https://h/login#x", "https://h/login#(secret)"),
            ("/login?key=a@b", "/login?(secret)"),
            ("see https://h/ or ask", "see https://h/ or ask"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
        for password in ["hunter2", "hun/ter2", "hun?ter2", "hun#ter2", "hun@ter2", "h u:n/t@e?r#2"]
        {
            for url in [
                format!("https://me:{password}@h/x?y"),
                format!("https:/me:{password}@h"),
                format!("me:{password}@h/x"),
                format!("me:{password}@https://h/x"),
                format!("//me:{password}@h"),
                format!("https://me:{password}"),
                format!("me:{password}://h"),
            ] {
                for shown in [shown_url(&url), {
                    let line = format!("  url: \"{url}\", bogus: 1 }}");
                    let end = secret_of_url(&line).unwrap_or(line.len());
                    line[..end].to_owned()
                }] {
                    let parts = password.split(|c: char| !c.is_alphanumeric());
                    let longest = parts.max_by_key(|part| part.len()).unwrap();
                    assert!(!shown.contains(longest), "{url}: {shown}");
                }
            }
        }
    }

    #[test]
    fn a_comment_is_no_part_of_a_url() {
        for line in ["url: https://h/x # see below", "a: b # c", "  url: h", "\u{3000}https://h"] {
            assert_eq!(secret_of_url(line), None, "{line}");
        }
    }
}
