/// The candidate that `given` was probably meant to be.
pub(super) fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let given = given.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (likeness(&given, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.to_owned())
}

fn likeness(given: &str, candidate: &str) -> f64 {
    // "cert" for "certificate" and "warning" for "warn" are far by their letters.
    let shortened = given.len() >= 3 && candidate.starts_with(given);
    let lengthened = candidate.len() >= 3 && given.starts_with(candidate);
    let distance = strsim::normalized_damerau_levenshtein(given, candidate);
    if shortened || lengthened { distance.max(0.8) } else { distance }
}
