//! The names of SITE commands for rules: of each word of the line.

/// Names of files follow these.
const WITH_OPERANDS: [&str; 2] = ["CHMOD", "UTIME"];

/// "SITE NAME" for each word that may be a parameter: servers take several in one line, so that one that is allowed
/// must not bring along another. A word that starts with a digit, a quote or a slash is a value, and so is one
/// without `=` and `(` after CHMOD and UTIME. Without any name: "SITE".
pub(super) fn of_site(argument: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut has_operands = false;
    for word in words(argument) {
        if has_operands && !word.iter().any(|b| matches!(b, b'=' | b'(')) {
            continue;
        }
        let name = name(word);
        has_operands |= WITH_OPERANDS.contains(&name.as_str());
        let name = format!("SITE {name}");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push("SITE".to_owned());
    }
    names
}

/// Whether a word sets permissions or times.
pub(super) fn sets_attributes(argument: &[u8]) -> bool {
    words(argument).any(|word| WITH_OPERANDS.contains(&name(word).as_str()))
}

/// Without those that are values only.
fn words(argument: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = argument.split(|b| matches!(b, b' ' | b'\t' | b',' | b';'));
    words.filter(|word| match word.first() {
        None => false,
        Some(b'0'..=b'9' | b'\'' | b'"' | b'/') => !is_value(word),
        Some(_) => true,
    })
}

/// What stands before `=` or `(` and a value. A word of another form is its own name, which no rule has.
fn name(word: &[u8]) -> String {
    let end = word.iter().position(|b| matches!(b, b'=' | b'(')).unwrap_or(word.len());
    let value = word[end..].strip_prefix(b"=").unwrap_or(&word[end..]);
    let name = if end > 0 && is_value(value) { &word[..end] } else { word };
    String::from_utf8_lossy(name).to_ascii_uppercase()
}

/// Whether nothing in it can be taken for a further parameter: at most one pair of parentheses, at the end.
fn is_value(value: &[u8]) -> bool {
    let mut parts = value.split(|b| *b == b')');
    let before = parts.next().unwrap_or_default();
    let mut after = parts.flatten();
    value.iter().all(|b| b.is_ascii_graphic() && *b != b'=')
        && before.iter().filter(|b| **b == b'(').count() <= 1
        && after.all(|b| matches!(b, b'\'' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_of_a_line_is_named() {
        for (argument, expected) in [
            ("LRECL=80 RECFM=FB", &["SITE LRECL", "SITE RECFM"][..]),
            ("lrecl=80,recfm=fb", &["SITE LRECL", "SITE RECFM"]),
            ("LRECL=80  FILETYPE=JES", &["SITE LRECL", "SITE FILETYPE"]),
            ("LRECL=80\tFILETYPE=JES", &["SITE LRECL", "SITE FILETYPE"]),
            ("LRECL=80;FILETYPE=JES", &["SITE LRECL", "SITE FILETYPE"]),
            ("LRECL=80=FILETYPE=JES", &["SITE LRECL=80=FILETYPE=JES"]),
            ("UNIT=SYSDA VOLUME(A,B)", &["SITE UNIT", "SITE VOLUME", "SITE B)"]),
            ("VOLUME(A)", &["SITE VOLUME"]),
            ("UNIT=(SYSDA)", &["SITE UNIT"]),
            ("DCBDSN='USER.X(Y)'", &["SITE DCBDSN"]),
            ("LRECL(80)FILETYPE=JES", &["SITE LRECL(80)FILETYPE=JES"]),
            ("LRECL=(80)FILETYPE(JES)", &["SITE LRECL=(80)FILETYPE(JES)"]),
            ("LRECL(80)\u{b}FILETYPE=JES", &["SITE LRECL(80)\u{b}FILETYPE=JES"]),
            ("LRECL 80\u{b}FILE", &["SITE LRECL", "SITE 80\u{b}FILE"]),
            ("LRECL 8=JES", &["SITE LRECL", "SITE 8"]),
            ("PRIMARY=5 CYLINDERS", &["SITE PRIMARY", "SITE CYLINDERS"]),
            ("NAMEFMT 1", &["SITE NAMEFMT"]),
            ("-FILETYPE=JES", &["SITE -FILETYPE"]),
            ("=JES", &["SITE =JES"]),
            ("CHMOD 600 a name", &["SITE CHMOD"]),
            ("CHMOD 600 '/u/a (1)' \"b=\"", &["SITE CHMOD", "SITE (1)'", "SITE \"B"]),
            ("CHMOD 600 /u/a name FILETYPE=JES", &["SITE CHMOD", "SITE FILETYPE"]),
            ("UTIME filetype=jes", &["SITE UTIME", "SITE FILETYPE"]),
            ("UTIME 20261201 FILETYPE(JES)", &["SITE UTIME", "SITE FILETYPE"]),
            ("UTIME x,FILETYPE=JES LRECL=80", &["SITE UTIME", "SITE FILETYPE", "SITE LRECL"]),
            ("UTIME x=FILETYPE=JES", &["SITE UTIME", "SITE X=FILETYPE=JES"]),
            ("LRECL=1 CHMOD 600 x", &["SITE LRECL", "SITE CHMOD"]),
            ("", &["SITE"]),
            ("1 'X'", &["SITE"]),
        ] {
            assert_eq!(of_site(argument.as_bytes()), expected, "{argument}");
        }
        assert!(sets_attributes(b"LRECL=1 chmod 600 x") && !sets_attributes(b"LRECL=1"));
    }
}
