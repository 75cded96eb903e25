//! Masks secrets in the lines of the file that a report quotes.

use super::secret_url::{secret_of_url, url_value};

/// In place of the rest of a line.
const NOT_SHOWN: &str = "(not shown)";

/// Where a secret is in the text.
pub(super) struct Span {
    /// The line and the column, both from 1.
    pub start: (usize, usize),
    /// The line from 1, the column from 0.
    pub end: (usize, usize),
}

/// The lines of a text, each up to its first secret. `spans` are the secrets; `None`: the text is not YAML,
/// so that they have to be guessed.
pub(super) fn lines(text: &str, spans: Option<&[Span]>) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    match spans {
        Some(spans) => spans.iter().for_each(|span| hide(&mut lines, span)),
        None => hide_values(&mut lines),
    }
    lines
}

fn hide(lines: &mut [String], span: &Span) {
    let ((first, column), (last, end)) = (span.start, span.end);
    for number in first..=last.max(first) {
        let Some(line) = number.checked_sub(1).and_then(|index| lines.get_mut(index)) else {
            return;
        };
        let start = if number == first { column.saturating_sub(1) } else { indent(line) };
        // The end may be at the next token.
        if number > first && number == last && end <= start {
            return;
        }
        cut(line, start);
    }
}

/// Hides what may be the value of a secret's key above: all until a line that begins with a key again and is
/// not farther right.
fn hide_values(lines: &mut [String]) {
    let mut inside = None;
    for line in lines {
        let start = indent(line);
        if line.trim().is_empty() {
            continue;
        }
        if inside.is_some_and(|key| start > key || !begins_with_key(line)) {
            cut(line, start);
            continue;
        }
        inside = secret_value(line).or_else(|| url_value(line)).map(|_| start);
    }
}

fn begins_with_key(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '-']);
    line.split_once(':').is_some_and(|(key, value)| {
        let is_key = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'');
        !key.is_empty() && key.chars().all(is_key) && (value.is_empty() || value.starts_with(' '))
    })
}

/// In characters.
fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).count()
}

/// From this character on.
fn cut(line: &mut String, start: usize) {
    if let Some((index, _)) = line.char_indices().nth(start) {
        line.truncate(index);
        line.push_str(NOT_SHOWN);
    }
}

/// After the colon of the first key of a secret.
fn secret_value(line: &str) -> Option<usize> {
    line.match_indices(':').find_map(|(colon, _)| {
        let key = line[..colon].trim_end().trim_end_matches(['"', '\'']);
        let mut keys = key.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
        is_secret(keys.next().unwrap_or(key)).then_some(colon + 1)
    })
}

/// The line without the value of a key for a secret. `path` and `column` are the problem's: the value of
/// such a key may be on a line of its own.
pub(super) fn masked(line: &str, path: &str, column: usize) -> String {
    let value_on_own_line = is_secret(path.rsplit('.').next().unwrap_or(path)).then(|| {
        line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(index, _)| index)
    });
    let value_after_key = secret_value(line).filter(|value| !line[*value..].trim().is_empty());
    let url = [secret_of_url(line), credentials_of_hook(line, path)].into_iter().flatten().min();
    if let Some(url) = url.filter(|url| value_after_key.is_none_or(|it| *url < it)) {
        return format!("{}{NOT_SHOWN}", &line[..url]);
    }
    // A problem with the key itself is before its colon.
    let cut = match (value_after_key, value_on_own_line) {
        (Some(colon), _) => colon,
        (None, Some(value)) if !line[value..].trim_end().ends_with(':') => value,
        _ => return line.to_owned(),
    };
    format!("{} {NOT_SHOWN}", &line[..cut])
}

/// From where on a line of `login_hooks` is not shown that may have a name and a password of a URL, whatever its
/// key: that may be misspelled, or on a line above.
fn credentials_of_hook(line: &str, path: &str) -> Option<usize> {
    let colon = line.find(':').filter(|_| path.starts_with("login_hook"))?;
    line[colon..].find('@')?;
    let start = line.len() - line.trim_start_matches([' ', '\t', '-']).len();
    Some(if begins_with_key(line) { colon + 1 } else { start })
}

/// Whether the value of a key of this name is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let names = ["password", "passwd", "passphrase", "secret", "token"];
    names.iter().any(|name| key.contains(name)) && !key.ends_with("_file") && !key.ends_with("_env")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_keys_are_not_shown() {
        for (line, path, column, shown) in [
            ("login: { user: a, password: x }", "", 1, "login: { user: a, password: (not shown)"),
            ("  \"password\": x", "a.password", 3, "  \"password\": (not shown)"),
            ("    hunter2", "a.password_hash", 5, "     (not shown)"),
            ("    password:", "a.password", 5, "    password:"),
            ("  password_file: x", "a.password_file", 3, "  password_file: x"),
            ("  user: x", "a.user", 3, "  user: x"),
            ("  €password: x", "a", 3, "  €password: (not shown)"),
            ("  h: [ \"u:x@h\" ]", "login_hooks.h", 6, "  h:(not shown)"),
            ("    ulr: u:x@h", "login_hooks.h.ulr", 5, "    ulr:(not shown)"),
            ("      - http:u:x@h", "login_hooks.h.url[0]", 9, "      - (not shown)"),
            ("    \"u:x: y@h\"", "login_hooks.h.url", 5, "    (not shown)"),
            ("  h: { socket: a, bogus: 1 }", "login_hooks.h", 3, "  h: { socket: a, bogus: 1 }"),
        ] {
            assert_eq!(masked(line, path, column), shown);
        }
    }
}
