//! Columns, numbers and times of `ls -l` and DOS lines.

/// Bytes between blanks.
#[derive(Clone, Copy)]
pub(super) struct Column<'a> {
    pub text: &'a [u8],
    /// Offset in its line.
    pub start: usize,
    /// Offset of the blank after it.
    pub end: usize,
}

/// A time of day.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub hour: u8,
    pub minute: u8,
    pub second: Option<u8>,
}

/// The first `limit` columns of a line.
pub(super) fn columns(line: &[u8], limit: usize) -> Vec<Column<'_>> {
    let mut found = Vec::with_capacity(limit);
    let mut at = 0;
    while found.len() < limit {
        let Some(blanks) = line[at..].iter().position(|b| !is_blank(*b)) else { break };
        let start = at + blanks;
        let end = line[start..].iter().position(|b| is_blank(*b)).map_or(line.len(), |n| start + n);
        found.push(Column { text: &line[start..end], start, end });
        at = end;
    }
    found
}

/// Whether a line is the first of `ls -l`, in any language (`total 12`, `insgesamt 1,2M`, `i alt 12`), or
/// empty.
pub(super) fn is_total_line(line: &[u8]) -> bool {
    let columns = columns(line, 4);
    let Some((total, words)) = columns.split_last() else { return true };
    let is_word =
        |word: &Column<'_>| word.text.iter().all(|b| b.is_ascii_alphabetic() || !b.is_ascii());
    let digits = total.text.strip_suffix(b"K").or(total.text.strip_suffix(b"M"));
    let digits = digits.or(total.text.strip_suffix(b"G")).unwrap_or(total.text);
    matches!(words, [first] | [first, _] if first.start == 0)
        && words.iter().all(is_word)
        && digits.first().is_some_and(u8::is_ascii_digit)
        && digits.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
}

/// A number of digits only; `None` also for more than 64 bits.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if !is_number(text) {
        return None;
    }
    text.iter().try_fold(0u64, |sum, b| sum.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// Whether a text is digits only.
pub(super) fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// A number of at most two digits.
pub(super) fn small(text: &[u8]) -> Option<u8> {
    (text.len() <= 2).then(|| number(text)).flatten().and_then(|n| u8::try_from(n).ok())
}

/// A year of exactly four digits.
pub(super) fn year(text: &[u8]) -> Option<i32> {
    (text.len() == 4).then(|| number(text)).flatten().and_then(|n| i32::try_from(n).ok())
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`.
pub(super) fn clock(text: &[u8]) -> Option<Clock> {
    let mut parts = text.split(|b| *b == b':');
    let (hour, minute) = (small(parts.next()?)?, parts.next()?);
    let second = match parts.next() {
        Some(second) => {
            let mut halves = second.split(|b| *b == b'.');
            let whole = halves.next()?;
            halves.next().is_none_or(is_number).then_some(())?;
            halves.next().is_none().then_some(())?;
            Some(small(whole)?)
        }
        None => None,
    };
    let is_valid = minute.len() == 2 && parts.next().is_none();
    is_valid.then_some(Clock { hour, minute: small(minute)?, second })
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}
