//! The messages in `src/` that docs/runbook.md must explain, read from the source's tokens: macros within
//! macros count, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A message as the runbook quotes it, with the place in the source.
pub(crate) type Messages = BTreeMap<String, String>;

/// The lines of the log at `warn` and `error`: `WARN the server is down: no new sessions`.
pub(crate) fn log_lines() -> Messages {
    let mut found = Messages::new();
    for (file, tokens) in sources("src", &["warn!", "error!"]) {
        for_each_sequence(tokens, &mut |sequence| {
            for (at, window) in sequence.windows(3).enumerate() {
                let [TokenTree::Ident(name), TokenTree::Punct(bang), TokenTree::Group(arguments)] =
                    window
                else {
                    continue;
                };
                let level = match name.to_string().as_str() {
                    "warn" => "WARN",
                    "error" => "ERROR",
                    _ => continue,
                };
                if bang.as_char() != '!' {
                    continue;
                }
                let place = format!("{}:{}", file.display(), name.span().start().line);
                let message = log_message(arguments).unwrap_or_else(|| {
                    panic!("{place}: the message is no literal (token {at}), so the runbook cannot have it")
                });
                found.insert(format!("{level} {message}"), place);
            }
        });
    }
    found
}

/// The last argument that is a literal alone. Those after it are for its placeholders.
fn log_message(arguments: &Group) -> Option<String> {
    arguments_of(arguments).iter().rev().find_map(|argument| match argument.as_slice() {
        [TokenTree::Literal(literal)] => text_of(literal),
        _ => None,
    })
}

/// FTP replies from 400: `421 Idle timeout (limits.idle_timeout): closing control connection.`
pub(crate) fn replies() -> Messages {
    let mut found = Messages::new();
    for (file, tokens) in sources("src/front/ftp", &["Reply", "(5", "(4"]) {
        for_each_group(tokens, &mut |group| {
            let arguments = arguments_of(group);
            if let [code, text, ..] = arguments.as_slice()
                && let [TokenTree::Literal(code)] = code.as_slice()
                && let Ok(code @ 400..=599) = code.to_string().parse::<u16>()
                && let Some(text) = formatted(text)
            {
                let place = format!("{}:{}", file.display(), group.span_open().start().line);
                found.insert(format!("{code} {text}"), place);
            }
        });
    }
    found
}

/// A literal, or the first one of a `format!`.
fn formatted(argument: &[TokenTree]) -> Option<String> {
    match argument {
        [TokenTree::Literal(literal)] => text_of(literal),
        [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Group(inner)]
            if name == "format" =>
        {
            arguments_of(inner).first().and_then(|first| formatted(first))
        }
        _ => None,
    }
}

/// Why a start can fail: the `#[error("…")]` of these types.
pub(crate) fn start_errors(types: &[&str]) -> Messages {
    let mut found = Messages::new();
    let mut seen = Vec::new();
    for (file, tokens) in sources("src", types) {
        let syntax: syn::File = syn::parse2(tokens).expect("Rust");
        for item in &syntax.items {
            let (name, attributes) = match item {
                syn::Item::Enum(item) => {
                    let of_variants = item.variants.iter().flat_map(|variant| &variant.attrs);
                    (&item.ident, item.attrs.iter().chain(of_variants).collect::<Vec<_>>())
                }
                syn::Item::Struct(item) => (&item.ident, item.attrs.iter().collect()),
                _ => continue,
            };
            if !types.iter().any(|wanted| name == wanted) {
                continue;
            }
            seen.push(name.to_string());
            for attribute in attributes {
                if let syn::Meta::List(list) = &attribute.meta
                    && list.path.is_ident("error")
                    && let Some(TokenTree::Literal(text)) = list.tokens.clone().into_iter().next()
                    && let Some(text) = text_of(&text)
                {
                    found.insert(text, file.display().to_string());
                }
            }
        }
    }
    let missing: Vec<_> = types.iter().filter(|name| !seen.iter().any(|it| it == *name)).collect();
    assert!(missing.is_empty(), "src/ has no {missing:?}");
    found
}

/// The words that an enum's `as_str` gives to logs and metrics.
pub(crate) fn words(file: &str) -> Messages {
    let mut found = Messages::new();
    let text = fs::read_to_string(root().join(file)).expect("a source file");
    for_each_sequence(shipped(text.parse().expect("Rust")), &mut |sequence| {
        for window in sequence.windows(3) {
            if let [TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Literal(word)] = window
                && (a.as_char(), b.as_char()) == ('=', '>')
                && let Some(word) = text_of(word)
            {
                found.insert(word, file.to_owned());
            }
        }
    });
    assert!(found.len() > 3, "{file}: {found:?}");
    found
}

/// A string literal with `…` for each placeholder.
fn text_of(literal: &proc_macro2::Literal) -> Option<String> {
    let literal: syn::LitStr = syn::parse_str(&literal.to_string()).ok()?;
    let text = literal.value().replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (_, after) = after.split_once('}')?;
        shown.push_str(before);
        shown.push('…');
        rest = after;
    }
    shown.push_str(rest);
    Some(shown.replace('\u{1}', "{").replace('\u{2}', "}"))
}

fn arguments_of(group: &Group) -> Vec<Vec<TokenTree>> {
    let mut arguments = vec![Vec::new()];
    for token in group.stream() {
        match &token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => arguments.push(Vec::new()),
            _ => arguments.last_mut().expect("at least one").push(token),
        }
    }
    arguments
}

fn for_each_group(tokens: TokenStream, seen: &mut impl FnMut(&Group)) {
    for_each_sequence(tokens, &mut |sequence| {
        for token in sequence {
            if let TokenTree::Group(group) = token
                && group.delimiter() == Delimiter::Parenthesis
            {
                seen(group);
            }
        }
    });
}

/// Calls `seen` with the tokens of each nesting level.
fn for_each_sequence(tokens: TokenStream, seen: &mut impl FnMut(&[TokenTree])) {
    let sequence: Vec<_> = tokens.into_iter().collect();
    seen(&sequence);
    for token in sequence {
        if let TokenTree::Group(group) = token {
            for_each_sequence(group.stream(), seen);
        }
    }
}

/// The files below a folder that are part of the program and have one of the words, without their tests.
fn sources(folder: &str, words: &[&str]) -> Vec<(PathBuf, TokenStream)> {
    let with_word = source_texts(folder)
        .into_iter()
        .filter(|(_, text)| words.iter().any(|word| text.contains(word)));
    let parsed = with_word.map(|(file, text)| {
        let tokens = text.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        (file, shipped(tokens))
    });
    let found: Vec<_> = parsed.collect();
    assert!(!found.is_empty(), "{folder} has no {words:?}");
    found
}

pub(crate) fn source_texts(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    read(&root().join(folder), &mut found);
    found
}

fn read(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        // `real`: a backend against a real server; `demo`: its messages go to a terminal.
        if matches!(name, "tests" | "testing" | "real" | "demo") {
            continue;
        }
        if path.is_dir() {
            read(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let short = path.strip_prefix(root()).expect("a file of the project").to_owned();
            found.push((short, text));
        }
    }
}

/// Without what is in modules `tests`.
fn shipped(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    for token in tokens {
        if let TokenTree::Group(_) = &token
            && let [.., TokenTree::Ident(keyword), TokenTree::Ident(name)] = kept.as_slice()
            && keyword == "mod"
            && name == "tests"
        {
            kept.push(Group::new(Delimiter::Brace, TokenStream::new()).into());
            continue;
        }
        kept.push(token);
    }
    kept.into_iter().collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
