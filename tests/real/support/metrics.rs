//! Reads the page of metrics (the text format of Prometheus).

use std::collections::BTreeMap;

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All values of a page.
pub fn samples(page: &str) -> Vec<Sample> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = series_of(series);
            Sample { name, labels, value: value.parse().expect(line) }
        })
        .collect()
}

/// The sum over all series with this name and, at least, these labels, as in `name{label="value"}`; `None`
/// if there is none.
pub fn sum(page: &str, series: &str) -> Option<f64> {
    let (name, labels) = series_of(series);
    let matches = |sample: &Sample| {
        sample.name == name
            && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
    };
    let found: Vec<_> = samples(page).into_iter().filter(matches).map(|it| it.value).collect();
    (!found.is_empty()).then(|| found.iter().sum())
}

fn series_of(text: &str) -> (String, BTreeMap<String, String>) {
    let Some((name, mut rest)) = text.split_once('{') else {
        return (text.to_owned(), BTreeMap::new());
    };
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (label, quoted) = rest.split_once("=\"").expect(text);
        let (value, end) = unquoted(quoted).expect(text);
        labels.insert(label.to_owned(), value);
        rest = quoted[end..].trim_start_matches(',');
    }
    (name.to_owned(), labels)
}

/// The value, and where its closing quote ends.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, at + 1)),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            (_, character) => value.push(character),
        }
    }
}
