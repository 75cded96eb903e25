//! Suggestions for misspelt keys, names and values.

/// The candidate that `given` probably stands for.
pub(super) fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let given = given.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (similarity(&given, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

fn similarity(given: &str, candidate: &str) -> f64 {
    // "cert" for "certificate" and "warning" for "warn" have a large edit distance.
    let is_prefix = given.len() >= 3 && candidate.starts_with(given);
    let is_extension = candidate.len() >= 3 && given.starts_with(candidate);
    let distance = strsim::normalized_damerau_levenshtein(given, candidate);
    if is_prefix || is_extension { distance.max(0.8) } else { distance }
}
