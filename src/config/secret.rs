//! Masks secrets in the lines of the file that a report quotes.

/// The line without the value of a key for a secret. `path` and `column` are the problem's: the value of
/// such a key may be on a line of its own.
pub(super) fn masked(line: &str, path: &str, column: usize) -> String {
    let value_on_own_line = is_secret(path.rsplit('.').next().unwrap_or(path)).then(|| {
        line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(index, _)| index)
    });
    let value_after_key = line.match_indices(':').find_map(|(colon, _)| {
        let key = line[..colon].trim_end().trim_end_matches(['"', '\'']);
        let mut keys = key.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
        let key = keys.next().unwrap_or(key);
        (is_secret(key) && !line[colon + 1..].trim().is_empty()).then_some(colon + 1)
    });
    // A problem with the key itself is before its colon.
    let cut = match (value_after_key, value_on_own_line) {
        (Some(colon), _) => colon,
        (None, Some(value)) if !line[value..].trim_end().ends_with(':') => value,
        _ => return line.to_owned(),
    };
    format!("{} (not shown)", &line[..cut])
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
        ] {
            assert_eq!(masked(line, path, column), shown);
        }
    }
}
